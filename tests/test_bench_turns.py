"""Workers and their turns: one that fails says why and starts afresh, turns alternate, ratios are taken round by round.

Nothing here is timed: clocks are played, so every expected number is exact.
"""

import math
import os
import signal
import time
from types import SimpleNamespace

import pytest

from fastgan.benchmarks import turns
from fastgan.benchmarks.columns import Clock
from fastgan.errors import UsageError

pytestmark = pytest.mark.slow


class Actor:
    """What a worker holds: good turns and the ways to fail."""

    def __init__(self, cost=0.5):
        self.cost, self.asked = cost, 0

    def count(self):
        self.asked += 1
        return self.asked

    def raises(self):
        raise ValueError("first line\nsecond line")

    def dies(self):
        os.kill(os.getpid(), 11)

    def held(self):
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def leaves(self):
        os._exit(3)

    def hangs(self):
        time.sleep(60)

    def turn(self, steps, seconds):
        return [(self.cost, self.cost * 2)]


@pytest.fixture(scope="module")
def worker():
    """One for all tests: each process that starts takes half a second."""
    held = turns.Worker(Actor)
    yield held
    held.end()


@pytest.mark.parametrize(
    ("method", "seconds", "reason"),
    [
        ("raises", 60, "ValueError: first line"),
        ("dies", 60, "its process ended with signal 11"),
        ("leaves", 60, "its process ended with status 3"),
        ("hangs", 0.1, "no answer in time"),
        ("no_such_method", 60, "AttributeError: .*"),
    ],
)
def test_a_worker_that_fails_says_why_and_starts_afresh(worker, method, seconds, reason):
    before = worker.call(60, "count")
    assert worker.call(60, "count") == before + 1
    with pytest.raises(turns.LostError, match=f"^{reason}$"):
        worker.call(seconds, method)
    assert worker.call(60, "count") == 1


@pytest.mark.parametrize(("busy", "rested"), [(0.0, 0.01), (0.1, 0.11), (9.0, turns.LONGEST)])
def test_a_process_rests_when_its_threads_are_idle_or_nobody_waits_any_more(busy, rested, monkeypatch):
    """`busy` seconds long a thread uses a core, as BLAS's do that wait for work."""
    now = [0.0]
    played = SimpleNamespace(
        perf_counter=lambda: now[0],
        process_time=lambda: min(now[0], busy),
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    monkeypatch.setattr(turns, "time", played)
    turns.rest()
    assert now[0] == pytest.approx(rested, abs=0.0101)


def test_a_process_answers_when_it_rests(monkeypatch):
    log = []
    monkeypatch.setattr(turns, "rest", lambda: log.append("rest"))
    monkeypatch.setattr(turns.signal, "signal", lambda *_: None)
    asked = iter([("count", ())])
    pipe = SimpleNamespace(recv=lambda: next(asked, None) or stop(), send=lambda answer: log.append(answer))

    def stop():
        raise EOFError

    turns._serve(pipe, Actor, ())
    assert log == ["rest", (True, 1)]


class Played:
    """A worker without a process, whose steps take `cost` times the present slowness of the machine."""

    def __init__(self, name, log, cost=1.0, fails_at=None, slowness=lambda: 1.0):
        self.name, self.log, self.cost, self.fails_at, self.slowness = name, log, cost, fails_at, slowness

    def call(self, limit, method, count, seconds):
        assert (method, count, seconds) == ("turn", 50, 0.2)
        self.log.append(self.name)
        if self.log.count(self.name) == self.fails_at:
            raise turns.LostError("gone")
        return [(0.5, self.cost * self.slowness(), math.nan)]


def played(fails_at=None, until=math.inf, rounds=4, **more):
    log = []
    workers = {name: Played(name, log, fails_at=fails_at if name == "b" else None) for name in "abc"}
    clock = iter(range(100)).__next__
    result = turns.in_turn(
        workers,
        counts=dict.fromkeys("abc", 50),
        seconds=0.2,
        rounds=rounds,
        until=until,
        clock=clock,
        **more,
    )
    return "".join(log), *result


def test_ctrl_c_does_not_reach_a_process_that_starts(worker):
    """It would print a traceback: the signal is for the process that asks."""
    assert worker.call(60, "held")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_nobody_always_follows_the_same():
    log = played(rounds=6)[0]
    rounds = [log[i : i + 3] for i in range(0, len(log), 3)]
    assert {"ab" in order for order in rounds} == {"ba" in order for order in rounds} == {True, False}
    assert {order[0] for order in rounds} == set("abc")


def test_a_worker_that_died_unasked_says_so(worker):
    worker.call(60, "count")
    worker._process.kill()
    worker._process.join()
    with pytest.raises(turns.LostError, match=r"^its process ended with signal 9$"):
        worker.call(60, "count")
    assert worker.call(60, "count") == 1


def test_turns_alternate():
    log, blocks, lost = played(rounds=3)
    assert (log, lost) == ("abcacbcab", {})
    assert {name: [[chunk[:2] for chunk in block] for block in own] for name, own in blocks.items()} == {
        name: [[(0.5, 1.0)]] * 3 for name in "abc"
    }


def test_one_that_is_lost_does_not_stop_the_others():
    log, blocks, lost = played(fails_at=2)
    assert log == "abc" + "acb" + "ac" + "ac"
    assert lost == {"b": "gone"}
    assert set(blocks) == {"a", "c"}
    assert len(blocks["a"]) == 4


def test_turns_end_when_time_is_up_but_not_before_three():
    assert played(until=2.5, rounds=9)[0] == "abc" + "acb" + "cab" + "cba"  # the clock says 0, 1, 2, 3
    assert played(until=-1.0)[0] == "abc" + "acb" + "cab"  # fewer have no spread
    assert played(until=-1.0, last=0.5)[0] == "abc" + "acb"  # but somebody waits for the run to end


class PlayedClock(Clock):
    """A clock that steps move on, and a device whose work takes a tenth of that."""

    def __init__(self):
        self.time, self.log = 0.0, []

    def now(self):
        return self.time

    def wait(self):
        self.time += 2.0
        self.log.append("|")

    def mark(self):
        return self.time

    def between(self, start, end):
        return (end - start) / 10

    def step(self):
        self.time += 0.25
        self.log.append("s")


def test_a_turn_waits_once_per_chunk_and_counts_the_waiting():
    clock = PlayedClock()
    chunks = turns.turn(clock.step, clock, steps=10, seconds=5.0)
    assert "".join(clock.log) == "sss|" + ("s" * 10 + "|") * 2
    assert chunks == [(0.25, pytest.approx(0.45), pytest.approx(0.025))] * 2


def test_a_summary_is_of_all_chunks_and_keeps_the_rounds():
    blocks = [[(0.1, t, 0.01 * t) for t in ts] for ts in ((1.0, 2.0, 3.0), (6.0, 5.0, 4.0))]
    found = turns.summary(blocks)
    assert found.pop("blocks") == [2.0, 5.0]
    wanted = {
        "median": 3.5,
        "low": 2.0,
        "high": 5.0,
        "fastest": 1.0,
        "asking": 0.1,
        "chunks": 6,
        "device": 0.035,
    }
    assert found == pytest.approx(wanted)
    assert turns.summary([[(0.1, 1.0, math.nan)]])["device"] is None


def test_a_machine_that_slows_down_does_not_move_the_ratio():
    """Throttling doubles every time halfway: the times see it, the ratio of each round does not."""
    log = []
    workers = {
        name: Played(name, log, cost, slowness=lambda: 2.0 if len(log) > 10 else 1.0)
        for name, cost in (("a", 1.0), ("b", 1.5))
    }
    blocks, _ = turns.in_turn(workers, counts={"a": 50, "b": 50}, seconds=0.2, rounds=10, until=math.inf)
    a, b = (turns.summary(blocks[name]) for name in "ab")
    assert a["high"] == 2 * a["low"]
    assert turns.ratio(b["blocks"], a["blocks"]) == pytest.approx((1.5, 1.5, 1.5))


def test_ratio_reports_the_spread_over_rounds():
    assert turns.ratio((2, 4, 6, 8, 40), (2, 2, 2, 2, 8)) == pytest.approx((1.8, 3, 4.2))  # of 1 2 3 4 5
    with pytest.raises(UsageError, match="2 and 1 rounds"):
        turns.ratio((1, 2), (1,))
    with pytest.raises(UsageError, match="0 and 0 rounds"):
        turns.ratio((), ())
