"""First values of weights, by the names that papers and libraries use.

An initializer takes the shape (i, o) of a weight and random draws, and returns values of standard deviation 1 times its
own rule; the layer's `init_scale` multiplies them (so N(0, 0.02) is "normal" with scale 0.02). A kernel (kh, kw, i, o)
counts kh kw i inputs. Of a transposed convolution, whose kernel is (kh, kw, o, i), it counts kh kw o: what PyTorch and
Keras take for its inputs as well.
"""

from collections.abc import Callable
from difflib import get_close_matches
from math import isfinite, sqrt
from typing import Any

import numpy as np

from fastgan.errors import UsageError
from fastgan.random import Draws

Shape = tuple[int, ...]
Values = Any  # a float32 NumPy array
Initializer = Callable[[Shape, Draws, int], Values]  # the last one is a convolution's stride down times right


def _fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of one unit; leading axes (a kernel's height and width) count in both."""
    field = int(np.prod(shape[:-2]))
    return field * shape[-2], field * shape[-1]


def fan_in(shape: Shape) -> int:
    """Inputs of one unit of a layer with a weight of this shape."""
    return _fans(shape)[0]


def _normal(std: Callable[[int, int], float]) -> Initializer:
    return lambda shape, draws, strides: draws.normal(shape) * np.float32(std(*_fans(shape)))


def _uniform(std: Callable[[int, int], float]) -> Initializer:
    def draw(shape: Shape, draws: Draws, strides: int) -> Values:
        bound = std(*_fans(shape)) * sqrt(3)
        return draws.uniform(shape, -bound, bound)

    return draw


def _igul(shape: Shape, draws: Draws, strides: int) -> Values:
    """The defaults of igul222's code for WGAN-GP: Glorot for linear layers; He for convolutions, where it averages
    inputs and outputs and counts a unit of the smaller side in one of `strides` places."""
    i, o = _fans(shape)
    bound = sqrt(6 / (i + o)) if len(shape) == 2 else sqrt(12 / (i + o / strides))
    return draws.uniform(shape, -bound, bound)


def _truncated(shape: Shape, draws: Draws, strides: int) -> Values:
    """N(0, 1) without the tails beyond 2, by drawing those again (TensorFlow's truncated_normal)."""
    x = draws.normal(shape)
    while (bad := np.abs(x) > 2).any():
        x[bad] = draws.normal((int(bad.sum()),))
    return x


def _orthogonal(shape: Shape, draws: Draws, strides: int) -> Values:
    """Rows or columns of length 1 at right angles (Saxe et al. 2014): the Q of a normal matrix, signs fixed by R."""
    i, o = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(draws.normal((max(i, o), min(i, o))).astype(np.float64))
    q *= np.sign(np.diagonal(r))
    return (q if i >= o else q.T).reshape(shape).astype(np.float32)


INITIALIZERS: dict[str, Initializer] = {
    "torch": _uniform(
        lambda i, o: sqrt(1 / (3 * i))
    ),  # U(-1/sqrt(i), 1/sqrt(i)), biases too: PyTorch's default
    "glorot_uniform": _uniform(lambda i, o: sqrt(2 / (i + o))),  # Glorot and Bengio 2010: Keras's default
    "glorot_normal": _normal(lambda i, o: sqrt(2 / (i + o))),
    "he_uniform": _uniform(lambda i, o: sqrt(2 / i)),  # He et al. 2015
    "he_normal": _normal(lambda i, o: sqrt(2 / i)),
    "lecun_uniform": _uniform(lambda i, o: sqrt(1 / i)),  # LeCun et al. 1998
    "lecun_normal": _normal(lambda i, o: sqrt(1 / i)),
    "normal": _normal(lambda i, o: 1.0),
    "uniform": _uniform(lambda i, o: sqrt(1 / 3)),  # U(-1, 1)
    "truncated_normal": _truncated,
    "orthogonal": _orthogonal,
    "igul": _igul,  # uniform
    "zeros": lambda shape, draws, strides: np.zeros(shape, np.float32),
}


def initialize(name: str, shape: Shape, draws: Draws, *, scale: float = 1.0, strides: int = 1) -> Values:
    """First values of one weight; `strides` is a convolution's stride down times right. UsageError: unknown name."""
    if name not in INITIALIZERS:
        near = get_close_matches(name, INITIALIZERS, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(INITIALIZERS)}"
        raise UsageError(f"got initializer {name!r}; {hint}")
    if not isfinite(scale):
        raise UsageError(f"got init scale {scale}, wanted a finite number")
    return INITIALIZERS[name](shape, draws, strides) * np.float32(scale)
