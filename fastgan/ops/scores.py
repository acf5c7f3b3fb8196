"""Losses of scores against targets, each a Tensor of shape ()."""

from fastgan.errors import ShapeError
from fastgan.ops.elementwise import softplus
from fastgan.tape import Tensor


def _check(name: str, x: Tensor, target: Tensor | float) -> None:
    """ShapeError where broadcasting would pair every score with every target."""
    if hasattr(target, "shape") and target.shape != x.shape:
        raise ShapeError(f"{name}: got shapes {x.shape} and {target.shape}, wanted the same, or a number")


def mse(x: Tensor, target: Tensor | float) -> Tensor:
    """Mean squared difference; a loss of shape ()."""
    _check("mse", x, target)
    d = x - target
    return (d * d).mean()


def bce_with_logits(scores: Tensor, target: Tensor | float) -> Tensor:
    """Mean binary cross-entropy of sigmoid(scores) against targets in [0, 1], in nats: softplus(s) - s * t."""
    _check("bce_with_logits", scores, target)
    return (softplus(scores) - scores * target).mean()
