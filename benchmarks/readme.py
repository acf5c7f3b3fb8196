"""The README's tables, made of the result files of named machines in benchmarks/results.

    python -m fastgan.benchmarks.readme [--check]

One idea: nobody types a figure. What stands between the two markers in README.md is a function of the files, so a
test can say whether they agree; and where fastgan is slower than a peer, the function says so, whoever runs it.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fastgan.benchmarks.columns import COLUMNS, OWN
from fastgan.benchmarks.results import (
    ABSENT,
    OUT_OF_TIME,
    Results,
    Row,
    case_rows,
    load,
    other_kind,
    paired,
    parsed,
    rows,
    short_commit,
    shown,
    spread_of,
)
from fastgan.errors import DataError, FastganError, UsageError
from fastgan.train.files import write_atomic

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = "python -m fastgan.benchmarks.readme"
WHERE = {"cpu": "on the CPU", "cuda": "on the GPU"}
SUITES = ("steps", "ideas", "quality-time")  # whose rows are shown here; report.html has all
PLAIN = "plain"  # the lowest rung of the ladder of ideas
HOW_TO_READ = (
    "Median and 20th to 80th percentile of one training step, in milliseconds; all columns of a row were timed in "
    "turn, and a ratio is that of the turns of one round, with its own percentiles. Below 1 fastgan is faster; "
    "**slower** means what it says, and *same* that the spread of the ratio includes 1. "
    "[benchmarks/README.md](benchmarks/README.md) says how all this is measured. "
    f"These lines are made from `benchmarks/results/` by `{COMMAND}`."
)


def block(found: Mapping[str, Results]) -> str:
    """What stands between the markers, from result files by name; a section for each that has something to show."""
    sections = [section for name in sorted(found) if (section := "\n".join(_section(found[name], name)))]
    if not sections:
        return "No machine was measured yet."
    timed = {
        row["column"] for results in found.values() for row in rows(results, suite="steps") if _timed(row)
    }
    legend = "; ".join(f"`{name}`: {column.about}" for name, column in COLUMNS.items() if name in timed)
    return "\n\n".join([HOW_TO_READ, *([f"{legend}."] if legend else []), *sections])


def _section(results: Results, name: str) -> Iterator[str]:
    body = [line for device in WHERE for line in _steps(results, device)]
    body += [*_ideas(results), *_quality(results)]
    if not body:
        return
    machine, where = results["machine"], results["device"]
    if machine.get("gpu"):
        where += f", with {machine.get('cores', '?')} cores of {machine.get('cpu', 'an unknown CPU')}"
    yield from (f"### {_one_line(where)}", *body, "", *_facts(results, name))


def _steps(results: Results, device: str) -> Iterator[str]:
    """Times of every column on one device, then the ratios of fastgan as it runs there to each peer."""
    cases = {key: _on(device, by_column) for key, by_column in case_rows(results, suite="steps")}
    cases = {key: by_column for key, by_column in cases.items() if any(map(_timed, by_column.values()))}
    if not cases:
        return
    columns = [name for name in COLUMNS if any(_timed(by_column.get(name)) for by_column in cases.values())]
    own, others = [name for name in columns if name in OWN], [name for name in columns if name not in OWN]
    ratios = [f"{own[-1]} / {peer}" for peer in others if own]
    table = [[f"one step {WHERE[device]}, ms", *columns, *ratios]]
    for (_, group, case), by_column in cases.items():
        label = f"`{group}`" + (f", {case.removeprefix(group).strip(', ')}" if case != group else "")
        times = [_time(by_column.get(name)) for name in columns]
        table.append([label, *times, *(_against(by_column, own, peer) for peer in others if own)])
    yield from ("", *_table(table))


def _on(device: str, by_column: Mapping[str, Row]) -> dict[str, Row]:
    return {name: row for name, row in by_column.items() if row["device"] == device and name in COLUMNS}


def _timed(row: Row | None) -> bool:
    return bool(row and row["seconds"])


def _time(row: Row | None) -> str:
    """A cell: the time, or what there is instead of one; empty where there is nothing to measure."""
    if row and row["seconds"]:
        return shown(spread_of(row["seconds"]), 1e-3)
    error = row.get("error", "") if row else ""
    if not error or error.startswith(ABSENT):
        return ""
    return "no time" if error.startswith(OUT_OF_TIME) else "wrong" if error.startswith("wrong") else "failed"


def _against(by_column: Mapping[str, Row], own: Sequence[str], peer: str) -> str:
    """Time of the last of our columns that has one, which is fastgan as it runs on the device, over a peer's."""
    best = next((name for name in reversed(own) if _timed(by_column.get(name))), None)
    if best is None or not _timed(by_column.get(peer)):
        return ""
    ratio = paired(by_column[best], by_column[peer])
    low, middle, high = ratio
    figure = f"{middle:.2f} ({low:.2f} - {high:.2f})" + (f", {best}" if best != own[-1] else "")
    if round(low, 2) <= 1 <= round(high, 2):
        return f"*same*: {figure}"
    return f"**slower: {figure}**" if middle > 1 else figure


def _ideas(results: Results) -> Iterator[str]:
    """What each idea brought: a row per network and rung of the ladder, its time on each device and of plain's."""
    cases = dict(case_rows(results, suite="ideas"))
    found = {(key, device): _last(by_column, device) for key, by_column in cases.items() for device in WHERE}
    devices = [d for d in WHERE if any(_timed(row) for (_, device), row in found.items() if device == d)]
    if not devices:
        return
    heads = [head for device in devices for head in (f"{WHERE[device]}, ms", "of plain")]
    table = [["what each idea brings to a step", "", *heads]]
    for key, by_column in cases.items():
        pairs = [(found[key, device], found.get(((*key[:2], PLAIN), device))) for device in devices]
        cells = [cell for row, plain in pairs for cell in (_time(row), _part(row, plain))]
        brings = next(iter(by_column.values()))["shape"].get("brings", "")
        table.append([f"`{key[1]}`, {key[2]}", brings, *cells])
    yield from ("", *_table(table))


def _last(by_column: Mapping[str, Row], device: str) -> Row | None:
    """The row of a case on a device: fastgan as it runs there, where several columns have one."""
    own = _on(device, by_column)
    return next((own[name] for name in reversed(OWN) if name in own), None)


def _part(row: Row | None, plain: Row | None) -> str:
    """A cell: the part of the time of `plain`; without spread where the two did not go the same rounds."""
    if row is plain or row is None or plain is None or not _timed(row) or not _timed(plain):
        return ""
    try:
        low, middle, high = paired(row, plain)
    except UsageError:
        return f"{row['seconds']['median'] / plain['seconds']['median']:.2f}"
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


def _quality(results: Results) -> Iterator[str]:
    """Seconds until samples are good, a row per recipe: what is reached, then every column that got there or not."""
    cases = [
        (key, {name: row for name, row in by_column.items() if "reached" in row["extra"]})
        for key, by_column in case_rows(results, suite="quality-time")
    ]
    columns = [name for name in COLUMNS if any(name in by_column for _, by_column in cases)]
    if not columns:
        return
    table = [["seconds to a quality (each seed)", "reached", "real against real", *columns]]
    for (_, group, _), by_column in cases:
        if by_column:
            extra = next(iter(by_column.values()))["extra"]
            goal = f"{extra.get('score_name', 'score')} {_plain(extra.get('threshold'))}"
            cells = [_reached(by_column.get(name)) for name in columns]
            table.append([f"`{group}`", goal, _plain(extra.get("floor")), *cells])
    yield from ("", *_table(table))


def _reached(row: Row | None) -> str:
    if row is None:
        return ""
    reached = row["extra"]["reached"]
    seconds = reached if isinstance(reached, list) else [reached]
    done = sorted(value for value in seconds if value is not None)
    if len(done) < len(seconds) or not done:
        got = f": {', '.join(f'{value:.1f}' for value in done)}" if done else ""
        return f"{len(done)} of {len(seconds)} seeds{got}"
    return f"{median(done):.1f} ({', '.join(f'{value:.1f}' for value in done)})"


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "")


def _facts(results: Results, name: str) -> Iterator[str]:
    """What the numbers hold for, then what went wrong, a line each."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if v and v != "not installed")
    threads = {k: v for k, v in results["threads"].items() if k not in ("cores", "environment")}
    environment = results["threads"].get("environment") or {}
    settings = ", ".join(f"{k} {v}" for k, v in threads.items()) + "".join(
        f", {k}={v}" for k, v in environment.items()
    )
    test = {True: "passed", False: "**failed**"}.get(results["selftest"].get("passed"), "not run")
    said = [results["machine"].get("system"), versions, f"threads: {settings}"]
    said += [results.get("arithmetic"), results.get("data") and f"data {results['data']}"]
    said += [f"commit {short_commit(results)}, {results['when'][:10]}, `{results['command']}`"]
    said += [f"self-test {test}", f"benchmarks/results/{name}"]
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
    """Problems and notes, but for those that begin with a case that is not shown here."""
    here = {f"{row['group']} {row['case']}, " for row in results["rows"] if row["suite"] in SUITES}
    elsewhere = tuple({f"{row['group']} {row['case']}, " for row in results["rows"]} - here)
    yield from (f"Problem: {line}" for line in results["problems"] if not line.startswith(elsewhere))
    yield from (line for line in results["notes"] if not line.startswith(elsewhere))


def _failed_peers(results: Results) -> Iterator[str]:
    """Which peers have no time and why; fastgan's own failures are among the problems."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows(results, suite="steps"):
        error = row.get("error", "")
        if row["column"] not in OWN and error and not error.startswith((ABSENT, OUT_OF_TIME)):
            reasons.setdefault((row["column"], error), []).append(row["case"])
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
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where they disagree"
    )
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
    except FileNotFoundError:
        raise UsageError(f"no file {str(readme)!r}; run this in a checkout, or give --readme") from None
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
