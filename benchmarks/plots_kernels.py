"""The roofline: how near each kernel comes to what memory and arithmetic of the machine allow.

One idea: at x floating-point operations per byte a machine computes no more than the lesser of its rate of products and
x times its rate of copying (Williams et al. 2009). All columns of a case share one x, so a case is a vertical line with
one number, which is moved until it covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgan.benchmarks.plots import INK, MARKERS, WIDTH, canvas, colour, legend, number, rank, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 4.4
DIGIT, TALL = 4.6, 8.5  # size of a digit, points
AWAY = (9, 18, 27, 36, 46, 58, 70)  # distances that are tried for a number, points
Box = tuple[float, float, float, float]  # middle, then half of width and height, points


@dataclass(frozen=True)
class Point:
    """A case: its operations per byte, and operations per second by column."""

    number: int
    intensity: float
    rates: Mapping[str, float]


def roofline(points: Sequence[Point], copy: float, gemm: float) -> Figure:
    """Points under the roof that `copy` (bytes/s) and `gemm` (flop/s) make; rates in Gflop/s."""
    figure, axes = canvas(WIDTH, HEIGHT, left=0.62, top=0.32, bottom=0.45)
    axes.grid(axis="y")
    xs = [point.intensity for point in points]
    low, high = min(*xs, gemm / copy / 4), max(*xs, gemm / copy * 4)
    roof = [(x, min(x * copy, gemm) / 1e9) for x in (low / 1.5, gemm / copy, high * 1.5)]
    rates = [rate / 1e9 for point in points for rate in point.rates.values()]
    span(axes, "x", [low / 1.2, high * 1.2], log=True)
    span(axes, "y", [*rates, *(y for _, y in roof)], room=0.13, log=True)
    ceilings = f"{number(copy / 1e9)} GB/s copied, {number(gemm / 1e9)} Gflop/s of products"
    axes.plot(*zip(*roof, strict=True), color=INK, lw=1.2, label=ceilings)
    for column in sorted({column for point in points for column in point.rates}, key=rank):
        own = [(p.intensity, p.rates[column] / 1e9) for p in points if column in p.rates]
        look: Any = {"color": colour(column), "mec": INK, "mew": 0.4, "ls": "none"}
        axes.plot(*zip(*own, strict=True), marker=MARKERS.get(column, "o"), label=column, ms=5.5, **look)
    _numbers(axes, points, roof)
    axes.set(xlabel="operations per byte that must be moved", ylabel="Gflop/s")
    legend(axes)
    return figure


def _numbers(axes: Axes, points: Sequence[Point], roof: Sequence[tuple[float, float]]) -> None:
    """A number at each case, where there is room, with a line to its highest point."""
    scale = 72 / axes.figure.dpi
    spots = {
        (point.number, column): axes.transData.transform((point.intensity, rate / 1e9)) * scale
        for point in points
        for column, rate in point.rates.items()
    }
    taken: list[Box] = [(x, y, 3.0, 3.0) for x, y in spots.values()]
    corners = axes.transData.transform(roof) * scale
    for (x0, y0), (x1, y1) in pairwise(corners):
        taken += [(x0 + t * (x1 - x0), y0 + t * (y1 - y0), 1.0, 1.0) for t in np.linspace(0, 1, 200)]
    for point in points:
        best = max(point.rates, key=point.rates.__getitem__)
        at, (x, y) = (point.intensity, point.rates[best] / 1e9), spots[point.number, best]
        half = (DIGIT * len(str(point.number)) / 2 + 1, TALL / 2)
        dx, dy = next(
            (d for d in _around() if not any(_meet((x + d[0], y + d[1], *half), box) for box in taken)),
            (0, 9),
        )
        taken.append((x + dx, y + dy, *half))
        line = {"arrowstyle": "-", "lw": 0.5, "color": INK, "alpha": 0.55, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            str(point.number),
            at,
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7.5,
            arrowprops=line if abs(dx) + abs(dy) > AWAY[0] + 1 else None,
        )


def _around() -> Iterator[tuple[float, float]]:
    """Places for a number, the nearest first, above before below."""
    for away in AWAY:
        for dx, dy in ((0, 1), (0, -1), (0.8, 0.6), (-0.8, 0.6), (0.8, -0.6), (-0.8, -0.6), (1, 0), (-1, 0)):
            yield away * dx, away * dy


def _meet(a: Box, b: Box) -> bool:
    return abs(a[0] - b[0]) < a[2] + b[2] and abs(a[1] - b[1]) < a[3] + b[3]
