"""Convolutions: three ops that are each other's gradients, so that derivatives of any order are one of the three again.

`convolve` maps x to y; `convolve_transposed` is the gradient of that for x, and a layer that makes images larger;
`convolve_weight_grad` is the gradient for the weight. Each is a matrix product with the windows of x as rows, which
`unfold` copies out (im2col) and `fold`, its adjoint, adds up again. A bias and a LeakyReLU may be fused in.

Shapes: `n` batch, `h`/`w` height and width, `c` channels in, `o` channels out, all NHWC; a kernel is (kh, kw, c, o).
Settings: `stride` (down, right), `pad` (top, bottom, left, right), `slope` of the LeakyReLU, 1 for none. `conv2d` and
`conv_transpose2d` take them as PyTorch and TensorFlow write them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.ops.elementwise import NOTHING, activation_grad, check_act, ends_in, masked
from fastgan.tape import Tensor, Thunk, op
from fastgan.tape.arithmetic import check_dtypes, sum_to
from fastgan.tape.engine import Act

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
Padding = int | Pair | Pad | str


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    slope: float = 1.0,
) -> Tensor:
    """leaky_relu(x * w + b), a cross-correlation; (n, h, w, c), (kh, kw, c, o), (o,) -> (n, oh, ow, o).

    `padding` with zeros is a number, (vertical, horizontal), (top, bottom, left, right), or "same" for ceil(h / stride)
    rows out, as in TensorFlow. Rows that the last window does not reach are left out, as in PyTorch. ShapeError.
    """
    _check_ranks("conv2d", x, w)
    steps, kernel = stride_pair(stride), (w.shape[0], w.shape[1])
    pad = same_pads((x.shape[1], x.shape[2]), kernel, steps) if padding == "same" else pads(padding)
    biases = () if b is None else (b,)
    return convolve(x, w, *biases, stride=steps, pad=pad, slope=slope)


def conv_transpose2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    output_padding: int | Pair = 0,
    slope: float = 1.0,
) -> Tensor:
    """leaky_relu(transposed convolution of x + b); (n, h, w, i), (kh, kw, o, i), (o,) -> (n, oh, ow, o).

    The weight is that of the convolution from o to i channels that this is the transpose of, as in TensorFlow and
    Keras. oh = (h - 1) stride - padding + kh + output_padding, as in PyTorch, or h * stride with "same". ShapeError.
    """
    _check_ranks("conv_transpose2d", x, w)
    steps, kernel, size = stride_pair(stride), (w.shape[0], w.shape[1]), x.shape[1:3]
    if padding == "same":
        out = (size[0] * steps[0], size[1] * steps[1])
        pad = same_pads(out, kernel, steps)
    else:
        pad, extra = pads(padding), pair(output_padding, "output_padding", 0)
        if extra[0] >= steps[0] or extra[1] >= steps[1]:
            raise ShapeError(
                f"conv_transpose2d: got output_padding {extra}, wanted less than the stride {steps}"
            )
        out = tuple(
            (length - 1) * step - before - after + k + more
            for length, step, before, after, k, more in zip(
                size, steps, pad[::2], pad[1::2], kernel, extra, strict=True
            )
        )
    biases = () if b is None else (b,)
    return convolve_transposed(x, w, *biases, stride=steps, pad=pad, size=out, slope=slope)


@op
def unfold(x: Array, *, kernel: Pair, stride: Pair, pad: Pad) -> Array:
    """The windows of x as rows (im2col); (n, h, w, c) -> (n * oh * ow, kh * kw * c)."""
    n, _, _, c = x.shape
    oh, ow = out_size(x.shape[1:3], kernel, stride, pad)
    xp = array_module(x)
    x = xp.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0))) if any(pad) else x
    sn, sh, sw, sc = x.strides
    windows = xp.lib.stride_tricks.as_strided(
        x, (n, oh, ow, *kernel, c), (sn, sh * stride[0], sw * stride[1], sh, sw, sc)
    )
    return windows.reshape(n * oh * ow, kernel[0] * kernel[1] * c)


@unfold.vjp
def _(g: Tensor, y: Tensor, x: Tensor, **windows: Any) -> tuple[Thunk, ...]:
    return (lambda: fold(g, shape=x.shape, **windows),)


@op
def fold(cols: Array, *, shape: tuple[int, int, int, int], kernel: Pair, stride: Pair, pad: Pad) -> Array:
    """The adjoint of `unfold`: each row added to where its window was; (n * oh * ow, kh * kw * c) -> shape."""
    n, h, w, c = shape
    oh, ow = out_size((h, w), kernel, stride, pad)
    if cols.shape != (n * oh * ow, kernel[0] * kernel[1] * c):
        raise ShapeError(
            f"fold: got rows {cols.shape} for {shape}, wanted {(n * oh * ow, kernel[0] * kernel[1] * c)}"
        )
    windows = cols.reshape(n, oh, ow, *kernel, c)
    out = array_module(cols).zeros((n, h + pad[0] + pad[1], w + pad[2] + pad[3], c), cols.dtype)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            rows = slice(ky, ky + oh * stride[0], stride[0])
            columns = slice(kx, kx + ow * stride[1], stride[1])
            out[:, rows, columns] += windows[:, :, :, ky, kx]
    inner = out[:, pad[0] : pad[0] + h, pad[2] : pad[2] + w]
    return array_module(cols).ascontiguousarray(inner)


@fold.vjp
def _(g: Tensor, y: Tensor, cols: Tensor, *, shape: Any, **windows: Any) -> tuple[Thunk, ...]:
    return (lambda: unfold(g, **windows),)


@op
def convolve(x: Array, w: Array, *b: Array, stride: Pair, pad: Pad, slope: float = 1.0) -> Array:
    """leaky_relu(x * w + b), b may be left out; (n, h, w, c), (kh, kw, c, o), (o,) -> (n, oh, ow, o)."""
    _check("convolve", x, w, b, channels=2, slope=slope)
    oh, ow = out_size(x.shape[1:3], w.shape[:2], stride, pad)
    y = unfold.forward(x, kernel=w.shape[:2], stride=stride, pad=pad) @ w.reshape(-1, w.shape[3])
    return _finish(y.reshape(len(x), oh, ow, w.shape[3]), b, slope)


@convolve.vjp
def _(
    g: Tensor, y: Tensor, x: Tensor, w: Tensor, *b: Tensor, slope: float = 1.0, **at: Any
) -> tuple[Thunk, ...]:
    v = g if slope == 1 else activation_grad(g, y, slope=slope)
    return (
        lambda: convolve_transposed(v, w, size=x.shape[1:3], **at),
        lambda: convolve_weight_grad(x, v, kernel=w.shape[:2], **at),
        *[lambda: v] * len(b),
    )


@convolve.first_order
def _(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    *b: Array,
    slope: float = 1.0,
    wanted: Any,
    into: Any,
    below: Act | None,
    premasked: bool,
    **at: Any,
) -> tuple[Array | None, ...]:
    v = g if premasked else masked(g, y, "leaky", slope)
    back = partial(convolve_transposed.forward, v, w, size=x.shape[1:3], **at)
    weight = partial(convolve_weight_grad.forward, x, v, kernel=w.shape[:2], out=into[1], **at)
    return _gradients(back, weight, x, v, b, wanted, into, below)


def _gradients(
    back: Callable[[], Array],
    weight: Callable[[], Array],
    x: Array,
    v: Array,
    b: tuple[Array, ...],
    wanted: Any,
    into: Any,
    below: Act | None,
) -> tuple[Array | None, ...]:
    """The gradients for the input x, times the derivative of what made it, for the weight, and for a bias: v's sum."""
    dx = gw = None
    if wanted[0]:
        dx = back()
        dx = masked(dx, x, *(below or NOTHING), out=dx)
    if wanted[1]:
        gw = weight()
    if not b:
        return dx, gw
    return dx, gw, sum_to.forward(v, shape=v.shape[-1:], out=into[2]) if wanted[2] else None


convolve.ends_in = ends_in


@op
def convolve_transposed(
    v: Array, w: Array, *b: Array, stride: Pair, pad: Pad, size: Pair, slope: float = 1.0
) -> Array:
    """leaky_relu(`convolve`'s gradient for x of `size`, + b); (n, oh, ow, o), (kh, kw, c, o), (c,) -> (n, h, w, c)."""
    _check("convolve_transposed", v, w, b, channels=3, slope=slope)
    check_transposed(v.shape[1:3], w.shape[:2], stride, pad, size)
    cols = v.reshape(-1, v.shape[3]) @ w.reshape(-1, w.shape[3]).T
    y = fold.forward(cols, shape=(len(v), *size, w.shape[2]), kernel=w.shape[:2], stride=stride, pad=pad)
    return _finish(y, b, slope)


@convolve_transposed.vjp
def _(
    g: Tensor, y: Tensor, v: Tensor, w: Tensor, *b: Tensor, size: Pair, slope: float = 1.0, **at: Any
) -> tuple[Thunk, ...]:
    x = g if slope == 1 else activation_grad(g, y, slope=slope)
    return (
        lambda: convolve(x, w, **at),
        lambda: convolve_weight_grad(x, v, kernel=w.shape[:2], **at),
        *[lambda: x] * len(b),
    )


@convolve_transposed.first_order
def _(
    g: Array,
    y: Array,
    v: Array,
    w: Array,
    *b: Array,
    size: Pair,
    slope: float = 1.0,
    wanted: Any,
    into: Any,
    below: Act | None,
    premasked: bool,
    **at: Any,
) -> tuple[Array | None, ...]:
    x = g if premasked else masked(g, y, "leaky", slope)
    back = partial(convolve.forward, x, w, **at)
    weight = partial(convolve_weight_grad.forward, x, v, kernel=w.shape[:2], out=into[1], **at)
    return _gradients(back, weight, v, x, b, wanted, into, below)


convolve_transposed.ends_in = ends_in


@op
def convolve_weight_grad(
    x: Array, v: Array, *, stride: Pair, pad: Pad, kernel: Pair, out: Array | None = None
) -> Array:
    """Gradient of `convolve` for its weight, where v is that for its output; -> (kh, kw, c, o), written to `out`."""
    if len(x) != len(v) or v.shape[1:3] != out_size(x.shape[1:3], kernel, stride, pad):
        raise ShapeError(
            f"convolve_weight_grad: got x {x.shape} and v {v.shape}, wanted v as large as convolve's output"
        )
    cols, rows = unfold.forward(x, kernel=kernel, stride=stride, pad=pad), v.reshape(-1, v.shape[3])
    shape = (*kernel, x.shape[3], v.shape[3])
    flat = None if out is None else out.reshape(cols.shape[1], rows.shape[1])
    return array_module(x).matmul(cols.T, rows, out=flat).reshape(shape)


@convolve_weight_grad.vjp
def _(
    g: Tensor, y: Tensor, x: Tensor, v: Tensor, *, kernel: Pair, out: Any = None, **at: Any
) -> tuple[Thunk, ...]:
    return (
        lambda: convolve_transposed(v, g, size=x.shape[1:3], **at),
        lambda: convolve(x, g, **at),
    )


def out_size(size: Pair, kernel: Pair, stride: Pair, pad: Pad) -> Pair:
    """Rows and columns of windows of an input of `size`; ShapeError where not one fits."""
    if min(stride) < 1 or min(pad) < 0:
        raise ShapeError(f"convolution: got stride {stride} and padding {pad}, wanted at least 1 and 0")
    h, w = size[0] + pad[0] + pad[1], size[1] + pad[2] + pad[3]
    if kernel[0] > h or kernel[1] > w:
        raise ShapeError(
            f"convolution: got a kernel of {kernel[0]}x{kernel[1]} for an input of {h}x{w} with its padding, "
            "wanted one that is no larger"
        )
    return (h - kernel[0]) // stride[0] + 1, (w - kernel[1]) // stride[1] + 1


def check_transposed(given: Pair, kernel: Pair, stride: Pair, pad: Pad, size: Pair) -> None:
    """ShapeError unless a convolution of an input of `size` gives `given`."""
    if min(size) < 1 or out_size(size, kernel, stride, pad) != tuple(given):
        raise ShapeError(
            f"transposed convolution: got an input of {given[0]}x{given[1]}, which no convolution with stride "
            f"{stride} and padding {pad} makes of {size[0]}x{size[1]}; wanted less padding or another size"
        )


def stride_pair(stride: int | Pair) -> Pair:
    """(down, right) of a stride; UsageError unless both are at least 1."""
    return pair(stride, "stride", 1)


def pads(padding: Padding) -> Pad:
    """(top, bottom, left, right) of a padding that is no text; UsageError for anything else."""
    if isinstance(padding, tuple | list) and len(padding) == 4:
        if all(isinstance(p, int) and p >= 0 for p in padding):
            top, bottom, left, right = padding
            return top, bottom, left, right
    elif isinstance(padding, int | tuple | list):
        down, right = pair(padding, "padding", 0)
        return down, down, right, right
    raise UsageError(f"got padding {padding!r}, wanted numbers of at least 0, or 'same'")


def pair(value: int | Pair, name: str, least: int) -> Pair:
    """Two whole numbers of one or two; UsageError unless both are at least `least`."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or not all(isinstance(v, int) and v >= least for v in both):
        raise UsageError(f"got {name} {value!r}, wanted one or two whole numbers of at least {least}")
    return both


def same_pads(size: Pair, kernel: Pair, stride: Pair) -> Pad:
    """TensorFlow's SAME: ceil(size / stride) windows, the odd zero at the bottom and on the right."""
    out: list[int] = []
    for length, k, step in zip(size, kernel, stride, strict=True):
        needed = max((-(-length // step) - 1) * step + k - length, 0)
        out += [needed // 2, needed - needed // 2]
    return out[0], out[1], out[2], out[3]


def _check_ranks(name: str, x: Tensor, w: Tensor) -> None:
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise ShapeError(
            f"{name}: got x {x.shape} and w {w.shape}, wanted (n, h, w, channels) and (kh, kw, ., .)"
        )


def _check(name: str, x: Array, w: Array, b: tuple[Array, ...], *, channels: int, slope: float) -> None:
    """The channels of x lie on axis `channels` of w, those of the output on the other one."""
    check_act("leaky", slope)
    fits = x.ndim == 4 and w.ndim == 4 and x.shape[3] == w.shape[channels]
    if not fits or len(b) > 1 or any(part.shape != (w.shape[5 - channels],) for part in b):
        wanted = (
            "(n, h, w, c), (kh, kw, c, o), (o,)" if channels == 2 else "(n, h, w, o), (kh, kw, c, o), (c,)"
        )
        given = ", ".join(str(part.shape) for part in (x, w, *b))
        raise ShapeError(f"{name}: got shapes {given}, wanted {wanted}")
    check_dtypes(name, x, w, *b)


def _finish(y: Array, b: tuple[Array, ...], slope: float) -> Array:
    if b:
        y += b[0]
    return y if slope == 1 else array_module(y).maximum(y, y * slope if slope else 0)
