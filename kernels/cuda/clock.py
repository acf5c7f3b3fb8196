"""Numbers that change from step to step: read on the device, because a captured step repeats the arguments it had.

A count is `times` * clock[0] + `plus`, with a clock on the device, or `plus` alone; a rate is an element on the device
or a number.
"""

from numba import int32, int64

from fastgan.kernels.cuda.vector import inlined, quotient


def count(x):
    """What a kernel is given for an int, or for a count that follows a clock: clock, times, plus."""
    clock = getattr(x, "clock", None)
    if clock is not None:
        return clock, x.times, x.plus
    return None, 0, (int(x) + 2**63) % 2**64 - 2**63  # the same 64 bits, signed


def rate(x):
    """What a kernel is given for a float, or for a rate on the device: its array, whether there is one, the float."""
    array = getattr(x, "array", None)
    return (None, 0, float(x)) if array is None else (array, 1, 0.0)


@inlined
def number(clock, times, plus):
    """A count's value; without a clock its pointer is null, and `times` 0."""
    return plus if times == 0 else clock[0] * times + plus


@inlined
def rate_of(array, there, value):
    """A rate's value, float32."""
    return array[0] if there != 0 else value


@inlined
def divided(a, b):
    """a // b (int64) and a % b (int32), for 0 <= a and an int32 b above 0."""
    # division of 64 bits is a long subroutine; 2**31 steps are a run of days
    q = int64(quotient(int32(a), b)) if a < 2147483648 else a // b
    return q, int32(a - q * b)
