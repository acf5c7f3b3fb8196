"""Max pooling on CUDA: the largest element of each window, and where it was.

Nothing is kept from the forward pass: a window's elements are read again to see which of them is the first largest.
The gradient is gathered, an element asking each window over it, in the array code's order; no atomics.

Shapes: `n` batch, `h`/`w` height and width, `c` channels, NHWC; `oh`/`ow` rows and columns of windows.
"""

from numba import cuda, float32, int32

from fastgan.kernels.cuda.epilogues import THREADS
from fastgan.kernels.cuda.launching import IN, INT, OUT, Kernel, blocks, empty
from fastgan.kernels.cuda.vector import inlined, quotient
from fastgan.kernels.cuda.windows import MOST, count


@inlined
def _window(k, h, w, c, oh, ow, sy, sx):
    """Where the window of output k begins in x: its first pixel of this channel."""
    pixel = quotient(k, c)
    line = quotient(pixel, ow)
    image = quotient(line, oh)
    top, left = (line - image * oh) * sy, (pixel - line * ow) * sx
    return ((image * h + top) * w + left) * c + k - pixel * c


@inlined
def _is_first_largest(x, begin, own, w, c, kh, kw):
    """Whether x[own] is the first largest element of the window that begins there; NaN is none, and leaves none."""
    value, line = x[own], int32(begin)
    for _ in range(kh):
        for place in range(line, int32(line + kw * c), c):
            other = x[place]
            if not (other < value or (other == value and place >= own)):
                return False
        line = int32(line + w * c)
    return True


def max_pool(x, y, size, h, w, c, oh, ow, kh, kw, sy, sx):
    """The largest element of each window; NaN where it has one."""
    k = int32(cuda.grid(1))
    if k < size:
        place = _window(k, h, w, c, oh, ow, sy, sx)
        largest = x[place]
        for _ in range(kh):
            for tap in range(kw):
                value = x[place + tap * c]
                if value > largest or value != value:
                    largest = value
            place += w * c
        y[k] = largest


def max_pool_grad(g, x, out, size, h, w, c, oh, ow, kh, kw, sy, sx):
    """For each element of x, the sum of g of the windows that have it as their first largest."""
    k = int32(cuda.grid(1))
    if k < size:
        pixel = quotient(k, c)
        line = quotient(pixel, w)
        image = quotient(line, h)
        down, right, total = line - image * h, pixel - line * w, float32(0)
        t, last = min(quotient(down, sy), oh - 1), min(quotient(right, sx), ow - 1)
        while t >= 0 and down - t * sy < kh:
            u = last
            while u >= 0 and right - u * sx < kw:
                begin = k - ((down - t * sy) * w + right - u * sx) * c
                if _is_first_largest(x, begin, k, w, c, kh, kw):
                    total += g[((image * oh + t) * ow + u) * c + k - pixel * c]
                u -= 1
            t -= 1
        out[k] = total


def max_pool_pick(gg, x, out, size, h, w, c, oh, ow, kh, kw, sy, sx):
    """What gg has at the first largest element of each window of x; of a window with NaN, at its first."""
    k = int32(cuda.grid(1))
    if k < size:
        begin = _window(k, h, w, c, oh, ow, sy, sx)
        place, best = begin, begin
        for _ in range(kh):
            for tap in range(kw):
                if x[place + tap * c] > x[best]:
                    best = place + tap * c
            place += w * c
        out[k] = gg[best]


SIZES = [INT] * 10
MAX_POOL = Kernel(max_pool, (IN, OUT, *SIZES), block=THREADS)
MAX_POOL_GRAD = Kernel(max_pool_grad, (IN, IN, OUT, *SIZES), block=THREADS)
MAX_POOL_PICK = Kernel(max_pool_pick, (IN, IN, OUT, *SIZES), block=THREADS)


def _pooled(kernel, arrays, size, stride, *, picks=True):
    """What a kernel gives of arrays, x the last: a number for each window, or as its adjoint for each element of x."""
    x = arrays[-1]
    if x.ndim != 4 or x.size > MOST or min(*size, *stride) < 1:
        return NotImplemented
    out = count(x.shape[1:3], size, stride, (0, 0, 0, 0))
    windows = len(x), *out, x.shape[3]
    if min(out) < 1 or arrays[0].shape != (x.shape if picks else windows):
        return NotImplemented
    y = empty(windows if picks else x.shape, x)
    kernel(blocks(y.size, THREADS), *arrays, y, y.size, *x.shape[1:], *out, *size, *stride)
    return y


def max_pool2d(x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d."""
    return _pooled(MAX_POOL, (x,), size, stride)


def max_pool2d_grad(g, x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d_grad."""
    return _pooled(MAX_POOL_GRAD, (g, x), size, stride, picks=False)


def max_pool2d_pick(gg, x, *, size, stride):
    """See fastgan.ops.pool.max_pool2d_pick."""
    return _pooled(MAX_POOL_PICK, (gg, x), size, stride)
