"""Ctrl-C, SIGTERM and a closed pipe: a run that is stopped goes on as if it had not been."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_helpers import TINY, ok, same

from fastgan.cli import main
from fastgan.cli.signals import stopping
from fastgan.train import Callback, Trainer, load
from fastgan.train.run import read_metrics
from fastgan.train.state import arrays

pytestmark = pytest.mark.usefixtures("here")
ROOT = Path(__file__).resolve().parents[1]


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


def test_ctrl_c_outside_of_training(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "__init__", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err.strip() == "fastgan: interrupted"  # click ends the line with ^C
