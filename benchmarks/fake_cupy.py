"""A stand-in for CuPy on machines without a GPU: NumPy underneath, and a count of what CuPy would launch.

Its arrays are no NumPy arrays, and an operation that is handed both kinds raises TypeError, as CuPy's do; so a run on
it shows every place where host and device arrays meet by mistake. What is asked for goes to a `Device`, which here does
it at once and only counts kernels: the arrays that they would write keep what they hold. The tests have one that
captures and simulates kernels (tests/fakes/cuda.py). What none can show: CuPy's own gaps, and speed.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

import fastgan.device

NAMES = {
    **dict.fromkeys(("matmul", "dot"), "gemm"),
    **dict.fromkeys(("zeros", "zeros_like"), "memset"),
    **dict.fromkeys(("ones", "ones_like", "full", "full_like"), "fill"),
    **dict.fromkeys(("concatenate", "stack"), "join"),
}
METHODS = {
    *("all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "max", "mean", "min"),
    *("prod", "ravel", "reshape", "squeeze", "sum", "swapaxes", "transpose", "view"),
}
ATTRIBUTES = {"shape", "dtype", "ndim", "size", "flags", "nbytes", "strides", "itemsize"}
SCALARS = (bool, int, float, np.float64)  # taken by value; other kinds of int CuPy refuses


@dataclass(frozen=True)
class Launch:
    """A kernel, copy or fill: its name, and the bytes that it reads and writes."""

    name: str
    read: int
    written: int


class Launches(list[Launch]):
    """Launches in order; copies between host and device are apart, in `transfers`."""

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[Launch] = []


class Device:
    """Does what it is asked for at once, and lists it; kernels do nothing. `cuda` has the names of cupy.cuda."""

    capturing = False  # a device that keeps what it is asked for says so

    def __init__(self) -> None:
        self.counts: list[Launches] = []
        self.cuda: Any = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1))

    def issue(self, launches: list[Launch], work: Callable[[], Any]) -> None:
        """Ask for launches that together do `work`."""
        for listed in self.counts:
            listed.extend(launches)
        work()

    def transfer(self, name: str, size: int) -> None:
        """A copy between host and device of so many bytes."""
        for listed in self.counts:
            listed.transfers.append(Launch(name, size, size))

    def run(self, kernel: Any, grid: Any, values: Sequence[Any]) -> None:
        """What a kernel does to arrays of the host."""


_HOST = Device()
_device: ContextVar[Device] = ContextVar("device", default=_HOST)


@contextmanager
def standing_in(device: Device | None = None) -> Iterator[Device]:
    """A block in which `import cupy` finds the stand-in, and a driver is believed to be there.

    Not for several threads at once.
    """
    real, driver = sys.modules.get("cupy"), fastgan.device._driver_found
    device = device or Device()
    token = _device.set(device)
    sys.modules["cupy"], fastgan.device._driver_found = Module("cupy", device.cuda), lambda: True
    try:
        yield device
    finally:
        _device.reset(token)
        fastgan.device._driver_found = driver
        if real is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = real


@contextmanager
def counting() -> Iterator[Launches]:
    """A block whose launches are listed."""
    launches, device = Launches(), _device.get()
    device.counts.append(launches)
    try:
        yield launches
    finally:
        device.counts.remove(launches)


def unwrap(x: Any) -> Any:
    """NumPy's view of an argument; TypeError for a host array, which CuPy would not take."""
    if isinstance(x, ndarray):
        return x.host
    if isinstance(x, np.ndarray) or (isinstance(x, int | float) and type(x) not in SCALARS):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, tuple | list):
        return type(x)(unwrap(v) for v in x)
    return x


def arrays_in(x: Any) -> Iterator[Any]:
    """All NumPy arrays among unwrapped arguments."""
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, tuple | list):
        for item in x:
            yield from arrays_in(item)


def size_of(hosts: Sequence[Any]) -> int:
    """The bytes that arrays take, broadcast ones as few as they lie in."""
    return sum(
        int(np.prod([n for n, stride in zip(x.shape, x.strides, strict=True) if stride])) * x.itemsize
        for x in hosts
    )


def call(name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A NumPy function on arrays of the device, with the launches that it is in CuPy."""
    name = NAMES.get(name, name)
    if name == "gemm" and _device.get().capturing:
        raise NotImplementedError("cuBLAS while the stream is capturing: CuPy refuses it")
    values, settings = unwrap(tuple(args)), {key: unwrap(value) for key, value in kwargs.items()}
    out = kwargs.get("out")
    if out is None:
        return make(name, lambda: function(*values, **settings), [*values, *settings.values()])
    sources, targets = list(arrays_in(values)), list(arrays_in([settings["out"]]))
    _device.get().issue(launches_of(name, sources, targets), lambda: function(*values, **settings))
    return out[0] if isinstance(out, tuple) else out


def make(name: str, compute: Callable[[], Any], operands: Any) -> Any:
    """The arrays that an operation gives: new ones by launches, views without one."""
    device = _device.get()
    with np.errstate(all="ignore" if device.capturing else None):  # no values yet: only for the shape
        result = compute()
    many = result if isinstance(result, tuple | list) else [result]
    if not all(isinstance(x, np.ndarray | np.generic) for x in many):
        return result
    sources, hosts = list(arrays_in(operands)), [np.asarray(x) for x in many]

    def again() -> None:
        new = compute()
        for host, x in zip(hosts, new if isinstance(new, tuple | list) else [new], strict=True):
            host[...] = x

    if not any(np.may_share_memory(x, source) for x in hosts for source in sources):
        device.issue(launches_of(name, sources, hosts), again if device.capturing else lambda: None)
    return type(result)(map(ndarray, hosts)) if isinstance(result, tuple | list) else ndarray(hosts[0])


def launches_of(name: str, sources: Sequence[Any], results: Sequence[Any]) -> list[Launch]:
    """What CuPy 14 launches for an operation, by its name here."""
    read, written = size_of(sources), size_of(results)
    if name in ("memset", "fill"):
        read = 0
    if name == "take":  # of an array only what is taken, then the indices
        read = written + size_of(sources[1:])
    if name == "join" and len(sources) <= 8:  # more are one kernel
        return [Launch("copy", size_of([x]), x.size * results[0].itemsize) for x in sources]
    if name == "mean" and _over_last_axes(sources[0], results[0]):  # CUB's sum, then a division
        return [Launch("sum", read, written), Launch("true_divide", written, written)]
    return [Launch(name, read, written)]


def _over_last_axes(x: Any, result: Any) -> bool:
    """Whether a reduction of x is one that CUB takes."""
    kept = [n for n in result.shape if n != 1]
    return bool(x.flags.c_contiguous) and [n for n in x.shape if n != 1][: len(kept)] == kept


class ndarray(NDArrayOperatorsMixin):  # noqa: N801 (CuPy's name)
    """An array that pretends to lie on a GPU; `host` is what it really is."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call(ufunc.__name__, getattr(ufunc, method), inputs, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __getitem__(self, key: Any) -> Any:
        where = unwrap(key)
        each = where if isinstance(where, tuple) else (where,)
        if not any(x is ... for x in each):
            where = (*each, ...)  # so that one element is a view of shape (), not a number
        return make("take", lambda: self.host[where], [self.host, where])

    def __setitem__(self, key: Any, value: Any) -> None:
        where, new, host = unwrap(key), unwrap(value), self.host
        indices, values = list(arrays_in(where)), list(arrays_in(new))
        name = "scatter" if indices else "copy" if values else "fill"

        def work() -> None:
            host[where] = new

        written = size_of([np.asarray(host[where])])
        _device.get().issue([Launch(name, size_of([*values, *indices]), written)], work)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        if name in METHODS:
            return lambda *args, **kwargs: call(name, getattr(np.ndarray, name), (self, *args), kwargs)
        if name in ATTRIBUTES:
            return getattr(self.host, name)
        raise AttributeError(name)

    @property
    def T(self) -> "ndarray":
        """The transposed view."""
        return ndarray(self.host.T)

    @property
    def data(self) -> Any:
        """Where it starts, as `data.ptr`."""
        return SimpleNamespace(ptr=self.host.ctypes.data)

    def get(self) -> Any:
        """A copy on the host."""
        _device.get().transfer("to the host", self.host.nbytes)
        return self.host.copy()

    def set(self, values: Any) -> None:
        """Take the values of a host array."""
        _device.get().transfer("to the device", self.host.nbytes)
        self.host[...] = values

    def item(self) -> Any:
        """Its one element as a number on the host."""
        return self.get().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __launch__(self, kernel: Any, grid: Any, values: Sequence[Any], moved: tuple[int, int]) -> None:
        """A kernel on these values (see kernels/cuda/launching.py), checked for what a bare pointer hides."""
        pairs = zip(kernel.arguments, values, strict=True)
        hosts = [_checked(kernel.name, a, x) if a.pointer else x for a, x in pairs]
        device = _device.get()
        device.issue([Launch(kernel.name, *moved)], lambda: device.run(kernel, grid, hosts))


ndarray.__module__ = "cupy"
Array = ndarray  # for annotations beside an attribute of the same name


def _checked(name: str, argument: Any, x: Any) -> Any:
    """The host's part of a kernel's array; TypeError where a GPU would read something else there."""
    if x is None:
        return None
    if not isinstance(x, ndarray):
        raise TypeError(f"{name}: got a {type(x).__name__}, wanted an array of the device")
    if x.dtype != argument.dtype or not x.flags.c_contiguous:
        got = f"{x.dtype} {x.shape} with strides {x.strides}"
        raise TypeError(f"{name}: got {got}, wanted {argument.dtype}, C-contiguous")
    return x.host


class Module(ModuleType):
    """What `import cupy` finds: NumPy's functions with their launches, and the few names of cupy.cuda."""

    def __init__(self, name: str, cuda: Any) -> None:
        super().__init__(name)
        self.cuda = cuda

    ndarray = ndarray
    lib = SimpleNamespace(  # a view, which takes no launch
        stride_tricks=SimpleNamespace(
            as_strided=lambda *args: call("as_strided", np.lib.stride_tricks.as_strided, args, {})
        )
    )

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if not callable(value) or isinstance(value, type):
            return value
        return lambda *args, **kwargs: call(name, value, args, kwargs)

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> Array:
        """Memory, which takes no launch; zeros, so that nothing overflows where kernels are only counted."""
        return Array(np.zeros(shape, dtype))

    @staticmethod
    def empty_like(x: Array) -> Array:
        """Memory for an array of the same shape and type."""
        return Array(np.zeros(x.shape, x.dtype))

    @staticmethod
    def asarray(x: Any, dtype: Any = None) -> Any:
        """An array of the device itself, or a host's copied there."""
        if isinstance(x, Array):
            return x if dtype is None or x.dtype == dtype else x.astype(dtype)
        host = np.array(x, dtype)
        _device.get().transfer("to the device", host.nbytes)
        return Array(host)
