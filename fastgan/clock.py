"""Numbers that the device knows: the step's count and the learning rate, so that a captured step can be replayed.

A number that the host hands to a captured step is frozen in it. A `Count` and a `Rate` are read on the device instead;
array code that asks for their value on the host is refused while a step is captured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from fastgan.device import Array, module_of
from fastgan.errors import CaptureError


class Count:
    """A whole number that follows the step counter: `times` * steps done + `plus`, known on the host and the device.

    Kernels read `clock`, an int64 array of one element on the device, so that a captured step counts by itself when it
    is replayed. Array code takes `int(count)`, which is refused while a step is captured: the number would be frozen.
    """

    __slots__ = ("clock", "host", "plus", "times")

    def __init__(self, clock: Array, times: int, plus: int, host: int) -> None:
        self.clock, self.times, self.plus, self.host = clock, times, plus, host

    def __int__(self) -> int:
        refuse_while_capturing("array code reads the step's number")
        return self.times * self.host + self.plus

    __index__ = __int__

    def __add__(self, more: int) -> "Count":
        return Count(self.clock, self.times, self.plus + more, self.host)


class Rate:
    """A float that the host sets and kernels read from the device: a learning rate under a schedule.

    Only a change is sent to the device.
    """

    def __init__(self, device: str) -> None:
        self.array: Array = module_of(device).zeros(1, np.float32)
        self.host = 0.0

    def set(self, value: float) -> None:
        """Give it a value, for the steps that are asked for from now on."""
        if value != self.host:
            self.host = value
            self.array[...] = value

    def __float__(self) -> float:
        refuse_while_capturing("array code reads the learning rate")
        return self.host


_capturing: ContextVar[bool] = ContextVar("capturing", default=False)


@contextmanager
def capturing() -> Iterator[None]:
    """A block whose work on the device is recorded to be replayed, so that numbers from the host are refused in it."""
    token = _capturing.set(True)
    try:
        yield
    finally:
        _capturing.reset(token)


def refuse_while_capturing(what: str) -> None:
    """CaptureError while a step is being captured, which would freeze a number that changes from step to step."""
    if _capturing.get():
        raise CaptureError(f"{what} on the host; a replay would repeat it")


class Clock:
    """How many steps of a run are done: a number on the host, and one on the device that a replayed step moves on."""

    def __init__(self, device: str) -> None:
        self.device, self.steps = device, 0
        self.array: Array = module_of(device).zeros(1, np.int64)

    def set(self, steps: int) -> None:
        """Go to a number of steps, on both sides."""
        self.steps = steps
        self.array[...] = steps

    def count(self, times: int, plus: int = 0) -> int | Count:
        """times * steps done + plus: a number on the CPU, and one that the device works out by itself there."""
        if self.device == "cpu":
            return times * self.steps + plus
        return Count(self.array, times, plus, self.steps)
