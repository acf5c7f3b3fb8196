"""A run of suites that measures nothing: a row per case and column that it asks for, with times that are given."""

import contextlib
import itertools
import math

import bench_files

from fastgan.benchmarks.bench import facts
from fastgan.benchmarks.columns import COLUMNS


class PlayedBench:
    """What suites ask of `Bench`; `cost(row)` is the seconds of a row, None for one that failed."""

    def __init__(
        self,
        size="tiny",
        columns=("numpy", "cpu-kernels", "torch"),
        cost=lambda row: 1.0,
        left=1000.0,
        only=(),
    ):
        self.size, self.cost, self.only = size, cost, only
        self.columns = {name: COLUMNS[name] for name in columns}
        self.until, self.seconds, self.notes, self.lines = math.inf, left, [], []

    def within(self, share):
        return contextlib.nullcontext()

    def wants(self, case):
        return True

    def each(self, cases):
        return itertools.chain.from_iterable(map(self.measure, cases))

    def measure(self, case):
        return [self.timed(case, name) for name in case.columns or self.columns if name in self.columns]

    def timed(self, case, name):
        row = self.row(case.suite, case.group, case.name, name, **facts(case))
        cost = self.cost(row)
        return row | ({"error": "failed"} if cost is None else {"seconds": bench_files.seconds(cost, cost)})

    def row(self, suite, group, case, column, **more):
        return bench_files.row(f"{suite}/{group}/{case}", column, **more)

    def left(self):
        return self.seconds

    def asked(self, key):
        return not self.only or any(text in key for text in self.only)

    def note(self, line):
        self.notes.append(line)

    def said(self, line):
        self.lines.append(line)
