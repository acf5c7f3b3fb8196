"""From which size on one engine beats another: toy-mlp's step over a grid of batch x width.

One idea: asking for a kernel costs the same however little it does, so a GPU loses on small networks and wins on large
ones, and a plot of both says where. Without a GPU the same grid says from which size on fastgan's own CPU kernels beat
array code and PyTorch. A note per pair of columns says it in words, computed from the rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from fastgan.benchmarks.cases import Case
from fastgan.benchmarks.turns import ratio
from fastgan.benchmarks.variants import step_case
from fastgan.device import cuda_problem
from fastgan.threads import cores

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

# batches and widths
GRIDS = {
    "full": ((8, 32, 128, 512), (32, 128, 512, 2048)),
    "quick": ((8, 128), (32, 512)),
    "tiny": ((2,), (8,)),
}
FEW_CORES, LARGEST = 8, 2**27  # on fewer cores steps of more (batch x width x width) take too long
TOGETHER = {
    True: (("cpu-kernels", "cuda-graph"), ("numpy", "cupy")),
    False: (("numpy", "cpu-kernels", "torch"),),
}
# by whether there is a GPU: who may lose at small sizes, and who is expected to win at large ones
PAIRS = {True: TOGETHER[True], False: (("numpy", "cpu-kernels"), ("torch", "cpu-kernels"))}
NO_GPU = (
    "no GPU: from which size on it beats the CPU is not known here; the grid compares fastgan's CPU kernels"
)

Points = list[tuple[int, bool]]  # batch x width, and whether the second column won


def cases(size: str) -> list[Case]:
    """The grid, small steps first."""
    columns = tuple(name for together in TOGETHER[cuda_problem() is None] for name in together)
    points = sorted(product(*GRIDS[size]), key=lambda point: (point[0] * point[1], point))
    return [
        step_case(
            "crossover",
            "toy-mlp",
            f"batch {batch}, width {width}",
            {"batch": batch, "width": width},
            columns,
            batch=batch,
            width=width,
        )
        for batch, width in points
        if cores() >= FEW_CORES or batch * width**2 <= LARGEST
    ]


def keys(size: str) -> Iterator[str]:
    """What the points are called."""
    return (case.key for case in cases(size))


def rows(bench: "Bench") -> Iterator["Row"]:
    """The grid in the columns that are measured together, then the rest; then a note per pair."""
    gpu = cuda_problem() is None
    if not gpu:
        bench.note(NO_GPU)
    found, measured = cases(bench.size), []
    for row in bench.each(replace(case, columns=names) for names in TOGETHER[gpu] for case in found):
        measured.append(row)
        yield row
    for slow, fast in PAIRS[gpu]:
        if points := compared(measured, slow, fast):
            bench.note(sentence(slow, fast, points))


def compared(measured: Iterable["Row"], slow: str, fast: str) -> Points:
    """Where both columns have times: the size, and whether `fast` took less, in the median over the rounds."""
    timed = {
        (row["shape"]["batch"], row["shape"]["width"], row["column"]): row["seconds"]["blocks"]
        for row in measured
        if row.get("seconds") and not row.get("error")
    }
    return [
        (batch * width, ratio(timed[batch, width, fast], blocks)[1] < 1)
        for (batch, width, column), blocks in timed.items()
        if column == slow and (batch, width, fast) in timed
    ]


def crossing(points: Points) -> int | None:
    """The least batch x width from which on all larger points are won; None where the largest is lost."""
    lost = max((size for size, won in points if not won), default=0)
    return min((size for size, _ in points if size > lost), default=None)


def sentence(slow: str, fast: str, points: Points) -> str:
    """What the points say."""
    where, least = crossing(points), min(size for size, _ in points)
    count = f"{sum(won for _, won in points)} of {len(points)} points"
    if not any(won for _, won in points):
        return f"{fast} beats {slow} nowhere: at {count} up to batch x width = {max(points)[0]}"
    if where is None:
        return f"{fast} does not beat {slow} at the largest batch x width = {max(points)[0]}, but at {count}"
    if where == least:
        return f"{fast} beats {slow} everywhere from batch x width = {least} on, at all {len(points)} points"
    return f"{fast} beats {slow} from batch x width = {where} on, at {count} in all"
