"""Figures of training steps: what each idea brought, launches and bytes, the first call, the host beside the device.

One idea: each answers one question, and its numbers stand in it, so that nobody measures bars with a ruler. Times are
in the unit that the axis names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgan.benchmarks.plots import (
    CHARACTER,
    INK,
    LINE,
    PALE,
    VALUE,
    WIDTH,
    bare,
    canvas,
    colour,
    legend,
    number,
    short,
    span,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FACTOR = 1.005  # changes below half a percent are shown as none
STACK = (PALE, "#b9a46c", "#3d7fd6", "#a9cdf2", "#6fb58d")


@dataclass(frozen=True)
class Rung:
    """A way of training: its time with 20th and 80th percentile; those of the rung before and of the first over it."""

    name: str
    column: str
    low: float
    median: float
    high: float
    factor: float | None = None
    whole: float = 1.0


def staircase(rungs: Sequence[Rung]) -> Figure:
    """Times of a ladder of ideas, milliseconds: equal factors fall equally far."""
    figure, axes = canvas(0.68 * WIDTH, 2.7, left=0.55, top=0.12, bottom=0.5)
    axes.grid(visible=False)
    axes.grid(axis="y")
    places = range(len(rungs))
    axes.stairs(
        [rung.median for rung in rungs], [-0.5, *(i + 0.5 for i in places)], color=INK, lw=1.2, baseline=None
    )
    span(axes, "y", [x for rung in rungs for x in (rung.low, rung.high)], room=0.24, log=True)
    bottom = axes.get_ylim()[0]
    axes.bar(
        places, [rung.median - bottom for rung in rungs], 1, bottom, color=[colour(r.column) for r in rungs]
    )
    for i, rung in enumerate(rungs):
        axes.vlines(i, rung.low, rung.high, color=INK, lw=1)
        note: Any = {"textcoords": "offset points", "ha": "center"}
        axes.annotate(number(rung.median), (i, rung.high), (0, 3), weight="bold", **note)
        if rung.factor:
            axes.annotate(faster(rung.factor), (i, rung.high), (0, 14), fontsize=8, **note)
    axes.set_xticks(places, [f"{rung.name}\n{rung.column}" for rung in rungs], fontsize=7.5)
    axes.set(xlim=(-0.5, len(rungs) - 0.5), ylabel="ms per step")
    return figure


def faster(factor: float) -> str:
    """A factor in words."""
    if 1 / FACTOR < factor < FACTOR:
        return "as fast"
    return f"{factor:.3g}x faster" if factor > 1 else f"{1 / factor:.3g}x slower"


def launched(
    names: Sequence[str], panels: Sequence[tuple[str, Mapping[str, Mapping[str, float]], bool]]
) -> Figure:
    """Panels side by side with a bar per series and name; a panel is a title, its series by name, and the last series
    is a mark instead of a bar where the third is true.
    """
    most = max(len(series) - marked for _, series, marked in panels)
    left = 0.12 + CHARACTER * max(len(short(name, 30)) for name in names)
    height = (most * 0.8 + 0.5) * LINE * len(names)
    figure, first = canvas(WIDTH, height + 0.85, left=left, top=0.4, bottom=0.45)
    box = first.get_position()
    first.remove()
    step = box.width / len(panels)
    for i, (title, series, marked) in enumerate(panels):
        axes = bare(figure.add_axes((box.x0 + i * step, box.y0, step - 0.025, box.height)))
        _series(axes, names, series, marked=marked)
        axes.set_yticks([-n for n in range(len(names))], [short(name, 30) if not i else "" for name in names])
        axes.set(ylim=(0.55 - len(names), 0.55), xlabel=title)
        values = [v for own in series.values() for v in own.values() if v]
        span(axes, "x", values, room=0.95 * VALUE / (step * WIDTH), log=True)
        legend(axes)
    return figure


def _series(
    axes: Axes, names: Sequence[str], series: Mapping[str, Mapping[str, float]], *, marked: bool
) -> None:
    shades = (colour("cupy"), colour("cuda-kernels"), colour("cuda-graph"))
    solid = list(series)[: -1 if marked else None]
    thick = 0.8 / len(solid)
    for place, title in enumerate(solid):
        own = {n: series[title][name] for n, name in enumerate(names) if series[title].get(name)}
        at = [-n + 0.4 - thick * (place + 0.5) for n in own]
        axes.barh(at, list(own.values()), 0.92 * thick, color=shades[place % 3], label=title)
        for y, value in zip(at, own.values(), strict=True):
            axes.annotate(
                number(value),
                (value, y),
                (4, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=7.5,
            )
    for title in list(series)[len(solid) :]:
        own = {n: series[title][name] for n, name in enumerate(names) if series[title].get(name)}
        axes.vlines(
            list(own.values()), [-n - 0.42 for n in own], [-n + 0.42 for n in own], color=INK, label=title
        )


def stacked(lines: Sequence[tuple[str, Sequence[float]]], series: Sequence[str]) -> Figure:
    """A bar per line of what follows one another, seconds; their sum behind it."""
    left = 0.15 + CHARACTER * max(len(short(name)) for name, _ in lines)
    figure, axes = canvas(WIDTH, 1.35 * LINE * len(lines) + 0.85, left=left, top=0.32, bottom=0.48)
    for place, (_, values) in enumerate(lines):
        for i, (name, value) in enumerate(zip(series, values, strict=True)):
            label = None if place else name
            axes.barh(-place, value, 0.74, sum(values[:i]), color=STACK[i % len(STACK)], label=label)
        axes.annotate(
            f"{number(sum(values))} s",
            (sum(values), -place),
            (4, 0),
            textcoords="offset points",
            va="center_baseline",
        )
    axes.set_yticks([-place for place in range(len(lines))], [short(name) for name, _ in lines])
    axes.set(ylim=(0.6 - len(lines), 0.6), xlabel="seconds")
    span(axes, "x", [sum(values) for _, values in lines], room=1.2 * VALUE / (WIDTH - left))
    legend(axes, 5, side="right")
    return figure


def hosts(lines: Sequence[tuple[str, str, float, float, float]]) -> Figure:
    """A line per row: its label and column, milliseconds of the host's asking, of the device, and in all."""
    left = 0.15 + CHARACTER * max(len(short(name, 54)) for name, *_ in lines)
    figure, axes = canvas(WIDTH, LINE * len(lines) + 0.85, left=left, top=0.32, bottom=0.48)
    places = [-place for place in range(len(lines))]
    asking, device, total = zip(*(times for _, _, *times in lines), strict=True)
    axes.barh(
        places, total, 0.74, color=[colour(column) for _, column, *_ in lines], alpha=0.55, label="in all"
    )
    axes.plot(asking, places, "|", color=INK, ms=8, mew=1.6, label="asked for by the host")
    axes.plot(device, places, "D", color=INK, ms=3.5, mfc="none", label="on the device")
    for y, value, marks in zip(places, total, zip(asking, device, total, strict=True), strict=True):
        axes.annotate(
            number(value),
            (max(marks), y),
            (6, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=7.5,
        )
    axes.set_yticks(places, [short(name, 54) for name, *_ in lines])
    axes.set(ylim=(0.6 - len(lines), 0.6), xlabel="ms")
    span(axes, "x", [*asking, *device, *total], room=VALUE / (WIDTH - left), log=True)
    legend(axes, side="right")
    return figure
