"""Losses of scores on the CPU: value and derivative in one pass, and the gradient penalty's rows.

The scores come from one narrow product, so all of this is a few thousand numbers; what array code spends here is calls.
Sums run in 64 lanes, which LLVM vectorises as it may not a plain one, and are as exact as NumPy's pairwise ones.
"""

import math

import numpy as np
from numba import float32, njit

from fastgan.kernels.compiling import compiled, inlined, scalars
from fastgan.kernels.formulas import GRADIENT, KINDS, chosen, one, scores, zero

LANES = 64
MOST = 128 * LANES  # numbers that one sum of lanes takes
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
UNWEIGHTED = NUMBERS[GRADIENT]


def _looped(score):
    """A loop over the scores of a group."""

    def loop(s, values, d, factor):
        for k in range(s.size):
            values[k], slope = score(s[k])
            d[k] = slope * factor

    return _called(loop)


_called = njit(error_model="numpy", nogil=True)
_scores = chosen([_looped(score) for score in scores(scalars, inlined)], _called)  # which kind, then its loop


@compiled
def _sum(x, lanes):
    """The sum of x; `lanes` (LANES,) is scratch."""
    total = zero
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
def _score_loss(s, d, groups, weight):
    total, start = zero, 0
    values, lanes = np.empty_like(s), np.empty(LANES, np.float32)
    for group in range(groups.shape[1]):
        kind, count = groups[0, group], groups[1, group]
        share, stop = weight / float32(count), start + count
        factor = one if kind == UNWEIGHTED else share
        _scores(kind, s[start:stop], values[start:stop], d[start:stop], factor)
        total += _sum(values[start:stop], lanes) * share
        start = stop
    return total


@compiled
def _penalty(g, q, weight):
    n, f = g.shape
    share = weight / float32(n)
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
    codes = [NUMBERS.get(kind, -1) for kind in kinds]
    if not fits or min(counts) < 1 or -1 in codes:
        return NotImplemented
    d = np.empty_like(scores)
    groups = np.array([codes, counts])  # tuples of each length would be compiled anew
    loss = _score_loss(scores.reshape(-1), d.reshape(-1), groups, np.float32(weight))
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
