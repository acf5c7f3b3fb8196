"""Optimizer updates on CUDA: one pass over flat buffers, each array read and written once, 16 bytes at a time.

Adam moves 28 bytes per parameter, RMSProp and SGD 20; weight clipping and an average of the weights (8 more bytes)
happen in the same pass. Which update it is and the learning rate may be known to the device alone.
"""

import math
from functools import partial

from numba import cuda, float32

from fastgan.kernels import update
from fastgan.kernels.cuda.clock import count, number, rate, rate_of
from fastgan.kernels.cuda.epilogues import LOADS, STORES, THREADS, of_four, of_fours, zero4
from fastgan.kernels.cuda.launching import FLOAT, IN, IN4, IN_LONGS, INOUT4, INT, LONG, Wide, blocks, is_plain
from fastgan.kernels.cuda.vector import inlined

BLOCKS = 1024  # at most: what a large GPU holds at once; a thread works out the corrections once


@of_four
def _clipped(p, clip):
    """p kept in [-clip, clip]; a NaN stays one, which CUDA's min and max would drop."""
    if p > clip:
        return clip
    if p < -clip:
        return -clip
    return p


_toward = of_fours(lambda a, p, share: a + share * (p - a))


def _adam(t, own, s):
    """What `update.adam` is given; s has log(b1) and log(b2), so that 1 - b^t keeps its digits, then 1 - b1, ..."""
    log1, log2, own1, own2, eps, decay = s
    step, scale = own / -math.expm1(t * log1), float32(1) / math.sqrt(-math.expm1(t * log2))
    return step, own1, own2, scale, eps, float32(1) - own * decay


def _rmsprop(t, own, s):
    return own, s[0], s[1]


def _sgd(t, own, s):
    return own, s[0]


def _with_one(element):
    """An element of a rule with one state, as one with two."""
    element = inlined(element)

    def step(p, g, a, b, c):
        p, a = element(p, g, a, c)
        return p, a, b

    return step


RULES = {  # a rule's element, what makes its constants of settings, and whether it has a second state
    "adam": (update.adam, _adam, True),
    "rmsprop": (_with_one(update.rmsprop), _rmsprop, False),
    "sgd": (_with_one(update.sgd), _sgd, False),
}


def _make(name, vector):
    """A rule's kernel; s0 to s5 are its settings."""
    element, constants, two = RULES[name]
    element, constants = inlined(element), inlined(constants)
    load, store = LOADS[vector], STORES[vector]

    def updating(
        p, g, m, v, average, rates, clock, times, plus, size, there, lr, s0, s1, s2, s3, s4, s5, clip, share
    ):  # fmt: skip
        t, own = float32(number(clock, times, plus)), rate_of(rates, there, lr)
        c = constants(t, own, (s0, s1, s2, s3, s4, s5))
        k = 4 * cuda.grid(1)
        while k < size:
            x, d, a, b = load(p, 0, k, 1, size), load(g, 0, k, 1, size), load(m, 0, k, 1, size), zero4()
            if two:
                b = load(v, 0, k, 1, size)
            q0, a0, b0 = element(x[0], d[0], a[0], b[0], c)
            q1, a1, b1 = element(x[1], d[1], a[1], b[1], c)
            q2, a2, b2 = element(x[2], d[2], a[2], b[2], c)
            q3, a3, b3 = element(x[3], d[3], a[3], b[3], c)
            store(m, 0, k, 1, size, (a0, a1, a2, a3))
            if two:
                store(v, 0, k, 1, size, (b0, b1, b2, b3))
            x = _clipped((q0, q1, q2, q3), clip)
            store(p, 0, k, 1, size, x)
            if share != float32(0):
                store(average, 0, k, 1, size, _toward(load(average, 0, k, 1, size), x, share))
            k += 4 * cuda.gridsize(1)

    return updating


KINDS = (INOUT4, IN4, INOUT4, INOUT4, INOUT4, IN, IN_LONGS, LONG, LONG, INT, INT, *[FLOAT] * 9)
UPDATE = {name: Wide(partial(_make, name), KINDS, block=THREADS, name=name) for name in RULES}


def _launch(name, arrays, average, lr, t, settings, clip, follow):
    """One pass over arrays of one size, the parameters first."""
    size = arrays[0].size
    also = () if average is None else (average,)
    if size >= 2**31 or not all(is_plain(x, arrays[0].shape) for x in (*arrays, *also)):
        return NotImplemented
    states, share = (*arrays[2:], None)[:2], follow if also else 0.0
    rates, there, value = rate(lr)
    numbers = *count(t), size, there, value, *settings, *[0.0] * (6 - len(settings)), clip or math.inf, share
    values = *arrays[:2], *states, average if share else None, rates, *numbers
    UPDATE[name](min(blocks(size, 4 * THREADS), BLOCKS), *values, sizes=(size,))
    return None


def adam_update(p, g, m, v, *, lr, t, b1, b2, eps, decay=0.0, clip=0.0, average=None, follow=0.0):
    """Step `t` (from 1) of Adam, in place on p, m and v; see fastgan.optim.adam_update."""
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        return NotImplemented
    logs = [math.log(b) if b else -math.inf for b in (b1, b2)]
    return _launch("adam", (p, g, m, v), average, lr, t, (*logs, 1 - b1, 1 - b2, eps, decay), clip, follow)


def rmsprop_update(p, g, v, *, lr, alpha, eps, clip=0.0, average=None, follow=0.0):
    """One RMSProp step, in place on p and v; see fastgan.optim.rmsprop_update."""
    return _launch("rmsprop", (p, g, v), average, lr, 0, (1 - alpha, eps), clip, follow)


def sgd_update(p, g, m, *, lr, momentum, clip=0.0, average=None, follow=0.0):
    """One step of gradient descent, in place on p and m; see fastgan.optim.sgd_update."""
    return _launch("sgd", (p, g, m), average, lr, 0, (momentum,), clip, follow)
