"""Two result files beside each other: what of fastgan became faster or slower, and whether the peers did too.

One idea: a change counts only where the spreads do not explain it, and on a machine that others use the whole machine
may have changed; so each change is shown beside what the peers' times did in the same two runs, and a change that they
share fails nothing. Files of different machines or sizes are not comparable, and refused.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fastgan.benchmarks import machine
from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.results import (
    Results,
    Row,
    case_rows,
    failed,
    load,
    paired,
    short_commit,
    shown,
    spread_of,
)
from fastgan.errors import UsageError

THRESHOLD = 0.05  # smaller changes are "same", however narrow the spreads
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """One case in one of fastgan's columns. `verdict`: "faster", "slower", "same", "broken" (it had a time and now an
    error), "only in old" or "only in new". `peers` holds new time over old of the peers on the same device, and
    `beside` how fastgan's time over theirs changed, the median of the peers; None without them.
    """

    key: Key
    column: str
    verdict: str
    old: Row | None
    new: Row | None
    ratio: float | None = None
    peers: Mapping[str, float] | None = None
    beside: float | None = None

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "/".join(self.key) + f", {self.column}"

    def fails(self, above: float) -> bool:
        """Whether it is broken, or slower by more than `above`, alone and beside the peers."""
        if self.verdict != "slower":
            return self.verdict == "broken"
        return all(ratio is None or ratio > 1 + above for ratio in (self.ratio, self.beside))


def compare(
    old: Results, new: Results, *, across_machines: bool = False, threshold: float = THRESHOLD
) -> list[Change]:
    """The changes of all of fastgan's columns, in the order of `new`, then what is only in `old`.

    "slower" is a new 20th percentile above the old 80th and a median larger by more than `threshold`; "faster" the
    reverse. UsageError for files of different sizes, and of different machines unless asked for.
    """
    if old["size"] != new["size"]:
        raise UsageError(
            f"one file is of size {old['size']!r} and the other of {new['size']!r}; compare two of one size"
        )
    if not across_machines and (apart := machine.same_machine(old, new)):
        raise UsageError(
            f"these are of different machines, {old['device']} and {new['device']}: {apart}; "
            "compare two of one machine, or ask for it with --across-machines"
        )
    before, after = _cases(old), _cases(new)
    changes = [
        change for key in after for change in _of_case(key, before.get(key, {}), after[key], threshold)
    ]
    gone = [
        change for key in before if key not in after for change in _of_case(key, before[key], {}, threshold)
    ]
    return changes + gone


def _cases(results: Results) -> dict[Key, dict[str, Row]]:
    return dict(case_rows(results))


def _of_case(key: Key, old: dict[str, Row], new: dict[str, Row], threshold: float) -> Iterator[Change]:
    for column in OWN:
        was, now = _timed(old, column), _timed(new, column)
        if was and now and was["shape"] == now["shape"]:
            yield _change(key, column, old, new, threshold)
        elif was and failed(new.get(column, {})):
            yield Change(key, column, "broken", was, new[column])
        else:  # a case of another shape is another case
            if was:
                yield Change(key, column, "only in old", was, None)
            if now:
                yield Change(key, column, "only in new", None, now)


def _timed(rows: Mapping[str, Row], column: str) -> Row | None:
    row = rows.get(column)
    return row if row and row["seconds"] else None


def _change(key: Key, column: str, old: dict[str, Row], new: dict[str, Row], threshold: float) -> Change:
    was, now = old[column], new[column]
    ratio = _ratio(was, now)
    peers = [
        name
        for name in new
        if name not in OWN
        and _timed(old, name)
        and _timed(new, name)
        and was["device"] == now["device"] == old[name]["device"] == new[name]["device"]
    ]
    beside = [_beside(was, old[name], now, new[name]) for name in peers]
    changed = {name: _ratio(old[name], new[name]) for name in peers}
    verdict = _verdict(was["seconds"], now["seconds"], ratio, threshold)
    return Change(key, column, verdict, was, now, ratio, changed, median(beside) if beside else None)


def _ratio(old: Row, new: Row) -> float:
    return float(new["seconds"]["median"] / old["seconds"]["median"])


def _beside(was: Row, peer_was: Row, now: Row, peer_now: Row) -> float:
    """Round by round where rounds were complete."""
    try:
        return paired(now, peer_now)[1] / paired(was, peer_was)[1]
    except UsageError:
        return _ratio(was, now) / _ratio(peer_was, peer_now)


def _verdict(old: Mapping[str, Any], new: Mapping[str, Any], ratio: float, threshold: float) -> str:
    if ratio > 1 + threshold and new["low"] > old["high"]:
        return "slower"
    if ratio < 1 / (1 + threshold) and new["high"] < old["low"]:
        return "faster"
    return "same"


def differences(old: Results, new: Results) -> list[str]:
    """What else is not the same in two files, or makes their times doubtful; a line each."""
    lines = []
    for what in ("machine", "versions", "threads"):
        keys = ("driver", "system") if what == "machine" else {**old[what], **new[what]}
        pairs = [(key, _known(old[what], key), _known(new[what], key)) for key in keys]
        changed = [f"{key} {a} -> {b}" for key, a, b in pairs if a != b]
        if changed:
            lines.append(f"different {what}: " + ", ".join(changed))
    lines += [
        f"different {what}: {old.get(what)} -> {new.get(what)}"
        for what in ("arithmetic", "data")
        if old.get(what) != new.get(what)
    ]
    for name, results in (("old", old), ("new", new)):
        if results["selftest"].get("passed") is False:
            lines.append(f"the {name} file is of a busy machine: look at what is left beside the peers")
        if not results["finished"]:
            lines.append(f"the run of the {name} file was not finished")
    return lines


def _known(facts: Mapping[str, Any], key: str) -> str:
    return str(facts.get(key, "not installed"))


def text(changes: Sequence[Change], old: Results, new: Results) -> str:
    """The table for people: of which files, what changed, how much did not, and what is only in one file."""
    lines = []
    if apart := machine.same_machine(old, new):
        lines.append(f"DIFFERENT MACHINES, {old['device']} and {new['device']}: {apart}")
    for name, results in (("old", old), ("new", new)):
        lines.append(f"{name}: {results['device']}, commit {short_commit(results)}, {results['when']}")
    lines += differences(old, new)
    lines += ["", *_table(changes)]
    lines += [f"broken: {c.name}: {c.new['error']}" for c in changes if c.verdict == "broken" and c.new]
    counts = Counter(change.verdict for change in changes)
    lines.append(", ".join(f"{counts[verdict]} {verdict}" for verdict in ("slower", "faster", "same")))
    for verdict in ("only in old", "only in new"):
        if found := [change for change in changes if change.verdict == verdict]:
            lines.append(f"{verdict}: {'; '.join(_short(found, changes))}")
    return "\n".join(lines)


def _table(changes: Sequence[Change]) -> list[str]:
    if all(change.ratio is None for change in changes):
        return ["nothing to compare: no case has a time of fastgan in both files"]
    head = ("case, column", "old, ms", "new, ms", "new / old", "", "peers, new / old")
    table = [head, *(_cells(change) for change in changes if change.verdict in ("slower", "faster"))]
    if len(table) == 1:
        return ["nothing changed by more than the spreads explain"]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table] + [""]


def _cells(change: Change) -> tuple[str, ...]:
    old, new = (shown(spread_of(row["seconds"]), 1e-3) if row else "" for row in (change.old, change.new))
    peers = ", ".join(f"{name} {ratio:.2f}" for name, ratio in (change.peers or {}).items())
    beside = f"; beside them {change.beside:.2f}" if change.beside is not None else ""
    return change.name, old, new, f"{change.ratio:.2f}", change.verdict, peers + beside


def _short(found: Sequence[Change], changes: Sequence[Change]) -> Iterator[str]:
    """Names; a suite as a whole where all of it is only in one file."""
    alone = Counter(change.key[0] for change in found)
    every = Counter(change.key[0] for change in changes)
    for suite, count in alone.items():
        if count == every[suite] and count > 1:
            yield f"all of {suite} ({count})"
        else:
            yield from (change.name for change in found if change.key[0] == suite)


def share(given: str) -> float:
    """0.1 of "10%" or "0.1". UsageError."""
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        raise UsageError(f"--fail-above {given!r} is no share; give one such as 10%")
    return value


def main_text(
    old_path: Path, new_path: Path, *, across_machines: bool = False, fail_above: str | None = None
) -> tuple[str, bool]:
    """What `fastgan bench compare` prints, and whether it fails: with `fail_above`, "10%", where a case is broken or
    slower by more than that, and not only because the machine is (see `Change.fails`).
    """
    above = None if fail_above is None else share(fail_above)
    old, new = load(old_path), load(new_path)
    threshold = THRESHOLD if above is None else min(THRESHOLD, above)
    changes = compare(old, new, across_machines=across_machines, threshold=threshold)
    printed = text(changes, old, new)
    failing = [] if above is None else [change for change in changes if change.fails(above)]
    if failing:
        names = "; ".join(change.name for change in failing)
        printed += f"\nfailed: broken, or slower by more than {fail_above}, also beside the peers: {names}"
    return printed, bool(failing)
