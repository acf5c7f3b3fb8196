"""Ctrl-C, other signals and a closed output: a run that is stopped goes on as if it had not been."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from cli_helpers import TINY, ok, same

from fastgan.cli import main
from fastgan.cli.signals import stopping
from fastgan.gan import Callback, Trainer, load
from fastgan.gan.run import read_metrics
from fastgan.gan.state import arrays

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[1]
ENV = os.environ | {"PYTHONPATH": str(ROOT)}


class Blank:
    stop_wanted = False


@contextmanager
def handler(number, what):
    """Another handler of a signal than who runs the tests may have."""
    kept = signal.signal(number, what)
    try:
        yield
    finally:
        signal.signal(number, kept)


@contextmanager
def closed_pipe():
    """A text stream that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        yield stream


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131)]
)
def test_the_first_signal_asks_and_the_second_ends(capfd, name, code):
    """But hanging up comes twice, from the system and the shell."""
    number, trainer = getattr(signal, name), Blank()
    with handler(number, signal.SIG_DFL):
        with stopping(trainer) as stop:
            os.kill(os.getpid(), number)
            assert (trainer.stop_wanted, stop.exit_code) == (True, code)
            if name == "SIGHUP":
                os.kill(os.getpid(), number)
            else:
                with pytest.raises(SystemExit) as caught:
                    os.kill(os.getpid(), number)
                assert caught.value.code == code
        assert signal.getsignal(number) is signal.SIG_DFL
    assert "Ctrl-C again" in capfd.readouterr().err


def test_no_signal_is_heard_under_nohup_nor_in_another_thread():
    with handler(signal.SIGHUP, signal.SIG_IGN), stopping(Blank()) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.exit_code == 0
    seen = []

    def work():
        with stopping(Blank()) as stop:
            seen.append(stop.exit_code)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0]


def test_a_signal_is_no_error_where_stderr_is_closed(monkeypatch):
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with stopping(Blank()) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.undo()
    assert stop.exit_code == 143


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer):
        trainer.stop_wanted = trainer.steps_done == self.step


def test_interrupted_and_resumed_is_the_same_run(capsys):
    """A real process, really interrupted; then on to 10 steps later, and compared with a run without a break."""
    words = [*("--steps", "500000", "--log-every", "5", "--sample-every", "500000", "--out", "run"), *TINY]
    command = [sys.executable, "-m", "fastgan", "train", *words]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while len(read_metrics(Path("run/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    stopped = int(re.search(r"^stopped at step (\d+); go on with: fastgan resume run$", out, re.M)[1])
    assert out.splitlines()[-1].startswith("stopped at step")
    assert load("run", device="cpu").steps_done == stopped
    assert Path("run/training.gif").exists()
    assert not Path("run/.lock").exists()
    ok(capsys, "resume", "run", "--steps", stopped + 10, "--quiet")
    resumed = load("run", device="cpu")
    whole = Trainer(resumed.recipe, device="cpu").fit(callbacks=[StopAt(stopped + 10)])
    assert same(arrays(resumed), arrays(whole))


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m fastgan recipes | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=ENV, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_run_that_nobody_reads_is_saved(capsys, monkeypatch):
    """As by `fastgan train | head -1`; the steps would take an hour."""
    with closed_pipe() as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(["train", "--steps", "5000000", "--log-every", "5", *TINY, "--out", "run"]) == 141
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "stopped at step 5; go on with: fastgan resume run" in err
    assert load("run", device="cpu").steps_done == 5
    for name in ("training.gif", "losses.png", "samples/000005.png"):
        assert Path("run", name).exists()


@pytest.mark.parametrize("words", [["recipes"], ["train", "--steps", "5", *TINY]])
def test_an_output_that_is_closed_or_full_is_one_line(capsys, monkeypatch, words):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(words) == 4
    assert "standard output" in capsys.readouterr().err
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(words) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left" in err


def test_ctrl_c_while_python_imports_is_quiet(tmp_path):
    """With a package in the place of fastgan that is interrupted while it is imported."""
    (tmp_path / "fastgan").mkdir()
    (tmp_path / "fastgan/__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = (
        f"import runpy, signal, sys; sys.path[:0] = [{str(tmp_path)!r}]; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"runpy.run_path({str(ROOT / 'fastgan' / 'command' / '__init__.py')!r})['main']()"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
