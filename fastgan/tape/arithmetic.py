"""The arithmetic that Tensor's operators and the engine itself rest on. Every other op is in fastgan.ops."""

import math
from typing import Any

import numpy as np

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable, fits_transposed
from fastgan.errors import ShapeError, UsageError
from fastgan.tape.engine import Thunk, op
from fastgan.tape.tensor import OPERATORS, Operand, Tensor


@op
def add(x: Array, y: Array) -> Array:
    """x + y."""
    return x + y


@add.vjp
def _(g: Tensor, out: Tensor, x: Operand, y: Operand) -> tuple[Thunk, ...]:
    return lambda: g, lambda: g


@op
def subtract(x: Array, y: Array) -> Array:
    """x - y."""
    return x - y


@subtract.vjp
def _(g: Tensor, out: Tensor, x: Operand, y: Operand) -> tuple[Thunk, ...]:
    return lambda: g, lambda: -g


@op
def multiply(x: Array, y: Array) -> Array:
    """x * y."""
    return x * y


@multiply.vjp
def _(g: Tensor, out: Tensor, x: Operand, y: Operand) -> tuple[Thunk, ...]:
    return lambda: g * y, lambda: g * x


@op
def divide(x: Array, y: Array) -> Array:
    """x / y."""
    return x / y


@divide.vjp
def _(g: Tensor, out: Tensor, x: Operand, y: Operand) -> tuple[Thunk, ...]:
    return lambda: g / y, lambda: -g * out / y


@op
def power(x: Array, *, exponent: float) -> Array:
    """x ** exponent for a constant exponent, which is a number."""
    if isinstance(exponent, np.generic):  # it would widen float32
        exponent = exponent.item()
    if not isinstance(exponent, float | int):
        raise UsageError(
            f"power: got a {type(exponent).__name__} as exponent, wanted a number: x ** y is exp(y * log(x))"
        )
    return x**exponent


@power.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, exponent: float) -> tuple[Thunk, ...]:
    return (lambda: g * exponent * x ** (exponent - 1) if exponent != 0 else g * 0.0,)


@op
def matmul(x: Array, w: Array) -> Array:
    """x @ w; (n, i), (i, o) -> (n, o)."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
        raise ShapeError(f"matmul: got shapes {x.shape} and {w.shape}, wanted (n, i) and (i, o)")
    return product(x, w)


@Fusable
def product(x: Array, w: Array, *, out: Array | None = None) -> Array:
    """x @ w, written to `out` where it is given; (n, i), (i, o) -> (n, o)."""
    check_dtypes("matmul", x, w)
    return array_module(x).matmul(x, w, out=out)


def check_dtypes(name: str, *arrays: Array) -> None:
    """UsageError unless a product's operands have one dtype, as float64 data would make a float32 network slow."""
    if any(x.dtype != arrays[0].dtype for x in arrays):
        raise UsageError(
            f"{name}: got operands of {', '.join(str(x.dtype) for x in arrays)}, wanted one dtype; convert the data "
            "(x.astype(np.float32)), or the parameters"
        )


product.fits = fits_transposed
product.writes_no_operand = True


@matmul.vjp
def _(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> tuple[Thunk, ...]:
    return lambda: g @ w.T, lambda: x.T @ g


@matmul.first_order
def _(g: Array, y: Array, x: Array, w: Array, *, wanted: Any, into: Any) -> tuple[Array | None, ...]:
    return (
        product(g, w.T, out=into[0]) if wanted[0] else None,
        product(x.T, g, out=into[1]) if wanted[1] else None,
    )


@op
def transpose(x: Array, *, axes: tuple[int, ...] | None = None) -> Array:
    """The axes in another order (reversed by default), as a view."""
    return x.transpose(axes)


@transpose.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, axes: tuple[int, ...] | None = None) -> tuple[Thunk, ...]:
    back = None if axes is None else tuple(int(a) for a in np.argsort([a % x.ndim for a in axes]))
    return (lambda: transpose(g, axes=back),)


transpose.is_view = True


@op
def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """The same elements in another shape."""
    return x.reshape(shape)


@reshape.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, shape: tuple[int, ...]) -> tuple[Thunk, ...]:
    return (lambda: reshape(g, shape=x.shape),)


reshape.is_view = True


@op
def total(x: Array, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The sum over all axes, or over some."""
    return array_module(x).sum(x, axis=axis, keepdims=keepdims)


@total.vjp
def _(
    g: Tensor, out: Tensor, x: Tensor, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> tuple[Thunk, ...]:
    return (lambda: broadcast_to(reshape(g, shape=kept(x.shape, axis)), shape=x.shape),)


def kept(shape: tuple[int, ...], axis: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a reduction with keepdims: 1 where an axis was reduced."""
    axes = range(len(shape)) if axis is None else (int(axis),) if not isinstance(axis, tuple) else axis
    reduced = {a % len(shape) for a in axes} if shape else set()
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


@op
def broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    """x repeated to a larger shape, as a view."""
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, shape: tuple[int, ...]) -> tuple[Thunk, ...]:
    return (lambda: g,)  # summed to x's shape by the engine


broadcast_to.is_view = True


@op
def sum_to(x: Array, *, shape: tuple[int, ...], out: Array | None = None) -> Array:
    """The opposite of broadcasting: sum the axes that `shape` lacks or has as 1; written to `out` where it is given."""
    extra = x.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[extra:], strict=True)):
        raise ShapeError(
            f"sum_to: got shapes {x.shape} and {shape}, wanted a second that broadcasts to the first"
        )
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1
    )
    if extra == len(axes):
        return array_module(x).sum(x, axis=axes, out=out)
    y = x.sum(axis=axes).reshape(shape)
    if out is None:
        return y
    out[...] = y
    return out


@sum_to.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, shape: tuple[int, ...], out: Any = None) -> tuple[Thunk, ...]:
    return (lambda: broadcast_to(g, shape=x.shape),)


def plain_key(key: Any, rows: int = -1) -> Any:
    """A key that `index` takes; lists of row numbers and masks over `rows` become arrays, UsageError for any other."""
    if isinstance(key, np.integer):
        return int(key)
    if isinstance(key, Tensor):
        key = key.data
    if isinstance(key, list):
        key = np.asarray(key, dtype=np.int64 if not key else None)
    if hasattr(key, "shape"):
        if len(key.shape) == 1 and key.dtype.kind in "iu":
            return key.astype(np.int64)
        if key.shape == (rows,) and key.dtype.kind == "b":
            return key.nonzero()[0]
        raise UsageError(
            f"index: got an array of {key.dtype} of shape {key.shape}, wanted one axis of row numbers"
        )
    for part in key if isinstance(key, tuple) else (key,):
        if not (part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)):
            raise UsageError(
                f"index: got {part!r} in a key, wanted integers, slices, None, or one array of rows"
            )
    return key


@op
def index(x: Array, *, key: Any) -> Array:
    """x[key] for integers, slices, None and Ellipsis (a view), or one array of row numbers (a copy)."""
    key = plain_key(key)
    return x[array_module(x).asarray(key) if hasattr(key, "shape") else key]


@index.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, key: Any) -> tuple[Thunk, ...]:
    return (lambda: unindex(g, key=key, shape=x.shape),)


index.is_view = True  # for rows it is a copy: taken for a view, it may be refused needlessly


@op
def unindex(g: Array, *, key: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of a shape with g added at key: what `index` read, given back. Repeated rows add up."""
    xp = array_module(g)
    key = plain_key(key)
    out = xp.zeros(shape, g.dtype)
    if not hasattr(key, "shape"):
        out[key] = g
    elif xp is np:
        np.add.at(out, key, g)
    else:  # a product with a 0/1 matrix: CuPy's add.at uses atomics, whose order and so whose bits change
        rows = xp.asarray(key) % shape[0]
        chosen = (xp.arange(shape[0])[:, None] == rows).astype(g.dtype)  # (rows of x, rows of g)
        out = (chosen @ g.reshape(len(rows), math.prod(shape[1:]))).reshape(shape)
    return out


@unindex.vjp
def _(g: Tensor, out: Tensor, x: Tensor, *, key: Any, shape: tuple[int, ...]) -> tuple[Thunk, ...]:
    return (lambda: index(g, key=key),)


@op
def alias(x: Array) -> Array:
    """x itself, as a value of its own on the tape."""
    return x


@alias.vjp
def _(g: Tensor, out: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g,)


alias.is_view = True


@op
def cast(x: Array, like: Array) -> Array:
    """x in the dtype of `like`."""
    return x.astype(like.dtype)


@cast.vjp
def _(g: Tensor, out: Tensor, x: Tensor, like: Tensor) -> tuple[Thunk, ...]:
    return lambda: g, None  # cast to x's dtype by the engine


# what the operators of Tensor, which every op is made of, call
OPERATORS.update(
    add=add,
    subtract=subtract,
    multiply=multiply,
    divide=divide,
    power=power,
    matmul=matmul,
    transpose=transpose,
    reshape=reshape,
    total=total,
    sum_to=sum_to,
    index=lambda x, key: index(x, key=plain_key(key, len(x) if x.ndim else -1)),
)
