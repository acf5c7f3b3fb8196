"""The GPU gate's results as a short table, at most 100 columns wide."""

from typing import Any

from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.results import case_rows

WIDTH, NAME, CELL = 100, 26, 9
SHORT = {
    "cuda-kernels": "kernels",
    "cuda-graph": "graph",
    "torch-compiled": "t.compile",
    "torch-graph": "t.graph",
}


def text(results: dict[str, Any]) -> str:
    """Everything worth reading first; the rest is in the JSON file."""
    there = {row["column"] for row in results["rows"] if timed(row)}
    columns = [name for name in results["columns"] if name in there]
    commit, changed = results["commit"][:12], "+" * results["commit"].endswith("+")
    heads = "".join(f"{SHORT.get(name, name)[: CELL - 1]:>{CELL}}" for name in columns)
    lines = [
        f"{results['device']}, commit {commit}{changed}, self-test {_verdict(results['selftest'])}",
        f"{results['arithmetic']}; ms",
        f"{'':{NAME}}{heads} peer/ours",
        *(
            line(list(rows.values()), columns)
            for _, rows in case_rows(results)
            if any(map(timed, rows.values()))
        ),
        f"tests: {results['tests']['summary']}" if "tests" in results else "tests: none were run",
        *(f"{kind.rstrip('s')}: {said}" for kind in ("notes", "problems") for said in results[kind]),
    ]
    return "\n".join(part[:WIDTH] for part in lines)


def line(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """A case's medians in milliseconds, and how many times longer the best peer takes than the best of ours."""
    medians = {row["column"]: row["seconds"]["median"] for row in rows if row["seconds"]}
    cells = [f"{medians[name] * 1e3:{CELL}.4f}" if name in medians else f"{'-':>{CELL}}" for name in columns]
    own = [seconds for name, seconds in medians.items() if name in OWN]
    theirs = [seconds for name, seconds in medians.items() if name not in OWN]
    ratio = f"{min(theirs) / min(own):10.2f}" if own and theirs else ""
    return f"{title(rows[0])[: NAME - 1]:{NAME}}" + "".join(cells) + ratio


def title(row: dict[str, Any]) -> str:
    """What a case is called in a line."""
    return row["case"] if row["case"].startswith(row["group"]) else f"{row['group']} {row['case']}"


def short(row: dict[str, Any]) -> str:
    """One row in one line, while the run goes on."""
    if row.get("error"):
        found = row["error"]
    elif row["seconds"]:
        found = f"{row['seconds']['median'] * 1e3:.4f} ms"
    else:
        found = f"{row['launches']} launches" if row["launches"] else "counted"
    return f"{title(row)}, {row['column']}: {found}"[:WIDTH]


def timed(row: dict[str, Any]) -> bool:
    """Whether a row has a time."""
    return row["seconds"] is not None


def _verdict(selftest: dict[str, Any]) -> str:
    return "passed" if selftest.get("passed") else "failed" if selftest else "not run"
