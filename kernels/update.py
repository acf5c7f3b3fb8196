"""Optimizer updates on the CPU: one pass over a flat buffer, each array read and written once.

Adam moves 28 bytes per parameter, RMSProp and SGD 20; array code makes a dozen passes. Weight clipping and an average
of the weights happen in the same pass (the average adds 8 bytes), the average piece by piece, while the first-level
cache has the new weights: a loop over five arrays at once needs more checks for overlap than LLVM vectorises with.
Pieces are slices, whose index starts at 0: Numba's care for negative ones keeps any other loop from vectorising.
"""

import math

import numpy as np

from fastgan.kernels.compiling import compiled, inlined

PIECE = 2048  # parameters: 8 KB of each array


def adam(p, g, m, v, rate, c1, c2, scale, eps):
    """One element of Adam: the new parameter and both moments; `rate` and `scale` carry the bias correction.

    c1 and c2 are 1 - beta, rounded once: 1 - float32(0.999) would be wrong in the fifth digit.
    """
    m = m + c1 * (g - m)
    v = v + c2 * (g * g - v)
    return p - rate * m / (math.sqrt(v) * scale + eps), m, v


def rmsprop(p, g, v, lr, c, eps):
    """One element of RMSProp: the new parameter and mean square; c is 1 - alpha."""
    v = v + c * (g * g - v)
    return p - lr * g / (math.sqrt(v) + eps), v


def sgd(p, g, m, lr, momentum):
    """One element of gradient descent with momentum: the new parameter and the momentum's sum."""
    m = m * momentum + g
    return p - lr * m, m


def clipped(p, clip):
    """p kept in [-clip, clip]; NaN stays NaN."""
    return min(max(p, -clip), clip)


_adam_element = inlined(adam)
_rmsprop_element = inlined(rmsprop)
_sgd_element = inlined(sgd)
_clipped = inlined(clipped)


@compiled
def _follow(average, p, follow):
    for k in range(p.size):
        average[k] += follow * (p[k] - average[k])


@compiled
def _adam(p, g, m, v, average, rate, c1, c2, scale, eps, shrink, clip, follow):
    for first in range(0, p.size, PIECE):
        part = slice(first, first + PIECE)
        q, d, a, b = p[part], g[part], m[part], v[part]
        for k in range(q.size):
            x, a[k], b[k] = _adam_element(q[k] * shrink, d[k], a[k], b[k], rate, c1, c2, scale, eps)
            q[k] = _clipped(x, clip)
        if follow:
            _follow(average[part], q, follow)


@compiled
def _rmsprop(p, g, v, average, lr, c, eps, clip, follow):
    for first in range(0, p.size, PIECE):
        part = slice(first, first + PIECE)
        q, d, b = p[part], g[part], v[part]
        for k in range(q.size):
            x, b[k] = _rmsprop_element(q[k], d[k], b[k], lr, c, eps)
            q[k] = _clipped(x, clip)
        if follow:
            _follow(average[part], q, follow)


@compiled
def _sgd(p, g, m, average, lr, momentum, clip, follow):
    for first in range(0, p.size, PIECE):
        part = slice(first, first + PIECE)
        q, d, a = p[part], g[part], m[part]
        for k in range(q.size):
            x, a[k] = _sgd_element(q[k], d[k], a[k], lr, momentum)
            q[k] = _clipped(x, clip)
        if follow:
            _follow(average[part], q, follow)


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
    loop(*arrays, average, *(np.float32(x) for x in (*settings, clip or math.inf, follow)))
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
