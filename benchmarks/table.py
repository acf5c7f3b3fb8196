"""The GPU gate's results as a short table, at most 100 columns wide."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.results import Results, Row, against, case_rows, ours, short_commit, title

WIDTH, NAME, CELL = 100, 26, 9
SHORT = {
    "cuda-kernels": "kernels",
    "cuda-graph": "graph",
    "torch-compiled": "t.compile",
    "torch-graph": "t.graph",
}


def text(results: Results) -> str:
    """Everything worth reading first; the rest is in the JSON file."""
    there = {row["column"] for row in results["rows"] if row["seconds"]}
    columns = [name for name in results["columns"] if name in there]
    heads = "".join(f"{SHORT.get(name, name)[: CELL - 1]:>{CELL}}" for name in columns)
    lines = [
        f"{results['device']}, commit {short_commit(results)}, self-test {_verdict(results['selftest'])}",
        f"{results['arithmetic']}; ms; ours/peer: time over the best peer's on one device, below 1 is faster",
        f"{'':{NAME}}{heads} ours/peer",
        *(line(rows, columns) for _, rows in case_rows(results) if there & {*rows}),
        f"tests: {results['tests']['summary']}" if "tests" in results else "tests: none were run",
        *(f"{kind.rstrip('s')}: {said}" for kind in ("notes", "problems") for said in results[kind]),
    ]
    return "\n".join(part[:WIDTH] for part in lines)


def line(rows: Mapping[str, Row], columns: Sequence[str]) -> str:
    """A case's medians in milliseconds, and fastgan's time over the best peer's."""
    times = {name: row["seconds"]["median"] for name, row in rows.items() if row["seconds"]}
    cells = [f"{times[name] * 1e3:{CELL}.4f}" if name in times else f"{'-':>{CELL}}" for name in columns]
    return (
        f"{title(next(iter(rows.values())))[: NAME - 1]:{NAME}}" + "".join(cells) + beside_best(rows, times)
    )


def beside_best(rows: Mapping[str, Row], times: Mapping[str, float]) -> str:
    """fastgan as it runs, over the quickest peer, in the turns of one round: on the GPU where both have times there."""
    for device in ("cuda", "cpu"):
        own = ours(rows, device)
        peers = [name for name in times if name not in OWN and rows[name]["device"] == device]
        if own and peers:
            ratio = against(own, rows[min(peers, key=times.__getitem__)])
            return f"{ratio.median:10.2f}" if ratio else ""
    return ""


def short(row: Row) -> str:
    """One row in one line, while the run goes on."""
    if row.get("error"):
        found = row["error"]
    elif row["seconds"]:
        found = f"{row['seconds']['median'] * 1e3:.4f} ms"
    else:
        found = f"{row['launches']} launches" if row["launches"] else "counted"
    return f"{title(row)}, {row['column']}: {found}"[:WIDTH]


def _verdict(selftest: dict[str, Any]) -> str:
    return "passed" if selftest.get("passed") else "failed" if selftest else "not run"
