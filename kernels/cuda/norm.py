"""Batch norm on CUDA: where rows are few, a block owns eight columns and all of them, and one launch does it all.

Eight columns are 32 bytes of a row, the least that memory moves; 256 threads take 32 rows at a time. Rows of images are
many: the ops of the tape take `moments`, a launch for each pass over x.

Shapes: `n` rows, `f` features.
"""

from numba import cuda, float32

from fastgan.kernels import norm
from fastgan.kernels.cuda import moments as many
from fastgan.kernels.cuda.epilogues import ACTS, THREADS, activated, fold, masked
from fastgan.kernels.cuda.launching import FLOAT, IN, INOUT, INT, OUT, Kernel, blocks, empty
from fastgan.kernels.cuda.vector import inlined

COLUMNS, ROWS = 8, 32  # of a block at a time
FEW = 512  # rows that a block can own

_norm_scale = inlined(norm.norm_scale)


def norm_rows(
    x, gamma, beta, mean, variance, stats, y, n, f, training, keeps, act, slope, eps, momentum, widening
):
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
            variance[column] += momentum * (widening * spread - variance[column])
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
    (IN, IN, IN, INOUT, INOUT, OUT, OUT, INT, INT, INT, INT, INT, FLOAT, FLOAT, FLOAT, FLOAT),
    block=THREADS,
    name="norm_forward",
)
NORM_BACKWARD = Kernel(
    norm_rows_backward,
    (IN, IN, IN, IN, OUT, OUT, OUT, INT, INT, INT, FLOAT),
    block=THREADS,
    name="norm_backward",
)
KERNELS = (NORM_FORWARD, NORM_BACKWARD, *many.KERNELS)


def _fits(x, act, slope, *, rows=(), pairs=()):
    """Whether x is (n, f), of fewer than 2**31 elements, and the others (f,) or (2, f), ready to be pointed at."""
    if x.ndim != 2 or x.size >= 2**31 or act not in ACTS or not 0 <= slope <= 1:
        return False
    f = x.shape[1]
    if any(a.shape != (f,) for a in rows) or any(a.shape != (2, f) for a in pairs):
        return False
    return all(a.dtype == "float32" and a.flags.c_contiguous for a in (*rows, *pairs))


def norm_forward(
    x,
    gamma,
    beta,
    mean,
    variance,
    *,
    eps,
    momentum=0.0,
    widening=1.0,
    training=True,
    act="leaky",
    slope=1.0,
    stats=None,
):
    """See fastgan.ops.norm.norm_forward."""
    kept = stats if training else None
    pairs = () if kept is None else (kept,)
    if not _fits(x, act, slope, rows=(gamma, beta, mean, variance), pairs=pairs):
        return NotImplemented
    n, f = x.shape
    grid = blocks(f, COLUMNS), 1 if training else blocks(n, ROWS)
    if grid[1] > 65535:
        return NotImplemented
    y = empty(x.shape, x)
    flags, settings = (int(bool(training)), len(pairs), ACTS[act]), (slope, eps, momentum, widening)
    moved = None if training else (x.nbytes + 16 * f, y.nbytes)
    NORM_FORWARD(grid, x, gamma, beta, mean, variance, kept, y, n, f, *flags, *settings, moved=moved)
    return y


def norm_backward(u, x, gamma, stats, *, ggamma, gbeta, act="leaky", slope=1.0):
    """See fastgan.ops.norm.norm_backward."""
    if u.shape != x.shape or not _fits(x, act, slope, rows=(gamma, ggamma, gbeta), pairs=(stats,)):
        return NotImplemented
    (n, f), out = x.shape, empty(x.shape, x)
    NORM_BACKWARD(blocks(f, COLUMNS), u, x, gamma, stats, ggamma, gbeta, out, n, f, ACTS[act], slope)
    return out


def _rows(x, rows=(), pairs=(), like=()):
    """x (..., f) as (n, f); None unless the others are (f,), (2, f) and as x, ready to be pointed at."""
    if x.ndim < 2 or x.size >= 2**31 or any(a.shape != x.shape for a in like):
        return None
    f = x.shape[-1]
    pairs = [a for a in pairs if a is not None]
    if any(a.shape != (f,) for a in rows) or any(a.shape != (2, f) for a in pairs):
        return None
    plain = all(a.dtype == "float32" and a.flags.c_contiguous for a in (x, *rows, *pairs, *like))
    return x.reshape(x.size // f, f) if plain else None


def moments(x, *, eps):
    """See fastgan.ops.norm.moments."""
    x = _rows(x)
    return NotImplemented if x is None else many.statistics(x, eps)


def batch_norm(x, gamma, beta, *, eps=1e-5, stats=None):
    """See fastgan.ops.norm.batch_norm."""
    rows = _rows(x, (gamma, beta), (stats,))
    if rows is None:
        return NotImplemented
    stats = many.statistics(rows, eps) if stats is None else stats
    return many.normalised(rows, stats, gamma, beta).reshape(x.shape)


def batch_norm_grad(g, x, gamma, *, eps, stats=None):
    """See fastgan.ops.norm.batch_norm_grad."""
    rows = _rows(x, (gamma,), (stats,), (g,))
    if rows is None:
        return NotImplemented
    g, stats = g.reshape(rows.shape), many.statistics(rows, eps) if stats is None else stats
    if len(rows) <= FEW:
        out = norm_backward(g, rows, gamma, stats, ggamma=empty(gamma.shape, x), gbeta=empty(gamma.shape, x))
    else:
        out = many.gradient(g, rows, gamma, stats, many.gradient_sums(g, rows, stats))
    return out.reshape(x.shape)


def batch_norm_gamma_grad(g, x, *, eps, stats=None):
    """See fastgan.ops.norm.batch_norm_gamma_grad."""
    rows = _rows(x, (), (stats,), (g,))
    if rows is None:
        return NotImplemented
    stats = many.statistics(rows, eps) if stats is None else stats
    return many.gradient_sums(g.reshape(rows.shape), rows, stats)[0]
