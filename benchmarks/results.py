"""Result files of `fastgan bench`: written whole or not at all, read only where they are what they say.

One idea: everything that reads results (report, comparison, the README's tables) gets them from `load`, which has
looked at the types of what they read (`result_types`), so that it says in one line what is wrong with a file and
nothing after it has to. What a row means (is it a failure, is fastgan slower than a peer) is said here once, too.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from fastgan.benchmarks import turns
from fastgan.benchmarks.columns import COLUMNS, OWN
from fastgan.benchmarks.result_types import NAMES, damage_of
from fastgan.errors import DataError, UsageError
from fastgan.gan.files import write_atomic

FORMAT = "fastgan-bench"
VERSION = 1
OUT_OF_TIME, ABSENT = "no time left", "nothing to measure: "  # how errors begin that are nobody's fault
Results = dict[str, Any]
Row = dict[str, Any]
Spread = tuple[float, float, float]  # 20th percentile, median, 80th

WHERE = {"cuda": "on the GPU", "cpu": "on the CPU"}
FEW = 3  # rounds, below which a spread says nothing
# Rounds that a verdict needs, and how many of them may go the other way: of two engines that are equally fast, one in
# sixteen or fewer then passes for faster or slower than the other.
SURE = {5: 0, 8: 1}


class Ratio(NamedTuple):
    """A time over another: of the turns of one round 20th percentile, median, 80th; of seeds least, median, most."""

    low: float
    median: float
    high: float
    sure: bool = True  # whether the rounds are enough for a verdict, and agree on it

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} - {self.high:.2f})"

    @property
    def verdict(self) -> str:
        """What became of the first: "faster" or "slower", with "probably" before it where rounds are few or do not
        agree; "no difference" where the spread includes 1.
        """
        if round(self.low, 2) <= 1 <= round(self.high, 2):
            return "no difference"
        return f"{'' if self.sure else 'probably '}{'slower' if self.median > 1 else 'faster'}"


def write(results: Results, path: Path) -> None:
    """Replace `path` by these results; a row is one line. OutputError; the old file is then as it was.

    NumPy's numbers become Python's, and what is not finite becomes null, which JSON has no other word for.
    """
    rows = ",\n".join(_line(row) for row in results.get("rows", []))
    parts = (
        f"{_line(key)}: " + (f"[\n{rows}\n]" if key == "rows" else _line(value))
        for key, value in results.items()
    )
    write_atomic(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def load(path: Path) -> Results:
    """A result file of this version. UsageError: not one; DataError: damaged."""
    found = parsed(path)
    if kind := other_kind(found):
        raise UsageError(f"{str(path)!r} is {kind}, wanted a file that `fastgan bench` wrote")
    version = found.get("version")
    if version != VERSION:
        later = isinstance(version, int) and version > VERSION
        fix = "update fastgan to read it" if later else "run `fastgan bench` again"
        raise UsageError(
            f"{str(path)!r} was written by {'a newer' if later else 'an older'} fastgan "
            f"(result version {version}, wanted {VERSION}); {fix}"
        )
    if damage := damage_of(found):
        raise DataError(f"{str(path)!r} is damaged: {damage}; copy it again, or run `fastgan bench` again")
    return dict(found)


def parsed(path: Path) -> Any:
    """What a JSON file holds. UsageError: no such file; DataError: not JSON, or the end is missing."""
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would block, a device may never end
        raise UsageError(f"{str(path)!r} is not a file; give a JSON file that `fastgan bench` wrote")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"no file {str(path)!r}; give a JSON file that `fastgan bench` wrote") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read {str(path)!r}: {reason}; give a JSON file") from error
    except UnicodeDecodeError:
        raise DataError(f"{str(path)!r} is not JSON; give a JSON file that `fastgan bench` wrote") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # a string that is cut is reported where it begins
        cut = text.lstrip().startswith("{") and not text.rstrip().endswith("}")
        if cut:
            raise DataError(
                f"{str(path)!r} ends in the middle, after {len(text):,} characters; copy it again"
            ) from None
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(
            f"{str(path)!r} is not JSON{where}; give a JSON file that `fastgan bench` wrote"
        ) from None


def other_kind(found: Any) -> str:
    """What parsed JSON is that is not a result file, or ""."""
    if not isinstance(found, dict):
        return "JSON of something else"
    if found.get("format") == FORMAT:
        return ""
    if "machine_info" in found and "benchmarks" in found:
        return "a file of pytest-benchmark (compare those with `pytest-benchmark compare`)"
    return "JSON of something else"


def rows(results: Results, **wanted: str) -> list[Row]:
    """The rows with these values: `rows(results, suite="steps", column="numpy")`."""
    return [row for row in results["rows"] if all(row[key] == value for key, value in wanted.items())]


def case_rows(results: Results, **wanted: str) -> Iterator[tuple[tuple[str, str, str], dict[str, Row]]]:
    """Each case, (suite, group, case), with its rows by column, in the order of the file; of a column the last."""
    cases: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows(results, **wanted):
        cases.setdefault((row["suite"], row["group"], row["case"]), {})[row["column"]] = row
    yield from cases.items()


def title(row: Row) -> str:
    """What a case is called in a line."""
    return str(row["case"] if row["case"].startswith(row["group"]) else f"{row['group']} {row['case']}")


def failed(row: Row) -> bool:
    """Whether somebody is to blame that a row has no time: not where time ran out or there is nothing to measure."""
    return reason(row) not in ("", OUT_OF_TIME)


def reason(row: Row) -> str:
    """Why there is no time, in a word or two; "" where there is nothing to measure, or nothing went wrong."""
    error = row.get("error") or ""
    if not error or error.startswith(ABSENT):
        return ""
    return next((word for word in (OUT_OF_TIME, "wrong") if error.startswith(word)), "failed")


def ours(by_column: Mapping[str, Row], device: str) -> Row | None:
    """fastgan as it runs on a device: the last of its columns that has a time there."""
    there = (by_column[name] for name in reversed(OWN) if name in by_column)
    return next((row for row in there if row["seconds"] and row["device"] == device), None)


def against(own: Row, peer: Row) -> Ratio | None:
    """fastgan's time over a peer's, round by round; None where they were not timed in the same rounds, or too few."""
    try:
        ratio = paired(own, peer)
    except UsageError:
        return None
    blocks = own["seconds"]["blocks"], peer["seconds"]["blocks"]
    return Ratio(*ratio, sure=agree(*blocks)) if len(blocks[0]) >= FEW else None


def agree(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether rounds say which of two is faster: there are enough, and hardly any goes the other way."""
    other_way = min(
        sum(x <= y for x, y in zip(a, b, strict=True)), sum(x >= y for x, y in zip(a, b, strict=True))
    )
    return any(len(a) >= rounds and other_way <= allowed for rounds, allowed in SURE.items())


def trained(results: Results) -> Iterator[tuple[str, dict[str, Any], dict[str, dict[str, Row]]]]:
    """Each recipe that somebody trained for its quality: what was wanted of it, and its rows by column and seed."""
    found = rows(results, suite="quality-time")
    for group in dict.fromkeys(row["group"] for row in found):
        own = [row for row in found if row["group"] == group]
        if told := [row["extra"] for row in own if "reached" in row["extra"]]:
            columns = {name: [r for r in own if r["column"] == name] for name in {r["column"] for r in own}}
            yield group, told[0], {c: {r["case"]: r for r in columns[c]} for c in COLUMNS if c in columns}


def over_seeds(by_seed: Mapping[str, Row]) -> str:
    """Seconds to a quality: median (least - most) of the seeds of a column, of which some may not have got there."""
    found = by_seed.values()
    tried = sorted(_seconds_to(row) for row in found if "reached" in row["extra"])
    if not tried:
        return ", ".join(dict.fromkeys(filter(None, map(reason, found))))
    # a seed that never got there counts as longer than any that did
    least, middle, most = (
        f"{x:.1f}" if x < math.inf else "not reached" for x in (tried[0], median(tried), tried[-1])
    )
    lost = [word for row in found if (word := reason(row))]
    said = "".join(f", {lost.count(word)} {word}" for word in dict.fromkeys(lost))
    figure = f"{middle} ({least} - {most})" if least != most else middle
    return f"{figure}, {sum(x < math.inf for x in tried)} of {len(found)} seeds{said}"


def seed_by_seed(own: Mapping[str, Row], peer: Mapping[str, Row]) -> tuple[Ratio, int] | None:
    """Seconds to a quality over a peer's: over the seeds in which both got there, and how many those are."""
    pairs = [(_seconds_to(own[seed]), _seconds_to(peer[seed])) for seed in own if seed in peer]
    ratios = [a / b for a, b in pairs if a < math.inf and b < math.inf]
    return (Ratio(min(ratios), median(ratios), max(ratios)), len(ratios)) if ratios else None


def _seconds_to(row: Row) -> float:
    reached = row["extra"].get("reached")
    return math.inf if reached is None else float(reached)


def paired(row_a: Row, row_b: Row) -> Spread:
    """Time of one row over another's, turn by turn: 20th percentile, median, 80th.

    UsageError where one has no time, or they were not measured in the same turns.
    """
    for row in (row_a, row_b):
        if row["seconds"] is None:
            name = "/".join(row[key] for key in NAMES[:4])
            raise UsageError(f"{name} has no time: {row.get('error') or 'it is not a timing'}")
    return turns.ratio(row_a["seconds"]["blocks"], row_b["seconds"]["blocks"])


def short_commit(results: Results) -> str:
    """Twelve digits of the commit, and the + of one that was changed since."""
    commit = str(results["commit"])
    return commit[:12] + "+" * (len(commit) > 12 and commit.endswith("+"))


def spread_of(seconds: Mapping[str, Any]) -> Spread:
    """20th percentile, median, 80th of a row's seconds."""
    return float(seconds["low"]), float(seconds["median"]), float(seconds["high"])


def shown(spread: Spread, unit: float = 1.0) -> str:
    """The median to three digits with its spread, as "7.22 (6.81 - 9.20)", in multiples of `unit`."""
    low, median, high = (value / unit for value in spread)
    places = decimals(median)
    return f"{median:.{places}f} ({low:.{places}f} - {high:.{places}f})"


def decimals(value: float) -> int:
    """Places behind the point that give a number above 0 three digits, none where it has them before the point."""
    return max(0, 2 - math.floor(math.log10(value)))


def _line(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def plain(value: Any, word: Callable[[str], str] = str) -> Any:
    """As JSON holds it: NumPy's numbers become Python's, what is not finite None; every text goes through `word`."""
    if isinstance(value, Mapping):
        return {word(str(key)): plain(item, word) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, word) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), word)
    if isinstance(value, str):
        return word(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
