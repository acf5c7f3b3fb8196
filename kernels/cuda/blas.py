"""cuBLAS for large products, called so that a capture can record it: CuPy's own calls refuse while a stream captures.

The binding is nvmath-python's, which is optional. A handle belongs to a thread, a device and a stream, and has a
workspace of its own: with cuBLAS's, a graph would allocate memory at each replay, and two streams would share it.
"""

import threading
from functools import cache
from importlib import import_module

import numpy as np

from fastgan.kernels.cuda.building import CannotBuild

WORKSPACE = 32 << 20  # bytes; what NVIDIA advises for Hopper
INSTALL = 'pip install "nvmath-python[cu13]" or "nvmath-python[cu12]"'

# kept for good: a captured graph goes on writing to a workspace
_handles: dict[tuple[int, int, int], "_Handle"] = {}
_one, _zero = np.ones(1, np.float32), np.zeros(1, np.float32)
_tf32 = False


def use_tf32(wanted):
    """Let cuBLAS round operands to TF32 (10 bits of mantissa), for tensor cores; off unless asked for."""
    global _tf32
    _tf32 = bool(wanted)


@cache
def available():
    """Why cuBLAS cannot be called, in one line, or None where it can."""
    try:
        _binding().get_property(0)  # loads the library
    except Exception as error:  # the binding has its own classes for a library that is missing or too old
        if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("nvmath"):
            return f"nvmath-python is not installed; {INSTALL}"
        return f"cuBLAS does not load ({str(error).partition(chr(10))[0]}); {INSTALL}"
    return None


def gemm(a, b, out, ta=False, tb=False):
    """out = op(a) @ op(b) on CuPy's current stream, where op transposes if `ta` or `tb` says so; returns `out`.

    float32, C-contiguous: a (m, k) or (k, m), b (k, n) or (n, k), out (m, n). CannotBuild without nvmath-python.
    """
    reason = available()
    if reason:
        raise CannotBuild(reason)
    (m, n), k = out.shape, a.shape[0] if ta else a.shape[1]
    if ((k, m) if ta else (m, k)) != a.shape or ((n, k) if tb else (k, n)) != b.shape:
        raise ValueError(f"gemm: got {a.shape} and {b.shape} for {out.shape} with ta={ta}, tb={tb}")
    # column by column, cuBLAS reads our rows as columns: it computes the transpose, b first
    operands = b.data.ptr, b.shape[1], a.data.ptr, a.shape[1]
    one, zero = _one.ctypes.data, _zero.ctypes.data
    _binding().sgemm(_handle().ready(), int(tb), int(ta), n, m, k, one, *operands, zero, out.data.ptr, n)
    return out


@cache
def _binding():
    return import_module("nvmath.bindings.cublas")


def _handle():
    """The handle of this thread, on CuPy's current device and stream."""
    cupy = import_module("cupy")
    stream = cupy.cuda.get_current_stream().ptr
    key = threading.get_ident(), cupy.cuda.runtime.getDevice(), stream
    if key not in _handles:
        _handles[key] = _Handle(cupy, stream)
    return _handles[key]


class _Handle:
    def __init__(self, cupy, stream):
        cublas = _binding()
        self.number, self.tf32 = cublas.create(), None
        self.workspace = cupy.cuda.Memory(WORKSPACE)  # of no pool
        cublas.set_stream(self.number, stream)
        cublas.set_workspace(self.number, self.workspace.ptr, WORKSPACE)  # after the stream, which resets it

    def ready(self):
        """The handle's number, in the math mode that is asked for."""
        if self.tf32 != _tf32:
            cublas, self.tf32 = _binding(), _tf32
            mode = cublas.Math.TF32_TENSOR_OP_MATH if _tf32 else cublas.Math.DEFAULT_MATH
            cublas.set_math_mode(self.number, mode)
        return self.number
