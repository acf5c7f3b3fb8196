"""Compiles kernels in processes of their own, for test_cuda_compile: Numba compiles one at a time in each."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

CAPABILITIES = ((8, 0), (9, 0, "a"), (10, 0))


def compiled(name):
    """A kernel by its name: what it is on each architecture; PTX for the first."""
    from fastgan.kernels.cuda import building

    kernel = next(kernel for kernel in building.kernels() if kernel.name == name)
    return {cc: building.build(kernel, cc, ptx=cc == CAPABILITIES[0]) for cc in CAPABILITIES}


def compile_all(names, workers=2):
    """`compiled` of each name."""
    # not forked: NumPy's threads do not survive that
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return dict(zip(names, pool.map(compiled, names), strict=True))
