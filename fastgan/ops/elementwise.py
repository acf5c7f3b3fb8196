"""Elementwise ops: array code, and right below it the gradient in Tensor code.

Activations are rows of one table, ACTIVATIONS, which dense, convolutional and batch norm ops end in as well. Their
backward is an op of its own, so it can have a kernel too and can be differentiated again.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.kernels.formulas import ACTIVATIONS as ACTIVATIONS  # for all who end in one
from fastgan.kernels.formulas import arrays, composed
from fastgan.tape import Tensor, Thunk, op, vjp_of
from fastgan.tape.engine import Act


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
def arctan(x: Array) -> Array:
    """Inverse tangent."""
    return array_module(x).arctan(x)


@arctan.vjp
def _(g: Tensor, y: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g / (1 + x * x),)


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


NOTHING: Act = ("leaky", 1.0)
TENSORS = SimpleNamespace(absolute=absolute)  # `m` of a derivative in Tensor code
vars(TENSORS).update({function.__name__: function for function in composed(TENSORS)})


def check_act(act: str, slope: float) -> None:
    """UsageError for an unknown activation, or unless 0 <= slope <= 1: beyond, the output's sign would not tell."""
    if act not in ACTIVATIONS:
        raise UsageError(f"got activation {act!r}, wanted one of {', '.join(ACTIVATIONS)}")
    if not 0 <= slope <= 1:
        raise UsageError(f"got slope {slope}, wanted 0 to 1")


def activated(z: Array, act: str, slope: float) -> Array:
    """The activation of z, as array code."""
    return z if (act, slope) == NOTHING else ACTIVATIONS[act].value(arrays(array_module(z)), z, slope)


@op
def activation_grad(
    g: Array, y: Array, *, act: str = "leaky", slope: float = 0.2, out: Array | None = None
) -> Array:
    """g times the derivative of the activation whose output is y, written to `out`, which may be g, where given."""
    result = ACTIVATIONS[act].masked(arrays(array_module(g)), g, y, slope)
    if out is None:
        return result
    out[...] = result
    return out


@activation_grad.vjp
def _(gg: Tensor, _: Tensor, g: Tensor, y: Tensor, out: Any = None, **act: Any) -> tuple[Thunk, ...]:
    return lambda: activation_grad(gg, y, **act), through_mask(lambda: gg, g, y, **act)


def through_mask(
    upstream: Callable[[], Tensor], g: Tensor, y: Tensor, *, act: str = "leaky", slope: float = 0.2
) -> Thunk:
    """The gradient for y of the sum of upstream() * g * act'(y); None where the activation is piecewise linear."""
    if act == "leaky":
        return None
    rule = vjp_of(lambda y: ACTIVATIONS[act].masked(TENSORS, g, y, slope))
    return lambda: rule(upstream(), g, y)[0]()  # type: ignore[misc]


def masked(g: Array, y: Array, act: str, slope: float, out: Array | None = None) -> Array:
    """g times the derivative of the activation whose output is y: `activation_grad` on arrays; g itself for none."""
    return g if (act, slope) == NOTHING else activation_grad.forward(g, y, act=act, slope=slope, out=out)


@op
def activation(z: Array, *, act: str = "leaky", slope: float = 0.2) -> Array:
    """One of ACTIVATIONS, by its name; `slope` is that of "leaky"."""
    check_act(act, slope)
    return z.copy() if (act, slope) == NOTHING else activated(z, act, slope)


@activation.vjp
def _(g: Tensor, y: Tensor, z: Tensor, **act: Any) -> tuple[Thunk, ...]:
    return (lambda: activation_grad(g, y, **act),)


@activation.first_order
def _(
    g: Array, y: Array, z: Array, *, act: str = "leaky", slope: float = 0.2, premasked: bool
) -> tuple[Array]:
    return (g if premasked else masked(g, y, act, slope),)


def ends_in(*, act: str = "leaky", slope: float = 1.0, **_: Any) -> Act:
    """The activation that an op with such settings ends in."""
    return act, slope


activation.ends_in = partial(ends_in, slope=0.2)


def leaky_relu(x: Tensor, *, slope: float = 0.2) -> Tensor:
    """x where positive, slope * x elsewhere; 0 <= slope <= 1."""
    return activation(x, act="leaky", slope=slope)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return activation(x, act="tanh", slope=1.0)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), written so that it cannot overflow."""
    return activation(x, act="sigmoid", slope=1.0)


def relu(x: Tensor) -> Tensor:
    """x where positive, 0 elsewhere."""
    return leaky_relu(x, slope=0.0)


def dropout(x: Tensor, keep: Tensor) -> Tensor:
    """x times a mask of its shape that is 0 or 1 / (1 - rate); the layer nn.Dropout draws the mask."""
    if getattr(keep, "shape", None) != x.shape:
        raise ShapeError(
            f"dropout: got keep {getattr(keep, 'shape', keep)}, wanted a mask of shape {x.shape}"
        )
    return x * keep
