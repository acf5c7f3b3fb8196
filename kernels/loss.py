"""Losses of scores on the CPU: value and derivative in one pass, and the gradient penalty's rows.

The scores come from one narrow product, so all of this is a few thousand numbers; what array code spends here is calls.
"""

import math

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined

KINDS = (  # fastgan.ops.passes.SCORE_LOSSES
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
        return (x, sign) if x > zero else (zero * x, zero)  # 0 * x: NaN stays NaN
    return zero, one


_score_term = inlined(score_term)


@compiled
def _score_loss(s, d, kinds, counts, weight):
    total, start = 0.0, 0  # doubles: a few thousand terms, and the sum is as exact as NumPy's pairwise one
    for group in range(len(kinds)):
        kind, count = kinds[group], counts[group]
        factor = float32(1) if kind == 9 else weight / float32(count)
        part = 0.0
        for k in range(start, start + count):
            value, slope = _score_term(s[k], kind)
            part += value
            d[k] = slope * factor
        total += part / count * weight
        start += count
    return float32(total)


@compiled
def _penalty(g, q, weight):
    n, f = g.shape
    total = 0.0
    for r in range(n):
        square = float32(0)
        for start in range(0, f, 128):  # pieces: the error of a long float32 sum grows with its length
            part = float32(0)
            for c in range(start, min(start + 128, f)):
                part += g[r, c] * g[r, c]
            square += part
        norm = math.sqrt(square + float32(1e-12))
        factor = (norm - float32(1)) / norm * (float32(2) * weight / float32(n))
        for c in range(f):
            q[r, c] = g[r, c] * factor
        total += (norm - float32(1)) * (norm - float32(1))
    return float32(total / n * weight)


def score_loss(scores, *, kinds, counts, weight=1.0):
    """See fastgan.ops.passes.score_loss."""
    if sum(counts) != scores.size or any(kind not in KINDS for kind in kinds):
        return NotImplemented
    d = np.empty_like(scores)
    codes = tuple(KINDS.index(kind) for kind in kinds)
    loss = _score_loss(scores.reshape(-1), d.reshape(-1), _fixed(codes), _fixed(counts), np.float32(weight))
    return np.asarray(loss, np.float32), d


def _fixed(numbers):
    """Up to three numbers as an array: tuples of each length would be compiled anew."""
    return np.array(numbers, np.int64)


def head_loss(x, w, b, *, kinds, counts, weight=1.0):
    """See fastgan.ops.passes.head_loss."""
    if x.ndim != 2 or w.shape != (x.shape[1], 1) or b.shape != (1,):
        return NotImplemented
    scores = np.matmul(x, w)
    scores += b
    result = score_loss(scores, kinds=kinds, counts=counts, weight=weight)
    return result if result is NotImplemented else (result[0], scores, result[1])


def penalty(g, q, *, weight):
    """See fastgan.ops.passes.penalty."""
    if g.ndim != 2 or g.shape != q.shape:
        return NotImplemented
    return np.asarray(_penalty(g, q, np.float32(weight)), np.float32)
