"""One row per op: the shapes of its operands, what it computes in plain NumPy, and where its kinks are.

The sweeps in test_ops.py run over these rows, so a new op needs one row here and no test of its own. A reference is
written another way than the op (einsum for a product, np.add.at for a scatter), so that the two do not share a mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgan import ops
from fastgan.gan.published import seo_sigmoid_layer
from fastgan.tape.arithmetic import alias, cast
from tables.op_references import (
    Values,
    bordered,
    entropy,
    leaky,
    linear,
    logistic,
    normalized,
    picked,
    pooled,
    pooled_back,
    scatter,
    sum_to,
    window_products,
    window_spread,
    window_sum,
    windows,
    windows_back,
)

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


def _unary(op: Callable[..., Any], reference: Callable[..., Values], **rest: Any) -> Case:
    return Case(op, ((3, 4),), reference, elementwise=True, **rest)


def _binary(op: Callable[..., Any], reference: Callable[..., Values], **rest: Any) -> Case:
    return Case(op, ((3, 4), (3, 1)), reference, elementwise=True, **rest)


PLAIN = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
RAGGED = {"stride": (2, 1), "pad": (1, 2, 0, 1)}  # (7, 6) by (3, 2): 4 x 6 windows
ROWS = np.array([2, 0, 2, 2, -1])  # row 2 is read four times: once as -1

KINK = {"keep_from": 0.0}
ACTS: dict[str, Callable[..., Values]] = {
    "leaky": lambda x, slope: leaky(x, slope=slope),
    "tanh": lambda x, slope: 1 - 2 / (np.exp(2 * x) + 1),
    "sigmoid": lambda x, slope: logistic(x),
}
SLOPES: dict[str, Callable[..., Values]] = {
    "leaky": lambda y, slope: np.where(y > 0, 1, slope).astype(y.dtype),
    "tanh": lambda y, slope: 1 - y**2,
}
SCORES: dict[str, Callable[[Values], Values]] = {
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
        ops.activation_grad,
        ((3, 4), (3, 4)),
        lambda g, y, slope: g * np.where(y > 0, 1, slope).astype(g.dtype),
        {"slope": 0.2},
        keep_from=0.0,
    ),
    *(
        Case(
            ops.activation_grad,
            ((3, 4), (3, 4)),
            lambda g, y, act, slope, own=own: g * own(y),
            {"act": act, "slope": 1.0},
        )
        for act, own in (("tanh", lambda y: 1 - y**2), ("sigmoid", lambda y: y - y**2))
    ),
    *(
        Case(
            ops.activation,
            ((3, 4),),
            lambda x, act, slope: ACTS[act](x, slope),
            {"act": a, "slope": s},
            **away,
        )
        for a, s, away in (("leaky", 0.3, KINK), ("leaky", 1.0, {}), ("tanh", 1.0, {}), ("sigmoid", 1.0, {}))
    ),
    Case(ops.dropout, ((3, 4), (3, 4)), np.multiply),
    Case(ops.linear, ((17, 33), (33, 5), (5,)), linear),
    *(
        Case(
            ops.linear,
            ((4, 3), (3, 2), (2,)),
            lambda x, w, b, act, slope: ACTS[act](linear(x, w, b), slope),
            {"act": act, "slope": slope},
        )
        for act, slope in (("leaky", 0.2), ("tanh", 1.0), ("sigmoid", 1.0))
    ),
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
    Case(ops.batch_norm, ((7, 3), (3,), (3,)), normalized),
    Case(ops.batch_norm, ((2, 3, 2, 4), (4,), (4,)), normalized, {"eps": 1e-3}),
    *(
        Case(
            ops.batch_norm,
            ((7, 3), (3,), (3,)),
            lambda x, gamma, beta, act, slope: ACTS[act](normalized(x, gamma, beta), slope),
            {"act": act, "slope": slope},
        )
        for act, slope in (("leaky", 0.2), ("tanh", 1.0))
    ),
    Case(
        ops.batch_norm,
        ((7, 3), (3,), (3,)),
        lambda x, gamma, beta, training, mean, variance: (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta,
        {"training": False, "mean": np.array([0.5, -1, 2], "f4"), "variance": np.array([0.5, 1.5, 2], "f4")},
    ),
    *(
        Case(
            ops.linear_norm,
            ((7, 4), (4, 3), (3,), (3,), (3,)),
            lambda x, w, b, gamma, beta, act, slope, **_: normalized(
                ACTS[act](linear(x, w, b), slope), gamma, beta
            ),
            {"act": act, "slope": slope, "mean": np.zeros(3), "variance": np.ones(3)},
        )
        for act, slope in (("leaky", 0.3), ("tanh", 1.0))
    ),
    *(
        case
        for act, slope, kink in (("leaky", 0.3, KINK), ("tanh", 1.0, {}))
        for case in (
            Case(
                ops.masked_back,
                ((4, 3), (4, 3), (2, 3)),
                lambda g, y, w, act, slope: np.einsum("no,io->ni", g * SLOPES[act](y, slope), w),
                {"act": act, "slope": slope},
                **kink,
            ),
            Case(
                ops.masked_forth,
                ((4, 2), (2, 3), (4, 3)),
                lambda p, w, y, act, slope: np.einsum("ni,io->no", p, w) * SLOPES[act](y, slope),
                {"act": act, "slope": slope},
                **kink,
            ),
            Case(
                ops.masked_outer,
                ((4, 2), (4, 3), (4, 3)),
                lambda a, g, y, act, slope: np.einsum("ni,no->io", a, g * SLOPES[act](y, slope)),
                {"act": act, "slope": slope},
                **kink,
            ),
        )
    ),
    Case(
        ops.with_penalty,
        ((), (5, 4)),
        lambda loss, g, weight: np.asarray(loss + weight * np.mean((np.linalg.norm(g, axis=1) - 1) ** 2)),
        {"weight": 3.0},
    ),
    *(
        Case(
            ops.score_loss,
            ((6, 1),),
            lambda s, kinds, counts, weight=1.0: np.asarray(
                sum(
                    weight * SCORES[kind](s[start : start + n]).mean()
                    for kind, n, start in zip(kinds, counts, (0, counts[0]), strict=False)
                )
            ),
            {"kinds": kinds, "counts": (6,) if len(kinds) == 1 else (2, 4), **more},
            **(
                {"keep_from": 1.0}
                if kinds == ("max(0, 1 - s)",)
                else {"keep_from": -1.0}
                if "max" in kinds[0]
                else {}
            ),
        )
        for kinds, more in (
            *(((kind,), {}) for kind in ops.SCORE_LOSSES),
            (("softplus(-s)", "softplus(s)"), {"weight": 0.5}),
        )
    ),
    Case(ops.maximum, ((3, 4, 5),), lambda x, axis: np.sort(x, axis=2)[:, :, -1], {"axis": 2}),
    Case(ops.maximum, ((3, 4),), lambda x, axis: np.sort(x, axis=0)[-1], {"axis": -2}),
    Case(ops.concat, ((2, 3), (1, 3), (4, 3)), lambda *xs: np.vstack(xs)),
    Case(ops.concat, ((2, 3), (2, 1)), lambda *xs, axis: np.hstack(xs), {"axis": -1}),
    Case(ops.concat, ((2, 3, 1), (2, 3, 2), (2, 3, 1)), lambda *xs, axis: np.dstack(xs), {"axis": 2}),
    Case(ops.mse, ((5, 1), (5, 1)), lambda x, t: np.asarray(np.var(x - t) + np.mean(x - t) ** 2)),
    Case(ops.bce_with_logits, ((5, 1), (5, 1)), entropy),
    _unary(alias, lambda x: x),
    Case(cast, ((3, 4), (2,)), lambda x, like: x),
    Case(
        seo_sigmoid_layer, ((5, 3), (3, 2), (2,)), lambda x, w, b: logistic(linear(x, w, b)), gradient=False
    ),
]
