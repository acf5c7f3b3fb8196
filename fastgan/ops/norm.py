"""Batch norm, with the activation after it, and with the linear layer before it, as single ops.

Each has a fused first-order rule; derivatives of higher order come from the formula in Tensor code.

Shapes: `f` features on the last axis; statistics are taken over all other axes. `n` batch, `i`/`o` features in/out.
"""

from typing import Any

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError
from fastgan.ops.dense import layer_gradients, linear, place
from fastgan.ops.elementwise import NOTHING, activated, activation, check_act, ends_in, masked
from fastgan.tape import Tensor, op, vjp_of
from fastgan.tape.engine import Act


@Fusable
def norm_forward(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    eps: float,
    momentum: float = 0.0,
    widening: float = 1.0,
    training: bool = True,
    act: str = "leaky",
    slope: float = 1.0,
    stats: Array | None = None,
) -> Array:
    """Batch norm over all axes but the last, then an activation; (..., f), four of (f,) -> (..., f).

    In training the batch's own statistics are used and written to `stats` (2, f), as mean and 1 / sqrt(variance +
    eps); the running `mean` and `variance` move by `momentum` towards the batch's mean and towards `widening` times its
    variance, in place. Otherwise the running ones are used.
    """
    xp = array_module(x)
    if not training:
        scale = gamma / xp.sqrt(variance + eps)
        return activated(x * scale + (beta - mean * scale), act, slope)
    axes = tuple(range(x.ndim - 1))
    centre = x.mean(axis=axes)
    y = x - centre
    spread = (y * y).mean(axis=axes)
    inverse = 1 / xp.sqrt(spread + eps)
    if stats is not None:
        stats[0], stats[1] = centre, inverse
    mean += momentum * (centre - mean)
    variance += momentum * (widening * spread - variance)
    y *= inverse * gamma
    y += beta
    return activated(y, act, slope)


@Fusable
def norm_backward(
    u: Array,
    x: Array,
    gamma: Array,
    stats: Array,
    *,
    ggamma: Array,
    gbeta: Array,
    act: str = "leaky",
    slope: float = 1.0,
) -> Array:
    """Gradient of batch norm for its input x (..., f), times the derivative of the activation that made x.

    u, of x's shape, is the gradient for batch norm's output, before any activation after it; `stats` (2, f) as
    `norm_forward` left them. Writes the gradients of gamma and beta to `ggamma` and `gbeta`.
    """
    xp = array_module(x)
    axes = tuple(range(x.ndim - 1))
    normal = (x - stats[0]) * stats[1]
    xp.sum(u * normal, axis=axes, out=ggamma)
    xp.sum(u, axis=axes, out=gbeta)
    g = (u - (normal * ggamma + gbeta) / (x.size // x.shape[-1])) * (gamma * stats[1])
    return masked(g, x, act, slope)


@op(keeps=True)
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    act: str = "leaky",
    slope: float = 1.0,
    training: bool = True,
    **running: Any,
) -> tuple[Array, Array]:
    """x normalized per feature by the batch's own mean and variance, times gamma, plus beta; (..., f), (f,), (f,).

    Then an activation of ACTIVATIONS, none by default. `running` may hold `mean` and `variance`, which move as in
    `norm_forward` by its `momentum` and `widening`, and which are used instead where it is not `training`.
    """
    _check("batch_norm", x, gamma, beta)
    check_act(act, slope)
    stats = array_module(x).empty((2, *gamma.shape), x.dtype)
    if "mean" not in running:
        running = {"mean": stats[0], "variance": stats[1]}  # momentum 0 leaves nothing of them
    mean, variance = running.pop("mean"), running.pop("variance")
    settings = {"eps": eps, "act": act, "slope": slope, "stats": stats, "training": training, **running}
    return norm_forward(x, gamma, beta, mean, variance, **settings), stats


def _ends_in(*, training: bool = True, **settings: Any) -> Act | None:
    return ends_in(**settings) if training else None


batch_norm.ends_in = _ends_in


def _normalized(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    eps: float = 1e-5,
    act: str = "leaky",
    slope: float = 1.0,
    training: bool = True,
    mean: Any = None,
    variance: Any = None,
    **_: Any,
) -> Tensor:
    if training:
        axes = tuple(range(x.ndim - 1))
        centred = x - x.mean(axis=axes)
        spread = (centred * centred).mean(axis=axes)
    else:
        centred, spread = x - Tensor(mean), Tensor(variance)
    y = centred * ((spread + eps) ** -0.5 * gamma) + beta
    return y if (act, slope) == NOTHING else activation(y, act=act, slope=slope)


batch_norm.vjp(vjp_of(_normalized))


@batch_norm.first_order
def _(
    g: Array,
    y: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    act: str = "leaky",
    slope: float = 1.0,
    training: bool = True,
    kept: Array,
    into: Any,
    below: Act | None,
    premasked: bool,
    **_: Any,
) -> Any:
    if not training:
        return NotImplemented
    return _through(g if premasked else masked(g, y, act, slope), x, gamma, kept, into[1:], below or NOTHING)


def _through(u: Array, x: Array, gamma: Array, stats: Array, into: Any, below: Act) -> tuple[Array, ...]:
    """The gradients of batch norm for its input, times a derivative, and for gamma and beta."""
    ggamma, gbeta = place(into[0], gamma.shape, u), place(into[1], gamma.shape, u)
    dx = norm_backward(u, x, gamma, stats, ggamma=ggamma, gbeta=gbeta, act=below[0], slope=below[1])
    return dx, ggamma, gbeta


@Fusable
def forward_norm(
    x: Array,
    w: Array,
    b: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    act: str = "leaky",
    slope: float = 1.0,
    eps: float,
    momentum: float = 0.0,
    widening: float = 1.0,
    training: bool = True,
    stats: Array | None = None,
) -> tuple[Array, Array]:
    """A layer and the batch norm behind its activation: (h, y), each (n, o); h = act(x @ w + b), y is h normalized.

    `stats`, `mean` and `variance` as in `norm_forward`.
    """
    h = linear.forward(x, w, b, act=act, slope=slope)
    settings = {"eps": eps, "momentum": momentum, "widening": widening}
    return h, norm_forward(h, gamma, beta, mean, variance, training=training, stats=stats, **settings)


@op(keeps=True)
def linear_norm(
    x: Array,
    w: Array,
    b: Array,
    gamma: Array,
    beta: Array,
    *,
    mean: Array,
    variance: Array,
    eps: float = 1e-5,
    act: str = "leaky",
    slope: float = 1.0,
    momentum: float = 0.0,
    widening: float = 1.0,
) -> tuple[Array, tuple[Array, Array]]:
    """Batch norm of act(x @ w + b); (n, i), (i, o), three of (o,) -> (n, o). Running statistics as in batch_norm."""
    _check("linear_norm", w, gamma, beta)
    stats = array_module(x).empty((2, w.shape[1]), x.dtype)
    moving = {"eps": eps, "momentum": momentum, "widening": widening}
    h, y = forward_norm(x, w, b, gamma, beta, mean, variance, act=act, slope=slope, stats=stats, **moving)
    return y, (h, stats)


@linear_norm.vjp
@vjp_of
def _(
    x: Tensor,
    w: Tensor,
    b: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    eps: float = 1e-5,
    act: str = "leaky",
    slope: float = 1.0,
    **_: Any,
) -> Tensor:
    return _normalized(linear(x, w, b, act=act, slope=slope), gamma, beta, eps=eps)


@linear_norm.first_order
def _(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    b: Array,
    gamma: Array,
    beta: Array,
    *,
    act: str = "leaky",
    slope: float = 1.0,
    kept: tuple[Array, Array],
    wanted: Any,
    into: Any,
    below: Act | None,
    **_: Any,
) -> tuple[Array | None, ...]:
    v, *norm = _through(g, kept[0], gamma, kept[1], into[3:], (act, slope))
    return *layer_gradients(v, x, w, wanted, into, below), *norm


def _check(name: str, x: Array, gamma: Array, beta: Array) -> None:
    if gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        raise ShapeError(
            f"{name}: got {x.shape}, gamma {gamma.shape}, beta {beta.shape}, wanted (..., f), (f,), (f,)"
        )
