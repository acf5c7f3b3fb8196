"""The README's tables, made of the result files of named machines in benchmarks/results.

    python -m fastgan.benchmarks.readme [--check]

One idea: nobody types a figure. What stands between the two markers in README.md is a function of the files, so a
test can say whether they agree; and where fastgan is slower than a peer, the function says so, whoever runs it. Of each
machine a sentence and a small table are seen; all that was measured is folded below them.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan.benchmarks import verdict
from fastgan.benchmarks.columns import COLUMNS, OWN
from fastgan.benchmarks.results import (
    WHERE,
    Ratio,
    Results,
    Row,
    against,
    case_rows,
    decimals,
    failed,
    load,
    other_kind,
    ours,
    over_seeds,
    parsed,
    reason,
    rows,
    seed_by_seed,
    short_commit,
    shown,
    spread_of,
    title,
    trained,
)
from fastgan.errors import DataError, FastganError, UsageError
from fastgan.gan.files import write_atomic

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = "python -m fastgan.benchmarks.readme"
SUITES = ("steps", "ideas", "quality-time")  # whose failures are said here; report.html has all
REPORTED = re.compile(r"growth: |\S+ (beats|does not beat) |no GPU: ")  # notes on what only the report shows
PLAIN = "plain"  # the lowest rung of the ladder of ideas
BESIDE = ("cupy", "numpy", "torch", "jax")  # who is in the short table, of SHORT recipes
SHORT = 5
PEER = "torch"  # whose memory is measured
MIB = 2**20
HOW_TO_READ = (
    "Median and 20th to 80th percentile of one training step, in milliseconds; all columns of a row were timed in "
    "turn, and a ratio is that of the turns of one round, with its own percentiles. Below 1 fastgan is faster. *No "
    "difference* means that the spread of the ratio includes 1, *probably* that rounds are few or do not agree. "
    "[benchmarks/README.md](benchmarks/README.md) says how all this is measured. "
    f"These lines are made from `benchmarks/results/` by `{COMMAND}`."
)


def block(found: Mapping[str, Results]) -> str:
    """What stands between the markers, from result files by name: in short, then folded all that there is to show."""
    sections = [section for name in sorted(found) if (section := "\n".join(_section(found[name], name)))]
    if not sections:
        return "No machine was measured yet."
    timed = {
        row["column"] for results in found.values() for row in rows(results, suite="steps") if row["seconds"]
    }
    legend = "; ".join(f"`{name}`: {column.about}" for name, column in COLUMNS.items() if name in timed)
    short = ["\n".join(_short(found[name])) for name in sorted(found) if verdict.steps(found[name])]
    folded = [
        "<details><summary>All that was measured</summary>",
        HOW_TO_READ,
        *([f"{legend}."] if legend else []),
    ]
    return "\n\n".join([*short, *folded, *sections, "</details>"])


def _short(results: Results) -> Iterator[str]:
    """A sentence, and a table of a few recipes that others have too."""
    found = verdict.steps(results)
    sentence = verdict.beside(found)
    yield _one_line(f"On {results['device']}: {sentence[0].lower()}{sentence[1:]}")
    shown = [step for step in found if step.ratios][:SHORT]
    if shown:
        others = [name for name in BESIDE if any(name in step.ratios for step in shown)]
        heads = [f"fastgan / {verdict.OTHERS[name]}" for name in others]
        yield from (
            "",
            *_table([["one training step", "fastgan, ms", *heads], *(_brief(s, others) for s in shown)]),
        )


def _brief(step: verdict.Step, others: Sequence[str]) -> list[str]:
    """A row: the time, and the ratio to each other, with what it means unless fastgan is faster."""
    cells, ms = [], step.own["seconds"]["median"] * 1e3
    for name in others:
        ratio = step.ratios.get(name)
        cell = f"{ratio.median:.2f}" + f", {ratio.verdict}" * (ratio.verdict != "faster") if ratio else ""
        cells.append(f"**{cell}**" if ratio and ratio.verdict == "slower" else cell)
    return [f"`{step.name}`", f"{ms:.{decimals(ms)}f}", *cells]


def _section(results: Results, name: str) -> Iterator[str]:
    body = [line for device in WHERE for line in _steps(results, device)]
    body += [*_ideas(results), *_quality(results), *_memory(results)]
    if not body:
        return
    machine, where = results["machine"], results["device"]
    if machine.get("gpu"):
        where += f", with {machine.get('cores', '?')} cores of {machine.get('cpu', 'an unknown CPU')}"
    yield from (f"### {_one_line(where)}", *body, "", *_facts(results, name))


def _steps(results: Results, device: str) -> Iterator[str]:
    """Times of every column on one device and the ratios to each peer."""
    cases = [_on(device, by_column) for _, by_column in case_rows(results, suite="steps")]
    cases = [by_column for by_column in cases if any(row["seconds"] for row in by_column.values())]
    if cases:
        yield from ("", *_table(_times(f"one step {WHERE[device]}, ms", cases, device)))


def _times(head: str, cases: Sequence[Mapping[str, Row]], device: str) -> Iterator[list[str]]:
    """A row per case: times, and under those of a peer the ratio to it."""
    timed = {name for by_column in cases for name, row in by_column.items() if row["seconds"]}
    columns = [name for name in COLUMNS if name in timed]
    usual = next((name for name in reversed(columns) if name in OWN), "")
    yield [head, *(c if c in OWN or not usual else f"{c}<br>{usual} / {c}" for c in columns)]
    for by_column in cases:
        row, best = next(iter(by_column.values())), ours(by_column, device)
        label = f"`{row['group']}`" + row["case"].removeprefix(row["group"])
        yield [label, *(_cell(by_column.get(name), best, usual) for name in columns)]


def _cell(row: Row | None, best: Row | None, usual: str) -> str:
    """A time, or what there is instead; of a peer the ratio too, with the name of what is not the usual column."""
    time = _time(row)
    if row is None or best is None or row["column"] in OWN or not (ratio := against(best, row)):
        return time
    name = f", {best['column']}" if best["column"] != usual else ""
    return f"{time}<br>{_said(ratio, name)}"


def _on(device: str, by_column: Mapping[str, Row]) -> dict[str, Row]:
    return {name: row for name, row in by_column.items() if row["device"] == device and name in COLUMNS}


def _time(row: Row | None) -> str:
    """A cell: the time, or what there is instead of one; empty where there is nothing to measure."""
    return shown(spread_of(row["seconds"]), 1e-3) if row and row["seconds"] else reason(row or {})


def _said(ratio: Ratio, more: str = "") -> str:
    """A cell: fastgan's time over another's, and in a word what that means unless it is faster."""
    figure = f"{ratio}{more}"
    words = {"faster": figure, "slower": f"**slower: {figure}**"}
    return words.get(ratio.verdict, f"*{ratio.verdict}*: {figure}")


def _ideas(results: Results) -> Iterator[str]:
    """Where the speed comes from: a row per network and rung of the ladder, its time on each device and of plain's."""
    cases = dict(case_rows(results, suite="ideas"))
    found = {(key, device): ours(by_column, device) for key, by_column in cases.items() for device in WHERE}
    devices = [d for d in WHERE if any(row for (_, device), row in found.items() if device == d)]
    if not devices:
        return
    heads = [head for device in devices for head in (f"{WHERE[device]}, ms", "of plain")]
    table = [["where the speed comes from", "", *heads]]
    for key, by_column in cases.items():
        pairs = [(found[key, device], found.get(((*key[:2], PLAIN), device))) for device in devices]
        cells = [cell for row, plain in pairs for cell in (_time(row), _part(row, plain))]
        brings = next(iter(by_column.values()))["shape"].get("brings")
        table.append([f"`{key[1]}`, {key[2]}", str(brings or ""), *cells])
    yield from ("", *_table(table))


def _part(row: Row | None, plain: Row | None) -> str:
    """A cell: the part of the time of `plain`; without spread where the two did not go the same rounds."""
    if row is plain or row is None or plain is None:
        return ""
    return str(against(row, plain) or f"{row['seconds']['median'] / plain['seconds']['median']:.2f}")


def _quality(results: Results) -> Iterator[str]:
    """Seconds until samples are good, a row per recipe and a column per engine, and the ratio seed by seed."""
    found = list(trained(results))
    names = [name for name in COLUMNS if any(name in columns for _, _, columns in found)]
    usual = next((name for name in reversed(names) if name in OWN), "")
    peers = [name for name in names if name not in OWN and usual]
    heads = ["seconds to a quality: median (least - most)", "wanted", "real against real", *names]
    table = [[*heads, *(f"{usual} / {peer}" for peer in peers)]]
    for group, told, columns in found:
        goal = f"{told.get('score_name') or 'score'}: {_figure(told, 'threshold')}"
        cells = [over_seeds(columns.get(name, {})) for name in names]
        ratios = [seed_by_seed(columns.get(usual, {}), columns.get(peer, {})) for peer in peers]
        beside = [f"{_said(r[0])}, {r[1]} seed{'s' * (r[1] > 1)}" if r else "" for r in ratios]
        table.append([f"`{group}`", goal, _figure(told, "floor"), *cells, *beside])
    if found:
        yield from ("", *_table(table))


def _figure(told: Mapping[str, Any], key: str) -> str:
    return "" if told.get(key) is None else f"{told[key]:.3g}"


def _memory(results: Results) -> Iterator[str]:
    """What training adds at its peak, fastgan's and PyTorch's, at the largest size of each axis that both have."""
    largest = {}
    for (_, axis, _), by_column in case_rows(results, suite="scaling"):
        known = {name: row for name, row in by_column.items() if row["extra"].get("memory")}
        own = next((known[name] for name in reversed(OWN) if name in known), None)
        if own and PEER in known:
            largest[axis] = own, known[PEER]  # sizes grow
    table = [["memory that training `toy-mlp` adds, MiB", "fastgan", "PyTorch", "fastgan / PyTorch"]]
    for own, peer in largest.values():
        a, b = (row["extra"]["memory"] / MIB for row in (own, peer))
        table.append([title(peer), f"{a:,.0f}, {own['column']}", f"{b:,.0f}, {PEER}", f"{a / b:.2f}"])
    if largest:
        yield from ("", *_table(table))


def _facts(results: Results, name: str) -> Iterator[str]:
    """What the numbers hold for, then what went wrong, a line each."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v and v != "not installed")
    threads = {k: v for k, v in results["threads"].items() if k not in ("cores", "environment")}
    environment = results["threads"].get("environment") or {}
    settings = ", ".join(f"{k} {v}" for k, v in threads.items()) + "".join(
        f", {k}={v}" for k, v in environment.items()
    )
    test = {True: "timing tried out on known work", False: "a busy machine"}
    said = [results["machine"].get("system"), versions, f"threads: {settings}"]
    said += [results["arithmetic"], f"data {results['data']}"]
    said += [f"commit {short_commit(results)}, {results['when'][:10]}, `{results['command']}`"]
    said += [test.get(results["selftest"].get("passed")), f"benchmarks/results/{name}"]
    yield _one_line("; ".join(filter(None, said)) + ".")
    remarks = [*_unfinished(results), *_remarks(results), *_failed_peers(results)]
    if remarks:
        yield ""
        yield from dict.fromkeys(f"- {_one_line(remark)}" for remark in remarks)


def _unfinished(results: Results) -> Iterator[str]:
    if not results["finished"]:
        yield "The run was not finished: this is what it had measured."
    if results["size"] != "full":
        yield f"A run of size {results['size']}: fewer rounds, and fewer cases."


def _remarks(results: Results) -> Iterator[str]:
    """Problems and notes, but for those on what is not shown here."""
    here = {f"{row['group']} {row['case']}, " for row in results["rows"] if row["suite"] in SUITES}
    elsewhere = tuple({f"{row['group']} {row['case']}, " for row in results["rows"]} - here)
    yield from (f"Problem: {line}" for line in results["problems"] if not line.startswith(elsewhere))
    yield from (n for n in results["notes"] if not n.startswith(elsewhere) and not REPORTED.match(n))


def _failed_peers(results: Results) -> Iterator[str]:
    """Which peers have no time and why; fastgan's own failures are among the problems."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in (row for suite in SUITES for row in rows(results, suite=suite)):
        if row["column"] not in OWN and failed(row):
            reasons.setdefault((row["column"], row["error"]), []).append(title(row))
    for (column, error), cases in reasons.items():
        yield f"`{column}`, {', '.join(cases)}: {error}"


def _table(lines: Iterable[Sequence[str]]) -> list[str]:
    head, *rest = [f"| {' | '.join(map(_one_line, line))} |" for line in lines]
    return [head, "|" + " --- |" * head.count(" |"), *rest]


def _one_line(cell: str) -> str:
    return " ".join(cell.replace("|", "/").split())


def replaced(readme: str, new: str) -> str:
    """The README's text with `new` between its markers. DataError without exactly one pair of them."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before + after:
        raise DataError(
            f"the README has not one {BEGIN} with one {END} behind it; put both, each on its line"
        )
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def measured(folder: Path) -> dict[str, Results]:
    """The result files of a folder by name; files of other kinds are passed over, damaged ones are errors."""
    files = sorted(folder.glob("*.json"))
    return {path.name: load(path) for path in files if not other_kind(parsed(path))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the README, or with --check say whether it is as it would be written; 1 if not, 2 for a bad file."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="make the README's tables from result files")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if they disagree")
    parser.add_argument("--readme", type=Path, default=CHECKOUT / "README.md")
    parser.add_argument("--results", type=Path, default=CHECKOUT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    try:
        return _update(options.readme, options.results, options.check)
    except FastganError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _update(readme: Path, folder: Path, check: bool) -> int:
    try:
        old = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"cannot read {str(readme)!r}: {why}; run this in a checkout, or give --readme"
        ) from error
    new = replaced(old, block(measured(folder)))
    if old == new:
        return 0
    if check:
        print(f"{readme.name} does not say what {folder.name}/ does; run `{COMMAND}`")
        return 1
    write_atomic(readme, new.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
