"""Which library owns an array, and which code runs on it.

Array code is written once, for NumPy and CuPy alike: `xp = array_module(x)` and then `xp.tanh(x)`. The device is a
property of the arrays, never a global. A `Fusable` is array code that may also have a kernel per library: the kernel
runs where every operand is a float32, C-contiguous array of that library, and the array code everywhere else, so no
caller ever branches on dtype, layout or device.
"""

import ctypes
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from fastgan.errors import CaptureError, DeviceError, UsageError

Array = Any  # numpy.ndarray or cupy.ndarray: CuPy is optional and has no types of its own

FLOAT32 = np.dtype(np.float32)

_kernels_wanted: ContextVar[bool] = ContextVar("kernels_wanted", default=True)
_told: set[str] = set()  # reasons why there are no kernels that were said already
_home: ContextVar[Array | None] = ContextVar("home", default=None)
splitter = ""  # the module whose `over(threads)` has kernels share samples; fused.py names it


def array_module(x: Array) -> ModuleType:
    """`numpy` or `cupy`: the library that owns `x` (Python numbers count as NumPy's)."""
    if isinstance(x, np.ndarray | np.generic | int | float):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise DeviceError(
        f"got a {type(x).__name__}, wanted a NumPy or CuPy array: wrap it with fastgan.tensor(...)"
    )


def device_of(x: Array) -> str:
    """`"cpu"` or `"cuda"`."""
    return "cpu" if array_module(x) is np else "cuda"


def cuda_problem() -> str | None:
    """Why CUDA cannot be used here, in one line, or None where it can."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        reason = "CuPy is not installed" if error.name == "cupy" else f"CuPy does not import ({error})"
        return f'{reason}; pip install "fastgan[cu13]" (driver 580 or newer) or "fastgan[cu12]"'
    if not _driver_found():
        return "no NVIDIA driver on this machine; install one if it has an NVIDIA GPU"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return None
        return "CuPy finds no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    except Exception as error:  # CuPy raises several unrelated classes for a missing or old driver
        return f"CuPy finds no usable GPU ({str(error).splitlines()[0]}); check the driver with nvidia-smi"


def _driver_found() -> bool:
    """Whether the driver's library loads; without it CuPy speaks of an insufficient version."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def resolve_device(name: str = "auto") -> str:
    """`"cpu"` or `"cuda"` for "auto", "cpu" or "cuda"; DeviceError where CUDA is asked for and cannot be used."""
    if name not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"got device {name!r}, wanted auto, cpu or cuda")
    if name == "cpu":
        return name
    problem = cuda_problem()
    if problem is None:
        return "cuda"
    if name == "cuda":
        raise DeviceError(f"device cuda cannot be used: {problem}; or use --device cpu")
    return "cpu"


def module_of(device: str) -> ModuleType:
    """The array library of a device that `resolve_device` returned."""
    return np if device == "cpu" else importlib.import_module("cupy")


def to_device(x: Array, device: str) -> Array:
    """`x` on the device: itself where it lies there already, else a copy."""
    if device_of(x) == device:
        return x
    return x.get() if device == "cpu" else module_of(device).asarray(x)


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """`x` as a NumPy array; waits for the device."""
    return np.asarray(to_device(x, "cpu"))


def synchronize(device: str) -> None:
    """Wait until the device has finished what was asked of it; nothing to do on the CPU."""
    if device != "cpu":
        module_of(device).cuda.get_current_stream().synchronize()


def from_any(x: Any) -> Array:
    """An array of any library, without a copy where its device allows: NumPy, CuPy, or whatever speaks DLPack."""
    if isinstance(x, np.ndarray) or type(x).__module__.partition(".")[0] == "cupy":
        return _numbers(x)
    if hasattr(x, "__dlpack__"):
        return _from_dlpack(x)
    try:
        array = _numbers(np.asarray(x))
    except ValueError as error:  # lists of unequal length
        raise UsageError(f"got a {type(x).__name__} that is no array: {error}") from error
    if isinstance(x, np.generic) or array.dtype == bool:
        return array
    return array.astype(np.float32)  # Python numbers: float32, the default


def _numbers(x: Array) -> Array:
    """The array itself; UsageError unless it holds real numbers."""
    if x.dtype.kind not in "fiub":
        raise UsageError(f"got an array of {x.dtype}, wanted real numbers (float, int or bool)")
    return x


def _from_dlpack(x: Any) -> Array:
    kind, _ = x.__dlpack_device__()
    library = np if kind == 1 else importlib.import_module("cupy")  # 1 is kDLCPU
    try:
        return _numbers(library.from_dlpack(x))
    except (RuntimeError, BufferError, TypeError, ValueError) as error:
        what = f"{type(x).__module__}.{type(x).__name__}"
        raise DeviceError(
            f"{what} does not come in through DLPack ({error}); detach or copy it first"
        ) from error


@contextmanager
def use_kernels(wanted: bool) -> Iterator[None]:
    """Switch kernels off (or on again) in a block: what remains is plain array code on the same device."""
    token = _kernels_wanted.set(wanted)
    try:
        yield
    finally:
        _kernels_wanted.reset(token)


@contextmanager
def blas_threads(limit: int | None) -> Iterator[None]:
    """At most `limit` threads for NumPy's matrix products in a block; None leaves the library's own choice.

    For small products a second thread brings nothing, and where another program wants its core, each product waits for
    it: measured, 8 ms a step become 80.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # optional: it changes speed only
        yield
        return
    with threadpool_limits(limits=limit, user_api="blas"):
        yield


def blas_libraries() -> list[dict[str, Any]]:
    """What threadpoolctl says of the BLAS libraries that are loaded, NumPy's first."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # optional, as above
        return []
    found = [dict(library) for library in threadpool_info() if library["user_api"] == "blas"]
    return sorted(found, key=lambda library: "numpy" not in library["filepath"])


def blas_threads_now() -> int:
    """The threads that NumPy's matrix products have; 1 where nobody knows."""
    return max((library["num_threads"] for library in blas_libraries()), default=1)


def limit_blas_threads(limit: int) -> None:
    """From now on at most `limit` threads for NumPy's matrix products, to the end of a `blas_threads` block."""
    with suppress(ImportError):
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=limit, user_api="blas")


@contextmanager
def cpu_threads(limit: int | None, *, split: bool = False) -> Iterator[None]:
    """A block in which the CPU's threads are BLAS's, at most `limit`; or with `split` those of the kernels.

    Then kernels share samples among as many threads (None: as there are cores), and BLAS has one for each of them.
    """
    if not split:
        with blas_threads(limit):
            yield
        return
    with blas_threads(1), importlib.import_module(splitter).over(cores() if limit is None else limit):
        yield


def blas_kernels() -> str:
    """The library of NumPy's products, and its kernels, which it chooses by the CPU: "openblas 0.3.31 (Haswell)"."""
    for library in blas_libraries():
        return f"{library['internal_api']} {library['version']} ({library.get('architecture', 'unknown')})"
    return "unknown BLAS"


def cores() -> int:
    """Cores that this process may use, or fewer where OMP_NUM_THREADS or OPENBLAS_NUM_THREADS asks for fewer."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *threads_wished()])


def threads_wished() -> list[int]:
    """The numbers of threads that OMP_NUM_THREADS and OPENBLAS_NUM_THREADS ask for, if any."""
    wished = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")]
    return [int(text) for text in wished if text.isdecimal() and int(text) > 0]


class Count:
    """A whole number that follows the step counter: `times` * steps done + `plus`, known on the host and the device.

    Kernels read `clock`, an int64 array of one element on the device, so that a captured step counts by itself when it
    is replayed. Array code takes `int(count)`, which is refused while a step is captured: the number would be frozen.
    """

    __slots__ = ("clock", "host", "plus", "times")

    def __init__(self, clock: Array, times: int, plus: int, host: int) -> None:
        self.clock, self.times, self.plus, self.host = clock, times, plus, host

    def __int__(self) -> int:
        refuse_while_capturing("array code reads the step's number")
        return self.times * self.host + self.plus

    __index__ = __int__

    def __add__(self, more: int) -> "Count":
        return Count(self.clock, self.times, self.plus + more, self.host)


class Rate:
    """A float that the host sets and kernels read from the device: a learning rate under a schedule.

    Only a change is sent to the device.
    """

    def __init__(self, device: str) -> None:
        self.array: Array = module_of(device).zeros(1, np.float32)
        self.host = 0.0

    def set(self, value: float) -> None:
        """Give it a value, for the steps that are asked for from now on."""
        if value != self.host:
            self.host = value
            self.array[...] = value

    def __float__(self) -> float:
        refuse_while_capturing("array code reads the learning rate")
        return self.host


_capturing: ContextVar[bool] = ContextVar("capturing", default=False)


@contextmanager
def capturing() -> Iterator[None]:
    """A block whose work on the device is recorded to be replayed, so that numbers from the host are refused in it."""
    token = _capturing.set(True)
    try:
        yield
    finally:
        _capturing.reset(token)


def refuse_while_capturing(what: str) -> None:
    """CaptureError while a step is being captured, which would freeze a number that changes from step to step."""
    if _capturing.get():
        raise CaptureError(f"{what} on the host; a replay would repeat it")


class Fusable:
    """Array code, and for some array types a kernel that computes the same.

    A kernel is registered by its import path and resolved at the first call, so that importing fastgan does not
    import Numba; it returns NotImplemented for operands that it does not take. Array operands come first; anything
    else is a keyword.
    """

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self.kernels: dict[type, Callable[..., Any] | None] = {}  # None: array code only
        self.fits: Callable[[Any], bool] = fits
        self.writes_no_operand = False  # so that a copy of one will do
        self._paths: dict[str, tuple[str, str]] = {}

    def register(self, library: str, module: str, function: str) -> None:
        """Name the kernel for arrays of `library` ("numpy" or "cupy")."""
        self._paths[library] = (module, function)

    def __call__(self, *operands: Any, **settings: Any) -> Any:
        """The kernel where it fits, else the array code."""
        if self._paths and _kernels_wanted.get():
            kind = type(operands[0])
            kernel = self.kernels[kind] if kind in self.kernels else self._resolve(kind)
            if kernel is not None and not all(map(self.fits, operands)):
                operands = self._whole(operands)
            if kernel is not None and all(map(self.fits, operands)):
                try:
                    result = kernel(*operands, **settings)
                except ImportError as error:  # what compiles it is missing, or too old
                    result = self._give_up(kind, error)
                if result is not NotImplemented:
                    return result
        return self.plain(*operands, **settings)

    def _whole(self, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands, on a GPU without gaps: array code would take many launches, and a product is not captured."""
        xp = array_module(operands[0])
        if xp is np or not self.writes_no_operand:
            return operands
        return tuple(
            xp.ascontiguousarray(x) if hasattr(x, "flags") and not self.fits(x) else x for x in operands
        )

    def _resolve(self, kind: type) -> Callable[..., Any] | None:
        path = self._paths.get(kind.__module__.partition(".")[0])
        if path is None:
            self.kernels[kind] = None
            return None
        try:
            kernel: Callable[..., Any] = getattr(importlib.import_module(path[0]), path[1])
        except ImportError as error:
            self._give_up(kind, error)
            return None
        except ValueError as error:  # what Numba finds in its environment when it is imported
            reason = str(error).rstrip(".")
            raise UsageError(
                f"Numba does not start: {reason}; check NUMBA_NUM_THREADS and its other environment variables"
            ) from error
        self.kernels[kind] = kernel
        return kernel

    def _give_up(self, kind: type, error: ImportError) -> Any:
        """Array code from now on for arrays of this kind; said once for each reason."""
        self.kernels[kind] = None
        if str(error) not in _told:
            _told.add(str(error))
            warnings.warn(
                f"no kernels: {error}; array code runs instead, slower", RuntimeWarning, stacklevel=4
            )
        return NotImplemented


def fits(x: Any) -> bool:
    """True for what a kernel takes: float32 and C-contiguous (an empty array is left to the array code)."""
    dtype = getattr(x, "dtype", None)  # NumPy has one object for float32, so `is` nearly always answers
    return (dtype is FLOAT32 or dtype == FLOAT32) and x.flags.c_contiguous and x.size > 0


def fits_transposed(x: Any) -> bool:
    """True for what the kernel of a matrix product takes: a transposed view as well."""
    return fits(x) or (hasattr(x, "flags") and x.ndim == 2 and fits(x.T))


@contextmanager
def home(array: Array) -> Iterator[None]:
    """Offer an array as the place for the next result that fits it (see `take_home`)."""
    token = _home.set(array)
    try:
        yield
    finally:
        _home.reset(token)


def take_home(shape: tuple[int, ...], dtype: Any) -> Array | None:
    """The offered array if it fits, at most once; else None. Saves a GEMM's result one trip through memory."""
    array = _home.get()
    if array is None or array.shape != shape or array.dtype != dtype:
        return None
    _home.set(None)
    return array
