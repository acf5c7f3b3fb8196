"""The kernels of dense layers: forward, with and without batch norm, backward, layers of one output, what BLAS leaves.

What follows a product happens where it ends: bias and activation, the derivative of the activation below, the
statistics of a batch whose rows one block owns. `tiles` has the product itself. A product a^T v of many rows, as a
convolution's weight gradient is, is summed in slices of them: its result of 25 x 64 numbers is one tile, and one block
would sum 100,000 rows while all others rest. A layer with one output (a critic's head) has products that are scalings
and sums; its whole backward pass reads `a` once.

Shapes: `n` batch, `i`/`o` features in/out.
"""

from functools import partial

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda.epilogues import (
    LOADS,
    STORES,
    THREADS,
    activated,
    activated4,
    dot4,
    fold,
    masked,
    masked4,
    plus4,
    put4,
    scaled4,
    zero4,
)
from fastgan.kernels.cuda.launching import FLOAT, IN, IN4, INOUT, INOUT4, INT, OUT, OUT4, Wide
from fastgan.kernels.cuda.tiles import TILES, WEIGHT_TILES, product
from fastgan.kernels.cuda.vector import inlined, quotient, shifted

BIAS, MASK, PLAIN = 0, 1, 2  # what `linear` makes of a sum

COLUMNS = 16  # of a block of `head`
LANES, ROWS = 4, 64  # threads of a block along columns (four each) and rows

norm_scale = inlined(norm.norm_scale)


def _linear(name, vector):
    """y = act(x @ w + b), or x @ w times the derivative of the activation that made `a`, or x @ w."""
    rows, columns, shift, parts = TILES[name].places
    own = product("NN", TILES[name], vector)
    size, multiply, element = own.size, own.multiply, own.element

    def linear(x, w, b, a, y, n, i, o, after, act, slope):
        pool = cuda.shared.array(size, float32)
        row0, col0 = cuda.blockIdx.y * rows, cuda.blockIdx.x * columns
        multiply(pool, x, w, row0, col0, n, i, o, 0)
        for part in range(parts):
            k = cuda.threadIdx.x + part * THREADS
            row, column = k >> shift, k & (columns - 1)
            if row0 + row < n and col0 + column < o:
                z, place = element(pool, row, column), (row0 + row) * o + col0 + column
                if after == BIAS:
                    z = activated(z + b[col0 + column], act, slope)
                elif after == MASK:
                    z = masked(z, a[place], act, slope)
                y[place] = z

    return linear


def _linear_norm(name, vector):
    """h = act(x @ w + b) and y = batch norm of h; in training one block owns all rows of its columns."""
    rows, columns, shift, parts = TILES[name].places
    own = product("NN", TILES[name], vector)
    size, multiply, element, whole = own.size, own.multiply, own.element, rows * columns

    def linear_norm(
        x, w, b, gamma, beta, mean, variance, stats, h, y, n, i, o, training, act, slope, eps, momentum, widening
    ):  # fmt: skip
        pool = cuda.shared.array(size, float32)
        held = cuda.shared.array(whole, float32)
        folded = cuda.shared.array(whole, float32)
        t, row0, col0 = cuda.threadIdx.x, cuda.blockIdx.y * rows, cuda.blockIdx.x * columns
        col = col0 + (t & (columns - 1))  # of all elements of this thread
        inside = col < o
        multiply(pool, x, w, row0, col0, n, i, o, 0)
        for part in range(parts):
            k = t + part * THREADS
            value = float32(0)
            if row0 + (k >> shift) < n and inside:
                value = activated(element(pool, k >> shift, k & (columns - 1)) + b[col], act, slope)
                h[(row0 + (k >> shift)) * o + col] = value
            held[k] = value
            folded[k] = value
        centre, spread, scale, offset = float32(0), float32(1), float32(0), float32(0)
        if training != 0:
            fold(folded, whole, columns)
            centre = folded[t & (columns - 1)] / float32(n)
            cuda.syncthreads()
            for part in range(parts):
                k = t + part * THREADS
                apart = held[k] - centre if (k >> shift) < n else float32(0)
                folded[k] = apart * apart
            fold(folded, whole, columns)
            spread = folded[t & (columns - 1)] / float32(n)
        elif inside:
            centre, spread = mean[col], variance[col]
        if inside:
            inverse, scale = norm_scale(gamma[col], spread, eps)
            offset = beta[col]
            if training != 0 and t < columns:
                stats[col], stats[o + col] = centre, inverse
                mean[col] += momentum * (centre - mean[col])
                variance[col] += momentum * (widening * spread - variance[col])
        for part in range(parts):
            k = t + part * THREADS
            if row0 + (k >> shift) < n and inside:
                y[(row0 + (k >> shift)) * o + col] = (held[k] - centre) * scale + offset

    return linear_norm


def _backward(name, vector):
    """Blocks below `border`: dx = (v @ w^T) times a derivative. The others: gw = a^T v and gb = sums of v's rows."""
    rows, columns, shift, parts = TILES[name].places
    w_rows, w_columns, w_shift, w_each = WEIGHT_TILES[name].places
    own, weights = product("NT", TILES[name], vector), product("TN", WEIGHT_TILES[name], vector)
    size, multiply, element = max(own.size, weights.size), own.multiply, own.element
    w_multiply, w_element, w_sums = weights.multiply, weights.element, weights.column_sums

    def backward(v, a, w, dx, gw, gb, n, i, o, limit, border, after, act, slope):
        pool = cuda.shared.array(size, float32)
        t, block = cuda.threadIdx.x, cuda.blockIdx.x
        if block < border:
            across = (i + columns - 1) >> shift
            down = quotient(block, across)
            row0, col0 = down * rows, (block - down * across) * columns
            multiply(pool, v, w, row0, col0, n, o, i, 0)
            for part in range(parts):
                k = t + part * THREADS
                row, column = row0 + (k >> shift), col0 + (k & (columns - 1))
                if row < n and column < i:
                    g = element(pool, k >> shift, k & (columns - 1))
                    dx[row * i + column] = masked(g, a[row * i + column], act, slope) if after == MASK else g
        else:
            across = (o + w_columns - 1) >> w_shift
            down = quotient(block - border, across)
            row0, col0 = down * w_rows, (block - border - down * across) * w_columns
            sums = w_multiply(pool, a, v, row0, col0, i, n, o, limit)
            for part in range(w_each):
                k = t + part * THREADS
                row, column = row0 + (k >> w_shift), col0 + (k & (w_columns - 1))
                if row < i and column < o:
                    gw[row * o + column] = w_element(pool, k >> w_shift, k & (w_columns - 1))
            if down == 0 and limit >= 0:
                w_sums(pool, sums)
                if t < w_columns and col0 + t < o:
                    gb[col0 + t] = pool[t]

    return backward


def _tall(name, vector):
    """out[s] = a^T v over the rows of slice s."""
    rows, columns, shift, parts = WEIGHT_TILES[name].places
    own = product("TN", WEIGHT_TILES[name], vector)
    size, multiply, element = own.size, own.multiply, own.element

    def tall(a, v, out, n, i, o, span):
        pool = cuda.shared.array(size, float32)
        row0, col0, first = cuda.blockIdx.y * rows, cuda.blockIdx.x * columns, cuda.blockIdx.z * span
        whole = min(span, n - first)
        multiply(pool, shifted(a, first * i), shifted(v, first * o), row0, col0, i, whole, o, 0)
        for part in range(parts):
            k = cuda.threadIdx.x + part * THREADS
            row, column = row0 + (k >> shift), col0 + (k & (columns - 1))
            if row < i and column < o:
                out[(cuda.blockIdx.z * i + row) * o + column] = element(pool, k >> shift, k & (columns - 1))

    return tall


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


def _each(make, names, *arguments):
    """A kernel for each of the tiles."""
    called = make.__name__.strip("_")
    return {t: Wide(partial(make, t), arguments, block=THREADS, name=f"{called}_{t}") for t in names}


LINEAR = _each(_linear, TILES, IN4, IN4, IN, IN, OUT, *[INT] * 5, FLOAT)
KINDS = *[IN4] * 2, *[IN] * 3, INOUT, INOUT, *[OUT] * 3, *[INT] * 5, *[FLOAT] * 4
LINEAR_NORM = _each(_linear_norm, ("32x8", "64x8"), *KINDS)
BACKWARD = _each(_backward, WEIGHT_TILES, IN4, IN4, IN4, *[OUT] * 3, *[INT] * 7, FLOAT)
TALL = _each(_tall, WEIGHT_TILES, IN4, IN4, OUT, *[INT] * 4)
MASK_ALONE = Wide(_mask, (IN4, IN4, OUT4, INT, INT, FLOAT), block=THREADS, name="mask")
FINISH = Wide(_finish, (INOUT4, IN4, INT, INT, INT, FLOAT), block=(32, 8), name="finish")
SCORE = Wide(_score, (IN4, IN4, IN, OUT, INT, INT, INT, FLOAT), block=THREADS, name="score")
HEAD = Wide(_head, (IN, IN4, IN4, OUT4, OUT, OUT, *[INT] * 7, FLOAT), block=THREADS, name="head")
