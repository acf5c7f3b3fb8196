"""What a result file of `fastgan bench` must hold, as tables of types; benchmarks/README.md says what it means.

One idea: whoever reads a result looks up what is in these tables, so a damaged file is one line when it is loaded, and
no traceback later.
"""

import math
from collections.abc import Mapping
from typing import Any

Number = int | float | None
HEAD: dict[str, Any] = {  # what a file must have, and what it must be
    "device": str,
    "machine": dict,
    "versions": dict,
    "threads": dict,
    "arithmetic": str,
    "data": str,
    "commit": str,
    "when": str,
    "command": str,
    "size": str,
    "suites": list,
    "columns": dict,
    "absent": dict,
    "ceilings": dict,
    "selftest": dict,
    "rows": list,
    "notes": list,
    "problems": list,
    "finished": bool,
    "seconds": int | float,
}
WITHIN: dict[str, Any] = {  # what the lists and objects of the head hold
    "versions": str | None,
    "suites": str,
    "columns": str,
    "absent": str,
    "ceilings": dict,
    "rows": dict,
    "notes": str,
    "problems": str,
}
NAMES = ("suite", "group", "case", "column", "device")
ROW: dict[str, Any] = dict.fromkeys(NAMES, str) | {
    "shape": dict,
    "bytes": int,
    "flops": int,
    "seconds": dict | None,
    "first": Number,
    "making": Number,
    "launches": int | None,
    "ceiling": str | None,
    "percent": Number,
    "extra": dict,
}
TIMES = ("median", "low", "high", "fastest")
SECONDS: dict[str, Any] = dict.fromkeys((*TIMES, "asking"), int | float) | {"device": Number, "blocks": list}
MAYBE: dict[str, Any] = {  # what need not be there, by the name of what it is in
    "machine": dict.fromkeys(("cpu", "gpu", "driver", "system"), str | None) | {"memory_bytes": Number},
    "threads": {"environment": dict | None},
    "selftest": {"passed": bool | None, "lines": list},
    "ceilings": dict.fromkeys(("copy", "gemm", "call", "launch"), Number) | {"spread": dict, "how": dict},
    "row": {"error": str | None},
    "shape": dict.fromkeys(("batch", "width", "depth", "data"), int | float),
    "extra": dict.fromkeys(
        (
            *("memory", "bytes", "floor_bytes", "reached", "threshold", "floor"),
            *("import", "making", "first_step", "second_step", "ten_more"),
        ),
        Number,
    )
    | {"score_name": str | None, "curve": list | None},
}


def damage_of(found: Mapping[str, Any]) -> str:
    """What is wrong with the content of a result file, in a few words, or ""."""
    if wrong := _unlike(found, HEAD):
        return f"no usable {wrong}"
    for number, row in enumerate(found["rows"], 1):
        if isinstance(row, dict) and (wrong := _wrong_row(row)):
            names = (str(row[key]) for key in NAMES[:4] if key in row)
            return f"row {'/'.join([str(number), *names])} has no usable {wrong}"
    for key, kind in WITHIN.items():
        items = found[key].values() if isinstance(found[key], dict) else found[key]
        if not all(isinstance(item, kind) for item in items):
            return f"no usable {key}"
    devices = [("ceilings", values) for values in found["ceilings"].values()]
    for name, part in [*((name, found[name]) for name in ("machine", "threads", "selftest")), *devices]:
        if wrong := _unlike(part, MAYBE[name], needed=False):
            return f"no usable {wrong} in {name}"
    return ""


def _unlike(found: Mapping[str, Any], kinds: Mapping[str, Any], *, needed: bool = True) -> str:
    """The names of what is missing or of another type."""
    wrong = (key for key in kinds if (not isinstance(found[key], kinds[key]) if key in found else needed))
    return ", ".join(wrong)


def _wrong_row(row: Mapping[str, Any]) -> str:
    if wrong := _unlike(row, ROW) or _unlike(row, MAYBE["row"], needed=False):
        return wrong
    if row["suite"] == "crossover" and not {"batch", "width"} <= row["shape"].keys():
        return "batch and width in shape"
    for part in ("shape", "extra"):
        if wrong := _unlike(row[part], MAYBE[part], needed=False):
            return f"{wrong} in {part}"
    if not all(isinstance(point, list) and len(point) > 1 for point in row["extra"].get("curve") or []):
        return "curve in extra"
    if row["seconds"] is None:
        return ""
    if wrong := _unlike(row["seconds"], SECONDS):
        return f"{wrong} in seconds"
    times = [*(row["seconds"][key] for key in TIMES), *row["seconds"]["blocks"]]
    above = row["seconds"]["blocks"] and all(isinstance(t, int | float) and 0 < t < math.inf for t in times)
    return "" if above else "seconds: they are not all numbers above 0"
