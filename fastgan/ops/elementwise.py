"""Elementwise ops: array code, and right below it the gradient in Tensor code.

The backward of leaky_relu is an op of its own, so it can have a kernel too and can be differentiated again.
"""

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.tape import Tensor, Thunk, op


@op
def exp(x: Array) -> Array:
    """e to the x."""
    return array_module(x).exp(x)


@exp.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * y,)


@op
def log(x: Array) -> Array:
    """Natural logarithm."""
    return array_module(x).log(x)


@log.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g / x,)


@op
def sqrt(x: Array) -> Array:
    """Square root; its derivative is infinite at 0, so add a small number under a norm."""
    return array_module(x).sqrt(x)


@sqrt.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * 0.5 / y,)


@op
def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return array_module(x).tanh(x)


@tanh.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * (1 - y * y),)


@op
def arctan(x: Array) -> Array:
    """Inverse tangent."""
    return array_module(x).arctan(x)


@arctan.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g / (1 + x * x),)


@op
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that it cannot overflow."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)  # by halves of tanh the left tail would be 0 below -17


@sigmoid.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * y * (1 - y),)


@op
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    xp = array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@softplus.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * sigmoid(x),)


@op
def absolute(x: Array) -> Array:
    """|x|; derivative 0 at 0."""
    return array_module(x).abs(x)


@absolute.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g * Tensor(array_module(x.data).sign(x.data)),)


def check_slope(slope: float) -> None:
    """UsageError unless 0 <= slope <= 1: beyond, the output's sign would not tell the input's."""
    if not 0 <= slope <= 1:
        raise UsageError(f"got slope {slope}, wanted 0 to 1")


@op
def leaky_relu(x: Array, *, slope: float = 0.2) -> Array:
    """x where positive, slope * x elsewhere; 0 <= slope <= 1."""
    check_slope(slope)
    return array_module(x).maximum(x, x * slope if slope else 0)  # inf * 0 would be NaN


@leaky_relu.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, slope: float = 0.2) -> tuple[Thunk, ...]:
    return (lambda: leaky_relu_grad(g, y, slope=slope),)


def relu(x: Tensor) -> Tensor:
    """x where positive, 0 elsewhere."""
    return leaky_relu(x, slope=0.0)


@op
def leaky_relu_grad(g: Array, y: Array, *, slope: float) -> Array:
    """g where the activation's output y is positive, slope * g elsewhere."""
    return array_module(g).where(y > 0, g, g * slope)


@leaky_relu_grad.vjp
def _(gg: Tensor, out: Tensor, g: Tensor, y: Tensor, *, slope: float) -> tuple[Thunk, ...]:
    # linear in g; piecewise constant in y, so nothing flows there
    return lambda: leaky_relu_grad(gg, y, slope=slope), None


def dropout(x: Tensor, keep: Tensor) -> Tensor:
    """x times a mask of its shape that is 0 or 1 / (1 - rate); the layer nn.Dropout draws the mask."""
    if getattr(keep, "shape", None) != x.shape:
        raise ShapeError(
            f"dropout: got keep {getattr(keep, 'shape', keep)}, wanted a mask of shape {x.shape}"
        )
    return x * keep
