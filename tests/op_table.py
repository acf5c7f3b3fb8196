"""One row per op: the shapes of its operands, what it computes in plain NumPy, and where its kinks are.

The sweeps in test_ops.py run over these rows, so a new op needs one row here and no test of its own. A reference is
written another way than the op (einsum for a product, np.add.at for a scatter), so that the two do not share a mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgan import ops
from fastgan.nn.conditional import beside, columns
from fastgan.nn.published import seo_sigmoid_layer
from fastgan.tape.engine import alias

Values = Any  # a NumPy array
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Case:
    """An op with its settings, the shapes of its operands, and a reference in NumPy that takes the same arguments.

    `positive` draws operands from [0.5, 2); `keep_from` keeps them 0.3 away from a kink. `elementwise` ops are also run
    on other shapes. Without `gradient`, finite differences are not asked: the gradient is 0, or wrong on purpose.
    """

    op: Callable[..., Any]
    shapes: Shapes
    reference: Callable[..., Values]
    settings: dict[str, Any] = field(default_factory=dict)
    positive: bool = False
    keep_from: float | None = None
    elementwise: bool = False
    gradient: bool = True

    @property
    def name(self) -> str:
        """The op's name."""
        return str(getattr(self.op, "name", None) or self.op.__name__)

    def __str__(self) -> str:
        shapes = " ".join("x".join(map(str, s)) or "()" for s in self.shapes)
        settings = ",".join(f"{k}={str(v).replace(' ', '')}" for k, v in self.settings.items())
        return f"{self.name} {shapes} {settings}".rstrip()

    def operands(self, dtype: Any = np.float64, shapes: Shapes | None = None, seed: int = 0) -> list[Values]:
        """Samples for every operand."""
        rng = np.random.default_rng(seed)
        return [self._sample(rng, shape).astype(dtype) for shape in shapes or self.shapes]

    def _sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        if self.positive:
            return rng.uniform(0.5, 2, shape)
        x = rng.normal(size=shape)
        if self.keep_from is None:
            return x
        far = x - self.keep_from
        return self.keep_from + np.where(far < 0, far - 0.3, far + 0.3)


def leaky(x: Values, *, slope: float = 0.2) -> Values:
    return np.where(x > 0, x, slope * x)


def linear(x: Values, w: Values, b: Values) -> Values:
    return np.einsum("ni,io->no", x, w) + b


def logistic(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


def sum_to(x: Values, *, shape: tuple[int, ...]) -> Values:
    out = np.zeros(shape, x.dtype)
    aligned = (1,) * (x.ndim - len(shape)) + shape
    for place in np.ndindex(x.shape):
        at = tuple(i if n > 1 else 0 for i, n in zip(place, aligned, strict=True))
        out[at[x.ndim - len(shape) :]] += x[place]
    return out


def scatter(g: Values, *, key: Any, shape: tuple[int, ...]) -> Values:
    out = np.zeros(shape, g.dtype)
    np.add.at(out, key, g)
    return out


def normalised(x: Values, gamma: Values, beta: Values, *, eps: float = 1e-5) -> Values:
    flat = x.reshape(-1, x.shape[-1])
    return (((flat - flat.mean(0)) / np.sqrt(flat.var(0) + eps)) * gamma + beta).reshape(x.shape)


def normalised_back(g: Values, x: Values, gamma: Values, *, eps: float) -> Values:
    """The chain rule step by step, as in Ioffe and Szegedy 2015, section 3."""
    g2, x2 = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
    m, centred, variance = len(x2), x2 - x2.mean(0), x2.var(0) + eps
    d_hat = g2 * gamma
    d_variance = (d_hat * centred).sum(0) * -0.5 * variance**-1.5
    d_mean = -d_hat.sum(0) / np.sqrt(variance) - 2 * d_variance * centred.mean(0)
    return (d_hat / np.sqrt(variance) + d_variance * 2 * centred / m + d_mean / m).reshape(x.shape)


def normalised_gamma(g: Values, x: Values, *, eps: float) -> Values:
    zeros, ones = np.zeros(x.shape[-1], x.dtype), np.ones(x.shape[-1], x.dtype)
    return np.einsum(
        "nf,nf->f", *(a.reshape(-1, a.shape[-1]) for a in (g, normalised(x, ones, zeros, eps=eps)))
    )


def window_sum(
    x: Values, w: Values, b: Values | float = 0.0, *, stride: Any, pad: Any, slope: float = 1.0
) -> Values:
    """A convolution, output by output."""
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    kh, kw, _, o = w.shape
    down, right = (x.shape[1] - kh) // stride[0] + 1, (x.shape[2] - kw) // stride[1] + 1
    y = np.zeros((len(x), down, right, o))
    for i, j in np.ndindex(down, right):
        part = x[:, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw]
        y[:, i, j] = np.einsum("nyxc,yxco->no", part, w)
    return leaky(y + b, slope=slope)


def window_spread(
    v: Values, w: Values, b: Values | float = 0.0, *, stride: Any, pad: Any, size: Any, slope: float = 1.0
) -> Values:
    """Its transpose: each input spread over a window."""
    kh, kw, c, _ = w.shape
    y = np.zeros((len(v), size[0] + sum(pad[:2]), size[1] + sum(pad[2:]), c))
    for i, j in np.ndindex(*v.shape[1:3]):
        part = np.einsum("no,yxco->nyxc", v[:, i, j], w)
        y[:, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw] += part
    return leaky(y[:, pad[0] : pad[0] + size[0], pad[2] : pad[2] + size[1]] + b, slope=slope)


def window_products(x: Values, v: Values, *, stride: Any, pad: Any, kernel: Any) -> Values:
    """The weight's gradient, tap by tap."""
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    out = np.zeros((*kernel, x.shape[3], v.shape[3]))
    for i, j in np.ndindex(*kernel):
        rows = slice(i, i + stride[0] * (v.shape[1] - 1) + 1, stride[0])
        columns = slice(j, j + stride[1] * (v.shape[2] - 1) + 1, stride[1])
        out[i, j] = np.einsum("nyxc,nyxo->co", x[:, rows, columns], v)
    return out


def windows(x: Values, *, kernel: Any, stride: Any, pad: Any) -> Values:
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    every = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.einsum("nijcyx->nijyxc", every).reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def windows_back(cols: Values, *, shape: Any, kernel: Any, stride: Any, pad: Any) -> Values:
    """Through the matrix of `windows`, column by column."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    matrix = np.stack([windows(u, kernel=kernel, stride=stride, pad=pad) for u in units])
    return np.einsum("irk,rk->i", matrix, cols).reshape(shape)


def window_starts(x: Values, size: Any, stride: Any) -> list[tuple[Any, ...]]:
    """Sample, row and column of every window, and the corner where it begins."""
    down, right = (x.shape[1] - size[0]) // stride[0] + 1, (x.shape[2] - size[1]) // stride[1] + 1
    places = np.ndindex(len(x), down, right)
    return [(n, i, j, i * stride[0], j * stride[1]) for n, i, j in places]


def pooled(x: Values, *, size: Any, stride: Any, take: Any = np.max) -> Values:
    every = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return take(every, axis=(4, 5))


def pooled_back(g: Values, x: Values, *, size: Any, stride: Any) -> Values:
    out = np.zeros(x.shape)
    for n, i, j, top, left in window_starts(x, size, stride):
        for c in range(x.shape[3]):
            part = x[n, top : top + size[0], left : left + size[1], c]
            row, column = np.unravel_index(part.argmax(), part.shape)
            out[n, top + row, left + column, c] += g[n, i, j, c]
    return out


def picked(gg: Values, x: Values, *, size: Any, stride: Any) -> Values:
    """Through the matrix of `pooled_back`, column by column."""
    shape = pooled(x, size=size, stride=stride).shape
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.stack([(pooled_back(u, x, size=size, stride=stride) * gg).sum() for u in units]).reshape(shape)


def bordered(x: Values, *, pads: Any, value: float = 0.0) -> Values:
    return np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=value)


def entropy(s: Values, t: Values) -> Values:
    p = logistic(s)
    return np.asarray(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())


def _unary(op: Callable[..., Any], reference: Callable[..., Values], **rest: Any) -> Case:
    return Case(op, ((3, 4),), reference, elementwise=True, **rest)


def _binary(op: Callable[..., Any], reference: Callable[..., Values], **rest: Any) -> Case:
    return Case(op, ((3, 4), (3, 1)), reference, elementwise=True, **rest)


PLAIN = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
RAGGED = {"stride": (2, 1), "pad": (1, 2, 0, 1)}  # (7, 6) by (3, 2): 4 x 6 windows
ROWS = np.array([2, 0, 2, 2, -1])  # row 2 is read four times: once as -1

CASES = [
    _binary(ops.add, np.add),
    _binary(ops.subtract, np.subtract),
    _binary(ops.multiply, np.multiply),
    _binary(ops.divide, lambda x, y: x * (1 / y), positive=True),
    *(
        _unary(ops.power, lambda x, exponent: np.power(x, exponent), settings={"exponent": e}, positive=True)
        for e in (2, 3, 0.5, -1.5, 1)
    ),
    Case(ops.power, ((3, 4),), lambda x, exponent: np.ones_like(x), {"exponent": 0}, gradient=False),
    Case(ops.matmul, ((5, 3), (3, 4)), lambda x, w: np.einsum("ni,io->no", x, w)),
    Case(ops.matmul, ((1, 7), (7, 1)), lambda x, w: np.einsum("ni,io->no", x, w)),
    Case(ops.transpose, ((3, 4),), lambda x: np.swapaxes(x, 0, 1)),
    Case(ops.transpose, ((2, 3, 4),), lambda x, axes: np.einsum("abc->bca", x), {"axes": (1, 2, 0)}),
    Case(ops.transpose, ((2, 3, 4),), lambda x, axes: np.einsum("abc->cab", x), {"axes": (-1, 0, 1)}),
    Case(ops.reshape, ((3, 4),), np.reshape, {"shape": (2, 6)}),
    Case(ops.reshape, ((3, 4),), np.reshape, {"shape": (-1,)}),
    Case(ops.total, ((3, 4),), lambda x: np.einsum("ab->", x)),
    Case(ops.total, ((3, 4),), lambda x, axis: np.einsum("ab->b", x), {"axis": 0}),
    Case(
        ops.total,
        ((2, 3, 4),),
        lambda x, axis, keepdims: np.einsum("abc->b", x)[None, :, None],
        {"axis": (0, -1), "keepdims": True},
    ),
    Case(
        ops.broadcast_to, ((3, 1),), lambda x, shape: np.stack([np.hstack([x] * 4)] * 2), {"shape": (2, 3, 4)}
    ),
    Case(ops.sum_to, ((2, 3, 4),), sum_to, {"shape": (3, 1)}),
    Case(ops.sum_to, ((2, 3, 4),), sum_to, {"shape": (4,)}),
    Case(ops.sum_to, ((2, 3),), sum_to, {"shape": ()}),
    Case(ops.index, ((5, 4),), lambda x, key: x[1:5][::2, 1], {"key": (slice(1, None, 2), 1)}),
    Case(ops.index, ((2, 3, 4),), lambda x, key: x[:, None, :, 2], {"key": (slice(None), None, ..., 2)}),
    Case(ops.index, ((3, 4),), lambda x, key: np.stack([x[i] for i in (2, 0, 2, 2, 2)]), {"key": ROWS}),
    Case(ops.index, ((3, 4),), lambda x, key: x[-1], {"key": -1}),
    Case(ops.unindex, ((2,),), scatter, {"key": (slice(1, None, 2), 1), "shape": (5, 4)}),
    Case(ops.unindex, ((5, 4),), scatter, {"key": ROWS, "shape": (3, 4)}),
    _unary(ops.exp, lambda x: np.e**x),
    _unary(ops.log, lambda x: np.log2(x) * 0.6931471805599453, positive=True),
    _unary(ops.sqrt, lambda x: x**0.5, positive=True),
    _unary(ops.tanh, lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    _unary(ops.arctan, lambda x: np.arctan2(x, np.ones_like(x))),
    _unary(ops.sigmoid, logistic),
    _unary(ops.softplus, lambda x: np.logaddexp(0, x).astype(x.dtype)),
    _unary(ops.absolute, lambda x: np.where(x < 0, -x, x), keep_from=0.0),
    _unary(ops.leaky_relu, leaky, keep_from=0.0),
    _unary(ops.leaky_relu, leaky, settings={"slope": 0.01}, keep_from=0.0),
    _unary(ops.relu, lambda x: leaky(x, slope=0), keep_from=0.0),
    Case(
        ops.leaky_relu_grad,
        ((3, 4), (3, 4)),
        lambda g, y, slope: g * np.where(y > 0, 1, slope).astype(g.dtype),
        {"slope": 0.2},
        keep_from=0.0,
    ),
    Case(ops.dropout, ((3, 4), (3, 4)), np.multiply),
    Case(ops.linear, ((17, 33), (33, 5), (5,)), linear),
    Case(ops.linear_leaky_relu, ((17, 33), (33, 5), (5,)), lambda x, w, b: leaky(linear(x, w, b))),
    Case(
        ops.linear_leaky_relu,
        ((3, 4), (4, 2), (2,)),
        lambda x, w, b, slope: leaky(linear(x, w, b), slope=slope),
        {"slope": 0.0},
    ),
    Case(ops.conv2d, ((2, 5, 4, 3), (3, 2, 3, 2), (2,)), lambda x, w, b: window_sum(x, w, b, **PLAIN)),
    Case(
        ops.conv_transpose2d,
        ((2, 3, 3, 2), (3, 2, 3, 2), (3,)),
        lambda v, w, b: window_spread(v, w, b, **PLAIN, size=(5, 4)),
    ),
    Case(ops.convolve, ((2, 7, 6, 3), (3, 2, 3, 2)), window_sum, RAGGED),
    Case(ops.convolve, ((2, 7, 6, 3), (3, 2, 3, 2), (2,)), window_sum, RAGGED | {"slope": 0.2}),
    Case(ops.convolve, ((1, 3, 3, 1), (3, 3, 1, 4), (4,)), window_sum, PLAIN),
    Case(ops.convolve_transposed, ((2, 4, 6, 2), (3, 2, 3, 2)), window_spread, RAGGED | {"size": (7, 6)}),
    Case(
        ops.convolve_transposed,
        ((2, 4, 6, 2), (3, 2, 3, 2), (3,)),
        window_spread,
        RAGGED | {"size": (7, 6), "slope": 0.2},
    ),
    Case(
        ops.convolve_weight_grad,
        ((2, 7, 6, 3), (2, 4, 6, 2)),
        window_products,
        RAGGED | {"kernel": (3, 2)},
    ),
    Case(ops.unfold, ((2, 7, 6, 3),), windows, RAGGED | {"kernel": (3, 2)}),
    Case(ops.fold, ((48, 18),), windows_back, RAGGED | {"kernel": (3, 2), "shape": (2, 7, 6, 3)}),
    *(
        row
        for shape, windows_by, found in (
            ((2, 4, 6, 3), {"size": (2, 3), "stride": (2, 3)}, (2, 2, 2, 3)),  # side by side
            ((2, 7, 6, 3), {"size": (3, 2), "stride": (2, 1)}, (2, 3, 5, 3)),  # over one another
            (
                (2, 5, 6, 3),
                {"size": (2, 1), "stride": (2, 4)},
                (2, 2, 2, 3),
            ),  # with gaps, and a row left over
        )
        for row in (
            Case(ops.max_pool2d, (shape,), pooled, windows_by),
            Case(ops.max_pool2d_grad, (found, shape), pooled_back, windows_by),
            Case(ops.max_pool2d_pick, (shape, shape), picked, windows_by),
            Case(ops.avg_pool2d, (shape,), lambda x, **s: pooled(x, **s, take=np.mean), windows_by),
        )
    ),
    Case(
        ops.upsample2d,
        ((2, 2, 3, 2),),
        lambda x, factor: np.kron(x, np.ones((1, *factor, 1))),
        {"factor": (3, 2)},
    ),
    Case(ops.pad2d, ((2, 2, 3, 2),), bordered, {"pads": (1, 0, 2, 3)}),
    Case(ops.pad2d, ((2, 2, 3, 2),), bordered, {"pads": (0, 1, 0, 1), "value": -1.0}),
    Case(ops.crop2d, ((2, 4, 7, 2),), lambda x, pads: x[:, 1:-2, 3:], {"pads": (1, 2, 3, 0)}),
    Case(ops.batch_norm, ((7, 3), (3,), (3,)), normalised),
    Case(ops.batch_norm, ((2, 3, 2, 4), (4,), (4,)), normalised, {"eps": 1e-3}),
    Case(ops.batch_norm_grad, ((7, 3), (7, 3), (3,)), normalised_back, {"eps": 1e-5}),
    Case(ops.batch_norm_grad, ((2, 3, 2, 4), (2, 3, 2, 4), (4,)), normalised_back, {"eps": 1e-3}),
    Case(ops.batch_norm_gamma_grad, ((7, 3), (7, 3)), normalised_gamma, {"eps": 1e-5}),
    Case(ops.batch_norm_gamma_grad, ((2, 3, 2, 4), (2, 3, 2, 4)), normalised_gamma, {"eps": 1e-3}),
    Case(ops.maximum, ((3, 4, 5),), lambda x, axis: np.sort(x, axis=2)[:, :, -1], {"axis": 2}),
    Case(ops.maximum, ((3, 4),), lambda x, axis: np.sort(x, axis=0)[-1], {"axis": -2}),
    Case(ops.concat, ((2, 3), (1, 3), (4, 3)), lambda *xs: np.vstack(xs)),
    Case(ops.concat, ((2, 3), (2, 1)), lambda *xs, axis: np.hstack(xs), {"axis": -1}),
    Case(ops.mse, ((5, 1), (5, 1)), lambda x, t: np.asarray(np.var(x - t) + np.mean(x - t) ** 2)),
    Case(ops.bce_with_logits, ((5, 1), (5, 1)), entropy),
    Case(beside, ((3, 2), (3, 4)), lambda a, b: np.append(a, b, axis=1)),
    Case(beside, ((2, 3, 1), (2, 3, 2), (2, 3, 1)), lambda *xs: np.dstack(xs)),
    Case(columns, ((3, 5),), lambda x, *, start, stop: x.T[start:stop].T, {"start": 1, "stop": 4}),
    Case(
        columns, ((2, 3, 4),), lambda x, *, start, stop: np.take(x, range(stop), 2), {"start": 0, "stop": 3}
    ),
    _unary(alias, lambda x: x),
    Case(
        seo_sigmoid_layer, ((5, 3), (3, 2), (2,)), lambda x, w, b: logistic(linear(x, w, b)), gradient=False
    ),
]
