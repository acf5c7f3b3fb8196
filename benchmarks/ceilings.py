"""What this machine can do at most: bytes copied and products computed per second, and what a call or a launch costs.

One idea: a time means little until it is held against what memory and arithmetic of the same machine allow (Williams et
al. 2009, the roofline), measured in the same hour by the same machinery. So these are medians of real work on arrays
much larger than the cache, never a data sheet's numbers.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np

from fastgan.benchmarks import turns
from fastgan.benchmarks.columns import Clock, CupyClock
from fastgan.benchmarks.machine import cache_bytes, memory
from fastgan.device import Array
from fastgan.dispatch import Fusable
from fastgan.kernels import splitting
from fastgan.threads import blas_libraries, cores

SECONDS = {"cpu": 3.0, "cuda": 2.0}
ROUNDS = 3  # in which numbers of threads take turns
WIDTHS = (512, 1024, 2048, 4096, 8192)  # of square products, as far as there is time
# in a chunk; a GPU's queue takes about 1000 launches before it makes the host wait
CALLS, LAUNCHES = 2000, 500
GPU_COPY = 1 << 30  # bytes, twenty times an H200's cache

Spread = tuple[float, float, float]  # 20th percentile, median, 80th


@cache
def measured(device: str, *, seconds: float | None = None) -> dict[str, Any]:
    """The ceilings of "cpu" or "cuda", measured once per process, in about 3 and 2 seconds.

    "copy" is bytes per second, read and written together; "gemm" is flop/s of a large float32 product without TF32;
    "call" (CPU) is the seconds of a call of a kernel that does nothing, and "launch" (cuda) the host's seconds for a
    kernel's launch. "spread" has the 20th and 80th percentile of each, and "how" says what was measured.
    """
    seconds = SECONDS[device] if seconds is None else seconds
    found = _of_cpu(seconds) if device == "cpu" else _of_gpu(seconds)
    return {
        **{name: spread[1] for name, (spread, _) in found.items()},
        "spread": {name: [spread[0], spread[2]] for name, (spread, _) in found.items()},
        "how": {name: how for name, (_, how) in found.items()},
    }


def share(
    seconds: float, bytes: int, flops: int, ceilings: Mapping[str, Any]
) -> tuple[str | None, float | None]:
    """The ceiling that binds work which moves `bytes` and computes `flops` at least, and the percent of it reached.

    The one under which the work takes longer binds; (None, None) where nothing is known. Nothing is clipped: more than
    100 percent means that the work did not meet this ceiling. Its operands were in a cache, most of its bytes were only
    read (a copy also writes), or the machine was slower when the ceiling was measured.
    """
    least = {"copy": bytes / ceilings["copy"], "gemm": flops / ceilings["gemm"]}
    name = max(least, key=least.__getitem__)
    if not (least[name] > 0 and seconds > 0):
        return None, None
    return name, 100 * least[name] / seconds


def _of_cpu(seconds: float) -> dict[str, tuple[Spread, str]]:
    clock, empty = Clock(), Fusable(_nothing)
    empty.register("numpy", __name__, _nothing.__name__)
    calls = turns.turn(partial(empty, np.zeros(1, np.float32)), clock, steps=CALLS, seconds=seconds / 30)
    return {
        "copy": _copy_by_threads(seconds * 0.55),
        "gemm": _products(np, np.matmul, clock, seconds * 0.35, blas()),
        "call": (_spread([total for _, total, _ in calls]), "a call of a kernel that does nothing"),
    }


def _of_gpu(seconds: float) -> dict[str, tuple[Spread, str]]:
    cupy, clock = import_module("cupy"), CupyClock()
    free, _ = cupy.cuda.runtime.memGetInfo()
    n = min(GPU_COPY, free // 8) // 4
    from_, to = cupy.ones(n, np.float32), cupy.empty(n, np.float32)
    copies = turns.turn(partial(_assign, to, from_), clock, steps=5, seconds=seconds / 4)
    del from_, to
    library = import_module("fastgan.kernels.cuda.blas")
    multiply, name = (
        (cupy.matmul, "CuPy's cuBLAS")
        if library.available()
        else (_gemm(library), "cuBLAS, default math mode")
    )
    launch = partial(adding_one(), 1, cupy.zeros(32, np.float32), 32)
    launches = turns.turn(launch, clock, steps=LAUNCHES, seconds=seconds / 10)
    products = _products(cupy, multiply, clock, seconds / 2, name)
    cupy.get_default_memory_pool().free_all_blocks()  # the engines are in other processes
    return {
        "copy": (_rates(8 * n, copies), f"{n * 4 >> 20} MiB on the device, by its events"),
        "gemm": products,
        "launch": (_spread([asked for asked, _, _ in launches]), "the host's part of a kernel on 32 numbers"),
    }


def adding_one() -> Any:
    """A kernel that adds 1 to n numbers: the smallest that there is a use for."""
    from numba import cuda, float32

    from fastgan.kernels.cuda.launching import INOUT, INT, Kernel

    def add_one(x: Any, n: Any) -> None:
        i = cuda.grid(1)
        if i < n:
            x[i] += float32(1)

    return Kernel(add_one, (INOUT, INT), block=32)  # type: ignore[no-untyped-call]


def _nothing(x: Array) -> Array:
    return x


def _assign(to: Array, from_: Array) -> None:
    to[...] = from_


def _gemm(library: Any) -> Callable[..., Any]:
    return lambda a, b, out: library.gemm(a, b, out)


def _copy_by_threads(seconds: float) -> tuple[Spread, str]:
    """Of one thread and one per core, which share an array as fastgan's kernels do, the one that copies faster."""
    n = _copy_size() // 4
    from_, to = np.ones(n, np.float32), np.ones(n, np.float32)  # written, so that all pages are there

    def piece(first: int, last: int) -> None:
        np.copyto(to[first:last], from_[first:last])

    chunks: dict[int, list[turns.Chunk]] = {count: [] for count in sorted({1, cores()})}
    for _ in range(ROUNDS):
        for count, own in chunks.items():
            with splitting.over(count):
                part = seconds / ROUNDS / len(chunks)
                own += turns.turn(lambda: splitting.split(piece, n), Clock(), steps=1, seconds=part)
    rates = {count: _rates(8 * n, own) for count, own in chunks.items()}
    best = max(rates, key=lambda count: rates[count][1])
    others = "".join(
        f"; with {count}: {rate[1] / 1e9:.1f} GB/s" for count, rate in rates.items() if count != best
    )
    return rates[best], f"{n * 4 >> 20} MiB by {best} thread{'s' * (best > 1)}{others}"


def _copy_size() -> int:
    """Bytes of an array to copy: four times the caches, at least 64 MiB, at most a sixteenth of the memory."""
    return min(max(64 << 20, 4 * cache_bytes()), (memory() or 4 << 30) // 16)


def blas() -> str:
    """The library of NumPy's products and its threads, for people."""
    found = blas_libraries()
    return f"{found[0]['internal_api']}, threads: {found[0]['num_threads']}" if found else "NumPy's BLAS"


def _products(
    xp: Any, multiply: Callable[..., Any], clock: Clock, seconds: float, library: str
) -> tuple[Spread, str]:
    """The best rate of square products, growing until one would take more than a quarter of the time."""
    found: dict[int, Spread] = {}
    for n in WIDTHS:
        a, b, c = _operand(xp, n), _operand(xp, n), xp.empty((n, n), np.float32)
        chunks = turns.turn(partial(multiply, a, b, out=c), clock, steps=1, seconds=seconds / len(WIDTHS))
        found[n] = _rates(2 * n**3, chunks)
        if 8 * chunks[-1][1] > seconds / 4:
            break
    best = max(found, key=lambda n: found[n][1])
    return found[best], f"{best} x {best}, float32, {library}"


def _operand(xp: Any, n: int) -> Array:
    """(n, n) float32 with values that differ: on equal ones a GPU draws less power, and clocks higher than in use."""
    return xp.sin(xp.arange(n * n, dtype=np.float32)).reshape(n, n)


def _rates(amount: int, chunks: list[turns.Chunk]) -> Spread:
    """Amounts per second: of the device's own time where it has a clock."""
    return _spread([amount / (total if np.isnan(device) else device) for _, total, device in chunks])


def _spread(values: list[float]) -> Spread:
    low, median, high = (float(x) for x in np.percentile(values, (20, 50, 80)))
    return low, median, high
