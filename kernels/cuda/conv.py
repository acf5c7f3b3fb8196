"""Convolutions on CUDA: a product with the windows of the images as rows, by the kernels of dense layers.

Bias and LeakyReLU are the product's own epilogue, or that of `fold`. A batch whose windows would take more memory than
MOST goes in pieces of samples, one after the other. Their buffer is an ordinary array: it goes back to the stream's
pool when its product has been asked for, so that all layers of a captured step share one.

Shapes: `n` batch, `h`/`w` height and width, `c` channels in, `o` channels out, NHWC; a kernel is (kh, kw, c, o).
"""

import math

from fastgan.kernels.cuda import dense, windows
from fastgan.kernels.cuda.launching import empty

MOST = 64 << 20  # numbers in a buffer of windows: 256 MB


class _Plan:
    """A convolution of n images of `size` from c to o channels: its windows, and how many samples go at once."""

    def __init__(self, n, size, c, o, kernel, stride, pad):
        self.n, self.c, self.size, self.kernel = n, c, size, kernel
        self.settings = {"kernel": kernel, "stride": stride, "pad": pad}
        self.out = windows.count(size, kernel, stride, pad)
        self.width = math.prod(kernel) * c  # numbers of a window
        alone = (math.prod(kernel), stride) == (1, (1, 1)) or kernel == size
        self.lie = alone and not any(pad)  # the windows are the images' own numbers, in order
        rows = max(1, math.prod(self.out))
        self.piece = min(MOST // (rows * max(self.width, o)), dense.TALLEST // rows)

    @property
    def fits(self):
        """Whether there are windows, and a sample's are not too many."""
        images = self.n * math.prod(self.size) * self.c
        return min(self.out) > 0 and self.piece > 0 and images <= windows.MOST

    @property
    def pieces(self):
        """Slices of the samples."""
        return [slice(k, min(k + self.piece, self.n)) for k in range(0, self.n, self.piece)]

    def rows(self, x):
        """The windows of some images, as rows."""
        return x.reshape(-1, self.width) if self.lie else windows.unfold(x, **self.settings)

    def added(self, cols, b, slope):
        """The images that rows add up to, with a bias or None, and a LeakyReLU."""
        shape = (len(cols) // math.prod(self.out), *self.size, self.c)
        if self.lie and b is None and slope == 1:
            return cols.reshape(shape)
        return windows.fold(cols, shape=shape, b=b, slope=slope, **self.settings)

    def in_pieces(self, x, make, shape):
        """`make` of all samples of x, piece by piece; a result has `shape` per sample."""
        if len(self.pieces) == 1:
            return make(x).reshape(self.n, *shape)
        y = empty((self.n, *shape), x)
        for piece in self.pieces:
            y[piece] = make(x[piece]).reshape(-1, *shape)
        return y


def _plan(x, w, b, channels, stride, pad, slope, size=None):
    """The plan for x (or, with `size`, for what x is the output of) and w's axes of `channels`; None for a misfit."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[channels[0]] or not 0 <= slope <= 1:
        return None
    if len(b) > 1 or any(part.shape != (w.shape[channels[1]],) for part in b):
        return None
    (kh, kw, c, o), own = w.shape, tuple(size or x.shape[1:3])
    plan = _Plan(len(x), own, c, o, (kh, kw), tuple(stride), tuple(pad))
    return plan if plan.fits and (size is None or plan.out == x.shape[1:3]) else None


def convolve(x, w, *b, stride, pad, slope=1.0):
    """See fastgan.ops.conv.convolve."""
    plan = _plan(x, w, b, (2, 3), stride, pad, slope)
    if plan is None:
        return NotImplemented
    matrix = w.reshape(plan.width, w.shape[3])
    shape = (*plan.out, w.shape[3])
    return plan.in_pieces(x, lambda piece: _layer(plan.rows(piece), matrix, b, slope), shape)


def _layer(rows, matrix, b, slope):
    """leaky_relu(rows @ matrix + b)."""
    if b:
        return dense.forward(rows, matrix, *b, slope=slope)
    y = dense.matmul(rows, matrix)
    return y if slope == 1 else dense.leaky_relu(y, slope)


def convolve_transposed(v, w, *b, stride, pad, size, slope=1.0):
    """See fastgan.ops.conv.convolve_transposed."""
    plan = _plan(v, w, b, (3, 2), stride, pad, slope, size)
    if plan is None:
        return NotImplemented
    matrix, bias = w.reshape(plan.width, w.shape[3]).T, b[0] if b else None

    def make(piece):
        return plan.added(dense.matmul(piece.reshape(-1, piece.shape[3]), matrix), bias, slope)

    return plan.in_pieces(v, make, (*plan.size, plan.c))


def convolve_weight_grad(x, v, *, stride, pad, kernel, out=None):
    """See fastgan.ops.conv.convolve_weight_grad; written to `out` where it is given."""
    if x.ndim != 4 or v.ndim != 4 or len(x) != len(v):
        return NotImplemented
    c, o = x.shape[3], v.shape[3]
    plan = _Plan(len(x), x.shape[1:3], c, o, tuple(kernel), tuple(stride), tuple(pad))
    shape = (*kernel, c, o)
    if not plan.fits or plan.out != v.shape[1:3] or (out is not None and out.shape != shape):
        return NotImplemented
    total = (empty(shape, x) if out is None else out).reshape(plan.width, v.shape[3])
    for number, piece in enumerate(plan.pieces):
        rows = v[piece].reshape(-1, v.shape[3])
        if number == 0:
            dense.turned_product(plan.rows(x[piece]), rows, total)
        else:
            total += dense.turned_product(plan.rows(x[piece]), rows, empty(total.shape, x))
    return total.reshape(shape)
