"""What is measured: a `Case` is something that several engines can do, and a `Work` is one engine ready to do it.

One idea: a case knows what the right answer is, and what the work costs at least, so that a wrong answer is never timed
and a time can be held against the ceiling of the machine. `columns` says which engines there are, `bench` times them;
pytest-benchmark (`bench_*.py`) times the same cases.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks import machine
from fastgan.benchmarks.columns import Clock, Column
from fastgan.benchmarks.turns import Chunk, turn
from fastgan.errors import FastganError

Results = list[NDArray[Any]]
BLOCK = 1 << 20  # elements of a piece: a temporary array as large as the largest operands would take seconds
SAMPLE = 65_536  # elements of an array that are compared one by one; all are in the sums


class AbsentError(FastganError):
    """A column has nothing to say about a case; the text says why, in a few words."""


class Work(Protocol):
    """One case, ready to run in one column."""

    def first(self) -> Results:
        """Run it for the first time, which compiles what must be, wait, and return what is compared."""

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        """Times of chunks of `count` calls, for about `seconds`."""


@dataclass(frozen=True)
class Case:
    """`make` builds the work of a column (AbsentError: it has none) and `wrong` names the columns that answer wrongly.

    `bytes` and `flops` are the least that one call must move through memory and compute; 0 is unknown, and `counted`
    gives both where finding out takes time: cases are made anew in every process. `shape` is for people and plots.
    `columns` limits who is asked; empty asks all. See `suites.find`.
    """

    suite: str
    group: str
    name: str  # with the group unique in the suite
    make: Callable[[Column], Work]
    wrong: Callable[[Mapping[str, Results]], dict[str, str]]  # results by column -> reason by column
    shape: Mapping[str, Any] = field(default_factory=dict)
    bytes: int = 0
    flops: int = 0
    columns: tuple[str, ...] = ()
    counted: Callable[[], tuple[int, int]] | None = None

    def costs(self) -> tuple[int, int]:
        """Bytes and flops."""
        return self.counted() if self.counted else (self.bytes, self.flops)

    @property
    def key(self) -> str:
        """What a case is called in commands and files."""
        return f"{self.suite}/{self.group}/{self.name}"


class Calls:
    """Work that is a function called again and again; `times` is how often one call does it (a graph of many)."""

    def __init__(
        self,
        call: Callable[[], Any],
        results: Callable[[], Sequence[Any]],
        clock: Clock,
        *,
        times: int = 1,
    ) -> None:
        self.call, self.results, self.clock, self.times = call, results, clock, times

    def first(self) -> Results:
        """`results` may call it once itself: inputs that are written over must be as they were made."""
        found = [np.asarray(x) for x in self.results()]
        self.clock.wait()
        return found

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        calls = max(1, count // self.times)
        return [
            tuple(x / self.times for x in chunk)  # type: ignore[misc]
            for chunk in turn(self.call, self.clock, steps=calls, seconds=seconds)
        ]


def summary(found: Sequence[Any]) -> Results:
    """What is sent between processes of results: up to 65,536 elements of each array, its sum and absolute sum.

    The sums are taken in float64, so that a mistake anywhere shows unless it is smaller than rounding.
    """
    out = []
    for array in found:
        flat = np.asarray(array).reshape(-1)
        sample = flat[:: max(1, -(-flat.size // SAMPLE))].astype(np.float64)
        pieces = [flat[i : i + BLOCK] for i in range(0, flat.size, BLOCK)]
        sums = [sum(f(x).sum(dtype=np.float64) for x in pieces) for f in (np.asarray, np.abs)]
        out.append(np.concatenate([sample, sums]))
    return out


def differs(found: Results, wanted: Results, tolerance: float) -> str:
    """Why two summaries are not the same, or "". Elements may differ by `tolerance` times the largest of the array,
    sums by `tolerance` times the absolute sum.
    """
    if [x.shape for x in found] != [x.shape for x in wanted]:
        return f"got results of sizes {[x.size for x in found]}, wanted {[x.size for x in wanted]}"
    for number, (x, y) in enumerate(zip(found, wanted, strict=True)):
        if not np.isfinite(x).all():
            return f"result {number} is not finite"
        largest = max(float(np.abs(y[:-2]).max(initial=0)), 1e-30)
        gap = float(np.abs(x[:-2] - y[:-2]).max(initial=0)) / largest
        sums = float(np.abs(x[-2:] - y[-2:]).max()) / max(float(y[-1]), 1e-30)
        if max(gap, sums) > tolerance:
            return f"result {number} is off by {max(gap, sums):.1e} of its size, {tolerance:.0e} is allowed"
    return ""


def against(
    reference: Callable[[], Sequence[Any]], tolerance: float
) -> Callable[[Mapping[str, Results]], dict[str, str]]:
    """A `Case.wrong` that holds every column against `reference()`, float64 arrays, computed when it is needed."""

    def wrong(found: Mapping[str, Results]) -> dict[str, str]:
        wanted = summary(reference())
        reasons = {name: differs(results, wanted, tolerance) for name, results in found.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    return wrong


class Station:
    """What a worker process holds: one column, and the work of one case at a time."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.work: Work | None = None
        self.warned: list[str] = []  # kept: a library warns once in a process

    def prepare(self, case: str, size: str) -> dict[str, Any]:
        """Drop the case before, make this one, run it once: its results, the seconds that took, calls per chunk; or
        {"absent": why}.

        `warnings` are what a user would have been told (fastgan without kernels, say), not what is for developers.
        """
        from fastgan.benchmarks.suites import find

        self.work = None
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.work = find(case, size).make(self.column)
            except AbsentError as reason:
                return {"absent": str(reason)}
            made = time.perf_counter()
            results = summary(self.work.first())
        first = time.perf_counter() - made
        heard = [w for w in caught if issubclass(w.category, UserWarning | RuntimeWarning)]
        self.warned += sorted({str(w.message).splitlines()[0][:200] for w in heard} - set(self.warned))
        seconds = {"making": made - start, "first": first}
        told = {"warnings": self.warned, "threads": machine.threads()}
        return {"results": results, "count": self.count(), **told, **seconds}

    def count(self) -> int:
        """Calls that fill a chunk, from the quickest of a few; one look is enough where a call takes many chunks."""
        assert self.work is not None
        quickest = math.inf
        for _ in range(3):
            quickest = min(quickest, *(total for _, total, _ in self.work.turn(1, 0.0)))
            if quickest > 10 * self.column.chunk:
                break
        return max(1, min(1000, round(self.column.chunk / max(quickest, 1e-7))))

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        """Chunks of the present work."""
        assert self.work is not None
        return self.work.turn(count, seconds)
