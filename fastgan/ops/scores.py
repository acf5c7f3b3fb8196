"""Losses of scores against targets, each a Tensor of shape ()."""

from fastgan.ops.elementwise import softplus
from fastgan.tape import Tensor


def mse(x: Tensor, target: Tensor | float) -> Tensor:
    """Mean squared difference; a loss of shape ()."""
    d = x - target
    return (d * d).mean()


def bce_with_logits(scores: Tensor, target: Tensor | float) -> Tensor:
    """Mean binary cross-entropy of sigmoid(scores) against targets in [0, 1], in nats: softplus(s) - s * t."""
    return (softplus(scores) - scores * target).mean()
