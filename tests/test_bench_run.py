"""A run of suites: wrong results are not timed, failures keep the rest, deadlines hold, what was measured is written.

Workers are played in this process; `test_gpu_gate.py` and `test_bench_cli.py` start real ones.
"""

import dataclasses
import json
import math
import os
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from bench_played import PlayedBench

from fastgan.benchmarks import bench as module
from fastgan.benchmarks import cases, engines, results, suites, turns
from fastgan.benchmarks.bench import Bench
from fastgan.benchmarks.cases import AbsentError, Case, against
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import steps
from fastgan.errors import OutputError, UsageError

pytestmark = pytest.mark.slow

CEILINGS = {"copy": 1e9, "gemm": 1e10}


class Played:
    """Work whose calls take `cost` seconds of a played clock."""

    def __init__(self, answer, cost, warning=""):
        self.answer, self.cost, self.warning = answer, cost, warning

    def first(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.warning:
            warnings.warn(self.warning, RuntimeWarning, stacklevel=1)
        return [np.array([self.answer, 2.0])]

    def turn(self, count, seconds):
        return [(self.cost / 2, self.cost, math.nan)] * 3


class Here:
    """A worker without a process."""

    def __init__(self, factory, *arguments):
        self.held, self.ended = factory(*arguments), False

    def ask(self, method, *arguments):
        self.asked = partial(getattr(self.held, method), *arguments)

    def answer(self, seconds):
        try:
            return self.asked()
        except Exception as error:
            raise turns.LostError(f"{type(error).__name__}: {error}") from error

    def call(self, seconds, method, *arguments):
        self.ask(method, *arguments)
        return self.answer(seconds)

    def end(self):
        self.ended = True


def case(works, name="one", **more):
    """A case of a "played" suite: `works` by column; a column that is not there is absent."""

    def make(column):
        if column.name not in works:
            raise AbsentError("no such thing")
        return works[column.name]

    return Case("played", "group", name, make, against(lambda: [np.array([1.0, 2.0])], 1e-3), **more)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Begins a run of the given cases, without processes, ceilings and self-test."""

    def begin(*found, columns=("numpy", "cpu-kernels"), rows=None, **settings):
        monkeypatch.setattr(engines, "Worker", Here)
        monkeypatch.setattr(module.ceilings, "measured", lambda device, seconds: CEILINGS)
        monkeypatch.setattr(module.ceilings, "share", lambda s, b, f, c: ("copy", 100 * b / s / c["copy"]))
        monkeypatch.setattr(module.selftest, "run", lambda *_: {"passed": True, "lines": []})
        monkeypatch.setattr(module.machine, "is_busy", lambda: "")
        monkeypatch.setattr(suites, "find", lambda key, size: {c.key: c for c in found}[key])

        class Suite:
            @staticmethod
            def keys(size):
                return (case.key for case in found)

            @staticmethod
            def rows(bench):
                yield from rows(bench) if rows else bench.each(found)

        monkeypatch.setattr(module, "import_module", lambda name: Suite)
        said = []
        settings = {"size": "tiny", "suites": ["played"], "columns": columns, "said": said.append} | settings
        made = Bench(tmp_path / "result.json", **settings)
        made.lines = said
        return made

    return begin


def written(bench):
    return json.loads(bench.path.read_text())


def test_every_column_gets_a_row_and_the_file_holds_it(start):
    works = {"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.0, 0.2)}
    bench = start(case(works, bytes=10_000_000, flops=7, shape={"n": 3}))
    bench.run()
    found = written(bench)
    assert (found["finished"], found["format"], found["version"]) == (True, "fastgan-bench", 1)
    slow, fast = found["rows"]
    assert (slow["column"], fast["column"]) == ("numpy", "cpu-kernels")
    assert slow["seconds"]["median"] == 0.4
    assert slow["seconds"]["blocks"] == [0.4, 0.4]
    assert slow["seconds"]["asking"] == 0.2
    assert slow["seconds"]["device"] is None
    assert (slow["bytes"], slow["flops"], slow["shape"], slow["device"]) == (10_000_000, 7, {"n": 3}, "cpu")
    assert (slow["ceiling"], slow["percent"]) == ("copy", pytest.approx(2.5))
    assert slow["first"] >= 0
    assert found["problems"] == []
    assert found["ceilings"] == {"cpu": CEILINGS}


def test_a_wrong_answer_is_never_timed(start, monkeypatch):
    timed = []
    works = {"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.01, 0.2)}
    monkeypatch.setattr(
        works["cpu-kernels"], "turn", lambda count, seconds: timed.append(seconds) or [(1, 1, 1)] * 9
    )
    monkeypatch.setattr(cases.Station, "count", lambda self: 1)
    bench = start(case(works))
    bench.run()
    right, wrong = written(bench)["rows"]
    assert right["seconds"]["median"] == 0.4
    assert wrong["seconds"] is None
    assert wrong["error"].startswith("wrong result, not timed: result 0 is off by 5.0e-03")
    assert timed == []
    assert "cpu-kernels: wrong result" in written(bench)["problems"][0]


def test_columns_that_fail_or_have_nothing_keep_the_others(start):
    works = {"numpy": Played(1.0, 0.4), "cpu-kernels": Played(ValueError("planted"), 0.2)}
    bench = start(case(works), case({"numpy": Played(1.0, 0.1)}, "two"))
    bench.run()
    rows = written(bench)["rows"]
    assert [bool(row["seconds"]) for row in rows] == [True, False, True, False]
    assert rows[1]["error"] == "making: ValueError: planted"
    assert rows[3]["error"] == "nothing to measure: no such thing"
    assert written(bench)["problems"] == ["group one, cpu-kernels: making: ValueError: planted"]


def test_a_case_says_who_is_asked(start):
    works = {name: Played(1.0, 0.4) for name in ("numpy", "cpu-kernels")}
    bench = start(case(works, columns=("cpu-kernels", "cupy")))
    bench.run()
    assert [row["column"] for row in written(bench)["rows"]] == ["cpu-kernels"]


def test_what_users_are_warned_of_is_kept_once(start):
    works = {"numpy": Played(1.0, 0.4, "careful"), "cpu-kernels": Played(1.0, 0.2)}
    bench = start(case(works), case(works, "two"))
    bench.run()
    assert written(bench)["problems"] == ["numpy: careful"]


def test_a_run_that_is_interrupted_keeps_what_it_measured(start):
    one = case({"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.0, 0.2)})

    def rows(bench):
        yield from bench.measure(one)
        raise KeyboardInterrupt

    bench = start(one, rows=rows)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert len(written(bench)["rows"]) == 2
    assert written(bench)["finished"] is False
    assert all(worker.ended for worker in bench.engines.workers.values())


def test_a_suite_that_fails_is_a_problem_and_a_full_disk_the_end(start):
    one = case({"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.0, 0.2)})

    def failing(error):
        def rows(bench):
            yield from bench.measure(one)
            raise error

        return rows

    bench = start(one, rows=failing(NameError("planted")))
    bench.run()
    assert written(bench)["problems"] == ["played ended early: NameError: planted"]
    assert len(written(bench)["rows"]) == 2
    bench = start(one, rows=failing(OutputError("full")))
    with pytest.raises(OutputError, match="full"):
        bench.run()


def test_time_that_is_up_is_said_and_is_no_problem(start):
    works = {"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.0, 0.2)}
    bench = start(case(works), limit=1e-9)
    bench.run()
    assert [row["error"] for row in written(bench)["rows"]] == ["no time left"] * 2
    assert written(bench)["problems"] == []


def test_each_case_gets_an_equal_share_of_what_is_left(start, monkeypatch):
    found = [case({}, name) for name in "abc"]
    bench = start(*found)
    now, ends = [0.0], []
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def measure(_):
        ends.append(bench.until - now[0])
        now[0] += 1.0
        return []

    bench.until, bench.measure = 30.0, measure
    list(bench.each(found))
    assert ends == pytest.approx([10.0, 14.5, 28.0])
    assert bench.until == 30.0


def test_the_same_column_twice_is_interleaved_in_two_processes(start):
    pair = [case({"numpy": Played(1.0, cost)}, name) for name, cost in (("a", 0.4), ("b", 0.2))]
    bench = start(*pair, rows=lambda bench: iter(bench.together([(c, "numpy") for c in pair])))
    bench.run()
    slow, fast = written(bench)["rows"]
    assert turns.ratio(slow["seconds"]["blocks"], fast["seconds"]["blocks"]) == pytest.approx((2, 2, 2))
    assert len(bench.engines.workers) == 1  # the second has ended


def test_only_what_was_asked_for_runs(start):
    works = {"numpy": Played(1.0, 0.4), "cpu-kernels": Played(1.0, 0.2)}
    bench = start(case(works), case(works, "two"), only=["group/two"])
    bench.run()
    assert {row["case"] for row in written(bench)["rows"]} == {"two"}
    bench.path.unlink()
    bench = start(case(works), only=["nonsense"])
    with pytest.raises(UsageError, match="no case has 'nonsense'"):
        bench.run()
    assert not bench.path.exists()


def test_a_run_without_any_column_ends_before_it_begins(start, monkeypatch):
    monkeypatch.setattr(type(COLUMNS["jax"]), "absent", lambda self: "gone")
    bench = start(case({}), columns=("jax",))
    with pytest.raises(UsageError, match=r"^none of the columns can run here: jax: gone$"):
        bench.run()
    assert not bench.path.exists()


def test_every_suite_says_what_its_rows_are_called():
    for suite in suites.SUITES:
        named = set(module.keys(suite, "tiny"))
        parts = {"kernels": ("kernels", "layers"), "steps": ("steps", "ideas")}.get(suite, (suite,))
        expected = {c.key for part in parts if part in suites.WITH_CASES for c in suites.cases(part, "tiny")}
        assert named >= expected
        assert all(key.count("/") >= 1 for key in named)
    assert "startup/toy-mlp" in module.keys("steps", "tiny")
    assert "launches/keras-mlp/a step" in module.keys("steps", "tiny")
    assert list(module.keys("quality-time", "tiny")) == ["quality-time/digits/seed 1"]


def test_who_is_not_ready_in_time_is_no_problem_and_a_peer_is_not_asked_again(start, monkeypatch):
    """A hundred seconds of compiling would come again with each case; what fastgan has compiled is kept on disk."""
    asked = []

    def late(worker, seconds):
        asked.append(worker.held.column.name)
        raise turns.LateError("no answer in time")

    monkeypatch.setattr(type(COLUMNS["jax"]), "absent", lambda self: "")
    monkeypatch.setattr(type(COLUMNS["jax"]), "where", lambda self: "cpu")
    monkeypatch.setattr(Here, "answer", late)
    bench = start(case({}), case({}, "two"), columns=("numpy", "jax"))
    bench.run()
    assert asked == ["numpy", "jax", "numpy"]
    assert all(row["error"].startswith("no time left") for row in written(bench)["rows"])
    assert written(bench)["problems"] == []


def test_a_quick_run_has_array_code_before_it_waits_for_peers():
    bench = PlayedBench("quick", columns=("numpy", "cpu-kernels", "torch"))
    rows = list(steps.against_peers(bench, suites.cases("steps", "quick")))
    alone = len(steps.QUICK) * 2
    assert {row["column"] for row in rows[:alone]} == {"numpy", "cpu-kernels"}
    assert [row["column"] for row in rows[alone:]].count("torch") == len(steps.QUICK)
    assert next(iter(suites.SUITES)) == "steps"


def test_what_a_quick_run_measured_before_peers_were_late_counts():
    bench = PlayedBench("quick", columns=("numpy", "torch"))
    timed, asked = bench.timed, []

    def until_peers(case, name):
        asked.append(name)
        late = {"error": "no time left", "seconds": None} if "torch" in asked else {}
        return timed(case, name) | late

    bench.timed = until_peers
    rows = list(steps.against_peers(bench, suites.cases("steps", "quick")))
    found = dict(results.case_rows({"rows": rows}, suite="steps"))
    assert all(rows["numpy"]["seconds"] for rows in found.values())


def test_a_reference_that_cannot_be_had_costs_one_case(start):
    def broken(found):
        raise MemoryError("too large")

    works = {"numpy": Played(1.0, 0.4)}
    one = dataclasses.replace(case(works), wrong=broken)
    bench = start(one, case(works, "two"))
    bench.run()
    first, _, second, _ = written(bench)["rows"]
    assert first["error"] == "nothing to compare with, not timed: MemoryError: too large"
    assert second["seconds"]["median"] == 0.4


def test_a_device_whose_ceilings_fail_is_a_problem_and_the_rest_goes_on(start, monkeypatch):
    def failing(device, seconds):
        raise RuntimeError("no cuBLAS")

    bench = start(case({"numpy": Played(1.0, 0.4)}))
    monkeypatch.setattr(module.ceilings, "measured", failing)
    bench.run()
    assert written(bench)["problems"] == ["no ceilings of cpu: RuntimeError: no cuBLAS"]
    assert written(bench)["rows"][0]["seconds"]["median"] == 0.4


def test_a_case_that_begins_after_its_share_is_late(start):
    works = {"numpy": Played(1.0, 0.4)}

    def rows(bench):
        yield from bench.measure(one)
        with bench.within(0.0):
            yield from bench.measure(one)

    one = case(works, columns=("numpy",))
    bench = start(one, rows=rows)
    bench.run()
    assert [row.get("error") for row in written(bench)["rows"]] == [None, "no time left"]


def test_jax_is_told_to_leave_memory_before_it_is_asked_for_devices(monkeypatch, tmp_path):
    name, seen = "XLA_PYTHON_CLIENT_PREALLOCATE", []
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(type(COLUMNS["jax"]), "absent", lambda self: "")
    monkeypatch.setattr(
        type(COLUMNS["jax"]), "where", lambda self: seen.append(os.environ.get(name)) or "cpu"
    )
    Bench(tmp_path / "r.json", size="tiny", suites=["steps"], columns=("numpy", "jax"))
    assert seen == ["false"] * len(seen)
    assert seen


@pytest.mark.parametrize("size", ["tiny", "quick", "full"])
def test_a_disturbed_timing_is_a_note(start, monkeypatch, size):
    bench = start(case({}), size=size)
    monkeypatch.setattr(module.selftest, "run", lambda *_: {"passed": False, "lines": ["off by a lot"]})
    bench.run()
    assert (written(bench)["notes"], written(bench)["problems"]) == (["off by a lot"], [])
    assert "off by a lot" in bench.lines


def test_absent_columns_are_named_with_the_reason(start, monkeypatch):
    monkeypatch.setattr(type(COLUMNS["jax"]), "absent", lambda self: "gone" if self.name == "jax" else "")
    bench = start(case({"numpy": Played(1.0, 0.4)}), columns=("numpy", "jax"))
    bench.run()
    assert written(bench)["absent"] == {"jax": "gone"}
    assert "jax left out: gone" in bench.lines
    assert [row["column"] for row in written(bench)["rows"]] == ["numpy"]


def test_calls_that_fill_a_chunk_are_counted():
    station = cases.Station(COLUMNS["numpy"])
    for cost, count in ((1.0, 1), (1e-4, 20), (1e-9, 1000)):
        station.work = Played(1.0, cost)
        assert station.count() == count


def test_one_slow_look_does_not_make_chunks_of_one_call():
    station, costs = cases.Station(COLUMNS["numpy"]), iter([1e-2, 1e-4, 1e-4, 1.0])
    station.work = SimpleNamespace(turn=lambda count, seconds: [(0.0, next(costs), math.nan)])
    assert station.count() == 20
    assert station.count() == 1  # and a step of a second is looked at once
    assert list(costs) == []
