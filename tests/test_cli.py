"""The command line: what it makes, what it says, and that every mistake is one line and the right exit code."""

import errno
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import pytest
import tomli_w
from PIL import Image
from rich.console import Console

from fastgan import data
from fastgan.cli import app, cli, main, progress
from fastgan.cli.options import HELP, leaves, value_at
from fastgan.cli.settings import choose
from fastgan.cli.signals import stopping
from fastgan.nn import MLP
from fastgan.train import RECIPES, Callback, Recipe, Trainer, checkpoint, files, load
from fastgan.train.run import config, read_metrics
from fastgan.train.state import arrays

TINY = ["--generator-hidden", "8", "--critic-hidden", "8", "--batch", "16", "--device", "cpu"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ok(capsys, *words):
    """The output of a command that succeeds."""
    code = main(list(map(str, words)))
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def refused(capsys, code, *words):
    """The one line on stderr of a command that fails with `code`, and leaves the folder as it was."""
    before = contents()
    assert main(list(map(str, words))) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("fastgan: error: ")
    assert contents() == before
    return err


def contents():
    return {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} | {
        p: None for p in Path().rglob("*") if p.is_dir()
    }


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# Training


def test_train_makes_a_run_and_says_where(capsys, tmp_path):
    out = ok(capsys, "train", "--steps", 40, *TINY)
    path = Path("runs/digits")
    pictures = sorted(p.name for p in (path / "samples").iterdir())
    assert pictures == [*(f"{n:06d}.png" for n in range(0, 41, 4)), "real.png"]
    for name in ("config.toml", "metrics.jsonl", "training.gif", "losses.png"):
        assert (path / name).stat().st_size > 0
    assert "digits: 1,797 images of 8x8x1" in out
    assert "log_every 4, sample_every 4" in out
    assert re.search(r"^step  4/40  critic \S+  generator \S+  D\(x\) .* steps/s, .* left$", out, re.M)
    assert re.search(r"^step 40/40  .*Wasserstein \S+  penalty \S+  \S+ steps/s$", out, re.M)
    assert re.search(r"^classes drawn: \d+ of 10 \(nearest-neighbour vote over 1000 samples\)$", out, re.M)
    assert "fastgan sample runs/digits --seed 42" in out
    assert "runs/digits-2" in ok(capsys, "train", "--steps", 1, *TINY)


def test_same_seed_same_run_and_another_seed_another(capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ok(capsys, "train", "--steps", 6, *TINY, "--seed", seed, "--out", name)
    a, b, c = (arrays(load(name, device="cpu")) for name in "abc")
    assert same(a, b)
    assert not same(a, c)


def test_quiet_says_nothing(capsys):
    assert ok(capsys, "train", "--steps", 2, *TINY, "--quiet") == ""


def test_a_mixture_is_scored(capsys):
    out = ok(capsys, "train", "ring-wgan-gp", "--steps", 2, *TINY, "--out", "ring")
    assert re.search(r"^modes found: \d of 8, \S+% of 2,500 points .*reverse KL", out, re.M)
    assert "points of 2 numbers" in out


def test_images_of_a_folder(capsys):
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(f"photos/{i}.png")
    Path("photos/broken.png").write_bytes(b"\x89PNG\r\n")
    words = ["train", "--data", "photos", "--image-size", 8, "--steps", 2, *TINY, "--out", "run"]
    assert "broken.png" in refused(capsys, 2, *words)
    assert main([*map(str, words), "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert "photos: 20 images of 8x8x3" in out
    assert err.startswith("fastgan: warning: ")
    assert err.count("\n") == 1
    assert str(Path("photos").absolute()) == tomllib.loads(Path("run/config.toml").read_text())["data"]


def test_as_published(capsys):
    out = ok(
        capsys, "train", "toy-mlp", "--data", "digits", "--as-published", "--steps", 1, *TINY, "--out", "run"
    )
    assert "which tanh cannot reach" in out
    assert load("run", device="cpu").recipe.high == pytest.approx(2.8214, abs=1e-3)
    assert "nothing to do" in refused(capsys, 2, "train", "digits", "--as-published")


# Where values come from


def settings(name=None, toml=None, run=(), **flags):
    file = None
    if toml is not None:
        file = Path("some.toml")
        file.write_text(toml)
    return choose(name, file, dict(run), flags)


def test_options_come_before_the_file_and_that_before_the_recipe():
    toml = 'recipe = "keras-mlp"\nseed = 5\nbatch = 20\n[optimiser]\nlr = 0.5\nbeta1 = 0.25\n[critic]\nhidden = [7]\n'
    chosen = settings(None, toml, {"seed": 9}, optimiser__lr=0.75, generator__hidden=(3, 4))
    recipe = chosen.recipe
    assert (recipe.name, chosen.seed, recipe.batch) == ("keras-mlp", 9, 20)
    assert (recipe.optimiser.lr, recipe.optimiser.beta1, recipe.optimiser.eps) == (0.75, 0.25, 1e-7)
    assert (recipe.generator.hidden, recipe.critic.hidden) == ((3, 4), (7,))
    assert recipe.generator.batch_norm == RECIPES["keras-mlp"].generator.batch_norm


def test_a_short_run_is_looked_at_more_often_unless_told_otherwise():
    assert settings("digits").paced == ()
    short = settings("digits", steps=50)
    assert (short.recipe.log_every, short.recipe.sample_every, short.recipe.checkpoint_every) == (5, 5, 1000)
    told = settings("digits", "log_every = 50\n", steps=50, sample_every=25)
    assert (told.recipe.log_every, told.recipe.sample_every, told.paced) == (50, 25, ())


@pytest.mark.parametrize("name", list(RECIPES))
def test_config_toml_repeats_a_run(name):
    """What a run directory writes is read back as the same settings, for every recipe, plain and as published."""
    for as_published in (False, True) if RECIPES[name].published else (False,):
        recipe = RECIPES[name].as_published() if as_published else RECIPES[name]
        recipe = recipe.replace(batch=16, generator_lr=0.125)
        small = recipe.replace(
            generator=MLP((4,)), critic=MLP((4,)), data="ring" if recipe.points else "digits"
        )
        trainer = Trainer(small, device="cpu", seed=4)
        values = config(trainer, as_published=as_published)
        chosen = settings(None, tomli_w.dumps(values))
        assert chosen.recipe == small
        assert (chosen.seed, chosen.device, chosen.source) == (4, "cpu", trainer.form.source)


def test_config_toml_repeats_a_run_to_the_same_bits(capsys):
    ok(capsys, "train", "--steps", 5, *TINY, "--seed", 3, "--lr", 0.01, "--out", "a")
    ok(capsys, "train", "--config", "a/config.toml", "--out", "b")
    assert same(arrays(load("a", device="cpu")), arrays(load("b", device="cpu")))
    ok(capsys, "train", "--config", "a/config.toml", "--out", "c", "--lr", 0.02)
    assert not same(arrays(load("a", device="cpu")), arrays(load("c", device="cpu")))


def test_a_recipe_of_your_own_is_repeated_from_its_config():
    own = RECIPES["digits"].replace(
        name="mine", generator=MLP((4,)), critic=MLP((4,)), penalty=2.0, source="me"
    )
    chosen = settings(None, tomli_w.dumps(config(Trainer(own, device="cpu"))))
    assert (chosen.recipe.name, chosen.recipe.penalty, chosen.recipe.clip) == ("mine", 2.0, None)


def test_none_in_place_of_a_recipe_s_value_is_repeated_too():
    plain = RECIPES["ring-wgan-gp"].replace(penalty=None, generator=MLP((4,)), critic=MLP((4,)))
    values = config(Trainer(plain, device="cpu"))
    assert settings(None, tomli_w.dumps(values)).recipe.penalty is None


@pytest.mark.parametrize(
    ("toml", "part"),
    [
        ("stepz = 3", "did you mean steps?"),
        ("lr = 3", "did you mean optimiser.lr?"),
        ("critic-steps = 3", "did you mean critic_steps?"),
        ("[critic]\nhiden = [3]", "got 'critic.hiden'; did you mean"),
        ("[optimizer]\nlr = 1", "got 'optimizer'"),
        ("steps = 'many'", "steps is 'many', wanted a whole number"),
        ("steps = 2.5", "wanted a whole number"),
        ("steps = true", "wanted a whole number"),
        ("ema = 'x'", "wanted a number"),
        ("points = 1", "wanted true or false"),
        ("objective = [1]", "wanted text"),
        ("[generator]\nhidden = 'abc'", "wanted a list of whole numbers"),
        ("[generator]\nhidden = [1.5]", "wanted a list of whole numbers"),
        ("[generator]\nactivation = [1]", "wanted text"),
        ("generator = 3", "got 'generator'"),
        ("seed = 'a'", "seed is 'a'"),
        ("seed = -1", "got seed -1"),
        ("recipe = 'digitz'", "did you mean digits?"),
        ("name = 'x'", "got 'name'"),
        ("own_networks = true", "networks of its own"),
        ("steps = ", "is not TOML"),
        ("\0", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused(capsys, toml, part):
    Path("some.toml").write_text(toml)
    err = refused(capsys, 2, "train", "--config", "some.toml", *TINY)
    assert part in err


def test_a_file_that_is_not_there_or_is_for_another_recipe(capsys):
    assert "cannot read" in refused(capsys, 2, "train", "--config", "nope.toml")
    Path("some.toml").write_text('recipe = "digits"')
    assert "leave one of them out" in refused(capsys, 2, "train", "keras-mlp", "--config", "some.toml")


def test_every_value_of_a_recipe_has_an_option_and_help(capsys):
    out = ok(capsys, "train", "seo-numpy", "--help")
    for path, _ in leaves(Recipe):
        assert "--" + "-".join(path).replace("_", "-") in out
        assert path[-1] in HELP
    flat = " ".join(out.split())
    assert "[seo-numpy: 32]" in flat  # batch, of this recipe
    assert "[seo-numpy: arctan,relu,arctan,relu,tanh,relu]" in flat
    assert "--lr, --optimiser-lr" in flat
    assert not set(HELP) - {path[-1] for path, _ in leaves(Recipe)}


def test_every_option_reaches_its_value():
    """Each option, given another value than the recipe's, changes exactly that value."""
    from fastgan.cli.options import CHOICES, nested, parameter
    from fastgan.train.recipe import from_dict

    command = cli.commands["train"]
    recipe = RECIPES["digits"]
    for path, annotation in leaves(Recipe):
        old = value_at(recipe, path)
        flag = "--" + "-".join(path).replace("_", "-")
        if annotation is bool:
            words = [f"--no-{flag[2:]}" if old else flag]
        elif path[-1] in CHOICES:
            words = [flag, next(x for x in CHOICES[path[-1]] if x != old)]
        elif path[-1] == "hidden":
            words = [flag, "3,4"]
        elif path[-1] == "activation":
            words = [flag, "tanh,arctan"]
        elif path[-1] == "schedule":
            words = [flag, "exponential:0.5"]
        else:
            words = [flag, "0.375" if isinstance(old, float) or old is None else str(old + 1)]
        with command.make_context("train", list(words)) as ctx:
            flags = {
                k: v for k, v in ctx.params.items() if "__" in k or k in {f.name for f in fields(Recipe)}
            }
            given = {k: v for k, v in flags.items() if v is not None}
            assert list(given) == [parameter(path)]
            changed = from_dict(nested(given), recipe)
        assert value_at(changed, path) != old
        others = [p for p, _ in leaves(Recipe) if p != path]
        assert all(value_at(changed, p) == value_at(recipe, p) for p in others)


# Mistakes


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("trian", "did you mean train?"),
        ("xyz", "wanted train, resume, sample"),
        ("--nope", "--nope"),
        ("train digitz", "did you mean digits?"),
        ("train qqqqq", "`fastgan recipes` lists them"),
        ("train --stpes 3", "'--steps'"),
        ("train --steps x", "'--steps'"),
        ("train --steps 0", "got steps 0"),
        ("train --steps", "--steps"),
        ("train a b", "unexpected extra argument"),
        ("train --data mnits", "did you mean 'mnist'?"),
        ("train --data ./nothing.npy", "no file or folder './nothing.npy'"),
        ("train --data ring", "wanted images (try --data digits)"),
        ("train ring-gan --data digits", "wanted points (try --data ring)"),
        ("train --objective hing", "hinge"),
        ("train --noise gauss", "uniform"),
        ("train --sampling never", "sequential"),
        ("train --optimiser-kind adamm", "rmsprop"),
        ("train --optimiser-schedule linear:x", "wanted constant, linear"),
        ("train --generator-hidden 3,x", "wanted widths such as"),
        ("train --generator-hidden 0", "wanted widths such as"),
        ("train --generator-activation relu,tanh,relu", "3 activations for 2 hidden layers"),
        ("train --generator-activation rleu", "wanted leaky_relu"),
        ("train --critic-batch-norm 0.1", "BatchNorm"),
        ("train --batch 5000", "at least a batch of 5000"),
        ("train --seed -1", "got seed -1"),
        ("train --ema 1", "0 <= ema < 1"),
        ("train --lr -1", "wanted none below 0"),
        ("train --image-size 9", "for folders of pictures"),
        ("train --split best", "'train', 'test'"),
        ("resume", "Missing argument"),
        ("resume nowhere", "no checkpoint at 'nowhere'"),
        ("resume .", "no checkpoint in '.'"),
        ("sample nowhere", "no checkpoint at 'nowhere'"),
        ("summary nope", "`fastgan recipes` lists them"),
        ("summary --size 8x", "wanted height x width"),
        ("summary --size 8 --data mnist", "not both"),
        ("recipes more", "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line(capsys, words, part):
    assert part in refused(capsys, 2, *words.split())


def idx(shape, payload, magic=0x08):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, magic, len(shape), *shape) + payload


BAD_DATA = {
    "truncated-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16 - 1)),
    "magic-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16), magic=0x0D),
    "text-idx3-ubyte": b"<html>gone</html>",
    "labels-idx1-ubyte": idx((30,), bytes(30)),
    "constant-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16)),
    "empty-idx3-ubyte": b"",
    "data.bin": b"12345",
}
BAD_ARRAYS = {
    "nan.npy": (np.full((30, 4, 4), np.nan, np.float32), "480 of 480 values are not finite"),
    "constant.npy": (np.ones((30, 4, 4), np.float32), "nothing to learn"),
    "one.npy": (np.zeros((1, 4, 4), np.float32), "fewer than 2"),
    "range.npy": (np.linspace(-900, 900, 480).reshape(30, 4, 4), "rescale"),
    "text.npy": (np.array(["a", "b"]), "text.npy"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_a_bad_file_is_one_line(capsys, name):
    Path(name).write_bytes(BAD_DATA[name])
    assert name in refused(capsys, 2, "train", "--data", name, *TINY)


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_one_line(capsys, name):
    array, part = BAD_ARRAYS[name]
    np.save(name, array)
    err = refused(capsys, 2, "train", "--data", f"./{name}", *TINY)
    assert part in err
    assert name in err


def test_an_array_with_objects_is_not_unpickled(capsys):
    np.save("object.npy", np.array([Canary()], object), allow_pickle=True)
    refused(capsys, 2, "train", "--data", "object.npy", *TINY)
    assert not Path("canary").exists()


class Canary:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("canary", "w"))


@pytest.fixture
def run(capsys):
    """A small finished run."""
    ok(capsys, "train", "--steps", 4, *TINY, "--checkpoint-every", 2, "--out", "run")
    return Path("run")


def test_an_existing_directory_or_file_is_not_written_to(capsys, run):
    assert "exists already" in refused(capsys, 4, "train", "--steps", 1, *TINY, "--out", "run")
    Path("file").write_text("mine")
    assert "is a file" in refused(capsys, 4, "train", "--steps", 1, *TINY, "--out", "file")
    assert "a part of the path is a file" in refused(
        capsys, 4, "train", "--steps", 1, *TINY, "--out", "file/run"
    )


def test_an_existing_directory_is_refused_before_the_data_are_looked_for(capsys, monkeypatch, run):
    monkeypatch.setattr(Trainer, "__init__", None)
    refused(capsys, 4, "train", "--out", "run")


def test_foreign_checkpoints_are_refused(capsys, run):
    for name, content in {
        "pickle.safetensors": pickle.dumps(Canary()),
        "model.pt": b"PK\x03\x04" + bytes(50),
        "empty.safetensors": b"",
        "text.safetensors": b"hello, this is not a checkpoint",
    }.items():
        Path(name).write_bytes(content)
        assert name in refused(capsys, 2, "sample", name)
    assert not Path("canary").exists()
    assert "wanted a run directory" in refused(capsys, 2, "resume", "model.pt")


def test_damaged_checkpoints(capsys, run):
    """The newest that is sound is used, with a warning for each that is not; without any there is an error."""
    newest = checkpoint.path_for(run, 4)
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    assert main(["sample", "run"]) == 0
    out, err = capsys.readouterr()
    assert "step 2" in out
    assert err.startswith("fastgan: warning: skipped a checkpoint")
    assert err.count("\n") == 1
    assert "damaged" in refused(capsys, 2, "sample", str(newest))
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert main(["resume", "run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["warning", "warning", "warning", "error"]
    assert "none of the 3 checkpoints" in lines[-1]


def test_cuda_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr("fastgan.backend.cuda_problem", lambda: "no GPU here; buy one")
    err = refused(capsys, 2, "train", "--device", "cuda")
    assert "no GPU here" in err
    assert "--device cpu" in err


def test_diverged_losses_stop_within_one_interval(capsys):
    words = ["train", "--lr", "1e30", "--steps", 400, "--log-every", 7, *TINY, "--out", "run"]
    assert main(list(map(str, words))) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("fastgan: error: step 7: ")
    good = re.search(r"the last good checkpoint is (\S+)", err)[1]
    assert all(np.isfinite(x).all() for x in arrays(load(good, device="cpu")).values())
    assert Path("run/training.gif").exists()
    assert Path("run/losses.png").exists()
    ok(capsys, "sample", "run")


def test_a_full_disk(capsys, monkeypatch, run):
    """Exit code 4, one line, and the run still goes on from the checkpoint before."""
    write = files._write_all

    def full(handle, content):
        if Path("run/samples/000006.png").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(handle, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_all", full)
        assert main(["resume", "run", "--steps", "9", "--quiet"]) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left" in err
    assert load("run", device="cpu").steps_done == 4
    ok(capsys, "resume", "run", "--steps", 6)


def test_a_directory_that_cannot_be_written(capsys, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    err = refused(capsys, 4, "train", "--steps", 1, *TINY)
    assert "ask for write permission" in err


def test_unexpected_errors_are_one_line_too(capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(Trainer, "fit", broken)
    assert main(["train", *TINY]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(
        "fastgan: internal error: RuntimeError: first line second line; run again with --debug"
    )
    assert main(["train", *TINY, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_no_memory_is_one_line(capsys):
    assert main(["train", "--latent", "10000000000000"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastgan: error: out of memory (Unable to allocate")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "digitz", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("fastgan: error: got recipe 'digitz'")


def test_ctrl_c_outside_of_training(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "__init__", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err.strip() == "fastgan: interrupted"  # click ends the line with ^C


def test_suggestions_do_not_need_a_new_click():
    with pytest.raises(click.UsageError, match="did you mean doctor"):
        app.cli.resolve_command(click.Context(app.cli), ["docter"])


# Resume, sample, recipes, summary


def test_resume_goes_on_and_says_when_there_is_nothing_to_do(capsys, run):
    assert "give --steps above 4" in refused(capsys, 2, "resume", "run")
    assert "is at step 4 of 3" in refused(capsys, 2, "resume", "run", "--steps", 3)
    out = ok(capsys, "resume", "run", "--steps", 7)
    assert "from step 4" in out
    assert "step 7/7" in out
    assert "fastgan resume run --steps 14" in out
    assert load("run", device="cpu").steps_done == 7


def test_resume_needs_the_same_data_and_finds_them_elsewhere(capsys):
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.random((40, 4, 4)).astype(np.float32))
    ok(capsys, "train", "--data", "x.npy", "--steps", 2, *TINY, "--out", "run")
    os.rename("x.npy", "moved.npy")
    assert "x.npy" in refused(capsys, 2, "resume", "run", "--steps", 4, "--quiet")
    ok(capsys, "sample", "run")  # needs no data
    ok(capsys, "resume", "run", "--steps", 4, "--data", "moved.npy")
    np.save("moved.npy", rng.random((40, 4, 4)).astype(np.float32))
    assert "other data" in refused(capsys, 2, "resume", "run", "--steps", 6, "--data", "moved.npy")


def test_the_same_seed_gives_the_same_picture(capsys, run):
    assert "run/sample-seed42.png  25 samples of step 4" in ok(capsys, "sample", "run", "--seed", 42)
    first = (run / "sample-seed42.png").read_bytes()
    ok(capsys, "sample", "run/checkpoints/step-00000004.safetensors", "--seed", 42, "--out", "again.png")
    assert "run/sample-seed43.png" in ok(capsys, "sample", checkpoint.path_for(run, 4), "--seed", 43)
    assert Path("again.png").read_bytes() == first
    assert (run / "sample-seed43.png").read_bytes() != first


def test_grid_and_count(capsys, run):
    ok(capsys, "sample", "run", "--grid", "2x4", "--out", "grid.png")
    with Image.open("grid.png") as image:
        zoom = (700 - 2 * 5) // (4 * 8)
        assert image.size == (4 * (8 * zoom + 2) + 2, 2 * (8 * zoom + 2) + 2)
    assert "7 samples" in ok(capsys, "sample", "run", "--count", 7)
    assert "rows x columns" in refused(capsys, 2, "sample", "run", "--grid", "5")
    assert "rows x columns" in refused(capsys, 2, "sample", "run", "--grid", "0x5")
    assert "not both" in refused(capsys, 2, "sample", "run", "--grid", "5x5", "--count", 3)
    assert "ends in .png" in refused(capsys, 2, "sample", "run", "--out", "run/config.toml")


def test_samples_of_points(capsys):
    ok(capsys, "train", "ring-wgan-gp", "--steps", 1, *TINY, "--out", "run")
    assert "2500 samples" in ok(capsys, "sample", "run")
    assert "--grid is for images" in refused(capsys, 2, "sample", "run", "--grid", "5x5")


def test_recipes_lists_all(capsys):
    out = ok(capsys, "recipes")
    for recipe in RECIPES.values():
        assert re.search(rf"^{recipe.name}\b.*{recipe.data}.*{re.escape(recipe.source)}$", out, re.M)
        assert " ".join(recipe.published_note.split()[:6]) in out


def test_summary_counts_as_keras_does(capsys):
    """The published counts of Keras-GAN's gan.py: 1,493,520 and 533,505 parameters."""
    out = ok(capsys, "summary", "keras-mlp")
    assert "1,493,520 parameters: 1,489,936 trained, 3,584 running statistics" in out
    assert "533,505 parameters: 533,505 trained, 0 running statistics" in out
    assert re.search(r"^BatchNorm +\(n, 1024\) +4,096$", out, re.M)


@pytest.mark.parametrize("name", list(RECIPES))
def test_summary_of_every_recipe_needs_no_data(capsys, monkeypatch, name):
    monkeypatch.setattr(data, "load", None)
    assert "both networks" in ok(capsys, "summary", name)


def test_summary_of_a_size(capsys):
    assert "(n, 3072)" in ok(capsys, "summary", "digits", "--size", "32x32x3")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--data", "mnist")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--size", "28x28")


def test_version_help_and_no_command(capsys):
    import fastgan

    assert ok(capsys, "--version") == f"fastgan, version {fastgan.__version__}\n"
    assert ok(capsys) == ok(capsys, "--help")
    for name in cli.commands:
        assert "Usage: fastgan" in ok(capsys, name, "--help")


# Progress


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Steps:
    """As much of a Trainer as a display looks at."""

    steps_done = 0


METRICS = {
    "step": 1,
    "critic_loss": 1.5,
    "generator_loss": -0.25,
    "d_real": 0.75,
    "d_fake": 0.5,
    "accuracy": 0.625,
}


def test_lines_come_at_most_every_two_seconds(capsys, monkeypatch):
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    lines.on_start(steps)
    for steps.steps_done in range(10, 1001, 10):
        clock.now += 0.5
        lines.on_log(steps, METRICS)
    shown = [int(step) for step in re.findall(r"^step +(\d+)/1000", capsys.readouterr().out, re.M)]
    assert shown == [10, *range(50, 1001, 40), 1000][: len(shown)]
    assert len(shown) in (25, 26)
    assert shown[-1] == 1000


def test_a_stopped_run_shows_its_last_line(capsys, monkeypatch):
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    lines.on_start(steps)
    for steps.steps_done in (10, 20):
        clock.now += 0.5
        lines.on_log(steps, METRICS)
    lines.on_end(steps)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "step   20/1000  critic 1.500  generator -0.250  D(x) 0.750  D(G(z)) 0.500  accuracy 62%  "
        "20 steps/s, 49 s left"
    )


def test_the_pace_of_a_resumed_run_is_that_of_its_own_steps(capsys, monkeypatch):
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    steps.steps_done = 500
    lines.on_start(steps)
    steps.steps_done, clock.now = 600, 101.0
    lines.on_log(steps, METRICS)
    assert capsys.readouterr().out.endswith("100 steps/s, 4 s left\n")


def test_the_bar_shows_steps_metrics_and_time(monkeypatch):
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    console = Console(file=io.StringIO(), force_terminal=True, width=90)
    with progress.shown(5000, console=console) as (bar,):
        bar.on_start(steps)
        steps.steps_done, clock.now = 1000, 110.0
        bar.on_step(steps)
        bar.on_log(steps, METRICS)
        bar.on_end(steps)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "step 1,000/5,000" in text
    assert "100 steps/s, 40 s left" in text
    assert "critic 1.500  generator -0.250" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


# Signals


class Blank:
    stop_wanted = False


def test_the_first_signal_asks_and_the_second_ends(capfd):
    before = signal.getsignal(signal.SIGINT)
    trainer = Blank()
    with stopping(trainer) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert trainer.stop_wanted
        assert stop.exit_code == 130
        with pytest.raises(SystemExit) as caught:
            os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C again" in capfd.readouterr().err


def test_sigterm_has_its_own_code():
    before = signal.getsignal(signal.SIGTERM)
    with stopping(Blank()) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_trains_without_handlers():
    seen = []

    def work():
        with stopping(Blank()) as stop:
            seen.append(stop.exit_code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer):
        trainer.stop_wanted = trainer.steps_done == self.step


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_resumed_is_the_same_run(capsys, number, code):
    """A real process, really interrupted; then on to 10 steps later, and compared with a run without a break."""
    words = [
        "train",
        "--steps",
        "500000",
        "--log-every",
        "5",
        "--sample-every",
        "500000",
        *TINY,
        "--out",
        "run",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "fastgan", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while len(read_metrics(Path("run/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    stopped = int(re.search(r"^stopped at step (\d+); go on with: fastgan resume run$", out, re.M)[1])
    assert out.splitlines()[-1].startswith("stopped at step")
    assert load("run", device="cpu").steps_done == stopped
    assert Path("run/training.gif").exists()
    ok(capsys, "resume", "run", "--steps", stopped + 10, "--quiet")
    resumed = load("run", device="cpu")
    whole = Trainer(resumed.recipe, device="cpu").fit(callbacks=[StopAt(stopped + 10)])
    assert same(arrays(resumed), arrays(whole))


def test_a_closed_pipe_is_no_traceback(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m fastgan recipes | true"
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_module_and_metrics_are_json(capsys, run):
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["step"] <= 4


def test_a_notice_of_compiling_only_without_compiled_kernels(capsys, monkeypatch):
    monkeypatch.setattr("fastgan.cli.train.kernels_compiled", lambda: False)
    assert "the first time only" in ok(capsys, "train", "--steps", 1, *TINY)
    monkeypatch.setattr("fastgan.cli.train.kernels_compiled", lambda: True)
    assert "the first time only" not in ok(capsys, "train", "--steps", 1, *TINY)
    monkeypatch.undo()
    assert progress.kernels_compiled()  # they have just run
