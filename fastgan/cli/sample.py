"""`fastgan sample`: a picture of what a run's generator makes, between two latents, or under its critic's contours."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastgan.cli.train import DEVICES
from fastgan.errors import FastganError, UsageError
from fastgan.gan import Trainer, load, pictures
from fastgan.gan.interpolation import images_between
from fastgan.gan.pictures import picture
from fastgan.gan.quality import critic_of
from fastgan.gan.run import POINTS

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS = 8  # of an interpolation
FRAMES = 24  # of a GIF, one way
MS = 60
MOST = 100_000  # samples of one picture: it is made in memory, all at once
_GRID = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_ALONG = "Rows of N images from one latent to another: along a great circle for normal noise, straight for uniform."


@dataclass(frozen=True)
class Wanted:
    """What the options of `sample` ask for."""

    seed: int
    label: int | None
    grid: str | None
    count: int | None
    interpolate: int | None
    gif: bool
    contour: bool

    def check(self, shape: tuple[int, ...]) -> None:
        """UsageError for options that do not go together, or not with samples of this shape."""
        images, form = len(shape) == 3, "x".join(map(str, shape))
        given = (self.count or 1, self.interpolate or 1)
        rows, columns = given if self.grid is None else _rows_and_columns(self.grid)
        if rows * columns > MOST:
            option = "grid" if self.grid else "count"
            raise UsageError(
                f"got --{option} for {rows * columns:,} samples, wanted at most {MOST:,} in a picture"
            )
        if self.grid and not images:
            raise UsageError("--grid is for images; give --count")
        if self.grid and (self.count or self.interpolate):
            raise UsageError(f"give --grid or --{'count' if self.count else 'interpolate'}, not both")
        if self.interpolate and not images:
            raise UsageError(f"--interpolate is for images; this run learned points of {form} numbers")
        if self.contour and shape != (2,):
            what = "images" if images else "points"
            raise UsageError(f"--contour is for points in the plane; this run learned {what} of {form}")
        if self.gif and not self.interpolate:
            raise UsageError("--gif is of an interpolation; give --interpolate 8 as well")

    @property
    def name(self) -> str:
        """The picture's name without its suffix."""
        kind = "interpolation" if self.interpolate else "contour" if self.contour else "sample"
        return f"{kind}-seed{self.seed}" + ("" if self.label is None else f"-label{self.label}")


@click.command(short_help="Write a picture of new samples of a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, help="Same seed, same picture.  [0]")
@click.option("--label", type=int, help="Only this class, of a run with classes.  [each in turn]")
@click.option("--grid", metavar="ROWSxCOLUMNS", help="Images in the picture.  [5x5]")
@click.option(
    "--count",
    type=click.IntRange(1),
    help="How many samples, instead of --grid; or rows.  [points: 2500; rows: 8]",
)
@click.option("--interpolate", type=click.IntRange(2, 1000), metavar="N", help=_ALONG)
@click.option("--gif", is_flag=True, help="An interpolation as a GIF as well, there and back.")
@click.option(
    "--contour", is_flag=True, help="Draw what the critic says all over the plane, under the points."
)
@click.option("--out", type=click.Path(path_type=Path), help="The PNG to write.  [RUN/sample-seedN.png]")
@click.option("--device", type=DEVICES, default="cpu", help="Where to compute.  [cpu]")
def sample(
    run: Path,
    seed: int,
    label: int | None,
    grid: str | None,
    count: int | None,
    interpolate: int | None,
    gif: bool,
    contour: bool,
    out: Path | None,
    device: str,
) -> None:
    """Write a picture of new samples of RUN, a run directory or a checkpoint; the data set is not needed."""
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is {out}, wanted a name that ends in .png")
    wanted = Wanted(seed, label, grid, count, interpolate, gif, contour)
    trainer = load(run, device=device)
    wanted.check(trainer.form.shape)
    target = out or _home(run) / f"{wanted.name}.png"
    image, what = _interpolated(trainer, wanted) if interpolate else _sampled(trainer, wanted)
    frames = _frames(trainer, wanted) if gif else []
    pictures.save_png(target, image)
    print(f"{target}  {what} of step {trainer.steps_done}, seed {seed}")
    if gif:
        moving = target.with_suffix(".gif")
        pictures.save_gif(moving, frames, ms=MS, hold=MS)
        print(f"{moving}  {len(frames)} frames")


def _sampled(trainer: Trainer, wanted: Wanted) -> tuple["Image", str]:
    """A grid of images, or points; with the critic's contours where they are wanted."""
    images = len(trainer.form.shape) == 3
    rows, columns = _rows_and_columns(wanted.grid or "5x5")
    n = wanted.count or (rows * columns if images else POINTS)
    samples = trainer.sample(n, seed=wanted.seed, label=wanted.label)
    if wanted.contour:
        return _over_contours(trainer, samples, wanted)
    return picture(samples, columns=None if wanted.count else columns), f"{n} samples"


def _over_contours(trainer: Trainer, samples: pictures.Array, wanted: Wanted) -> tuple["Image", str]:
    """Points over contours; the real points, which frame them, only where they can be had."""
    critic, what = critic_of(trainer, wanted.label), f"{len(samples)} samples and the critic"
    if trainer.form.source is None:
        return picture(samples, critic=critic), f"{what} (no real points: the data were an array)"
    try:
        data = trainer.form.source.load()
    except FastganError as error:
        return picture(samples, critic=critic), f"{what} (no real points: {error})"
    return picture(samples, critic=critic, real=data.samples[:POINTS], modes=data.modes), what


def _interpolated(trainer: Trainer, wanted: Wanted) -> tuple["Image", str]:
    """One row for each way."""
    rows, steps = wanted.count or ROWS, wanted.interpolate or FRAMES
    images = images_between(trainer, rows, steps, seed=wanted.seed, label=wanted.label)
    flat = images.reshape(rows * steps, *images.shape[2:])
    return picture(flat, columns=steps), f"{rows} rows of {steps} steps between latents"


def _frames(trainer: Trainer, wanted: Wanted) -> list["Image"]:
    """All ways at once, there and back."""
    images = images_between(trainer, wanted.count or ROWS, FRAMES, seed=wanted.seed, label=wanted.label)
    columns = (
        -(-len(images) // 2) if len(images) <= ROWS else None
    )  # two full rows rather than a square with a hole
    there = [picture(images[:, t], columns=columns) for t in range(FRAMES)]
    return there + there[-2:0:-1]


def _rows_and_columns(grid: str) -> tuple[int, int]:
    match = _GRID.fullmatch(grid)
    if not match:
        raise UsageError(f"--grid is {grid!r}, wanted rows x columns such as 5x5")
    return int(match[1]), int(match[2])


def _home(run: Path) -> Path:
    """The run directory, also for one of its checkpoints."""
    if run.is_dir():
        return run
    return run.parent.parent if run.parent.name == "checkpoints" else run.parent
