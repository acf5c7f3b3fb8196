"""Fusable: array code, and per array library a kernel that computes the same in fewer passes over memory.

The array code is the fallback where a kernel does not take its operands, the plain column of the benchmarks, and the
oracle of the tests. fused.py joins the two; `use_kernels(False)` leaves the array code alone.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from fastgan.device import FLOAT32, array_module
from fastgan.errors import UsageError

_kernels_wanted: ContextVar[bool] = ContextVar("kernels_wanted", default=True)
_told: set[str] = set()  # reasons why there are no kernels that were said already


@contextmanager
def use_kernels(wanted: bool) -> Iterator[None]:
    """Switch kernels off (or on again) in a block: what remains is plain array code on the same device."""
    token = _kernels_wanted.set(wanted)
    try:
        yield
    finally:
        _kernels_wanted.reset(token)


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
            fit = kernel is not None and all(map(self.fits, operands))
            if kernel is not None and not fit:
                operands = self._whole(operands)
                fit = all(map(self.fits, operands))
            if kernel is not None and fit:
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
