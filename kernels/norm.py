"""Batch norm on the CPU: row-wise passes that vectorise over the features, statistics and all.

Shapes: `n` rows, `f` features.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.dense import leaky

_leaky = inlined(leaky)


def norm_scale(gamma, spread, eps):
    """1 / sqrt(variance + eps), and that times gamma."""
    inverse = float32(1) / np.sqrt(spread + eps)
    return inverse, inverse * gamma


_norm_scale = inlined(norm_scale)


@compiled
def _moments(x, sums, squares):
    """Mean and biased variance of each column, in two passes: the mean first, then the squared distances from it."""
    n, f = x.shape
    for c in range(f):
        sums[c] = float32(0)
        squares[c] = float32(0)
    for r in range(n):
        for c in range(f):
            sums[c] += x[r, c]
    share = float32(1) / float32(n)
    for c in range(f):
        sums[c] *= share
    for r in range(n):
        for c in range(f):
            apart = x[r, c] - sums[c]
            squares[c] += apart * apart
    for c in range(f):
        squares[c] *= share


@compiled
def _forward(x, centre, spread, gamma, beta, eps, slope, inverse, y):
    n, f = x.shape
    scale = np.empty_like(centre)
    for c in range(f):
        inverse[c], scale[c] = _norm_scale(gamma[c], spread[c], eps)
    for r in range(n):
        for c in range(f):
            y[r, c] = _leaky((x[r, c] - centre[c]) * scale[c] + beta[c], slope)


@compiled
def _running(mean, variance, centre, spread, momentum):
    for c in range(mean.size):
        mean[c] += momentum * (centre[c] - mean[c])
        variance[c] += momentum * (spread[c] - variance[c])


@compiled
def _backward(u, x, gamma, stats, ggamma, gbeta, slope, out):
    n, f = x.shape
    for c in range(f):
        ggamma[c] = float32(0)
        gbeta[c] = float32(0)
    for r in range(n):
        for c in range(f):
            gbeta[c] += u[r, c]
            ggamma[c] += u[r, c] * ((x[r, c] - stats[0, c]) * stats[1, c])
    share = float32(1) / float32(n)
    for r in range(n):
        for c in range(f):
            normal = (x[r, c] - stats[0, c]) * stats[1, c]
            g = (u[r, c] - (normal * ggamma[c] + gbeta[c]) * share) * (gamma[c] * stats[1, c])
            out[r, c] = g if x[r, c] > float32(0) else slope * g


def norm_forward(
    x, gamma, beta, mean, variance, *, eps, momentum=0.0, training=True, act="leaky", slope=1.0, stats=None
):
    """See fastgan.ops.passes.norm_forward; other activations than the leaky one are left to the array code."""
    if x.ndim != 2 or act != "leaky" or not 0 <= slope <= 1 or gamma.shape != x.shape[1:]:
        return NotImplemented
    f, y = np.float32, np.empty_like(x)
    if not training:
        _forward(x, mean, variance, gamma, beta, f(eps), f(slope), np.empty_like(mean), y)
        return y
    stats = np.empty((2, x.shape[1]), f) if stats is None else stats
    spread = np.empty_like(mean)
    _moments(x, stats[0], spread)
    _running(mean, variance, stats[0], spread, f(momentum))
    _forward(x, stats[0], spread, gamma, beta, f(eps), f(slope), stats[1], y)
    return y


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.passes.norm_backward; other activations than the leaky one are left to the array code."""
    if x.ndim != 2 or u.shape != x.shape or stats.shape != (2, x.shape[1]) or act != "leaky":
        return NotImplemented
    out = np.empty_like(x)
    _backward(u, x, gamma, stats, ggamma, gbeta, np.float32(slope), out)
    return out
