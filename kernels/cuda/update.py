"""Optimizer updates on CUDA: one pass over flat buffers, each array read and written once, 16 bytes at a time.

Adam moves 28 bytes per parameter, RMSProp and SGD 20; weight clipping and an average of the weights (8 more bytes)
happen in the same pass. Which update it is and the learning rate may be known to the device alone.
"""

import math

from numba import cuda, float32

from fastgan.kernels import update
from fastgan.kernels.cuda.clock import as_float, count, number, rate, rate_of
from fastgan.kernels.cuda.epilogues import LOADS, STORES, THREADS, named
from fastgan.kernels.cuda.launching import FLOAT, IN, IN_LONGS, INOUT, INT, LONG, Kernel, blocks, vectors
from fastgan.kernels.cuda.vector import inlined

BLOCKS = 1024  # at most: what a large GPU holds at once; a thread works out the corrections once

_adam = inlined(update.adam)
_rmsprop = inlined(update.rmsprop)
_sgd = inlined(update.sgd)


@inlined
def _clipped(p, clip):
    """p kept in [-clip, clip]; a NaN stays one, which CUDA's min and max would drop."""
    if p > clip:
        return clip
    if p < -clip:
        return -clip
    return p


@inlined
def _toward(a, p, share):
    return a + share * (p - a)


def _finishing(vector):
    """What ends every update: p clipped and written, and the average moved towards it."""
    load, store = LOADS[vector], STORES[vector]

    @inlined
    def finish(p, average, k, size, q0, q1, q2, q3, clip, share):
        q0, q1, q2, q3 = _clipped(q0, clip), _clipped(q1, clip), _clipped(q2, clip), _clipped(q3, clip)
        store(p, 0, k, 1, size, (q0, q1, q2, q3))
        if share != float32(0):
            a = load(average, 0, k, 1, size)
            a0, a1 = _toward(a[0], q0, share), _toward(a[1], q1, share)
            a2, a3 = _toward(a[2], q2, share), _toward(a[3], q3, share)
            store(average, 0, k, 1, size, (a0, a1, a2, a3))

    return finish


def _make_adam(vector):
    """Adam; l1 and l2 are log(beta), so that 1 - beta^t keeps its digits; c1 and c2 are 1 - beta."""
    load, store, finish = LOADS[vector], STORES[vector], _finishing(vector)

    def adam(
        p, g, m, v, average, rates, clock, times, plus, size, there, lr, l1, l2, c1, c2, eps, decay, clip, share
    ):  # fmt: skip
        t, own = as_float(number(clock, times, plus)), rate_of(rates, there, lr)
        step = own / -math.expm1(t * l1)
        scale = float32(1) / math.sqrt(-math.expm1(t * l2))
        shrink = float32(1) - own * decay
        k = 4 * cuda.grid(1)
        while k < size:
            x, d = load(p, 0, k, 1, size), load(g, 0, k, 1, size)
            a, b = load(m, 0, k, 1, size), load(v, 0, k, 1, size)
            q0, a0, b0 = _adam(x[0] * shrink, d[0], a[0], b[0], step, c1, c2, scale, eps)
            q1, a1, b1 = _adam(x[1] * shrink, d[1], a[1], b[1], step, c1, c2, scale, eps)
            q2, a2, b2 = _adam(x[2] * shrink, d[2], a[2], b[2], step, c1, c2, scale, eps)
            q3, a3, b3 = _adam(x[3] * shrink, d[3], a[3], b[3], step, c1, c2, scale, eps)
            store(m, 0, k, 1, size, (a0, a1, a2, a3))
            store(v, 0, k, 1, size, (b0, b1, b2, b3))
            finish(p, average, k, size, q0, q1, q2, q3, clip, share)
            k += 4 * cuda.gridsize(1)

    kinds = (INOUT, IN, INOUT, INOUT, INOUT, IN, IN_LONGS, LONG, LONG, INT, INT, *[FLOAT] * 9)
    return Kernel(adam, kinds, block=THREADS, name=named("adam", vector))


def _make_rmsprop(vector):
    """RMSProp; c is 1 - alpha."""
    load, store, finish = LOADS[vector], STORES[vector], _finishing(vector)

    def rmsprop(p, g, v, average, rates, size, there, lr, c, eps, clip, share):
        own = rate_of(rates, there, lr)
        k = 4 * cuda.grid(1)
        while k < size:
            x, d, b = load(p, 0, k, 1, size), load(g, 0, k, 1, size), load(v, 0, k, 1, size)
            q0, b0 = _rmsprop(x[0], d[0], b[0], own, c, eps)
            q1, b1 = _rmsprop(x[1], d[1], b[1], own, c, eps)
            q2, b2 = _rmsprop(x[2], d[2], b[2], own, c, eps)
            q3, b3 = _rmsprop(x[3], d[3], b[3], own, c, eps)
            store(v, 0, k, 1, size, (b0, b1, b2, b3))
            finish(p, average, k, size, q0, q1, q2, q3, clip, share)
            k += 4 * cuda.gridsize(1)

    kinds = (INOUT, IN, INOUT, INOUT, IN, INT, INT, *[FLOAT] * 5)
    return Kernel(rmsprop, kinds, block=THREADS, name=named("rmsprop", vector))


def _make_sgd(vector):
    """Gradient descent with momentum."""
    load, store, finish = LOADS[vector], STORES[vector], _finishing(vector)

    def sgd(p, g, m, average, rates, size, there, lr, momentum, clip, share):
        own = rate_of(rates, there, lr)
        k = 4 * cuda.grid(1)
        while k < size:
            x, d, a = load(p, 0, k, 1, size), load(g, 0, k, 1, size), load(m, 0, k, 1, size)
            q0, a0 = _sgd(x[0], d[0], a[0], own, momentum)
            q1, a1 = _sgd(x[1], d[1], a[1], own, momentum)
            q2, a2 = _sgd(x[2], d[2], a[2], own, momentum)
            q3, a3 = _sgd(x[3], d[3], a[3], own, momentum)
            store(m, 0, k, 1, size, (a0, a1, a2, a3))
            finish(p, average, k, size, q0, q1, q2, q3, clip, share)
            k += 4 * cuda.gridsize(1)

    kinds = (INOUT, IN, INOUT, INOUT, IN, INT, INT, *[FLOAT] * 4)
    return Kernel(sgd, kinds, block=THREADS, name=named("sgd", vector))


ADAM = {vector: _make_adam(vector) for vector in (True, False)}
RMSPROP = {vector: _make_rmsprop(vector) for vector in (True, False)}
SGD = {vector: _make_sgd(vector) for vector in (True, False)}
KERNELS = tuple(kernel for family in (ADAM, RMSPROP, SGD) for kernel in family.values())


def _launch(kernels, arrays, average, *settings, clip, follow):
    """One pass over arrays of one size, the parameters first."""
    size = arrays[0].size
    also = () if average is None else (average,)
    if size >= 2**31 or any(x.shape != arrays[0].shape for x in (*arrays, *also)):
        return NotImplemented
    if any(x.dtype != "float32" or not x.flags.c_contiguous for x in also):
        return NotImplemented
    kernel = kernels[vectors(*arrays, average, sizes=(size,))]
    grid, share = min(blocks(size, 4 * THREADS), BLOCKS), follow if also else 0.0
    kernel(grid, *arrays, average if share else None, *settings, clip or math.inf, share)
    return None


def adam_update(p, g, m, v, *, lr, t, b1, b2, eps, decay=0.0, clip=0.0, average=None, follow=0.0):
    """Step `t` (from 1) of Adam, in place on p, m and v; see fastgan.optim.adam_update."""
    if not (0 <= b1 < 1 and 0 <= b2 < 1):
        return NotImplemented
    rates, there, value = rate(lr)
    logs = [math.log(b) if b else -math.inf for b in (b1, b2)]
    state = rates, *count(t), p.size, there
    settings = value, *logs, 1 - b1, 1 - b2, eps, decay
    return _launch(ADAM, (p, g, m, v), average, *state, *settings, clip=clip, follow=follow)


def rmsprop_update(p, g, v, *, lr, alpha, eps, clip=0.0, average=None, follow=0.0):
    """One RMSProp step, in place on p and v; see fastgan.optim.rmsprop_update."""
    rates, there, value = rate(lr)
    settings = rates, p.size, there, value, 1 - alpha, eps
    return _launch(RMSPROP, (p, g, v), average, *settings, clip=clip, follow=follow)


def sgd_update(p, g, m, *, lr, momentum, clip=0.0, average=None, follow=0.0):
    """One step of gradient descent, in place on p and m; see fastgan.optim.sgd_update."""
    rates, there, value = rate(lr)
    settings = rates, p.size, there, value, momentum
    return _launch(SGD, (p, g, m), average, *settings, clip=clip, follow=follow)
