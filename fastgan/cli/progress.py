"""What a run shows while it trains: a bar that lives on a terminal, lines in a file.

Both are Callbacks that look at the metrics which the Trainer reads anyway, so that watching costs no wait.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastgan.cli.estimate import rough
from fastgan.gan import Callback, Trainer
from fastgan.gan.log import written
from fastgan.gan.trainer import Metrics

if TYPE_CHECKING:
    from rich.live import Live

REFRESH = 0.2  # seconds between frames of the bar
LABELS = {
    "critic_loss": "critic",
    "critic_loss_held_out": "held out",
    "generator_loss": "generator",
    "d_real": "D(x)",
    "d_fake": "D(G(z))",
    "wasserstein": "Wasserstein",
    "penalty": "penalty",
}


class Lines(Callback):
    """One line per logging interval, in the words of the recipe's article or in fastgan's own."""

    first, start = 0, 0.0

    def __init__(self, goal: int) -> None:
        self.goal = goal

    def on_start(self, trainer: Trainer) -> None:
        """Start the clock."""
        self.first, self.start = trainer.steps_done, perf_counter()

    def on_log(self, trainer: Trainer, metrics: Metrics) -> None:
        """Print the metrics."""
        step, pace = trainer.steps_done, self.pace(trainer.steps_done)
        article = article_line(trainer, metrics)
        own = f"step {step:{len(str(self.goal))}d}/{self.goal}  {describe(metrics)}  {pace}"
        print(f"{article}  ({pace})" if article else own, flush=True)

    def on_threads(self, trainer: Trainer, before: int) -> None:
        """How many threads there are from here on, why, and how to keep a number."""
        now, most = trainer.threads.used, trainer.threads.most
        why = "other programs have the cores" if now < before else "cores are free again"
        keep = "--threads N keeps a number, and its bits"
        print(f"threads  {why}: {now} of {most} from step {trainer.steps_done:,} on ({keep})", flush=True)

    def pace(self, step: int) -> str:
        """Steps per second since the start, and what is left at that pace."""
        if step == self.first:
            return ""
        speed = (step - self.first) / max(perf_counter() - self.start, 1e-9)
        left = f", {rough((self.goal - step) / speed)} left" if step < self.goal else ""
        return f"{number(speed)} steps/s{left}"


class Bar(Lines):
    """A bar with steps, pace and time left, and below it the newest metrics; what is printed stands above."""

    news, shown_at = "", 0.0

    def __init__(self, goal: int, live: "Live") -> None:
        super().__init__(goal)
        self.live = live

    def on_step(self, trainer: Trainer) -> None:
        """Move the bar, a few times a second."""
        if perf_counter() - self.shown_at >= REFRESH:
            self.on_end(trainer)

    def on_log(self, trainer: Trainer, metrics: Metrics) -> None:
        """Keep the newest metrics for the next frame."""
        self.news = article_line(trainer, metrics) or describe(metrics)

    def on_end(self, trainer: Trainer) -> None:
        """Draw the present state, for the last time too."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table
        from rich.text import Text

        step, whole = trainer.steps_done, Column(no_wrap=True)
        row = Table.grid(whole, "", whole.copy(), padding=(0, 1), expand=True)
        row.add_row(f"step {step:,}/{self.goal:,}", ProgressBar(self.goal, step), self.pace(step))
        self.live.update(Group(row, Text(self.news, style="dim")), refresh=True)
        self.shown_at = perf_counter()


@contextmanager
def shown(goal: int, *, quiet: bool = False, console: Any = None) -> Iterator[list[Callback]]:
    """The callbacks that show a run up to step `goal`: a bar on a terminal, lines elsewhere, nothing if quiet."""
    if quiet or (console is None and not sys.stdout.isatty()):
        yield [] if quiet else [Lines(goal)]
    else:
        from rich.live import Live

        with Live(console=console, auto_refresh=False) as live:
            yield [Bar(goal, live)]


def article_line(trainer: Trainer, metrics: Metrics) -> str:
    """An interval's line as the recipe's article has it; "" for a recipe without a line of its own."""
    recipe, count = trainer.recipe, trainer.form.count
    batches = max(1, min(recipe.first or count, count) // recipe.batch)
    steps = max(recipe.steps, trainer.work.horizon)
    return recipe.line and written(recipe.line, metrics, batches=batches, steps=steps)


def describe(metrics: Metrics) -> str:
    """The metrics in fastgan's words: losses, scores, and the accuracy or the Wasserstein estimate."""
    parts = [f"{label} {metrics[key]:.3f}" for key, label in LABELS.items() if key in metrics]
    accuracy = [f"accuracy {metrics['accuracy']:.0%}"] if "accuracy" in metrics else []
    return "  ".join(parts + accuracy)


def number(x: float) -> str:
    """Three figures: 1,234 or 12.3 or 0.123."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
