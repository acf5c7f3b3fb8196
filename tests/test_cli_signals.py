"""Ctrl-C, other signals and a closed output: a run that is stopped goes on as if it had not been."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_helpers import TINY, ok, same

from fastgan.cli import main
from fastgan.cli.signals import stopping
from fastgan.gan import Callback, Trainer, load
from fastgan.gan.run import read_metrics
from fastgan.gan.state import arrays

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[1]


# a process whose SIGHUP is not ignored, as it is where the tests run under nohup
COMMAND = """
import signal, sys
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from fastgan.cli import main
sys.exit(main())
"""


class Blank:
    stop_wanted = False


@contextmanager
def closed_pipe():
    """A text stream that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        yield stream


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


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131)])
def test_each_signal_has_its_own_code(name, code, monkeypatch):
    if not hasattr(signal, name):
        pytest.skip(f"no {name} here")
    number = getattr(signal, name)
    kept = signal.signal(number, signal.SIG_DFL)  # who runs the tests may ignore it
    try:
        with stopping(Blank()) as stop:
            os.kill(os.getpid(), number)
        assert stop.exit_code == code
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, kept)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_hanging_up_comes_twice_and_is_not_heard_under_nohup():
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping(Blank()) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.exit_code == 0
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stopping(Blank()) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.exit_code == 129
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_a_signal_is_no_error_where_stderr_is_closed(monkeypatch):
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with stopping(Blank()) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.undo()
    assert stop.exit_code == 143


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


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (getattr(signal, "SIGHUP", signal.SIGTERM), 129)]
)
def test_interrupted_and_resumed_is_the_same_run(capsys, number, code):
    """A real process, really interrupted; then on to 10 steps later, and compared with a run without a break."""
    words = [
        "train",
        *["--steps", "500000", "--log-every", "5", "--sample-every", "500000", "--out", "run"],
        *TINY,
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMMAND, *words]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    assert not Path("run/.lock").exists()
    ok(capsys, "resume", "run", "--steps", stopped + 10, "--quiet")
    resumed = load("run", device="cpu")
    whole = Trainer(resumed.recipe, device="cpu").fit(callbacks=[StopAt(stopped + 10)])
    assert same(arrays(resumed), arrays(whole))


def test_a_closed_pipe_is_no_traceback(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m fastgan recipes | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_run_that_nobody_reads_is_saved(capsys, monkeypatch):
    """As by `fastgan train | head -1`; the steps would take an hour."""
    words = ["train", "--steps", "5000000", "--log-every", "5", *TINY, "--out", "run"]
    with closed_pipe() as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(words) == 141
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
    if not Path("/dev/full").exists():
        return
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(words) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left" in err


def test_ctrl_c_while_python_imports_is_quiet(tmp_path):
    """With a package in the place of fastgan that is interrupted while it is imported."""
    package = tmp_path / "fastgan"
    package.mkdir()
    (package / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = (
        f"import runpy, signal, sys; sys.path[:0] = [{str(tmp_path)!r}]; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"runpy.run_path({str(ROOT / 'fastgan' / 'command' / '__init__.py')!r})['main']()"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
