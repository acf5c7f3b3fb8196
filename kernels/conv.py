"""Convolutions on the CPU: windows are copied out a few samples at a time, and multiplied while they are in the cache.

A product of all windows at once would write and read the image kh * kw / stride^2 times over. A piece of CHUNK floats
stays in a core's cache, its buffer is used again, and the pieces are shared by threads (see splitting.py).

Shapes: as in fastgan/ops/conv.py, `n h w c` in, `o` channels out.
"""

import numpy as np

from fastgan.kernels.dense import finish, is_place
from fastgan.kernels.splitting import edges, scratch, split
from fastgan.kernels.windows import Block, Run, added, copied, plan_of

CHUNK = 1 << 19  # floats of windows copied out at once: 2 MiB
LEAST = 1 << 21  # multiplications that are worth a thread
NARROW = 64  # columns of windows that are not worth a product for each row of taps


def convolve(x, w, *b, stride, pad, slope=1.0):
    """See fastgan.ops.conv.convolve."""
    plan = _plan_for(x, w, b, w.shape[2:], stride, pad, slope)
    if plan is None:
        return NotImplemented
    y = np.empty((len(x), *plan.out, w.shape[3]), np.float32)
    weights = [_seen(w, block) for block in plan.blocks]

    def work(first, last):
        for i, j in _chunks(first, last, plan, w.shape[2]):
            for block, weight in zip(plan.blocks, weights, strict=True):
                _product(x[i:j], weight, plan, block, y[i:j])
            _bias_and_slope(y[i:j], b, slope)

    split(work, len(x), least=_least(plan, w.size))
    return y


def _product(x, weight, plan, block, y):
    """One block of a convolution, written to its places in y."""
    m, o = len(x) * block.places, y.shape[3]
    cols = copied(x, scratch("windows", m * len(weight)), plan, block)
    if len(plan.blocks) == 1:
        np.matmul(cols, weight, out=y.reshape(m, o))
        return
    out = scratch("outputs", m * o).reshape(m, o)
    part = _places(y, block)
    part[...] = np.matmul(cols, weight, out=out).reshape(part.shape)


def convolve_transposed(v, w, *b, stride, pad, size, slope=1.0):
    """See fastgan.ops.conv.convolve_transposed."""
    c = w.shape[2]
    plan = _plan_for(v, w, b, (w.shape[3], c), stride, pad, slope, tuple(size))
    if plan is None:
        return NotImplemented
    x = np.empty((len(v), *size, c), np.float32)
    weights = [_seen(w, block).T for block in plan.blocks]

    def work(first, last):
        for i, j in _chunks(first, last, plan, c):
            x[i:j] = 0
            for block, weight in zip(plan.blocks, weights, strict=True):
                rows = np.ascontiguousarray(_places(v[i:j], block)).reshape(-1, v.shape[3])
                added(rows, weight, scratch("windows", len(rows) * weight.shape[1]), x[i:j], plan, block)
            _bias_and_slope(x[i:j], b, slope)

    split(work, len(v), least=_least(plan, w.size))
    return x


def convolve_weight_grad(x, v, *, stride, pad, kernel, out=None):
    """See fastgan.ops.conv.convolve_weight_grad."""
    fits = x.ndim == 4 and v.ndim == 4 and len(x) == len(v)
    plan = plan_of(x.shape[1:3], tuple(kernel), tuple(stride), tuple(pad)) if fits else None
    if plan is None or plan.out != v.shape[1:3]:
        return NotImplemented
    shape = (*kernel, x.shape[3], v.shape[3])
    narrow = kernel[1] * x.shape[3] < NARROW
    rows = (Run(0, plan.out[0], 0, kernel[0]),) if narrow else plan.rows
    least = _least(plan, kernel[0] * kernel[1] * x.shape[3] * v.shape[3])
    begins = edges(len(x), least=least)[:-1]
    if out is not None and not is_place(out, *shape):
        return NotImplemented
    parts = [np.empty(shape, np.float32) for _ in begins]
    if out is not None:
        parts[0] = out

    def work(first, last):
        part = parts[begins.index(first)]
        for row in rows:
            _row_grad(x[first:last], v[first:last], plan, row, part[row.low : row.high])

    split(work, len(x), least=least)
    for other in parts[1:]:
        parts[0] += other
    return parts[0]


def _row_grad(x, v, plan, row, out):
    """The gradient for some rows of taps, from the outputs that see them; out (rows of taps, kw, c, o)."""
    block = Block(row, Run(0, plan.out[1], 0, plan.kernel[1]))
    wide, o = block.taps * x.shape[3], v.shape[3]
    flat = out.reshape(wide, o)
    if not block.places:
        flat[...] = 0
        return
    most = max(1, CHUNK // (block.places * wide))
    for i in range(0, len(x), most):
        some = x[i : i + most]
        cols = copied(some, scratch("windows", len(some) * block.places * wide), plan, block)
        rows = np.ascontiguousarray(_places(v[i : i + most], block)).reshape(-1, o)
        if i == 0:
            np.matmul(cols.T, rows, out=flat)
        else:
            flat += np.matmul(cols.T, rows, out=scratch("outputs", flat.size).reshape(flat.shape))


def _plan_for(x, w, b, channels, stride, pad, slope, size=None):
    """The plan of a convolution of x, or of one that gives x for an input of `size`; None where shapes do not fit."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != channels[0] or not 0 <= slope <= 1:
        return None
    if any(part.shape != channels[1:] for part in b):
        return None
    plan = plan_of(size or x.shape[1:3], w.shape[:2], tuple(stride), tuple(pad))
    return plan if plan is None or size is None or plan.out == x.shape[1:3] else None


def _seen(w, block):
    """The rows of the weight that a block sees, as a matrix: a view where they lie together."""
    part = w[block.y.low : block.y.high, block.x.low : block.x.high]
    return part.reshape(-1, w.shape[3])


def _places(y, block):
    """The outputs of a block."""
    return y[:, block.y.first : block.y.last, block.x.first : block.x.last]


def _chunks(first, last, plan, c):
    """Samples first..last in pieces whose windows are about CHUNK floats."""
    each = c * max(block.places * block.taps for block in plan.blocks)
    most = max(1, CHUNK // max(1, each))
    for i in range(first, last, most):
        yield i, min(i + most, last)


def _least(plan, weights):
    """Samples that are worth a thread, for a kernel of so many weights."""
    return 1 + LEAST // (plan.out[0] * plan.out[1] * weights)


def _bias_and_slope(y, b, slope):
    if b or slope != 1:
        bias = b[0] if b else np.zeros(y.shape[3], np.float32)
        finish(y.reshape(-1, y.shape[3]), bias, "leaky", slope)
