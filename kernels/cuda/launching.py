"""A CUDA kernel as a value: its body, what its arguments are, its block; calling it launches it.

The kind of the first array says where: on the GPU (a CuPy array: the cubin is built once and launched on CuPy's current
stream with raw pointers, which costs a tenth of Numba's own launch), in Numba's simulator (a NumPy array), or wherever
the array itself wants (`__launch__`: the stand-in of benchmarks/fake_cupy.py, which counts). A body takes flat pointers
and sizes, so the same code runs in all three; all checks of shape and layout are the host functions'.
"""

import sys
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

SIMULATED = False
try:
    from numba import config as _config

    SIMULATED = bool(_config.ENABLE_CUDASIM)
except ImportError:  # numba is there wherever a kernel is called
    pass


@dataclass(frozen=True)
class Argument:
    """An argument's C type (a NumPy name), whether it is a pointer, and what the kernel does with what it points to."""

    dtype: str
    pointer: bool = False
    reads: bool = False
    writes: bool = False
    fours: bool = False  # where the kernel has a variant for it, 16 bytes at a time


IN = Argument("float32", pointer=True, reads=True)
OUT = Argument("float32", pointer=True, writes=True)
INOUT = Argument("float32", pointer=True, reads=True, writes=True)
IN4, OUT4, INOUT4 = (replace(kind, fours=True) for kind in (IN, OUT, INOUT))
IN_BYTES = Argument("uint8", pointer=True, reads=True)
IN_LONGS = Argument("int64", pointer=True, reads=True)
INOUT_LONGS = Argument("int64", pointer=True, reads=True, writes=True)
INT = Argument("int32")
LONG = Argument("int64")
WORD = Argument("uint32")
FLOAT = Argument("float32")


class Kernel:
    """A body with the kinds of its arguments, in order, and its block (threads, or (x, y))."""

    def __init__(self, body, arguments, *, block, name=None, options=None):
        self.body, self.arguments, self.block = body, tuple(arguments), block
        self.options = options or {}  # for the compiler (building.py), {"fma": False} say
        self.name = name or body.__name__.strip("_")

    def __call__(self, grid, *values, moved=None):
        """Launch on a grid (int or tuple). An absent array is None: its pointer is then null.

        `moved` replaces the count of bytes (read, written) where a kernel touches only a part of an array.
        """
        if len(values) != len(self.arguments):
            raise TypeError(f"{self.name}: got {len(values)} arguments, wanted {len(self.arguments)}")
        first = next(x for x, a in zip(values, self.arguments, strict=True) if a.pointer and x is not None)
        if hasattr(first, "__launch__"):
            first.__launch__(self, grid, values, moved or self.bytes(values))
        elif isinstance(first, np.ndarray):
            self.simulate(grid, values)
        else:
            self.launch(grid, values)

    def bytes(self, values):
        """Bytes read and written where each array is read or written once."""
        pairs = [(x, a) for x, a in zip(values, self.arguments, strict=True) if a.pointer and x is not None]
        return sum(x.nbytes for x, a in pairs if a.reads), sum(x.nbytes for x, a in pairs if a.writes)

    def launch(self, grid, values):
        """On the GPU, CuPy's current stream."""
        function, block = self._loaded, self.block if isinstance(self.block, tuple) else (self.block,)
        function(grid if isinstance(grid, tuple) else (grid,), block, [*map(_raw, self.arguments, values)])

    @cached_property
    def _loaded(self):
        from fastgan.kernels.cuda import building

        return building.load(self)

    def simulate(self, grid, values):
        """In Numba's simulator, on NumPy arrays: for tests."""
        if not SIMULATED:
            raise RuntimeError(
                f"{self.name}: a NumPy array needs NUMBA_ENABLE_CUDASIM=1 before Numba is imported"
            )
        from numba import cuda

        flat = [
            (np.zeros(0, a.dtype) if x is None else x.reshape(-1)) if a.pointer else np.dtype(a.dtype).type(x)
            for x, a in zip(values, self.arguments, strict=True)
        ]
        cuda.jit(self.body)[grid, self.block](*flat)


class Wide:
    """A kernel twice: with 16-byte accesses to the arrays whose arguments say so, and without; make(wide) is a body."""

    def __init__(self, make, arguments, *, name, **settings):
        self.arguments, names = tuple(arguments), {True: name, False: f"{name}_scalar"}
        self.each = {wide: Kernel(make(wide), arguments, name=n, **settings) for wide, n in names.items()}

    def fits(self, values, sizes):
        """Whether each of those arrays starts on 16 bytes, and each of the sizes is a multiple of 4."""
        pairs = zip(values, self.arguments, strict=True)
        return not any(size % 4 for size in sizes) and vectors(*(x for x, a in pairs if a.fours))

    def __call__(self, grid, *values, sizes, moved=None):
        """Launch the variant that fits; `sizes` are those of rows of the arrays."""
        self.each[self.fits(values, sizes)](grid, *values, moved=moved)


def kernels_of(x):
    """The kernels among what a module holds: by themselves, in two variants, in tables."""
    if isinstance(x, Kernel):
        return [x]
    some = x.each if isinstance(x, Wide) else x if isinstance(x, dict) else {}
    return [kernel for value in some.values() for kernel in kernels_of(value)]


def _raw(argument, x):
    """What CuPy's launcher takes: an array, a null pointer, or a scalar of the exact C type."""
    if argument.pointer:
        return np.uint64(0) if x is None else x
    return np.dtype(argument.dtype).type(x)


def empty(shape, like, dtype=np.float32):
    """A new array of the library that `like` belongs to."""
    return sys.modules[type(like).__module__.partition(".")[0]].empty(shape, dtype)


def blocks(count, per_block):
    """How many blocks cover `count` elements."""
    return -(-count // per_block)


def vectors(*arrays):
    """Whether every array starts on 16 bytes."""
    return not any(_address(x) % 16 for x in arrays if x is not None)


def is_plain(x, shape, dtype="float32"):
    """Whether an array given by name can be pointed at: of this shape and type, C-contiguous."""
    return x.dtype == dtype and x.flags.c_contiguous and x.shape == tuple(shape)


def _address(x):
    if isinstance(x, np.ndarray):
        return x.ctypes.data
    return _address(x.host) if hasattr(x, "host") else x.data.ptr
