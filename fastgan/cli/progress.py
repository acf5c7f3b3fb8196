"""What a run shows while it trains: a bar that lives on a terminal, lines in a file.

Both are Callbacks that look at the metrics which the Trainer reads anyway, so that watching costs no wait.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastgan.gan import Callback, Trainer
from fastgan.gan.log import written
from fastgan.gan.trainer import Metrics
from fastgan.kernels import cache_folder

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

EVERY = 2.0  # seconds between an article's lines above a bar
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


class Pace:
    """Steps per second since the start of a `fit`, and the seconds that are left."""

    def __init__(self, first: int, goal: int) -> None:
        self.first, self.goal, self.start = first, goal, perf_counter()

    def text(self, step: int) -> str:
        """The pace at a step, and what is left at that pace."""
        if step == self.first:
            return ""
        speed = (step - self.first) / max(perf_counter() - self.start, 1e-9)
        left = f", {duration((self.goal - step) / speed)} left" if step < self.goal else ""
        return f"{number(speed)} steps/s{left}"


class Lines(Callback):
    """One line per logging interval, in the words of the recipe's article or in fastgan's own."""

    def __init__(self, goal: int) -> None:
        self.goal, self.pace = goal, Pace(0, goal)

    def on_start(self, trainer: Trainer) -> None:
        """Start the clock."""
        self.pace = Pace(trainer.steps_done, self.goal)

    def on_log(self, trainer: Trainer, metrics: Metrics) -> None:
        """Print the metrics."""
        step = trainer.steps_done
        pace = self.pace.text(step)
        if article := article_line(trainer, metrics):
            print(f"{article}  ({pace})", flush=True)
            return
        place = f"step {step:{len(str(self.goal))}d}/{self.goal}"
        print(f"{place}  {describe(metrics)}  {pace}", flush=True)

    def on_threads(self, trainer: Trainer, before: int) -> None:
        """Print the number."""
        print(threads_line(trainer, before), flush=True)


class Bar(Callback):
    """A bar with steps, pace and time left, below it the newest metrics, and above it the lines of an article.

    Those come once per logging interval, or where these pass faster than one in EVERY seconds, with the pictures.
    """

    def __init__(self, goal: int, console: "Console", live: "Live") -> None:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        self.goal, self.console, self.live = goal, console, live
        self.bar = ProgressBar(total=goal, width=None)
        self.count, self.speed, self.news = Text(), Text(), Text(style="dim")
        self.pace, self.shown_at, self.printed_at = Pace(0, goal), 0.0, 0.0
        self.pictures = 0  # made before the last line that was printed

    def on_start(self, trainer: Trainer) -> None:
        """Start the clock."""
        self.pace = Pace(trainer.steps_done, self.goal)
        self.show(trainer)

    def on_step(self, trainer: Trainer) -> None:
        """Move the bar, a few times a second."""
        if perf_counter() - self.shown_at >= REFRESH:
            self.show(trainer)

    def on_log(self, trainer: Trainer, metrics: Metrics) -> None:
        """Show the newest metrics."""
        self.news.plain = describe(metrics)
        article, step = article_line(trainer, metrics), trainer.steps_done
        late, pictures = perf_counter() - self.printed_at >= EVERY, step // trainer.recipe.sample_every
        if article and (late or step == self.goal or pictures > self.pictures):
            self.console.print(article, markup=False, highlight=False, soft_wrap=True)
            self.printed_at, self.pictures = perf_counter(), pictures

    def on_threads(self, trainer: Trainer, before: int) -> None:
        """Print the number above the bar."""
        self.console.print(threads_line(trainer, before), markup=False, highlight=False, soft_wrap=True)

    def on_end(self, trainer: Trainer) -> None:
        """The last frame."""
        self.show(trainer)

    def show(self, trainer: Trainer) -> None:
        """Draw the present state."""
        step = trainer.steps_done
        self.bar.update(step)
        self.count.plain, self.speed.plain = f"step {step:,}/{self.goal:,}", self.pace.text(step)
        self.live.update(self.picture(), refresh=True)
        self.shown_at = perf_counter()

    def picture(self) -> "RenderableType":
        """Two lines."""
        from rich.console import Group
        from rich.table import Table

        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(self.count, self.bar, self.speed)
        return Group(row, self.news)


@contextmanager
def shown(goal: int, *, quiet: bool = False, console: Any = None) -> Iterator[list[Callback]]:
    """The callbacks that show a run up to step `goal`: a bar on a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        yield []
    elif console is None and not sys.stdout.isatty():
        yield [Lines(goal)]
    else:
        from rich.console import Console
        from rich.live import Live

        console = console or Console()
        with Live(console=console, auto_refresh=False) as live:
            yield [Bar(goal, console, live)]


def threads_line(trainer: Trainer, before: int) -> str:
    """How many threads there are from here on, why, and how to keep a number."""
    now, most = trainer.threads.used, trainer.threads.most
    why = "other programs have the cores" if now < before else "cores are free again"
    keep = "--threads N keeps a number, and its bits"
    return f"threads  {why}: {now} of {most} from step {trainer.steps_done:,} on ({keep})"


def article_line(trainer: Trainer, metrics: Metrics) -> str:
    """An interval's line as the recipe's article has it; "" for a recipe without a line of its own."""
    recipe = trainer.recipe
    if not recipe.line:
        return ""
    count = trainer.form.count
    batches = max(1, min(recipe.first or count, count) // recipe.batch)
    return written(recipe.line, metrics, batches=batches, steps=max(recipe.steps, trainer.work.horizon))


def describe(metrics: Metrics) -> str:
    """The metrics in fastgan's words: losses, scores, and the accuracy or the Wasserstein estimate."""
    parts = [f"{label} {metrics[key]:.3f}" for key, label in LABELS.items() if key in metrics]
    if "accuracy" in metrics:
        parts.append(f"accuracy {metrics['accuracy']:.0%}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """45 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(x: float) -> str:
    """Three figures: 1,234 or 12.3 or 0.123."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def kernels_compiled() -> bool:
    """Whether the disk cache holds compiled kernels already."""
    return any(True for _ in cache_folder().rglob("*.nbi"))
