"""Optimizer updates on the CPU: one pass over a flat buffer, each array read and written once.

Adam moves 28 bytes per parameter, RMSProp and SGD 20; array code makes a dozen passes. Weight clipping and an average
of the weights happen in the same pass (the average adds 8 bytes), the average piece by piece, while the first-level
cache has the new weights: a loop over five arrays at once needs more checks for overlap than LLVM vectorises with.
Pieces are slices, whose index starts at 0: Numba's care for negative ones keeps any other loop from vectorising.
"""

import math

import numpy as np

from fastgan.kernels.compiling import compiled, inlined, made_of

PIECE = 2048  # parameters: 8 KB of each array


def adam(p, g, m, v, c):
    """One element of Adam: the new parameter and both moments; rate and scale carry the bias correction.

    1 - b1 and 1 - b2 are rounded once: 1 - float32(0.999) would be wrong in the fifth digit.
    """
    rate, own1, own2, scale, eps, shrink = c
    m = m + own1 * (g - m)
    v = v + own2 * (g * g - v)
    return p * shrink - rate * m / (math.sqrt(v) * scale + eps), m, v


def rmsprop(p, g, v, c):
    """One element of RMSProp: the new parameter and mean square."""
    lr, own, eps = c  # own is 1 - alpha
    v = v + own * (g * g - v)
    return p - lr * g / (math.sqrt(v) + eps), v


def sgd(p, g, m, c):
    """One element of gradient descent with momentum: the new parameter and the momentum's sum."""
    lr, momentum = c
    m = m * momentum + g
    return p - lr * m, m


@inlined
def _clipped(p, clip):
    """p kept in [-clip, clip]; NaN stays NaN."""
    return min(max(p, -clip), clip)


@compiled
def _follow(average, p, follow):
    for k in range(p.size):
        average[k] += follow * (p[k] - average[k])


element = adam  # in a loop, whatever rule it was made of


def _with_two(p, g, m, v, average, clip, follow, c):
    for first in range(0, p.size, PIECE):
        part = slice(first, first + PIECE)
        q, d, a, b = p[part], g[part], m[part], v[part]
        for k in range(q.size):
            x, a[k], b[k] = element(q[k], d[k], a[k], b[k], c)
            q[k] = _clipped(x, clip)
        if follow:
            _follow(average[part], q, follow)


def _with_one(p, g, m, average, clip, follow, c):
    for first in range(0, p.size, PIECE):
        part = slice(first, first + PIECE)
        q, d, a = p[part], g[part], m[part]
        for k in range(q.size):
            x, a[k] = element(q[k], d[k], a[k], c)  # type: ignore[call-arg]
            q[k] = _clipped(x, clip)
        if follow:
            _follow(average[part], q, follow)


_adam = made_of(_with_two, "adam", element=adam)
_rmsprop = made_of(_with_one, "rmsprop", element=rmsprop)
_sgd = made_of(_with_one, "sgd", element=sgd)


def _run(loop, arrays, average, settings, clip, follow):
    """Run a loop where all arrays are flat and of one size; the settings become float32."""
    p = arrays[0]
    if p.ndim != 1 or any(x.shape != p.shape for x in arrays):
        return NotImplemented
    if average is None:
        average, follow = p, 0.0
    fits = isinstance(average, np.ndarray) and average.dtype == p.dtype and average.shape == p.shape
    if not fits or not average.flags.c_contiguous or not average.flags.writeable:
        return NotImplemented
    ends = np.float32(clip or math.inf), np.float32(follow)
    loop(*arrays, average, *ends, tuple(map(np.float32, settings)))
    return None


def adam_update(p, g, m, v, *, lr, t, b1, b2, eps, decay=0.0, clip=0.0, average=None, follow=0.0):
    """One Adam step in place on p, m and v, all flat; see fastgan.optim.adam_update."""
    lr, t = float(lr), int(t)
    rate, scale = lr / (1 - b1**t), (1 - b2**t) ** -0.5
    settings = rate, 1 - b1, 1 - b2, scale, eps, 1 - lr * decay
    return _run(_adam, (p, g, m, v), average, settings, clip, follow)


def rmsprop_update(p, g, v, *, lr, alpha, eps, clip=0.0, average=None, follow=0.0):
    """One RMSProp step in place on p and v, both flat; see fastgan.optim.rmsprop_update."""
    return _run(_rmsprop, (p, g, v), average, (float(lr), 1 - alpha, eps), clip, follow)


def sgd_update(p, g, m, *, lr, momentum, clip=0.0, average=None, follow=0.0):
    """One step of gradient descent in place on p and m, both flat; see fastgan.optim.sgd_update."""
    return _run(_sgd, (p, g, m), average, (float(lr), momentum), clip, follow)
