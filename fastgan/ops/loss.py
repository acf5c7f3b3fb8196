"""Losses of scores, each a Tensor of shape (): against targets, or one of the table SCORE_LOSSES."""

from collections.abc import Callable
from typing import Any

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError
from fastgan.ops.dense import linear
from fastgan.ops.elementwise import relu, softplus
from fastgan.tape import Tensor, op, tensor, vjp_of
from fastgan.tape.engine import times

SCORE_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus(-s)": lambda s: softplus(-s),
    "softplus(s)": softplus,
    "-softplus(s)": lambda s: -softplus(s),
    "(s - 1)^2 / 2": lambda s: (s - 1) ** 2 * 0.5,
    "s^2 / 2": lambda s: s * s * 0.5,
    "-s": lambda s: -s,
    "s": lambda s: s,
    "max(0, 1 - s)": lambda s: relu(1 - s),
    "max(0, 1 + s)": lambda s: relu(1 + s),
}


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
    xp = array_module(scores)
    loss, d, start = xp.zeros((), scores.dtype), xp.empty_like(scores), 0
    for kind, count in zip(kinds, counts, strict=True):
        part = slice(start, start + count)
        if kind == "gradient":
            d[part] = 1
        else:
            values, slopes = _score_terms(scores[part], kind)
            loss += values.mean() * weight
            d[part] = slopes * (weight / values.size)
        start += count
    return loss, d


@score_loss.vjp
@vjp_of
def _(scores: Tensor, *, kinds: tuple[str, ...], counts: tuple[int, ...], weight: float = 1.0) -> Tensor:
    loss, start = scores.sum() * 0.0, 0
    for kind, count in zip(kinds, counts, strict=True):
        loss, start = loss + SCORE_LOSSES[kind](scores[start : start + count]).mean() * weight, start + count
    return loss


@score_loss.first_order
def _(g: Array, loss: Array, scores: Array, *, kept: Array, **_: Any) -> tuple[Array]:
    return (times(g, kept),)


def _score_terms(s: Array, kind: str) -> tuple[Array, Array]:
    """A loss and its derivative, score by score."""
    xp = array_module(s)
    if kind in ("softplus(-s)", "softplus(s)", "-softplus(s)"):
        x = -s if kind == "softplus(-s)" else s
        e = xp.exp(-xp.abs(x))
        value, slope = xp.maximum(x, 0) + xp.log1p(e), xp.where(x >= 0, 1, e) / (1 + e)
        return (
            (value, slope)
            if kind == "softplus(s)"
            else (-value, -slope)
            if kind[0] == "-"
            else (value, -slope)
        )
    if kind == "(s - 1)^2 / 2":
        return (s - 1) ** 2 * 0.5, s - 1
    if kind == "s^2 / 2":
        return s * s * 0.5, s
    if kind in ("-s", "s"):
        sign = -1 if kind == "-s" else 1
        return s * sign, xp.full_like(s, sign)
    sign = -1 if kind == "max(0, 1 - s)" else 1
    return xp.maximum(1 + sign * s, 0), xp.where(1 + sign * s > 0, sign, 0).astype(s.dtype)


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
