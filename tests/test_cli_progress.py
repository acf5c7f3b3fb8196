"""Progress: how often it is shown, and the pace and the time left that it states."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from fastgan.cli import progress
from fastgan.gan import RECIPES


class Clock:
    """Time that passes only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Steps:
    """As much of a Trainer as a display looks at."""

    steps_done = 0
    recipe = RECIPES["digits"]


METRICS = {
    "step": 1,
    "critic_loss": 1.5,
    "generator_loss": -0.25,
    "d_real": 0.75,
    "d_fake": 0.5,
    "accuracy": 0.625,
}


def test_a_line_for_each_interval(capsys, monkeypatch):
    """However fast they come: what is kept in a file has no holes."""
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    lines.on_start(steps)
    for steps.steps_done in range(10, 1001, 10):
        clock.now += 0.1
        lines.on_log(steps, METRICS)
    shown = [int(step) for step in re.findall(r"^step +(\d+)/1000", capsys.readouterr().out, re.M)]
    assert shown == [*range(10, 1001, 10)]


class ArticleSteps(Steps):
    """... of a run whose recipe has its article's lines."""

    recipe = RECIPES["keras-mlp"].replace(sample_every=50)
    form = SimpleNamespace(count=60_000)
    work = SimpleNamespace(horizon=1000)


def test_an_articles_lines_come_once_per_interval(capsys, monkeypatch):
    clock, steps = Clock(), ArticleSteps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    lines.on_start(steps)
    for steps.steps_done in range(10, 1001, 10):
        clock.now += 0.1
        lines.on_log(steps, {**METRICS, "step": steps.steps_done})
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 100
    assert shown[0] == "9 [D loss: 1.500000, acc.: 62.50%] [G loss: -0.250000]  (100 steps/s, 10 s left)"
    assert shown[-1].startswith("999 [D loss: ")


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(2.5, list(range(10, 91, 10))), (0.5, [10, 50, 90]), (0.1, [10, 50, 90])],
)
def test_an_articles_lines_stand_above_the_bar(monkeypatch, seconds, wanted):
    """At every interval, or where they come fast with the pictures, every two seconds and at the end."""
    clock, steps = Clock(), ArticleSteps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    console = Console(file=io.StringIO(), force_terminal=True, width=40)
    with progress.shown(90, console=console) as (bar,):
        bar.on_start(steps)
        for steps.steps_done in range(10, 91, 10):
            clock.now += seconds
            bar.on_log(steps, {**METRICS, "step": steps.steps_done})
        bar.on_end(steps)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).replace("\r", "\n")
    lines = re.findall(r"^(\d+) \[D loss: 1.500000, acc.: 62.50%\] \[G loss: -0.250000\]\s*$", text, re.M)
    assert [int(index) + 1 for index in lines] == wanted
    assert "step 90/90" in text[text.rindex("[G loss") :]


def test_a_line_in_full(capsys, monkeypatch):
    clock, steps = Clock(), Steps()
    monkeypatch.setattr(progress, "perf_counter", clock)
    lines = progress.Lines(1000)
    lines.on_start(steps)
    for steps.steps_done in (10, 20):
        clock.now += 0.5
        lines.on_log(steps, METRICS)
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
