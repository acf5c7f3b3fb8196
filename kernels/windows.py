"""The windows of images: where they lie, and copying them out and adding them up again on the CPU.

Windows that reach over the edge are cut there: outputs that see the same taps are one `Block`, so that next to nothing
is multiplied by padding (a third of the work where 7 x 7 becomes 4 x 4 by 5 x 5). A row of taps lies together in an
NHWC image and is copied as one; where there are few channels, it is too short for that, and windows are copied tap by
tap, each for a row of outputs.

Shapes: `n h w c` images; `y x` a place in the output, `k` a tap; windows are a matrix (n * places, taps * c).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined, made_of

WASTE = (
    0.05,
    0.12,
)  # shares of multiplications by padding, above and beside an image, that are left as they are
MOST = 5  # stretches of outputs along one axis
SHORT = 32  # floats in a row of taps that are copied tap by tap


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
    blocks: tuple[Block, ...]  # which together are all outputs
    rows: tuple[Run, ...]  # for each row of taps, the outputs that see it

    @property
    def is_plain(self) -> bool:
        """Whether the windows are the image itself."""
        return self.kernel == self.stride == (1, 1) and self.size == self.out


@lru_cache(512)
def plan_of(size, kernel, stride, pad):
    """The plan of a convolution, or None where not one window fits."""
    if min(*stride, *kernel, *size) < 1:
        return None
    out = tuple(
        (length + before + after - k) // step + 1
        for length, before, after, k, step in zip(size, pad[::2], pad[1::2], kernel, stride, strict=True)
    )
    if min(out) < 1:
        return None
    before = pad[::2]
    ys, xs = (_runs(out[a], size[a], kernel[a], stride[a], before[a], WASTE[a]) for a in (0, 1))
    rows = tuple(_seen_by(k, out[0], size[0], stride[0], before[0]) for k in range(kernel[0]))
    return Plan(size, kernel, stride, before, out, tuple(Block(y, x) for y in ys for x in xs), rows)


def _runs(out, size, k, step, before, waste):
    """Stretches of outputs that see the same taps, or nearly; one of all where padding is next to nothing."""
    lows = [min(k, max(0, before - place * step)) for place in range(out)]
    highs = [max(low, min(k, size + before - place * step)) for place, low in enumerate(lows)]
    if sum(highs) - sum(lows) >= (1 - waste) * out * k:
        return [Run(0, out, 0, k)]
    cuts = [
        place for place in range(1, out) if (lows[place], highs[place]) != (lows[place - 1], highs[place - 1])
    ]
    if len(cuts) >= MOST:
        cuts = [out * part // MOST for part in range(1, MOST)]
    ends = zip([0, *cuts], [*cuts, out], strict=True)
    return [Run(first, last, min(lows[first:last]), max(highs[first:last])) for first, last in ends]


def _seen_by(tap, out, size, step, before):
    """The outputs that see a tap: those for which 0 <= place * step + tap - before < size."""
    first = min(out, max(0, -((tap - before) // step)))
    last = max(first, min(out, -((tap - before - size) // step)))
    return Run(first, last, tap, tap + 1)


def _copy(cols, at, wide, skip, end, x, source, step, inside):
    """`wide` numbers to cols[at:]: those from skip to end out of x, `step` apart, zeros beside them."""
    to = cols[at : at + wide]
    if not inside:
        to[:] = float32(0)
        return
    if end - skip < wide:
        to[:skip] = float32(0)
        to[end:] = float32(0)
    seen, some = to[skip:end], x[source : source + (end - skip - 1) * step + 1]
    for k in range(len(seen)):
        seen[k] = some[k * step]


def _add(cols, at, wide, skip, end, x, source, step, inside):
    """The adjoint: numbers added to where they came from."""
    if inside:
        some, to = cols[at + skip : at + end], x[source : source + (end - skip - 1) * step + 1]
        for k in range(len(some)):
            to[k * step] += some[k]


move = _copy  # in a loop, whichever it was made of


def _windows(cols, x, size, y0, y1, x0, x1, ky0, ky1, kx0, kx1, down, right, top, left):
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
                    source = ((i * h + row) * w + begin) * c + skip
                    move(cols, at, wide, skip, end, x, source, 1, 0 <= row < h)
                    at += wide


_copy_windows, _add_windows = made_of(_windows, "copy", move=_copy), made_of(_windows, "add", move=_add)
_adding = inlined(_add)


@compiled
def _copy_taps(cols, x, size, y0, y1, x0, x1, ky0, ky1, kx0, kx1, down, right, top, left):
    """The windows of `_windows`, transposed: for each tap and channel, all outputs."""
    n, h, w, c = size
    wide = x1 - x0
    at = 0
    for ky in range(ky0, ky1):
        for kx in range(kx0, kx1):
            begin = x0 * right + kx - left
            skip = min(wide, max(0, -(begin // right)))  # outputs before the first that sees the tap
            end = max(skip, min(wide, -((begin - w) // right)))
            for channel in range(c):
                for i in range(n):
                    for y in range(y0, y1):
                        row = y * down + ky - top
                        to = cols[at : at + wide]
                        at += wide
                        if row < 0 or row >= h:
                            to[:] = float32(0)
                            continue
                        if end - skip < wide:
                            to[:skip] = float32(0)
                            to[end:] = float32(0)
                        source = ((i * h + row) * w + begin + skip * right) * c + channel
                        seen, step = to[skip:end], right * c
                        some = x[source : source + (end - skip - 1) * step + 1]
                        for k in range(len(seen)):
                            seen[k] = some[k * step]


@compiled
def _add_taps(cols, x, size, y0, y1, x0, x1, ky0, ky1, kx0, kx1, down, right, top, left):
    """The adjoint of `_copy_taps`."""
    n, h, w, c = size
    wide = x1 - x0
    at = 0
    for ky in range(ky0, ky1):
        for kx in range(kx0, kx1):
            begin = x0 * right + kx - left
            skip = min(wide, max(0, -(begin // right)))
            end = max(skip, min(wide, -((begin - w) // right)))
            for channel in range(c):
                for i in range(n):
                    for y in range(y0, y1):
                        row = y * down + ky - top
                        source = ((i * h + row) * w + begin + skip * right) * c + channel
                        _adding(cols, at, wide, skip, end, x, source, right * c, 0 <= row < h)
                        at += wide


def copied(x, buffer, plan, block):
    """The windows of a block of some samples as a matrix, in a buffer of its size, or a view that needs no copy."""
    wide = (block.x.high - block.x.low) * x.shape[3]
    shape = (len(x) * block.places, block.taps * x.shape[3])
    if plan.is_plain:
        return x.reshape(shape)
    copy = _copy_taps if wide < SHORT else _copy_windows
    copy(buffer, x.reshape(-1), x.shape, *_edges(block), *plan.stride, *plan.pad)
    return buffer.reshape(shape[::-1]).T if wide < SHORT else buffer.reshape(shape)


def added(rows, weight, buffer, x, plan, block):
    """Adds the windows rows @ weight of a block to x, which holds zeros at first; by way of a buffer of their size."""
    shape = (len(rows), weight.shape[1])
    if plan.is_plain:
        np.matmul(rows, weight, out=x.reshape(shape))
    elif (block.x.high - block.x.low) * x.shape[3] < SHORT:
        np.matmul(weight.T, rows.T, out=buffer.reshape(shape[::-1]))
        _add_taps(buffer, x.reshape(-1), x.shape, *_edges(block), *plan.stride, *plan.pad)
    else:
        np.matmul(rows, weight, out=buffer.reshape(shape))
        _add_windows(buffer, x.reshape(-1), x.shape, *_edges(block), *plan.stride, *plan.pad)


def _edges(block):
    (y0, y1, ky0, ky1), (x0, x1, kx0, kx1) = block
    return y0, y1, x0, x1, ky0, ky1, kx0, kx1
