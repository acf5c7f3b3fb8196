"""The kernels of dense layers that hold no tiled product: element by element, layers of one output.

A layer with one output (a critic's head) has products that are scalings and sums; its whole backward pass reads `a`
once. The element-wise kernels also finish what BLAS leaves.

Shapes: `n` batch, `i`/`o` features in/out.
"""

from numba import cuda, float32

from fastgan.kernels.cuda.epilogues import (
    LOADS,
    STORES,
    THREADS,
    activated,
    activated4,
    dot4,
    fold,
    masked4,
    plus4,
    put4,
    scaled4,
    zero4,
)
from fastgan.kernels.cuda.launching import FLOAT, IN, IN4, INOUT4, INT, OUT, OUT4, Wide

COLUMNS = 16  # of a block of `head`
LANES, ROWS = 4, 64  # threads of a block along columns (four each) and rows


def _mask(vector):
    """out = g times the derivative of the activation whose output is y, element by element."""
    load, store = LOADS[vector], STORES[vector]

    def mask(g, y, out, size, act, slope):
        k = 4 * cuda.grid(1)
        store(out, 0, k, 1, size, masked4(load(g, 0, k, 1, size), load(y, 0, k, 1, size), act, slope))

    return mask


def _finish(vector):
    """y = act(y + b) in place."""
    load, store = LOADS[vector], STORES[vector]

    def finish(y, b, n, o, act, slope):
        column = 4 * (cuda.blockIdx.x * 32 + cuda.threadIdx.x)
        bias = load(b, 0, column, 1, o)
        row = cuda.blockIdx.y * 8 + cuda.threadIdx.y
        while row < n:
            z = plus4(load(y, row, column, n, o), bias)
            store(y, row, column, n, o, activated4(z, act, slope))
            row += 8 * cuda.gridDim.y

    return finish


def _score(vector):
    """y = act(x @ w + b) for one output; eight rows a block, 32 threads a row."""
    load = LOADS[vector]

    def score(x, w, b, y, n, i, act, slope):
        pool = cuda.shared.array(THREADS, float32)
        lane, line = cuda.threadIdx.x & 31, cuda.threadIdx.x >> 5
        row = cuda.blockIdx.x * 8 + line
        total = float32(0)
        for column in range(4 * lane, i, 128):
            total = dot4(total, load(x, row, column, n, i), load(w, 0, column, 1, i))
        pool[lane * 8 + line] = total
        fold(pool, THREADS, 8)
        if lane == 0 and row < n:
            y[row] = activated(pool[line] + b[0], act, slope)

    return score


def _head(vector):
    """For one output: dx = v outer w times a derivative, gw = a^T v, gb = the sum of v's first `limit` rows.

    A block has 16 columns of a, all rows; `backs` and `weighs` say whether dx, and gw and gb, are wanted.
    """
    load, store = LOADS[vector], STORES[vector]

    def head(v, a, w, dx, gw, gb, n, i, limit, backs, weighs, after, act, slope):
        pool = cuda.shared.array(1024, float32)
        t = cuda.threadIdx.x
        column = cuda.blockIdx.x * COLUMNS + 4 * (t & (LANES - 1))
        sums, weights = zero4(), zero4()
        if backs != 0:
            weights = load(w, 0, column, 1, i)
        for row in range(t >> 2, n, ROWS):
            g, q = v[row], zero4()
            if weighs != 0 or after != 0:
                q = load(a, row, column, n, i)
            sums = scaled4(sums, g, q)
            if backs != 0:
                back = scaled4(zero4(), g, weights)
                if after != 0:
                    back = masked4(back, q, act, slope)
                store(dx, row, column, n, i, back)
        if weighs != 0:
            put4(pool, t, sums)
            fold(pool, 1024, COLUMNS)
            if t < COLUMNS and cuda.blockIdx.x * COLUMNS + t < i:
                gw[cuda.blockIdx.x * COLUMNS + t] = pool[t]
            if cuda.blockIdx.x == 0:
                total = float32(0)
                for row in range(t, limit, THREADS):
                    total += v[row]
                pool[t] = total
                fold(pool, THREADS, 1)
                if t == 0:
                    gb[0] = pool[0]

    return head


MASK = Wide(_mask, (IN4, IN4, OUT4, INT, INT, FLOAT), block=THREADS, name="mask")
FINISH = Wide(_finish, (INOUT4, IN4, INT, INT, INT, FLOAT), block=(32, 8), name="finish")
SCORE = Wide(_score, (IN4, IN4, IN, OUT, INT, INT, INT, FLOAT), block=THREADS, name="score")
HEAD = Wide(_head, (IN, IN4, IN4, OUT4, OUT, OUT, *[INT] * 7, FLOAT), block=THREADS, name="head")
