"""Losses on CUDA: a mean over scores with its derivative, and the gradient penalty.

A few thousand numbers, so one block mostly does everything: what costs is the launch. Sums go through shared memory in
a fixed order.

Shapes: `n` rows, `i`/`f` features.
"""

import math

from numba import cuda, float32

from fastgan.kernels.cuda.epilogues import LOADS, STORES, dot4, fold
from fastgan.kernels.cuda.launching import FLOAT, IN, IN4, INT, OUT, OUT4, Kernel, Wide, blocks, empty
from fastgan.kernels.cuda.vector import inlined, scalars
from fastgan.kernels.formulas import GRADIENT, KINDS, chosen, scores

SCORES, ROWS = 256, 512  # threads of a block that takes scores, or rows
MOST = 4096  # scores that one block takes
ALONE = 1 << 17  # numbers that one block reads in the time of a second launch

_score = chosen(scores(scalars, inlined), inlined)  # which kind, then the score


@inlined
def _term(s, row, kind0, kind1, kind2, end0, end1, share0, share1, share2):
    """A row's part of the loss, and the loss's derivative for its score."""
    value, slope = _score(kind0 if row < end0 else kind1 if row < end1 else kind2, s)
    share = share0 if row < end0 else share1 if row < end1 else share2
    return value * share, slope * share


def _head_loss(vector, threads=ROWS):
    """scores = x @ w + b and their losses, or of scores x where i is 0; 1 << shift threads share a row."""
    load = LOADS[vector]

    def head_loss(
        x, w, b, loss, scores, d, n, i, shift, kind0, kind1, kind2, end0, end1, share0, share1, share2
    ):
        pool = cuda.shared.array(threads, float32)
        t = cuda.threadIdx.x
        lanes, rows = 1 << shift, threads >> shift
        lane, total, first = t & (lanes - 1), float32(0), 0
        while first < n:  # all threads alike
            row, part = first + (t >> shift), float32(0)
            column = 4 * lane
            while column < i:
                part = dot4(part, load(x, row, column, n, i), load(w, 0, column, 1, i))
                column += 4 * lanes
            pool[lane * rows + (t >> shift)] = part
            fold(pool, threads, rows)
            if lane == 0 and row < n:
                s = x[row]
                if i > 0:
                    s = pool[t >> shift] + b[0]
                    scores[row] = s
                value, slope = _term(s, row, kind0, kind1, kind2, end0, end1, share0, share1, share2)
                d[row] = slope
                total += value
            cuda.syncthreads()  # the row's sum has been read
            first += rows
        pool[t] = total
        fold(pool, threads, 1)
        if t == 0:
            loss[0] = pool[0]

    return head_loss


def _penalty(vector, threads=ROWS):
    """q, and the share of the penalty of this block's rows; 1 << shift threads share a row."""
    load, store = LOADS[vector], STORES[vector]

    def penalty(g, q, loss, totals, n, f, shift, share):
        pool = cuda.shared.array(threads, float32)
        t = cuda.threadIdx.x
        lanes, rows, one = 1 << shift, threads >> shift, float32(1)
        lane, total = t & (lanes - 1), float32(0)
        first = cuda.blockIdx.x * rows
        while first < n:  # all threads alike
            row, part = first + (t >> shift), float32(0)
            column = 4 * lane
            while column < f:
                four = load(g, row, column, n, f)
                part = dot4(part, four, four)
                column += 4 * lanes
            pool[lane * rows + (t >> shift)] = part
            fold(pool, threads, rows)
            norm = math.sqrt(pool[t >> shift] + float32(1e-12))
            factor = (norm - one) / norm * (float32(2) * share)
            column = 4 * lane
            while column < f:
                a, b, c, d = load(g, row, column, n, f)
                store(q, row, column, n, f, (a * factor, b * factor, c * factor, d * factor))
                column += 4 * lanes
            if lane == 0 and row < n:
                total += (norm - one) * (norm - one) * share
            cuda.syncthreads()  # the row's sum has been read
            first += cuda.gridDim.x * rows
        pool[t] = total
        fold(pool, threads, 1)
        if t == 0:
            if cuda.gridDim.x == 1:
                totals[0], totals[1] = loss[0] + pool[0], pool[0]
            else:
                totals[cuda.blockIdx.x] = pool[0]

    return penalty


def add_up(totals, loss, both, n):
    """The sum of all blocks' parts, and with the loss."""
    pool = cuda.shared.array(SCORES, float32)
    total = float32(0)
    for k in range(cuda.threadIdx.x, n, SCORES):
        total += totals[k]
    pool[cuda.threadIdx.x] = total
    fold(pool, SCORES, 1)
    if cuda.threadIdx.x == 0:
        both[0], both[1] = loss[0] + pool[0], pool[0]


PENALTY = Wide(_penalty, (IN4, OUT4, IN, OUT, INT, INT, INT, FLOAT), block=ROWS, name="penalty")
KINDS_OF_HEAD = IN4, IN4, IN, OUT, OUT, OUT, *[INT] * 8, *[FLOAT] * 3
HEAD_LOSS = Wide(_head_loss, KINDS_OF_HEAD, block=ROWS, name="head_loss")
ADD_UP = Kernel(add_up, (IN, IN, OUT, INT), block=SCORES)


def _groups(n, kinds, counts, weight):
    """What a kernel is told of the groups: three kinds, where the first two end, what a row weighs in each; or None."""
    fits = 0 < n <= MOST and 0 < len(kinds) == len(counts) <= 3 and sum(counts) == n and min(counts) > 0
    if not fits or any(kind not in KINDS for kind in kinds):
        return None
    spare = 3 - len(kinds)
    codes = [KINDS.index(kind) for kind in kinds]
    shares = [1.0 if kind == GRADIENT else weight / c for kind, c in zip(kinds, counts, strict=True)]
    ends = counts[0], sum(counts[:2])
    return *codes, *[0] * spare, *ends, *shares, *[0.0] * spare


def score_loss(scores, *, kinds, counts, weight=1.0):
    """See fastgan.ops.loss.score_loss."""
    groups = _groups(scores.size, kinds, counts, weight)
    if groups is None or scores.shape != (scores.size, 1):
        return NotImplemented
    loss, d = empty((), scores), empty(scores.shape, scores)
    HEAD_LOSS(1, scores, None, None, loss, None, d, scores.size, 0, 0, *groups, sizes=())
    return loss, d


def head_loss(x, w, b, *, kinds, counts, weight=1.0):
    """See fastgan.ops.loss.head_loss; one launch where one block reads x in the time of a second."""
    if x.ndim != 2 or w.shape != (x.shape[1], 1) or b.shape != (1,):
        return NotImplemented
    n, i = x.shape
    groups = _groups(n, kinds, counts, weight)
    if groups is None or n * i > ALONE:
        return NotImplemented
    loss, scores, d = empty((), x), empty((n, 1), x), empty((n, 1), x)
    shift = 5 if n <= 16 else 4 if n <= 32 else 3
    HEAD_LOSS(1, x, w, b, loss, scores, d, n, i, shift, *groups, sizes=(i,))
    return loss, scores, d


def penalty(g, q, loss, *, weight):
    """See fastgan.ops.loss.penalty; two launches where one block would take longer than that."""
    if g.ndim != 2 or g.shape != q.shape or loss.shape != () or g.size >= 2**31:
        return NotImplemented
    (n, f), both, alone = g.shape, empty((2,), g), g.size <= ALONE
    shift = 5 if alone else (PENALTY.each[True].block // 4).bit_length() - 1  # else four rows a block
    grid = 1 if alone else min(max(2, blocks(n, 4)), 65535)
    totals = both if alone else empty((grid,), g)
    PENALTY(grid, g, q, loss, totals, n, f, shift, weight / n, sizes=(f,))
    if not alone:
        ADD_UP(1, totals, loss, both, grid)
    return both
