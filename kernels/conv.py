"""Convolutions on the CPU: windows are copied out a few samples at a time, and multiplied while they are in the cache.

A product of all windows at once would write and read the image kh * kw / stride^2 times over. A piece of CHUNK floats
stays in a core's cache, its buffer is used again, and the pieces are shared by threads (see splitting.py). Windows that
reach over the edge are products of fewer rows of the weight: outputs that see the same taps are one `Block`, so that
next to nothing is multiplied by padding (a third of the work where 7 x 7 becomes 4 x 4 by 5 x 5).

Shapes: as in fastgan/ops/conv.py, `n h w c` in, `o` channels out; `y x` a place in the output, `k` a tap.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.dense import leaky
from fastgan.kernels.splitting import edges, scratch, split

CHUNK = 1 << 19  # floats of windows copied out at once: 2 MiB
WASTE = 0.05  # share of multiplications by padding that is left as it is
MOST = 5  # stretches of outputs along one axis
LEAST = 1 << 21  # multiplications that are worth a thread

_leaky = inlined(leaky)


class Run(NamedTuple):
    """Outputs first..last along one axis, which see the taps low..high."""

    first: int
    last: int
    low: int
    high: int


class Block(NamedTuple):
    """Outputs of a rectangle, which see a rectangle of taps."""

    y: Run
    x: Run

    @property
    def places(self) -> int:
        """Outputs per sample and channel."""
        return (self.y.last - self.y.first) * (self.x.last - self.x.first)

    @property
    def taps(self) -> int:
        """Taps that an output sees."""
        return (self.y.high - self.y.low) * (self.x.high - self.x.low)


class Plan(NamedTuple):
    """How windows lie in an image; `pad` is (top, left)."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]
    blocks: tuple[Block, ...]
    rows: tuple[Run, ...]  # for each tap of a column, the outputs that see it


@lru_cache(512)
def plan_of(size, kernel, stride, pad) -> Plan | None:
    """The plan of a convolution, or None where not one window fits."""
    out = tuple(
        (length + before + after - k) // step + 1
        for length, before, after, k, step in zip(size, pad[::2], pad[1::2], kernel, stride, strict=True)
    )
    if min(*out, *stride, *kernel, *size) < 1:
        return None
    before = pad[::2]
    ys, xs = (_runs(out[a], size[a], kernel[a], stride[a], before[a]) for a in (0, 1))
    rows = tuple(_seen_by(k, out[0], size[0], stride[0], before[0]) for k in range(kernel[0]))
    return Plan(size, kernel, stride, before, out, tuple(Block(y, x) for y in ys for x in xs), rows)


def _runs(out, size, k, step, before) -> list[Run]:
    """Stretches of outputs that see the same taps, or nearly; one of all where padding is next to nothing."""
    lows = [min(k, max(0, before - place * step)) for place in range(out)]
    highs = [max(low, min(k, size + before - place * step)) for place, low in enumerate(lows)]
    if sum(highs) - sum(lows) >= (1 - WASTE) * out * k:
        return [Run(0, out, 0, k)]
    cuts = [
        place for place in range(1, out) if (lows[place], highs[place]) != (lows[place - 1], highs[place - 1])
    ]
    if len(cuts) >= MOST:
        cuts = [out * part // MOST for part in range(1, MOST)]
    ends = zip([0, *cuts], [*cuts, out], strict=True)
    return [Run(first, last, min(lows[first:last]), max(highs[first:last])) for first, last in ends]


def _seen_by(tap, out, size, step, before) -> Run:
    """The outputs that see a tap: those for which 0 <= place * step + tap - before < size."""
    first = min(out, max(0, -((tap - before) // step)))
    last = max(first, min(out, -((tap - before - size) // step)))
    return Run(first, last, tap, tap + 1)


@compiled
def _copy_windows(x, cols, size, y0, y1, x0, x1, ky0, ky1, kx0, kx1, down, right, top, left):
    """The windows of outputs y0..y1, x0..x1 as rows, of taps ky0..ky1, kx0..kx1: a row of taps lies together in x."""
    n, h, w, c = size
    wide = (kx1 - kx0) * c
    at = 0
    for i in range(n):
        for y in range(y0, y1):
            for place in range(x0, x1):
                begin = place * right + kx0 - left
                skip = min(max(0, -begin) * c, wide)  # taps before the edge
                end = max(skip, min((w - begin) * c, wide))  # and where those beyond it begin
                for ky in range(ky0, ky1):
                    row = y * down + ky - top
                    to = cols[at : at + wide]
                    if row < 0 or row >= h:
                        to[:] = float32(0)
                    else:
                        source = ((i * h + row) * w + begin) * c
                        if end - skip < wide:
                            to[:skip] = float32(0)
                            to[end:] = float32(0)
                        some, seen = x[source + skip : source + end], to[skip:end]
                        for k in range(len(some)):
                            seen[k] = some[k]
                    at += wide


@compiled
def _add_windows(cols, x, size, y0, y1, x0, x1, ky0, ky1, kx0, kx1, down, right, top, left):
    """The adjoint of `_copy_windows`: rows added to where they came from."""
    n, h, w, c = size
    wide = (kx1 - kx0) * c
    at = 0
    for i in range(n):
        for y in range(y0, y1):
            for place in range(x0, x1):
                begin = place * right + kx0 - left
                skip = min(max(0, -begin) * c, wide)
                end = max(skip, min((w - begin) * c, wide))
                for ky in range(ky0, ky1):
                    row = y * down + ky - top
                    if 0 <= row < h:
                        source = ((i * h + row) * w + begin) * c
                        some, to = cols[at + skip : at + end], x[source + skip : source + end]
                        for k in range(len(some)):
                            to[k] += some[k]
                    at += wide


@compiled
def _finish(rows, bias, slope):
    """A bias and a LeakyReLU in place."""
    for r in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            rows[r, c] = _leaky(rows[r, c] + bias[c], slope)


def _windows(x, cols, plan, block):
    """The windows of a block of some samples, as rows of a buffer that the next call may overwrite."""
    _copy_windows(x.reshape(-1), cols.reshape(-1), x.shape, *_edges(block), *plan.stride, *plan.pad)
    return cols


def _edges(block):
    (y0, y1, ky0, ky1), (x0, x1, kx0, kx1) = block
    return y0, y1, x0, x1, ky0, ky1, kx0, kx1


def convolve(x, w, *b, stride, pad, slope=1.0):
    """See fastgan.ops.conv.convolve."""
    plan = _plan_for(x, w, b, w.shape[2:], stride, pad, slope)
    if plan is None:
        return NotImplemented
    n, o = len(x), w.shape[3]
    y = np.empty((n, *plan.out, o), np.float32)
    weights = [_part(w, block) for block in plan.blocks]

    def work(first, last):
        for i, j in _chunks(first, last, plan, w.shape[2]):
            for block, weight in zip(plan.blocks, weights, strict=True):
                _product(x[i:j], weight, plan, block, y[i:j])
            _bias_and_slope(y[i:j], b, slope)

    split(work, n, least=_least(plan, w))
    return y


def _product(x, weight, plan, block, y):
    """One block of a convolution, written to its places in y."""
    m, o = len(x) * block.places, y.shape[3]
    cols = _windows(x, scratch("windows", m * len(weight)).reshape(m, len(weight)), plan, block)
    if len(plan.blocks) == 1:
        np.matmul(cols, weight, out=y.reshape(m, o))
        return
    out = scratch("outputs", m * o)
    np.matmul(cols, weight, out=out.reshape(m, o))
    down, right = slice(*block.y[:2]), slice(*block.x[:2])
    part = y[:, down, right]
    part[...] = out.reshape(part.shape)


def convolve_transposed(v, w, *b, stride, pad, size, slope=1.0):
    """See fastgan.ops.conv.convolve_transposed."""
    n, c = len(v), w.shape[2]
    plan = _plan_for(v, w, b, (w.shape[3], c), stride, pad, slope, tuple(size))
    if plan is None:
        return NotImplemented
    x = np.empty((n, *size, c), np.float32)
    weights = [_part(w, block).T for block in plan.blocks]

    def work(first, last):
        for i, j in _chunks(first, last, plan, c):
            x[i:j] = 0
            for block, weight in zip(plan.blocks, weights, strict=True):
                _spread(v[i:j], weight, plan, block, x[i:j])
            _bias_and_slope(x[i:j], b, slope)

    split(work, n, least=_least(plan, w))
    return x


def _spread(v, weight, plan, block, x):
    """One block of a transposed convolution, added to x."""
    m, o = len(v) * block.places, v.shape[3]
    rows = np.ascontiguousarray(v[:, slice(*block.y[:2]), slice(*block.x[:2])]).reshape(m, o)
    cols = scratch("windows", m * weight.shape[1])
    np.matmul(rows, weight, out=cols.reshape(m, -1))
    _add_windows(cols, x.reshape(-1), x.shape, *_edges(block), *plan.stride, *plan.pad)


def convolve_weight_grad(x, v, *, stride, pad, kernel):
    """See fastgan.ops.conv.convolve_weight_grad."""
    fits = x.ndim == 4 and v.ndim == 4 and len(x) == len(v)
    plan = plan_of(x.shape[1:3], tuple(kernel), tuple(stride), tuple(pad)) if fits else None
    if plan is None or plan.out != v.shape[1:3]:
        return NotImplemented
    n, shape = len(x), (*kernel, x.shape[3], v.shape[3])
    least = _least(plan, np.broadcast_to(np.float32(0), shape))
    begins = edges(n, least=least)[:-1]
    parts = np.empty((len(begins), *shape), np.float32)

    def work(first, last):
        part = parts[begins.index(first)]
        for row in plan.rows:
            _row_grad(x[first:last], v[first:last], plan, row, part[row.low])

    split(work, n, least=least)
    for other in parts[1:]:
        parts[0] += other
    return parts[0]


def _row_grad(x, v, plan, row, out):
    """The gradient for one row of taps, from the outputs that see it; out (kw, c, o)."""
    kw, c, o = out.shape
    places = (row.last - row.first) * plan.out[1]
    block = Block(row, Run(0, plan.out[1], 0, kw))
    most = max(1, CHUNK // max(1, places * kw * c))
    flat = out.reshape(kw * c, o)
    out[...] = 0
    for i in range(0, len(x) if places else 0, most):
        some = x[i : i + most]
        m = len(some) * places
        cols = _windows(some, scratch("windows", m * kw * c).reshape(m, kw * c), plan, block)
        rows = np.ascontiguousarray(v[i : i + most, row.first : row.last]).reshape(m, o)
        flat += np.matmul(cols.T, rows, out=scratch("outputs", flat.size).reshape(flat.shape))


def _plan_for(x, w, b, channels, stride, pad, slope, size=None):
    """The plan of a convolution of x, or of one that gives x for an input of `size`; None where shapes do not fit."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != channels[0] or not 0 <= slope <= 1:
        return None
    if any(part.shape != channels[1:] for part in b):
        return None
    plan = plan_of(size or x.shape[1:3], w.shape[:2], tuple(stride), tuple(pad))
    return plan if plan is None or size is None or plan.out == x.shape[1:3] else None


def _part(w, block):
    """The rows of the weight that a block sees, as a matrix: a view where they lie together."""
    part = w[block.y.low : block.y.high, block.x.low : block.x.high]
    return part.reshape(-1, w.shape[3])


def _chunks(first, last, plan, c) -> Iterator[tuple[int, int]]:
    """Samples first..last in pieces whose windows are about CHUNK floats."""
    each = c * max(block.places * block.taps for block in plan.blocks)
    most = max(1, CHUNK // max(1, each))
    for i in range(first, last, most):
        yield i, min(i + most, last)


def _least(plan, w):
    """Samples that are worth a thread."""
    return 1 + LEAST // (plan.out[0] * plan.out[1] * w.size)


def _bias_and_slope(y, b, slope):
    rows = y.reshape(-1, y.shape[3])
    if b:
        _finish(rows, b[0], np.float32(slope))
    elif slope != 1:
        _finish(rows, np.zeros(y.shape[3], np.float32), np.float32(slope))
