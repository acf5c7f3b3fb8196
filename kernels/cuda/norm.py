"""Batch norm on CUDA: one launch where rows are few, two where they are many, as those of images are.

A block has some columns and a slice of the rows, as `sums.Layout` lays it. Of few rows (at most FEW) it has all: sums,
result and activation are one kernel. Of many, a first kernel leaves each slice's sums, and each block of the second
puts those of all slices together again, always in the same order, before it writes its own rows: a few thousand numbers
more from the cache, and a launch less. Moments are joined as Chan, Golub and LeVeque (1979) join them, so that no large
number is taken from another.

Shapes: `n` rows (all axes but the last), `f` features; statistics (2, f) are means and inverse deviations.
"""

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda.epilogues import (
    ACTS,
    LOADS,
    STORES,
    THREADS,
    activated4,
    masked4,
    of_four,
    of_fours,
    plus4,
    scaled4,
    times4,
    zero4,
)
from fastgan.kernels.cuda.launching import FLOAT, IN4, INOUT4, INT, OUT4, Wide, empty, is_plain
from fastgan.kernels.cuda.sums import POOL, Layout, added_up, place
from fastgan.kernels.cuda.vector import inlined, ld4

FEW = 512  # rows that one block sums
OWN, JOINED, RUNNING = range(3)  # whose statistics: the block's own, those of slices, the running ones

_norm_scale = inlined(norm.norm_scale)


_inverses = of_four(lambda spread, eps: _norm_scale(float32(1), spread, eps)[0])  # 1 / sqrt(variance + eps)
_minus = of_fours(lambda p, q: p - q)


@inlined
def _toward(p, q, share):
    return scaled4(p, share, _minus(q, p))


@inlined
def _shared_sum(pool, q, row, depth, width):
    """The sum of the threads' fours for the same columns, for all of them."""
    added_up(pool, q, depth, width)
    q = ld4(pool, cuda.threadIdx.x - row * width)
    cuda.syncthreads()  # all have read the pool
    return q


def _summing(vector):
    """Functions of a block's sums: moments of rows first to last of x and of slices; both products with u, and those of
    slices."""
    load = LOADS[vector]

    def moments(pool, x, n, f, first, last, row, column, depth, width):
        """The mean of some rows and the sum of squared distances from it, which finds the rows in the cache."""
        rest = zero4()
        if row < depth:
            for k in range(first + row, last, depth):
                rest = plus4(rest, load(x, k, column, n, f))
        mean = scaled4(
            zero4(), float32(1) / float32(last - first), _shared_sum(pool, rest, row, depth, width)
        )
        rest = zero4()
        if row < depth:
            for k in range(first + row, last, depth):
                apart = _minus(load(x, k, column, n, f), mean)
                rest = plus4(rest, times4(apart, apart))
        return mean, _shared_sum(pool, rest, row, depth, width)

    def joined(pool, parts, n, f, slices, rows, row, column, depth, width):
        """What `moments` gives for all n rows, from the moments of slices of `rows`; the last one has what is left."""
        mean, rest = zero4(), zero4()
        if row < depth:
            for k in range(row, slices, depth):
                weight = float32(min(rows, n - k * rows)) / float32(n)
                mean = scaled4(mean, weight, load(parts, 2 * k, column, 2 * slices, f))
        mean = _shared_sum(pool, mean, row, depth, width)
        if row < depth:
            for k in range(row, slices, depth):
                apart = _minus(load(parts, 2 * k, column, 2 * slices, f), mean)
                rest = scaled4(rest, float32(min(rows, n - k * rows)), times4(apart, apart))
                rest = plus4(rest, load(parts, 2 * k + 1, column, 2 * slices, f))
        return mean, _shared_sum(pool, rest, row, depth, width)

    def terms(k, column, u, x, centre, inverse, n, f):
        g = load(u, k, column, n, f)
        return times4(g, times4(_minus(load(x, k, column, n, f), centre), inverse)), g

    def part(k, column, parts, f, slices):
        return load(parts, 2 * k, column, 2 * slices, f), load(parts, 2 * k + 1, column, 2 * slices, f)

    return *map(inlined, (moments, joined)), _sums_of(terms), _sums_of(part)


def _sums_of(pair):
    """A function of a block's sums of two fours from first to last, which `pair` gives of `given`."""
    pair = inlined(pair)

    def sums_of(pool, first, last, row, column, depth, width, *given):
        both, sums = zero4(), zero4()
        if row < depth:
            for k in range(first + row, last, depth):
                p, q = pair(k, column, *given)
                both, sums = plus4(both, p), plus4(sums, q)
        return _shared_sum(pool, both, row, depth, width), _shared_sum(pool, sums, row, depth, width)

    return inlined(sums_of)


def _kernels(vector):
    """The four bodies by name; `parts` has two rows for each slice."""
    load, store = LOADS[vector], STORES[vector]
    moments, joined, products, added = _summing(vector)

    def slice_moments(x, parts, n, f, width, depth, span):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        first, slices = cuda.blockIdx.y * span, cuda.gridDim.y
        mean, rest = moments(pool, x, n, f, first, min(n, first + span), row, column, depth, width)
        if row == 0:
            store(parts, 2 * cuda.blockIdx.y, column, 2 * slices, f, mean)
            store(parts, 2 * cuda.blockIdx.y + 1, column, 2 * slices, f, rest)

    def norm_forward(
        x, parts, gamma, beta, mean, variance, stats, y, n, f, width, depth, span, slices, rows, source, act, slope,
        eps, momentum, widening,
    ):  # fmt: skip
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        if source == RUNNING:
            centre, inverse = load(mean, 0, column, 1, f), _inverses(load(variance, 0, column, 1, f), eps)
        else:
            if source == OWN:
                centre, rest = moments(pool, x, n, f, 0, n, row, column, depth, width)
            else:
                centre, rest = joined(pool, parts, n, f, slices, rows, row, column, depth, width)
            spread = scaled4(zero4(), float32(1) / float32(n), rest)
            inverse = _inverses(spread, eps)
            if row == 0 and cuda.blockIdx.y == 0:
                store(stats, 0, column, 2, f, centre)
                store(stats, 1, column, 2, f, inverse)
                if momentum != float32(0):  # else they may be `stats` themselves
                    wider = scaled4(zero4(), widening, spread)
                    store(mean, 0, column, 1, f, _toward(load(mean, 0, column, 1, f), centre, momentum))
                    store(
                        variance, 0, column, 1, f, _toward(load(variance, 0, column, 1, f), wider, momentum)
                    )
        if row < depth:
            scale, offset = times4(inverse, load(gamma, 0, column, 1, f)), load(beta, 0, column, 1, f)
            first = cuda.blockIdx.y * span
            for k in range(first + row, min(n, first + span), depth):
                q = plus4(times4(_minus(load(x, k, column, n, f), centre), scale), offset)
                store(y, k, column, n, f, activated4(q, act, slope))

    def slice_products(u, x, stats, parts, n, f, width, depth, span):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        centre, inverse = load(stats, 0, column, 2, f), load(stats, 1, column, 2, f)
        first, slices = cuda.blockIdx.y * span, cuda.gridDim.y
        last = min(n, first + span)
        both, sums = products(pool, first, last, row, column, depth, width, u, x, centre, inverse, n, f)
        if row == 0:
            store(parts, 2 * cuda.blockIdx.y, column, 2 * slices, f, both)
            store(parts, 2 * cuda.blockIdx.y + 1, column, 2 * slices, f, sums)

    def norm_backward(
        u, x, parts, gamma, stats, ggamma, gbeta, out, n, f, width, depth, span, slices, act, slope,
    ):  # fmt: skip
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        centre, inverse = load(stats, 0, column, 2, f), load(stats, 1, column, 2, f)
        if slices == 0:
            both, sums = products(pool, 0, n, row, column, depth, width, u, x, centre, inverse, n, f)
        else:
            both, sums = added(pool, 0, slices, row, column, depth, width, parts, f, slices)
        if row == 0 and cuda.blockIdx.y == 0:
            store(ggamma, 0, column, 1, f, both)
            store(gbeta, 0, column, 1, f, sums)
        if row < depth:
            scale, share = times4(inverse, load(gamma, 0, column, 1, f)), float32(-1) / float32(n)
            first = cuda.blockIdx.y * span
            for k in range(first + row, min(n, first + span), depth):
                q = load(x, k, column, n, f)
                tilt = plus4(times4(times4(_minus(q, centre), inverse), both), sums)
                g = times4(scaled4(load(u, k, column, n, f), share, tilt), scale)
                store(out, k, column, n, f, masked4(g, q, act, slope))

    return {body.__name__: body for body in (slice_moments, norm_forward, slice_products, norm_backward)}


BODIES = {vector: _kernels(vector) for vector in (True, False)}
ARGUMENTS = {
    "slice_moments": (IN4, OUT4, *[INT] * 5),
    "norm_forward": (*[IN4] * 4, *[INOUT4] * 3, OUT4, *[INT] * 9, *[FLOAT] * 4),
    "slice_products": (*[IN4] * 3, OUT4, *[INT] * 5),
    "norm_backward": (*[IN4] * 5, *[OUT4] * 3, *[INT] * 7, FLOAT),
}
FAMILY = {
    name: Wide(lambda vector, name=name: BODIES[vector][name], kinds, block=THREADS, name=name)
    for name, kinds in ARGUMENTS.items()
}


def _rows(x, rows=(), pairs=(), like=(), act="leaky", slope=1.0):
    """x (..., f) as (n, f); None unless the others are (f,), (2, f) and as x, ready to be pointed at."""
    if x.ndim < 2 or x.size >= 2**31 or act not in ACTS or not 0 <= slope <= 1:
        return None
    f = x.shape[-1]
    wanted = ((f,), rows), ((2, f), pairs), (x.shape, like)
    fits = all(is_plain(a, shape) for shape, arrays in wanted for a in arrays)
    return x.reshape(x.size // f, f) if fits else None


def _sliced(name, n, f, *arrays):
    """The first of two launches: two rows (2 * slices, f) for each slice of the rows, and how many rows one has."""
    layout = Layout.of(n, f)
    parts = empty((2 * layout.slices, f), arrays[0])
    FAMILY[name](layout.grid, *arrays, parts, n, f, *layout.sizes, sizes=(f,))
    return parts, layout.slices, layout.span


def norm_forward(
    x, gamma, beta, mean, variance, *, eps, momentum=0.0, widening=1.0, training=True, act="leaky", slope=1.0,
    stats=None,
):  # fmt: skip
    """See fastgan.ops.norm.norm_forward."""
    kept = [] if stats is None or not training else [stats]
    x_rows = _rows(x, (gamma, beta, mean, variance), kept, act=act, slope=slope)
    if x_rows is None:
        return NotImplemented
    (n, f), y, parts, slices, rows = x_rows.shape, empty(x.shape, x), None, 0, 0
    source = OWN if training else RUNNING
    if training:
        stats = empty((2, f), x) if stats is None else stats
        if n > FEW:
            (parts, slices, rows), source = _sliced("slice_moments", n, f, x_rows), JOINED
    layout = Layout.of(n, f, most=1) if source == OWN else Layout.of(n, f)
    arrays = x_rows, parts, gamma, beta, mean, variance, stats if training else None, y
    settings = slices, rows, source, ACTS[act], slope, eps, momentum, widening
    FAMILY["norm_forward"](layout.grid, *arrays, n, f, *layout.sizes, *settings, sizes=(f,))
    return y


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.norm.norm_backward."""
    rows = _rows(x, (gamma, ggamma, gbeta), (stats,), (u,), act, slope)
    if rows is None:
        return NotImplemented
    (n, f), out, parts, slices = rows.shape, empty(x.shape, x), None, 0
    if n > FEW:
        parts, slices, _ = _sliced("slice_products", n, f, u, x, stats)
    layout = Layout.of(n, f) if slices else Layout.of(n, f, most=1)
    arrays = u, rows, parts, gamma, stats, ggamma, gbeta, out
    settings = slices, ACTS[act], slope
    FAMILY["norm_backward"](layout.grid, *arrays, n, f, *layout.sizes, *settings, sizes=(f,))
    return out
