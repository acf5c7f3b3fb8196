"""Commands that look at what there is: `sample` a run, list the `recipes`, a `summary` of a recipe's networks."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from fastgan.cli.train import DEVICES
from fastgan.data import names
from fastgan.errors import UsageError
from fastgan.launches import FORMS, Row, count, floor
from fastgan.nn import Module, Sequential
from fastgan.tape import Tensor, no_grad
from fastgan.train import DEFAULT, RECIPES, Recipe, load, pictures
from fastgan.train.recipes import recipe_named
from fastgan.train.run import POINTS, picture

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPE_WIDTH = 160  # columns of a table that nobody reads on a terminal
_GRID = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_SIZE = re.compile(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){0,2}")


@click.command(short_help="Write a picture of new samples of a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, help="Same seed, same picture.  [0]")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="Images in the picture.  [5x5]")
@click.option("--count", type=click.IntRange(1), help="How many samples, instead of --grid.  [points: 2500]")
@click.option("--out", type=click.Path(path_type=Path), help="The PNG to write.  [RUN/sample-seedN.png]")
@click.option("--device", type=DEVICES, default="cpu", help="Where to compute.  [cpu]")
def sample(run: Path, seed: int, grid: str | None, count: int | None, out: Path | None, device: str) -> None:
    """Write a picture of new samples of RUN, a run directory or a checkpoint; the data set is not needed."""
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is {out}, wanted a name that ends in .png")
    trainer = load(run, device=device)
    images = len(trainer.form.shape) == 3
    if grid and (count or not images):
        raise UsageError(
            "give --grid or --count, not both" if images else "--grid is for images; give --count"
        )
    rows, columns = _rows_and_columns(grid or "5x5")
    n = count or (rows * columns if images else POINTS)
    image = picture(trainer.sample(n, seed=seed), columns=None if count else columns)
    target = out or _home(run) / f"sample-seed{seed}.png"
    pictures.save_png(target, image)
    print(f"{target}  {n} samples of step {trainer.steps_done}, seed {seed}")


@click.command(short_help="List the recipes.")
def recipes() -> None:
    """List the recipes: what each learns, with which losses, and where it comes from."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("recipe", "data", "objective", "steps", "source"):
        table.add_column(
            heading, no_wrap=heading != "source", justify="right" if heading == "steps" else "left"
        )
    for recipe in RECIPES.values():
        star = " *" if recipe.published else ""
        name = recipe.name + star + (" (default)" if recipe.name == DEFAULT else "")
        table.add_row(name, recipe.data, recipe.objective, f"{recipe.steps:,}", recipe.source)
    notes = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for recipe in RECIPES.values():
        if recipe.published:
            notes.add_row(f"* {recipe.name}", recipe.published_note)
    show(table, "\nas the source has it, mistakes included, with --as-published:", notes)


@click.command(short_help="Show the layers and parameters of a recipe's networks.")
@click.argument("recipe", required=False, default=DEFAULT)
@click.option("--data", type=click.Choice([*names]), help="Size the networks for this data.  [the recipe's]")
@click.option(
    "--size", metavar="HxWxC", help="... or for samples of this size: 28x28, 32x32x3, or 2 for points."
)
@click.option("--launches", is_flag=True, help="Also count what a training step asks of a GPU; needs none.")
@click.option("--no-kernels", is_flag=True, help="... where array code runs instead of kernels.")
def summary(recipe: str, data: str | None, size: str | None, launches: bool, no_kernels: bool) -> None:
    """Show the layers of RECIPE's two networks with output shapes and numbers of parameters; needs no data.

    With --launches, also what one training step launches on a GPU, by name, with the megabytes (10^6 bytes) that it
    reads and writes, and the fewest that it could: parameters and optimiser state once per pass that needs them,
    activations where a later pass does.
    """
    chosen = recipe_named(recipe)
    if data and size:
        raise UsageError("give --data or --size, not both")
    if no_kernels and not launches:
        raise UsageError("--no-kernels is for --launches; give both")
    shape = _shape(size) if size else FORMS[data or chosen.data]
    rows = count(chosen, shape, kernels=not no_kernels) if launches else []
    features = 1
    for length in shape:
        features *= length
    generator = chosen.generator.build(chosen.latent, features, seed=0)
    critic = chosen.critic.build(features, 1, seed=0, number=1)
    text = "x".join(map(str, shape))
    total = describe(f"generator of {recipe}: {chosen.latent} latents to {text}", generator, chosen.latent)
    print()
    total += describe(f"critic of {recipe}: {text} to a score", critic, features)
    print(f"\nboth networks: {total:,} parameters, {_memory(chosen, total)} with the optimisers' state")
    if launches:
        print()
        show_launches(rows, floor(chosen, shape))


def show_launches(rows: list[Row], least: int) -> None:
    """Print what a step launches, by name, and on the last line all of it beside the fewest bytes there are."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("one step on a GPU", "launches", "MB read", "MB written"):
        table.add_column(heading, justify="left" if heading.startswith("one") else "right")
    for row in rows:
        table.add_row(row.name, str(row.launches), f"{row.read / 1e6:,.2f}", f"{row.written / 1e6:,.2f}")
    show(table)
    launches, moved = sum(row.launches for row in rows), sum(row.read + row.written for row in rows)
    print(f"total: {launches} launches, {moved / 1e6:.1f} MB moved, floor {least / 1e6:.1f} MB")


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
        for _, layer in network.parts() if isinstance(network, Sequential) else [("", network)]:
            x = layer(x)
            shape = ", ".join(map(str, ("n", *x.shape[1:])))
            table.add_row(type(layer).__name__, f"({shape})", f"{layer.count():,}")
    show(title, table)
    trained = network.count(trained_only=True)
    kept = network.count() - trained
    print(f"{network.count():,} parameters: {trained:,} trained, {kept:,} running statistics")
    return network.count()


def show(*parts: "RenderableType") -> None:
    """Print text and tables as wide as the terminal, or in a file wide enough for whole lines."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(highlight=False, markup=False, width=wide)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip())  # tables fill their lines with spaces


def _rows_and_columns(grid: str) -> tuple[int, int]:
    match = _GRID.fullmatch(grid)
    if not match:
        raise UsageError(f"--grid is {grid!r}, wanted rows x columns such as 5x5")
    return int(match[1]), int(match[2])


def _shape(size: str) -> tuple[int, ...]:
    if not _SIZE.fullmatch(size):
        raise UsageError(
            f"--size is {size!r}, wanted height x width (x channels) such as 28x28, or 2 for points"
        )
    shape = tuple(map(int, size.split("x")))
    return (*shape, 1) if len(shape) == 2 else shape


def _home(run: Path) -> Path:
    """The run directory, also for one of its checkpoints."""
    if run.is_dir():
        return run
    return run.parent.parent if run.parent.name == "checkpoints" else run.parent


def _memory(recipe: Recipe, parameters: int) -> str:
    """float32 weights, gradients, and what the optimiser keeps of each."""
    kept = {"adam": 2, "adamw": 2, "rmsprop": 1, "sgd": 1}.get(recipe.optimiser.kind, 2)
    return f"{parameters * 4 * (2 + kept) / 2**20:,.1f} MiB"
