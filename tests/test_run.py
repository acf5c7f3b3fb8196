"""Run directories: what they hold, that a run goes on to the same bits, what a failure leaves, and counted quality."""

import errno
import json
import shutil
import tomllib
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from fastgan import data
from fastgan.errors import DataError, DivergedError, OutputError, ShapeError, UsageError
from fastgan.gan import RECIPES, Callback, Trainer, checkpoint, files, load, quality
from fastgan.gan import run as run_module
from fastgan.gan import trainer as trainer_module
from fastgan.gan.run import RunDirectory, edited, read_metrics
from fastgan.gan.state import arrays, description
from fastgan.nn import Net

pytestmark = pytest.mark.slow

DIGITS = RECIPES["digits"].replace(
    generator=Net(("linear 12", "relu", "linear o", "tanh")),
    critic=Net(("linear 12", "leaky_relu 0.2", "linear o")),
    batch=16,
    steps=17,
    log_every=5,
    sample_every=6,
    checkpoint_every=4,
)
VANILLA = RECIPES["cs231n-vanilla"].replace(
    generator=Net(("linear 12", "relu", "linear o", "tanh")),
    critic=Net(("linear 12", "leaky_relu 0.2", "linear o")),
    data="digits",
    latent=8,
    batch=500,  # an epoch ends within the run
    steps=17,
    log_every=5,
    sample_every=6,
    checkpoint_every=4,
)
RING = RECIPES["ring-gan"].replace(
    generator=Net(
        ("linear 12 bias=no", "batch_norm", "relu", "linear 12 bias=no", "batch_norm", "relu", "linear o"),
        batch_norm=0.05,
    ),
    critic=Net(("maxout 12 pieces=3", "linear o")),
    steps=17,
    log_every=5,
    sample_every=17,
    checkpoint_every=4,
)


class StopAt(Callback):
    """Ask for a stop after a step, as Ctrl-C does; or die there."""

    def __init__(self, step, error=None):
        self.step, self.error = step, error

    def on_step(self, trainer):
        if trainer.steps_done == self.step:
            if self.error:
                raise self.error
            trainer.stop_wanted = True


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def rows_of(path):
    """metrics.jsonl without what differs from run to run."""
    return [{k: v for k, v in row.items() if k != "steps_per_second"} for row in read_metrics(path)]


def opened(path):
    with Image.open(path) as image:
        return image.copy()


@pytest.fixture
def finished(tmp_path):
    """A finished run of the digits and its directory."""
    trainer = Trainer(DIGITS, device="cpu")
    RunDirectory(tmp_path / "run").fit(trainer)
    return trainer, tmp_path / "run"


def test_a_run_leaves_everything(finished):
    trainer, path = finished
    found = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())
    steps = [f"samples/{step:06d}.png" for step in (0, 6, 12, 17)]
    kept = [f"checkpoints/step-{step:08d}.safetensors" for step in (12, 16, 17)]
    others = ["config.toml", "losses.png", "metrics.jsonl", "samples/real.png", "training.gif"]
    assert found == sorted([*steps, *kept, *others])
    assert [row["step"] for row in read_metrics(path / "metrics.jsonl")] == [5, 10, 15, 17]
    with Image.open(path / "training.gif") as gif:
        assert gif.n_frames == 4  # without the picture of the real digits
    sizes = {opened(p).size for p in (path / "samples").iterdir()}
    assert len(sizes) == 1  # 10 x 10 images, real or not
    assert same(arrays(load(path, device="cpu")), arrays(trainer))


@pytest.mark.parametrize("changes", [{}, {"border": 2}, {"classes": 10}], ids=["", "border", "labels"])
def test_real_images_are_what_the_critic_sees(tmp_path, changes):
    """With their black border, and of the size of the samples beside them."""
    RunDirectory(tmp_path / "run").fit(Trainer(DIGITS.replace(**changes), device="cpu"), 1)
    border, side = changes.get("border", 0), 8 + 2 * changes.get("border", 0)
    grid = opened(tmp_path / "run/samples/real.png")
    assert grid.size == opened(tmp_path / "run/samples/000001.png").size
    zoom = (700 - 2 * 11) // (10 * side)
    digits, cell = data.load("digits").samples[..., 0], 2 + side * zoom
    for i, row in ((0, 0), (99, 1796)):
        top, left = (2 + place * cell for place in divmod(i, 10))
        shown = np.asarray(grid)[top : top + side * zoom : zoom, left : left + side * zoom : zoom]
        assert abs(shown - np.pad(digits[row] / 16 * 255, border)).max() <= 0.51


def test_config_holds_the_recipe(finished):
    trainer, path = finished
    held = tomllib.loads((path / "config.toml").read_text())
    for name, value in trainer.recipe.to_dict().items():
        if name != "name":
            assert json.loads(json.dumps(value)) == held.pop(name)
    assert {held["recipe"], held["seed"], held["device"]} == {"digits", 0, "cpu"}


def test_points_vectors_and_transparent_images_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    images, vectors = rng.integers(0, 256, (40, 4, 4, 4), np.uint8), rng.standard_normal((200, 5))
    for name, recipe, samples, mode in [
        ("points", RING, "ring", "RGB"),
        ("rgba", DIGITS, images, "RGB"),
        ("vectors", RING, vectors.astype(np.float32), "L"),
    ]:
        RunDirectory(tmp_path / name).fit(Trainer(recipe.replace(steps=1), samples, device="cpu"))
        assert {p.stem for p in (tmp_path / name / "samples").iterdir()} - {"real"} == {"000000", "000001"}
        assert opened(tmp_path / name / "samples/000001.png").mode == mode
        assert (tmp_path / name / "training.gif").stat().st_size > 0


@pytest.mark.parametrize("recipe", [DIGITS, VANILLA, RING], ids=lambda r: r.name)
@pytest.mark.parametrize("k", [7, 10, 16])
def test_stopped_and_resumed_is_the_same_run(tmp_path, recipe, k):
    whole = Trainer(recipe, device="cpu", seed=3).fit()
    path = tmp_path / "run"
    first = Trainer(recipe, device="cpu", seed=3)
    RunDirectory(path).fit(first, callbacks=[StopAt(k)])
    assert first.steps_done == k
    second = load(path, device="cpu")
    RunDirectory(path, go_on=True).fit(second)
    assert description(second) == {**description(whole), "data": description(second)["data"]}
    assert same(arrays(second), arrays(whole))
    steps = [row["step"] for row in read_metrics(path / "metrics.jsonl")]
    assert steps == sorted(set(steps))
    assert {11, 17} <= set(steps) if recipe is VANILLA else {5, 10, 15, 17} <= set(steps)


@pytest.mark.parametrize(("recipe", "both"), [(DIGITS.replace(steps=24), 20), (VANILLA, 16)])
def test_where_both_are_due_a_row_comes_before_the_checkpoint(tmp_path, monkeypatch, recipe, both):
    """So that losses which are not finite are seen before anything is saved."""
    rows, save = {}, Trainer.save

    def noted(trainer, path):
        found = [row["step"] for row in read_metrics(tmp_path / "run/metrics.jsonl")]
        rows.setdefault(trainer.steps_done, found)
        save(trainer, path)

    monkeypatch.setattr(Trainer, "save", noted)
    RunDirectory(tmp_path / "run").fit(Trainer(recipe, device="cpu"))
    assert rows[both][-1] == both


def test_a_stop_does_not_change_the_log(tmp_path):
    logs = []
    for k in (1000, 7):
        path = tmp_path / str(k)
        RunDirectory(path).fit(Trainer(DIGITS, device="cpu"), callbacks=[StopAt(k)])
        again = load(path, device="cpu")
        RunDirectory(path, go_on=True).fit(again)
        logs.append([row for row in rows_of(path / "metrics.jsonl") if row["step"] != 7])
    assert logs[0] == logs[1]


def test_killed_and_resumed_is_the_same_run(tmp_path):
    """Killed at 14: the last checkpoint is of 12, the log has 5 and 10, and a picture lies after it."""
    trainer = Trainer(DIGITS, device="cpu")
    RunDirectory(tmp_path / "whole").fit(trainer)
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        RunDirectory(path).fit(Trainer(DIGITS, device="cpu"), callbacks=[StopAt(14, KeyboardInterrupt())])
    with open(path / "metrics.jsonl", "a") as log:
        log.write('{"step": 13, "critic_loss": 1}\n{"step": 14, "crit')
    (path / ".abc.tmp").write_text("torn")
    (path / "samples/000014.png").write_text("after the checkpoint")
    (path / "samples/notes.png").write_text("not ours")
    again = load(path, device="cpu")
    assert again.steps_done == 12
    RunDirectory(path, go_on=True).fit(again)
    assert same(arrays(again), arrays(trainer))
    assert [row["step"] for row in read_metrics(path / "metrics.jsonl")] == [5, 10, 15, 17]
    assert not (path / ".abc.tmp").exists()
    assert not (path / "samples/000014.png").exists()
    assert (path / "samples/notes.png").exists()
    for step in (0, 6, 12, 17):
        name = f"samples/{step:06d}.png"
        assert (path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_older_checkpoint_does_not_overwrite_a_newer_one(finished):
    _, path = finished
    older = load(checkpoint.path_for(path, 12), device="cpu")
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="newer than step 12"):
        RunDirectory(path, go_on=True).fit(older)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(finished):
    trainer, path = finished
    newest = checkpoint.path_for(path, 17)
    newest.write_bytes(newest.read_bytes()[:-3])
    with pytest.warns(RuntimeWarning, match="damaged"):
        again = load(path, device="cpu")
    assert again.steps_done == 16
    with pytest.warns(RuntimeWarning, match="damaged"):
        RunDirectory(path, go_on=True).fit(again)
    assert same(arrays(load(path, device="cpu")), arrays(trainer))


def test_a_directory_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        RunDirectory(tmp_path).fit(Trainer(DIGITS, device="cpu"))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_nan_stops_within_one_interval_and_keeps_the_last_good_checkpoint(tmp_path):
    class Poison(Callback):
        def on_step(self, trainer):
            if trainer.steps_done == 11:
                trainer.generator.parameters()[0].data[:] = np.nan

    trainer = Trainer(DIGITS.replace(checkpoint_every=3), device="cpu")
    with pytest.raises(DivergedError) as caught:
        RunDirectory(tmp_path / "run").fit(trainer, callbacks=[Poison()])
    assert trainer.steps_done == 12  # the checkpoint that was due refused; at the latest the log of step 15
    good = checkpoint.path_for(tmp_path / "run", 9)
    assert str(good) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(np.isfinite(x).all() for x in arrays(load(tmp_path / "run", device="cpu")).values())
    assert (tmp_path / "run/training.gif").exists()
    assert (tmp_path / "run/losses.png").exists()


def test_a_checkpoint_on_a_logged_step_waits_for_the_losses(tmp_path):
    """Losses that are not finite while the weights still are must not be saved as good."""

    class Poison(Callback):
        def on_step(self, trainer):
            trainer.work.ring.array[:] = np.inf

    trainer = Trainer(DIGITS.replace(checkpoint_every=5), device="cpu")
    with pytest.raises(DivergedError, match="step 5: critic loss"):
        RunDirectory(tmp_path / "run").fit(trainer, callbacks=[Poison()])
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000000.safetensors"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_stops_and_leaves_the_checkpoint_before(tmp_path, monkeypatch, code):
    write = files._write_all

    def full(handle, content):
        if (tmp_path / "run/samples/000006.png").exists():
            raise OSError(code, "no room")
        write(handle, content)

    monkeypatch.setattr(files, "_write_all", full)
    trainer = Trainer(DIGITS, device="cpu")
    with pytest.raises(OutputError, match="cannot write") as caught:
        RunDirectory(tmp_path / "run").fit(trainer)
    assert caught.value.exit_code == 4
    assert trainer.steps_done == 8
    assert load(tmp_path / "run", device="cpu").steps_done == 4
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_checkpoint_when_the_last_one_is_old(tmp_path, monkeypatch):
    """The clock says when, and changes nothing in the run: steps 0 to 17 take 100 s each."""
    trainer = Trainer(DIGITS.replace(checkpoint_every=1000), device="cpu")
    monkeypatch.setattr(run_module, "monotonic", lambda: 100.0 * trainer.steps_done)
    monkeypatch.setattr(checkpoint, "prune", lambda *_: None)
    RunDirectory(tmp_path / "run").fit(trainer)
    steps = [int(path.stem[5:]) for path in sorted((tmp_path / "run/checkpoints").iterdir())]
    assert steps == [0, 3, 6, 9, 12, 15, 17]
    assert same(arrays(trainer), arrays(Trainer(DIGITS, device="cpu").fit()))


@pytest.mark.parametrize("anew", [False, True])
def test_a_directory_that_is_deleted_ends_the_run(tmp_path, anew):
    class Delete(Callback):
        def on_step(self, trainer):
            if trainer.steps_done == 5:
                shutil.rmtree(tmp_path / "run")
                if anew:
                    (tmp_path / "run/samples").mkdir(parents=True)

    trainer = Trainer(DIGITS, device="cpu")
    with pytest.raises(OutputError, match="deleted") as caught:
        RunDirectory(tmp_path / "run").fit(trainer, callbacks=[Delete()])
    assert caught.value.exit_code == 4
    assert trainer.steps_done == 5
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_the_lock_goes_with_the_run(tmp_path, error):
    """Also where the directory is one callback among others, and after an error."""
    path, first = tmp_path / "run", Trainer(DIGITS, device="cpu")
    directory = RunDirectory(path)
    with nullcontext() if error is None else pytest.raises(KeyboardInterrupt):
        first.fit(callbacks=[directory, StopAt(6, error)])
    assert not (path / ".lock").exists()
    RunDirectory(path, go_on=True).fit(load(path, device="cpu"), 1)


def test_other_threads_or_kernels_of_blas_are_said(tmp_path, monkeypatch):
    said = ["one", "one", "other"]
    monkeypatch.setattr(trainer_module, "blas_kernels", lambda: said.pop(0))
    RunDirectory(tmp_path / "run").fit(Trainer(DIGITS, device="cpu"), 2)
    again = load(tmp_path / "run", device="cpu")
    assert again.arithmetic == "one, threads: 1"
    RunDirectory(tmp_path / "run", go_on=True).fit(again, 2)
    with pytest.warns(RuntimeWarning, match="with one, .* with other,"):
        RunDirectory(tmp_path / "run", go_on=True).fit(again, 2)
    assert load(tmp_path / "run", device="cpu").arithmetic == "other, threads: 1"


def test_equal_runs_have_equal_files(tmp_path):
    for name in ("a", "b"):
        RunDirectory(tmp_path / name).fit(Trainer(DIGITS, device="cpu"))
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / name / "checkpoints").iterdir()} for name in "ab")
    assert len(a) == 3
    assert a == b


def test_edits_of_a_config_are_noticed(finished):
    trainer, path = finished
    file = path / "config.toml"
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


def test_metrics_that_are_not_finite_become_null(tmp_path):
    class Odd(Callback):
        def on_log(self, trainer, metrics):
            metrics["d_real"] = float("inf")

    trainer = Trainer(DIGITS.replace(steps=5), device="cpu")
    directory = RunDirectory(tmp_path / "run")
    trainer.fit(callbacks=[Odd(), directory])
    assert read_metrics(directory.metrics_file)[0]["d_real"] is None


# Quality


def test_each_real_image_votes_for_its_own_class():
    digits = data.load("digits").take(slice(0, 300))
    samples = digits.scaled(0, 1).reshape(-1, 8, 8, 1)
    assert (quality.class_votes(samples, digits) == np.bincount(digits.labels)).all()


def test_votes_agree_with_distances_written_out(monkeypatch):
    monkeypatch.setattr(quality, "BLOCK", 7)  # several blocks, the last one partial
    rng = np.random.default_rng(1)
    real = rng.random((33, 2, 3, 1)).astype(np.float32)
    labels = rng.choice([3, 5, 9], 33)
    samples = rng.random((20, 2, 3, 1)).astype(np.float32)
    gaps = ((samples[:, None] - real[None]) ** 2).sum(axis=(2, 3, 4))
    wanted = [int((labels[gaps.argmin(axis=1)] == c).sum()) for c in (3, 5, 9)]
    assert quality.class_votes(samples, data.from_array(real, labels)).tolist() == wanted


def test_votes_need_labels_and_the_right_shape():
    digits = data.load("digits")
    with pytest.raises(DataError, match="without labels"):
        quality.class_votes(
            np.zeros((3, 4, 4, 1)), data.from_array(np.random.default_rng(0).random((5, 4, 4, 1)))
        )
    with pytest.raises(ShapeError, match="wanted"):
        quality.class_votes(np.zeros((3, 4, 4, 1)), digits)


def test_a_class_is_kept_with_a_tenth_of_its_share():
    assert quality.classes_kept(np.array([500, 470, 20, 10])) == 2  # a tenth of 250 is 25
    assert quality.classes_kept(np.array([500, 450, 25, 25])) == 4
    assert quality.classes_kept(np.array([1000, 0, 0])) == 1
    assert quality.classes_kept(np.zeros(3)) == 0


def test_mode_scores_by_hand():
    modes = np.array([[0.0, 0.0], [10, 0], [0, 10], [10, 10]])
    good = [[0, 0.29], [0.2, 0.2], [-0.29, 0], [10.1, 0]]  # three and one, within 3 x 0.1
    bad = [[0, 0.31], [0.22, 0.22], [5, 5], [9.6, 10]]
    scores = quality.mode_scores(np.array(good + bad), modes, 0.1)
    assert scores.kept == 2
    assert scores.share == pytest.approx(0.5)
    assert scores.reverse_kl == pytest.approx(0.75 * np.log(3) + 0.25 * np.log(1))


def test_mode_scores_of_the_mixture_itself_and_of_nothing():
    grid = data.load("grid")
    scores = quality.mode_scores(grid.samples[:2500], grid.modes, grid.mode_std)
    assert scores.kept == 25
    assert scores.share == pytest.approx(0.9889, abs=0.01)  # 1 - exp(-4.5)
    assert scores.reverse_kl == pytest.approx(0.005, abs=0.005)
    nothing = quality.mode_scores(grid.samples[:50] + 1, grid.modes, grid.mode_std)
    assert nothing == (0, 0.0, np.inf)
    one = quality.mode_scores(np.zeros((9, 2)), grid.modes, grid.mode_std)
    assert one == (1, 1.0, pytest.approx(np.log(25)))
    with pytest.raises(ShapeError, match="wanted"):
        quality.mode_scores(np.zeros((9, 3)), grid.modes, 1.0)
