"""Rows of the table of fusables, run: by a kernel or by array code, with what it is held to and where arrays lie."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import numpy as np
from tables.fusables import CANCELS, TOLERANCE, USUAL, Row

from fastgan import fused
from fastgan.dispatch import use_kernels

Arrays = list[np.ndarray]
MARGIN = 64  # bytes on each side of an array


def kernel(name: str, library: str = "numpy") -> Callable[..., Any]:
    """The kernel of an entry for arrays of a library."""
    module = next(module for _, own, module, function in fused.TABLE if (own, function) == (library, name))
    return getattr(import_module(f"fastgan.kernels.{module}"), name)


def names(library: str) -> list[str]:
    """Entries that have a kernel for arrays of a library."""
    return [function for _, own, _, function in fused.TABLE if own == library]


def moved(row: Row, to: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
    """Operands and settings of a row, the arrays among them by `to`."""

    there: dict[int, Any] = {}  # an array that is given twice is one array there, too

    def one(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        if id(x) not in there:
            there[id(x)] = to(x)
        return there[id(x)]

    return [one(x) for x in row.operands], {name: one(x) for name, x in row.settings.items()}


def called(
    code: Callable[..., Any], row: Row, to: Callable[[Any], Any], back: Any = np.array
) -> Arrays | None:
    """Every array that a call returns or may write, of `stats` each row; None where it is left to the array code."""
    operands, settings = moved(row, to)
    result = code(*operands, **settings)
    if result is NotImplemented:
        return None
    returned = result if isinstance(result, tuple) else (result,)
    named = [part for name, x in settings.items() for part in (x if name == "stats" else (x,))]
    return [np.asarray(back(x)) for x in (*returned, *operands, *named) if hasattr(x, "dtype")]


def widened(x: np.ndarray) -> np.ndarray:
    """float64 of float32, and other arrays as they are; never the same array."""
    return x.astype(np.float64) if x.dtype == np.float32 else x.copy()


def truth(row: Row) -> tuple[Arrays, Arrays]:
    """Array code's results in float32 and in float64, on the CPU."""
    with np.errstate(all="ignore"), use_kernels(False):
        plain, exact = (called(row.fusable.plain, row, to) for to in (np.copy, widened))
    assert plain is not None
    assert exact is not None
    return plain, exact


def faults(
    row: Row,
    got: Arrays,
    library: str = "numpy",
    truths: tuple[Arrays, Arrays] | None = None,
    slack: float = 1.0,
) -> list[str]:
    """What is wrong with a kernel's results: arrays that are further off than the row says.

    With `slack` the share of the largest number is so many times larger: a GPU's own functions are less exact.
    """
    found, (factor, share) = [], TOLERANCE.get(row.name, USUAL)
    for k, (a, p, e) in enumerate(zip(got, *(truths or truth(row)), strict=True)):
        if a.shape != e.shape or a.dtype != p.dtype:
            found.append(f"array {k}: {a.dtype} {a.shape}, wanted {p.dtype} {e.shape}")
            continue
        if library in row.bits:
            if a.tobytes() != p.tobytes() and not np.array_equal(a, p, equal_nan=True):
                found.append(f"array {k}: other bits than the array code's")
            continue
        scale = max(_largest(e), _least_scale(row, e)) or 1.0
        limit = factor * _largest(p - e) + slack * share * scale
        if not _largest(a.astype(e.dtype) - e) <= limit:
            found.append(f"array {k}: off by {_largest(a - e):g}, array code by at most {_largest(p - e):g}")
    return found


def _least_scale(row: Row, e: np.ndarray) -> float:
    """What a result is measured by that is a sum of terms of about 1, or a mean of some, however small it comes out."""
    if row.name in CANCELS:
        return math.sqrt(max(1, row.operands[0].size / e.size))
    return float(e.ndim == 0)


def _largest(x: np.ndarray) -> float:
    return float(abs(x).max(initial=0))


class Rooms:
    """Arrays placed `off` elements past a boundary of 64 bytes, between margins that nobody may read or write."""

    def __init__(self, off: int = 0) -> None:
        self.off = off
        self.rooms: list[tuple[np.ndarray, int, int]] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """A copy of x in a room of its own, as contiguous or transposed as x is."""
        if not x.flags.c_contiguous:
            return self(x.T).T
        room = np.full(x.nbytes + 3 * MARGIN + 16, 0xFF, np.uint8)  # NaN, and -1
        start = MARGIN + -(room.ctypes.data + MARGIN) % MARGIN + self.off * x.itemsize
        self.rooms.append((room, start, start + x.nbytes))
        copy = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        copy[...] = x
        return copy

    @property
    def whole(self) -> bool:
        """Whether no margin was written."""
        return all(
            (room[:start] == 0xFF).all() and (room[end:] == 0xFF).all() for room, start, end in self.rooms
        )


def wrong(
    name: str,
    library: str,
    some: Iterable[Row],
    ways: Sequence[Callable[[], AbstractContextManager[Any]]] = (nullcontext,),
) -> dict[str, Any]:
    """What is wrong with a kernel on host arrays, by row: its numbers, margins, and what it leaves to the array code.

    Each row is called in each of the ways, and again in the first of them, for the same bits.
    """
    code, found, taken = kernel(name, library), {}, 0
    for row in some:
        truths, results = truth(row), []
        for way in (*ways, *ways[:1]) if len(ways) > 1 else ways:
            rooms = Rooms()
            with way():
                got = called(code, row, rooms)
            taken += got is not None
            problems = ["left to the array code"] if got is None and library not in row.left else []
            problems += faults(row, got, library, truths) if got else []
            problems += [] if rooms.whole else ["written beside an array"]
            if problems:
                found[str(row)] = problems
            results.append([x.tobytes() for x in got or []])
        if results[0] != results[-1]:
            found[str(row)] = "other bits the second time"
    return found if taken else {"all": "left to the array code"}
