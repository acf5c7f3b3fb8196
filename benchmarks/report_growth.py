"""Sections of the report on where time goes and how it grows: crossover, scaling, launches, first call, host, quality.

One idea: what a suite measures beyond times is in a row's `extra`, and a section shows as much of it as is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks import plots, plots_growth, plots_steps
from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.report_page import Html, figure, folded, items, joined, said, table, tag
from fastgan.benchmarks.report_speed import errors, times_faster
from fastgan.benchmarks.results import (
    Results,
    Row,
    case_rows,
    over_seeds,
    rows,
    seed_by_seed,
    spread_of,
    title,
    trained,
)
from fastgan.benchmarks.suites.crossover import PAIRS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIB = 2**20
CODES = {"numpy": "array code", "cupy": "array code", "cuda-kernels": "kernels", "cuda-graph": "graphs"}
CALLS = {
    "import": "import",
    "making": "building",
    "first_step": "first step",
    "second_step": "second step",
    "ten_more": "ten more steps",
}
CELLS = (
    "In each cell the ratio of the two times, then both in ms: above 1 (blue) the second engine is faster. "
    "The line parts the sizes where one wins from those where the other does."
)
STEPPING = ("steps", "ideas")  # shown at once, the others when they are asked for
NAMES, LINES = 16, 42  # recipes, and rows, in one figure


def crossover(results: Results) -> Iterator[Html]:
    """A map for each pair of columns of a group."""
    found = rows(results, suite="crossover")
    if not found:
        return
    drawn = []
    for group in dict.fromkeys(row["group"] for row in found):
        own = [row for row in found if row["group"] == group and row["seconds"]]
        drawn += [one_map(group, pair, own) for pair in pairs({row["column"]: row["device"] for row in own})]
    yield said(CELLS if drawn else "No two engines have times at one size.")
    for i, (name, lines, own_figure) in enumerate(drawn):
        yield figure(f"crossover-{i}", name, own_figure)
        yield items(lines)
    yield from errors(dict(case_rows(results, suite="crossover")))


def pairs(devices: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which columns are compared: those that the suite times together, or any two."""
    names = sorted(devices, key=plots.rank)
    known = [(a, b) for a, b in PAIRS["cuda" in devices.values()] if {a, b} <= set(names)]
    return known or list(combinations(names, 2))


def one_map(group: str, pair: tuple[str, str], own: list[Row]) -> tuple[str, list[str], Figure]:
    """A title, a line per batch, and the figure."""
    by_place: dict[tuple[float, float], dict[str, Row]] = {}
    for row in own:
        if row["column"] in pair:
            by_place.setdefault((row["shape"]["batch"], row["shape"]["width"]), {})[row["column"]] = row
    batches, widths = (sorted({place[i] for place in by_place}) for i in (0, 1))
    shape = len(batches), len(widths)
    seconds, ratio = np.full((2, *shape), np.nan), np.full(shape, np.nan)
    for (batch, width), rows_there in by_place.items():
        place = batches.index(batch), widths.index(width)
        for i, column in enumerate(pair):
            if column in rows_there:
                seconds[i, *place] = rows_there[column]["seconds"]["median"]
        if len(rows_there) == 2:
            ratio[place] = times_faster(*(rows_there[column] for column in pair))
    lines = [
        f"batch {batch}: {pair[1]} {where(widths, row)}" for batch, row in zip(batches, ratio, strict=True)
    ]
    title = f"{group}: time of {pair[0]} over that of {pair[1]}"
    return title, lines, plots_growth.crossover(batches, widths, ratio, seconds)


def where(widths: Sequence[float], ratio: NDArray[np.float64]) -> str:
    """From which width on the second column is faster, at one batch."""
    there = [(width, value) for width, value in zip(widths, ratio, strict=True) if not np.isnan(value)]
    lost = [i for i, (_, value) in enumerate(there) if value <= 1]
    first = lost[-1] + 1 if lost else 0
    if first == len(there):
        return "is not faster at the largest width" if there else "was not timed beside the other"
    return f"is faster from width {there[first][0]} on" if first else "is faster at every width"


def scaling(results: Results) -> Iterator[Html]:
    """Time, and beside it memory, over what grows."""
    found = rows(results, suite="scaling")
    if not found:
        return
    for group in dict.fromkeys(row["group"] for row in found):
        own = [row for row in found if row["group"] == group and row["shape"].get(group)]
        times = by_column(own, group, lambda row: row["seconds"] and spread_of(row["seconds"]), 1e3)
        memory = by_column(own, group, lambda row: (row["extra"].get("memory"),) * 3, 1 / MIB)
        panels = [
            (label, lines) for label, lines in (("ms per step", times), ("memory, MiB", memory)) if lines
        ]
        if panels:
            yield figure(f"scaling-{group}", f"Growth with {group}", plots_growth.scaling(group, panels))
    yield from errors(dict(case_rows(results, suite="scaling")))


def by_column(
    own: list[Row], key: str, values: Any, unit: float
) -> dict[str, dict[float, plots_growth.Spread]]:
    """Spreads by column and size, of the rows that have one."""
    lines: dict[str, dict[float, plots_growth.Spread]] = {}
    for row in own:
        spread = values(row)
        if spread and spread[1]:
            low, middle, high = (x * unit for x in spread)
            lines.setdefault(row["column"], {})[row["shape"][key]] = low, middle, high
    return lines


def launches(results: Results) -> Iterator[Html]:
    """How many launches a step makes, and how many bytes go through, against the least there can be."""
    counted = [row for row in results["rows"] if row.get("launches") or row["extra"].get("floor_bytes")]
    if not counted:
        return
    number: dict[str, dict[str, float]] = {}
    moved: dict[str, dict[str, float]] = {}
    for row in counted:
        code = CODES.get(row["column"], row["column"])
        if row.get("launches"):
            number.setdefault(code, {}).setdefault(row["group"], row["launches"])
        if row["extra"].get("bytes"):
            moved.setdefault(code, {}).setdefault(row["group"], row["extra"]["bytes"] / MIB)
    floor = {
        row["group"]: row["extra"]["floor_bytes"] / MIB for row in counted if row["extra"].get("floor_bytes")
    }
    yield said(
        "The floor is what any step must move: weights, gradient and optimizer state once an update, and the batches."
    )
    names = list(dict.fromkeys(row["group"] for row in counted))
    for i in range(0, len(names), NAMES):
        part = names[i : i + NAMES]
        panels = [("launches per step", number, False)]
        if moved:
            panels.append(("MiB per step", moved | ({"floor": floor} if floor else {}), bool(floor)))
        yield figure(f"launches-{i}", "Launches and bytes per step", plots_steps.launched(part, panels))


def startup(results: Results) -> Iterator[Html]:
    """What stands between a command and its first steps."""
    found = rows(results, suite="startup")
    if not found:
        return
    parts = {key: name for key, name in CALLS.items() if any(row["extra"].get(key) for row in found)}
    lines = [
        (f"{row['column']}, {row['case']}", [row["extra"].get(key) or 0.0 for key in parts])
        for row in found
        if any(row["extra"].get(key) for key in parts)
    ]
    if lines:
        groups = ", ".join(dict.fromkeys(row["group"] for row in found))
        yield said("Cold: nothing is compiled yet; warm: compiled code is in the caches on the disk.")
        yield figure(
            "startup",
            f"Seconds to the first steps of {groups}",
            plots_steps.stacked(lines, [*parts.values()]),
        )
        shown = [[name, *map(plots.number, own)] for name, own in lines]
        yield table(["", *(f"{name}, s" for name in parts.values())], shown)
    yield from errors(dict(case_rows(results, suite="startup")))


def host(results: Results) -> Iterator[Html]:
    """What the host needs to ask for the work, beside what the device needs to do it."""
    found = [row for row in results["rows"] if row["seconds"] and row["seconds"]["device"] is not None]
    if not found:
        return
    yield said(
        "Where asking takes as long as the whole, the host is what holds it up, and the device's time, from its first "
        "event to its last, includes waiting for it; where asking takes much less, the kernels are what takes the time."
    )
    suites = dict.fromkeys(row["suite"] for row in found)
    for suite in sorted(suites, key=lambda suite: suite not in STEPPING):
        lines = [line_of(row) for row in found if row["suite"] == suite]
        drawn = (plots_steps.hosts(lines[i : i + LINES]) for i in range(0, len(lines), LINES))
        figures = tag(
            "div", joined(figure(f"host-{suite}-{i}", suite, one) for i, one in enumerate(drawn)), "grid"
        )
        yield figures if suite in STEPPING else folded(f"Host and device: {suite}", figures)


def line_of(row: Row) -> tuple[str, str, float, float, float]:
    """Its name and column, milliseconds of asking, on the device and in all."""
    asking, device, total = (1e3 * row["seconds"][key] for key in ("asking", "device", "median"))
    return f"{title(row)}, {row['column']}", row["column"], asking, device, total


def quality(results: Results) -> Iterator[Html]:
    """Scores over seconds, and the seconds until they were good enough."""
    for i, (name, told, columns) in enumerate(trained(results)):
        wanted = {"threshold": told.get("threshold"), "real against real": told.get("floor")}
        held = {line: value for line, value in wanted.items() if value is not None}
        curves = [curve_of(row) for own in columns.values() for row in own.values()]
        drawn = [curve for curve in curves if curve.points]
        if drawn:
            title = f"{name}: {told.get('score_name') or 'score'}"
            yield figure(f"quality-{i}", title, plots_growth.quality(drawn, held))
        heads = ["column", "seconds to reach it", "fastgan's over its", "each seed", "classes kept"]
        yield table(heads, (line(column, columns) for column in columns), words=5)
    yield from errors(dict(case_rows(results, suite="quality-time")))


def curve_of(row: Row) -> plots_growth.Curve:
    """Its scores over its seconds."""
    points = row["extra"].get("curve") or []
    return plots_growth.Curve(row["column"], [(x, y) for x, y, *_ in points if None not in (x, y)])


def line(column: str, columns: Mapping[str, Mapping[str, Row]]) -> list[object]:
    """A line of the table: what a column's seeds came to, and fastgan's time over its, seed by seed."""
    own = next((columns[name] for name in reversed(OWN) if name in columns), {})
    ratio = None if column in OWN else seed_by_seed(own, columns[column])
    extras = [row["extra"] for row in columns[column].values() if "reached" in row["extra"]]
    each = ["not reached" if extra["reached"] is None else f"{extra['reached']:.1f}" for extra in extras]
    kept = [str(extra["coverage"]) for extra in extras if extra.get("coverage") is not None]
    over = f"{ratio[0]}, {ratio[1]} seed{'s' * (ratio[1] > 1)}" if ratio else ""
    return [column, over_seeds(columns[column]), over, ", ".join(each), ", ".join(kept)]
