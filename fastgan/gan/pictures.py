"""Pictures of a run: what the generator makes, how it got there, and how the losses went.

One idea: the frame of a picture depends on shapes and real data alone, never on what was generated, so that the
pictures of one run can be compared, and be the frames of one GIF. Pillow and matplotlib are imported when something is
drawn; matplotlib draws on a canvas of its own and under its own defaults, which leaves a caller's pyplot alone. Every
file is written whole. Shapes: `n` samples, `h w c` image, `d` features, `k` modes.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.data import Dataset
from fastgan.errors import ShapeError
from fastgan.gan.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

Array = NDArray[Any]
Rows = Sequence[Mapping[str, Any]]
Critic = Callable[[Array], Array]  # scores (n,) of points (n, 2)

IMAGES, COLUMNS = 100, 10  # of a sample picture
WIDEST = 700  # pixels: fits beside text in a browser, and 8x8 digits are still large enough to judge
GAP, _GAP_GREY = 2, 48
_FRAMES = 120  # more make a GIF of many megabytes and show nothing new
_DPI = 100
_POINTS = 2000  # of a curve; a figure of 900 pixels has no room for more
_PLACES, _LEVELS = 128, 10  # of the critic's contours, places along each side, as in the article
_REAL, _FAKE, _CRITIC, _GREY = "#e8710a", "#188038", "#1a62b5", "#5f6368"
_LOSSES = {  # keys of metrics.jsonl: label, color
    "critic_loss": ("critic loss", _CRITIC),
    "critic_loss_held_out": ("critic loss, held-out samples", "#00a3b4"),
    "generator_loss": ("generator loss", _FAKE),
}
_OPINIONS = {
    "d_real": ("D(x), real", _REAL),
    "d_fake": ("D(G(z)), generated", _FAKE),
    "accuracy": ("accuracy", _CRITIC),
}
_DISTANCES = {
    "wasserstein": ("Wasserstein estimate (should shrink)", _CRITIC),
    "penalty": ("gradient penalty", "#8e44ad"),
}


def picture(
    samples: Array,
    *,
    columns: int | None = None,
    real: Array | None = None,
    modes: Array | None = None,
    critic: Critic | None = None,
    title: str = "",
) -> Image:
    """A grid of images (n, h, w, c) in [0, 1]; points (n, 2) over real ones; longer vectors as lines of grey."""
    if samples.ndim == 4:
        return image_grid(samples, columns)
    if samples.shape[1] == 2:
        return scatter(samples, real, modes=modes, critic=critic, title=title)
    return profile(samples[:IMAGES], real)


def real_images(dataset: Dataset) -> Image:
    """A grid of real images, evenly spread over the data set, as files may be sorted by class."""
    rows = dataset.take(np.array(evenly(dataset.n, IMAGES))).scaled(0, 1)
    return image_grid(rows.reshape(-1, *dataset.sample_shape), COLUMNS)


def image_grid(samples: Array, columns: int | None = None) -> Image:
    """Floats (n, h, w, c) in [0, 1] as one image, row by row; c is 1, 3, or 4, which is shown on white.

    `columns` None: as near to a square as n allows. Each pixel is as large as keeps the grid within 700 pixels, and at
    least 1. What lies outside [0, 1] is clipped.
    """
    from PIL import Image

    if samples.shape[3] == 4:
        alpha = samples[..., 3:]
        samples = samples[..., :3] * alpha + (1 - alpha)
    n, h, w, c = samples.shape
    columns = min(n, columns or math.ceil((n * h / w) ** 0.5))
    zoom = max(1, (WIDEST - GAP * (columns + 1)) // (columns * w))
    tall, wide = zoom * h + GAP, zoom * w + GAP
    grid = np.full((-(-n // columns) * tall + GAP, columns * wide + GAP, c), _GAP_GREY, np.uint8)
    for i, sample in enumerate(_as_bytes(samples)):
        top, left = GAP + i // columns * tall, GAP + i % columns * wide
        cell = sample.repeat(zoom, axis=0).repeat(zoom, axis=1)
        grid[top : top + zoom * h, left : left + zoom * w] = cell
    return Image.fromarray(grid[:, :, 0] if c == 1 else grid)


def profile(samples: Array, real: Array | None = None) -> Image:
    """(n, d) vectors as n lines of d grey cells, black and white being the least and the most of the real ones."""
    from PIL import Image

    samples = np.nan_to_num(samples.astype(np.float64), posinf=0, neginf=0)
    window = samples if real is None else real
    low, high = float(window.min()), float(window.max())
    n, d = samples.shape
    cells = _as_bytes((samples - low) / ((high - low) or 1.0))
    tall, wide = min(24, max(1, WIDEST // n)), max(1, WIDEST // d)
    return Image.fromarray(cells.repeat(tall, axis=0).repeat(wide, axis=1))


def _as_bytes(samples: Array) -> Array:
    return (np.clip(np.nan_to_num(samples.astype(np.float32)), 0, 1) * 255 + 0.5).astype(np.uint8)


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, evenly spread, with the first and the last."""
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).round().astype(int).tolist()


def save_png(path: Path, image: Image) -> None:
    """Write the image as PNG, whole or not at all. OutputError."""
    _save(path, image, format="PNG")


def _save(path: Path, image: Image, **settings: Any) -> None:
    buffer = io.BytesIO()
    image.save(buffer, **settings)
    write_atomic(path, buffer.getvalue())


def save_gif(path: Path, frames: Sequence[Image], *, ms: int = 120, hold: int = 1500) -> None:
    """Write frames of one size as an endless GIF: `ms` milliseconds each, the last held for `hold`.

    Of more than 120 frames an even choice, with the first and the last, is taken. Equal neighbours become one
    frame, held longer. ShapeError for sizes that differ; OutputError.
    """
    if len(sizes := {frame.size for frame in frames}) > 1:
        raise ShapeError(f"save_gif needs frames of one size, got {sorted(sizes)}; make them with one grid")
    first, *others = _share_palette([frames[i] for i in evenly(len(frames), _FRAMES)])
    times = [ms] * len(others) + [hold]
    _save(path, first, format="GIF", save_all=True, append_images=others, duration=times, loop=0)


def _share_palette(frames: Sequence[Image]) -> list[Image]:
    """Frames of at most 256 colours, the same for all: a palette for each would flicker."""
    from PIL import Image, ImageChops, ImageStat

    def reduced(image: Image.Image, palette: Image.Image) -> Image.Image:
        return image.quantize(palette=palette, dither=Image.Dither.NONE)

    def error(palette: Image.Image) -> float:
        return sum(ImageStat.Stat(ImageChops.difference(strip, reduced(strip, palette).convert("RGB"))).mean)

    if all(frame.mode == "L" for frame in frames):
        return list(frames)
    frames = [frame.convert("RGB") for frame in frames]
    strip = Image.fromarray(np.concatenate([np.asarray(frames[i]) for i in evenly(len(frames), 8)]))
    methods = Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE  # for photographs, for drawings
    palette = min((strip.quantize(256, method) for method in methods), key=error)
    return [reduced(frame, palette) for frame in frames]


def frames_of(folder: Path) -> list[Image]:
    """The pictures of the steps in their order, no more than a GIF takes; one that is damaged is left out."""
    from PIL import Image

    steps = sorted((int(path.stem), path) for path in folder.glob("*.png") if path.stem.isdecimal())
    frames = []
    for i in evenly(len(steps), 2 * _FRAMES):
        with suppress(OSError, SyntaxError, ValueError), Image.open(steps[i][1]) as image:
            frames.append(image.convert("L" if image.mode == "L" else "RGB"))
    return frames


@contextmanager
def drawing(settings: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """A block in which matplotlib draws under its defaults, and `settings`, whatever the user or a notebook has set.

    With an MPLBACKEND that is not there, which notebooks hand on to every program that they start, matplotlib refuses
    to be imported; once imported, it is given the wish, for a pyplot of the user's.
    """
    wish = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if wish is not None:
            os.environ["MPLBACKEND"] = wish
    if wish is not None:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wish
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(settings or {}))
        yield


@drawing()
def scatter(
    points: Array,
    real: Array | None = None,
    *,
    modes: Array | None = None,
    critic: Critic | None = None,
    title: str = "",
) -> Image:
    """(n, 2) generated points over real ones, 480x480 pixels; `modes` (k, 2) are ringed.

    The limits come from the real points (else the modes, else the points), so that frames can be compared; how
    many generated points lie outside is written below. `critic` is drawn as contours underneath: the darker, the more
    it takes a place for real.
    """
    from matplotlib.figure import Figure

    points, real, modes = map(_cloud, (points, real, modes))
    window = next((cloud for cloud in (real, modes, points) if len(cloud)), np.zeros((1, 2)))
    low, high = window.min(axis=0), window.max(axis=0)
    middle, reach = (low + high) / 2, float((high - low).max()) * 0.575 or 1.0  # a margin of 15 %
    figure = Figure(figsize=(4.8, 4.8), dpi=_DPI)
    axes = figure.add_axes((0.14, 0.11, 0.78, 0.78))  # a square that tick labels do not move
    if critic:
        _contours(axes, critic, middle, reach)
    if len(real):
        axes.plot(*real.T, "+", color=_REAL, ms=6, mew=1.2, label="real")
    axes.plot(*points.T, "o", color=_FAKE, ms=4, mew=0, alpha=0.6, label="generated")
    if len(modes):
        axes.plot(*modes.T, "o", color="black", ms=13, mfc="none", mew=1, label="modes")
    axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    if outside := int((abs(points - middle) > reach).any(axis=1).sum()):
        axes.set_xlabel(f"{outside} of {len(points)} generated points lie outside", fontsize=9, color=_GREY)
    figure.suptitle(title, x=0.5, y=0.985, fontsize=12, parse_math=False)
    return _render(figure)


def _cloud(points: Array | None) -> Array:
    """The points that can be shown, as float64."""
    points = np.zeros((0, 2)) if points is None else np.asarray(points, np.float64)
    return points[np.isfinite(points).all(axis=1)]


def _contours(axes: Axes, critic: Critic, middle: Array, reach: float) -> None:
    """The critic's scores all over the window; nothing where they are all the same, or not finite."""
    x, y = (m + np.linspace(-reach, reach, _PLACES) for m in middle)
    places = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
    scores = np.asarray(critic(places.reshape(-1, 2)), np.float64).reshape(_PLACES, _PLACES)
    if not np.isfinite(scores).all() or np.ptp(scores) == 0:
        return
    levels = np.unique(np.quantile(scores, np.linspace(0, 1, _LEVELS + 1)))  # no far corner takes all levels
    axes.contourf(x, y, scores, levels, cmap="Blues", alpha=0.45)
    axes.contour(x, y, scores, levels, colors=_CRITIC, linewidths=0.5, linestyles="solid", alpha=0.6)
    axes.plot([], [], "s", color=_CRITIC, ms=9, mew=0, alpha=0.45, label="critic")


@drawing()
def loss_curves(path: Path, rows: Rows) -> None:
    """Draw rows of metrics.jsonl as a PNG of 900x600 pixels: the losses, and below what the critic measures.

    Keys: step, critic_loss, generator_loss, and any of critic_loss_held_out, d_real, d_fake, accuracy, wasserstein,
    penalty, steps_per_second. A value that is missing, None or not finite is left out. Of many rows the curve is a
    running mean over the pale single values; outliers do not set the scale. OutputError.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=_DPI)
    below = any(_series(rows, key)[0].size for key in _OPINIONS | _DISTANCES)
    panels = figure.subplots(1 + below, 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.08, right=0.97, bottom=0.09, top=0.87, hspace=0.24)
    last = max([1.0, *_series(rows, "step")[0][-1:]])
    _, speed = _series(rows, "steps_per_second")
    pace = f", {np.median(speed):,.1f} steps per second" if speed.size else ""
    figure.suptitle(f"Losses up to step {last:,.0f}{pace}" if rows else "No losses yet", y=0.98, fontsize=13)
    _draw(panels[0], rows, _LOSSES)
    panels[0].set(ylabel="loss")
    if below:
        opinions, distances = _draw(panels[1], rows, _OPINIONS), _draw(panels[1], rows, _DISTANCES)
        panels[1].set_ylabel("estimate")
        if opinions.size and not distances.size and opinions.min() >= 0 and opinions.max() <= 1:
            panels[1].set(ylim=(-0.03, 1.03), ylabel="probability")
            panels[1].axhline(0.5, color=_GREY, lw=0.8, ls="--", label="0.5: cannot tell apart")
    panels[-1].set(xlabel="step (generator updates)", xlim=(-0.01 * last, 1.01 * last))
    panels[-1].locator_params(axis="x", integer=True)
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    save_png(path, _render(figure))


def _draw(axes: Axes, rows: Rows, curves: Mapping[str, tuple[str, str]]) -> Array:
    """Draw those of the curves that have values, which are returned together."""
    drawn = [np.zeros(0)]
    for key, (label, color) in curves.items():
        steps, values = _series(rows, key)
        drawn.append(values)
        if values.size == 0:
            continue
        keep, width = evenly(values.size, _POINTS), max(1, min(200, values.size // 50))
        axes.plot(steps[keep], values[keep], color=color, lw=0.7, alpha=0.25)
        at, mean = _running_mean(steps, width), _running_mean(values, width)
        axes.plot(at, mean, "o" if mean.size == 1 else "-", color=color, lw=1.6, label=label)
    values = np.concatenate(drawn)
    if values.size > 50:  # let 1 % at each end leave the picture rather than flatten the rest
        low, high = np.percentile(values, (1, 99))
        if np.ptp(values) > 3 * (high - low) > 0:
            axes.set_ylim(1.15 * low - 0.15 * high, 1.15 * high - 0.15 * low)
    return values


def _running_mean(values: Array, width: int) -> Array:
    """Means of `width` neighbours, at no more places than a picture shows."""
    windows = np.lib.stride_tricks.sliding_window_view(values, width)
    return np.asarray(windows[evenly(len(windows), _POINTS)].mean(axis=1))


def _series(rows: Rows, key: str) -> tuple[Array, Array]:
    """Steps and finite values of one key, in the order of the steps."""
    pairs = [(row["step"], row[key]) for row in rows if None not in (row.get("step"), row.get(key))]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    table = table[np.isfinite(table[:, 1])]
    steps, values = table[np.argsort(table[:, 0], kind="stable")].T
    return steps, values


def _render(figure: Figure) -> Image:
    """The figure's pixels: light grids, no boxes, and one legend above each panel, where it hides nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    for axes in figure.axes:
        axes.grid(color="#e3e5e8", lw=0.8)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=9, labelcolor=_GREY)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderpad=0.2)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).figure.savefig(buffer, format="png", dpi=_DPI)
    return Image.open(buffer).convert("RGB")
