"""What dense layers do in a training step, as array code on raw arrays: the passes that kernels replace.

These are no ops: nothing here is recorded, and their derivatives are written out. `fastgan/nn/chain.py` puts them
together to the gradient of a whole network; the tape gives the same numbers (a test), with a node per op.

Shapes: `n` batch, `i`/`o` features in/out. `z` is what a linear map gives, before its activation; `v` a gradient for
z. Activations are named by `act`, a row of ACTIVATIONS; "leaky" has a `slope` (0 is ReLU, 1 nothing at all). The
derivative of each is a function of its output, so z is never kept.
"""

from fastgan.clock import Count
from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.kernels.formulas import ACTIVATIONS, GRADIENT, KINDS, SCORES, arrays


def activated(z: Array, act: str, slope: float) -> Array:
    """The activation of z."""
    unchanged = (act, slope) == ("leaky", 1)
    return z if unchanged else ACTIVATIONS[act].value(arrays(array_module(z)), z, slope)


def masked(g: Array, y: Array, act: str, slope: float) -> Array:
    """g times the derivative of the activation whose output is y."""
    unchanged = (act, slope) == ("leaky", 1)
    return g if unchanged else ACTIVATIONS[act].masked(arrays(array_module(g)), g, y, slope)


@Fusable
def forward(x: Array, w: Array, b: Array, *, act: str = "leaky", slope: float = 1.0) -> Array:
    """act(x @ w + b); (n, i), (i, o), (o,) -> (n, o)."""
    z = x @ w
    z += b
    return activated(z, act, slope)


@Fusable
def backward(
    v: Array,
    a: Array,
    w: Array,
    *,
    act: str = "leaky",
    slope: float = 1.0,
    gw: Array | None = None,
    gb: Array | None = None,
    dx: bool = True,
) -> Array | None:
    """All of a layer's backward pass: v (n, o), its input a (n, i), w (i, o).

    Writes a^T v to `gw` and the sum of v's rows to `gb`, where given (both or neither). With `dx`, returns v @ w^T
    times the derivative of the activation (`act`, `slope`) that made a: the v of the layer below.
    """
    xp = array_module(v)
    if gw is not None:
        xp.matmul(a.T, v, out=gw)
        xp.sum(v, axis=0, out=gb)
    return masked(v @ w.T, a, act, slope) if dx else None


@Fusable
def weight_gradients(a: Array, v: Array, *, gw: Array, gb: Array, rows: int) -> None:
    """a^T v to `gw`, and the sum of the first `rows` rows of v to `gb`; (n, i), (n, o), (i, o), (o,)."""
    xp = array_module(v)
    xp.matmul(a.T, v, out=gw)
    xp.sum(v[:rows], axis=0, out=gb)


@Fusable
def tangent(p: Array, w: Array, a: Array, *, slope: float) -> None:
    """(p @ w) times the derivative of the leaky activation that made a, written over a; (n, i), (i, o), (n, o)."""
    a[...] = masked(p @ w, a, "leaky", slope)


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

    u (..., f) is the gradient for batch norm's output, before any activation after it; `stats` (2, f) as `norm_forward`
    left them. Writes the gradients of gamma and beta to `ggamma` and `gbeta`.
    """
    xp = array_module(x)
    axes = tuple(range(x.ndim - 1))
    normal = (x - stats[0]) * stats[1]
    xp.sum(u * normal, axis=axes, out=ggamma)
    xp.sum(u, axis=axes, out=gbeta)
    g = (u - (normal * ggamma + gbeta) / (x.size // x.shape[-1])) * (gamma * stats[1])
    return masked(g, x, act, slope)


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
    """A layer and the batch norm behind its activation: (h, y), each (n, o); h = act(x @ w + b), y is h normalised.

    `stats`, `mean` and `variance` as in `norm_forward`.
    """
    h = forward(x, w, b, act=act, slope=slope)
    settings = {"eps": eps, "momentum": momentum, "widening": widening}
    return h, norm_forward(h, gamma, beta, mean, variance, training=training, stats=stats, **settings)


SCORE_LOSSES = KINDS


@Fusable
def score_loss(
    scores: Array, *, kinds: tuple[str, ...], counts: tuple[int, ...], weight: float = 1.0
) -> tuple[Array, Array]:
    """Mean loss of each group of rows, summed, times `weight`, and its derivative for the scores; (n, 1) -> (), (n, 1).

    `kinds` names each group's loss (one of KINDS), `counts` its rows; groups lie one after the other.
    """
    xp = array_module(scores)
    loss, d, start = xp.zeros((), scores.dtype), xp.empty_like(scores), 0
    for kind, count in zip(kinds, counts, strict=True):
        part = slice(start, start + count)
        if kind == GRADIENT:
            d[part] = 1
        else:
            m, s, row = arrays(xp), scores[part], SCORES[kind]
            loss += row.formula(m, s).mean() * weight
            d[part] = row.slope(m, s) * (weight / count)
        start += count
    return loss, d


def head_loss(
    x: Array, w: Array, b: Array, *, kinds: tuple[str, ...], counts: tuple[int, ...], weight: float = 1.0
) -> tuple[Array, Array, Array]:
    """A critic's last layer, scores = x @ w + b, and `score_loss`; (n, i), (i, 1), (1,) -> (), (n, 1), (n, 1).

    Returns the loss, the scores, and the loss's derivative for each score.
    """
    scores = forward(x, w, b)
    loss, d = score_loss(scores, kinds=kinds, counts=counts, weight=weight)
    return loss, scores, d


@Fusable
def penalty(g: Array, q: Array, *, weight: float) -> Array:
    """weight times the mean of (|row of g| - 1)^2, and its derivative for g, written to q; (n, f), (n, f) -> ().

    1e-12 stands under the root, so that a zero row has a finite derivative.
    """
    xp = array_module(g)
    norm = xp.sqrt((g * g).sum(axis=1, keepdims=True) + 1e-12)
    xp.multiply(g, (norm - 1) / norm * (2 * weight / len(g)), out=q)
    return ((norm - 1) ** 2).mean() * weight


@Fusable
def record(
    ring: Array,
    generator_loss: Array,
    critic_loss: Array,
    *,
    step: int | Count,
    more: Array | None = None,
    scale: float = 1.0,
    advance: bool = False,
) -> None:
    """Write a step's losses to row `step` of a ring (k, 2): the critic's, (critic_loss + more) * scale, then the other.

    With `advance` the step counter moves on.
    """
    row = ring[int(step) % len(ring)]
    row[0] = (critic_loss if more is None else critic_loss + more) * scale
    row[1] = generator_loss
    if advance and isinstance(step, Count):
        step.clock += 1
