"""Losses of scores against targets, each a Tensor of shape ()."""

from typing import Any

from fastgan.errors import ShapeError
from fastgan.ops.elementwise import softplus
from fastgan.tape import Tensor, tensor


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
