"""The processes of a run: one per column, which stays from case to case, and makes ready what it is timed at.

One idea: a column is asked by name; that there are processes, that one may have died and another has taken its place,
and who may prepare at the same time, is known here alone.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan.benchmarks.cases import Case, Station
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.results import ABSENT, OUT_OF_TIME
from fastgan.benchmarks.turns import LateError, LostError, Worker
from fastgan.threads import cores

MANY_CORES = 8


class Engines:
    """Columns, ready for cases of a size; making one may take `making` seconds."""

    def __init__(self, columns: Mapping[str, Column], size: str, making: float) -> None:
        self.columns, self.size, self.making = columns, size, making
        self.workers: dict[tuple[str, int], Worker] = {}
        self.late: set[str] = set()  # peers that took too long, and would again: they start anew

    def of(self, names: Sequence[str]) -> list[Worker]:
        """A process for each name, a second one for a name that comes twice."""
        places = [(name, names[:i].count(name)) for i, name in enumerate(names)]
        for place in places:
            if place not in self.workers:
                self.workers[place] = Worker(Station, self.columns[place[0]])
        return [self.workers[place] for place in places]

    def prepared(self, pairs: Sequence[tuple[Case, str]], last: float) -> list[dict[str, Any]]:
        """What `Station.prepare` says of each case and column, or {"error": why}; nobody is waited for after `last`.

        Where there are cores, our columns compile side by side. Peers never do: they search for algorithms, and what
        they find while others use the device would stay. On few cores nobody does: it would show in first calls.
        """
        workers = self.of([name for _, name in pairs])
        early = [self.columns[name].own and cores() >= MANY_CORES for _, name in pairs]
        for worker, (case, _), now in zip(workers, pairs, early, strict=True):
            if now:
                worker.ask("prepare", case.key, self.size)
        return [
            self._answer(worker, case, name, last, asked=asked)
            for worker, (case, name), asked in zip(workers, pairs, early, strict=True)
        ]

    def _answer(self, worker: Worker, case: Case, name: str, last: float, *, asked: bool) -> dict[str, Any]:
        if name in self.late:
            return {"error": f"{OUT_OF_TIME}: it was not ready in time before"}
        if not asked:
            worker.ask("prepare", case.key, self.size)
        seconds = min(self.making, last - time.perf_counter())
        try:
            found: dict[str, Any] = worker.answer(seconds)
        except LateError:
            if not self.columns[name].own:
                self.late.add(name)
            return {"error": f"{OUT_OF_TIME}: not ready after {max(seconds, 0):.0f} s"}
        except LostError as reason:
            return {"error": f"making: {reason}"}
        return {"error": ABSENT + found["absent"]} if "absent" in found else found

    def end_seconds(self) -> None:
        """End second processes."""
        for place in [place for place in self.workers if place[1]]:
            self.workers.pop(place).end()

    def end(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.end()
