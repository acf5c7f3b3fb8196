"""How every CPU kernel is compiled: kept on disk where there is a place for it, without the GIL, IEEE division.

Numba's cache looks at the age of a loop's own file alone, and what a loop calls may stand in another. So the folder is
named by all sources of this one: an edit anywhere compiles anew.
"""

import hashlib
from functools import cache
from pathlib import Path
from types import FunctionType

from numba import config, njit

from fastgan.kernels import cache_folder, formulas

inlined = njit(inline="always")
scalars = formulas.scalars(inlined)  # `m` of a formula in a loop


def rebound(function, **names):
    """The function with other meanings of some names of its module."""
    code, names = function.__code__, {**function.__globals__, **names}
    return FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)


@cache
def sources(*patterns):
    """A digest of the kernels' sources that match."""
    root = Path(__file__).parent
    files = sorted(file for pattern in patterns for file in root.glob(pattern))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def compiled(loop):
    """A loop as machine code, compiled at its first call, or loaded from the disk cache of an earlier program."""
    options = {"nogil": True, "error_model": "numpy"}  # 1 / 0 is inf, as in array code
    folder = cache_folder() / "cpu" / sources("*.py")[:16]
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)  # read when a function is decorated
    try:
        return njit(cache=True, **options)(loop)
    except RuntimeError:  # nowhere to write
        return njit(**options)(loop)
    finally:
        config.CACHE_DIR = before


def made_of(loop, name, **functions):
    """A loop compiled with functions of its own in the place of its module's."""
    own = rebound(loop, **{key: inlined(function) for key, function in functions.items()})
    own.__qualname__ = f"{loop.__qualname__}_{name}"  # the name of its file in the cache
    return compiled(own)


def for_each_activation(loop):
    """A loop for each activation, by name: `value` and `masked` in it are the row's."""
    rows = formulas.ACTIVATIONS.items()
    return {name: made_of(loop, name, value=row.value, masked=row.masked) for name, row in rows}
