"""Commands that look at what there is: list the `recipes`, a `summary` of a recipe's networks."""

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastgan.cli import estimate
from fastgan.data import names
from fastgan.errors import UsageError
from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.conditional import LabelledCritic, LabelledGenerator
from fastgan.gan.networks import build
from fastgan.gan.published import PUBLISHED, of
from fastgan.gan.source import FORMS, data_shape, within_border
from fastgan.nn import Module, Sequential
from fastgan.tape import Tensor, no_grad

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

COLUMNS = ("recipe", "data", "objective", "steps", "on this CPU", "source")
LEAST = 24  # columns that a source needs
OWN = "your own"
PIPE_WIDTH = 180  # columns of a table that nobody reads on a terminal
_SIZE = re.compile(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,2}")


@click.command(short_help="List the recipes.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--json", "as_json", is_flag=True, help="As a list of objects; times in seconds.")
def recipes(words: tuple[str, ...], as_json: bool) -> None:
    """List the recipes: what each learns, with which losses, how long that takes here, and where it comes from.

    With WORDs only those with all of them in name, data or objective: mnist, wgan-gp, ring.
    """
    chosen = [recipe for recipe in RECIPES.values() if all(word in _searched(recipe) for word in words)]
    if not chosen:
        raise UsageError(
            f"no recipe has {' and '.join(words)} in its name, data or objective; see fastgan recipes"
        )
    found = estimate.speed()
    times = {recipe.name: estimate.seconds(recipe, found) for recipe in chosen}
    if as_json:
        print(json.dumps([_facts(recipe, times[recipe.name]) for recipe in chosen], indent=1))
        return
    rows = [_row(recipe, times[recipe.name]) for recipe in chosen]
    shapes = [_table(rows)] if _fits(rows) else map(_paragraph, rows)
    show(*shapes)
    notes = [
        f"* {recipe.name}: {PUBLISHED[recipe.name].note}" for recipe in chosen if recipe.name in PUBLISHED
    ]
    if notes:
        show("\nas the source has it, mistakes included, with --as-published:", *notes)


def _searched(recipe: Recipe) -> str:
    return f"{recipe.name} {recipe.data or OWN} {recipe.objective}"


def _row(recipe: Recipe, time: float | None) -> list[str]:
    """What the columns of COLUMNS say."""
    name = (
        recipe.name
        + (" *" if recipe.name in PUBLISHED else "")
        + (" (default)" if recipe.name == DEFAULT else "")
    )
    time_text = "" if time is None else estimate.in_words(time)
    return [name, recipe.data or OWN, recipe.objective, f"{recipe.steps:,}", time_text, recipe.source]


def _table(rows: list[list[str]]) -> "RenderableType":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in COLUMNS:
        table.add_column(
            heading, no_wrap=heading != "source", justify="right" if heading == "steps" else "left"
        )
    for row in rows:
        table.add_row(*row)
    return table


def _fits(rows: list[list[str]]) -> bool:
    """Whether all columns but the last, which may have several lines, can be shown whole."""
    widths = (max(len(cell) for cell in column) + 2 for column in zip(COLUMNS, *rows, strict=True))
    *whole, _ = widths
    return sum(whole) + LEAST <= _console().width


def _paragraph(row: list[str]) -> "RenderableType":
    """A row where columns do not fit: the name, and below it the rest as text."""
    from rich.console import Group
    from rich.padding import Padding

    name, data, objective, steps, time, source = row
    text = ", ".join(filter(None, (data, objective, f"{steps} steps", time)))
    return Group(name, Padding(f"{text}\n{source}", (0, 0, 0, 2)))


def _facts(recipe: Recipe, time: float | None) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "data": recipe.data or None,
        "objective": recipe.objective,
        "steps": recipe.steps,
        "batch": recipe.batch,
        "seconds_on_this_cpu": time and round(time),
        "for_a_gpu": time and time > estimate.NIGHT,
        "source": recipe.source,
        "as_published": of(recipe.name).note or None,
    }


@click.command(short_help="Show the layers and parameters of a recipe's networks.")
@click.argument("recipe", required=False, default=DEFAULT)
@click.option("--data", type=click.Choice([*names]), help="Size the networks for this data.  [the recipe's]")
@click.option(
    "--size", metavar="HxWxC", help="... or for samples of this size: 28x28, 32x32x3, or 2 for points."
)
@click.option("--launches", is_flag=True, help="Also count what a training step asks of a GPU; needs none.")
@click.option("--no-kernels", is_flag=True, help="... where array code runs instead of kernels.")
def summary(recipe: str, data: str | None, size: str | None, launches: bool, no_kernels: bool) -> None:
    """Show the layers of RECIPE's two networks with output shapes and numbers of parameters, and what is not as in the
    recipe's source; needs no data.

    With --launches, also what one training step launches on a GPU, by name, with the megabytes (10^6 bytes) that it
    reads and writes, and those that it cannot do without: weights, gradient and optimizer state once per update, and
    the batches.
    """
    chosen = RECIPES[recipe]
    if data and size is not None:
        raise UsageError("give --data or --size, not both")
    if no_kernels and not launches:
        raise UsageError("--no-kernels is for --launches; give both")
    given = _shape(size) if size is not None else FORMS[data] if data else data_shape(chosen)
    shape = within_border(chosen, given)
    found = _launches(chosen, given, kernels=not no_kernels) if launches else None
    features = 1
    for length in shape:
        features *= length
    generator, critic = build(chosen, shape, 0)
    text = "x".join(map(str, shape))
    k = chosen.classes
    latents = f"{chosen.latent} latents" + (f" and one of {k} classes" if k else "")
    total = describe(f"generator of {recipe}: {latents} to {text}", generator, chosen.latent + k)
    print()
    total += describe(f"critic of {recipe}: {text} to a score", critic, features + k)
    if chosen.note:
        print(f"\nnote: {chosen.note}")
    print(f"\nboth networks: {total:,} parameters, {_memory(chosen, total)} with the optimizers' state")
    time = estimate.seconds(chosen, estimate.speed()) if given == data_shape(chosen) else None
    if time is not None:
        print(f"{chosen.steps:,} steps of {chosen.batch} samples on this CPU: {estimate.in_words(time)}")
    if found:
        print()
        show(found[0])
        print(found[1])


def _launches(recipe: Recipe, shape: tuple[int, ...], *, kernels: bool) -> tuple["RenderableType", str]:
    """What a step launches, by name; all of it, beside bytes that it cannot do without."""
    from rich.table import Table

    from fastgan.benchmarks.launches import count, floor

    rows = count(recipe, shape, kernels=kernels)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("one step on a GPU", "launches", "MB read", "MB written"):
        table.add_column(heading, justify="left" if heading.startswith("one") else "right")
    for row in rows:
        table.add_row(row.name, str(row.launches), f"{row.read / 1e6:,.2f}", f"{row.written / 1e6:,.2f}")
    launches, moved = sum(row.launches for row in rows), sum(row.read + row.written for row in rows)
    least = floor(recipe, shape)
    return table, f"total: {launches} launches, {moved / 1e6:.1f} MB moved, floor {least / 1e6:.1f} MB"


def describe(title: str, network: Module, features: int) -> int:
    """Print a network's layers in the order of a forward pass; its number of parameters."""
    from rich.table import Table

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for heading, side in (("layer", "left"), ("output", "left"), ("parameters", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    x = Tensor(np.zeros((2, features), np.float32))
    network.eval()
    with no_grad():
        layers = [network]
        if isinstance(network, LabelledGenerator | LabelledCritic):
            x, _ = network.joined(x)
            table.add_row("labels", _batch_of(x), f"{network.table.count():,}")
            layers = [part for name, part in network.parts() if name != "table"]
        for layer in layers:
            for part in [part for _, part in layer.parts()] if isinstance(layer, Sequential) else [layer]:
                x = part(x)
                table.add_row(type(part).__name__, _batch_of(x), f"{part.count():,}")
    show(title, table)
    trained = network.count(trained_only=True)
    kept = network.count() - trained
    print(f"{network.count():,} parameters: {trained:,} trained, {kept:,} running statistics")
    return network.count()


def _batch_of(x: Tensor) -> str:
    return f"({', '.join(map(str, ('n', *x.shape[1:])))})"


def show(*parts: "RenderableType") -> None:
    """Print text and tables as wide as the terminal, or in a file wide enough for whole lines."""
    console = _console()
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip(), flush=True)  # tables fill their lines with spaces


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _shape(size: str) -> tuple[int, ...]:
    if not _SIZE.fullmatch(size):
        raise UsageError(
            f"--size is {size!r}, wanted height x width (x channels) such as 28x28, or 2 for points"
        )
    shape = tuple(map(int, size.split("x")))
    return (*shape, 1) if len(shape) == 2 else shape


def _memory(recipe: Recipe, parameters: int) -> str:
    """float32 weights, gradients, and what the optimizer keeps of each."""
    kept = {"adam": 2, "adamw": 2, "rmsprop": 1, "sgd": 1}.get(recipe.optimizer.kind, 2)
    return f"{parameters * 4 * (2 + kept) / 2**20:,.1f} MiB"
