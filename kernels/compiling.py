"""How every CPU kernel is compiled: kept on disk where there is a place for it, without the GIL, IEEE division."""

from numba import config, njit

from fastgan.kernels import cache_folder

inlined = njit(inline="always")


def compiled(loop):
    """A loop as machine code, compiled at its first call, or loaded from the disk cache of an earlier program."""
    options = {"nogil": True, "error_model": "numpy"}  # 1 / 0 is inf, as in array code
    before, config.CACHE_DIR = config.CACHE_DIR, str(cache_folder())  # read when a function is decorated
    try:
        return njit(cache=True, **options)(loop)
    except RuntimeError:  # nowhere to write
        return njit(**options)(loop)
    finally:
        config.CACHE_DIR = before
