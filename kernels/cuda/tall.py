"""The product a^T v of matrices with many rows on CUDA, as a convolution's weight gradient is: in slices of the rows.

A result of 25 x 64 numbers is one tile, and one block would sum 100,000 rows while all others rest. So blocks sum
slices, and `sums` adds the slices up, in order. Few rows are one slice, written to its place at once.

Shapes: `n` rows, `i`/`o` columns of a and v.
"""

from numba import cuda, float32

from fastgan.kernels.cuda import sums
from fastgan.kernels.cuda.epilogues import THREADS, named
from fastgan.kernels.cuda.launching import IN, INT, OUT, Kernel, blocks, empty, vectors
from fastgan.kernels.cuda.tiles import WEIGHT_TILES, product
from fastgan.kernels.cuda.vector import shifted

BLOCKS = 264  # two for each multiprocessor of a large GPU
LEAST = 256  # rows of a slice


def _tall(name, vector):
    """out[s] = a^T v over the rows of slice s."""
    rows, columns, shift, each = WEIGHT_TILES[name].places
    own = product("TN", WEIGHT_TILES[name], vector)
    size, multiply, element = own.size, own.multiply, own.element

    def tall(a, v, out, n, i, o, span):
        pool = cuda.shared.array(size, float32)
        row0, col0, first = cuda.blockIdx.y * rows, cuda.blockIdx.x * columns, cuda.blockIdx.z * span
        whole = min(span, n - first)
        multiply(pool, shifted(a, first * i), shifted(v, first * o), row0, col0, i, whole, o, 0)
        for part in range(each):
            k = cuda.threadIdx.x + part * THREADS
            row, column = row0 + (k >> shift), col0 + (k & (columns - 1))
            if row < i and column < o:
                out[(cuda.blockIdx.z * i + row) * o + column] = element(pool, k >> shift, k & (columns - 1))

    return Kernel(tall, (IN, IN, OUT, *[INT] * 4), block=THREADS, name=named("tall", name, vector))


TALL = {(name, vector): _tall(name, vector) for name in WEIGHT_TILES for vector in (True, False)}
KERNELS = tuple(TALL.values())


def turned_product(name, a, v, out):
    """out (i, o) = a^T v by tiles of a name; (n, i), (n, o), of fewer than 2**31 elements each; returns `out`."""
    (n, i), o, tile = a.shape, v.shape[1], WEIGHT_TILES[name]
    across, down = blocks(o, tile.columns), blocks(i, tile.rows)
    span = blocks(n, max(1, min(blocks(BLOCKS, across * down), n // LEAST)))
    slices = blocks(n, span)
    parts = out if slices == 1 else empty((slices, i * o), a)
    TALL[name, vectors(a, v, sizes=(i, o))]((across, down, slices), a, v, parts, n, i, o, span)
    if slices > 1:
        sums.column_sums(parts, out.reshape(i * o))
    return out
