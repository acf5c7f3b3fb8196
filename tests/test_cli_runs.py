"""Run directories and the command line: one run in each, what an end left out, and what was changed since."""

import os
from pathlib import Path

import pytest
from cli_helpers import TINY, ok, refused

from fastgan.cli import main
from fastgan.gan import load, lock
from fastgan.gan.lock import Lock

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]


@pytest.mark.skipif(lock.fcntl is None, reason="no flock here")
@pytest.mark.parametrize("words", ["resume run --steps 6", "train --out run", "train --out new"])
def test_a_run_under_way_is_left_alone(capsys, run, words):
    Path("new").mkdir()
    held = Lock(Path(words.split()[-1] if "train" in words else "run"))
    err = refused(capsys, 4, *words.split())
    assert "under way" in err
    assert f"process {os.getpid()}" in err
    ok(capsys, "sample", "run")
    ok(capsys, "export", "run")
    held.release()


def test_a_directory_whose_run_cannot_start_is_not_left_behind(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastgan.cli.train._introduce", interrupted)
    assert main(["train", *TINY]) == 130
    assert list(Path("runs").iterdir()) == []


def test_resume_draws_what_a_kill_left_out(capsys, run):
    kept = {name: (run / name).read_bytes() for name in ("training.gif", "losses.png", "samples/000004.png")}
    for missing in (["training.gif", "losses.png"], list(kept)):
        for name in missing:
            (run / name).unlink()
        before = load(run, device="cpu").steps_done
        assert "--steps above 4" in ok(capsys, "resume", "run")
        assert load(run, device="cpu").steps_done == before
        assert {name: (run / name).read_bytes() for name in kept} == kept
    assert "give --steps above 4" in refused(capsys, 2, "resume", "run")


def test_a_config_that_was_changed_is_said(capsys, run):
    file = run / "config.toml"
    file.write_text(file.read_text().replace("batch = 16", "batch = 32"))
    assert main(["resume", "run", "--steps", "5", "--quiet"]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "config.toml was changed since (batch)" in err
    assert load(run, device="cpu").recipe.batch == 16


def test_a_config_that_was_not_changed_is_not_mentioned(capsys):
    ok(capsys, "train", "--steps", 4, *TINY, "--generator-lr", 1e-3, "--seed", 3, "--out", "run")
    ok(capsys, "resume", "run", "--steps", 5)
    Path("elsewhere").mkdir()
    ok(capsys, "resume", "run", "--steps", 6, "--data-dir", "elsewhere")
    ok(capsys, "resume", "run", "--steps", 7)


def test_resume_beyond_a_schedule_says_the_rates(capsys):
    ok(capsys, "train", "--steps", 3, *TINY, "--optimizer-schedule", "linear", "--out", "run")
    assert "times 0.5 at step 3, 0 there" in ok(capsys, "resume", "run", "--steps", 6)
    assert "schedule" not in ok(capsys, "train", "--steps", 3, *TINY, "--out", "other")
