"""Commands that look at what there is: list the `recipes`, a `summary` of a recipe's networks."""

import json
import math
import re
import sys
from shutil import get_terminal_size
from typing import Any

import click
import numpy as np

from fastgan.cli import estimate
from fastgan.data import names
from fastgan.errors import UsageError
from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.conditional import Conditional
from fastgan.gan.networks import build
from fastgan.gan.published import PUBLISHED, of
from fastgan.gan.recipe import optimizer_class
from fastgan.gan.source import FORMS, data_shape, within_border
from fastgan.nn import Module, Sequential
from fastgan.tape import Tensor, no_grad

OWN = "your own"
PIPE_WIDTH = 180  # columns where nobody reads on a terminal
SIZE = re.compile(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,2}")
FACTS = ("name", "data", "objective", "steps", "batch", "source")  # of a recipe, with --json


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
    rows = [(recipe, estimate.seconds(recipe, found)) for recipe in chosen]
    if as_json:
        print(json.dumps([_facts(*row) for row in rows], indent=1))
        return
    out = click.HelpFormatter(width=get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH)
    out.write_dl([_row(*row) for row in rows])
    if notes := [(recipe.name, of(recipe.name).note) for recipe in chosen if recipe.name in PUBLISHED]:
        out.write("\n* as the source has it, mistakes included, with --as-published:\n")
        out.write_dl(notes)
    print(out.getvalue(), end="")


def _row(recipe: Recipe, time: float | None) -> tuple[str, str]:
    mark = " (default)" if recipe.name == DEFAULT else " *" if recipe.name in PUBLISHED else ""
    parts = [recipe.data or OWN, recipe.objective, f"{recipe.steps:,} steps"]
    parts += [] if time is None else [estimate.in_words(time)]
    return recipe.name + mark, f"{', '.join(parts)}; {recipe.source}"


def _facts(recipe: Recipe, time: float | None) -> dict[str, Any]:
    times = {"seconds_on_this_cpu": time and round(time), "for_a_gpu": time and time > estimate.NIGHT}
    note = {"as_published": of(recipe.name).note or None}
    return {name: getattr(recipe, name) or None for name in FACTS} | times | note


@click.command(short_help="Show the layers and parameters of a recipe's networks.")
@click.argument("recipe", required=False, default=DEFAULT)
@click.option("--data", type=click.Choice([*names]), help="Size the networks for this data.  [the recipe's]")
@click.option("--size", metavar="HxWxC", help="... or for samples of this size: 28x28, 32x32x3, or 2.")
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
    counted = _launches(chosen, given, kernels=not no_kernels) if launches else []
    shape, k = within_border(chosen, given), chosen.classes
    generator, critic = build(chosen, shape, 0)
    text = "x".join(map(str, shape))
    latents = f"{chosen.latent} latents" + (f" and one of {k} classes" if k else "")
    _describe(f"generator of {recipe}: {latents} to {text}", generator, chosen.latent)
    _describe(f"\ncritic of {recipe}: {text} to a score", critic, math.prod(shape))
    if chosen.note:
        print(f"\nnote: {chosen.note}")
    total = generator.count() + critic.count()
    # float32 weights, gradients, and what the optimizer keeps of each
    memory = total * 4 * (2 + len(optimizer_class(chosen.optimizer.kind).slots)) / 2**20
    print(f"\nboth networks: {total:,} parameters, {memory:,.1f} MiB with the optimizers' state")
    time = estimate.seconds(chosen, estimate.speed()) if given == data_shape(chosen) else None
    if time is not None:
        print(f"{chosen.steps:,} steps of {chosen.batch} samples on this CPU: {estimate.in_words(time)}")
    for line in counted:
        print(line)


def _launches(recipe: Recipe, shape: tuple[int, ...], *, kernels: bool) -> list[str]:
    """Lines on what a step launches, by name; all of it, beside bytes that it cannot do without."""
    from fastgan.benchmarks.launches import count, floor

    found = count(recipe, shape, kernels=kernels)
    rows = [(x.name, f"{x.launches}", f"{x.read / 1e6:,.2f}", f"{x.written / 1e6:,.2f}") for x in found]
    launches, moved = sum(row.launches for row in found), sum(row.read + row.written for row in found)
    least = floor(recipe, shape) / 1e6
    total = f"total: {launches} launches, {moved / 1e6:.1f} MB moved, floor {least:.1f} MB"
    return ["", *_columns(("one step on a GPU", "launches", "MB read", "MB written"), *rows), total]


def _describe(title: str, network: Module, features: int) -> None:
    """Print a network's layers in the order of a forward pass."""
    x, rows = Tensor(np.zeros((2, features), np.float32)), [("layer", "output", "parameters")]
    parts = [part for name, part in network.eval().parts() if name != "table"]
    with no_grad():
        if isinstance(network, Conditional):
            x = network.joined(x, Tensor(np.zeros((2, network.classes), np.float32)))
            rows.append(("labels", _batch_of(x), f"{network.table.count():,}"))
        else:
            parts = [network]
        for layer in parts:
            for part in [part for _, part in layer.parts()] if isinstance(layer, Sequential) else [layer]:
                x = part(x)
                rows.append((type(part).__name__, _batch_of(x), f"{part.count():,}"))
    trained = network.count(trained_only=True)
    kept = network.count() - trained
    print(title, *_columns(*rows), sep="\n")
    print(f"{network.count():,} parameters: {trained:,} trained, {kept:,} running statistics")


def _batch_of(x: Tensor) -> str:
    return f"({', '.join(map(str, ('n', *x.shape[1:])))})"


def _columns(*rows: tuple[str, ...]) -> list[str]:
    """Rows of text in columns; a column whose last cell is a number stands to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [">" if cell[:1].isdigit() else "<" for cell in rows[-1]]
    form = "   ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [form.format(*row).rstrip() for row in rows]


def _shape(size: str) -> tuple[int, ...]:
    if not SIZE.fullmatch(size):
        raise UsageError(f"--size is {size!r}, wanted height x width (x channels), or 2 for points: 28x28")
    shape = tuple(map(int, size.split("x")))
    return (*shape, 1) if len(shape) == 2 else shape
