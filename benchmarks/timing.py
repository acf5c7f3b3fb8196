"""Measurements: one contestant alone (`measure`) or several in turn (`compare`), reported as a median with a spread.

One idea: on a shared machine the state of the machine changes more than the code does, so contestants are compared
inside rounds. In a round each runs one block of steps, `ratio` compares the blocks of one round, and the median over
the rounds is the answer. Times are in seconds. `clock` and `sleep` can be replaced, so that the logic is tested
without timing anything.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from fastgan.errors import UsageError

# Call and synchronisation: a step starts the work, the second returns when it is finished.
Contestant = tuple[Callable[[], Any], Callable[[], Any]]

WARM_UP = 3  # calls before anything is measured: compilation, allocation
# Unmeasured steps at the start of a block: the caches are full of the previous contestant. One long step is enough.
SETTLE = 2
BLOCK_SECONDS = 0.05
BLOCK_STEPS = 3  # the least that has a median
# Idle OpenBLAS threads spin for 2^26 clock ticks, about 25 ms, and would compete with the next contestant.
PAUSE_SECONDS = 0.05
ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds per step: median, 20th and 80th percentile, number of steps, fastest; `blocks` has a median a round."""

    median: float
    low: float
    high: float
    count: int
    fastest: float
    blocks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """Time of one contestant over that of another: median, 20th and 80th percentile over `rounds` rounds."""

    median: float
    low: float
    high: float
    rounds: int


def measure(
    call: Callable[[], Any],
    sync: Callable[[], Any],
    *,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Repeat `call` for about `seconds`, at least 10 times, after 3 unmeasured calls."""
    _run(call, sync, WARM_UP)
    times: list[float] = []
    while len(times) < 10 or sum(times) < seconds:
        times.append(_timed(call, sync, clock))
    return _summary([times])


def compare(
    contestants: dict[str, Contestant],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Timing]:
    """Run the contestants interleaved until each was measured for `seconds`, and at least 5 rounds.

    A round gives each a pause, unmeasured steps and a block of at least 50 ms; who begins moves on by one from round
    to round, and the last rotation is completed, so that each begins equally often. Raises `UsageError` when there
    is nobody to compare.
    """
    if not contestants:
        raise UsageError("no contestants to compare; pass {name: (call, sync)}")
    names = list(contestants)
    steps = {name: _block_steps(*contestants[name], clock, sleep) for name in names}
    blocks: dict[str, list[list[float]]] = {name: [] for name in names}
    rounds = 0
    while rounds < ROUNDS or rounds % len(names) or _least(blocks) < seconds:
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            blocks[name].append(_block(*contestants[name], steps[name], clock, sleep))
        rounds += 1
    return {name: _summary(blocks[name]) for name in names}


def ratio(a: Timing, b: Timing) -> Ratio:
    """Time of `a` over time of `b`, round by round; both from one `compare`, else `UsageError`."""
    if not a.blocks or len(a.blocks) != len(b.blocks):
        raise UsageError(
            f"timings have {len(a.blocks)} and {len(b.blocks)} rounds; take both from one call of compare"
        )
    low, median, high = np.percentile(np.divide(a.blocks, b.blocks), (20, 50, 80))
    return Ratio(float(median), float(low), float(high), len(a.blocks))


def _block_steps(
    call: Callable[[], Any],
    sync: Callable[[], Any],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> int:
    """Steps that fill a block, from the quickest of a few: the first ones compile."""
    _run(call, sync, WARM_UP)
    quickest = min(_block(call, sync, BLOCK_STEPS, clock, sleep))
    return max(BLOCK_STEPS, ceil(BLOCK_SECONDS / max(quickest, 1e-6)))  # a coarse clock may say 0


def _block(
    call: Callable[[], Any],
    sync: Callable[[], Any],
    steps: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> list[float]:
    sleep(PAUSE_SECONDS)
    _run(call, sync, SETTLE if steps > BLOCK_STEPS else 1)
    return [_timed(call, sync, clock) for _ in range(steps)]


def _run(call: Callable[[], Any], sync: Callable[[], Any], steps: int) -> None:
    for _ in range(steps):
        call()
    sync()


def _timed(call: Callable[[], Any], sync: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    sync()
    return clock() - start


def _least(blocks: dict[str, list[list[float]]]) -> float:
    """Seconds measured of the contestant that was measured least."""
    return min(sum(map(sum, own)) for own in blocks.values())


def _summary(blocks: list[list[float]]) -> Timing:
    times = [seconds for block in blocks for seconds in block]
    low, median, high = np.percentile(times, (20, 50, 80))
    middles = tuple(float(np.median(block)) for block in blocks)
    return Timing(float(median), float(low), float(high), len(times), min(times), middles)
