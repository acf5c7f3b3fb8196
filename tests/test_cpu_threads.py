"""Threads of the CPU: how many there are, whose they are in a run, and what becomes of an error in one."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from tiny import samples, tiny

import fastgan as fg
from fastgan import threads
from fastgan.kernels import dense, splitting

LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(
    ("wished", "found"),
    [
        (("", ""), 8),
        (("3", ""), 3),
        (("3", "2"), 2),
        (("2", "3"), 2),
        (("0", "many"), 8),
        (("99", "-1"), 8),
    ],
)
def test_cores_are_those_allowed_or_fewer_where_that_is_asked_for(monkeypatch, wished, found):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, value in zip(LIMITS, wished, strict=True):
        monkeypatch.setenv(name, value)
    assert threads.cores() == found


@pytest.mark.parametrize(("count", "found"), [(6, 6), (None, 1)])
def test_cores_where_the_system_does_not_say_which(monkeypatch, count, found):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert threads.cores() == found


def blas():
    """The threads of BLAS now."""
    pools = pytest.importorskip("threadpoolctl").threadpool_info()
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}


def test_kernels_or_blas_have_threads_and_not_both(monkeypatch):
    control = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "cores", lambda: 3)
    with control.threadpool_limits(2, user_api="blas"):
        for limit, split, wanted, pieces in (
            (None, True, {1}, 3),
            (None, False, {2}, 1),
            (1, False, {1}, 1),
        ):
            with threads.cpu_threads(limit, split=split):
                assert blas() == wanted
                assert len(splitting.edges(100)) == pieces + 1
            assert blas() == {2}
            assert splitting.edges(100) == [0, 100]


@pytest.mark.parametrize(("name", "pieces"), [("igul-mnist-dcgan", 3), ("cs231n-vanilla", 1), ("digits", 1)])
def test_a_run_with_convolutions_has_the_kernels_threads(monkeypatch, name, pieces):
    monkeypatch.setattr("fastgan.gan.sharing.cores", lambda: 3)
    recipe, seen = tiny(name), []

    class Look(fg.Callback):
        def on_step(self, trainer):
            seen.append(len(splitting.edges(100)) - 1)

    fg.Trainer(recipe, samples(recipe), device="cpu").fit(2, [Look()])
    assert seen == [pieces] * 2
    assert splitting.edges(100) == [0, 100]


def test_without_threadpoolctl_a_run_goes_on(monkeypatch):
    """It changes speed only."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with threads.cpu_threads(1), threads.cpu_threads(None, split=True):
        pass
    assert splitting.edges(100) == [0, 100]


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_an_error_is_raised_when_all_pieces_are_done(fails):
    """Or one would still write to the arrays of a step that is over."""
    done, failed = [], threading.Event()

    def work(first, last):
        if first == fails:
            failed.set()
            raise ValueError(f"piece {first}")
        assert failed.wait(10)
        threading.Event().wait(0.05)
        done.append(first)

    with splitting.over(3):
        with pytest.raises(ValueError, match=f"piece {fails}"):
            splitting.split(work, 3)
        assert sorted(done) == [k for k in range(3) if k != fails]
        splitting.split(lambda first, last: done.append(first), 3)  # and the pool works as before
    assert len(done) == 5


def test_blocks_nest_and_end_with_an_error():
    with splitting.over(3):
        with splitting.over(2):
            assert splitting.edges(100) == [0, 50, 100]
        with splitting.over(1):
            assert splitting.edges(100) == [0, 100]
        assert len(splitting.edges(100)) == 4
    with pytest.raises(ZeroDivisionError), splitting.over(2):
        raise ZeroDivisionError
    assert splitting.edges(100) == [0, 100]


def test_pools_are_closed_with_their_block():
    before = threading.active_count()
    for _ in range(5):
        with splitting.over(3):
            splitting.split(lambda first, last: None, 3)
    assert threading.active_count() == before


def test_each_thread_has_scratch_memory_of_its_own():
    found, both = {}, threading.Barrier(2)

    def work(first, last):
        found[first] = splitting.scratch("a test", 7)
        both.wait(10)

    with splitting.over(2):
        splitting.split(work, 2)
        assert found[0].base is not found[1].base
        assert len(found[0]) == len(found[1]) == 7


def test_scratch_memory_grows_to_the_largest_and_is_used_again(monkeypatch):
    monkeypatch.setattr(splitting, "_own", threading.local())
    first = splitting.scratch("a", 5)
    assert splitting.scratch("a", 3).base is first.base
    assert splitting.scratch("b", 5).base is not first.base
    larger = splitting.scratch("a", 6)
    assert larger.base is not first.base
    assert splitting.scratch("a", 5).base is larger.base
    assert sum(buffer.size for buffer in vars(splitting._own).values()) == 11


@pytest.mark.parametrize("shape", [(7, 3, 2), (2, 3, 7), (5, 4, 5), (1, 6, 1), (1, 2, 9)])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_products_are_shared_by_rows_or_by_columns(monkeypatch, shape, threads):
    """Of whole numbers, so that no order of sums shows; of transposed views too, and into a given place."""
    monkeypatch.setattr(dense, "LEAST", 0)
    n, i, o = shape
    rng, done = np.random.default_rng(0), []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda x, w, out=None: done.append(1) or matmul(x, w, out=out))
    x, w = (rng.integers(-9, 9, s).astype(np.float32) for s in ((n, i), (i, o)))
    place = np.full((n, o), np.nan, np.float32)
    with splitting.over(threads):
        for a, b in ((x, w), (np.asfortranarray(x), w), (x, np.asfortranarray(w))):
            assert np.array_equal(dense.matmul(a, b), x @ w)
        assert dense.matmul(x, w, out=place) is place
    assert np.array_equal(place, x @ w)
    assert len(done) == 4 * min(threads, max(n, o))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_no_threads_but_its_own():
    """A pool's threads stay behind: work that is given to one would never be done."""
    code = """
import os
from fastgan.kernels import dense, splitting
with splitting.over(2):
    splitting.split(lambda first, last: None, 2)
    child = os.fork()
    if not child:
        splitting.split(lambda first, last: None, 2)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
