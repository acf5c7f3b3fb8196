"""Gradients against central finite differences in float64, in random directions, to any order.

A direction costs two evaluations however many inputs there are. The sum of y**2 + y over the function's output y stands
for it, so that no derivative is constant (y**2 alone undoes a square root); a derivative of the next order is checked
as the gradient of the squared gradient.
Tolerances are chosen here, once: the step errs by about EPS**2 and rounding by 1e-16 / EPS, both times the value.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.tape import Tensor, grad

EPS, ATOL, RTOL = 1e-6, 1e-6, 1e-5
DIRECTIONS = 3

Function = Callable[..., Tensor]


def energy(f: Function) -> Function:
    """The sum of y**2 + y over f's elements y, as a function of the same inputs."""

    def curved(*xs: Tensor) -> Tensor:
        y = f(*xs)
        return (y * y + y).sum()

    return curved


def gradient_energy(f: Function) -> Function:
    """The sum of the squares of the gradient of a scalar function, recorded so that it has a gradient itself."""

    def squared(*xs: Tensor) -> Tensor:
        return squares(grad([f(*xs)], xs, create_graph=True, allow_unused=True))

    return squared


def squares(gradients: Sequence[Any]) -> Any:
    """The sum of all squares, of Tensors or of PyTorch's."""
    parts = [(g * g).sum() for g in gradients]
    return sum(parts[1:], parts[0])


def check_gradient(f: Function, xs: Sequence[NDArray[Any]], *, order: int = 1) -> None:
    """AssertionError where the derivative of `order` of the energy of f differs from finite differences."""
    scalar = energy(f)
    for _ in range(order - 1):
        scalar = gradient_energy(scalar)
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    gradients = [g.data for g in grad([scalar(*inputs)], inputs, allow_unused=True)]
    assert [g.shape for g in gradients] == [x.shape for x in xs]
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(DIRECTIONS):
        way = [rng.normal(size=x.shape) for x in xs]
        length = np.sqrt(sum((d * d).sum() for d in way))
        way = [d / length for d in way]
        slopes.append(sum(float((g * d).sum()) for g, d in zip(gradients, way, strict=True)))
        difference = _value(scalar, xs, way, EPS) - _value(scalar, xs, way, -EPS)
        np.testing.assert_allclose(slopes[-1], difference / (2 * EPS), rtol=RTOL, atol=ATOL)
    assert max(map(abs, slopes)) > 1e-3, "every slope is about 0: this checks nothing"


def _value(scalar: Function, xs: Sequence[NDArray[Any]], way: Sequence[NDArray[Any]], eps: float) -> float:
    return scalar(*(Tensor(x + eps * d, requires_grad=True) for x, d in zip(xs, way, strict=True))).item()
