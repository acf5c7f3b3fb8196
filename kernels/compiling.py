"""How every CPU kernel is compiled: kept on disk where there is a place for it, without the GIL, IEEE division."""

from numba import njit

inlined = njit(inline="always")


def compiled(loop):
    """A loop as machine code, compiled at its first call, or loaded from the disk cache of an earlier program."""
    options = {"nogil": True, "error_model": "numpy"}  # 1 / 0 is inf, as in array code
    try:
        return njit(cache=True, **options)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(**options)(loop)
