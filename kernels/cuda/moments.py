"""Batch norm over many rows on CUDA, as images have: in slices of the rows, so that all of the GPU takes part.

A block takes the mean of its slice and then the squared distances from that, which finds the slice in the cache; the
slices' moments are joined as Chan, Golub and LeVeque (1979) join them, so that no large number is taken from another.
How blocks lie over rows and columns is `sums.Layout`'s.

Shapes: `n` rows, `f` features; statistics (2, f) are means and inverse deviations.
"""

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda.epilogues import LOADS, STORES, THREADS, named, scaled4, zero4
from fastgan.kernels.cuda.launching import FLOAT, IN, INT, OUT, Kernel, empty, vectors
from fastgan.kernels.cuda.sums import POOL, Layout, added_up, column_sums, place
from fastgan.kernels.cuda.vector import inlined, ld4

_norm_scale = inlined(norm.norm_scale)


@inlined
def _inverse(spread, eps):
    return _norm_scale(float32(1), spread, eps)[0]


@inlined
def _inverses(q, share, eps):
    """Inverse deviations of sums of squares, of which each row has a share."""
    a, b = _inverse(q[0] * share, eps), _inverse(q[1] * share, eps)
    return a, b, _inverse(q[2] * share, eps), _inverse(q[3] * share, eps)


@inlined
def _squares(r, s, q, m):
    """r + s * (q - m)**2."""
    a, b, c, d = q[0] - m[0], q[1] - m[1], q[2] - m[2], q[3] - m[3]
    return r[0] + s * a * a, r[1] + s * b * b, r[2] + s * c * c, r[3] + s * d * d


@inlined
def _times(p, q):
    return p[0] * q[0], p[1] * q[1], p[2] * q[2], p[3] * q[3]


@inlined
def _normal(q, mean, inverse):
    """(q - mean) * inverse."""
    return _times(scaled4(q, float32(-1), mean), inverse)


@inlined
def _plus(p, q):
    return scaled4(p, float32(1), q)


def _slice_moments(vector):
    """Of each slice the mean and the sum of squared distances from it, or the statistics where there is one slice."""
    load, store = LOADS[vector], STORES[vector]

    def slice_moments(x, out, n, f, width, depth, span, eps):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        first = cuda.blockIdx.y * span
        last, rest = min(n, first + span), zero4()
        if row < depth:
            for k in range(first + row, last, depth):
                rest = _plus(rest, load(x, k, column, n, f))
        added_up(pool, rest, depth, width)
        share = float32(1) / float32(last - first)
        mean = scaled4(zero4(), share, ld4(pool, cuda.threadIdx.x - row * width))
        cuda.syncthreads()  # all have read the pool
        rest = zero4()
        if row < depth:
            for k in range(first + row, last, depth):
                rest = _squares(rest, float32(1), load(x, k, column, n, f), mean)
        rest = added_up(pool, rest, depth, width)
        if row == 0:
            if cuda.gridDim.y == 1:
                rest = _inverses(rest, share, eps)
            store(out, 2 * cuda.blockIdx.y, column, 2 * cuda.gridDim.y, f, mean)
            store(out, 2 * cuda.blockIdx.y + 1, column, 2 * cuda.gridDim.y, f, rest)

    return Kernel(
        slice_moments, (IN, OUT, *[INT] * 5, FLOAT), block=THREADS, name=named("slice_moments", vector)
    )


def _joined_moments(vector):
    """The statistics of n rows from the moments of slices of `rows`; the last slice has what is left."""
    load, store = LOADS[vector], STORES[vector]

    def joined_moments(parts, stats, slices, f, width, depth, n, rows, eps):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        mean = zero4()
        if row < depth:
            for k in range(row, slices, depth):
                weight = float32(min(rows, n - k * rows)) / float32(n)
                mean = scaled4(mean, weight, load(parts, 2 * k, column, 2 * slices, f))
        added_up(pool, mean, depth, width)
        mean = ld4(pool, cuda.threadIdx.x - row * width)
        cuda.syncthreads()  # all have read the pool
        rest = zero4()
        if row < depth:
            for k in range(row, slices, depth):
                weight = float32(min(rows, n - k * rows))
                rest = _squares(rest, weight, load(parts, 2 * k, column, 2 * slices, f), mean)
                rest = _plus(rest, load(parts, 2 * k + 1, column, 2 * slices, f))
        rest = added_up(pool, rest, depth, width)
        if row == 0:
            store(stats, 0, column, 2, f, mean)
            store(stats, 1, column, 2, f, _inverses(rest, float32(1) / float32(n), eps))

    kinds = (IN, OUT, *[INT] * 6, FLOAT)
    return Kernel(joined_moments, kinds, block=THREADS, name=named("joined_moments", vector))


def _normalised(vector):
    """y = (x - mean) * inverse * gamma + beta."""
    load, store = LOADS[vector], STORES[vector]

    def normalised(x, stats, gamma, beta, y, n, f, width, depth, span):
        row, column = place(width)
        if row < depth:
            mean, offset = load(stats, 0, column, 2, f), load(beta, 0, column, 1, f)
            scale = _times(load(stats, 1, column, 2, f), load(gamma, 0, column, 1, f))
            first = cuda.blockIdx.y * span
            for k in range(first + row, min(n, first + span), depth):
                q = _plus(_normal(load(x, k, column, n, f), mean, scale), offset)
                store(y, k, column, n, f, q)

    return Kernel(
        normalised, (IN, IN, IN, IN, OUT, *[INT] * 5), block=THREADS, name=named("normalised", vector)
    )


def _slice_gradients(vector):
    """Of each slice the sums of g times the normalised x, and of g."""
    load, store = LOADS[vector], STORES[vector]

    def slice_gradients(g, x, stats, out, n, f, width, depth, span):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        products, sums = zero4(), zero4()
        if row < depth:
            mean, inverse = load(stats, 0, column, 2, f), load(stats, 1, column, 2, f)
            first = cuda.blockIdx.y * span
            for k in range(first + row, min(n, first + span), depth):
                q, u = load(x, k, column, n, f), load(g, k, column, n, f)
                products = _plus(products, _times(u, _normal(q, mean, inverse)))
                sums = _plus(sums, u)
        products = added_up(pool, products, depth, width)
        sums = added_up(pool, sums, depth, width)
        if row == 0:
            store(out, 2 * cuda.blockIdx.y, column, 2 * cuda.gridDim.y, f, products)
            store(out, 2 * cuda.blockIdx.y + 1, column, 2 * cuda.gridDim.y, f, sums)

    kinds = (IN, IN, IN, OUT, *[INT] * 5)
    return Kernel(slice_gradients, kinds, block=THREADS, name=named("slice_gradients", vector))


def _gradient(vector):
    """out = (g - (normalised x * products + sums) / n) * gamma * inverse."""
    load, store = LOADS[vector], STORES[vector]

    def gradient(g, x, gamma, stats, both, out, n, f, width, depth, span):
        row, column = place(width)
        if row < depth:
            mean, inverse = load(stats, 0, column, 2, f), load(stats, 1, column, 2, f)
            products, sums = load(both, 0, column, 2, f), load(both, 1, column, 2, f)
            scale = _times(load(gamma, 0, column, 1, f), inverse)
            first, share = cuda.blockIdx.y * span, float32(-1) / float32(n)
            for k in range(first + row, min(n, first + span), depth):
                normal = _normal(load(x, k, column, n, f), mean, inverse)
                q = scaled4(load(g, k, column, n, f), share, _plus(_times(normal, products), sums))
                store(out, k, column, n, f, _times(q, scale))

    kinds = (*[IN] * 5, OUT, *[INT] * 5)
    return Kernel(gradient, kinds, block=THREADS, name=named("norm_gradient", vector))


BOTH = (True, False)
SLICE_MOMENTS = {vector: _slice_moments(vector) for vector in BOTH}
JOINED_MOMENTS = {vector: _joined_moments(vector) for vector in BOTH}
NORMALISED = {vector: _normalised(vector) for vector in BOTH}
SLICE_GRADIENTS = {vector: _slice_gradients(vector) for vector in BOTH}
GRADIENT = {vector: _gradient(vector) for vector in BOTH}
KERNELS = tuple(
    kernel
    for family in (SLICE_MOMENTS, JOINED_MOMENTS, NORMALISED, SLICE_GRADIENTS, GRADIENT)
    for kernel in family.values()
)


def statistics(x, eps):
    """Mean and inverse deviation (2, f) of the columns of x (n, f), of fewer than 2**31 elements."""
    (n, f), layout = x.shape, Layout.of(*x.shape)
    stats, slices = empty((2, f), x), layout.slices
    parts = stats if slices == 1 else empty((2 * slices, f), x)
    SLICE_MOMENTS[vectors(x, parts, sizes=(f,))](layout.grid, x, parts, n, f, *layout.sizes, eps)
    if slices > 1:
        joined = Layout.of(slices, f, most=1)
        kernel = JOINED_MOMENTS[vectors(parts, stats, sizes=(f,))]
        kernel(joined.grid, parts, stats, slices, f, joined.width, joined.depth, n, layout.span, eps)
    return stats


def normalised(x, stats, gamma, beta):
    """x (n, f) normalised by statistics, times gamma (f,), plus beta (f,)."""
    (n, f), layout, y = x.shape, Layout.of(*x.shape), empty(x.shape, x)
    kernel = NORMALISED[vectors(x, stats, gamma, beta, sizes=(f,))]
    kernel(layout.grid, x, stats, gamma, beta, y, n, f, *layout.sizes)
    return y


def gradient_sums(g, x, stats):
    """The sums (2, f) of g times the normalised x, and of g: the gradients of gamma and beta; g and x (n, f)."""
    (n, f), layout = x.shape, Layout.of(*x.shape)
    parts = empty((layout.slices, 2 * f), x)
    kernel = SLICE_GRADIENTS[vectors(g, x, stats, parts, sizes=(f,))]
    kernel(layout.grid, g, x, stats, parts, n, f, *layout.sizes)
    both = parts if layout.slices == 1 else column_sums(parts, empty((2 * f,), x))
    return both.reshape(2, f)


def gradient(g, x, gamma, stats, both):
    """The gradient for x, with the sums that `gradient_sums` gives; g and x (n, f)."""
    (n, f), layout, out = x.shape, Layout.of(*x.shape), empty(x.shape, x)
    kernel = GRADIENT[vectors(g, x, gamma, stats, both, sizes=(f,))]
    kernel(layout.grid, g, x, gamma, stats, both, out, n, f, *layout.sizes)
    return out
