"""Contestants in processes of their own, timed in turn: a crash, a hang or a broken CUDA context loses one of them.

One idea: a `Worker` is a process that holds one object and calls its methods when it is asked. `in_turn` asks several
for a turn of steps, one after the other and several times round, so that whatever disturbs the machine disturbs them
alike; on a shared machine the state of the machine changes more than the code does, so ratios are taken of turns of one
round. A turn is made of chunks: steps that are asked for without waiting, then one wait, so that launching ahead of the
device pays as it does in training. Times are in seconds per step.
"""

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from fastgan.benchmarks.columns import Clock
from fastgan.errors import UsageError

LOOK, LONGEST = (
    0.01,
    0.3,
)  # seconds between two looks at whether a process rests, and for which it is waited for
LEAST = 3  # rounds: fewer have no spread
TURN_LIMIT = 60.0  # seconds after which a turn is taken to hang
START = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA

# seconds per step: until all were asked for, until all had finished, and of the device (NaN without its clock)
Chunk = tuple[float, float, float]


def rest() -> None:
    """Return when this process's own threads are idle: the next contestant needs the cores.

    Those of NumPy's OpenBLAS wait for work at full speed for 2^28 clock ticks, about 100 ms (measured), and whoever was
    timed meanwhile took up to twice as long.
    """
    end = time.perf_counter() + LONGEST
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(LOOK)
        if time.process_time() - used < LOOK / 5:
            return


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A block in which Ctrl-C waits; a process that is started in it never gets one, not even while it imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class LostError(Exception):
    """A worker did not do what it was asked; the text says why, in one line."""


class LateError(LostError):
    """It was not done in time."""


class Worker:
    """A process with an object `factory(*arguments)` in it, made at the first request.

    After a failure the process is ended, for its CUDA context may be broken, and the next request starts another.
    """

    def __init__(self, factory: Callable[..., Any], *arguments: Any) -> None:
        self.made_with = factory, arguments
        self._process: Any = None
        self._pipe: Connection | None = None

    def ask(self, method: str, *arguments: Any) -> None:
        """Begin a call of the object's method; its answer must be fetched before the next."""
        if self._process is None:
            self._pipe, far = START.Pipe()
            self._process = START.Process(target=_serve, args=(far, *self.made_with), daemon=True)
            with interrupts_held():
                self._process.start()
            far.close()
        assert self._pipe is not None
        with suppress(OSError):  # a process that died since: `answer` says so
            self._pipe.send((method, arguments))

    def answer(self, seconds: float) -> Any:
        """What the method returned; `LostError` where it raised, its process died, or `seconds` went by."""
        assert self._pipe is not None
        try:
            if not self._pipe.poll(max(seconds, 0)):
                raise LateError("no answer in time")
            good, result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            self.end()
            how = f"signal {-code}" if code and code < 0 else f"status {code}"
            raise LostError(f"its process ended with {how}") from None
        except LostError:
            self.end()
            raise
        if not good:
            self.end()
            raise LostError(result)
        return result

    def call(self, seconds: float, method: str, *arguments: Any) -> Any:
        """`ask`, then `answer`."""
        self.ask(method, *arguments)
        return self.answer(seconds)

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)  # a driver may keep it; nobody waits for that
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, factory: Callable[..., Any], made_with: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks, which ends this one
    held = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            held = factory(*made_with) if held is None else held
            answer = True, getattr(held, method)(*arguments)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        rest()
        pipe.send(answer)


def turn(step: Callable[[], Any], clock: Clock, *, steps: int, seconds: float) -> list[Chunk]:
    """Chunks of `steps` steps for about `seconds`, at least one, after a fifth of a chunk that is not measured."""
    for _ in range(steps // 5 + 1):
        step()
    clock.wait()
    chunks: list[Chunk] = []
    spent = 0.0
    while not chunks or spent < seconds:
        start, first = clock.now(), clock.mark()
        for _ in range(steps):
            step()
        last, asked = clock.mark(), clock.now()
        clock.wait()
        end = clock.now()
        chunks.append(((asked - start) / steps, (end - start) / steps, clock.between(first, last) / steps))
        spent += end - start
    return chunks


def in_turn(
    workers: dict[str, Worker],
    *,
    counts: dict[str, int],
    seconds: float,
    rounds: int,
    until: float,
    last: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[list[Chunk]]], dict[str, str]]:
    """The chunks of each worker's `turn(count, seconds)`, a list per round, and why some were lost.

    `rounds` times round, fewer when the clock passes `until`, but three, and not even those after `last`. Who begins
    moves on, and every second round goes backwards, so that nobody always follows the same.
    """
    blocks: dict[str, list[list[Chunk]]] = {name: [] for name in workers}
    lost: dict[str, str] = {}
    rest()  # this process may have compared results, by BLAS
    for number in range(rounds):
        names = [name for name in workers if name not in lost]
        first = number % max(len(names), 1)
        order = names[first:] + names[:first]
        for name in order[:: -1 if number % 2 else 1]:
            try:
                blocks[name].append(workers[name].call(TURN_LIMIT, "turn", counts[name], seconds))
            except LostError as reason:
                lost[name] = str(reason)
        if clock() > (until if number + 1 >= LEAST else last):
            break
    return {name: own for name, own in blocks.items() if own and name not in lost}, lost


def summary(blocks: list[list[Chunk]]) -> dict[str, Any]:
    """Seconds per step: median, 20th and 80th percentile and least; `asking` is the host's part, `device` the device's.

    `blocks` are the medians round by round, which ratios are taken of; `device` is None where there is no clock of it.
    """
    asked, total, device = np.array([chunk for block in blocks for chunk in block]).T
    low, median, high = (float(x) for x in np.percentile(total, (20, 50, 80)))
    return {
        "median": median,
        "low": low,
        "high": high,
        "fastest": float(total.min()),
        "chunks": len(total),
        "asking": float(np.median(asked)),
        "device": None if np.isnan(device).any() else float(np.median(device)),
        "blocks": [float(np.median([chunk[1] for chunk in block])) for block in blocks],
    }


def ratio(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Time of `a` over time of `b`, round by round: 20th percentile, median, 80th; of `blocks` of one `in_turn`.

    UsageError unless both have as many rounds.
    """
    if not a or len(a) != len(b):
        raise UsageError(f"timings have {len(a)} and {len(b)} rounds; compare what was measured in turn")
    low, median, high = np.percentile(np.divide(a, b), (20, 50, 80))
    return float(low), float(median), float(high)
