"""The GPU gate's workers and their turns: one that fails says why and starts afresh, and turns alternate."""

import math
import os
import time

import pytest

from benchmarks import turns


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

    def leaves(self):
        os._exit(3)

    def hangs(self):
        time.sleep(60)

    def turn(self, steps, seconds):
        return [(self.cost, self.cost * 2)]


@pytest.fixture
def worker():
    held = turns.Worker(Actor)
    yield held
    held.end()


@pytest.mark.parametrize(
    ("method", "seconds", "reason"),
    [
        ("raises", 60, "ValueError: first line"),
        ("dies", 60, "its process ended with signal 11"),
        ("leaves", 60, "its process ended with status 3"),
        ("hangs", 2, "no answer in time"),
        ("no_such_method", 60, "AttributeError: .*"),
    ],
)
def test_a_worker_that_fails_says_why_and_starts_afresh(worker, method, seconds, reason):
    assert [worker.call(60, "count") for _ in range(2)] == [1, 2]
    with pytest.raises(turns.LostError, match=f"^{reason}$"):
        worker.call(seconds, method)
    assert worker.call(60, "count") == 1


class Played:
    """A worker without a process, which notes whose turn it is."""

    def __init__(self, name, log, fails_at=None):
        self.name, self.log, self.fails_at = name, log, fails_at

    def call(self, limit, method, steps, seconds):
        assert (method, steps, seconds) == ("turn", 50, 0.2)
        self.log.append(self.name)
        if self.log.count(self.name) == self.fails_at:
            raise turns.LostError("gone")
        return [(1.0, 2.0)]


def played(fails_at=None, until=math.inf, rounds=4):
    log = []
    workers = {name: Played(name, log, fails_at if name == "b" else None) for name in "abc"}
    clock = iter(range(100)).__next__
    result = turns.in_turn(workers, steps=50, seconds=0.2, rounds=rounds, until=until, clock=clock)
    return "".join(log), *result


def test_turns_alternate_and_everybody_begins():
    log, chunks, lost = played(rounds=3)
    assert (log, lost) == ("abcbcacab", {})
    assert chunks == {name: [(1.0, 2.0)] * 3 for name in "abc"}


def test_one_that_is_lost_does_not_stop_the_others():
    log, chunks, lost = played(fails_at=2)
    assert log == "abc" + "bca" + "ac" + "ca"
    assert lost == {"b": "gone"}
    assert set(chunks) == {"a", "c"}
    assert len(chunks["a"]) == 4


def test_turns_end_when_time_is_up():
    assert played(until=1.5)[0] == "abcbcacab"  # the clock says 0, 1, 2


def test_a_turn_waits_once_per_chunk_and_counts_the_waiting():
    now, log = [0.0], []

    def step():
        now[0] += 0.25
        log.append("s")

    def sync():
        now[0] += 2.0
        log.append("|")

    chunks = turns.turn(step, sync, steps=10, seconds=5.0, clock=lambda: now[0])
    assert "".join(log) == "sss|" + ("s" * 10 + "|") * 2
    assert chunks == [(0.25, 0.45)] * 2
    found = turns.summary([(0.1, t) for t in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)])
    assert found == pytest.approx({"median": 3.5, "low": 2.0, "high": 5.0, "asking": 0.1, "chunks": 6})
