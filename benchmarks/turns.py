"""Contestants in processes of their own, timed in turn: a crash, a hang or a broken CUDA context loses one of them.

One idea: a `Worker` is a process that holds one object and calls its methods when it is asked. `in_turn` asks several
for a turn of steps, one after the other and several times round, so that whatever disturbs the machine disturbs them
alike. A turn is made of chunks: steps that are asked for without waiting, then one wait, so that launching ahead of the
device pays as it does in training. Times are in seconds per step.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

TURN_LIMIT = 30.0  # seconds after which a turn is taken to hang
START = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA

Chunk = tuple[float, float]  # seconds per step: until all were asked for, until all had finished


class LostError(Exception):
    """A worker did not do what it was asked; the text says why, in one line."""


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
            self._process.start()
            far.close()
        assert self._pipe is not None
        self._pipe.send((method, arguments))

    def answer(self, seconds: float) -> Any:
        """What the method returned; `LostError` where it raised, its process died, or `seconds` went by."""
        assert self._pipe is not None
        try:
            if not self._pipe.poll(max(seconds, 0)):
                raise LostError("no answer in time")
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
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, factory: Callable[..., Any], made_with: Sequence[Any]) -> None:
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
        pipe.send(answer)


def turn(
    step: Callable[[], None],
    sync: Callable[[], None],
    *,
    steps: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Chunk]:
    """Chunks of `steps` steps for about `seconds`, at least one, after a fifth of a chunk that is not measured."""
    for _ in range(steps // 5 + 1):
        step()
    sync()
    chunks: list[Chunk] = []
    spent = 0.0
    while not chunks or spent < seconds:
        start = clock()
        for _ in range(steps):
            step()
        asked = clock()
        sync()
        end = clock()
        chunks.append(((asked - start) / steps, (end - start) / steps))
        spent += end - start
    return chunks


def in_turn(
    workers: dict[str, Worker],
    *,
    steps: int,
    seconds: float,
    rounds: int,
    until: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[Chunk]], dict[str, str]]:
    """The chunks of each worker's `turn(steps, seconds)`, and why some were lost.

    `rounds` times round, fewer when the clock passes `until`; who begins moves on by one each time.
    """
    chunks: dict[str, list[Chunk]] = {name: [] for name in workers}
    lost: dict[str, str] = {}
    for number in range(rounds):
        names = [name for name in workers if name not in lost]
        first = number % max(len(names), 1)
        for name in names[first:] + names[:first]:
            try:
                chunks[name] += workers[name].call(TURN_LIMIT, "turn", steps, seconds)
            except LostError as reason:
                lost[name] = str(reason)
        if clock() > until:
            break
    return {name: own for name, own in chunks.items() if own and name not in lost}, lost


def summary(chunks: list[Chunk]) -> dict[str, float]:
    """Median seconds per step with the 20th and 80th percentile, how much of it the host was busy, and of how many."""
    asked, total = np.array(chunks).T
    low, median, high = (float(x) for x in np.percentile(total, (20, 50, 80)))
    return {
        "median": median,
        "low": low,
        "high": high,
        "asking": float(np.median(asked)),
        "chunks": len(chunks),
    }
