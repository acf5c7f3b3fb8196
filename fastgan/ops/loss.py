"""Losses of scores, each a Tensor of shape (): against targets, or one of the table SCORE_LOSSES."""

from types import SimpleNamespace
from typing import Any

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError, UsageError
from fastgan.kernels.formulas import GRADIENT, KINDS, SCORES, arrays
from fastgan.ops.dense import linear
from fastgan.ops.elementwise import relu, softplus, sqrt
from fastgan.tape import Tensor, op, tensor, vjp_of
from fastgan.tape.gradient import times

SCORE_LOSSES = SCORES
FUNCTIONS = SimpleNamespace(softplus=softplus, relu=relu)  # `m` of a formula in Tensor code


def _target(name: str, x: Tensor, target: Any) -> Any:
    """The target as an operand; ShapeError where broadcasting would pair every score with every target."""
    if isinstance(target, int | float):
        return target
    target = target if isinstance(target, Tensor) else tensor(target)
    if target.shape not in (x.shape, ()):
        raise ShapeError(f"{name}: got shapes {x.shape} and {target.shape}, wanted the same, or a number")
    return target


def mse(x: Tensor, target: Tensor | float) -> Tensor:
    """Mean squared difference; a loss of shape ()."""
    d: Tensor = x - _target("mse", x, target)
    return (d * d).mean()


def bce_with_logits(scores: Tensor, target: Tensor | float) -> Tensor:
    """Mean binary cross-entropy of sigmoid(scores) against targets in [0, 1], in nats: softplus(s) - s * t."""
    loss: Tensor = softplus(scores) - scores * _target("bce_with_logits", scores, target)
    return loss.mean()


@op(keeps=True)
def score_loss(
    scores: Array, *, kinds: tuple[str, ...], counts: tuple[int, ...], weight: float = 1.0
) -> tuple[Array, Array]:
    """Mean loss of each group of scores, summed, times `weight`; (n, 1) -> ().

    `kinds` names each group's loss (one of SCORE_LOSSES), `counts` its rows; groups lie one after the other. Keeps the
    loss's derivative for the scores, in which the kind "gradient", no loss, is 1 for each row: the seed of a gradient
    penalty.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"score_loss: got {unknown[0]!r}, wanted kinds of {', '.join(KINDS)}")
    if len(kinds) != len(counts) or sum(counts) != len(scores):
        raise ShapeError(
            f"score_loss: got {len(scores)} scores in groups of {counts} for kinds {kinds}, wanted all"
        )
    xp = array_module(scores)
    loss, d, start = xp.zeros((), scores.dtype), xp.empty_like(scores), 0
    for kind, count in zip(kinds, counts, strict=True):
        part = slice(start, start + count)
        if kind == GRADIENT:
            d[part] = 1
        else:
            m, s, row = arrays(xp), scores[part], SCORES[kind]
            loss += row.formula(m, s).mean() * weight
            d[part] = row.slope(m, s)
            d[part] *= weight / s.size  # of d's own precision
        start += count
    return loss, d


@score_loss.vjp
@vjp_of
def _(scores: Tensor, *, kinds: tuple[str, ...], counts: tuple[int, ...], weight: float = 1.0) -> Tensor:
    loss, start = scores.sum() * 0.0, 0
    for kind, count in zip(kinds, counts, strict=True):
        values = SCORES[kind].formula(FUNCTIONS, scores[start : start + count])
        loss, start = loss + values.mean() * weight, start + count
    return loss


@score_loss.first_order
def _(g: Array, loss: Array, scores: Array, *, kept: Array, **_: Any) -> tuple[Array]:
    return (times(g, kept),)


@Fusable
def head_loss(
    x: Array, w: Array, b: Array, *, kinds: tuple[str, ...], counts: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """The last layer, scores = x @ w + b, and `score_loss`; (n, i), (i, 1), (1,) -> (), (n, 1), (n, 1).

    Returns the loss, the scores, and the loss's derivative for each score.
    """
    scores = linear.forward(x, w, b)
    loss, d = score_loss.forward(scores, kinds=kinds, counts=counts)
    return loss, scores, d


@Fusable
def penalty(g: Array, q: Array, loss: Array, *, weight: float) -> Array:
    """loss + p and p, for p = weight times the mean of (|row of g| - 1)^2; (n, f), (n, f), () -> (2,).

    p's derivative for g is written to q. 1e-12 stands under the root, so that a zero row has a finite derivative.
    """
    xp = array_module(g)
    norm = xp.sqrt((g * g).sum(axis=1, keepdims=True) + 1e-12)
    xp.multiply(g, (norm - 1) / norm * (2 * weight / len(g)), out=q)
    p = ((norm - 1) ** 2).mean() * weight
    return xp.stack([loss + p, p])


@op(keeps=True)
def with_penalty(loss: Array, g: Array, *, weight: float) -> tuple[Array, tuple[Array, Array]]:
    """loss + weight times the mean of (|row of g| - 1)^2; (), (n, f) -> (). Keeps that penalty, and its derivative."""
    q = array_module(g).empty_like(g)
    both = penalty(g, q, loss, weight=weight)
    return both[0], (both[1], q)


@with_penalty.vjp
@vjp_of
def _(loss: Tensor, g: Tensor, *, weight: float) -> Tensor:
    return loss + ((sqrt((g * g).sum(axis=1) + 1e-12) - 1) ** 2).mean() * weight


@with_penalty.first_order
def _(
    upstream: Array, y: Array, loss: Array, g: Array, *, kept: tuple[Array, Array], **_: Any
) -> tuple[Array, Array]:
    return upstream, times(upstream, kept[1])
