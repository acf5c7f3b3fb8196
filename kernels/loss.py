"""Losses of scores on the CPU: value and derivative in one pass, and the gradient penalty's rows.

The scores come from one narrow product, so all of this is a few thousand numbers; what array code spends here is calls.
Sums run in 64 lanes, which LLVM vectorises as it may not a plain one, and are as exact as NumPy's pairwise ones.
"""

import math

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined

KINDS = (  # fastgan.ops.loss.SCORE_LOSSES
    "softplus(-s)",
    "softplus(s)",
    "-softplus(s)",
    "(s - 1)^2 / 2",
    "s^2 / 2",
    "-s",
    "s",
    "max(0, 1 - s)",
    "max(0, 1 + s)",
    "gradient",
)
LANES = 64
MOST = 128 * LANES  # numbers that one sum of lanes takes


def score_term(s, kind):
    """A loss of KINDS and its derivative for one score."""
    zero, one, half = float32(0), float32(1), float32(0.5)
    if kind <= 2:
        x = -s if kind == 0 else s
        e = math.exp(-abs(x))
        value = max(x, zero) + math.log1p(e)
        slope = (one if x >= zero else e) / (one + e)
        if kind == 1:
            return value, slope
        return (value, -slope) if kind == 0 else (-value, -slope)
    if kind == 3:
        return (s - one) * (s - one) * half, s - one
    if kind == 4:
        return s * s * half, s
    if kind <= 6:
        return (-s, -one) if kind == 5 else (s, one)
    if kind <= 8:
        sign = -one if kind == 7 else one
        x = one + sign * s
        return (zero if x <= zero else x), (sign if x > zero else zero)  # NaN stays NaN
    return zero, one


_score_term = inlined(score_term)


@compiled
def _sum(x, lanes):
    """The sum of x; `lanes` (LANES,) is scratch."""
    total = float32(0)
    for start in range(0, x.size, MOST):
        for j in range(LANES):
            lanes[j] = float32(0)
        for first in range(start, min(start + MOST, x.size), LANES):
            part = x[first : first + LANES]  # an index that starts at 0: no other vectorises
            for j in range(part.size):
                lanes[j] += part[j]
        width = LANES // 2
        while width > 0:
            for j in range(width):
                lanes[j] += lanes[j + width]
            width //= 2
        total += lanes[0]
    return total


@compiled
def _score_loss(s, d, kinds, counts, weight):
    total, start = float32(0), 0
    values, lanes = np.empty_like(s), np.empty(LANES, np.float32)
    for group in range(kinds.size):
        kind, stop = kinds[group], start + counts[group]
        share = weight / float32(counts[group])
        factor = float32(1) if kind == 9 else share
        for k in range(start, stop):
            values[k], slope = _score_term(s[k], kind)
            d[k] = slope * factor
        total += _sum(values[start:stop], lanes) * share
        start = stop
    return total


@compiled
def _penalty(g, q, weight):
    n, f = g.shape
    one, share = float32(1), weight / float32(n)
    apart, lanes = np.empty(n, np.float32), np.empty(LANES, np.float32)
    for r in range(n):
        for c in range(f):
            q[r, c] = g[r, c] * g[r, c]
        norm = math.sqrt(_sum(q[r], lanes) + float32(1e-12))
        factor = (norm - one) / norm * (float32(2) * share)
        for c in range(f):
            q[r, c] = g[r, c] * factor
        apart[r] = (norm - one) * (norm - one)
    return _sum(apart, lanes) * share


def score_loss(scores, *, kinds, counts, weight=1.0):
    """See fastgan.ops.loss.score_loss."""
    fits = scores.shape == (scores.size, 1) and len(kinds) == len(counts) and sum(counts) == scores.size
    if not fits or min(counts) < 1 or any(kind not in KINDS for kind in kinds):
        return NotImplemented
    d = np.empty_like(scores)
    codes = np.array(
        [[KINDS.index(kind) for kind in kinds], counts]
    )  # tuples of each length would be compiled anew
    loss = _score_loss(scores.reshape(-1), d.reshape(-1), codes[0], codes[1], np.float32(weight))
    return np.array(loss, np.float32), d


def head_loss(x, w, b, *, kinds, counts, weight=1.0):
    """See fastgan.ops.loss.head_loss."""
    if x.ndim != 2 or w.shape != (x.shape[1], 1) or b.shape != (1,):
        return NotImplemented
    scores = np.matmul(x, w)
    scores += b
    result = score_loss(scores, kinds=kinds, counts=counts, weight=weight)
    return result if result is NotImplemented else (result[0], scores, result[1])


def penalty(g, q, loss, *, weight):
    """See fastgan.ops.loss.penalty."""
    if g.ndim != 2 or g.shape != q.shape or loss.shape != ():
        return NotImplemented
    p = np.float32(_penalty(g, q, np.float32(weight)))
    return np.array([loss + p, p], np.float32)
