"""Gradients against central finite differences in float64, in random directions, to any order.

A direction costs two evaluations however many inputs there are. The sum of y**2 + y over the function's output y stands
for it, so that no derivative is constant (y**2 alone undoes a square root); a derivative of the next order is checked
as the gradient of the squared gradient.
Tolerances are chosen here, once: the step errs by about EPS**2 and rounding by 1e-16 / EPS, both times the value.
"""

from functools import partial

import numpy as np

from fastgan.tape import Tensor, grad

EPS, ATOL, RTOL = 1e-6, 1e-6, 1e-5
DIRECTIONS = 2


def energy(f, *xs):
    """The sum of y**2 + y over the elements y of f(*xs)."""
    y = f(*xs)
    return (y * y + y).sum()


def gradient_energy(f, *xs):
    """The sum of the squares of the gradient of a scalar function, recorded so that it has a gradient itself."""
    return squares(grad([f(*xs)], xs, create_graph=True, allow_unused=True))


def squares(gradients):
    """The sum of all squares."""
    first, *others = [(g * g).sum() for g in gradients]
    return sum(others, first)


def check_gradient(f, xs, *, order=1):
    """AssertionError where the derivative of `order` of the energy of f differs from finite differences."""
    scalar = partial(energy, f)
    for _ in range(order - 1):
        scalar = partial(gradient_energy, scalar)
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    gradients = [g.data for g in grad([scalar(*inputs)], inputs, allow_unused=True)]
    assert [g.shape for g in gradients] == [x.shape for x in xs]
    rng, slopes = np.random.default_rng(0), []
    for _ in range(DIRECTIONS):
        way = [rng.normal(size=x.shape) for x in xs]
        length = np.sqrt(sum((d * d).sum() for d in way))
        up, down = (
            scalar(*(Tensor(x + e / length * d, True) for x, d in zip(xs, way, strict=True))).item()
            for e in (EPS, -EPS)
        )
        slopes.append(sum(float((g * d).sum()) for g, d in zip(gradients, way, strict=True)) / length)
        np.testing.assert_allclose(slopes[-1], (up - down) / (2 * EPS), rtol=RTOL, atol=ATOL)
    assert max(map(abs, slopes)) > 1e-3, "every slope is about 0: this checks nothing"
