"""Batch norm: one op forward, one op per gradient, each differentiable again through its formula.

Shapes: `f` features on the last axis; statistics are taken over all other axes.
"""

from typing import Any

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError
from fastgan.tape import Tensor, Thunk, op, vjp_of


@Fusable
def moments(x: Array, *, eps: float) -> Array:
    """Mean and 1 / sqrt(variance + eps) of each feature over all other axes; (..., f) -> (2, f)."""
    xp = array_module(x)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    centred = x - mean
    return xp.stack([mean, 1 / xp.sqrt((centred * centred).mean(axis=axes) + eps)])


@op
def batch_norm(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5, stats: Array | None = None
) -> Array:
    """x normalised per feature by the batch's own mean and variance, times gamma, plus beta; (..., f), (f,), (f,).

    `stats` may hold `moments(x)` where the caller needs them as well (running statistics).
    """
    if gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        raise ShapeError(
            f"batch_norm: got x {x.shape}, gamma {gamma.shape}, beta {beta.shape}, wanted (..., f), (f,), (f,)"
        )
    mean, inverse = moments(x, eps=eps) if stats is None else stats
    y = x - mean
    y *= inverse * gamma
    y += beta
    return y


@batch_norm.vjp
def _(
    g: Tensor,
    y: Tensor,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    eps: float = 1e-5,
    stats: Array | None = None,
) -> tuple[Thunk, ...]:
    return (
        lambda: batch_norm_grad(g, x, gamma, eps=eps, stats=stats),
        lambda: batch_norm_gamma_grad(g, x, eps=eps, stats=stats),
        lambda: g,
    )


@op
def batch_norm_grad(g: Array, x: Array, gamma: Array, *, eps: float, stats: Array | None = None) -> Array:
    """Gradient of `batch_norm` for x, through the batch's mean and variance as well."""
    mean, inverse = moments(x, eps=eps) if stats is None else stats
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    normal = (x - mean) * inverse
    gx = normal * ((g * normal).sum(axis=axes) / -count)
    gx += g
    gx -= g.sum(axis=axes) / count
    gx *= gamma * inverse
    return gx


def _batch_norm_grad_formula(g: Tensor, x: Tensor, gamma: Tensor, *, eps: float, stats: Any = None) -> Tensor:
    axes = tuple(range(x.ndim - 1))
    normal, inverse = _normalised(x, eps)
    inner = g - g.mean(axis=axes) - normal * (g * normal).mean(axis=axes)
    return inner * (gamma * inverse)


batch_norm_grad.vjp(vjp_of(_batch_norm_grad_formula))


@op
def batch_norm_gamma_grad(g: Array, x: Array, *, eps: float, stats: Array | None = None) -> Array:
    """Gradient of `batch_norm` for gamma: the sum of g times the normalised x."""
    mean, inverse = moments(x, eps=eps) if stats is None else stats
    return (g * ((x - mean) * inverse)).sum(axis=tuple(range(x.ndim - 1)))


def _batch_norm_gamma_grad_formula(g: Tensor, x: Tensor, *, eps: float, stats: Any = None) -> Tensor:
    return (g * _normalised(x, eps)[0]).sum(axis=tuple(range(x.ndim - 1)))


batch_norm_gamma_grad.vjp(vjp_of(_batch_norm_gamma_grad_formula))


def _normalised(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    axes = tuple(range(x.ndim - 1))
    centred = x - x.mean(axis=axes)
    inverse = ((centred * centred).mean(axis=axes) + eps) ** -0.5
    return centred * inverse, inverse
