"""One run of the suites: a worker process per column, results compared, times taken in turn, a row per case and column.

One idea: a run may end at any moment, by Ctrl-C, by a crash of one engine or because its time is up, and keeps what it
has. So every column lives in a process of its own (see `turns`), everything has a deadline, and the result file is
written again, whole, every second or so and at the end. What the rows hold says benchmarks/README.md.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fastgan.benchmarks import ceilings, machine, results, selftest, turns
from fastgan.benchmarks.cases import Case
from fastgan.benchmarks.columns import COLUMNS, Column
from fastgan.benchmarks.engines import Engines
from fastgan.benchmarks.paces import GPU_LIMIT, PACES
from fastgan.benchmarks.results import OUT_OF_TIME, failed
from fastgan.benchmarks.suites import module_of
from fastgan.errors import OutputError, UsageError

Row = dict[str, Any]

WRITE_EVERY = 1.0  # seconds: writing the file takes 30 ms


class Bench:
    """One run; `results` is what the file holds. `said` takes lines for people, `shown` each row when it is there."""

    def __init__(
        self,
        path: Path,
        *,
        size: str = "full",
        suites: Sequence[str],
        columns: Iterable[str] = COLUMNS,
        only: Sequence[str] = (),
        command: str = "",
        commit: str | None = None,
        limit: float | None = None,
        said: Callable[[str], None] = print,
        shown: Callable[[Row], None] = lambda row: None,
    ) -> None:
        # else JAX takes most of a GPU's memory as soon as it is asked for its devices
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self.path, self.size, self.suites, self.only = path, size, suites, only
        self.said, self.shown = said, shown
        self.pace, self.start = PACES[size], time.perf_counter()
        self.named = tuple(columns)  # who was asked for, whether it can run here or not
        self.absent = {name: reason for name in self.named if (reason := COLUMNS[name].absent())}
        there = [COLUMNS[name] for name in self.named if name not in self.absent]
        # on the device they have here, which no worker has to find out: that imports CuPy
        self.columns: dict[str, Column] = {c.name: replace(c, device=c.where()) for c in there}
        on_gpu = any(column.device == "cuda" for column in self.columns.values())
        self.limit = limit or (min(self.pace.limit, GPU_LIMIT) if on_gpu else self.pace.limit)
        # when all time is over, and the share that is being spent
        self.last = self.until = self.start + self.limit
        self.engines = Engines(self.columns, size, self.pace.making)
        self.results: dict[str, Any] = {
            "format": results.FORMAT,
            "version": results.VERSION,
            **machine.facts(command, commit),
            "size": size,
            "suites": list(suites),
            "columns": {name: column.about for name, column in self.columns.items()},
            "absent": self.absent,
            "ceilings": {},
            "selftest": {},
            "rows": [],
            "notes": [],
            "problems": [],
            "finished": False,
            "seconds": 0.0,
        }

    def run(self) -> None:
        """Ceilings, self-test, suites; whatever happens, what was measured is written and the workers are ended."""
        if not self.columns:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.absent.items())
            raise UsageError(f"none of the columns can run here: {reasons}")
        if not any(self.asked(key) for suite in self.suites for key in keys(suite, self.size)):
            raise UsageError(
                f"no case has {' or '.join(map(repr, self.only))} in its name; see benchmarks/README.md"
            )
        try:
            self.prepare()
            for number, suite in enumerate(self.suites):
                shares = [self.pace.weights.get(name, 1) for name in self.suites[number:]]
                self.until = self.last
                with self.within(shares[0] / sum(shares)):
                    self.go_through(suite)
            self.results["finished"] = True
        finally:
            self.end()

    def go_through(self, suite: str) -> None:
        """Keep the rows of a suite; one that fails is a problem, and the next goes on."""
        try:
            for row in import_module(module_of(suite)).rows(self):
                self.keep(row)
        except OutputError:
            raise  # nothing more can be kept
        except Exception as error:
            self.problem(f"{suite} ended early: {in_a_line(error)}")

    def prepare(self) -> None:
        """What the machine can do at most, and whether its timing can be trusted."""
        if busy := machine.is_busy():
            self.note(busy)
        for reason in dict.fromkeys(self.absent.values()):
            names = ", ".join(name for name, own in self.absent.items() if own == reason)
            self.said(f"{names} left out: {reason}")
        for device in sorted({column.where() for column in self.columns.values() if column.own}):
            try:
                self.results["ceilings"][device] = ceilings.measured(device, seconds=self.pace.ceilings)
            except Exception as error:  # a GPU that fails must not cost the CPU's columns
                self.problem(f"no ceilings of {device}: {in_a_line(error)}")
        self.results["selftest"] = found = selftest.run(self.columns, self.size)
        for line in found["lines"]:
            (self.said if found["passed"] else self.note)(line)
        self.write()

    def left(self) -> float:
        """Seconds left of the present share: a suite's, or a case's."""
        return self.until - time.perf_counter()

    @contextmanager
    def within(self, share: float) -> Iterator[None]:
        """A block that may take this share of what is left; a case that begins in it still gets its least rounds."""
        end = self.until
        self.until = time.perf_counter() + share * max(0.0, self.left())
        try:
            yield
        finally:
            self.until = end

    def wants(self, case: Case) -> bool:
        """Whether a case is among those that were asked for."""
        return self.asked(case.key)

    def asked(self, key: str) -> bool:
        """Whether suite/group/name is."""
        return not self.only or any(text in key for text in self.only)

    def each(self, cases: Iterable[Case]) -> Iterator[Row]:
        """The rows of many cases; none takes more than an equal share of the suite's time that is left."""
        chosen = list(filter(self.wants, cases))
        for number, case in enumerate(chosen):
            with self.within(1 / (len(chosen) - number)):
                yield from self.measure(case)

    def measure(self, case: Case) -> list[Row]:
        """One case in all columns that it asks for, interleaved: a row each, with why it has no time."""
        return self.together([(case, name) for name in case.columns or self.columns if name in self.columns])

    def together(self, pairs: Sequence[tuple[Case, str]]) -> list[Row]:
        """Cases and columns, interleaved in one rotation. A column that is named twice gets a second process."""
        pairs = [(case, name) for case, name in pairs if self.wants(case)]
        late = {"error": OUT_OF_TIME} if self.left() <= 0 else {}
        told = {case.key: {"shape": dict(case.shape)} | late if late else facts(case) for case, _ in pairs}
        rows = [self.row(case.suite, case.group, case.name, name, **told[case.key]) for case, name in pairs]
        if late:
            return rows
        found = self.engines.prepared(pairs, self.last)
        for row, one in zip(rows, found, strict=True):
            self._made(row, one)
        self._compare(pairs, rows, found)
        workers = self.engines.of([name for _, name in pairs])
        right = {str(i): workers[i] for i, row in enumerate(rows) if "error" not in row}
        blocks, lost = turns.in_turn(
            right,
            counts={i: found[int(i)]["count"] for i in right},
            seconds=self.pace.turn,
            rounds=self.pace.rounds,
            until=self.until,
            last=self.last,
        )
        for i, reason in lost.items():
            rows[int(i)]["error"] = reason
        for i, own in blocks.items():
            self._fill(rows[int(i)], turns.summary(own))
        self.engines.end_seconds()
        return rows

    def row(self, suite: str, group: str, case: str, column: str, **more: Any) -> Row:
        """A row with nothing measured yet."""
        where = self.columns.get(column, COLUMNS[column]).device
        empty: Row = {"suite": suite, "group": group, "case": case, "column": column, "device": where}
        empty |= {"shape": {}, "bytes": 0, "flops": 0, "extra": {}}
        unknown = ("seconds", "first", "making", "launches", "ceiling", "percent")
        return empty | dict.fromkeys(unknown) | more

    def keep(self, row: Row) -> None:
        """Add a row to the file, and show it; an error of fastgan's own, that is not for lack of time, is a problem."""
        self.results["rows"].append(row)
        if COLUMNS[row["column"]].own and failed(row):
            self.problem(f"{row['group']} {row['case']}, {row['column']}: {row['error']}")
        if time.perf_counter() - self.start - self.results["seconds"] > WRITE_EVERY:
            self.write()
        self.shown(row)

    def note(self, line: str) -> None:
        """Keep and say something that readers of the file should know."""
        self.results["notes"].append(line)
        self.said(line)

    def problem(self, line: str) -> None:
        """Keep and say that something of fastgan's is wrong."""
        self.results["problems"].append(line)
        self.said(f"problem: {line}")

    def write(self) -> None:
        """Write the results so far, whole or not at all."""
        self.results["seconds"] = time.perf_counter() - self.start
        results.write(self.results, self.path)

    def end(self) -> None:
        """End the workers and write what there is."""
        self.engines.end()
        self.write()

    def _warn(self, row: Row, warned: list[str]) -> None:
        """Keep what a column's users would have been told: of fastgan's it is a problem, such as missing kernels."""
        for text in warned:
            line = f"{row['column']}: {text}"
            if line not in self.results["notes"] + self.results["problems"]:
                (self.problem if COLUMNS[row["column"]].own else self.note)(line)

    def _made(self, row: Row, found: dict[str, Any]) -> None:
        """Write into a row what came of preparing it."""
        if "error" in found:
            row["error"] = found["error"]
            return
        row |= {"first": found["first"], "making": found["making"]}
        package = COLUMNS[row["column"]].package
        self.results["threads"] |= {name: n for name, n in found["threads"].items() if name == package}
        self._warn(row, found["warnings"])

    def _compare(
        self, pairs: Sequence[tuple[Case, str]], rows: list[Row], found: Sequence[dict[str, Any]]
    ) -> None:
        """Write into the rows which results are wrong: columns of one case against each other, or its reference."""
        right = [i for i, row in enumerate(rows) if "error" not in row]
        for key in dict.fromkeys(pairs[i][0].key for i in right):
            places = {pairs[i][1]: i for i in right if pairs[i][0].key == key}
            case = pairs[next(iter(places.values()))][0]
            try:
                reasons = case.wrong({name: found[i]["results"] for name, i in places.items()})
            except Exception as error:  # no reference, for lack of memory, say: then nobody is timed
                for i in places.values():
                    rows[i]["error"] = f"nothing to compare with, not timed: {in_a_line(error)}"
                continue
            for name, reason in reasons.items():
                rows[places[name]]["error"] = f"wrong result, not timed: {reason}"

    def _fill(self, row: Row, seconds: dict[str, Any]) -> None:
        """Times, and what part of the ceiling they reach."""
        row["seconds"] = seconds
        if found := self.results["ceilings"].get(row["device"]):
            best = seconds["device"] or seconds["median"]
            row["ceiling"], row["percent"] = ceilings.share(best, row["bytes"], row["flops"], found)


def keys(suite: str, size: str) -> Iterator[str]:
    """What the cases of a suite are called, suite/group/name; `--only` looks there."""
    found: Iterator[str] = import_module(module_of(suite)).keys(size)
    return found


def in_a_line(error: Exception) -> str:
    """An error for people."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def facts(case: Case) -> dict[str, Any]:
    """What a row says of its case."""
    moved, computed = case.costs()
    return {"shape": dict(case.shape), "bytes": moved, "flops": computed}
