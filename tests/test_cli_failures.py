"""What a run meets on its way, and its exit code: directories, checkpoints, disks, memory, losses, bugs."""

import errno
import re
from pathlib import Path

import click
import numpy as np
import pytest
from cli_helpers import TINY, ok, refused

from fastgan.cli import app, main
from fastgan.gan import Trainer, checkpoint, files, load
from fastgan.gan.state import arrays

pytestmark = pytest.mark.usefixtures("here")


def test_an_existing_directory_is_refused_before_the_data_are_looked_for(capsys, monkeypatch, run):
    monkeypatch.setattr(Trainer, "__init__", None)
    refused(capsys, 4, "train", "--out", "run")


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
    assert main(["train", "--generator-layers", "linear 999999999; linear 999999999; linear o"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fastgan: error: out of memory (Unable to allocate")
    assert err.count("\n") == 1


def test_cuda_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: "no GPU here; buy one")
    err = refused(capsys, 2, "train", "--device", "cuda")
    assert "no GPU here" in err
    assert "--device cpu" in err


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "digitz", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("fastgan: error: got recipe 'digitz'")


def test_suggestions_do_not_need_a_new_click():
    with pytest.raises(click.UsageError, match="did you mean doctor"):
        app.cli.resolve_command(click.Context(app.cli), ["docter"])
