"""Result files of `fastgan bench`: written whole or not at all, read only where they are what they say.

One idea: everything that reads results (report, comparison, the README's tables) gets them from `load`, which has
looked at the format, the version and every row, so that it says in one line what is wrong with a file and nothing after
it has to. benchmarks/README.md says what a file holds.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastgan.benchmarks import turns
from fastgan.errors import DataError, UsageError
from fastgan.train.files import write_atomic

FORMAT = "fastgan-bench"
VERSION = 1
OUT_OF_TIME, ABSENT = "no time left", "nothing to measure: "  # how errors begin that are nobody's fault
Results = dict[str, Any]
Row = dict[str, Any]
Spread = tuple[float, float, float]  # 20th percentile, median, 80th

HEAD = {  # what a file must have, and what it must be
    "device": str,
    "machine": dict,
    "versions": dict,
    "threads": dict,
    "commit": str,
    "when": str,
    "command": str,
    "size": str,
    "columns": dict,
    "absent": dict,
    "ceilings": dict,
    "selftest": dict,
    "rows": list,
    "notes": list,
    "problems": list,
    "finished": bool,
}
NAMES = ("suite", "group", "case", "column", "device")
ROW = (*NAMES, "shape", "seconds", "extra")
SECONDS = ("median", "low", "high", "fastest", "asking", "device", "blocks")


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
    if "recipes" in found and "steps_per_chunk" in found:
        return "a file of the GPU gate as it was before `fastgan bench`"
    if set(found) == {"versions", "rows"}:
        return "a file of `fastgan.benchmarks.steps` as it was before `fastgan bench`"
    return "JSON of something else"


def damage_of(found: Mapping[str, Any]) -> str:
    """What is wrong with the content of a result file, in a few words, or ""."""
    if missing := [key for key, kind in HEAD.items() if not isinstance(found.get(key), kind)]:
        return f"no usable {', '.join(missing)}"
    for number, row in enumerate(found["rows"], 1):
        if not isinstance(row, dict):
            return f"row {number} is no object"
        where = "row " + "/".join([str(number), *(str(row[key]) for key in NAMES[:4] if key in row)])
        if missing := [key for key in ROW if key not in row]:
            return f"{where} lacks {', '.join(missing)}"
        if wrong := [key for key in NAMES if not isinstance(row[key], str)]:
            return f"{where}: {', '.join(wrong)} should be text"
        if reason := _wrong_seconds(row["seconds"]):
            return f"{where}: {reason}"
    return ""


def _wrong_seconds(seconds: Any) -> str:
    if seconds is None:
        return ""
    if not isinstance(seconds, dict):
        return "seconds should be an object or null"
    if missing := [key for key in SECONDS if key not in seconds]:
        return f"seconds lack {', '.join(missing)}"
    blocks = seconds["blocks"]
    times = [seconds[key] for key in SECONDS[:4]] + (blocks if isinstance(blocks, list) else [None])
    if not blocks or not all(isinstance(t, int | float) and 0 < t < math.inf for t in times):
        return "seconds are not all numbers above 0"
    return ""


def rows(results: Results, **wanted: str) -> list[Row]:
    """The rows with these values: `rows(results, suite="steps", column="numpy")`."""
    return [row for row in results["rows"] if all(row[key] == value for key, value in wanted.items())]


def case_rows(results: Results, **wanted: str) -> Iterator[tuple[tuple[str, str, str], dict[str, Row]]]:
    """Each case, (suite, group, case), with its rows by column, in the order of the file; of a column the last."""
    cases: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows(results, **wanted):
        cases.setdefault((row["suite"], row["group"], row["case"]), {})[row["column"]] = row
    yield from cases.items()


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
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
