"""Figures of growth: which of two engines is faster where, time and memory over a size, quality over seconds.

One idea: what grows by factors is drawn by factors, so a straight line is a power and a level one is a fixed cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.plots import (
    INK,
    MARKERS,
    WIDTH,
    bare,
    canvas,
    colour,
    legend,
    number,
    rank,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Spread = tuple[float, float, float]  # 20th percentile, median, 80th
CELL = (0.82, 0.52)  # of the heat map
STRONGEST = math.log(8)  # a factor from which on the colour stays the same
SHADES = ("#e8871e", "#f3f1ec", "#3d7fd6")  # from the first column's side to the second's
DARK = "#1a1c1f"  # ink on the colours of the map, which are the same on every page
BY_FACTORS = 4  # from this range on


def crossover(
    batches: Sequence[float],
    widths: Sequence[float],
    ratio: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> Figure:
    """(batches, widths) times of a column over another's, below them both (2, batches, widths) in milliseconds, and the
    line where they are equal; NaN where there is none.
    """
    from matplotlib.colors import LinearSegmentedColormap

    ratio = np.log(ratio)
    left, bottom = 0.75, 0.45
    size = (CELL[0] * len(widths) + left + 0.1, CELL[1] * len(batches) + bottom + 0.08)
    figure, axes = canvas(*size, left=left, top=0.08, bottom=bottom)
    axes.grid(visible=False)
    shades = LinearSegmentedColormap.from_list("ratio", SHADES)
    colours = shades(np.nan_to_num(ratio / STRONGEST, nan=0.0).clip(-1, 1) / 2 + 0.5)
    for (row, place), value in np.ndenumerate(ratio):
        if math.isnan(value):
            continue
        axes.barh(row, 0.98, 0.96, place - 0.49, color=[colours[row, place]])
        look: Any = {"ha": "center", "va": "center", "color": DARK}
        look["bbox"] = {
            "facecolor": colours[row, place],
            "edgecolor": "none",
            "pad": 0.6,
        }  # the line passes behind
        axes.text(place, row + 0.16, f"{math.exp(value):.2f}", weight="bold", **look)
        times = " / ".join(number(float(x) * 1e3) for x in seconds[:, row, place])
        axes.text(place, row - 0.24, times, fontsize=6.5, **look)
    _border(axes, ratio)
    axes.set_xticks(range(len(widths)), [number(w) for w in widths])
    axes.set_yticks(range(len(batches)), [number(b) for b in batches])
    axes.set(xlim=(-0.5, len(widths) - 0.5), ylim=(-0.5, len(batches) - 0.5), xlabel="width", ylabel="batch")
    return figure


def _border(axes: Axes, ratio: NDArray[np.float64]) -> None:
    """The line where a logarithm of a ratio changes its sign, along the edges of cells: it covers no number."""
    wins = np.where(np.isnan(ratio), np.nan, ratio > 0)
    for row, place in np.argwhere(wins[:, 1:] + wins[:, :-1] == 1):
        axes.vlines(place + 0.5, row - 0.5, row + 0.5, color=DARK, lw=2.5)
    for row, place in np.argwhere(wins[1:] + wins[:-1] == 1):
        axes.hlines(row + 0.5, place - 0.5, place + 0.5, color=DARK, lw=2.5)


def scaling(title: str, panels: Sequence[tuple[str, Mapping[str, Mapping[float, Spread]]]]) -> Figure:
    """Panels side by side: a label, and by column the values with their spread over the size that grows."""
    width = WIDTH * len(panels) / 2
    figure, first = canvas(width, 2.9, left=0.55, right=0.25, top=0.45, bottom=0.45)
    box, gap = first.get_position(), 0.59 / width
    first.remove()
    step = (box.width + gap) / len(panels)
    for i, (label, lines) in enumerate(panels):
        axes = bare(figure.add_axes((box.x0 + i * step, box.y0, step - gap, box.height)))
        axes.grid(axis="y")
        for column in sorted(lines, key=rank):
            _line(axes, column, lines[column])
        sizes = sorted({size for own in lines.values() for size in own})
        span(axes, "x", sizes, log=_wide(sizes))
        axes.set_xticks(sizes)
        values = [x for own in lines.values() for spread in own.values() for x in spread]
        span(axes, "y", values, room=0.06, log=_wide(values))
        axes.set(xlabel=title, ylabel=label)
        legend(axes, 2)
    return figure


def _line(axes: Axes, column: str, values: Mapping[float, Spread]) -> None:
    sizes = sorted(values)
    low, middle, high = zip(*(values[size] for size in sizes), strict=True)
    axes.plot(sizes, middle, marker=MARKERS.get(column, "o"), color=colour(column), label=column)
    axes.vlines(sizes, low, high, color=colour(column), lw=1)


def _wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) >= BY_FACTORS * min(values)


@dataclass(frozen=True)
class Curve:
    """Scores of one training over its seconds."""

    column: str
    points: Sequence[tuple[float, float]]


def quality(curves: Sequence[Curve], lines: Mapping[str, float]) -> Figure:
    """Score over seconds, a line per seed; `lines` are what it is held against, by name."""
    figure, axes = canvas(WIDTH, 3.4, left=0.6, top=0.42, bottom=0.45)
    axes.grid(axis="y")
    seen: set[str] = set()
    for curve in curves:
        label = None if curve.column in seen else curve.column
        seen.add(curve.column)
        look: Any = {
            "color": colour(curve.column),
            "marker": MARKERS.get(curve.column, "o"),
            "ms": 3.5,
            "lw": 1.2,
        }
        axes.plot(*zip(*curve.points, strict=True), label=label, **look)
    for (name, value), dashes in zip(lines.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color=INK, lw=1, ls=dashes, label=f"{name}: {number(value)}")
    seconds, scores = zip(*(point for curve in curves for point in curve.points), strict=True)
    span(axes, "x", seconds)
    values = [*scores, *lines.values()]
    span(axes, "y", values, room=0.06, log=_wide(values))
    axes.set(xlabel="seconds of training", ylabel="score, less is better")
    legend(axes, 5)
    return figure
