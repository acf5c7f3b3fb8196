"""Ops that make an image smaller or larger without weights: pooling, upsampling, padding and cropping.

Two pairs are each other's gradients: `pad2d` and `crop2d`, and `max_pool2d_grad`, which adds a gradient where each
window's largest element was, and `max_pool2d_pick`, which reads what lies there. Both are linear, so that derivatives
of any order stay among these ops. All ops give contiguous arrays, which kernels need.

Shapes: `n` batch, `h`/`w` height and width, `c` channels, NHWC. Settings are pairs (down, right): `size` of a window
and `stride` from one to the next. Windows that do not fit are left out, as in PyTorch. A window with a NaN gives NaN,
and has no largest element.
"""

from collections.abc import Iterator
from typing import Any

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.ops.conv import Pad, Pair, unfold
from fastgan.ops.elementwise import NOTHING, masked
from fastgan.tape import Tensor, Thunk, op
from fastgan.tape.arithmetic import broadcast_to, reshape
from fastgan.tape.engine import Act


@op
def max_pool2d(x: Array, *, size: Pair, stride: Pair) -> Array:
    """The largest element of each window; (n, h, w, c) -> (n, oh, ow, c). ShapeError where no window fits."""
    taps = [x[tap] for tap in _taps("max_pool2d", x.shape, size, stride)]
    y = taps[0].copy()
    for tap in taps[1:]:
        array_module(x).maximum(y, tap, out=y)
    return y


@max_pool2d.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, size: Pair, stride: Pair) -> tuple[Thunk, ...]:
    return (lambda: max_pool2d_grad(g, x, size=size, stride=stride),)


@max_pool2d.first_order
def _(g: Array, y: Array, x: Array, *, below: Act | None, **windows: Any) -> tuple[Array]:
    g = masked(g, y, *(below or NOTHING))  # y is what x has there, and has fewer elements
    return (max_pool2d_grad.forward(g, x, **windows),)


@op
def max_pool2d_grad(g: Array, x: Array, *, size: Pair, stride: Pair) -> Array:
    """g added at the first largest element, row by row, of each window of x; (n, oh, ow, c), (n, h, w, c) -> x's."""
    xp = array_module(x)
    out = xp.zeros(x.shape, g.dtype)
    for tap, largest in _first_largest(x, g.shape, size, stride):
        out[tap] += xp.where(largest, g, g.dtype.type(0))
    return out


@max_pool2d_grad.vjp
def _(gg: Tensor, y: Tensor, g: Tensor, x: Tensor, *, size: Pair, stride: Pair) -> tuple[Thunk, ...]:
    return lambda: max_pool2d_pick(gg, x, size=size, stride=stride), None


@op
def max_pool2d_pick(gg: Array, x: Array, *, size: Pair, stride: Pair) -> Array:
    """What gg has where x has each window's first largest element; (n, h, w, c) twice -> (n, oh, ow, c)."""
    if gg.shape != x.shape:
        raise ShapeError(f"max_pool2d_pick: got gg {gg.shape} for x {x.shape}, wanted the same shape")
    taps = _taps("max_pool2d", x.shape, size, stride)
    out = array_module(x).zeros(x[taps[0]].shape, gg.dtype)
    for tap, largest in _first_largest(x, out.shape, size, stride):
        array_module(x).copyto(out, gg[tap], where=largest)
    return out


@max_pool2d_pick.vjp
def _(g: Tensor, y: Tensor, gg: Tensor, x: Tensor, *, size: Pair, stride: Pair) -> tuple[Thunk, ...]:
    return lambda: max_pool2d_grad(g, x, size=size, stride=stride), None


def avg_pool2d(x: Tensor, *, size: Pair, stride: Pair) -> Tensor:
    """The mean of each window; (n, h, w, c) -> (n, oh, ow, c). ShapeError where no window fits."""
    oh, ow = pooled("avg_pool2d", x.shape, size, stride)
    n, _, _, c = x.shape
    rows = unfold(x, kernel=size, stride=stride, pad=(0, 0, 0, 0))
    return reshape(rows, shape=(n, oh, ow, size[0] * size[1], c)).mean(axis=3)


def upsample2d(x: Tensor, *, factor: Pair) -> Tensor:
    """Each pixel repeated `factor` times down and right (nearest neighbour)."""
    if len(x.shape) != 4:
        raise ShapeError(f"upsample2d: got x {x.shape}, wanted (n, h, w, c)")
    n, h, w, c = x.shape
    apart = reshape(x, shape=(n, h, 1, w, 1, c))
    wide = broadcast_to(apart, shape=(n, h, factor[0], w, factor[1], c))
    return reshape(wide, shape=(n, h * factor[0], w * factor[1], c))


@op
def pad2d(x: Array, *, pads: Pad, value: float = 0.0) -> Array:
    """A border of `value`, `pads` (top, bottom, left, right) pixels wide; (n, h, w, c) -> (n, h', w', c)."""
    _check_image("pad2d", x.shape, pads)
    n, h, w, c = x.shape
    out = array_module(x).full((n, h + pads[0] + pads[1], w + pads[2] + pads[3], c), value, x.dtype)
    out[:, pads[0] : pads[0] + h, pads[2] : pads[2] + w] = x
    return out


@pad2d.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, pads: Pad, value: float = 0.0) -> tuple[Thunk, ...]:
    return (lambda: crop2d(g, pads=pads),)


@op
def crop2d(x: Array, *, pads: Pad) -> Array:
    """Without the outer `pads` (top, bottom, left, right) pixels; (n, h, w, c) -> (n, h', w', c)."""
    _check_image("crop2d", x.shape, pads)
    h, w = x.shape[1] - pads[1], x.shape[2] - pads[3]
    if pads[0] >= h or pads[2] >= w:
        raise ShapeError(f"crop2d: got pads {pads} for x {x.shape}, wanted some of the image to stay")
    return x[:, pads[0] : h, pads[2] : w].copy()


@crop2d.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, pads: Pad) -> tuple[Thunk, ...]:
    return (lambda: pad2d(g, pads=pads),)


def pooled(name: str, shape: tuple[int, ...], size: Pair, stride: Pair) -> Pair:
    """Rows and columns of windows in images of a shape; ShapeError where not one fits."""
    if min(*size, *stride) < 1:
        raise UsageError(f"{name}: got windows of {size} with stride {stride}, wanted at least 1 each way")
    if len(shape) != 4 or shape[1] < size[0] or shape[2] < size[1]:
        raise ShapeError(
            f"{name}: got x {shape} for windows of {size[0]}x{size[1]}, wanted (n, h, w, c) no smaller than a window"
        )
    return (shape[1] - size[0]) // stride[0] + 1, (shape[2] - size[1]) // stride[1] + 1


def _taps(name: str, shape: tuple[int, ...], size: Pair, stride: Pair) -> list[tuple[slice, ...]]:
    """For each place in a window, row by row, the key of that pixel of all windows at once."""
    oh, ow = pooled(name, shape, size, stride)
    return [
        (
            slice(None),
            slice(top, top + oh * stride[0] - stride[0] + 1, stride[0]),
            slice(left, left + ow * stride[1] - stride[1] + 1, stride[1]),
        )
        for top in range(size[0])
        for left in range(size[1])
    ]


def _first_largest(
    x: Array, shape: tuple[int, ...], size: Pair, stride: Pair
) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """Each of `_taps` and in which windows it is the first that holds the largest element."""
    y = max_pool2d.forward(x, size=size, stride=stride)
    if y.shape != shape:
        raise ShapeError(f"max_pool2d_grad: got g {shape} for x {x.shape}, wanted {y.shape}")
    left = array_module(x).ones(y.shape, bool)
    for tap in _taps("max_pool2d", x.shape, size, stride):
        largest = x[tap] == y
        largest &= left
        left ^= largest
        yield tap, largest


def _check_image(name: str, shape: tuple[int, ...], pads: Pad) -> None:
    if len(shape) != 4 or min(pads) < 0:
        raise ShapeError(f"{name}: got x {shape} and pads {pads}, wanted (n, h, w, c) and four of at least 0")
