"""Runs on the command line: what one makes, what it meets on its way, and its exit code."""

import errno
import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import TINY, ok, refused

from fastgan.cli import main
from fastgan.gan import Trainer, load, lock
from fastgan.gan.lock import Lock

pytestmark = pytest.mark.usefixtures("here")
slow = pytest.mark.slow


def ends(capsys, code, *words):
    """The lines on stderr of a command that ends with `code`."""
    assert main(list(map(str, words))) == code
    return [line for line in capsys.readouterr().err.splitlines() if line]  # click ends ^C with an empty one


@slow
def test_train_makes_a_run_and_says_where(capsys, monkeypatch):
    monkeypatch.setattr("fastgan.cli.train.cache_folder", lambda: Path("empty"))
    out = ok(capsys, "train", "--steps", 20, *TINY)
    path = Path("runs/digits")
    pictures = sorted(p.name for p in (path / "samples").iterdir())
    assert pictures == [*(f"{n:06d}.png" for n in range(0, 21, 2)), "real.png"]
    for name in ("config.toml", "training.gif", "losses.png"):
        assert (path / name).stat().st_size > 0
    rows = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [*range(2, 21, 2)]
    assert "digits: 1,797 images of 8x8x1" in out
    assert re.search(r"^step  4/20  critic \S+  generator \S+  D\(x\) .* steps/s, .* left$", out, re.M)
    assert re.search(r"^classes drawn: \d+ of 10 ", out, re.M)
    assert "fastgan sample runs/digits --seed 42" in out
    assert "the first time only" in out  # as no kernels lie in that cache
    assert ok(capsys, "train", "--steps", 1, *TINY, "--quiet") == ""
    assert Path("runs/digits-2").exists()


@slow
def test_a_mixture_is_scored_and_sampled(capsys):
    out = ok(capsys, "train", "ring-wgan-gp", "--steps", 2, *TINY, "--out", "run")
    assert re.search(r"^modes found: \d of 8, \S+% of 2,500 points .*reverse KL", out, re.M)
    assert "2500 samples" in ok(capsys, "sample", "run")
    assert "--grid is for images" in refused(capsys, 2, "sample", "run", "--grid", "5x5")


def test_resume_goes_on_and_says_when_there_is_nothing_to_do(capsys):
    ok(capsys, "train", "--steps", 3, *TINY, "--optimizer-schedule", "linear", "--out", "run")
    out = ok(capsys, "resume", "run", "--steps", 6)
    assert "step 6/6" in out
    assert "fastgan resume run --steps 12" in out
    assert "times 0.5 at step 3, 0 there" in out  # as the schedule ends later now
    assert load("run", device="cpu").steps_done == 6


def test_resume_needs_the_same_data_and_finds_them_elsewhere(capsys):
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.random((40, 4, 4)).astype(np.float32))
    ok(capsys, "train", "--data", "x.npy", "--steps", 2, *TINY, "--out", "run")
    assert tomllib.loads(Path("run/config.toml").read_text())["data"] == str(Path("x.npy").absolute())
    os.rename("x.npy", "moved.npy")
    assert "x.npy" in refused(capsys, 2, "resume", "run", "--steps", 4, "--quiet")
    ok(capsys, "sample", "run")  # needs no data
    ok(capsys, "resume", "run", "--steps", 4, "--data", "moved.npy")
    np.save("moved.npy", rng.random((40, 4, 4)).astype(np.float32))
    assert "other data" in refused(capsys, 2, "resume", "run", "--steps", 6, "--data", "moved.npy")


@slow
def test_resume_draws_what_a_kill_left_out(capsys, run):
    kept = {name: (run / name).read_bytes() for name in ("training.gif", "losses.png", "samples/000004.png")}
    for missing in (["training.gif", "losses.png"], list(kept)):
        for name in missing:
            (run / name).unlink()
        assert "--steps above 4" in ok(capsys, "resume", "run")
        assert load(run, device="cpu").steps_done == 4
        assert {name: (run / name).read_bytes() for name in kept} == kept
    assert "give --steps above 4" in refused(capsys, 2, "resume", "run")


@slow
@pytest.mark.skipif(lock.fcntl is None, reason="no flock here")
def test_a_run_under_way_is_left_alone(capsys, run):
    Path("new").mkdir()
    held = [Lock(Path(name)) for name in ("run", "new")]
    for words in ("resume run --steps 6", "train --out run", "train --out new"):
        err = refused(capsys, 4, *words.split())
        assert "under way" in err
        assert f"process {os.getpid()}" in err
    ok(capsys, "sample", "run")
    ok(capsys, "export", "run")
    for lock_ in held:
        lock_.release()


def interrupted(*_, **__):
    raise KeyboardInterrupt


def broken(*_, **__):
    raise RuntimeError("first line\nsecond line")


def denied(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


WRONG = [  # what goes wrong where, and how `train` ends
    ("fastgan.gan.Trainer.__init__", interrupted, 130, "interrupted"),
    ("fastgan.cli.train._introduce", interrupted, 130, "interrupted"),
    ("fastgan.gan.Trainer.fit", broken, 1, "internal error: RuntimeError: first line second line"),
    ("pathlib.Path.mkdir", denied, 4, "ask for write permission"),
    ("fastgan.gan.files._write_all", full, 4, "No space left"),
    ("fastgan.device.cuda_problem", lambda: "no GPU here; buy one", 2, "no GPU here"),
]


@pytest.mark.parametrize(("place", "call", "code", "word"), WRONG)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(capsys, monkeypatch, place, call, code, word):
    words = ["train", "--steps", 1, *TINY, *(["--device", "cuda"] if "cuda" in place else [])]
    with monkeypatch.context() as patch:
        patch.setattr(place, call)
        (line,) = ends(capsys, code, *words)
        assert "Traceback" in "".join(ends(capsys, code, *words, "--debug")) or code == 130
    assert word in line
    assert not Path("runs").exists() or list(Path("runs").iterdir()) == []


def test_an_existing_directory_is_refused_before_the_data_are_looked_for(capsys, monkeypatch, run):
    monkeypatch.setattr(Trainer, "__init__", None)
    refused(capsys, 4, "train", "--out", "run")
