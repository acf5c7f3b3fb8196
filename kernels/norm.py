"""Batch norm on the CPU: row-wise passes that vectorise over the features, statistics and all.

Sums go over 128 rows at a time: a longer float32 sum is less exact than its parts' sum. An activation other than the
leaky one in the backward pass is a pass of its own, by the dense family: to inline a formula of another file would
leave Numba's disk cache behind when that file changes.

Shapes: `n` rows, `f` features.
"""

import math

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.dense import ACTS, activate, is_activation, is_place, mask

ROWS = 128  # that one float32 sum takes


def norm_scale(gamma, spread, eps):
    """1 / sqrt(variance + eps), and that times gamma."""
    inverse = float32(1) / math.sqrt(spread + eps)
    return inverse, inverse * gamma


_norm_scale = inlined(norm_scale)


@compiled
def _moments(x, centre, spread):
    """Mean and biased variance of each column, in two passes: the mean first, then the squared distances from it."""
    n, f = x.shape
    share = float32(1) / float32(n)
    part = np.empty(f, np.float32)
    for c in range(f):
        centre[c] = spread[c] = float32(0)
    for first in range(0, n, ROWS):
        for c in range(f):
            part[c] = float32(0)
        rows = x[first : first + ROWS]
        for r in range(len(rows)):
            for c in range(f):
                part[c] += rows[r, c]
        for c in range(f):
            centre[c] += part[c] * share
    for first in range(0, n, ROWS):
        for c in range(f):
            part[c] = float32(0)
        rows = x[first : first + ROWS]
        for r in range(len(rows)):
            for c in range(f):
                apart = rows[r, c] - centre[c]
                part[c] += apart * apart
        for c in range(f):
            spread[c] += part[c] * share


@compiled
def _forward(x, centre, spread, gamma, beta, eps, inverse, y):
    n, f = x.shape
    scale = np.empty(f, np.float32)
    for c in range(f):
        inverse[c], scale[c] = _norm_scale(gamma[c], spread[c], eps)
    for r in range(n):
        for c in range(f):
            y[r, c] = (x[r, c] - centre[c]) * scale[c] + beta[c]


@compiled
def _running(mean, variance, centre, spread, momentum):
    for c in range(mean.size):
        mean[c] += momentum * (centre[c] - mean[c])
        variance[c] += momentum * (spread[c] - variance[c])


@compiled
def _sums(u, x, centre, inverse, ggamma, gbeta):
    """The gradients of gamma and beta."""
    n, f = x.shape
    products, sums = np.empty(f, np.float32), np.empty(f, np.float32)
    for c in range(f):
        ggamma[c] = gbeta[c] = float32(0)
    for first in range(0, n, ROWS):
        for c in range(f):
            products[c] = sums[c] = float32(0)
        g, rows = u[first : first + ROWS], x[first : first + ROWS]
        for r in range(len(rows)):
            for c in range(f):
                sums[c] += g[r, c]
                products[c] += g[r, c] * ((rows[r, c] - centre[c]) * inverse[c])
        for c in range(f):
            ggamma[c] += products[c]
            gbeta[c] += sums[c]


@compiled
def _backward(u, x, gamma, centre, inverse, ggamma, gbeta, slope, out):
    n, f = x.shape
    share = float32(1) / float32(n)
    for r in range(n):
        for c in range(f):
            normal = (x[r, c] - centre[c]) * inverse[c]
            g = (u[r, c] - (normal * ggamma[c] + gbeta[c]) * share) * (gamma[c] * inverse[c])
            out[r, c] = g if x[r, c] > float32(0) else slope * g


def norm_forward(
    x, gamma, beta, mean, variance, *, eps, momentum=0.0, training=True, act="leaky", slope=1.0, stats=None
):
    """See fastgan.ops.passes.norm_forward."""
    fits = x.ndim == 2 and all(a.shape == x.shape[1:] for a in (gamma, beta, mean, variance))
    if not fits or not is_activation(act, slope):
        return NotImplemented
    if stats is not None and not is_place(stats, 2, x.shape[1]):
        return NotImplemented
    f, y = np.float32, np.empty_like(x)
    if training:
        stats = np.empty((2, x.shape[1]), f) if stats is None else stats
        centre, spread, inverse = stats[0], np.empty_like(mean), stats[1]
        _moments(x, centre, spread)
        _running(mean, variance, centre, spread, f(momentum))
    else:
        centre, spread, inverse = mean, variance, np.empty_like(mean)
    _forward(x, centre, spread, gamma, beta, f(eps), inverse, y)
    activate(y, act, slope)
    return y


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.passes.norm_backward."""
    fits = x.ndim == 2 and u.shape == x.shape and gamma.shape == x.shape[1:] and act in ACTS
    if (
        not fits
        or stats.shape != (2, len(gamma))
        or not all(is_place(p, len(gamma)) for p in (ggamma, gbeta))
    ):
        return NotImplemented
    out = np.empty_like(x)
    _sums(u, x, stats[0], stats[1], ggamma, gbeta)
    fused = np.float32(slope if act == "leaky" else 1)
    _backward(u, x, gamma, stats[0], stats[1], ggamma, gbeta, fused, out)
    if act != "leaky":
        mask(out, x, act, slope)
    return out
