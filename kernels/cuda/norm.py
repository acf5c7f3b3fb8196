"""Batch norm on CUDA: a block owns eight columns and all rows, so statistics and result are one launch.

Eight columns are 32 bytes of a row, the least that memory moves; 256 threads take 32 rows at a time.

Shapes: `n` rows, `f` features.
"""

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda.epilogues import ACTS, THREADS, activated, fold, masked
from fastgan.kernels.cuda.launching import FLOAT, IN, INOUT, INT, OUT, Kernel, blocks, empty
from fastgan.kernels.cuda.vector import inlined

COLUMNS, ROWS = 8, 32  # of a block at a time

_norm_scale = inlined(norm.norm_scale)


def norm_rows(x, gamma, beta, mean, variance, stats, y, n, f, training, keeps, act, slope, eps, momentum):
    """y = act(batch norm of x); in training a block has all rows of its columns, else 32 of them."""
    pool = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    column = cuda.blockIdx.x * COLUMNS + (t & (COLUMNS - 1))
    first = cuda.blockIdx.y * ROWS + (t >> 3)
    last = n if training != 0 else min(n, first + 1)
    inside = column < f
    centre, spread = float32(0), float32(1)
    if training != 0:
        total = float32(0)
        if inside:
            for row in range(first, n, ROWS):
                total += x[row * f + column]
        pool[t] = total
        fold(pool, THREADS, COLUMNS)
        centre = pool[t & (COLUMNS - 1)] / float32(n)
        cuda.syncthreads()  # all have read the pool
        total = float32(0)
        if inside:
            for row in range(first, n, ROWS):
                apart = x[row * f + column] - centre
                total += apart * apart
        pool[t] = total
        fold(pool, THREADS, COLUMNS)
        spread = pool[t & (COLUMNS - 1)] / float32(n)
    elif inside:
        centre, spread = mean[column], variance[column]
    if inside:
        inverse, scale = _norm_scale(gamma[column], spread, eps)
        offset = beta[column]
        if training != 0 and t < COLUMNS:
            mean[column] += momentum * (centre - mean[column])
            variance[column] += momentum * (spread - variance[column])
            if keeps != 0:
                stats[column], stats[f + column] = centre, inverse
        for row in range(first, last, ROWS):
            y[row * f + column] = activated((x[row * f + column] - centre) * scale + offset, act, slope)


def norm_rows_backward(u, x, gamma, stats, ggamma, gbeta, out, n, f, act, slope):
    """The gradient for x, times the derivative of the activation that made x, and those of gamma and beta."""
    pool = cuda.shared.array(512, float32)
    t = cuda.threadIdx.x
    own, first = t & (COLUMNS - 1), t >> 3
    column = cuda.blockIdx.x * COLUMNS + own
    inside = column < f
    centre, inverse, sums, products = float32(0), float32(0), float32(0), float32(0)
    if inside:
        centre, inverse = stats[column], stats[f + column]
        for row in range(first, n, ROWS):
            g = u[row * f + column]
            sums += g
            products += g * ((x[row * f + column] - centre) * inverse)
    pool[first * 2 * COLUMNS + own] = products
    pool[first * 2 * COLUMNS + COLUMNS + own] = sums
    fold(pool, 512, 2 * COLUMNS)
    if inside:
        products, sums = pool[own], pool[COLUMNS + own]
        if t < COLUMNS:
            ggamma[column], gbeta[column] = products, sums
        scale, share = gamma[column] * inverse, float32(1) / float32(n)
        for row in range(first, n, ROWS):
            k = row * f + column
            normal = (x[k] - centre) * inverse
            g = (u[k] - (normal * products + sums) * share) * scale
            out[k] = masked(g, x[k], act, slope)


NORM_FORWARD = Kernel(
    norm_rows,
    (IN, IN, IN, INOUT, INOUT, OUT, OUT, INT, INT, INT, INT, INT, FLOAT, FLOAT, FLOAT),
    block=THREADS,
    name="norm_forward",
)
NORM_BACKWARD = Kernel(
    norm_rows_backward,
    (IN, IN, IN, IN, OUT, OUT, OUT, INT, INT, INT, FLOAT),
    block=THREADS,
    name="norm_backward",
)
KERNELS = (NORM_FORWARD, NORM_BACKWARD)


def _fits(x, act, slope, *, rows=(), pairs=()):
    """Whether x is (n, f), of fewer than 2**31 elements, and the others (f,) or (2, f), ready to be pointed at."""
    if x.ndim != 2 or x.size >= 2**31 or act not in ACTS or not 0 <= slope <= 1:
        return False
    f = x.shape[1]
    if any(a.shape != (f,) for a in rows) or any(a.shape != (2, f) for a in pairs):
        return False
    return all(a.dtype == "float32" and a.flags.c_contiguous for a in (*rows, *pairs))


def norm_forward(
    x, gamma, beta, mean, variance, *, eps, momentum=0.0, training=True, act="leaky", slope=1.0, stats=None
):
    """See fastgan.ops.passes.norm_forward."""
    kept = stats if training else None
    pairs = () if kept is None else (kept,)
    if not _fits(x, act, slope, rows=(gamma, beta, mean, variance), pairs=pairs):
        return NotImplemented
    n, f = x.shape
    grid = blocks(f, COLUMNS), 1 if training else blocks(n, ROWS)
    if grid[1] > 65535:
        return NotImplemented
    y = empty(x.shape, x)
    flags = int(bool(training)), len(pairs), ACTS[act]
    moved = None if training else (x.nbytes + 16 * f, y.nbytes)
    NORM_FORWARD(
        grid, x, gamma, beta, mean, variance, kept, y, n, f, *flags, slope, eps, momentum, moved=moved
    )
    return y


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.passes.norm_backward."""
    if u.shape != x.shape or not _fits(x, act, slope, rows=(gamma, ggamma, gbeta), pairs=(stats,)):
        return NotImplemented
    (n, f), out = x.shape, empty(x.shape, x)
    NORM_BACKWARD(blocks(f, COLUMNS), u, x, gamma, stats, ggamma, gbeta, out, n, f, ACTS[act], slope)
    return out
