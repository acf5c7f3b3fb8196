"""Which library owns an array, which devices there are, and how arrays get from one to another.

Array code is written once for NumPy and CuPy: `array_module(x)` is the library of x. CuPy is imported when somebody
asks for CUDA; arrays of any other library come in through DLPack, without a copy where their device allows.
"""

import ctypes
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

from fastgan.errors import DeviceError, UsageError

Array = np.ndarray[Any, Any]  # for type checkers: CuPy has no types, and its arrays do what NumPy's do
FLOAT32 = np.dtype(np.float32)


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
    return x.get() if device == "cpu" else module_of(device).asarray(x)  # type: ignore[attr-defined]


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
