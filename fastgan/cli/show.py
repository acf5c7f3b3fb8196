"""Commands that look at what there is: list the `recipes`, a `summary` of a recipe's networks."""

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastgan.cli import estimate
from fastgan.data import names
from fastgan.errors import UsageError
from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.conditional import LabelledCritic, LabelledGenerator
from fastgan.gan.networks import build
from fastgan.launches import FORMS, Row, count, data_shape, floor, within_border
from fastgan.nn import Module, Sequential
from fastgan.tape import Tensor, no_grad

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

COLUMNS = ("recipe", "data", "objective", "steps", "on this CPU", "source")
LEAST = 24  # columns that a source needs
OWN = "your own"
PIPE_WIDTH = 180  # columns of a table that nobody reads on a terminal
SIZE = re.compile(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,2}")
STATE = {"sgd": 1, "rmsprop": 1}  # numbers that an optimizer keeps per weight, where they are not Adam's 2


@click.command(short_help="List the recipes.")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--json", "as_json", is_flag=True, help="As a list of objects; times in seconds.")
def recipes(words: tuple[str, ...], as_json: bool) -> None:
    """List the recipes: what each learns, with which losses, how long that takes here, and where it comes from.

    With WORDs only those with all of them in name, data or objective: mnist, wgan-gp, ring.
    """
    texts = {name: f"{name} {recipe.data or OWN} {recipe.objective}" for name, recipe in RECIPES.items()}
    chosen = [RECIPES[name] for name, text in texts.items() if all(word in text for word in words)]
    if not chosen:
        wanted = " and ".join(words)
        raise UsageError(f"no recipe has {wanted} in its name, data or objective; see fastgan recipes")
    found = estimate.speed()
    times = [estimate.seconds(recipe, found) for recipe in chosen]
    if as_json:
        print(json.dumps([*map(_facts, chosen, times)], indent=1))
        return
    rows = [*map(_row, chosen, times)]
    *widths, _ = (max(map(len, column)) + 2 for column in zip(COLUMNS, *rows, strict=True))
    # a table only where all but the source, which may have several lines, can be shown whole
    fits = sum(widths) + LEAST <= console().width
    show(*([table(COLUMNS, rows, right=["steps"], fold="source")] if fits else map(_paragraph, rows)))
    if notes := [f"* {recipe.name}: {recipe.published_note}" for recipe in chosen if recipe.published]:
        show("\nas the source has it, mistakes included, with --as-published:", *notes)


def _row(recipe: Recipe, time: float | None) -> list[str]:
    """What the columns of COLUMNS say."""
    name = recipe.name + (" *" if recipe.published else "") + (" (default)" if recipe.name == DEFAULT else "")
    words = "" if time is None else estimate.in_words(time)
    return [name, recipe.data or OWN, recipe.objective, f"{recipe.steps:,}", words, recipe.source]


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
        "as_published": recipe.published_note or None,
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
    reads and writes, and the fewest that it could: parameters and optimizer state once per pass that needs them,
    activations where a later pass does.
    """
    chosen = RECIPES[recipe]
    if data and size is not None:
        raise UsageError("give --data or --size, not both")
    if no_kernels and not launches:
        raise UsageError("--no-kernels is for --launches; give both")
    given = _shape(size) if size is not None else FORMS[data] if data else data_shape(chosen)
    shape = within_border(chosen, given)
    rows = count(chosen, given, kernels=not no_kernels) if launches else []
    generator, critic = build(chosen, shape, 0)
    text, k = "x".join(map(str, shape)), chosen.classes
    latents = f"{chosen.latent} latents" + (f" and one of {k} classes" if k else "")
    total = describe(f"generator of {recipe}: {latents} to {text}", generator, chosen.latent + k)
    print()
    total += describe(f"critic of {recipe}: {text} to a score", critic, math.prod(shape) + k)
    if chosen.note:
        print(f"\nnote: {chosen.note}")
    # float32 weights, gradients, and what the optimizer keeps of each
    memory = total * 4 * (2 + STATE.get(chosen.optimizer.kind, 2)) / 2**20
    print(f"\nboth networks: {total:,} parameters, {memory:,.1f} MiB with the optimizers' state")
    time = estimate.seconds(chosen, estimate.speed()) if given == data_shape(chosen) else None
    if time is not None:
        print(f"{chosen.steps:,} steps of {chosen.batch} samples on this CPU: {estimate.in_words(time)}")
    if launches:
        print()
        show_launches(rows, floor(chosen, given))


def show_launches(rows: list[Row], least: int) -> None:
    """Print what a step launches, by name, and on the last line all of it beside the fewest bytes there are."""
    headings = ("one step on a GPU", "launches", "MB read", "MB written")
    lines = [(x.name, f"{x.launches}", f"{x.read / 1e6:,.2f}", f"{x.written / 1e6:,.2f}") for x in rows]
    show(table(headings, lines, right=headings[1:]))
    launches, moved = sum(row.launches for row in rows), sum(row.read + row.written for row in rows)
    print(f"total: {launches} launches, {moved / 1e6:.1f} MB moved, floor {least / 1e6:.1f} MB")


def describe(title: str, network: Module, features: int) -> int:
    """Print a network's layers in the order of a forward pass; its number of parameters."""
    rows = []
    x = Tensor(np.zeros((2, features), np.float32))
    network.eval()
    with no_grad():
        layers = [network]
        if isinstance(network, LabelledGenerator | LabelledCritic):
            x, _ = network.joined(x)
            rows.append(("labels", _batch_of(x), f"{network.table.count():,}"))
            layers = [part for name, part in network.parts() if name != "table"]
        for layer in layers:
            for part in [part for _, part in layer.parts()] if isinstance(layer, Sequential) else [layer]:
                x = part(x)
                rows.append((type(part).__name__, _batch_of(x), f"{part.count():,}"))
    show(title, table(("layer", "output", "parameters"), rows, right=["parameters"]))
    trained = network.count(trained_only=True)
    kept = network.count() - trained
    print(f"{network.count():,} parameters: {trained:,} trained, {kept:,} running statistics")
    return network.count()


def _batch_of(x: Tensor) -> str:
    return f"({', '.join(map(str, ('n', *x.shape[1:])))})"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = (), fold: str = ""
) -> "Table":
    """Text in columns; those named `right` hold numbers, the one named `fold` may have several lines a row."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        out.add_column(heading, no_wrap=heading != fold, justify="right" if heading in right else "left")
    for row in rows:
        out.add_row(*row)
    return out


def show(*parts: "RenderableType") -> None:
    """Print text and tables as wide as the terminal, or in a file wide enough for whole lines."""
    screen = console()
    with screen.capture() as captured:
        for part in parts:
            screen.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip(), flush=True)  # tables fill their lines with spaces


def console() -> "Console":
    """Where text is laid out before it is printed."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _shape(size: str) -> tuple[int, ...]:
    if not SIZE.fullmatch(size):
        raise UsageError(
            f"--size is {size!r}, wanted height x width (x channels) such as 28x28, or 2 for points"
        )
    shape = tuple(map(int, size.split("x")))
    return (*shape, 1) if len(shape) == 2 else shape
