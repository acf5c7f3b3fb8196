"""Tensor: an array and, if it was computed from something that wants gradients, the node that made it."""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

import numpy as np

from fastgan.device import Array, array_module, device_of, from_any, resolve_device, to_device, to_host
from fastgan.errors import DeviceError, FastganError, ShapeError, UsageError

Operand = Union["Tensor", Array, float]  # a Python number stays one (so float32 stays float32)
# What operators and methods call, by name: ops are made of Tensors, so arithmetic.py puts them here.
OPERATORS: dict[str, Callable[..., "Tensor"]] = {}


class Tensor:
    """An array and, if it was computed from something that wants gradients, the node that made it.

    `==`, `<` and their like compare element by element, with arrays and numbers too, and give a plain array of bool,
    through which no gradient flows. As a key of a dict or in a set a Tensor is itself, whatever it holds.
    """

    __slots__ = ("__weakref__", "changed", "data", "node", "wanted")
    __array_ufunc__ = None  # makes `numpy_array * tensor` call Tensor.__rmul__

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        try:
            data.itemsize  # noqa: B018 (only arrays have it; to ask for the type would take longer, in every op)
        except AttributeError:
            raise UsageError(
                f"Tensor: got a {type(data).__name__}, wanted an array: fastgan.tensor(...) makes one"
            ) from None
        self.data = data
        self.node: Any = None  # engine.Node
        self.wanted = requires_grad
        self.changed = 0  # when it last changed in place, on the clock of nodes (see mark_changed)

    @property
    def requires_grad(self) -> bool:
        """Whether `grad` can differentiate through this Tensor."""
        return self.wanted or self.node is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.data.shape

    @property
    def dtype(self) -> Any:
        """The array's dtype."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def device(self) -> str:
        """`"cpu"` or `"cuda"`."""
        return device_of(self.data)

    @property
    def T(self) -> "Tensor":
        """All axes reversed."""
        return OPERATORS["transpose"](self)

    def detach(self) -> "Tensor":
        """The same array, cut from the tape."""
        return Tensor(self.data)

    def item(self) -> float:
        """The only element as a Python number; waits for the device."""
        return float(self.data.item())

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: shared memory on the CPU, a copy from a GPU."""
        return to_host(self.data)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; one entry may be -1."""
        return OPERATORS["reshape"](self, shape=_flat(shape))

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Sum over all or some axes."""
        return OPERATORS["total"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Mean over all or some axes."""
        y = OPERATORS["total"](self, axis=axis, keepdims=keepdims)
        if self.size == 0:
            raise ShapeError(f"mean: got an empty Tensor of shape {self.shape}, wanted at least one element")
        return y * (y.size / self.size)

    def sum_to(self, shape: tuple[int, ...]) -> "Tensor":
        """Summed over the axes that broadcasting from `shape` had added or stretched."""
        return OPERATORS["sum_to"](self, shape=shape)

    def __float__(self) -> float:
        return self.item()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise UsageError(
                f"got a Tensor of shape {self.shape} as a truth value, wanted one element: "
                "compare its elements, then ask the comparison's .all() or .any()"
            )
        return bool(self.data.item())

    def __eq__(self, other: object) -> Any:
        return _compared(operator.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return _compared(operator.ne, self, other)

    def __lt__(self, other: Operand) -> Array:
        return _compared(operator.lt, self, other)

    def __le__(self, other: Operand) -> Array:
        return _compared(operator.le, self, other)

    def __gt__(self, other: Operand) -> Array:
        return _compared(operator.gt, self, other)

    def __ge__(self, other: Operand) -> Array:
        return _compared(operator.ge, self, other)

    __hash__ = object.__hash__

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """What copies and pickles take along: no time of a change, as another process has another clock."""
        return None, {"data": self.data, "node": self.node, "wanted": self.wanted, "changed": 0}

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        grad_note = (
            ", requires_grad=True" if self.wanted else f", op={self.node.op.name}" if self.node else ""
        )
        return f"Tensor({self.data!r}{grad_note})"

    def __add__(self, other: Operand) -> "Tensor":
        return OPERATORS["add"](self, other)

    def __radd__(self, other: Operand) -> "Tensor":
        return OPERATORS["add"](self, other)

    def __sub__(self, other: Operand) -> "Tensor":
        return OPERATORS["subtract"](self, other)

    def __rsub__(self, other: Operand) -> "Tensor":
        return OPERATORS["subtract"](other, self)

    def __mul__(self, other: Operand) -> "Tensor":
        return OPERATORS["multiply"](self, other)

    def __rmul__(self, other: Operand) -> "Tensor":
        return OPERATORS["multiply"](self, other)

    def __truediv__(self, other: Operand) -> "Tensor":
        return OPERATORS["divide"](self, other)

    def __rtruediv__(self, other: Operand) -> "Tensor":
        return OPERATORS["divide"](other, self)

    def __neg__(self) -> "Tensor":
        return OPERATORS["multiply"](self, -1)

    def __pow__(self, exponent: float) -> "Tensor":
        return OPERATORS["power"](self, exponent=exponent)

    def __matmul__(self, other: Operand) -> "Tensor":
        return OPERATORS["matmul"](self, other)

    def __rmatmul__(self, other: Operand) -> "Tensor":
        return OPERATORS["matmul"](other, self)

    def __getitem__(self, key: Any) -> "Tensor":
        return OPERATORS["index"](self, key)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()


def tensor(x: Any, requires_grad: bool = False, *, device: str | None = None) -> Tensor:
    """A Tensor of an array of any library (no copy where the device allows) or of Python numbers (float32).

    `device` is "cpu" or "cuda"; None leaves the array where it is.
    """
    if isinstance(x, Tensor):
        return tensor(x.data, requires_grad, device=device)
    if isinstance(x, list | tuple) and any(isinstance(v, Tensor) for v in x):
        raise UsageError(
            "got a list of Tensors, wanted numbers or an array: join Tensors with ops.concat(a, b)"
        )
    array = from_any(x)
    if device is not None:
        array = to_device(array, resolve_device(device))
    if requires_grad and array.dtype.kind != "f":
        raise UsageError(f"got a Tensor of {array.dtype} with requires_grad, wanted floats: convert it first")
    return Tensor(array, requires_grad)


def _compared(compare: Callable[[Any, Any], Any], x: Tensor, other: Any) -> Any:
    """A comparison as an array of bool; NotImplemented for what is neither a number nor an array, such as None."""
    array: Any
    if isinstance(other, Tensor):
        array = other.data
    elif isinstance(other, np.generic):
        array = other.item()
    elif isinstance(other, float | int):
        array = other
    elif isinstance(other, list | tuple):
        array = array_module(x.data).asarray(other)
    elif hasattr(other, "shape"):
        array = from_any(other)
    else:
        return NotImplemented
    try:
        return compare(x.data, array)
    except (ValueError, TypeError) as error:
        raise explained(compare.__name__, (x.data, array), error) from error


def _flat(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape


def explained(name: str, arrays: Sequence[Any], error: Exception) -> Exception:
    """An array library's error in the user's terms: which op, which shapes or devices."""
    if isinstance(error, FastganError) or not isinstance(error, ValueError | TypeError | IndexError):
        return error
    owners = sorted({device_of(a) for a in arrays if hasattr(a, "shape")})
    if len(owners) > 1:
        return DeviceError(f"{name}: operands live on different devices ({', '.join(owners)}); move one")
    shapes = ", ".join(str(a.shape) if hasattr(a, "shape") else repr(a) for a in arrays)
    return ShapeError(f"{name}: operands of shape {shapes} do not fit: {first_line(error)}")


def first_line(error: Exception) -> str:
    """An error's first line, or its class where it has no words."""
    return (str(error).splitlines() or [type(error).__name__])[0]
