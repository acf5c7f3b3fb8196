"""The kernels' cases on a stand-in for the GPU and as captured graphs; `pytest benchmarks`, its clock and its skips."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.cuda import standing_in

from fastgan.benchmarks import columns, conftest, operations, state_operations, suites
from fastgan.benchmarks.cases import AbsentError, Case, against, summary
from fastgan.benchmarks.columns import COLUMNS, Clock, Column
from fastgan.benchmarks.operations import Graph
from fastgan.benchmarks.suites import kernels, layers

pytestmark = pytest.mark.slow

TINY = {case.key: case for suite in (kernels, layers) for case in suite.cases("tiny")}


@pytest.fixture
def gpu(monkeypatch):
    """The stand-in for CuPy, with the host's clock."""
    monkeypatch.setattr(columns, "CupyClock", Clock)
    monkeypatch.setattr(operations, "memory", lambda device: 2**30)
    with standing_in():
        yield


@pytest.mark.parametrize("key", TINY)
def test_array_code_on_a_stand_in_for_the_gpu_is_right(key, gpu):
    case = TINY[key]
    assert case.wrong({"cupy": summary(case.make(COLUMNS["cupy"]).first())}) == {}


ARRAY_GRAPH = Column("cuda-graph", "array code, captured", "cuda", kernels=False, capture=True)


@pytest.mark.parametrize("key", ["adam/50", "rmsprop/50", "penalty/6x7", "score_loss/8", "max_pool/2x4x4x3"])
def test_a_graph_is_compared_on_operands_that_warming_up_has_not_touched(key, gpu):
    case = TINY[f"kernels/{key}"]
    work = case.make(ARRAY_GRAPH)
    assert isinstance(work, Graph)
    assert case.wrong({"cuda-graph": summary(work.first())}) == {}
    assert work.times == work.length == (20 if key.startswith("score") else 2)
    ((_, total, _),) = work.turn(40, 0.0)
    assert total > 0


def test_a_graph_of_fresh_inputs_has_a_call_on_each_copy(gpu, monkeypatch):
    monkeypatch.setattr(operations, "cache_bytes", lambda device: 16_000)
    operation = state_operations.adam(1000)
    work = operations.make(operation, ARRAY_GRAPH)
    assert len(work.sets) == work.length == 20
    found = work.first()
    assert case_wrong(operation, found) == {}
    before = [operands[0].host.copy() for operands in work.sets]
    work.turn(20, 0.0)
    assert all((operands[0].host != p).any() for operands, p in zip(work.sets, before, strict=True))


def case_wrong(operation, found):
    return operation.case("kernels", "full").wrong({"cuda-graph": summary(found)})


class Spy:
    """pytest-benchmark's fixture."""

    def __init__(self):
        self.extra_info, self.stats, self.seconds = {}, None, []

    def pedantic(self, call, *, rounds, iterations):
        for _ in range(rounds):
            start = conftest.shown()
            call()
            self.seconds.append(conftest.shown() - start)


class Slow:
    """Work whose calls take 2 ms, by its own account."""

    def first(self):
        return [np.ones(3)]

    def turn(self, count, seconds):
        return [(0.001, 0.002, float("nan"))] * count


def test_a_wrong_answer_is_not_timed_by_pytest_benchmark_and_a_right_one_is(monkeypatch):
    monkeypatch.setattr(conftest, "found", {})
    case, spy = Case("s", "g", "n", lambda column: Slow(), against(lambda: [np.ones(3)], 0.1)), Spy()
    wrong = replace(case, name="wrong", wrong=against(lambda: [np.full(3, 2.0)], 0.1))
    with pytest.raises(AssertionError, match="s/g/wrong, numpy, is wrong and not timed: result 0 is off by"):
        conftest.measure(wrong, COLUMNS["numpy"], "tiny", spy)
    assert spy.seconds == []
    conftest.measure(case, COLUMNS["numpy"], "tiny", spy)
    assert spy.seconds == [pytest.approx(0.002)]


def test_a_peer_alone_is_held_against_fastgan(monkeypatch):
    """As with `-k torch`: what a step is compared with is made, untimed."""
    monkeypatch.setattr(conftest, "found", {})
    monkeypatch.setattr(Column, "absent", lambda self: "")
    held = []
    case = Case("s", "g", "n", lambda column: Slow(), lambda found: held.append(set(found)) or {})
    conftest.measure(case, COLUMNS["torch"], "tiny", Spy())
    conftest.measure(replace(case, name="two"), COLUMNS["numpy"], "tiny", Spy())
    assert held == [{"cpu-kernels", "torch"}, {"numpy"}]


def test_costs_that_take_time_to_find_are_in_what_pytest_benchmark_keeps(monkeypatch):
    """Those of a training step, and the share of a ceiling with them."""
    monkeypatch.setattr(conftest, "found", {})
    monkeypatch.setattr(conftest.ceilings, "measured", lambda device: {"copy": 1e6, "gemm": 1e6})
    case, spy = Case("s", "g", "n", lambda column: Slow(), lambda found: {}, counted=lambda: (500, 40)), Spy()
    spy.stats = SimpleNamespace(stats=SimpleNamespace(median=0.002))
    conftest.measure(case, COLUMNS["numpy"], "quick", spy)
    assert (spy.extra_info["bytes"], spy.extra_info["flops"]) == (500, 40)
    assert (spy.extra_info["ceiling"], spy.extra_info["percent"]) == ("copy", pytest.approx(25))


def test_pytest_has_the_cases_of_all_suites_that_have_any():
    asked = []
    config = SimpleNamespace(getoption=lambda name: "tiny")
    conftest.pytest_generate_tests(
        SimpleNamespace(config=config, parametrize=lambda names, pairs: asked.extend(pairs))
    )
    keys = {pair.values[0] for pair in asked}
    assert {key.partition("/")[0] for key in keys} == set(suites.WITH_CASES)
    assert set(suites.WITH_CASES) == {
        path.stem
        for path in Path(suites.__file__).parent.glob("*.py")
        if "\ndef cases(size" in path.read_text()
    }
    assert {pair.values[1] for pair in asked if pair.values[0] == "kernels/adam/50"} == {
        *("numpy", "cpu-kernels", "cupy", "cuda-kernels", "cuda-graph", "torch", "jax", "autograd"),
    }


def test_pytest_benchmark_skips_with_the_reason(monkeypatch):
    def absent(column):
        raise AbsentError("not here")

    case = Case("s", "g", "n", absent, lambda found: {})
    for column, size, reason in (
        (Column("x", "", "cpu", package="no_such_package"), "full", "no_such_package is not installed"),
        (COLUMNS["torch-compiled"], "quick", "--size full"),
        (COLUMNS["numpy"], "tiny", "not here"),
    ):
        with pytest.raises(pytest.skip.Exception, match=reason):
            conftest.measure(case, column, size, Spy())


def test_pytest_benchmark_runs_the_cases_and_keeps_what_they_mean(tmp_path):
    pytest.importorskip("pytest_benchmark")
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks", "--size", "tiny"]
    command += ["-k", "score_loss and numpy", f"--benchmark-json={tmp_path / 'a.json'}"]
    command += ["-p", "no:cacheprovider", "-p", "no:nbmake"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    rows = json.loads((tmp_path / "a.json").read_text())["benchmarks"]
    row = next(row for row in rows if row["params"]["column"] == "numpy")
    assert row["group"] == row["params"]["case"] == "kernels/score_loss/8"
    info = row["extra_info"]
    assert (info["bytes"], info["flops"], info["column"], info["on"]) == (64, 80, "numpy", "cpu")
    assert info["shape"] == {"batch": 8, "inputs": "same"}
    assert {"device", "versions", "threads", "arithmetic"} <= info.keys()
    assert 0 < row["stats"]["median"] < 1
