"""Sections of the report on how fast: training steps, what each idea brought, kernels and layers.

One idea: fastgan as it runs on a device (the last of its columns that has a time) stands against each peer on the same
device, by the ratio of times of one round with its spread; where it is slower, the word is there.
"""

from collections.abc import Iterator, Mapping, Sequence

from fastgan.benchmarks import plots, plots_kernels, plots_steps, verdict
from fastgan.benchmarks.columns import COLUMNS, OWN
from fastgan.benchmarks.report_page import Html, figure, folded, items, joined, said, table, tag, text
from fastgan.benchmarks.results import (
    WHERE,
    Results,
    Row,
    against,
    case_rows,
    ours,
    paired,
    reason,
    shown,
    spread_of,
    title,
)
from fastgan.errors import UsageError

Cases = Mapping[tuple[str, str, str], Mapping[str, Row]]
WHISKERS = "Medians, with the 20th to 80th percentile as a thin line; the fastest is on top. "
FASTER = "Below 1 fastgan is faster; ratios are of the turns of one round, with their own percentiles."
LADDER = (
    "One GAN trained in ways of which each adds an idea; milliseconds in bold, over them the factor to the one before. "
    "Factors are of the turns of one round: where times scatter they are not those of the medians, and where their "
    "spread includes 1 it says as fast."
)
CACHED = "More than 100 % means that operands came from a cache, or were mostly read."


def front(results: Results) -> Iterator[Html]:
    """The picture of it all: steps of recipes, each in every engine, in multiples of fastgan's time."""
    blocks = []
    for step in verdict.steps(results):
        unit = step.own["seconds"]["median"]
        blocks.append((step.name, [against_own(row, unit, step.own) for row in by_time(step.rows)]))
    compared = [block for block in blocks if len(block[1]) > 1] or blocks
    if compared:
        drawn = plots.bars(next(plots.parts(compared)), "time of one step; fastgan = 1", narrow=True)
        yield figure("front", "One training step, milliseconds", drawn)


def against_own(row: Row, unit: float, own: Row) -> plots.Bar:
    """A bar of multiples of `unit`, with its milliseconds."""
    low, median, high = spread_of(row["seconds"])
    name = "fastgan" if row is own else str(verdict.OTHERS.get(row["column"], row["column"]))
    text = plots.number(median * 1e3)
    return plots.Bar(name, plots.colour(row["column"]), median / unit, (low / unit, high / unit), text)


def steps(results: Results) -> Iterator[Html]:
    """Every recipe in every column."""
    cases = dict(case_rows(results, suite="steps"))
    yield from against_peers(cases, "recipe")
    yield from errors(cases)


def by_time(rows: Mapping[str, Row]) -> list[Row]:
    """Those with a time, the fastest first."""
    return sorted(
        (row for row in rows.values() if row["seconds"]), key=lambda row: float(row["seconds"]["median"])
    )


def of_case(rows: Mapping[str, Row]) -> list[plots.Bar]:
    """Its bars, milliseconds, the fastest first."""
    bars = []
    for row in by_time(rows):
        low, median, high = (x * 1e3 for x in spread_of(row["seconds"]))
        column = row["column"]
        bars.append(plots.Bar(column, plots.colour(column), median, (low, high), plots.number(median)))
    return bars


def against_peers(cases: Cases, name: str) -> Iterator[Html]:
    """A table per device of all times, and the ratios to the peers."""
    for device, where in WHERE.items():
        own = {key: {c: r for c, r in rows.items() if r["device"] == device} for key, rows in cases.items()}
        own = {key: rows for key, rows in own.items() if any(row["seconds"] for row in rows.values())}
        columns = sorted(
            {c for rows in own.values() for c, row in rows.items() if row["seconds"]}, key=plots.rank
        )
        if not own:
            continue
        verdicts = [
            found.verdict
            for rows in own.values()
            for peer, row in rows.items()
            if peer not in OWN and (best := ours(rows, device)) and (found := against(best, row))
        ]
        usual = next((column for column in reversed(columns) if column in OWN), "")
        beside = f", and the time of {usual} over each peer's" if usual and {*columns} - {*OWN} else ""
        yield tag("h3", f"{name.capitalize()} {where}, ms{beside}")
        yield said(f"{FASTER} {tally(verdicts)}", "quiet")
        yield table(
            [name, *columns],
            ([named(next(iter(r.values()))), *(cell(r, c, usual) for c in columns)] for r in own.values()),
        )


def tally(verdicts: Sequence[str]) -> str:
    """How often fastgan was slower, in words."""
    if not verdicts:
        return "No peer was timed beside fastgan."
    slower, same = verdicts.count("slower"), verdicts.count("no difference")
    return f"fastgan is slower in {slower} of {len(verdicts)} comparisons; {same} show no difference."


def cell(rows: Mapping[str, Row], column: str, usual: str) -> Html:
    """The time of a column, and of a peer what fastgan's is of it: that of `usual`, else the one that is named."""
    row = rows.get(column)
    if row is None or not row["seconds"]:
        return text(reason(row or {}))
    time = text(shown(spread_of(row["seconds"]), 1e-3))
    own = None if column in OWN else ours(rows, row["device"])
    if own is None:
        return time
    found, name = against(own, row), f", {own['column']}" * (own["column"] != usual)
    words = f"{found.verdict}: {found}{name}" if found else "no ratio: too few rounds that both were in"
    return joined([time, tag("b", words) if found and found.verdict == "slower" else words], "<br>")


def named(row: Row) -> str:
    """What a case is called where layers and kernels stand together, for some have the same name."""
    return f"{title(row)} (layer)" if row["suite"] == "layers" else title(row)


def errors(cases: Cases) -> Iterator[Html]:
    """What failed, by its reason; what a column does not have is no failure."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for rows in cases.values():
        for row in rows.values():
            if reason(row):
                reasons.setdefault((row["column"], row["error"]), []).append(title(row))
    lines = [f"{column}, {', '.join(names)}: {error}" for (column, error), names in reasons.items()]
    if lines:
        yield tag("div", said("Without a time:") + items(lines))


def ideas(results: Results) -> Iterator[Html]:
    """A ladder per network and device."""
    cases = dict(case_rows(results, suite="ideas"))
    if not cases:
        return
    yield said(LADDER)
    drawn = []
    for group in dict.fromkeys(group for _, group, _ in cases):
        for device, where in WHERE.items():
            rungs = ladder({key[2]: rows for key, rows in cases.items() if key[1] == group}, device)
            if len(rungs) > 1:
                factor = plots_steps.faster(rungs[-1].whole)
                drawn.append((f"{group}, {where}: {factor} in all", plots_steps.staircase(rungs)))
    yield tag("div", joined(figure(f"ideas-{i}", *pair) for i, pair in enumerate(drawn)), "grid")
    brings = {key[2]: next(iter(rows.values()))["shape"].get("brings") for key, rows in cases.items()}
    yield items(f"{name}: {what}" for name, what in brings.items() if what)
    yield from errors(cases)


def ladder(cases: Mapping[str, Mapping[str, Row]], device: str) -> list[plots_steps.Rung]:
    """The rungs of a network that have a time on a device, in the order of the file."""
    rungs: list[plots_steps.Rung] = []
    first: Row | None = None
    before: Row | None = None
    for name, rows in cases.items():
        if row := ours(rows, device):
            low, median, high = (x * 1e3 for x in spread_of(row["seconds"]))
            first = first or row
            factor = times_faster(before, row) if before else None
            if before and (found := against(row, before)) and found.verdict == "no difference":
                factor = 1.0
            whole = times_faster(first, row)
            rungs.append(plots_steps.Rung(name, row["column"], low, median, high, factor, whole))
            before = row
    return rungs


def times_faster(before: Row, row: Row) -> float:
    """The time before over the time now, of turns of one round where they were."""
    try:
        return paired(before, row)[1]
    except UsageError:
        return float(before["seconds"]["median"] / row["seconds"]["median"])


def kernels(results: Results) -> Iterator[Html]:
    """Bars by group, the roofline, and how much of the bandwidth is used where nothing else counts."""
    cases = {key: rows for key, rows in case_rows(results) if key[0] in ("kernels", "layers")}
    if not cases:
        return
    yield said(WHISKERS + "The axis goes by factors.")
    drawn = []
    for suite, group in dict.fromkeys(key[:2] for key in cases):
        blocks = [(case, of_case(rows)) for (s, g, case), rows in cases.items() if (s, g) == (suite, group)]
        for part in plots.parts((name, own) for name, own in blocks if own):
            kind = f"{group} (layer)" if suite == "layers" else group
            drawn.append((kind, plots.bars(part, "ms", log=True)))
    yield tag("div", joined(figure(f"kernels-{i}", *pair) for i, pair in enumerate(drawn)), "grid")
    for device, where in WHERE.items():
        yield from roofline(cases, device, where, results["ceilings"].get(device) or {})
        yield from bandwidth(cases, device, where)
    yield folded("Times of kernels and layers as a table", joined(against_peers(cases, "case")))
    yield from errors(cases)


def roofline(cases: Cases, device: str, where: str, ceilings: Mapping[str, float]) -> Iterator[Html]:
    """Cases whose bytes and operations are known, in our columns, under the measured ceilings."""
    copy, gemm = ceilings.get("copy"), ceilings.get("gemm")
    points: list[plots_kernels.Point] = []
    names: list[str] = []
    for rows in cases.values():
        own = {c: row for c, row in rows.items() if c in OWN and row["device"] == device and row["seconds"]}
        first = next(iter(rows.values()))
        if own and first["bytes"] and first["flops"]:
            rates = {c: first["flops"] / best(row) for c, row in own.items()}
            points.append(plots_kernels.Point(len(points) + 1, first["flops"] / first["bytes"], rates))
            names.append(named(first))
    if not points:
        return
    if not copy or not gemm:
        yield said(f"No roofline {where}: the ceilings were not measured.")
        return
    yield figure(f"roofline-{device}", f"Roofline {where}", plots_kernels.roofline(points, copy, gemm))
    columns = sorted({c for point in points for c in point.rates}, key=plots.rank)
    lines = [
        [f"{p.number}  {name}", f"{p.intensity:.3g}", *(rate_cell(p, c, copy, gemm) for c in columns)]
        for p, name in zip(points, names, strict=True)
    ]
    yield folded(
        f"The numbers of the roofline {where}",
        table(["case", "flop/byte", *(f"{c}, Gflop/s" for c in columns)], lines),
    )


def rate_cell(point: plots_kernels.Point, column: str, copy: float, gemm: float) -> str:
    """Its rate, and the part of the roof above it."""
    if column not in point.rates:
        return ""
    rate, roof = point.rates[column], min(point.intensity * copy, gemm)
    return f"{plots.number(rate / 1e9)} ({plots.number(100 * rate / roof)} %)"


def best(row: Row) -> float:
    """Seconds: of the device where it has a clock, as in `percent`."""
    return float(row["seconds"]["device"] or row["seconds"]["median"])


def bandwidth(cases: Cases, device: str, where: str) -> Iterator[Html]:
    """Percent of the bandwidth of copying, of cases that memory binds."""
    blocks = []
    for rows in cases.values():
        own = [rows[c] for c in COLUMNS if c in OWN and c in rows and rows[c]["device"] == device]
        own = [row for row in own if row.get("ceiling") == "copy" and row.get("percent") is not None]
        bars = [
            plots.Bar(
                r["column"], plots.colour(r["column"]), r["percent"], None, f"{plots.number(r['percent'])} %"
            )
            for r in own
        ]
        if bars:
            blocks.append((named(own[0]), bars))
    if blocks:
        drawn = [plots.bars(part, "% of the bandwidth of copying", limit=100) for part in plots.parts(blocks)]
        name = f"Cases that memory binds {where}, percent of the bandwidth of copying"
        yield tag(
            "div", joined(figure(f"bandwidth-{device}-{i}", name, own) for i, own in enumerate(drawn)), "grid"
        )
        if any(bar.value > 100 for _, bars in blocks for bar in bars):
            yield said(CACHED, "quiet")
