"""What a page of the report is made of: escaped text, tables, figures, and the frame around them.

One idea: every text that is not `Html` is escaped where it enters the page, so that no name in a result file can become
markup; and the page says itself that nothing may be loaded or run.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fastgan.benchmarks import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CSS = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 15px/1.45 system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; max-width: 1240px;
  margin: 1.5rem auto 4rem; padding: 0 1rem; background: Canvas; color: CanvasText; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.3rem; margin: 2.4rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } p { margin: .4rem 0; max-width: 75em; }
nav a { margin-right: 1em; white-space: nowrap; } a { color: inherit; }
.bad { border-left: 4px solid #c8503c; padding-left: .7em; }
.front { display: flex; flex-wrap: wrap; gap: 0 2.5rem; font-size: 1.08rem; }
.front > div { flex: 1 1 20rem; max-width: 36rem; margin: .6rem 0; } .front p { margin: 0 0 .7rem; }
.quiet { opacity: .72; font-size: .92em; }
.grid { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; align-items: flex-start; }
figure { margin: .5rem 0; max-width: 100%; overflow-x: auto; break-inside: avoid; }
figcaption { font-weight: 600; font-size: .92rem; }
svg.plot { display: block; max-width: 100%; height: auto; }
svg.plot * { stroke-linejoin: round; stroke-linecap: butt; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
ul { margin: .3rem 0; } td ul { margin: 0; padding-left: 1.1em; }
th, td { text-align: left; vertical-align: top; padding: .22em .6em .22em 0; min-width: 4.5em;
  border-bottom: 1px solid var(--line); }
th { border-bottom-width: 2px; } td.n { text-align: right; white-space: nowrap; } th.n { text-align: right; }
td:first-child { white-space: nowrap; } td b { font-weight: 700; } td i { opacity: .8; }
.facts th { white-space: nowrap; min-width: 0; border-bottom-width: 1px; }
summary { cursor: pointer; margin: .5rem 0; }
@media (max-width: 600px) { svg.plot { max-width: none; } }
@page { size: A4 landscape; margin: 12mm; }
@media print { th, td { min-width: 0; } body { max-width: none; margin: 0; font-size: 11px; } nav { display: none; }
  .grid { display: block; } .grid figure { display: inline-block; margin-right: 1.4rem; }
  svg.plot { max-height: 180mm; width: auto; }
  .wide { overflow: visible; } table { font-size: 8.5px; } tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


class Html(str):
    """Text that is markup already; what is added to it is escaped unless it is, too."""

    def __add__(self, other: str) -> Html:
        return Html(str.__add__(self, text(other)))


def text(value: object) -> Html:
    """Escaped, unless it is markup."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(parts: Iterable[object], between: str = "\n") -> Html:
    """One after the other."""
    return Html(between.join(map(text, parts)))


def tag(name: str, content: object, css: str = "") -> Html:
    """An element."""
    kind = f' class="{html.escape(css)}"' if css else ""
    return Html(f"<{name}{kind}>{text(content)}</{name}>")


def said(line: object, css: str = "") -> Html:
    """A paragraph."""
    return tag("p", line, css)


def items(lines: Iterable[object]) -> Html:
    """A list, or nothing."""
    found = joined(tag("li", line) for line in lines)
    return tag("ul", found) if found else Html()


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, words: int = 1) -> Html:
    """Rows under a head; the cells behind the first `words` are numbers. Nothing without rows."""

    def line(kind: str, cells: Sequence[object]) -> Html:
        return tag("tr", joined((tag(kind, c, "n" * (i >= words)) for i, c in enumerate(cells)), ""))

    body = joined(line("td", cells) for cells in rows)
    if not body:
        return Html()
    return tag("div", tag("table", tag("thead", line("th", head)) + tag("tbody", body)), "wide")


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """A table of names and what they are, those that are known."""
    rows = (tag("tr", tag("th", name) + tag("td", value)) for name, value in pairs if value not in ("", None))
    return tag("div", tag("table", joined(rows), "facts"), "wide")


def folded(title: object, content: object) -> Html:
    """Content that is shown when it is asked for."""
    return tag("details", Html(tag("summary", title) + text(content)))


def figure(name: str, title: str, drawn: Figure) -> Html:
    """A figure under its title; `name` is unique in the page."""
    return tag("figure", tag("figcaption", title) + Html(plots.svg(drawn, name, title)))


def section(key: str, title: str, parts: Sequence[object]) -> Html:
    """A part of the page that can be linked to."""
    return Html(f'<section id="{html.escape(key)}">\n{tag("h2", title)}\n{joined(parts)}\n</section>')


def page(title: str, body: object) -> Html:
    """The whole file."""
    return Html(
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', title)}\n<style>{CSS}</style></head>\n<body>\n{text(body)}\n</body></html>\n"
    )
