"""Run directories: what they hold, that a run goes on to the same bits, what a failure leaves, and counted quality."""

import errno
import json
import shutil
import tomllib
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from cli_helpers import same
from PIL import Image

from fastgan import data
from fastgan.errors import DataError, DivergedError, OutputError, ShapeError, UsageError
from fastgan.gan import RECIPES, Callback, Trainer, checkpoint, files, load, quality
from fastgan.gan import run as run_module
from fastgan.gan import trainer as trainer_module
from fastgan.gan.run import RunDirectory, edited, read_metrics
from fastgan.gan.state import arrays
from fastgan.nn import Net

pytestmark = pytest.mark.slow
undrawn = pytest.mark.usefixtures("undrawn")

SHORT = {"steps": 17, "log_every": 5, "sample_every": 6, "checkpoint_every": 4}
DENSE = {
    "generator": Net(("linear 12", "relu", "linear o", "tanh")),
    "critic": Net(("linear 12", "leaky_relu 0.2", "linear o")),
}
DIGITS = RECIPES["digits"].replace(**DENSE, batch=16, **SHORT)
VANILLA = RECIPES["cs231n-vanilla"].replace(  # its epoch ends within the run, its log begins with step 1
    **DENSE, data="digits", latent=8, batch=500, **SHORT
)
RING = RECIPES["ring-gan"].replace(
    generator=Net(
        ("linear 12 bias=no", "batch_norm", "relu", "linear 12 bias=no", "batch_norm", "relu", "linear o"),
        batch_norm=0.05,
    ),
    critic=Net(("maxout 12 pieces=3", "linear o")),
    **SHORT,
)


class At(Callback):
    """Do something after a step; without it ask for a stop, as Ctrl-C does."""

    def __init__(self, step, action=None):
        self.step, self.action = step, action

    def on_step(self, trainer):
        if trainer.steps_done == self.step:
            if self.action:
                self.action(trainer)
            else:
                trainer.stop_wanted = True


def interrupt(_):
    raise KeyboardInterrupt


def begin(path, recipe=DIGITS, *callbacks, steps=None, **settings):
    """A new run in a directory, and its Trainer."""
    return RunDirectory(path).fit(Trainer(recipe, device="cpu", **settings), steps, callbacks)


def go_on(path, steps=None):
    """The Trainer of a run that went on."""
    return RunDirectory(path, go_on=True).fit(load(path, device="cpu"), steps)


def rows_of(path):
    """A run's log without what differs from run to run."""
    rows = read_metrics(path / "metrics.jsonl")
    return [{name: x for name, x in row.items() if name != "steps_per_second"} for row in rows]


def opened(path):
    with Image.open(path) as image:
        return image.copy()


def contents(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of the digits and its Trainer, to be looked at."""
    path = tmp_path_factory.mktemp("made") / "run"
    return path, begin(path)


@pytest.fixture
def finished(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made[0], tmp_path / "run")


def test_a_run_leaves_everything(made):
    path, trainer = made
    found = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    steps = [f"samples/{step:06d}.png" for step in (0, 6, 12, 17)]
    kept = [f"checkpoints/step-{step:08d}.safetensors" for step in (12, 16, 17)]
    others = ["config.toml", "losses.png", "metrics.jsonl", "samples/real.png", "training.gif"]
    assert found == sorted([*steps, *kept, *others])
    assert [row["step"] for row in rows_of(path)] == [5, 10, 15, 17]
    with Image.open(path / "training.gif") as gif:
        assert gif.n_frames == 4  # without the picture of the real digits
    assert len({opened(p).size for p in (path / "samples").iterdir()}) == 1  # 10 x 10 images, real or not
    assert same(arrays(load(path, device="cpu")), arrays(trainer))
    held = tomllib.loads((path / "config.toml").read_text())
    for name, value in trainer.recipe.to_dict().items():
        if name != "name":
            assert json.loads(json.dumps(value)) == held.pop(name)
    assert {held["recipe"], held["seed"], held["device"]} == {"digits", 0, "cpu"}


@undrawn
@pytest.mark.parametrize("changes", [{}, {"border": 2}, {"classes": 10}], ids=["", "border", "labels"])
def test_real_images_are_what_the_critic_sees(tmp_path, changes):
    """With their black border, and of the size of the samples beside them."""
    begin(tmp_path / "run", DIGITS.replace(steps=1, **changes))
    border, side = changes.get("border", 0), 8 + 2 * changes.get("border", 0)
    grid = opened(tmp_path / "run/samples/real.png")
    assert grid.size == opened(tmp_path / "run/samples/000001.png").size
    zoom = (700 - 2 * 11) // (10 * side)
    digits, cell = data.load("digits").samples[..., 0], 2 + side * zoom
    for i, row in ((0, 0), (99, 1796)):
        top, left = (2 + place * cell for place in divmod(i, 10))
        shown = np.asarray(grid)[top : top + side * zoom : zoom, left : left + side * zoom : zoom]
        assert abs(shown - np.pad(digits[row] / 16 * 255, border)).max() <= 0.51


def test_points_vectors_and_transparent_images_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    images, vectors = rng.integers(0, 256, (40, 4, 4, 4), np.uint8), rng.standard_normal((200, 5))
    for name, recipe, samples, mode in [
        ("points", RING, "ring", "RGB"),
        ("rgba", DIGITS, images, "RGB"),
        ("vectors", RING, vectors.astype(np.float32), "L"),
    ]:
        begin(tmp_path / name, recipe.replace(steps=1), data=samples)
        assert {p.stem for p in (tmp_path / name / "samples").iterdir()} - {"real"} == {"000000", "000001"}
        assert opened(tmp_path / name / "samples/000001.png").mode == mode
        assert (tmp_path / name / "training.gif").stat().st_size > 0


@undrawn
@pytest.mark.parametrize("recipe", [DIGITS, VANILLA, RING], ids=lambda r: r.name)
def test_stopped_and_resumed_is_the_same_run(tmp_path, recipe):
    """Its last checkpoint byte for byte, its log but for a row at the stop, and its pictures.

    Also where more steps were asked for than the recipe has, which a schedule depends on.
    """
    linear = replace(recipe.optimizer, schedule="linear")
    recipe, asked = recipe.replace(steps=12, optimizer=linear), {"seed": 3, "steps": 17}
    begin(tmp_path / "whole", recipe, **asked)
    whole, log = contents(tmp_path / "whole"), rows_of(tmp_path / "whole")
    assert [row["step"] for row in log] == ([1, 6, 11, 16, 17] if recipe.log_first else [5, 10, 15, 17])
    for k in (7, 10, 16):
        path = tmp_path / str(k)
        assert begin(path, recipe, At(k), **asked).steps_done == k
        go_on(path)
        assert (
            checkpoint.path_for(path, 17).read_bytes() == whole[checkpoint.path_for(tmp_path / "whole", 17)]
        )
        rows = rows_of(path)
        assert [row["step"] for row in rows] == sorted({*(row["step"] for row in log), k})
        assert [row for row in rows if row["step"] != k] == [row for row in log if row["step"] != k]
        for step in (0, 6, 12, 17):
            name = f"samples/{step:06d}.png"
            assert (path / name).read_bytes() == whole[tmp_path / "whole" / name]


@undrawn
def test_killed_and_resumed_is_the_same_run(made, tmp_path):
    """Killed at 14: the last checkpoint is of 12, the log has 5 and 10, and a picture lies after it."""
    path, whole = tmp_path / "run", made[0]
    with pytest.raises(KeyboardInterrupt):
        begin(path, DIGITS, At(14, interrupt))
    with open(path / "metrics.jsonl", "a") as log:
        log.write('{"step": 13, "critic_loss": 1}\n{"step": 14, "crit')
    (path / ".abc.tmp").write_text("torn")
    (path / "samples/000014.png").write_text("after the checkpoint")
    (path / "samples/notes.png").write_text("not ours")
    assert load(path, device="cpu").steps_done == 12
    go_on(path)
    (path / "samples/notes.png").unlink()  # is still there
    found, wanted = contents(path), contents(whole)
    assert {p.relative_to(path) for p in found} == {p.relative_to(whole) for p in wanted}
    for p in [*path.glob("samples/*"), *path.glob("checkpoints/*")]:
        assert found[p] == wanted[whole / p.relative_to(path)]
    assert rows_of(path) == rows_of(whole)


def test_an_older_checkpoint_does_not_overwrite_a_newer_one(finished):
    older, before = load(checkpoint.path_for(finished, 12), device="cpu"), contents(finished)
    with pytest.raises(UsageError, match="newer than step 12"):
        RunDirectory(finished, go_on=True).fit(older)
    assert contents(finished) == before


@undrawn
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(finished):
    newest = checkpoint.path_for(finished, 17)
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-3])
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert load(finished, device="cpu").steps_done == 16
    with pytest.warns(RuntimeWarning, match="damaged"):
        go_on(finished)
    assert newest.read_bytes() == whole


def test_nan_stops_within_one_interval_and_keeps_the_last_good_checkpoint(tmp_path):
    def poison(trainer):
        trainer.generator.parameters()[0].data[:] = np.nan

    path = tmp_path / "run"
    with pytest.raises(
        DivergedError, match="step 12: "
    ) as caught:  # when a checkpoint is due; else at 15, a row
        begin(path, DIGITS.replace(checkpoint_every=3), At(11, poison))
    assert str(checkpoint.path_for(path, 9)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(np.isfinite(x).all() for x in arrays(load(path, device="cpu")).values())
    assert (path / "training.gif").exists()
    assert (path / "losses.png").exists()


@undrawn
@pytest.mark.parametrize(("recipe", "both"), [(DIGITS, 5), (VANILLA, 6)])
def test_a_checkpoint_on_a_logged_step_waits_for_the_losses(tmp_path, recipe, both):
    """Losses that are not finite while the weights still are must not be saved as good."""

    def poison(trainer):
        trainer.work.ring.array[:] = np.inf

    with pytest.raises(DivergedError, match=f"step {both}: critic loss"):
        begin(tmp_path / "run", recipe.replace(checkpoint_every=both), At(both, poison))
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000000.safetensors"]


def test_a_full_disk_stops_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    write, trainer = files._write_all, Trainer(DIGITS, device="cpu")

    def full(handle, content):
        if (tmp_path / "run/samples/000006.png").exists():
            raise OSError(errno.ENOSPC, "no room")
        write(handle, content)

    monkeypatch.setattr(files, "_write_all", full)
    with pytest.raises(OutputError, match="cannot write") as caught:
        RunDirectory(tmp_path / "run").fit(trainer)
    assert caught.value.exit_code == 4
    assert trainer.steps_done == 8
    assert load(tmp_path / "run", device="cpu").steps_done == 4
    assert not list((tmp_path / "run").rglob("*.tmp"))


@undrawn
def test_a_checkpoint_when_the_last_one_is_old(made, tmp_path, monkeypatch):
    """The clock says when, and changes nothing in the run: steps 0 to 17 take 100 s each."""
    trainer = Trainer(DIGITS.replace(checkpoint_every=1000), device="cpu")
    monkeypatch.setattr(run_module, "monotonic", lambda: 100.0 * trainer.steps_done)
    monkeypatch.setattr(checkpoint, "prune", lambda *_: None)
    RunDirectory(tmp_path / "run").fit(trainer)
    steps = [int(path.stem[5:]) for path in sorted((tmp_path / "run/checkpoints").iterdir())]
    assert steps == [0, 3, 6, 9, 12, 15, 17]
    assert same(arrays(trainer), arrays(made[1]))


@pytest.mark.parametrize("anew", [False, True])
def test_a_directory_that_is_deleted_ends_the_run(tmp_path, anew):
    def delete(_):
        shutil.rmtree(tmp_path / "run")
        if anew:
            (tmp_path / "run/samples").mkdir(parents=True)

    trainer = Trainer(DIGITS, device="cpu")
    with pytest.raises(OutputError, match="deleted") as caught:
        RunDirectory(tmp_path / "run").fit(trainer, callbacks=[At(5, delete)])
    assert caught.value.exit_code == 4
    assert trainer.steps_done == 5
    assert contents(tmp_path) == {}


@undrawn
@pytest.mark.parametrize("action", [None, interrupt])
def test_the_lock_goes_with_the_run(tmp_path, action):
    """Also where the directory is one callback among others, and after an error."""
    directory = RunDirectory(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt) if action else nullcontext():
        Trainer(DIGITS, device="cpu").fit(callbacks=[directory, At(6, action)])
    assert not (tmp_path / "run/.lock").exists()
    go_on(tmp_path / "run", 1)


@undrawn
def test_other_threads_or_kernels_of_blas_are_said(tmp_path, monkeypatch):
    said, path = ["one", "one", "other"], tmp_path / "run"
    monkeypatch.setattr(trainer_module, "blas_kernels", lambda: said.pop(0))
    begin(path, DIGITS.replace(steps=2))
    assert go_on(path, 2).arithmetic == "one, threads: 1"
    with pytest.warns(RuntimeWarning, match="with one, .* with other,"):
        go_on(path, 2)
    assert load(path, device="cpu").arithmetic == "other, threads: 1"


def test_edits_of_a_config_are_noticed(made, finished):
    file, trainer = finished / "config.toml", made[1]
    text = file.read_text()
    assert edited(file, trainer) == ""
    for old, new, wanted in [
        ("batch = 16", "batch = 32", "batch"),
        ("seed = 0", "seed = 3", "seed"),
        ("seed = 0", "seed = 0\nclip = 0.1", "clip"),
        ('data = "digits"', 'data = "mnist"', "data"),
        ("lr = ", "lr = 1", "optimizer"),
        ('device = "cpu"', 'device = "cuda"\nthreads = 2', ""),
        ("seed = 0", "[[", "cannot be read"),
        ("seed = 0", "seed = \x00", "cannot be read"),
        (text, "", "empty"),
    ]:
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))
        assert wanted in edited(file, trainer)
        assert bool(wanted) == bool(edited(file, trainer))
    file.unlink()
    assert edited(file, trainer) == ""


@undrawn
def test_metrics_that_are_not_finite_become_null(tmp_path):
    class Odd(Callback):
        def on_log(self, trainer, metrics):
            metrics["d_real"] = float("inf")

    Trainer(DIGITS.replace(steps=5), device="cpu").fit(callbacks=[Odd(), RunDirectory(tmp_path / "run")])
    assert rows_of(tmp_path / "run")[0]["d_real"] is None


# Quality


def votes(samples, dataset):
    return quality.tally(quality.vote(samples, dataset), dataset)


def test_each_real_image_votes_for_its_own_class():
    digits = data.load("digits").take(slice(0, 300))
    samples = digits.scaled(0, 1).reshape(-1, 8, 8, 1)
    assert (votes(samples, digits) == np.bincount(digits.labels)).all()


def test_votes_agree_with_distances_written_out(monkeypatch):
    monkeypatch.setattr(quality, "BLOCK", 7)  # several blocks, the last one partial
    rng = np.random.default_rng(1)
    real, samples = (rng.random((n, 2, 3, 1)).astype(np.float32) for n in (33, 20))
    labels = rng.choice([3, 5, 9], 33)
    gaps = ((samples[:, None] - real[None]) ** 2).sum(axis=(2, 3, 4))
    wanted = [int((labels[gaps.argmin(axis=1)] == c).sum()) for c in (3, 5, 9)]
    assert votes(samples, data.from_array(real, labels)).tolist() == wanted


def test_votes_need_labels_and_the_right_shape():
    digits = data.load("digits")
    for dataset, error in ((replace(digits, labels=None), DataError), (digits, ShapeError)):
        with pytest.raises(error, match="wanted"):
            quality.vote(np.zeros((3, 4, 4, 1)), dataset)


def test_a_class_is_kept_with_a_tenth_of_its_share():
    for counts, kept in [([500, 470, 20, 10], 2), ([500, 450, 25, 25], 4), ([1000, 0, 0], 1), ([0, 0, 0], 0)]:
        assert quality.classes_kept(np.array(counts)) == kept  # a tenth of 250 is 25


def test_mode_scores_by_hand():
    modes = np.array([[0.0, 0.0], [10, 0], [0, 10], [10, 10]])
    good = [[0, 0.29], [0.2, 0.2], [-0.29, 0], [10.1, 0]]  # three and one, within 3 x 0.1
    bad = [[0, 0.31], [0.22, 0.22], [5, 5], [9.6, 10]]
    reverse_kl = 0.75 * np.log(3) + 0.25 * np.log(1)
    assert quality.mode_scores(np.array(good + bad), modes, 0.1) == (2, 0.5, pytest.approx(reverse_kl))


def test_mode_scores_of_the_mixture_itself_and_of_nothing():
    grid = data.load("grid")
    share, kl = pytest.approx(0.9889, abs=0.01), pytest.approx(0.005, abs=0.005)  # 1 - exp(-4.5)
    for points, wanted in [
        (grid.samples[:2500], (25, share, kl)),
        (grid.samples[:50] + 1, (0, 0.0, np.inf)),
        (np.zeros((9, 2)), (1, 1.0, pytest.approx(np.log(25)))),
    ]:
        assert quality.mode_scores(points, grid.modes, grid.mode_std) == wanted
    with pytest.raises(ShapeError, match="wanted"):
        quality.mode_scores(np.zeros((9, 3)), grid.modes, 1.0)
