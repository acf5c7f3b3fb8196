"""The report of one run: a single page of HTML with everything in it, tables and figures, and nothing to load or run.

One idea: it is a function of the result file, at whatever moment the run ended. What it comes to in words and one
picture are first, a section is there where rows are, and what they hold for is folded at the end with every row. The
same file gives the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan.benchmarks import plots, report_growth, report_speed, verdict
from fastgan.benchmarks.report_page import (
    Html,
    facts,
    folded,
    items,
    joined,
    page,
    said,
    section,
    table,
    tag,
    text,
)
from fastgan.benchmarks.results import Results, Row, plain, short_commit, shown, spread_of
from fastgan.gan.files import write_atomic

Section = Callable[[Results], Iterator[Html]]
SECTIONS: dict[str, tuple[str, Section]] = {
    "steps": ("Training steps", report_speed.steps),
    "ideas": ("Where the speed comes from", report_speed.ideas),
    "kernels": ("Kernels and layers", report_speed.kernels),
    "crossover": ("Crossover: from which size on one engine beats another", report_growth.crossover),
    "scaling": ("Scaling: time and memory as things grow", report_growth.scaling),
    "launches": ("Launches and bytes of a step on a GPU", report_growth.launches),
    "startup": ("First call", report_growth.startup),
    "host": ("Host time and device time", report_growth.host),
    "quality": ("Seconds to a quality", report_growth.quality),
}
MISSING = {"host": "host beside device time (it needs a GPU's clock)"}  # how a missing section is called
HEADS = (
    *("suite", "group", "case", "column", "device", "shape", "more", "error"),
    *("ms (20 % - 80 %)", "fastest", "asking", "device ms", "first, s", "making, s"),
    *("bytes", "flop", "launches", "of ceiling"),
)
MOST = 160  # characters of what a row says beside its times


def write(results: Results, path: Path) -> None:
    """Make the report of `results` at `path`, whole or not at all. OutputError."""
    write_atomic(path, made(results).encode())


def made(results: Results) -> str:
    """The page."""
    results = plain(results, printable)  # a run that is not yet a file has NumPy's numbers
    with plots.style():
        found = {key: list(content(results)) for key, (_, content) in SECTIONS.items()}
        picture = joined(report_speed.front(results))
    there = {key: parts for key, parts in found.items() if parts}
    links = (Html(f'<a href="#{key}">{text(called(key))}</a>') for key in there)
    missing = [MISSING.get(key, called(key)) for key in found if key not in there]
    body = [
        *head(results, picture),
        tag("nav", joined(links)),
        *(section(key, SECTIONS[key][0], parts) for key, parts in there.items()),
        said(f"Not measured in this run: {'; '.join(missing)}.", "quiet") if missing else Html(),
        folded("The machine, and how this was measured", joined(circumstances(results))),
        *every_row(results["rows"]),
    ]
    return page(f"fastgan bench: {results['device']}", joined(body))


def called(key: str) -> str:
    """A section in a few words of a sentence."""
    name = SECTIONS[key][0].partition(":")[0]
    return name[0].lower() + name[1:]


def head(results: Results, picture: Html) -> Iterator[Html]:
    """What it comes to, and what went wrong."""
    yield tag("h1", f"fastgan bench: {results['device']}")
    rows = results["rows"]
    if not results["finished"]:
        yield said(f"interrupted: {len(rows)} rows kept", "bad")
    elif not rows:
        yield said("No rows: nothing was measured.", "bad")
    yield tag("div", tag("div", joined(map(said, verdict.sentences(results)))) + picture, "front")
    if results["problems"]:
        yield tag("div", said("Problems:") + items(results["problems"]), "bad")


def circumstances(results: Results) -> Iterator[Html]:
    """What the numbers hold for."""
    yield facts(known(results))
    yield from ceilings(results["ceilings"])
    told = [*results["selftest"].get("lines", []), *results["notes"]]
    yield tag("h3", "Notes") + items(dict.fromkeys(told)) if told else Html()


def known(results: Results) -> Iterator[tuple[str, object]]:
    """Facts of the head, for people."""
    machine, threads = results["machine"], dict(results["threads"])
    memory = machine.get("memory_bytes")
    environment = threads.pop("environment", None) or {}
    yield "GPU", f"{machine['gpu']}, driver {machine.get('driver')}" if machine.get("gpu") else "none"
    yield "CPU", f"{machine.get('cpu')}, cores that may be used: {machine.get('cores')}"
    yield "memory", f"{memory / 2**30:.1f} GiB" if memory else ""
    yield "system", machine.get("system")
    yield "versions", ", ".join(f"{name} {said}" for name, said in results["versions"].items())
    yield "threads", ", ".join(f"{name}: {count}" for name, count in threads.items())
    yield "set by the user", ", ".join(f"{name}={value}" for name, value in environment.items())
    yield "arithmetic", results["arithmetic"]
    yield "data", results["data"]
    yield "commit", short_commit(results)
    yield "when", results["when"]
    yield "command", tag("code", results["command"]) if results["command"] else ""
    yield "size", f"{results['size']}, {results['seconds']:,.0f} s in all"
    yield "suites", ", ".join(results["suites"])
    yield "columns", items(f"{name}: {about}" for name, about in results["columns"].items())
    yield "left out", items(f"{name}: {reason}" for name, reason in results["absent"].items())


def ceilings(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Html]:
    """What the machine can do at most."""
    units = {
        "copy": (1e9, "GB/s copied"),
        "gemm": (1e9, "Gflop/s"),
        "call": (1e-6, "us a call"),
        "launch": (1e-6, "us"),
    }
    rows = []
    for device, values in found.items():
        for name, (unit, words) in units.items():
            if values.get(name):
                low, high = values.get("spread", {}).get(name) or (values[name], values[name])
                figure = f"{shown((low, values[name], high), unit)} {words}"
                rows.append([f"{device}, {name}", figure, values.get("how", {}).get(name, "")])
    if not rows:
        yield said("The ceilings of this machine were not measured.")
        return
    yield tag("h3", "Ceilings, measured first")
    yield table(["", "median (20 % - 80 %)", "how"], rows, words=3)


def every_row(rows: Sequence[Row]) -> Iterator[Html]:
    """All of them, as they are in the file."""
    if rows:
        yield folded(f"All {len(rows)} rows", table(HEADS, map(cells, rows), words=8))


def cells(row: Row) -> list[object]:
    """One row of the last table."""
    seconds, names = row["seconds"], ("suite", "group", "case", "column", "device")
    times = [""] * 4
    if seconds:
        single = [seconds["fastest"], seconds["asking"], seconds["device"]]
        times = [
            shown(spread_of(seconds), 1e-3),
            *(f"{x * 1e3:.4g}" if x is not None else "" for x in single),
        ]
    percent = row.get("percent")
    return [
        *(row[name] for name in names),
        pairs(row["shape"]),
        plots.short(pairs(row["extra"]), MOST),
        plots.short(row.get("error") or "", 2 * MOST),
        *times,
        *(f"{row[key]:.3g}" if row.get(key) is not None else "" for key in ("first", "making")),
        *(f"{row[key]:,}" if row.get(key) else "" for key in ("bytes", "flops", "launches")),
        f"{percent:.3g} % of {row.get('ceiling')}" if percent is not None else "",
    ]


def pairs(values: Mapping[str, Any]) -> str:
    """Names and values of a row's shape, or of what else it says; lists by their length."""
    words = (
        (key, f"{len(x)} values" if isinstance(x, list) and len(x) > 4 else x) for key, x in values.items()
    )
    return ", ".join(f"{key} {f'{x:.6g}' if isinstance(x, float) else x}" for key, x in words)


def printable(text: str) -> str:
    """Without what cannot be printed, which XML would not take."""
    return "".join(c if c.isprintable() else " " for c in text)
