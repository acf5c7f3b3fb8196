"""How the report's figures look: colours, ticks and bars, and a figure as SVG that can stand in a page with others.

One idea: what is ink in a figure takes the colour of the text around it, so that one SVG serves a light page, a dark
page and paper, and its words stay words, which can be searched. matplotlib draws through its object interface, under
its own defaults whatever a user has set, and is imported when something is drawn. Sizes are in inches.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from fastgan.benchmarks.columns import COLUMNS
from fastgan.gan.pictures import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK = "#1f2328"  # becomes `currentColor`
PALE = "#9aa0a6"  # seen on black and on white
OTHER = "#98895a"  # a column that has no colour of its own
COLOURS = {  # ours are blue, the darker the more is fused; peers have other hues
    "numpy": "#a9cdf2",
    "cpu-kernels": "#3d7fd6",
    "cupy": "#8fb9ea",
    "cuda-kernels": "#6199e0",
    "cuda-graph": "#2560b8",
    "torch": "#e8871e",
    "torch-compiled": "#c8503c",
    "torch-graph": "#b552a5",
    "jax": "#2f9e63",
    "autograd": "#8d8f94",
}
MARKERS = dict(zip(COLOURS, "osDv^sDv^o", strict=True))
STYLE: Any = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "font.size": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # names may hold a dollar
    "svg.fonttype": "none",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
WIDTH, LINE, CHARACTER = 6.9, 0.165, 0.068  # of a figure, of a bar, of a letter of its label
NARROW = 0.54 * WIDTH  # seen whole on a telephone
INNER = 0.97  # of a side has ticks: the last one's number must not leave the figure
FEWEST = 3  # ticks, if there are so many round numbers
VALUE = 0.62  # kept free to the right of the longest bar, for its number
TITLE = 1.7  # lines that the title of a block takes
MOST_LINES = 40  # in one figure, so that it fits on a page
LONGEST = 46  # characters of a label
REFERENCE = re.compile(r"(?:^|(?<=url\())#([^)\s]+)")
PIXELS = 96  # of a page, to an inch


@dataclass(frozen=True)
class Bar:
    """A length with its whiskers, and what is written behind it."""

    label: str
    colour: str
    value: float
    spread: tuple[float, float] | None = None
    text: str = ""


Block = tuple[str, Sequence[Bar]]  # a title, and the bars under it


def colour(column: str) -> str:
    """That of a column in all figures."""
    return COLOURS.get(column, OTHER)


def rank(column: str) -> int:
    """Its place among all columns, ours first."""
    return list(COLUMNS).index(column) if column in COLUMNS else len(COLUMNS)


@contextmanager
def style() -> Iterator[None]:
    """A block in which figures are made and saved; matplotlib's settings are afterwards what they were."""
    with drawing(STYLE), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph"
        )  # the reader's fonts are used, not those that lack a letter here
        yield


def svg(figure: Figure, name: str, title: str) -> str:
    """An `<svg>` for a page of HTML: without metadata; its ids begin with `name`, which is unique in the page."""
    import matplotlib

    buffer = io.BytesIO()
    matplotlib.rcParams["svg.hashsalt"] = name
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    used = {
        found for part in root.iter() for value in part.attrib.values() for found in REFERENCE.findall(value)
    }
    for part in root.iter():
        part.tag = part.tag.rpartition("}")[2]
        part.attrib = dict(_attributes(part.attrib, used, name))
    width, height = figure.get_size_inches() * PIXELS
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    root.attrib = {
        "class": "plot",
        "role": "img",
        "aria-label": title,
        "viewBox": root.attrib["viewBox"],
        **size,
    }
    lean = re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode"))
    return re.sub(r"<(g|defs) />", "", lean)


def _attributes(given: dict[str, str], used: set[str], name: str) -> Iterator[tuple[str, str]]:
    """Without ids that nobody refers to, fonts (those of the page are used), and thousandths of a point."""
    for key, value in given.items():
        key = key.rpartition("}")[2]
        if key == "id":
            if value in used:
                yield key, f"{name}-{value}"
        elif key == "style":
            value = re.sub(r"font-family: [^;]*;? ?", "", value).replace(INK, "currentColor")
            yield key, value.replace("url(#", f"url(#{name}-")
        elif not value.startswith("rotate(-0 "):
            value = re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))
            yield key, REFERENCE.sub(lambda found: found[0].replace("#", f"#{name}-"), value)


def canvas(
    width: float, height: float, *, left: float, right: float = 0.1, top: float = 0.3, bottom: float = 0.42
) -> tuple[Figure, Axes]:
    """A figure with one panel, all in inches, with margins that its words need."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    size = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure, bare(figure.add_axes(size))


def bare(axes: Axes) -> Axes:
    """Without a box, and with a grid along the values."""
    axes.spines[:].set_visible(False)
    axes.grid(axis="x")
    return axes


def bars(
    blocks: Sequence[Block],
    label: str,
    *,
    log: bool = False,
    limit: float | None = None,
    narrow: bool = False,
) -> Figure:
    """Horizontal bars, block under block, each with its title; `limit` is a line across all.

    The width of 6.9 inches is that of a page; a figure of one block is half as wide, and so is a `narrow` one.
    """
    from matplotlib.transforms import blended_transform_factory

    every = [bar for _, own in blocks for bar in own]
    lines = len(every) + TITLE * sum(bool(title) for title, _ in blocks)
    width = NARROW if narrow else WIDTH if len(blocks) > 1 else 0.64 * WIDTH
    left = 0.15 + CHARACTER * max(len(short(bar.label)) for bar in every)
    figure, axes = canvas(width, LINE * lines + 0.55, left=left, top=0.06, bottom=0.45)
    place, ticks = 0.0, {}
    for title, own in blocks:
        if title:
            place -= TITLE - 1
            across = blended_transform_factory(figure.transFigure, axes.transData)
            axes.text(
                0.01, place, short(title, int(11 * width)), transform=across, va="center", weight="bold"
            )
            place -= 1
        for bar in own:
            ticks[place] = short(bar.label)
            axes.barh(place, bar.value, 0.74, color=bar.colour)
            if bar.spread:
                axes.hlines(place, *bar.spread, color=INK, lw=1)
            axes.annotate(
                bar.text,
                (max(bar.value, *(bar.spread or (0,))), place),
                (4, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=8,
            )
            place -= 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place + 0.3, 0.2 if blocks[0][0] else 0.6)
    axes.set_xlabel(label)
    reach = [x for bar in every for x in (bar.value, *(bar.spread or ()))] + ([limit] if limit else [])
    span(axes, "x", reach, room=VALUE / (width - left - 0.1), log=log)
    if limit:
        axes.axvline(limit, color=PALE, lw=1, ls="--")
    return figure


def span(
    axes: Axes, side: Literal["x", "y"], values: Sequence[float], *, room: float = 0.04, log: bool = False
) -> None:
    """The limits and ticks of one side, from 0 or in decades, with a part of it kept free at the end."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    axis: Axis = getattr(axes, f"{side}axis")
    above = [value for value in values if value > 0]
    if log and above:
        getattr(axes, f"set_{side}scale")("log")
        start, stop = math.log10(min(above)) - 0.15, math.log10(max(above))
        stop += max((stop - start) * room / (1 - room), 0.05)
        (axes.set_xlim if side == "x" else axes.set_ylim)(10**start, 10**stop)
        ticks = decades(start, start + INNER * (stop - start))
    else:
        low, high = min(0, *values), max(0, *values)
        high += (high - low) * room / (1 - room) or 1
        (axes.set_xlim if side == "x" else axes.set_ylim)(low, high)
        ticks = [
            t
            for t in MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
            if low <= t <= low + INNER * (high - low)
        ]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: number(value))


def decades(start: float, stop: float) -> list[float]:
    """At most seven round numbers between two powers of ten."""
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), [n / 2 for n in range(2, 20)]):
        every = [m * 10.0**e for e in range(math.floor(start), math.ceil(stop)) for m in steps]
        ticks = [tick for tick in every if start <= math.log10(tick) <= stop]
        if len(ticks) >= FEWEST:
            break
    return ticks[:: -(-len(ticks) // 7) or 1]


def number(value: float) -> str:
    """At most three digits, or all of those before the point: 0.00123, 12.3, 12,300."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or not value else f"{value:.0e}"


def short(text: str, most: int = LONGEST) -> str:
    """A text, or its beginning."""
    return text if len(text) <= most else text[: most - 1] + "…"


def parts(blocks: Iterable[Block], most: float = MOST_LINES) -> Iterator[list[Block]]:
    """Blocks for one figure after another, each with at most so many lines, or one block."""
    part: list[Block] = []
    for block in blocks:
        if part and sum(len(own) + TITLE for _, own in [*part, block]) > most:
            yield part
            part = []
        part.append(block)
    if part:
        yield part


def legend(axes: Axes, columns: int = 4, *, side: str = "left") -> None:
    """Above the panel, where it hides nothing; from the right it may be wider than the panel."""
    place: Any = f"lower {side}"
    axes.legend(
        loc=place,
        bbox_to_anchor=(-0.02 if side == "left" else 1, 1),
        ncols=columns,
        columnspacing=1.2,
        borderpad=0.2,
        handlelength=1.4,
    )
