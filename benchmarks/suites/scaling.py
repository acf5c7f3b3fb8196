"""How time and memory of toy-mlp's step grow with batch, width, depth and number of images, one of them at a time.

One idea: a power of the size. Small steps are ruled by what is asked for and large ones by what is computed, so the
exponent is taken of the last points of an axis only, and a note says it with where it begins. Memory is what training
adds at its peak, in a fresh process per point (`fastgan.benchmarks.memory`): on the device where the column computes.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastgan.benchmarks import memory
from fastgan.benchmarks.cases import Case
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.variants import step_case
from fastgan.device import cuda_problem
from fastgan.threads import cores

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

AXES: dict[str, dict[str, tuple[int, ...]]] = {
    "full": {
        "batch": (16, 128, 1024),
        "width": (64, 256, 512, 1024),
        "depth": (2, 4, 8),
        "data": (1_000, 10_000, 60_000),
    },
    "quick": {"batch": (64, 512), "width": (128, 512), "depth": (2, 8), "data": (1_000, 60_000)},
    "tiny": {"batch": (2,), "width": (8,), "depth": (1,), "data": (100,)},
}
LARGER = {"width": (256, 512, 1024, 2048), "data": (1_000, 10_000, 60_000, 300_000)}  # full, on MANY cores
MANY = 8
# what is not grown; toy-mlp's own where it is not named
REST: dict[str, dict[str, int]] = {
    "full": {},
    "quick": {},
    "tiny": {"batch": 2, "width": 8, "depth": 1, "data": 100},
}
COLUMNS_OF = {True: ("cuda-graph", "cupy", "torch", "cpu-kernels"), False: ("cpu-kernels", "torch")}
WITH_NUMPY = ("width",)
MEMORY_OF = {True: ("cuda-graph", "torch"), False: ("cpu-kernels", "torch")}
MEMORY_ON = {"full": tuple(AXES["full"]), "quick": ("batch",), "tiny": ("batch",)}
MEMORY_LIMIT = 60.0  # seconds of a process
LAST = 3  # points of an axis that exponents are taken of
REMEMBERED = {"full": 3, "quick": 1, "tiny": 1}  # and those whose memory is measured: each takes seconds


def cases(size: str) -> list[Case]:
    """An axis after the other, small steps first."""
    gpu = cuda_problem() is None
    return [
        step_case(
            "scaling",
            axis,
            f"{axis} {value}",
            {axis: value},
            COLUMNS_OF[gpu] + ("numpy",) * (axis in WITH_NUMPY and size != "quick"),
            **REST[size] | {axis: value},
        )
        for axis, values in axes_of(size).items()
        for value in values
    ]


def axes_of(size: str) -> dict[str, tuple[int, ...]]:
    """What grows, and its values."""
    return AXES[size] | (LARGER if size == "full" and cores() >= MANY else {})


def keys(size: str) -> Iterator[str]:
    """What the points are called."""
    return (case.key for case in cases(size))


def rows(bench: "Bench") -> Iterator["Row"]:
    """Times, with the memory of some; then a note per axis."""
    found, measured = [case for case in cases(bench.size) if bench.wants(case)], []
    for number, case in enumerate(found):
        with bench.within(1 / (len(found) - number)):
            here, due = bench.measure(case), bench.until
        if time.perf_counter() < due:  # else a machine is so slow that the last axes would get nothing
            remember(bench, [row for row in here if asks_memory(row, bench.size)])
        measured += here
        yield from here
    for axis in AXES[bench.size]:
        if line := growth(axis, [row for row in measured if row["group"] == axis]):
            bench.note(line)


def asks_memory(row: "Row", size: str) -> bool:
    """Whether the row has a time, and is among the last points of an axis whose memory is measured."""
    axis, gpu = row["group"], cuda_problem() is None
    last = axes_of(size)[axis][-REMEMBERED[size] :] if axis in MEMORY_ON[size] else ()
    return row["shape"][axis] in last and row["column"] in MEMORY_OF[gpu] and not row.get("error")


def remember(bench: "Bench", rows: Sequence["Row"]) -> None:
    """Measure the memory of rows of one case; why that failed is a note."""
    if not rows:
        return
    sizes = REST[bench.size] | rows[0]["shape"]
    columns = [COLUMNS[row["column"]] for row in rows]
    found = memory.added(columns, sizes, min(MEMORY_LIMIT, bench.left()))
    for row, bytes_or_reason in zip(rows, found.values(), strict=True):
        if isinstance(bytes_or_reason, int):
            row["extra"] |= {"memory": bytes_or_reason}
        else:
            bench.note(f"memory of {row['case']}, {row['column']}: {bytes_or_reason}")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of `sizes` that `values` grow with, by least squares of their logarithms."""
    x, y = np.log(sizes), np.log(values)
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def growth(axis: str, measured: Iterable["Row"]) -> str:
    """What the last points of an axis say in each column, or "" where none has two."""
    times: dict[str, list[tuple[float, float]]] = {}
    for row in measured:
        if row.get("seconds") and not row.get("error"):
            at, name = row["shape"][axis], row["column"]
            times.setdefault(f"time of {name}", []).append((at, row["seconds"]["median"]))
            if row["extra"].get("memory", 0) > 0:
                times.setdefault(f"memory of {name}", []).append((at, row["extra"]["memory"]))
    said = [
        f"{what} as {axis}^{exponent(*zip(*points[-LAST:], strict=True)):.1f} from {points[-LAST:][0][0]} on"
        for what, points in times.items()
        if len(points) > 1
    ]
    return f"growth: {', '.join(said)}" if said else ""
