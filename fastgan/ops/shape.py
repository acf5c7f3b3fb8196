"""Ops that choose or join: the largest along an axis, concatenation."""

from itertools import accumulate
from typing import Any

from fastgan.device import Array, array_module
from fastgan.tape import Tensor, Thunk, op
from fastgan.tape.arithmetic import index, kept, reshape


@op
def maximum(x: Array, *, axis: int) -> Array:
    """The largest element along one axis, which is dropped; equal elements share the gradient."""
    return x.max(axis=axis)


@maximum.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, axis: int) -> tuple[Thunk, ...]:
    def back() -> Tensor:
        shape = kept(x.shape, axis)
        chosen = (x.data == y.data.reshape(shape)).astype(x.dtype)
        return reshape(g, shape=shape) * Tensor(chosen / chosen.sum(axis=axis, keepdims=True))

    return (back,)


@op
def concat(*xs: Array, axis: int = 0) -> Array:
    """Arrays joined along one axis."""
    return array_module(xs[0]).concatenate(xs, axis=axis)


@concat.vjp
def _(g: Tensor, y: Tensor, *xs: Tensor, axis: int = 0) -> tuple[Thunk, ...]:
    thunks: list[Thunk] = []
    start = 0
    for x in xs:
        stop = start + x.shape[axis]
        key = (*[slice(None)] * (axis % g.ndim), slice(start, stop))
        thunks.append(lambda key=key: index(g, key=key))  # type: ignore[misc]
        start = stop
    return tuple(thunks)


@concat.first_order
def _(g: Array, y: Array, *xs: Array, axis: int = 0, wanted: Any) -> list[Array | None]:
    xp, ends = array_module(g), list(accumulate(x.shape[axis] for x in xs))
    parts = zip(xp.split(g, ends[:-1], axis=axis), wanted, strict=True)
    # whole arrays, as the kernels of products take no views
    return [xp.ascontiguousarray(part) if want else None for part, want in parts]
