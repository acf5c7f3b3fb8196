"""Does the timing tell the truth, on this machine, now? Work whose length is known another way must be found.

One idea: the machinery that times everything else (`turns`) is asked about work that cannot be mistaken. First, lengths
kept by another clock, each chunk longer than the one before, done at once, only when it is waited for, and on a GPU:
a wait that is left out, the host's time taken for the whole, or a chunk that is lost all show. Then, interleaved in
processes of their own, the same arithmetic against itself, a tenth more of it, and twice as much; the amount changes
from round to round, as a machine's speed does, so that only ratios within a round come out right. On a busy machine
some of it is not found: that is said, nothing fails, and the test is not repeated until it passes.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks import turns
from fastgan.benchmarks.columns import Clock, Column, CupyClock

BUSY = (
    "the timing was disturbed, as on a busy machine, so spreads are wide and small differences mean nothing"
)
UNIT = 0.001  # seconds
STEPS = 2  # in a chunk of known length
WEIGHTS = (1, 2, 3)  # how much arithmetic there is in one round after another
ROUNDS = {"full": 15, "quick": 9, "tiny": 6}
TURN = {"full": 0.025, "quick": 0.02, "tiny": 0.01}  # seconds
LIMIT = 4.0  # seconds of interleaved rounds, after which no more begin
KNOWN, ALIKE = 0.02, 0.03  # how far off a known length and a ratio may be found
ASKING = 0.1  # of the whole time, at most, is the host's where work is done later
WORK = {"once": 1.0, "again": 1.0, "a tenth more": 1.1, "twice": 2.0}
FAILURES = {
    "again": "equal work differed by {off}",
    "a tenth more": "a tenth more work took {found:.3f} times as long, and {low:.3f} in one of five rounds",
    "twice": "twice the work took {found:.3f} times as long, and {low:.3f} in one of five rounds",
}
PASSES = 100  # of `divide`, to find out how long one takes

SPIN = """
extern "C" __global__ void spin(long long nanoseconds) {
    long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now)); while (now - start < nanoseconds);
}
"""


@dataclass(frozen=True)
class Check:
    """What was looked for and what was found, as multiples of what it is held against, and how far off it may be."""

    name: str
    wanted: float
    found: float  # median
    low: float  # 20th and 80th percentile
    high: float
    allowed: float
    failure: str  # what it means when it was not found, for people

    @property
    def passed(self) -> bool:
        """Whether it was found, and more work in nearly all rounds; NaN was not."""
        hidden = self.wanted > 1 and not self.low > 1
        return abs(self.found - self.wanted) <= self.allowed and not hidden


def run(columns: Mapping[str, Column], size: str = "full") -> dict[str, Any]:
    """The self-test, in about 4 seconds: {"passed", "lines" for people, "checks", "rounds", "seconds"}.

    With a GPU among the columns of fastgan, its clocks are tested too.
    """
    start = time.perf_counter()
    on_gpu = any(column.own and column.where() == "cuda" for column in columns.values())
    blocks, lost = interleaved(size, on_gpu)
    later = {"later, here": [Late().turn(STEPS, TURN[size])]}
    later |= {f"later, {name}": blocks[name] for name in ("another process", "the GPU") if name in blocks}
    checks = lengths("here", [Known().turn(STEPS, TURN[size])])
    for where, own in later.items():
        checks += [*lengths(where, own), asking(where, own)]
    checks += ratios({name: blocks[name] for name in WORK if name in blocks})
    rounds = max(map(len, blocks.values()), default=0)
    return {
        "passed": all(check.passed for check in checks) and not lost,
        "lines": [told(checks, lost)],
        "checks": [asdict(check) | {"passed": check.passed} for check in checks],
        "rounds": rounds,
        "seconds": time.perf_counter() - start,
    }


def interleaved(size: str, on_gpu: bool) -> tuple[dict[str, list[list[turns.Chunk]]], dict[str, str]]:
    """Chunks by contestant, a list per round, and why some were lost."""
    passes = passes_in(UNIT)
    workers = {name: turns.Worker(Chain, round(passes * amount)) for name, amount in WORK.items()}
    workers["another process"] = turns.Worker(Late)
    if on_gpu:
        workers["the GPU"] = turns.Worker(OnGpu)
    counts = {name: 1 if name in WORK else STEPS for name in workers}
    try:
        for worker in workers.values():  # all start at once, before the rounds
            worker.ask("ready")
        lost = _lost_at_start(workers)
        there = {name: worker for name, worker in workers.items() if name not in lost}
        until = time.perf_counter() + LIMIT
        pace: dict[str, Any] = {"seconds": TURN[size], "rounds": ROUNDS[size], "until": until}
        blocks, more = turns.in_turn(there, counts=counts, **pace)
        return blocks, lost | more
    finally:
        for worker in workers.values():
            worker.end()


def _lost_at_start(workers: Mapping[str, turns.Worker]) -> dict[str, str]:
    lost = {}
    for name, worker in workers.items():
        try:
            worker.answer(turns.TURN_LIMIT)
        except turns.LostError as reason:
            lost[name] = str(reason)
    return lost


def ticks() -> int:
    """Nanoseconds of a clock that the timing does not use: the oscillator's own, which no time server corrects."""
    if hasattr(time, "CLOCK_MONOTONIC_RAW"):
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    return time.monotonic_ns()


def spin(seconds: float) -> None:
    """Keep the CPU busy for so long, by `ticks`."""
    end = ticks() + round(seconds * 1e9)
    while ticks() < end:
        pass


def divide(x: NDArray[Any], count: int) -> None:
    """x = pi / x, so often: each pass needs the one before, and x alternates between two values."""
    for _ in range(count):
        np.divide(np.pi, x, out=x)


def numbers() -> NDArray[Any]:
    """What `divide` works on: 16 KiB, in the nearest cache."""
    return np.linspace(1.1, 1.9, 2048)


def passes_in(seconds: float) -> int:
    """How often `divide` goes over its numbers in so long, about."""
    x = numbers()
    chunks = turns.turn(lambda: divide(x, PASSES), Clock(), steps=1, seconds=5 * UNIT)
    return max(10, round(seconds * PASSES / min(total for _, total, _ in chunks)))


def length(chunk: int) -> float:
    """Seconds of a step of known length in that chunk of a turn; chunk 0 is what is not measured."""
    return UNIT * (1 + chunk / 4)


class Known(Clock):
    """Work of known length, done at once, and its clock, whose `wait` ends a chunk."""

    def __init__(self) -> None:
        self.chunk = 0

    def ready(self) -> bool:
        """Say that the process has started."""
        return bool(self.turn(1, 0.0))

    def turn(self, count: int, seconds: float) -> list[turns.Chunk]:
        """Chunks of `count` steps."""
        self.chunk = 0
        return turns.turn(self.step, self, steps=count, seconds=seconds)

    def step(self) -> None:
        """Last as long as a step of this chunk does."""
        spin(length(self.chunk))

    def wait(self) -> None:
        """From here on it is the next chunk."""
        self.chunk += 1


class Late(Known):
    """The same, done when it is waited for, as work on a GPU may be."""

    owed = 0.0

    def step(self) -> None:
        """Ask for work."""
        self.owed += length(self.chunk)

    def wait(self) -> None:
        """Do what was asked for."""
        spin(self.owed)
        self.owed = 0.0
        super().wait()


class OnGpu(Known):
    """The same, of a GPU's own clock, timed by its events as well."""

    def __init__(self) -> None:
        import cupy

        super().__init__()
        self.device, self.kernel = CupyClock(), cupy.RawKernel(SPIN, "spin")

    def step(self) -> None:
        """Launch a kernel that lasts so long."""
        self.kernel((1,), (1,), (np.int64(round(length(self.chunk) * 1e9)),))

    def wait(self) -> None:
        """For the device."""
        self.device.wait()
        super().wait()

    def mark(self) -> Any:
        """An event of the device."""
        return self.device.mark()

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two."""
        return self.device.between(start, end)


class Chain:
    """Arithmetic of a known amount, by the round."""

    def __init__(self, passes: int) -> None:
        self.passes, self.round, self.x = passes, 0, numbers()

    def ready(self) -> bool:
        """Say that the process has started."""
        divide(self.x, self.passes)
        return True

    def turn(self, count: int, seconds: float) -> list[turns.Chunk]:
        """Chunks of the round that it is now."""
        passes = self.passes * WEIGHTS[self.round % len(WEIGHTS)]
        self.round += 1
        return turns.turn(lambda: divide(self.x, passes), Clock(), steps=count, seconds=seconds)


def lengths(where: str, blocks: Sequence[Sequence[turns.Chunk]]) -> list[Check]:
    """Whether chunks last as long as they are known to, in all and by the device's events where there are any."""
    chunks = [(k, chunk) for block in blocks for k, chunk in enumerate(block, 1)]
    found = {f"known length, {where}": [total / length(k) for k, (_, total, _) in chunks]}
    by_events = [device / length(k) for k, (_, _, device) in chunks]
    if not np.isnan(by_events).all():
        found[f"known length, {where}, by its events"] = by_events
    failure = "work of known length was measured as {percent} of it"
    return [
        _check(name, 1.0, np.percentile(own, (20, 50, 80)), KNOWN, failure) for name, own in found.items()
    ]


def asking(where: str, blocks: Sequence[Sequence[turns.Chunk]]) -> Check:
    """Whether next to none of the time of work that is done later is taken for the host's."""
    found = [asked / length(k) for block in blocks for k, (asked, _, _) in enumerate(block, 1)]
    failure = "{percent} of the time of work that is done later was taken for the host's"
    return _check(f"asking, {where}", 0.0, np.percentile(found, (20, 50, 80)), ASKING, failure)


def ratios(blocks: Mapping[str, list[list[turns.Chunk]]]) -> list[Check]:
    """Time of each amount of arithmetic over that of "once", round by round."""
    medians = {name: turns.summary(own)["blocks"] for name, own in blocks.items()}
    checks = []
    for name, words in FAILURES.items():
        if {name, "once"} <= set(medians):
            found, allowed = turns.ratio(medians[name], medians["once"]), ALIKE * round(WORK[name])
            checks.append(_check(name, WORK[name], found, allowed, words))
    return checks


def _check(name: str, wanted: float, spread: Iterable[float], allowed: float, failure: str) -> Check:
    low, found, high = (float(x) for x in spread)
    off, percent = _percent(abs(found - wanted)), _percent(found)
    words = failure.format(found=found, low=low, percent=percent, off=off)
    return Check(name, wanted, found, low, high, allowed, f"{words} ({_percent(allowed)} allowed)")


def told(checks: Sequence[Check], lost: Mapping[str, str]) -> str:
    """For people, one line: how closely all was found, or what was furthest from it and which processes were lost."""
    worst = sorted((check for check in checks if not check.passed), key=lambda c: abs(c.found - c.wanted))
    failed = [check.failure for check in worst[-1:]]
    failed += [f"the process of {name!r} was lost: {reason}" for name, reason in lost.items()]
    if failed:
        return f"{BUSY}: {'; '.join(failed)}"
    known = max(abs(check.found - 1) for check in checks if check.name.startswith("known"))
    again = next(check for check in checks if check.name == "again")
    return (
        f"the timing was tried out on work of known length: found within {_percent(known)}, "
        f"and equal work within {_percent(abs(again.found - 1))} of each other"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
