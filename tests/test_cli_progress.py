"""Progress: how often it is shown, and the pace and the time left that it states."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from fastgan.cli import progress
from fastgan.gan import RECIPES

METRICS = {"step": 1, "critic_loss": 1.5, "generator_loss": -0.25, "d_real": 0.75, "accuracy": 0.625}


@pytest.fixture
def play(monkeypatch):
    """Shows steps to a display, some seconds after each other."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "perf_counter", lambda: clock.now)

    def run(display, *steps, seconds, begin=0, line=""):
        trainer = SimpleNamespace(steps_done=begin, recipe=RECIPES["keras-mlp"].replace(line=line))
        trainer.form, trainer.work = SimpleNamespace(count=60_000), SimpleNamespace(horizon=1000)
        display.on_start(trainer)
        for trainer.steps_done in steps:
            clock.now += seconds
            display.on_step(trainer)
            display.on_log(trainer, METRICS | {"step": trainer.steps_done})
        display.on_end(trainer)

    return run


@pytest.mark.parametrize(("line", "at"), [("", 0), (RECIPES["keras-mlp"].line, -1)])
def test_a_line_for_each_interval(capsys, play, line, at):
    """However fast they come: what is kept in a file has no holes."""
    play(progress.Lines(1000), *range(10, 1001, 10), seconds=0.1, line=line)
    shown = [int(re.search(r"\d+", text)[0]) for text in capsys.readouterr().out.splitlines()]
    assert shown == [step + at for step in range(10, 1001, 10)]


def test_a_line_has_the_losses_and_the_pace_of_the_run_s_own_steps_and_the_time_left(capsys, play):
    play(progress.Lines(1000), 510, 520, seconds=0.5, begin=500)
    last = capsys.readouterr().out.splitlines()[-1]
    for part in ("520/1000", "critic 1.500", "generator -0.250", "D(x) 0.750", "accuracy 62%"):
        assert part in last
    assert last.endswith("20 steps/s, 24 s left")


@pytest.mark.parametrize("width", [40, 90])
def test_the_bar_shows_steps_metrics_and_time(play, width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    with progress.shown(5000, console=console) as (bar,):
        play(bar, 500, 1000, seconds=5.0)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert "step 1,000/5,000" in text
    assert "100 steps/s" in text
    assert "critic 1.500" in text
