"""Linear layers as single ops, with their activation, and the passes that kernels replace.

Shapes: `n` batch, `i` features in, `o` features out; weights are (i, o). `v` is a gradient for what a linear map gives,
before its activation.
"""

from typing import Any

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError
from fastgan.ops.elementwise import (
    NOTHING,
    activated,
    activation_grad,
    check_act,
    ends_in,
    masked,
    through_mask,
)
from fastgan.tape import Tensor, Thunk, op
from fastgan.tape.arithmetic import check_dtypes, product
from fastgan.tape.engine import Act


@op
def linear(x: Array, w: Array, b: Array, *, act: str = "leaky", slope: float = 1.0) -> Array:
    """act(x @ w + b), for an activation of ACTIVATIONS, none by default; (n, i), (i, o), (o,) -> (n, o)."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ShapeError(f"linear: got x {x.shape}, w {w.shape}, b {b.shape}, wanted (n, i), (i, o), (o,)")
    check_dtypes("linear", x, w, b)
    check_act(act, slope)
    z = x @ w
    z += b
    return activated(z, act, slope)


linear.ends_in = ends_in


@linear.vjp
def _(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor, **act: Any) -> tuple[Thunk, ...]:
    if ends_in(**act) == NOTHING:
        return lambda: g @ w.T, lambda: x.T @ g, lambda: g  # summed to b's shape by the engine
    return (
        lambda: masked_back(g, y, w, **act),
        lambda: masked_outer(x, g, y, **act),
        lambda: activation_grad(g, y, **act),
    )


@linear.first_order
def _(
    g: Array,
    y: Array,
    x: Array,
    w: Array,
    b: Array,
    *,
    wanted: Any,
    into: Any,
    below: Act | None,
    premasked: bool,
    **act: Any,
) -> tuple[Array | None, ...]:
    return layer_gradients(g if premasked else masked(g, y, *ends_in(**act)), x, w, wanted, into, below)


# The products with a mask, m = act'(y): closed under differentiation, as convolution is, so that the double backward of
# a gradient penalty runs on kernels. `g` is a gradient for y (n, o), `p` one for x (n, i).


@op(keeps=True)
def masked_back(
    g: Array, y: Array, w: Array, *, act: str = "leaky", slope: float = 0.2
) -> tuple[Array, Array]:
    """(g * m) w^T; (n, o), (n, o), (i, o) -> (n, i). Keeps g * m."""
    v = masked(g, y, act, slope)
    return product(v, w.T), v


@masked_back.vjp
def _(p: Tensor, _: Tensor, g: Tensor, y: Tensor, w: Tensor, **act: Any) -> tuple[Thunk, ...]:
    return (
        lambda: masked_forth(p, w, y, **act),
        through_mask(lambda: p @ w, g, y, **act),
        lambda: masked_outer(p, g, y, **act),
    )


@masked_back.first_order
def _(
    p: Array,
    _: Array,
    g: Array,
    y: Array,
    w: Array,
    *,
    kept: Array,
    wanted: Any,
    into: Any,
    **act: Any,
) -> Any:
    if wanted[1] and act.get("act", "leaky") != "leaky":
        return NotImplemented
    return (
        masked_forth.forward(p, w, y, **act) if wanted[0] else None,
        None,
        product(p.T, kept, out=into[2]) if wanted[2] else None,
    )


@op
def masked_forth(
    p: Array, w: Array, y: Array, *, act: str = "leaky", slope: float = 0.2, out: Array | None = None
) -> Array:
    """(p w) * m; (n, i), (i, o), (n, o) -> (n, o), written to `out`, which may be y, where it is given."""
    result = masked(product(p, w), y, act, slope)
    if out is None:
        return result
    out[...] = result
    return out


@masked_forth.vjp
def _(
    g: Tensor, _: Tensor, p: Tensor, w: Tensor, y: Tensor, out: Any = None, **act: Any
) -> tuple[Thunk, ...]:
    return (
        lambda: masked_back(g, y, w, **act),
        lambda: masked_outer(p, g, y, **act),
        through_mask(lambda: p @ w, g, y, **act),
    )


@op
def masked_outer(a: Array, g: Array, y: Array, *, act: str = "leaky", slope: float = 0.2) -> Array:
    """a^T (g * m); (n, i), (n, o), (n, o) -> (i, o)."""
    return product(a.T, masked(g, y, act, slope))


@masked_outer.vjp
def _(u: Tensor, _: Tensor, a: Tensor, g: Tensor, y: Tensor, **act: Any) -> tuple[Thunk, ...]:
    return (
        lambda: masked_back(g, y, u, **act),
        lambda: masked_forth(a, u, y, **act),
        through_mask(lambda: a @ u, g, y, **act),
    )


def linear_leaky_relu(x: Tensor, w: Tensor, b: Tensor, *, slope: float = 0.2) -> Tensor:
    """leaky_relu(x @ w + b) in one op; (n, i), (i, o), (o,) -> (n, o). Slope 0 is ReLU; 0 <= slope <= 1."""
    return linear(x, w, b, act="leaky", slope=slope)


def layer_gradients(
    v: Array, x: Array, w: Array, wanted: Any, into: Any, below: Act | None
) -> tuple[Array | None, ...]:
    """The gradients of x @ w + b for x, w and b from that for its result, v; see Op.first_order for the others."""
    act, slope = below or NOTHING
    gw = gb = None
    if wanted[1] or wanted[2]:
        gw, gb = place(into[1], w.shape, v), place(into[2], w.shape[1:], v)
    return linear_backward(v, x, w, act=act, slope=slope, gw=gw, gb=gb, dx=wanted[0]), gw, gb


def place(array: Array | None, shape: tuple[int, ...], like: Array) -> Array:
    """The array to write a result to, a new one where none is given."""
    return array_module(like).empty(shape, like.dtype) if array is None else array


@Fusable
def linear_backward(
    v: Array,
    a: Array,
    w: Array,
    *,
    act: str = "leaky",
    slope: float = 1.0,
    gw: Array | None = None,
    gb: Array | None = None,
    dx: bool = True,
) -> Array | None:
    """All of a layer's backward pass: v (n, o), its input a (n, i), w (i, o).

    Writes a^T v to `gw` and the sum of v's rows to `gb`, where given (both or neither). With `dx`, returns v @ w^T
    times the derivative of the activation (`act`, `slope`) that made a: the v of the layer below.
    """
    xp = array_module(v)
    if gw is not None:
        xp.matmul(a.T, v, out=gw)
        xp.sum(v, axis=0, out=gb)
    return masked(v @ w.T, a, act, slope) if dx else None


@Fusable
def weight_gradients(a: Array, v: Array, *, gw: Array, gb: Array, rows: int) -> None:
    """a^T v to `gw`, and the sum of the first `rows` rows of v to `gb`; (n, i), (n, o), (i, o), (o,)."""
    xp = array_module(v)
    xp.matmul(a.T, v, out=gw)
    xp.sum(v[:rows], axis=0, out=gb)
