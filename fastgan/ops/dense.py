"""Linear layers as single ops, with and without their activation.

Shapes: `n` batch, `i` features in, `o` features out; weights are (i, o).
"""

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError
from fastgan.ops.elementwise import check_slope, leaky_relu_grad
from fastgan.tape import Tensor, Thunk, op
from fastgan.tape.arithmetic import check_dtypes


def _check_linear(name: str, x: Array, w: Array, b: Array) -> None:
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ShapeError(f"{name}: got x {x.shape}, w {w.shape}, b {b.shape}, wanted (n, i), (i, o), (o,)")
    check_dtypes(name, x, w, b)


@op
def linear(x: Array, w: Array, b: Array) -> Array:
    """x @ w + b; (n, i), (i, o), (o,) -> (n, o)."""
    _check_linear("linear", x, w, b)
    y = x @ w
    y += b
    return y


@linear.vjp
def _(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Thunk, ...]:
    return lambda: g @ w.T, lambda: x.T @ g, lambda: g  # g is summed to b's shape by the engine


@op
def linear_leaky_relu(x: Array, w: Array, b: Array, *, slope: float = 0.2) -> Array:
    """leaky_relu(x @ w + b) in one op; (n, i), (i, o), (o,) -> (n, o). Slope 0 is ReLU; 0 <= slope <= 1."""
    _check_linear("linear_leaky_relu", x, w, b)
    check_slope(slope)
    y = x @ w
    y += b
    return array_module(y).maximum(y, y * slope if slope else 0)


@linear_leaky_relu.vjp
def _(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor, *, slope: float = 0.2) -> tuple[Thunk, ...]:
    gz = leaky_relu_grad(g, y, slope=slope)  # y has the sign of x @ w + b, which need not be kept
    return lambda: gz @ w.T, lambda: x.T @ gz, lambda: gz
