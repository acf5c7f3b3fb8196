"""`fastgan sample`: a picture of what a run's generator makes, between two latents, or under its critic's contours.

And `fastgan export`: that generator for those who have NumPy and nothing else.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from fastgan.cli.options import PATH
from fastgan.cli.train import DEVICES
from fastgan.errors import FastganError, UsageError
from fastgan.gan import load, pictures
from fastgan.gan.export import export as write
from fastgan.gan.interpolation import images_between
from fastgan.gan.pictures import picture
from fastgan.gan.quality import critic_of
from fastgan.gan.restore import load_sampler
from fastgan.gan.run import POINTS
from fastgan.gan.sampling import Sampler

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS = 8  # of an interpolation
FRAMES = 24  # of a GIF, one way
MS = 60
MOST = 100_000  # samples of one picture: it is made in memory, all at once
ALONG = "Rows of N images from one latent to another: along a great circle for normal noise, straight for uniform."
COUNT = "How many samples, instead of --grid; or rows.  [points: 2500; rows: 8]"


def rows_and_columns(text: str) -> tuple[int, int]:
    """5x5 as (5, 5)."""
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if not match:
        raise click.BadParameter(f"got {text!r}, wanted rows x columns such as 5x5")
    return int(match[1]), int(match[2])


@click.command(short_help="Write a picture of new samples of a run.")
@click.argument("run", type=PATH)
@click.option("--seed", type=int, default=0, help="Same seed, same picture.  [0]")
@click.option("--label", type=int, help="Only this class, of a run with classes.  [each in turn]")
@click.option("--grid", type=rows_and_columns, metavar="ROWSxCOLUMNS", help="Images in the picture.  [5x5]")
@click.option("--count", type=click.IntRange(1), help=COUNT)
@click.option("--interpolate", type=click.IntRange(2, 1000), metavar="N", help=ALONG)
@click.option("--gif", is_flag=True, help="An interpolation as a GIF as well, there and back.")
@click.option("--contour", is_flag=True, help="Draw what the critic says of the plane, under the points.")
@click.option("--out", type=PATH, help="The PNG to write.  [RUN/sample-seedN.png]")
@click.option("--device", type=DEVICES, default="cpu", help="Where to compute.  [cpu]")
def sample(run: Path, out: Path | None, device: str, **options: Any) -> None:
    """Write a picture of new samples of RUN, a run directory or a checkpoint; the data set is not needed."""
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is {out}, wanted a name that ends in .png")
    wanted, sampler = SimpleNamespace(**options), load_sampler(run, device=device)
    _check(wanted, sampler.form.shape)
    kind = "interpolation" if wanted.interpolate else "contour" if wanted.contour else "sample"
    name = f"{kind}-seed{wanted.seed}" + ("" if wanted.label is None else f"-label{wanted.label}")
    home = run if run.is_dir() else run.parent.parent if run.parent.name == "checkpoints" else run.parent
    target = out or home / f"{name}.png"
    image, what = (_between if wanted.interpolate else _sampled)(sampler, wanted, run)
    frames = _frames(sampler, wanted) if wanted.gif else []
    pictures.save_png(target, image)
    print(f"{target}  {what} of step {sampler.steps_done}, seed {wanted.seed}")
    if frames:
        moving = target.with_suffix(".gif")
        pictures.save_gif(moving, frames, ms=MS, hold=MS)
        print(f"{moving}  {len(frames)} frames")


def _check(wanted: SimpleNamespace, shape: tuple[int, ...]) -> None:
    """UsageError for options that do not go together, or not with samples of this shape."""
    images, form, n = len(shape) == 3, "x".join(map(str, shape)), wanted.count or 1
    rows, columns = wanted.grid or (n, wanted.interpolate or 1)
    option, other = ("grid" if wanted.grid else "count"), ("count" if wanted.count else "interpolate")
    learned = f"this run learned {f'images of {form}' if images else f'points of {form} numbers'}"
    many = f"got --{option} for {rows * columns:,} samples, wanted at most {MOST:,} in a picture"
    refused = [
        (rows * columns > MOST, many),
        (wanted.grid and not images, "--grid is for images; give --count"),
        (wanted.grid and (wanted.count or wanted.interpolate), f"give --grid or --{other}, not both"),
        (wanted.interpolate and not images, f"--interpolate is for images; {learned}"),
        (wanted.contour and shape != (2,), f"--contour is for points in the plane; {learned}"),
        (wanted.gif and not wanted.interpolate, "--gif is of an interpolation; give --interpolate 8 too"),
    ]
    for wrong, text in refused:
        if wrong:
            raise UsageError(text)


def _sampled(sampler: Sampler, wanted: SimpleNamespace, run: Path) -> tuple["Image", str]:
    """A grid of images, or points; over the critic's contours where they are wanted, which the real points frame."""
    rows, columns = wanted.grid or (5, 5)
    n = wanted.count or (rows * columns if len(sampler.form.shape) == 3 else POINTS)
    samples, what = sampler.sample(n, seed=wanted.seed, label=wanted.label), f"{n} samples"
    if not wanted.contour:
        return picture(samples, columns=None if wanted.count else columns), what
    critic, what = critic_of(load(run, device=sampler.device), wanted.label), f"{what} and the critic"
    try:
        if sampler.form.source is None:
            raise UsageError("the data were an array")
        data = sampler.form.source.load()
    except FastganError as error:
        return picture(samples, critic=critic), f"{what} (no real points: {error})"
    return picture(samples, critic=critic, real=data.samples[:POINTS], modes=data.modes), what


def _between(sampler: Sampler, wanted: SimpleNamespace, _: Path) -> tuple["Image", str]:
    """Rows of images, each along a way between latents."""
    images, steps = _ways(sampler, wanted, wanted.interpolate), wanted.interpolate
    what = f"{len(images)} rows of {steps} steps between latents"
    return picture(images.reshape(-1, *images.shape[2:]), columns=steps), what


def _frames(sampler: Sampler, wanted: SimpleNamespace) -> list["Image"]:
    """All ways at once, there and back."""
    images = _ways(sampler, wanted, FRAMES)
    # two full rows rather than a square with a hole
    columns = -(-len(images) // 2) if len(images) <= ROWS else None
    there = [picture(images[:, t], columns=columns) for t in range(FRAMES)]
    return there + there[-2:0:-1]


def _ways(sampler: Sampler, wanted: SimpleNamespace, steps: int) -> Any:
    """Images along ways between latents, (rows, steps, h, w, c)."""
    return images_between(sampler, wanted.count or ROWS, steps, seed=wanted.seed, label=wanted.label)


@click.command(short_help="Write an .npz and a script that draws with NumPy alone.")
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="A new folder.  [RUN-export]")
def export(run: Path, out: Path | None) -> None:
    """Write the generator of RUN, a run directory or a checkpoint, to a new folder, with a script that draws with it.

    `python sample.py 42` there makes the picture of `fastgan sample RUN --seed 42`, to within one grey level, and
    needs no fastgan.
    """
    trainer = load(run, device="cpu")
    run = run if run.name else run.resolve()  # "." has none
    folder = out or run.with_name(run.name.removesuffix(".safetensors") + "-export")
    write(trainer, folder)
    print(f"{folder}  generator.npz and sample.py; try: python {folder / 'sample.py'} 42")
