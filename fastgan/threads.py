"""The CPU's threads: those of BLAS, or those of kernels that share samples, never both at once.

OpenBLAS's threads spin while they wait, so two pools of threads on the same cores slow each other down.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

splitter = ""  # the module whose `over(threads)` has kernels share samples; fused.py names it


def _control() -> Any:
    """The module threadpoolctl, or None without: it is optional, as it changes speed only."""
    try:
        return importlib.import_module("threadpoolctl")
    except ImportError:
        return None


def blas_threads(limit: int | None) -> AbstractContextManager[object]:
    """At most `limit` threads for NumPy's matrix products in a block; None leaves the library's own choice.

    For small products a second thread brings nothing, and where another program wants its core, each product waits for
    it: measured, 8 ms a step become 80.
    """
    control = _control()
    return control.threadpool_limits(limits=limit, user_api="blas") if control else nullcontext()


def limit_blas_threads(limit: int) -> None:
    """From now on at most `limit` threads for NumPy's matrix products, to the end of a `blas_threads` block."""
    blas_threads(limit)


def blas_libraries() -> list[dict[str, Any]]:
    """What threadpoolctl says of the BLAS libraries that are loaded, NumPy's first."""
    found = [dict(library) for library in (_control().threadpool_info() if _control() else ())]
    blas = [library for library in found if library["user_api"] == "blas"]
    return sorted(blas, key=lambda library: "numpy" not in library["filepath"])


def blas_threads_now() -> int:
    """The threads that NumPy's matrix products have; 1 where nobody knows."""
    return max((library["num_threads"] for library in blas_libraries()), default=1)


@contextmanager
def cpu_threads(limit: int | None, *, split: bool = False) -> Iterator[None]:
    """A block in which the CPU's threads are BLAS's, at most `limit`; or with `split` those of the kernels.

    Then kernels share samples among as many threads (None: as there are cores), and BLAS has one for each of them.
    """
    over = (
        importlib.import_module(splitter).over(cores() if limit is None else limit)
        if split
        else nullcontext()
    )
    with blas_threads(1 if split else limit), over:
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
