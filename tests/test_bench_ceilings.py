"""Ceilings: what is timed is what is said, the better of several counts, and shares are never clipped."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.cuda import standing_in

from fastgan.benchmarks import ceilings, turns
from fastgan.benchmarks.columns import Clock
from fastgan.kernels import splitting
from fastgan.threads import cores

MACHINE = {"copy": 10e9, "gemm": 1e12}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small arrays, and nothing kept from one test to the next."""
    monkeypatch.setattr(ceilings, "_copy_size", lambda: 1 << 20)
    monkeypatch.setattr(ceilings, "WIDTHS", (8, 16, 32))
    ceilings.measured.cache_clear()
    yield
    ceilings.measured.cache_clear()


@pytest.fixture
def timed(monkeypatch):
    """Instead of times: what was timed, run once, with chunks that `seconds(name, *arguments)` makes up."""
    found = SimpleNamespace(calls=[], seconds=lambda threads: (0.1, 0.2, float("nan")))

    def turn(step, clock, *, steps, seconds):
        step()
        pool = splitting._pool.get()
        threads = pool[0] if pool else 1
        found.calls.append((step, clock, steps, seconds, threads))
        return [found.seconds(threads)]

    monkeypatch.setattr(turns, "turn", turn)
    return found


# Shares
@pytest.mark.parametrize(
    ("seconds", "moved", "computed", "wanted"),
    [
        (1.0, 10e9, 0, ("copy", 100.0)),
        (2.0, 10e9, 1e11, ("copy", 50.0)),
        (4.0, 10e9, 2e12, ("gemm", 50.0)),
        (0.5, 10e9, 0, ("copy", 200.0)),
        (0.1, 0, 1e12, ("gemm", 1000.0)),
        (1.0, 0, 0, (None, None)),
        (0.0, 10, 10, (None, None)),
        (float("nan"), 10, 10, (None, None)),
    ],
)
def test_the_ceiling_that_binds_and_how_much_of_it_was_reached(seconds, moved, computed, wanted):
    name, percent = ceilings.share(seconds, moved, computed, MACHINE)
    assert (name, percent) == (wanted[0], wanted[1] and pytest.approx(wanted[1]))


# The CPU
def test_of_this_cpu():
    found = ceilings.measured("cpu", seconds=0.05)
    assert set(found) == {"copy", "gemm", "call", "spread", "how"}
    for name in ("copy", "gemm", "call"):
        low, high = found["spread"][name]
        assert 0 < low <= found[name] <= high < math.inf
        assert found["how"][name]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert ceilings.measured("cpu", seconds=0.05) is found  # once per process


def test_time_is_shared_out(timed):
    ceilings.measured("cpu", seconds=6.0)
    assert 3.0 < sum(seconds for _, _, _, seconds, _ in timed.calls) <= 6.0


@pytest.mark.parametrize(
    ("costs", "best"),
    [({1: 0.2, 3: 0.1}, "1 MiB by 3 threads; with 1: "), ({1: 0.1, 3: 0.2}, "1 MiB by 1 thread; with 3: ")],
)
def test_the_better_number_of_threads_copies(timed, monkeypatch, costs, best):
    monkeypatch.setattr(ceilings, "cores", lambda: 3)
    timed.seconds = lambda threads: (0.0, costs[threads], float("nan"))
    (low, rate, high), how = ceilings._copy_by_threads(1.0)
    assert rate == pytest.approx(2 * (1 << 20) / 0.1)  # read and written
    assert low == high == rate
    assert how.startswith(best)
    assert [threads for *_, threads in timed.calls] == [1, 3] * ceilings.ROUNDS


def test_copying_by_threads_copies_everything(monkeypatch):
    arrays = []
    ones = np.ones
    monkeypatch.setattr(ceilings.np, "ones", lambda *args: arrays.append(ones(*args)) or arrays[-1])

    def turn(step, clock, *, steps, seconds):
        from_, to = arrays[-2:]
        from_[:], to[:] = np.arange(from_.size), 0
        step()
        assert (from_ == to).all()
        assert from_.nbytes == 1 << 20
        return [(0.0, 0.1, float("nan"))]

    monkeypatch.setattr(turns, "turn", turn)
    monkeypatch.setattr(ceilings, "cores", lambda: 2)
    ceilings._copy_by_threads(0.1)


def test_one_core_is_asked_once(timed, monkeypatch):
    monkeypatch.setattr(ceilings, "cores", lambda: 1)
    assert ceilings._copy_by_threads(1.0)[1] == "1 MiB by 1 thread"
    assert cores() >= 1


def test_products_are_products_and_the_best_rate_counts(timed):
    costs = iter([1e-9, 1e-9, 1e-8])  # 8 times the work takes as long, then ten times as long
    timed.seconds = lambda threads: (0.0, next(costs), float("nan"))
    (_, rate, _), how = ceilings._products(np, np.matmul, Clock(), 1.0, "a library")
    assert rate == pytest.approx(2 * 16**3 / 1e-9)
    assert how == "16 x 16, float32, a library"
    for step, _, _, _, _ in timed.calls:
        a, b = step.args
        np.testing.assert_allclose(step.keywords["out"], a @ b, rtol=1e-4, atol=1e-4)
        assert a.dtype == b.dtype == step.keywords["out"].dtype == np.float32
        assert len(np.unique(a)) > a.size / 2


def test_products_stop_growing_when_they_take_long(timed):
    timed.seconds = lambda threads: (0.0, 0.04, float("nan"))
    ceilings._products(np, np.matmul, Clock(), 1.0, "")
    assert len(timed.calls) == 1
    timed.seconds = lambda threads: (0.0, 0.02, float("nan"))
    ceilings._products(np, np.matmul, Clock(), 1.0, "")
    assert len(timed.calls) == 1 + 3


def test_a_call_runs_the_kernel_that_does_nothing(timed, monkeypatch):
    ran = []
    monkeypatch.setattr(ceilings, "_nothing", lambda x: ran.append(x.size))
    ceilings._nothing.__name__ = "_nothing"
    ceilings.measured("cpu", seconds=0.1)
    assert ran == [1]
    assert timed.calls[0][2] == ceilings.CALLS


def test_arrays_are_much_larger_than_the_cache(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(ceilings, "memory", lambda: 64 << 30)
    for cache, wanted in (
        (1 << 20, 64 << 20),
        (32 << 20, 128 << 20),
        (384 << 20, 1536 << 20),
        (2 << 30, 4 << 30),
    ):
        monkeypatch.setattr(ceilings, "cache_bytes", lambda cache=cache: cache)
        assert ceilings._copy_size() == wanted
    monkeypatch.setattr(ceilings, "memory", lambda: None)
    assert ceilings._copy_size() == 256 << 20


# A GPU: what would run there, on the stand-in
@pytest.fixture
def gpu(monkeypatch):
    pytest.importorskip("numba.cuda")
    monkeypatch.setattr(ceilings, "CupyClock", Clock)
    with standing_in():
        import cupy

        cupy.cuda.runtime.memGetInfo = lambda: (16 << 20, 32 << 20)
        cupy.freed = []
        cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: cupy.freed.append(1))
        yield cupy


def test_of_a_gpu_by_its_events(gpu, timed):
    timed.seconds = lambda threads: (1e-6, 0.5, 0.25)
    found = ceilings.measured("cuda")
    assert found["copy"] == pytest.approx(2 * (2 << 20) / 0.25)  # an eighth of what is free
    assert found["gemm"] == pytest.approx(2 * 8**3 / 0.25)
    assert found["launch"] == pytest.approx(1e-6)  # the host's part alone
    assert set(found["how"]) == set(found["spread"]) == {"copy", "gemm", "launch"}
    assert sum(seconds for _, _, _, seconds, _ in timed.calls) <= 2.0
    assert gpu.freed == [1]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_timed_on_a_gpu(gpu, timed):
    ceilings.measured("cuda", seconds=0.1)
    copy, launch, *products = timed.calls
    to, from_ = copy[0].args
    assert (to.get() == from_.get()).all()
    assert to.nbytes == 2 << 20
    assert launch[2] == ceilings.LAUNCHES
    assert launch[0].args[0] == 1
    for step, *_ in products:
        a, b = step.args
        np.testing.assert_allclose(step.keywords["out"].get(), a.get() @ b.get(), rtol=1e-4, atol=1e-4)


def test_a_gpu_with_much_memory_copies_a_gigabyte_at_most(gpu, timed, monkeypatch):
    monkeypatch.setattr(ceilings, "GPU_COPY", 1 << 20)
    ceilings.measured("cuda", seconds=0.1)
    assert timed.calls[0][0].args[0].nbytes == 1 << 20
