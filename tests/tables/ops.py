"""One row per op: what it computes in plain NumPy, the shapes of its operands, its settings, and where its kink is.

The sweeps in test_ops.py run over these rows, so a new op needs one row here and no test of its own. A reference is
written another way than the op (einsum for a product, a matrix for a scatter), so that the two do not share a mistake.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastgan import ops
from fastgan.gan.published import seo_sigmoid_layer
from fastgan.tape.arithmetic import alias, cast
from tables import op_references as plain
from tables.op_references import Values, leaky, linear, logistic, normalized


@dataclass(frozen=True)
class Case:
    """An op, its reference, which takes the same arguments, the shapes of its operands, and its settings.

    `positive` draws operands from [0.5, 2); a `kink` keeps them 0.3 away from it. `elementwise` ops are also run on
    other shapes. Without `gradient`, finite differences are not asked: the gradient is 0, or wrong on purpose.
    """

    op: Any
    reference: Any
    shapes: tuple[tuple[int, ...], ...]
    settings: dict[str, Any]
    positive: bool = False
    kink: float | None = None
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

    def operands(self, dtype: Any = np.float64, shapes: Any = None) -> list[Values]:
        """Samples for every operand."""
        rng = np.random.default_rng(0)
        return [self._sample(rng, shape).astype(dtype) for shape in shapes or self.shapes]

    def _sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        x = rng.uniform(0.5, 2, shape) if self.positive else rng.normal(size=shape)
        return x if self.kink is None else x + np.copysign(0.3, x - self.kink)


MARKS = ("positive", "kink", "elementwise", "gradient")


def row(op, reference, *shapes, **rest):
    settings = {k: v for k, v in rest.items() if k not in MARKS}
    return Case(op, reference, shapes, settings, **{k: v for k, v in rest.items() if k in MARKS})


def einsum(text):
    return lambda *xs, **_: np.einsum(text, *xs)


X, PAIR, SQUARES, LAYER = (3, 4), ((3, 4), (3, 1)), ((3, 4), (3, 4)), ((4, 3), (3, 2), (2,))
IMAGES, TAPS, WINDOWS = (2, 7, 6, 3), (3, 2, 3, 2), (2, 4, 6, 2)
PLAIN = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
LARGER = PLAIN | {"size": (5, 4)}
RAGGED = {"stride": (2, 1), "pad": (1, 2, 0, 1)}  # (7, 6) by (3, 2): 4 x 6 windows
KEY, ROWS = (slice(1, None, 2), 1), np.array([2, 0, 2, 2, -1])  # row 2 is read four times: once as -1
TWO = np.eye(5)[:, [1, 3]]  # the rows of KEY
MIDDLE = (slice(None), None, ..., 2)
RUNNING = {"mean": np.array([0.5, -1, 2], "f4"), "variance": np.array([0.75, 2, 3.75], "f4")}
POWERS = (2, 3, 0.5, -1.5, 1)
each = partial(row, elementwise=True)
above = partial(row, elementwise=True, positive=True)

ARITHMETIC = [
    each(ops.add, np.add, *PAIR),
    each(ops.subtract, np.subtract, *PAIR),
    each(ops.multiply, np.multiply, *PAIR),
    above(ops.divide, lambda x, y: x * (1 / y), *PAIR),
    *(above(ops.power, lambda x, exponent: np.power(x, exponent), X, exponent=e) for e in POWERS),
    row(ops.power, lambda x, exponent: np.ones_like(x), X, exponent=0, gradient=False),
    row(ops.matmul, einsum("ni,io->no"), (5, 3), (3, 4)),
    row(ops.matmul, einsum("ni,io->no"), (1, 7), (7, 1)),
    row(ops.transpose, lambda x: np.swapaxes(x, 0, 1), X),
    row(ops.transpose, einsum("abc->bca"), (2, 3, 4), axes=(1, 2, 0)),
    row(ops.transpose, einsum("abc->cab"), (2, 3, 4), axes=(-1, 0, 1)),
    row(ops.reshape, np.reshape, X, shape=(2, 6)),
    row(ops.reshape, np.reshape, X, shape=(-1,)),
    row(ops.total, einsum("ab->"), X),
    row(ops.total, einsum("ab->b"), X, axis=0),
    row(ops.total, lambda x, **_: x.sum((0, 2))[None, :, None], (2, 3, 4), axis=(0, -1), keepdims=True),
    row(ops.broadcast_to, lambda x, shape: np.stack([np.hstack([x] * 4)] * 2), (3, 1), shape=(2, 3, 4)),
    row(ops.sum_to, lambda x, shape: np.einsum("abc->b", x)[:, None], (2, 3, 4), shape=(3, 1)),
    row(ops.sum_to, einsum("abc->c"), (2, 3, 4), shape=(4,)),
    row(ops.sum_to, einsum("ab->"), (2, 3), shape=()),
    row(ops.index, lambda x, key: x[1:5][::2, 1], (5, 4), key=KEY),
    row(ops.index, lambda x, key: x[:, None, :, 2], (2, 3, 4), key=MIDDLE),
    row(ops.index, lambda x, key: np.stack([x[i] for i in (2, 0, 2, 2, 2)]), X, key=ROWS),
    row(ops.index, lambda x, key: x[2], X, key=-1),
    row(ops.unindex, lambda g, **_: np.outer(TWO @ g, np.eye(4)[1]), (2,), key=KEY, shape=(5, 4)),
    row(ops.unindex, lambda g, **_: np.eye(3)[ROWS].T @ g, (5, 4), key=ROWS, shape=(3, 4)),
    each(alias, lambda x: x, X),
    row(cast, lambda x, like: x, X, (2,)),
]

FUNCTIONS = [
    each(ops.exp, lambda x: np.e**x, X),
    above(ops.log, lambda x: np.log2(x) * 0.6931471805599453, X),
    above(ops.sqrt, lambda x: x**0.5, X),
    each(ops.tanh, lambda x: 1 - 2 / (np.exp(2 * x) + 1), X),
    each(ops.arctan, lambda x: np.arctan2(x, np.ones_like(x)), X),
    each(ops.sigmoid, logistic, X),
    each(ops.softplus, lambda x: np.logaddexp(0, x), X),
    each(ops.absolute, lambda x: np.where(x < 0, -x, x), X, kink=0.0),
    each(ops.leaky_relu, leaky, X, kink=0.0),
    each(ops.leaky_relu, leaky, X, slope=0.01, kink=0.0),
    each(ops.relu, lambda x: leaky(x, slope=0), X, kink=0.0),
    row(ops.activation, lambda x, **_: x, X, act="leaky", slope=1.0),
    row(ops.dropout, np.multiply, *SQUARES),
    row(ops.maximum, lambda x, axis: np.sort(x, axis=2)[:, :, -1], (3, 4, 5), axis=2),
    row(ops.maximum, lambda x, axis: np.sort(x, axis=0)[-1], X, axis=-2),
    row(ops.concat, lambda *xs: np.vstack(xs), (2, 3), (1, 3), (4, 3)),
    row(ops.concat, lambda *xs, axis: np.hstack(xs), (2, 3), (2, 1), axis=-1),
    row(ops.concat, lambda *xs, axis: np.dstack(xs), (2, 3, 1), (2, 3, 2), (2, 3, 1), axis=2),
]

ACTS = {  # the activation of x, and its derivative where it gave y
    "leaky": (lambda x, slope: leaky(x, slope=slope), lambda y, slope: np.where(y > 0, 1, slope)),
    "tanh": (lambda x, slope: 1 - 2 / (np.exp(2 * x) + 1), lambda y, slope: 1 - y**2),
    "sigmoid": (lambda x, slope: logistic(x), lambda y, slope: y - y**2),
}


def with_activation(act):
    """Ops that end in an activation, and products with its derivative, m."""
    slope, kink = (0.3, {"kink": 0.0}) if act == "leaky" else (1.0, {})
    own = {"act": act, "slope": slope}
    f, m = (lambda x, f=f: f(x, slope) for f in ACTS[act])
    rows = [
        row(ops.activation, lambda x, **_: f(x), X, **own, **kink),
        row(ops.activation_grad, lambda g, y, **_: g * m(y), *SQUARES, **own, **kink),
        row(ops.linear, lambda x, w, b, **_: f(linear(x, w, b)), *LAYER, **own),
        row(ops.masked_back, lambda g, y, w, **_: g * m(y) @ w.T, (4, 3), (4, 3), (2, 3), **own, **kink),
        row(ops.masked_forth, lambda p, w, y, **_: p @ w * m(y), (4, 2), (2, 3), (4, 3), **own, **kink),
        row(ops.masked_outer, lambda a, g, y, **_: a.T @ (g * m(y)), (4, 2), (4, 3), (4, 3), **own, **kink),
    ]
    if act == "sigmoid":  # compiling two more norms takes seconds
        return rows
    start = {"mean": np.zeros(3), "variance": np.ones(3)}  # of a norm's moving statistics
    whole = lambda x, w, b, *norm, **_: normalized(f(linear(x, w, b)), *norm)  # noqa: E731
    return [
        *rows,
        row(ops.batch_norm, lambda *xs, **_: f(normalized(*xs)), (7, 3), (3,), (3,), **own),
        row(ops.linear_norm, whole, (7, 4), (4, 3), (3,), (3,), (3,), **own, **start),
    ]


LAYERS = [
    row(ops.linear, linear, (17, 33), (33, 5), (5,)),
    row(ops.linear_leaky_relu, lambda x, w, b: leaky(linear(x, w, b)), (17, 33), (33, 5), (5,)),
    row(ops.linear_leaky_relu, lambda x, w, b, slope: np.maximum(linear(x, w, b), 0), *LAYER, slope=0.0),
    row(seo_sigmoid_layer, lambda x, w, b: logistic(linear(x, w, b)), (5, 3), (3, 2), (2,), gradient=False),
    *(case for act in ACTS for case in with_activation(act)),
    row(ops.batch_norm, normalized, (7, 3), (3,), (3,)),
    row(ops.batch_norm, normalized, (2, 3, 2, 4), (4,), (4,), eps=1e-3),
    row(
        ops.batch_norm,
        lambda x, gamma, beta, mean, variance, eps, **_: (x - mean) / np.sqrt(variance + eps) * gamma + beta,
        *((7, 3), (3,), (3,)),
        **{"training": False, "eps": 0.25, **RUNNING},  # roots that float32 has, on any device
    ),
]

CONVOLUTIONS = [
    row(ops.conv2d, lambda *xs: plain.window_sum(*xs, **PLAIN), (2, 5, 4, 3), TAPS, (2,)),
    row(ops.conv_transpose2d, lambda *xs: plain.window_spread(*xs, **LARGER), (2, 3, 3, 2), TAPS, (3,)),
    row(ops.convolve, plain.window_sum, IMAGES, TAPS, **RAGGED),
    row(ops.convolve, plain.window_sum, IMAGES, TAPS, (2,), **RAGGED, slope=0.2),
    row(ops.convolve, plain.window_sum, (1, 3, 3, 1), (3, 3, 1, 4), (4,), **PLAIN),
    row(ops.convolve_transposed, plain.window_spread, WINDOWS, TAPS, **RAGGED, size=(7, 6)),
    row(ops.convolve_transposed, plain.window_spread, WINDOWS, TAPS, (3,), **RAGGED, size=(7, 6), slope=0.2),
    row(ops.convolve_weight_grad, plain.window_products, IMAGES, WINDOWS, **RAGGED, kernel=(3, 2)),
    row(ops.unfold, plain.windows, IMAGES, **RAGGED, kernel=(3, 2)),
    row(ops.fold, plain.windows_back, (48, 18), **RAGGED, kernel=(3, 2), shape=IMAGES),
]
POOLS = [  # images, windows, and the shape of what is found in them
    ((2, 4, 6, 3), {"size": (2, 3), "stride": (2, 3)}, (2, 2, 2, 3)),  # side by side
    (IMAGES, {"size": (3, 2), "stride": (2, 1)}, (2, 3, 5, 3)),  # over one another
    ((2, 5, 6, 3), {"size": (2, 1), "stride": (2, 4)}, (2, 2, 2, 3)),  # with gaps, and a row left over
]
CONVOLUTIONS += [
    case
    for shape, by, found in POOLS
    for case in (
        row(ops.max_pool2d, plain.pooled, shape, **by),
        row(ops.max_pool2d_grad, plain.pooled_back, found, shape, **by),
        row(ops.max_pool2d_pick, plain.picked, shape, shape, **by),
        row(ops.avg_pool2d, partial(plain.pooled, take=np.mean), shape, **by),
    )
]
CONVOLUTIONS += [
    row(ops.upsample2d, lambda x, factor: np.kron(x, np.ones((1, *factor, 1))), (2, 2, 3, 2), factor=(3, 2)),
    row(ops.pad2d, plain.bordered, (2, 2, 3, 2), pads=(1, 0, 2, 3)),
    row(ops.pad2d, plain.bordered, (2, 2, 3, 2), pads=(0, 1, 0, 1), value=-1.0),
    row(ops.crop2d, lambda x, pads: x[:, 1:-2, 3:], (2, 4, 7, 2), pads=(1, 2, 3, 0)),
]

SCORES = {
    "softplus(-s)": lambda s: np.logaddexp(0, -s),
    "softplus(s)": lambda s: np.logaddexp(0, s),
    "-softplus(s)": lambda s: -np.logaddexp(0, s),
    "(s - 1)^2 / 2": lambda s: np.square(s - 1) / 2,
    "s^2 / 2": lambda s: np.square(s) / 2,
    "-s": lambda s: -s,
    "s": lambda s: s,
    "max(0, 1 - s)": lambda s: np.maximum(0, 1 - s),
    "max(0, 1 + s)": lambda s: np.maximum(0, 1 + s),
}
KINKS = {"max(0, 1 - s)": 1.0, "max(0, 1 + s)": -1.0}


def score_losses(s, kinds, counts, weight=1.0):
    groups = np.split(s, np.cumsum(counts)[:-1])
    return weight * sum(SCORES[kind](group).mean() for kind, group in zip(kinds, groups, strict=True))


def penalized(loss, g, weight):
    return loss + weight * np.mean((np.linalg.norm(g, axis=1) - 1) ** 2)


LOSSES = [
    *(
        row(ops.score_loss, score_losses, (6, 1), kinds=(kind,), counts=(6,), kink=KINKS.get(kind))
        for kind in ops.SCORE_LOSSES
    ),
    row(ops.score_loss, score_losses, (6, 1), kinds=tuple(SCORES)[:2], counts=(2, 4), weight=0.5),
    row(ops.with_penalty, penalized, (), (5, 4), weight=3.0),
    row(ops.mse, lambda x, t: np.var(x - t) + np.mean(x - t) ** 2, (5, 1), (5, 1)),
    row(ops.bce_with_logits, plain.entropy, (5, 1), (5, 1)),
]
CASES = [*ARITHMETIC, *FUNCTIONS, *LAYERS, *CONVOLUTIONS, *LOSSES]
