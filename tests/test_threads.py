"""Threads of the CPU: how many there are, whose they are in a run, and what becomes of them while others want cores.

The machine on which others come and go is played: no real clock and no real load.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import TINY, ok, refused
from tiny import samples, tiny

import fastgan as fg
from fastgan import threads
from fastgan.gan import load, sharing
from fastgan.gan.sharing import Machine, Threads
from fastgan.kernels import dense, splitting


def blas():
    pools = pytest.importorskip("threadpoolctl").threadpool_info()
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}


@pytest.mark.parametrize(
    ("wished", "count", "found"),
    [
        (("", ""), 8, 8),
        (("3", ""), 8, 3),
        (("3", "2"), 8, 2),
        (("2", "3"), 8, 2),
        (("0", "many"), 8, 8),
        (("99", "-1"), 8, 8),
        (("", ""), None, 6),  # where the system does not say which
    ],
)
def test_cores_are_those_allowed_or_fewer_where_that_is_asked_for(monkeypatch, wished, count, found):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)), raising=False)
    if count is None:
        monkeypatch.delattr(os, "sched_getaffinity")
    for name, value in zip(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), wished, strict=True):
        monkeypatch.setenv(name, value)
    assert threads.cores() == found


def test_kernels_or_blas_have_threads_and_not_both(monkeypatch):
    control = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "cores", lambda: 3)
    with control.threadpool_limits(2, user_api="blas"):
        for limit, split, wanted, pieces in ((None, True, {1}, 3), (None, False, {2}, 1), (1, False, {1}, 1)):
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
    assert threads.blas_threads_now() == 1
    assert threads.blas_kernels() == "unknown BLAS"


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


def test_blocks_nest_end_with_an_error_and_close_their_pools():
    before = threading.active_count()
    with splitting.over(3):
        with splitting.over(2):
            assert splitting.edges(100) == [0, 50, 100]
        with splitting.over(1):
            assert splitting.edges(100) == [0, 100]
        assert len(splitting.edges(100)) == 4
        splitting.split(lambda first, last: None, 3)
    with pytest.raises(ZeroDivisionError), splitting.over(2):
        splitting.split(lambda first, last: 1 // 0, 2)
    assert splitting.edges(100) == [0, 100]
    assert threading.active_count() == before


def test_each_thread_has_scratch_memory_of_its_own_which_grows_and_is_used_again(monkeypatch):
    found, both = {}, threading.Barrier(2)

    def work(first, last):
        found[first] = splitting.scratch("a test", 7)
        both.wait(10)

    with splitting.over(2):
        splitting.split(work, 2)
        assert found[0].base is not found[1].base
        assert len(found[0]) == len(found[1]) == 7
    monkeypatch.setattr(splitting, "_own", threading.local())
    first = splitting.scratch("a", 5)
    assert splitting.scratch("a", 3).base is first.base
    assert splitting.scratch("b", 5).base is not first.base
    larger = splitting.scratch("a", 6)
    assert larger.base is not first.base
    assert splitting.scratch("a", 5).base is larger.base
    assert sum(buffer.size for buffer in vars(splitting._own).values()) == 11


@pytest.mark.parametrize("shape", [(7, 3, 2), (2, 3, 7), (5, 4, 5), (1, 6, 1), (1, 2, 9)])
@pytest.mark.parametrize("many", [1, 2, 3])
def test_products_are_shared_by_rows_or_by_columns(monkeypatch, shape, many):
    """Of whole numbers, so that no order of sums shows; of transposed views too, and into a given place."""
    monkeypatch.setattr(dense, "LEAST", 0)
    n, i, o = shape
    rng, done = np.random.default_rng(0), []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda x, w, out=None: done.append(1) or matmul(x, w, out=out))
    x, w = (rng.integers(-9, 9, s).astype(np.float32) for s in ((n, i), (i, o)))
    place = np.full((n, o), np.nan, np.float32)
    with splitting.over(many):
        for a, b in ((x, w), (np.asfortranarray(x), w), (x, np.asfortranarray(w))):
            assert np.array_equal(dense.matmul(a, b), x @ w)
        assert dense.matmul(x, w, out=place) is place
    assert np.array_equal(place, x @ w)
    assert len(done) == 4 * min(many, max(n, o))


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


# A run's threads while other programs come and go


class Played(Machine):
    """A machine whose clock the test turns, and on which others take `busy` of the cores."""

    def __init__(self, cores):
        self.cores, self.now, self.had, self.busy = cores, 0.0, 0.0, 0.0

    def clock(self):
        return self.now

    def free(self):
        return self.had

    def turn(self, own, seconds=sharing.LOOK):
        """Seconds pass, in which `own` threads run without rest and share the cores fairly with the others."""
        busy = min(self.cores, self.busy, self.cores * self.busy / (own + self.busy)) if self.busy else 0
        short = self.busy <= self.cores - own
        self.had += (self.cores - (self.busy if short else busy)) * seconds
        self.now += seconds


@pytest.fixture
def set_to(monkeypatch):
    """The numbers of BLAS threads that were asked for; its own is 4."""
    asked = []
    monkeypatch.setattr(sharing, "limit_blas_threads", asked.append)
    monkeypatch.setattr(sharing, "blas_threads_now", lambda: 4)
    monkeypatch.setattr(sharing, "threads_wished", lambda: [])
    return asked


def used(machine, runs, *loads):
    """The threads of the run second by second, where others are `busy` for so many seconds: (busy, seconds)."""
    seen = []
    for busy, seconds in loads:
        machine.busy = busy
        for _ in range(seconds):
            machine.turn(runs.used)
            before = runs.used
            assert runs.look() == (before if runs.used != before else 0)
            seen.append(runs.used)
    return seen


@pytest.mark.parametrize(
    ("cores", "loads", "wanted"),
    [
        (4, [(0, 60)], {4}),  # a quiet machine
        (4, [(0.1, 60)], {4}),  # nearly
        (4, [(0, 5), (3, 1), (0, 30)], {4}),  # a short load
        (4, [(0, 5), (4, 3)], {4, 2}),
        (4, [(1, 60)], {4, 3}),
        (4, [(400, 60)], {4, 1}),
        (8, [(1, 60)], {4}),  # there is another core
    ],
)
def test_threads_follow_what_is_left_of_the_cores(set_to, cores, loads, wanted):
    runs = Threads(None, split=False, machine=(machine := Played(cores)))
    with runs.running():
        assert set(used(machine, runs, *loads)) == wanted
    assert len(set_to) == len(wanted) - 1


def test_they_come_back_when_the_load_has_gone_for_long_and_never_flap(set_to):
    """A load that comes and goes every quarter of a minute, for an hour."""
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    with runs.running():
        assert used(machine, runs, (8, 5))[-1] < 4
        back = used(machine, runs, (0, 30))
        assert back[0] < 4
        assert back[-1] == 4
        used(machine, runs, *[(8, 15), (0, 15)] * 120)
        assert len(set_to) <= 8
        assert used(machine, runs, (0, 3600))[-1] == 4


@pytest.mark.parametrize(
    ("given", "wished"),
    [
        ({"wanted": 3, "split": False}, []),
        ({"wanted": None, "split": True}, []),
        ({"wanted": None, "split": False, "small": True}, []),
        ({"wanted": None, "split": False}, [2]),
    ],
)
def test_a_number_that_was_asked_for_is_kept(set_to, monkeypatch, given, wished):
    monkeypatch.setattr(sharing, "threads_wished", lambda: wished)
    runs = Threads(**given, machine=(machine := Played(4)))
    with runs.running():
        assert set(used(machine, runs, (50, 60))) == {runs.most}
    assert not set_to


def test_a_second_fit_begins_as_the_first_ended_and_forgets_what_went_on_between(set_to):
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    with runs.running():
        machine.busy = 4
        machine.turn(4, 1.5)
        runs.look()
    machine.turn(0, 100)
    with runs.running():
        assert set(used(machine, runs, (0, 1), (4, 1), (0, 5))) == {4}
        last = used(machine, runs, (4, 3))[-1]
        assert last < 4
    with runs.running():
        assert used(machine, runs, (0, 5)) == [last] * 5


@pytest.mark.parametrize("text", [None, "", "cpu 1 2\nintr 7\n", "cpu0 a b c d e f\n", "cpu0 1 1 1 0 0 1\n"])
def test_where_the_system_does_not_say_nothing_changes(set_to, monkeypatch, text):
    def read(path, **_):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert Machine().free() is None
    runs = Threads(None, split=False, machine=(machine := Played(4)))
    machine.free = Machine().free
    with runs.running():
        assert set(used(machine, runs, (99, 9))) == {4}


def test_what_the_system_says(monkeypatch):
    """Idle time, waiting for the disk included, of the cores that the process may use, and its own."""
    text = "cpu 9 9 9 9 9 9\ncpu0 1 1 1 300 50 1\ncpu1 1 1 1 1000 0 1\ncpu2 1 1 1 7 0 1\nintr 5\n"
    monkeypatch.setattr(Path, "read_text", lambda path, **_: text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2}, raising=False)
    monkeypatch.setattr(sharing, "process_time", lambda: 20.0)
    assert Machine().free() == pytest.approx(357 / os.sysconf("SC_CLK_TCK") + 20)


def test_the_number_is_blas_s_in_the_block_and_what_it_was_after_it(monkeypatch):
    monkeypatch.setattr(sharing, "threads_wished", lambda: [])
    with threads.blas_threads(2):
        runs = Threads(None, split=False, machine=(machine := Played(2)))
        with runs.running():
            assert (runs.used, blas()) == (2, {2})
            used(machine, runs, (2, 5))
            assert (runs.used, blas()) == (1, {1})
        assert blas() == {2}
        with Threads(1, split=False).running():
            assert blas() == {1}


def test_a_run_says_when_it_takes_fewer(monkeypatch, capsys):
    """Looked at after every step; told to callbacks, and printed."""
    from fastgan.cli.progress import shown

    seen = []

    class Look(fg.Callback):
        def on_threads(self, trainer, before):
            seen.append((trainer.steps_done, before, trainer.threads.used))

    recipe = tiny("digits")
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")

    def look():
        if trainer.steps_done == 3:
            trainer.threads.most, trainer.threads.used = 2, 1
            return 2
        return 0

    monkeypatch.setattr(trainer.threads, "look", look)
    with shown(5) as callbacks:
        trainer.fit(5, [Look(), *callbacks])
    assert seen == [(3, 2, 1)]
    assert "--threads" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_the_option_is_kept_with_the_run(monkeypatch, capsys):
    from fastgan.cli import train as module

    ok(capsys, "train", "--threads", 3, "--steps", 2, *TINY, "--out", "run")
    assert "\nthreads = 3\n" in Path("run/config.toml").read_text()
    ok(capsys, "train", "--steps", 1, *TINY, "--out", "free")
    assert "threads" not in Path("free/config.toml").read_text()
    assert load("run", device="cpu", threads=2).threads.wanted == 2
    for words in (("train",), ("train", "--config", "run/config.toml"), ("resume", "run", "--steps", 9)):
        assert "1 to 1024" in refused(capsys, 2, *words, "--threads", 0)
    found = []
    monkeypatch.setattr(module, "_fit", lambda trainer, *_, **__: found.append(trainer.threads.wanted) or 0)
    ok(capsys, "train", "--config", "run/config.toml", "--out", "again")
    ok(capsys, "resume", "run", "--steps", 9)
    ok(capsys, "resume", "run", "--steps", 9, "--threads", 5)
    assert found == [3, 3, 5]
