"""Batch norm on the CPU: row-wise passes that vectorise over the features, statistics, activations and all.

Sums go over ROWS rows at a time: such a block has its own float64 results, which are put together in order, so that
long sums are as exact as short ones, and bits depend neither on threads nor on timing.

Shapes: `n` rows (all axes but the last), `f` features, `w` of them side by side in a loop's row (see sums.py).
"""

import math

import numpy as np
from numba import float32, float64

from fastgan.kernels.compiling import compiled, for_each_activation, inlined, scalars
from fastgan.kernels.dense import FASTER, is_activation, is_place
from fastgan.kernels.formulas import ACTIVATIONS
from fastgan.kernels.sums import ROWS, share, side_by_side

value, masked = ACTIVATIONS["leaky"]  # in a loop for each activation, its own


def norm_scale(gamma, spread, eps):
    """1 / sqrt(variance + eps), and that times gamma."""
    inverse = float32(1) / math.sqrt(spread + eps)
    return inverse, inverse * gamma


_norm_scale = inlined(norm_scale)


@compiled
def _repeat(values, lanes):
    for first in range(0, lanes.size, values.size):
        for c in range(values.size):
            lanes[first + c] = values[c]


@compiled
def _fold(lanes, out):
    """The sum of all lanes of each column."""
    for c in range(out.size):
        out[c] = float64(0)
    for first in range(0, lanes.size, out.size):
        for c in range(out.size):
            out[c] += lanes[first + c]


@compiled
def _moments(x, first, last, parts):
    """Of each block, the columns' means and sums of squared distances from them; the block stays in the cache."""
    w, f = x.shape[1], parts.shape[2]
    lanes, centre = np.empty(w, np.float32), np.empty(w, np.float32)
    for start in range(first, last, ROWS):
        rows, part = x[start : min(start + ROWS, last)], parts[start // ROWS]
        lanes[:] = float32(0)
        for r in range(len(rows)):
            for c in range(w):
                lanes[c] += rows[r, c]
        _fold(lanes, part[0])
        for c in range(f):
            part[0, c] /= len(rows) * (w // f)
        _repeat(part[0], centre)
        lanes[:] = float32(0)
        for r in range(len(rows)):
            for c in range(w):
                apart = rows[r, c] - centre[c]
                lanes[c] += apart * apart
        _fold(lanes, part[1])


@compiled
def _joined(parts, block, n, eps, stats, spread):
    """Mean, inverse deviation and variance of n rows from blocks of them (Chan, Golub and LeVeque 1979)."""
    mean, square = parts[0]
    for b in range(1, len(parts)):
        seen = b * block
        more = min(block, n - seen)
        weight = more / (seen + more)
        for c in range(mean.size):
            apart = parts[b, 0, c] - mean[c]
            mean[c] += apart * weight
            square[c] += parts[b, 1, c] + apart * apart * (seen * weight)
    for c in range(mean.size):
        spread[c] = square[c] / n
        stats[0, c], stats[1, c] = mean[c], _norm_scale(float32(1), spread[c], eps)[0]


@compiled
def _inverses(mean, spread, eps, stats):
    for c in range(spread.size):
        stats[0, c], stats[1, c] = mean[c], _norm_scale(float32(1), spread[c], eps)[0]


@compiled
def _running(mean, variance, stats, spread, momentum, widening):
    for c in range(mean.size):
        mean[c] += momentum * (stats[0, c] - mean[c])
        variance[c] += momentum * (widening * spread[c] - variance[c])


@for_each_activation
def _forward(x, stats, gamma, beta, slope, first, last, y):
    w = x.shape[1]
    centre, scale, offset = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    _repeat(stats[0], centre)
    _repeat(stats[1] * gamma, scale)
    _repeat(beta, offset)
    for r in range(first, last):
        for c in range(w):
            y[r, c] = value(scalars, (x[r, c] - centre[c]) * scale[c] + offset[c], slope)


@compiled
def _products(u, x, stats, first, last, parts):
    """Of each block, the sums of u * (x - mean) and of u."""
    w = x.shape[1]
    centre, products, sums = np.empty(w, np.float32), np.empty(w, np.float32), np.empty(w, np.float32)
    _repeat(stats[0], centre)
    for start in range(first, last, ROWS):
        products[:] = float32(0)
        sums[:] = float32(0)
        for r in range(start, min(start + ROWS, last)):
            for c in range(w):
                products[c] += u[r, c] * (x[r, c] - centre[c])
                sums[c] += u[r, c]
        _fold(products, parts[start // ROWS, 0])
        _fold(sums, parts[start // ROWS, 1])


@compiled
def _gradients(parts, stats, ggamma, gbeta):
    """The gradients of gamma and beta from the blocks' sums."""
    products, sums = parts[0]
    for b in range(1, len(parts)):
        for c in range(sums.size):
            products[c] += parts[b, 0, c]
            sums[c] += parts[b, 1, c]
    for c in range(sums.size):
        ggamma[c], gbeta[c] = products[c] * stats[1, c], sums[c]


@for_each_activation
def _backward(u, x, gamma, stats, ggamma, gbeta, slope, first, last, out):
    w = x.shape[1]
    share = float32(gamma.size) / float32(x.size)
    centre, tilt = np.empty(w, np.float32), np.empty(w, np.float32)
    mean, scale = np.empty(w, np.float32), np.empty(w, np.float32)
    _repeat(stats[0], centre)
    _repeat(stats[1] * ggamma * share, tilt)
    _repeat(gbeta * share, mean)
    _repeat(stats[1] * gamma, scale)
    for r in range(first, last):
        for c in range(w):
            g = (u[r, c] - ((x[r, c] - centre[c]) * tilt[c] + mean[c])) * scale[c]
            out[r, c] = masked(scalars, g, x[r, c], slope)


def _parts(rows, f):
    """Two results per column for each block of rows."""
    return np.empty((-(-len(rows) // ROWS), 2, f))


def _statistics(x, eps, stats):
    """Mean and inverse deviation of each column, into stats; the variances are returned."""
    f, spread = x.shape[-1], np.empty(x.shape[-1], np.float32)
    rows = side_by_side(x, f)
    parts = _parts(rows, f)
    share(lambda a, b: _moments(rows, a, b, parts), rows.shape, ROWS)
    _joined(parts, ROWS * (rows.shape[1] // f), x.size // f, np.float32(eps), stats, spread)
    return spread


def _normalized(x, stats, gamma, beta, act, slope):
    y = np.empty_like(x)
    rows, out = side_by_side(x, gamma.size), side_by_side(y, gamma.size)
    loop, slope = (_forward["leaky"], 1) if act in FASTER else (_forward[act], slope)
    slope = np.float32(slope)
    share(lambda a, b: loop(rows, stats, gamma, beta, slope, a, b, out), rows.shape)
    if act in FASTER:
        FASTER[act](y)
    return y


def _fits(x, stats, rows, like=()):
    """Whether x is (..., f), `like` as x, the rows (f,), and stats (2, f) or None."""
    if any(a.shape != x.shape[-1:] for a in rows) or any(a.shape != x.shape for a in like):
        return False
    return stats is None or is_place(stats, 2, x.shape[-1])


def norm_forward(
    x, gamma, beta, mean, variance, *, eps, momentum=0.0, widening=1.0, training=True, act="leaky", slope=1.0,
    stats=None,
):  # fmt: skip
    """See fastgan.ops.norm.norm_forward."""
    if x.ndim < 2 or not is_activation(act, slope) or not _fits(x, stats, (gamma, beta, mean, variance)):
        return NotImplemented
    if stats is None or not training:
        stats = np.empty((2, x.shape[-1]), np.float32)
    if training:
        spread = _statistics(x, eps, stats)
        _running(mean, variance, stats, spread, np.float32(momentum), np.float32(widening))
    else:
        _inverses(mean, variance, np.float32(eps), stats)
    return _normalized(x, stats, gamma, beta, act, slope)


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.norm.norm_backward."""
    fits = x.ndim >= 2 and is_activation(act, slope) and _fits(x, stats, (gamma,), like=(u,))
    if not fits or not all(is_place(p, len(gamma)) for p in (ggamma, gbeta)):
        return NotImplemented
    g, rows = side_by_side(u, len(gamma)), side_by_side(x, len(gamma))
    parts = _parts(rows, len(gamma))
    share(lambda a, b: _products(g, rows, stats, a, b, parts), rows.shape, ROWS)
    _gradients(parts, stats, ggamma, gbeta)
    y, loop, slope = np.empty_like(x), _backward[act], np.float32(slope)
    out = side_by_side(y, len(gamma))
    share(lambda a, b: loop(g, rows, gamma, stats, ggamma, gbeta, slope, a, b, out), rows.shape)
    return y
