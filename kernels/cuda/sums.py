"""Sums of columns on CUDA, as for a bias: slices of the rows first, then the slices' sums; always in the same order.

A block owns some columns of a slice, and a thread four of them in every `depth`-th row. However few columns there are,
all threads have rows to sum and neighbours read neighbouring numbers; other kernels over columns (norm.py) are laid out
in the same way, by `Layout`.

Shapes: `n` rows, `f` columns.
"""

import math
from dataclasses import dataclass

from numba import cuda, float32

from fastgan.kernels.cuda.epilogues import LOADS, STORES, THREADS, plus4, put4, zero4
from fastgan.kernels.cuda.launching import IN4, INT, OUT4, Wide, blocks, empty, is_plain
from fastgan.kernels.cuda.vector import inlined, ld4, quotient

POOL = 4 * THREADS  # numbers: four of each thread
BLOCKS = 512  # that busy a large GPU, several to a multiprocessor
NARROW = 8  # fours of a block in a row: 128 bytes
PASSES = 4  # rows of a thread, at least, before there are more slices


@dataclass(frozen=True)
class Layout:
    """How blocks share out n rows of f columns: `width` fours, `depth` rows at a time, `span` rows a slice."""

    width: int
    depth: int
    span: int
    grid: tuple[int, int]

    @property
    def slices(self):
        """Slices of the rows."""
        return self.grid[1]

    @property
    def sizes(self):
        """What a kernel is told."""
        return self.width, self.depth, self.span

    @staticmethod
    def of(n, f, *, most=BLOCKS):
        """The layout for n rows in at most so many slices."""
        fours = blocks(f, 4)
        width = min(fours, max(NARROW, THREADS // n))
        depth, across = THREADS // width, blocks(fours, width)
        slices = max(1, min(blocks(BLOCKS, across), n // (PASSES * depth), most))
        span = blocks(n, slices)
        return Layout(width, depth, span, (across, blocks(n, span)))


@inlined
def place(width):
    """A thread's row among those that its block takes at a time, and its first column."""
    row = quotient(cuda.threadIdx.x, width)
    return row, 4 * (cuda.blockIdx.x * width + cuda.threadIdx.x - row * width)


@inlined
def added_up(pool, q, depth, width):
    """The sum of the threads' fours for the same columns, for the threads of the first row; all threads call it."""
    t, count = cuda.threadIdx.x, depth
    put4(pool, t, q)
    cuda.syncthreads()
    while count > 1:
        half = (count + 1) >> 1
        if t < (count - half) * width:
            put4(pool, t, plus4(ld4(pool, t), ld4(pool, t + half * width)))
        cuda.syncthreads()
        count = half
    return ld4(pool, t)


def _slice_sums(vector):
    """out[s] = the sum of the rows of slice s of v."""
    load, store = LOADS[vector], STORES[vector]

    def slice_sums(v, out, n, f, width, depth, span):
        pool = cuda.shared.array(POOL, float32)
        row, column = place(width)
        first, sums = cuda.blockIdx.y * span, zero4()
        if row < depth:
            for k in range(first + row, min(n, first + span), depth):
                sums = plus4(sums, load(v, k, column, n, f))
        sums = added_up(pool, sums, depth, width)
        if row == 0:
            store(out, cuda.blockIdx.y, column, cuda.gridDim.y, f, sums)

    return slice_sums


SLICE_SUMS = Wide(_slice_sums, (IN4, OUT4, *[INT] * 5), block=THREADS, name="slice_sums")


def column_sums(v, out):
    """out (f,) = the sum of the rows of v (n, f), of fewer than 2**31 elements; returns `out`.

    An `out` of f / r columns counts a row of v as r rows.
    """
    layout = Layout.of(*v.shape)
    if layout.slices > 1 or out.size < v.shape[1]:
        v = _slices(v, empty((layout.slices, v.shape[1]), v), layout).reshape(-1, out.size)
        layout = Layout.of(*v.shape, most=1)
    return _slices(v, out, layout)


def _slices(v, out, layout):
    n, f = v.shape
    SLICE_SUMS(layout.grid, v, out, n, f, *layout.sizes, sizes=(f,))
    return out


def sum_to(x, *, shape, out=None):
    """See fastgan.tape.arithmetic.sum_to, written to `out` where that is given; only the first axes go."""
    kept = shape
    while kept and kept[0] == 1:
        kept = kept[1:]
    f, lead = math.prod(kept), x.ndim - len(kept)
    if lead < 1 or len(shape) > x.ndim or x.shape[lead:] != kept or x.size == f or x.size >= 2**31:
        return NotImplemented
    if out is not None and not is_plain(out, shape):
        return NotImplemented
    out = empty(shape, x) if out is None else out
    n = x.size // f
    together = 4 if f < 4 and n % 4 == 0 else 1  # rows as one, for 16-byte accesses
    column_sums(x.reshape(n // together, together * f), out.reshape(f))
    return out
