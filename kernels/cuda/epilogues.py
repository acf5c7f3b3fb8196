"""What CUDA bodies are made of: activations and their derivatives, guarded loads, sums over threads.

Shared by the products and the small kernels; an activation is a number in a kernel (`ACTS`), so that one machine code
serves all of the table.
"""

from numba import cuda, float32

from fastgan.kernels.cuda.vector import inlined, ld4, scalars, st4
from fastgan.kernels.formulas import ACTIVATIONS, chosen, zero

ACTS = {name: number for number, name in enumerate(ACTIVATIONS)}
THREADS = 256

_value = chosen([inlined(row.value) for row in ACTIVATIONS.values()], inlined)
_masked = chosen([inlined(row.masked) for row in ACTIVATIONS.values()], inlined)


@inlined
def activated(z, act, slope):
    """The activation of z."""
    return _value(act, scalars, z, slope)


@inlined
def masked(g, y, act, slope):
    """g times the derivative of the activation whose output is y."""
    return _masked(act, scalars, g, y, slope)


def of_fours(formula):
    """A formula of two numbers and more, number by number of two fours."""
    f = inlined(formula)
    return inlined(
        lambda p, q, *x: (f(p[0], q[0], *x), f(p[1], q[1], *x), f(p[2], q[2], *x), f(p[3], q[3], *x))
    )


def of_four(formula):
    """A formula of a number and more, number by number of a four."""
    f = inlined(formula)
    return inlined(lambda q, *x: (f(q[0], *x), f(q[1], *x), f(q[2], *x), f(q[3], *x)))


activated4 = of_four(lambda z, act, slope: _value(act, scalars, z, slope))
masked4 = of_fours(lambda g, y, act, slope: _masked(act, scalars, g, y, slope))
plus4 = of_fours(lambda p, q: p + q)
times4 = of_fours(lambda p, q: p * q)


@inlined
def zero4():
    """Four zeros."""
    return zero, zero, zero, zero


@inlined
def scaled4(r, s, q):
    """r + s * q for a scalar s."""
    return r[0] + s * q[0], r[1] + s * q[1], r[2] + s * q[2], r[3] + s * q[3]


@inlined
def put4(pool, k, q):
    """Four to the k-th place for four of a shared array."""
    st4(pool, k, q[0], q[1], q[2], q[3])


@inlined
def dot4(r, p, q):
    """r plus the sum of p * q."""
    return r + p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3]


@inlined
def _load_vector(p, row, column, height, width):
    q = zero4()
    if row < height and column < width:
        q = ld4(p, (row * width + column) >> 2)
    return q


@inlined
def _load_scalar(p, row, column, height, width):
    a, b, c, d = zero4()
    if row < height:
        k = row * width + column
        if column < width:
            a = float32(p[k])
        if column + 1 < width:
            b = float32(p[k + 1])
        if column + 2 < width:
            c = float32(p[k + 2])
        if column + 3 < width:
            d = float32(p[k + 3])
    return a, b, c, d


@inlined
def _store_vector(p, row, column, height, width, q):
    if row < height and column < width:
        st4(p, (row * width + column) >> 2, q[0], q[1], q[2], q[3])


@inlined
def _store_scalar(p, row, column, height, width, q):
    if row < height:
        k = row * width + column
        if column < width:
            p[k] = q[0]
        if column + 1 < width:
            p[k + 1] = q[1]
        if column + 2 < width:
            p[k + 2] = q[2]
        if column + 3 < width:
            p[k + 3] = q[3]


LOADS = {True: _load_vector, False: _load_scalar}
STORES = {True: _store_vector, False: _store_scalar}


@inlined
def fold(pool, size, stop):
    """Sum pool[:size], seen as rows of `stop` elements (powers of two), to its first row; all threads call it."""
    cuda.syncthreads()
    half = size >> 1
    while half >= stop:
        for k in range(cuda.threadIdx.x, half, THREADS):
            pool[k] += pool[k + half]
        cuda.syncthreads()
        half >>= 1
