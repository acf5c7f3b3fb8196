"""The product of two tiles of matrices inside one block, in three forms; the kernels of `products` are built of it.

A block of 256 threads owns a tile of the result, each thread 4 x 4 sums of it, in as many groups as that takes: the
groups share out the summed axis and are added up at the end. So a narrow tile, of which a small batch has enough for
every multiprocessor, still keeps all threads busy, and no second kernel is needed. Tiles of operands stand in shared
memory as in global memory (no form transposes anything); the next ones are fetched while these are multiplied.

Forms: "NN" p @ q, "NT" p @ q^T, "TN" p^T @ q.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from numba import cuda, float32

from fastgan.kernels.cuda.epilogues import LOADS, THREADS, dot4, fold, plus4, put4, scaled4, zero4
from fastgan.kernels.cuda.vector import inlined, ld4


def _log2(x):
    return x.bit_length() - 1


@dataclass(frozen=True)
class Tile:
    """A block's share of the result, and how much of the summed axis it takes at a time."""

    rows: int
    columns: int
    depth: int

    @property
    def places(self):
        """Rows, columns, the shift from an element's number to its row, and elements of a thread."""
        return self.rows, self.columns, _log2(self.columns), self.rows * self.columns // THREADS

    @property
    def groups(self):
        """Groups of threads; each sums a part of the depth."""
        return 16 * THREADS // (self.rows * self.columns)


TILES = {
    "32x8": Tile(32, 8, 128),
    "64x8": Tile(64, 8, 64),
    "32x32": Tile(32, 32, 64),
    "64x64": Tile(64, 64, 16),
}
# In a^T v the batch is summed, which is short.
WEIGHT_TILES = {"32x8": Tile(32, 32, 32), "32x32": Tile(32, 32, 32), "64x64": Tile(64, 64, 16)}


@dataclass(frozen=True)
class Operand:
    """An operand's tile in shared memory: its rows start `pitch` floats apart; `turned` if they run along the sum."""

    rows: int
    columns: int
    pitch: int
    turned: bool

    @property
    def shift(self):
        """A thread's row is its number shifted by this."""
        return _log2(self.columns // 4)

    @property
    def step(self):
        """Rows that all threads together take at once, four numbers each."""
        return 4 * THREADS // self.columns

    @property
    def count(self):
        """Fours of one thread."""
        return max(self.rows // self.step, 1)


def _fetching(load, operand, count):
    """A thread's fours of a tile, from global memory: (matrix, row, column, its height, its width) -> a tuple."""
    shift, mask, most = operand.shift, operand.columns // 4 - 1, operand.rows
    spare = most < operand.step  # there are threads with nothing to do
    if count == 1:

        def fetch(p, row, column, height, width):
            line, c = cuda.threadIdx.x >> shift, column + 4 * (cuda.threadIdx.x & mask)
            if spare and line >= most:
                height = 0
            return (load(p, row + line, c, height, width),)

    else:
        half, far = _fetching(load, operand, count // 2), count // 2 * operand.step

        def fetch(p, row, column, height, width):
            near = half(p, row, column, height, width)
            return near + half(p, row + far, column, height, width)

    return inlined(fetch)


def _along(fetch, turned):
    """`fetch` with its row across the sum and its column along it, in whichever way the matrix lies."""

    def along(p, across, k, size, depth):
        return fetch(p, k, across, depth, size)

    return inlined(along) if turned else fetch


def _putting(operand, count):
    """The fours into shared memory; `base` counts fours."""
    shift, mask, line = operand.shift, operand.columns // 4 - 1, operand.pitch // 4
    spare, most = operand.rows < operand.step, operand.rows
    if count == 1:

        def put(pool, base, q):
            t, q = cuda.threadIdx.x, q[0]
            if not spare or (t >> shift) < most:
                put4(pool, base + (t >> shift) * line + (t & mask), q)

    else:
        middle = count // 2
        half, far = _putting(operand, middle), middle * operand.step * line

        def put(pool, base, q):
            half(pool, base, q[:middle])
            half(pool, base + far, q[middle:])

    return inlined(put)


def _tallying(operand, count):
    """The fours added to `sums`, as far as their rows come before `limit`."""
    shift = operand.shift
    if count == 1:

        def tally(sums, q, row, limit):
            return plus4(sums, q[0]) if row + (cuda.threadIdx.x >> shift) < limit else sums

    else:
        middle = count // 2
        half, far = _tallying(operand, middle), middle * operand.step

        def tally(sums, q, row, limit):
            return half(half(sums, q[:middle], row, limit), q[middle:], row + far, limit)

    return inlined(tally)


def _stage(form, tile, p4, q4, start):
    """A group's part of one stage: (pool, k, y, x, four rows of sums) -> the rows; pitches count fours."""
    span, down = tile.depth // tile.groups, tile.rows // 4
    across = tile.columns // 4

    def outer(r, a, b, c, d, q):
        return scaled4(r[0], a, q), scaled4(r[1], b, q), scaled4(r[2], c, q), scaled4(r[3], d, q)

    outer = inlined(outer)

    def nn(pool, k, y, x, r):
        for part in range(span // 4):
            a = (k >> 2) + part + y * p4
            a0, a1 = ld4(pool, a), ld4(pool, a + down * p4)
            a2, a3 = ld4(pool, a + 2 * down * p4), ld4(pool, a + 3 * down * p4)
            b = start + (k + 4 * part) * q4 + x
            r = outer(r, a0[0], a1[0], a2[0], a3[0], ld4(pool, b))
            r = outer(r, a0[1], a1[1], a2[1], a3[1], ld4(pool, b + q4))
            r = outer(r, a0[2], a1[2], a2[2], a3[2], ld4(pool, b + 2 * q4))
            r = outer(r, a0[3], a1[3], a2[3], a3[3], ld4(pool, b + 3 * q4))
        return r

    def dots(r, a, b0, b1, b2, b3):
        return dot4(r[0], a, b0), dot4(r[1], a, b1), dot4(r[2], a, b2), dot4(r[3], a, b3)

    dots = inlined(dots)

    def nt(pool, k, y, x, r):
        for part in range(span // 4):
            a = (k >> 2) + part + y * p4
            b = start + (k >> 2) + part + x * q4
            b0, b1 = ld4(pool, b), ld4(pool, b + across * q4)
            b2, b3 = ld4(pool, b + 2 * across * q4), ld4(pool, b + 3 * across * q4)
            r0 = dots(r[0], ld4(pool, a), b0, b1, b2, b3)
            r1 = dots(r[1], ld4(pool, a + down * p4), b0, b1, b2, b3)
            r2 = dots(r[2], ld4(pool, a + 2 * down * p4), b0, b1, b2, b3)
            r = r0, r1, r2, dots(r[3], ld4(pool, a + 3 * down * p4), b0, b1, b2, b3)
        return r

    def tn(pool, k, y, x, r):
        for part in range(span):
            a, q = ld4(pool, (k + part) * p4 + y), ld4(pool, start + (k + part) * q4 + x)
            r = outer(r, a[0], a[1], a[2], a[3], q)
        return r

    return inlined({"NN": nn, "NT": nt, "TN": tn}[form])


def product(form, tile, vector):
    """Functions that a body is made of, and the shared floats that its `pool` needs (`size`).

    `multiply(pool, p, q, row0, col0, height, depth, width, limit)` leaves the groups' sums of a tile in the pool and
    returns a part of the sums of the first `limit` rows of q's tile (for "TN"), `element(pool, row, column)` adds up
    the groups, `column_sums(pool, sums)` overwrites the pool with the sums for the tile's columns.
    """
    rows, columns, depth, groups = tile.rows, tile.columns, tile.depth, tile.groups
    summed, spread = form == "TN", form == "NT"
    left = (
        Operand(depth, rows, rows, True) if summed else Operand(rows, depth, depth + 4, False)
    )  # 4: other banks
    right = Operand(columns, depth, depth + 4, False) if spread else Operand(depth, columns, columns, True)
    fetch_left, fetch_right = (_along(_fetching(LOADS[vector], x, x.count), x.turned) for x in (left, right))
    put_left, put_right = (_putting(x, x.count) for x in (left, right))
    tally, start = _tallying(right, right.count), left.rows * left.pitch // 4
    stage = _stage(form, tile, left.pitch // 4, right.pitch // 4, start)
    lanes, y_shift, c_shift = _log2(rows * columns // 16), _log2(rows // 4), _log2(columns // 4)
    stride, apart = (4, 1) if summed else (1, rows // 4)  # a thread's rows: y * stride + apart * (0, 1, 2, 3)
    pitch = columns // 4 + 1  # of the groups' sums
    span, part, last = depth // groups, rows * pitch, columns // 4 - 1

    def multiply(pool, p, q, row0, col0, height, whole, width, limit):
        t = cuda.threadIdx.x
        group, lane = t >> lanes, t & ((1 << lanes) - 1)
        y, x = lane & ((1 << y_shift) - 1), lane >> y_shift
        r, sums = (zero4(), zero4(), zero4(), zero4()), zero4()
        k = 0
        if vector:  # four scalar loads would need too many registers to be ahead
            a, b = fetch_left(p, row0, 0, height, whole), fetch_right(q, col0, 0, width, whole)
        while k < whole:
            if not vector:
                a, b = fetch_left(p, row0, k, height, whole), fetch_right(q, col0, k, width, whole)
            put_left(pool, 0, a)
            put_right(pool, start, b)
            if summed:
                sums = tally(sums, b, k, limit)
            cuda.syncthreads()
            k += depth
            if vector:
                a, b = fetch_left(p, row0, k, height, whole), fetch_right(q, col0, k, width, whole)
            r = stage(pool, group * span, y, x, r)
            cuda.syncthreads()
        place = group * part + y * stride * pitch + x
        put4(pool, place, r[0])
        put4(pool, place + apart * pitch, r[1])
        put4(pool, place + 2 * apart * pitch, r[2])
        put4(pool, place + 3 * apart * pitch, r[3])
        cuda.syncthreads()
        return sums

    def element(pool, row, column):
        if spread:  # a thread's columns lie a quarter of the tile apart
            column = 4 * (column & last) + (column >> c_shift)
        total = float32(0)
        for group in range(groups):
            total += pool[4 * (group * part + row * pitch) + column]
        return total

    def column_sums(pool, sums):
        cuda.syncthreads()  # the pool's elements have been read
        put4(pool, cuda.threadIdx.x, sums)
        fold(pool, 4 * THREADS, columns)

    size = 4 * max(start + right.rows * right.pitch // 4, groups * part, THREADS)
    return SimpleNamespace(
        size=size, multiply=inlined(multiply), element=inlined(element), column_sums=inlined(column_sums)
    )
