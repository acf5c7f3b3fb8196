"""Max pooling on the CPU: loops over channels, tap by tap, one window after the other.

The gradient finds out anew which tap is the largest: to keep it would cost more. Ties go to the first; a window that
holds a NaN has none. There are no slices inside of the loops: Numba counts references to them, which takes longer than
32 channels. Taps are numbered in float32, as the elements are, so that the loops vectorise.

Shapes: `n h w c` images; `oh`/`ow` rows and columns of windows.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.splitting import split

LEAST = 1 << 18  # elements that are worth a thread
FEW = 8  # channels, below which array code is faster


def _larger(v, y):
    """The larger of two, NaN if one of them is."""
    return v if v > y or v != v else y


_larger = inlined(_larger)


@compiled
def _forward(x, kh, kw, down, right, first, last, y):
    _, oh, ow, c = y.shape
    for i in range(first, last):
        for row in range(oh):
            for place in range(ow):
                top, left = row * down, place * right
                for k in range(c):
                    y[i, row, place, k] = x[i, top, left, k]
                for tap in range(1, kh * kw):
                    r, p = top + tap // kw, left + tap % kw
                    for k in range(c):
                        y[i, row, place, k] = _larger(x[i, r, p, k], y[i, row, place, k])


@compiled
def _find(x, i, top, left, kh, kw, largest, where):
    """The largest elements of a window, and the number of the first tap that has each; -1 where there is a NaN."""
    for k in range(where.size):
        v = x[i, top, left, k]
        largest[k] = v
        where[k] = float32(0) if v == v else float32(-1)
    for tap in range(1, kh * kw):
        r, p = top + tap // kw, left + tap % kw
        for k in range(where.size):
            v, y = x[i, r, p, k], largest[k]
            at = float32(tap) if v > y else where[k]
            where[k] = at if v == v else float32(-1)
            largest[k] = _larger(v, y)


@compiled
def _grad(g, x, kh, kw, down, right, first, last, out):
    _, oh, ow, c = g.shape
    largest, where = np.empty(c, np.float32), np.empty(c, np.float32)
    for i in range(first, last):
        begun = 0  # rows of out
        for row in range(oh):
            top = row * down
            out[i, begun : top + kh] = float32(0)
            begun = top + kh
            for place in range(ow):
                _find(x, i, top, place * right, kh, kw, largest, where)
                for tap in range(kh * kw):
                    r, p = top + tap // kw, place * right + tap % kw
                    for k in range(c):
                        out[i, r, p, k] += g[i, row, place, k] if where[k] == float32(tap) else float32(0)
        out[i, begun:] = float32(0)


@compiled
def _pick(gg, x, kh, kw, down, right, first, last, y):
    _, oh, ow, c = y.shape
    largest, where = np.empty(c, np.float32), np.empty(c, np.float32)
    for i in range(first, last):
        for row in range(oh):
            for place in range(ow):
                top, left = row * down, place * right
                _find(x, i, top, left, kh, kw, largest, where)
                for k in range(c):
                    y[i, row, place, k] = float32(0)
                for tap in range(kh * kw):
                    r, p = top + tap // kw, left + tap % kw
                    for k in range(c):
                        y[i, row, place, k] += gg[i, r, p, k] if where[k] == float32(tap) else float32(0)


def _run(loop, arrays, size, stride, *, picks=True):
    """What a loop gives of arrays, x the last: a number for each window, or as its adjoint for each element of x."""
    x = arrays[-1]
    if x.ndim != 4 or x.shape[3] < FEW or min(*size, *stride) < 1:
        return NotImplemented
    n, h, w, c = x.shape
    windows = n, (h - size[0]) // stride[0] + 1, (w - size[1]) // stride[1] + 1, c
    if min(windows) < 1 or arrays[0].shape != (x.shape if picks else windows):
        return NotImplemented
    out = np.empty(windows if picks else x.shape, np.float32)
    split(lambda a, b: loop(*arrays, *size, *stride, a, b, out), n, least=-(-LEAST * n // x.size))
    return out


def max_pool2d(x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d."""
    return _run(_forward, (x,), size, stride)


def max_pool2d_grad(g, x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d_grad."""
    return _run(_grad, (g, x), size, stride, picks=False)


def max_pool2d_pick(gg, x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d_pick."""
    return _run(_pick, (gg, x), size, stride)
