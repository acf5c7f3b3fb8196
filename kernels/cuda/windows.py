"""Windows of images as rows of a matrix on CUDA, and their adjoint: `unfold` (im2col) and `fold` (col2im).

A window's row is `kw * c` neighbouring numbers of the image, so that `unfold` copies runs. `fold` gathers: an element
adds up what the few windows over it have, in the array code's order; no atomics. It also finishes a layer whose product
it sums: bias and LeakyReLU.

Shapes: `n` batch, `h`/`w` height and width, `c` channels, NHWC; `oh`/`ow` rows and columns of windows.
"""

import math

from numba import cuda, float32, int32

from fastgan.kernels.cuda.epilogues import ACTS, THREADS, activated4, plus4, zero4
from fastgan.kernels.cuda.launching import FLOAT, IN4, INT, OUT4, Wide, blocks, empty
from fastgan.kernels.cuda.vector import inlined, ld4, quotient, st4

LEAKY = ACTS["leaky"]
MOST = 2**31 - 2**20  # numbers of an array that 32-bit indices reach, with a block's threads beyond


@inlined
def _read_vector(p, k):
    return ld4(p, k >> 2)


@inlined
def _read_scalar(p, k):
    return p[k], float32(0), float32(0), float32(0)


@inlined
def _write_vector(p, k, q):
    st4(p, k >> 2, q[0], q[1], q[2], q[3])


@inlined
def _write_scalar(p, k, q):
    p[k] = q[0]


READS = {True: _read_vector, False: _read_scalar}  # four numbers from the k-th on, or the k-th
WRITES = {True: _write_vector, False: _write_scalar}


def _unfold(vector):
    """cols: a window to a row. `line` and `run` are the numbers in a row of an image and of a window, as is `step`."""
    read, write, each = READS[vector], WRITES[vector], 4 if vector else 1

    def unfold(x, cols, size, h, line, oh, ow, kh, run, sy, step, top, left):
        k = int32(each * cuda.grid(1))
        if k >= size:
            return
        window = quotient(k, kh * run)
        rest = k - window * kh * run
        ky = quotient(rest, run)
        above = quotient(window, ow)
        image = quotient(above, oh)
        y = (above - image * oh) * sy - top + ky
        x0 = (window - above * ow) * step - left + rest - ky * run
        q = zero4()
        if y >= 0 and y < h and x0 >= 0 and x0 < line:
            q = read(x, (image * h + y) * line + x0)
        write(cols, k, q)

    return unfold


def _fold(vector):
    """y = leaky(the sum of what all windows have for an element + b)."""
    read, write, each = READS[vector], WRITES[vector], 4 if vector else 1

    def fold(cols, b, y, size, h, w, c, oh, ow, kh, kw, sy, sx, top, left, biased, slope):
        k = int32(each * cuda.grid(1))
        if k >= size:
            return
        pixel = quotient(k, c)
        channel = k - pixel * c
        line = quotient(pixel, w)
        image = quotient(line, h)
        down, right = line - image * h + top, pixel - line * w + left
        t, last = min(quotient(down, sy), oh - 1), min(quotient(right, sx), ow - 1)
        ky, total = down - t * sy, zero4()
        while t >= 0 and ky < kh:  # the array code's order: from a window's first row on
            u, kx = last, right - last * sx
            while u >= 0 and kx < kw:
                place = (((image * oh + t) * ow + u) * kh + ky) * kw + kx
                total = plus4(total, read(cols, place * c + channel))
                u -= 1
                kx += sx
            t -= 1
            ky += sy
        if biased != 0:
            total = plus4(total, read(b, channel))
        write(y, k, activated4(total, LEAKY, slope))

    return fold


UNFOLD = Wide(_unfold, (IN4, OUT4, *[INT] * 11), block=THREADS, name="unfold")
FOLD = Wide(_fold, (IN4, IN4, OUT4, *[INT] * 13, FLOAT), block=THREADS, name="fold")


def count(size, kernel, stride, pad):
    """Rows and columns of windows of an image of `size`; below 1 where none fits."""
    h, w = size[0] + pad[0] + pad[1], size[1] + pad[2] + pad[3]
    return (h - kernel[0]) // stride[0] + 1, (w - kernel[1]) // stride[1] + 1


def unfold(x, *, kernel, stride, pad):
    """See fastgan.ops.conv.unfold."""
    if x.ndim != 4:
        return NotImplemented
    n, h, w, c = x.shape
    oh, ow = count((h, w), kernel, stride, pad)
    rows, width = n * oh * ow, kernel[0] * kernel[1] * c
    if min(oh, ow) < 1 or max(x.size, rows * width) > MOST:
        return NotImplemented
    cols = empty((rows, width), x)
    places = h, w * c, oh, ow, kernel[0], kernel[1] * c, stride[0], stride[1] * c, pad[0], pad[2] * c
    _launch(
        UNFOLD, c, cols.size, x, cols, cols.size, *places, moved=(4 * min(x.size, cols.size), cols.nbytes)
    )
    return cols


def fold(cols, *, shape, kernel, stride, pad, b=None, slope=1.0):
    """See fastgan.ops.conv.fold; with a bias b (c,), a LeakyReLU follows, slope 1 for none."""
    n, h, w, c = shape
    oh, ow = count((h, w), kernel, stride, pad)
    size = math.prod(shape)
    if cols.shape != (n * oh * ow, kernel[0] * kernel[1] * c) or min(oh, ow, h, w) < 1:
        return NotImplemented
    if max(size, cols.size) > MOST:
        return NotImplemented
    y = empty(shape, cols)
    places = h, w, c, oh, ow, *kernel, *stride, pad[0], pad[2], int(b is not None)
    _launch(FOLD, c, size, cols, b, y, size, *places, slope)
    return y


def _launch(kernel, c, size, *values, moved=None):
    """A thread for four of `size` numbers where that fits, else for one."""
    wide = kernel.fits(values, (c,))
    kernel.each[wide](blocks(size, THREADS * (4 if wide else 1)), *values, moved=moved)
