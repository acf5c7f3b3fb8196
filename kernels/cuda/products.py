"""The kernels of dense layers that hold a matrix product: forward, with and without batch norm, and backward.

What follows a product happens where it ends: bias and activation, the derivative of the activation below, the
statistics of a batch whose rows one block owns. `tiles` has the product itself. A product a^T v of many rows, as a
convolution's weight gradient is, is summed in slices of them: its result of 25 x 64 numbers is one tile, and one block
would sum 100,000 rows while all others rest.

Shapes: `n` batch, `i`/`o` features in/out.
"""

from functools import partial

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda.epilogues import THREADS, activated, fold, masked
from fastgan.kernels.cuda.launching import FLOAT, IN, IN4, INOUT, INT, OUT, Wide
from fastgan.kernels.cuda.tiles import TILES, WEIGHT_TILES, product
from fastgan.kernels.cuda.vector import inlined, quotient, shifted

BIAS, MASK, PLAIN = 0, 1, 2  # what `linear` makes of a sum

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


def _each(make, names, *arguments):
    """A kernel for each of the tiles."""
    called = make.__name__.strip("_")
    return {t: Wide(partial(make, t), arguments, block=THREADS, name=f"{called}_{t}") for t in names}


LINEAR = _each(_linear, TILES, IN4, IN4, IN, IN, OUT, *[INT] * 5, FLOAT)
KINDS = *[IN4] * 2, *[IN] * 3, INOUT, INOUT, *[OUT] * 3, *[INT] * 5, *[FLOAT] * 4
LINEAR_NORM = _each(_linear_norm, ("32x8", "64x8"), *KINDS)
BACKWARD = _each(_backward, WEIGHT_TILES, IN4, IN4, IN4, *[OUT] * 3, *[INT] * 7, FLOAT)
TALL = _each(_tall, WEIGHT_TILES, IN4, IN4, OUT, *[INT] * 4)
