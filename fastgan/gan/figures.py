"""Drawings of a run: points with the critic's contours, and how the losses went.

One idea, as in pictures.py: the frame of a drawing depends on the real data alone, so that the drawings of one run can
be compared, and be the frames of one GIF. matplotlib draws on a canvas of its own and under its own defaults, which
leaves a caller's pyplot alone, and is imported when something is drawn. Shapes: `n` points, `k` modes.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.errors import ShapeError
from fastgan.gan.pictures import evenly, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

Array = NDArray[Any]
Rows = Sequence[Mapping[str, Any]]

Critic = Callable[[Array], Array]  # scores (n,) of points (n, 2)

_DPI = 100
_POINTS = 2000  # of a curve; a figure of 900 pixels has no room for more
_REAL, _FAKE, _CRITIC, _PENALTY, _GREY = "#e8710a", "#188038", "#1a62b5", "#8e44ad", "#5f6368"
_HELD_OUT = "#00a3b4"

_PLACES = 128  # of the critic's contours along each side, as in the article
_LEVELS = 10
_LOSSES = {
    "critic_loss": ("critic loss", _CRITIC),
    "critic_loss_held_out": ("critic loss, held-out samples", _HELD_OUT),
    "generator_loss": ("generator loss", _FAKE),
}
_OPINIONS = {
    "d_real": ("D(x), real", _REAL),
    "d_fake": ("D(G(z)), generated", _FAKE),
    "accuracy": ("accuracy", _CRITIC),
}
_DISTANCES = {
    "wasserstein": ("Wasserstein estimate (should shrink)", _CRITIC),
    "penalty": ("gradient penalty", _PENALTY),
}


@contextmanager
def drawing(settings: Mapping[Any, Any] | None = None) -> Iterator[None]:
    """A block in which matplotlib draws under its defaults, and `settings`, whatever the user or a notebook has set."""
    _import_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(settings or {}))
        yield


def _import_matplotlib() -> None:
    """Import matplotlib where MPLBACKEND names a backend that is not there, with which it refuses to be imported.

    Notebooks hand that variable on to every program that they start. Once imported, matplotlib is given the wish, for
    a pyplot of the user's.
    """
    wish = os.environ.get("MPLBACKEND")
    if wish is None or "matplotlib" in sys.modules:
        return
    del os.environ["MPLBACKEND"]
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = wish
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = wish


@drawing()
def scatter(
    points: Array,
    real: Array | None = None,
    *,
    modes: Array | None = None,
    critic: Critic | None = None,
    title: str = "",
) -> Image:
    """(n, 2) generated points over real ones, 480x480 pixels; `modes` (k, 2) are ringed. ShapeError.

    The limits come from the real points (else the modes, else the points), so that frames can be compared; how
    many generated points lie outside is written below. `critic` is drawn as contours underneath: the darker, the more
    it takes a place for real.
    """
    from matplotlib.figure import Figure

    points, real, modes = _cloud("points", points), _cloud("real", real), _cloud("modes", modes)
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
    _finish(axes)
    return _render(figure)


def _contours(axes: Axes, critic: Critic, middle: Array, reach: float) -> None:
    """The critic's scores all over the window; nothing where they are all the same, or not finite."""
    x, y = (m + np.linspace(-reach, reach, _PLACES) for m in middle)
    places = np.stack(np.meshgrid(x, y), axis=-1)
    scores = np.asarray(critic(places.reshape(-1, 2).astype(np.float32)), np.float64).reshape(
        places.shape[:2]
    )
    if not np.isfinite(scores).all() or np.ptp(scores) == 0:
        return
    shares = np.linspace(0, 1, _LEVELS + 1)  # equal areas: no far corner takes all levels
    levels = np.unique(np.quantile(scores, shares))
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
    steps, _ = _series(rows, "step")
    last = max([1.0, *steps[-1:]])
    figure.suptitle(_headline(rows, last), y=0.98, fontsize=13)
    _draw(panels[0], rows, _LOSSES)
    panels[0].set(ylabel="loss")
    if below:
        _draw_below(panels[1], rows)
    panels[-1].set(xlabel="step (generator updates)", xlim=(-0.01 * last, 1.01 * last))
    panels[-1].locator_params(axis="x", integer=True)
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    for axes in panels:
        _finish(axes)
    save_png(path, _render(figure))


def _draw_below(axes: Axes, rows: Rows) -> None:
    opinions, distances = _draw(axes, rows, _OPINIONS), _draw(axes, rows, _DISTANCES)
    if opinions.size and not distances.size and opinions.min() >= 0 and opinions.max() <= 1:
        axes.set(ylim=(-0.03, 1.03), ylabel="probability")
        axes.axhline(0.5, color=_GREY, lw=0.8, ls="--", label="0.5: cannot tell apart")
    else:
        axes.set_ylabel("estimate")


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
    steps, values = np.array(pairs, np.float64).reshape(-1, 2).T
    order = np.argsort(steps, kind="stable")
    order = order[np.isfinite(values[order])]
    return steps[order], values[order]


def _headline(rows: Rows, last: float) -> str:
    _, speed = _series(rows, "steps_per_second")
    pace = f", {np.median(speed):,.1f} steps per second" if speed.size else ""
    return f"Losses up to step {last:,.0f}{pace}" if rows else "No losses yet"


def _finish(axes: Axes) -> None:
    """Light grid, no box, and one legend above the panel, where it hides nothing."""
    axes.grid(color="#e3e5e8", lw=0.8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=_GREY)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1.2, frameon=False, borderpad=0.2
        )


def _render(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).figure.savefig(buffer, format="png", dpi=_DPI)
    return Image.open(buffer).convert("RGB")


def _cloud(name: str, points: Array | None) -> Array:
    points = np.zeros((0, 2)) if points is None else np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"scatter needs {name} of shape (n, 2), got {points.shape}; choose two features")
    return points[np.isfinite(points).all(axis=1)]
