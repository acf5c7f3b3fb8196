"""Column sums on the CPU: over all axes but the last, in float32 lanes, for few columns as for many.

Narrow rows are taken side by side as one of about WIDE elements, so that loops over three colours vectorise like loops
over 512 features. ROWS of them at a time become one, and those rows in turn, as often as it takes: sums of so few are
exact to float32's last bits, and depend neither on threads nor on timing.

Shapes: `n` rows, `f` columns, `w` lanes: f times a power of two.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled
from fastgan.kernels.splitting import split

WIDE = 256  # lanes at least, where the number of rows allows it
ROWS = 64  # that one float32 sum takes
LEAST = 1 << 18  # elements that are worth a thread
SMALL = 1 << 16  # elements below which NumPy's sum is faster; of one column it is as fast
BROAD = 512  # columns from which it is as fast


def side_by_side(x, f):
    """x as (rows, w), where a row is one row of f or 2, 4, 8, ... of them; C-contiguous."""
    w, n = f, x.size // f
    while w < WIDE and n % 2 == 0:
        w, n = 2 * w, n // 2
    return x.reshape(n, w)


def share(work, shape, block=1):
    """Call work(first, last) for stretches of a shape's rows that begin at multiples of `block`, on several threads."""
    n, w = shape
    if n * w < 2 * LEAST:
        work(0, n)
    else:
        split(lambda a, b: work(a * block, min(b * block, n)), -(-n // block), least=-(-LEAST // (block * w)))


@compiled
def _sums(x, first, last, out):
    for start in range(first, last, ROWS):
        lanes = out[start // ROWS]
        lanes[:] = float32(0)
        for r in range(start, min(start + ROWS, last)):
            for c in range(lanes.size):
                lanes[c] += x[r, c]


def _summed(x):
    """Each ROWS rows as one."""
    out = np.empty((-(-len(x) // ROWS), x.shape[1]), np.float32)
    share(lambda a, b: _sums(x, a, b, out), x.shape, ROWS)
    return out


def sum_to(x, *, shape, out=None):
    """The sum over all axes but the last; (..., f) -> (f,). See fastgan.tape.arithmetic.sum_to."""
    if x.ndim < 2 or shape != x.shape[-1:] or x.size < SMALL or not 1 < shape[0] < BROAD:
        return NotImplemented
    rows = side_by_side(x, shape[0])
    while len(rows) > 1:
        rows = _summed(rows)
    return rows.reshape(-1, *shape).sum(axis=0, out=out)
