"""Times of single kernels on the GPU: a launch, Adam, and the dense layers of the recipes.

One idea: what is timed for the device is a CUDA graph of many calls, so that no launch from Python is in the number, by
CUDA events, and the host's share is timed apart from it, as the time until 1000 launches were asked for.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

import fastgan as fg
from fastgan import optim
from fastgan.nn import Net

LAUNCHES = 1000
REPEATS = 10  # measurements, of which the median is given
CALLS = 20  # of a kernel in one graph
FEATURES = {"mnist": 784, "digits": 64}  # of a sample; points have 2


class KernelTimes:
    """Every method measures one table and returns it."""

    def launches(self) -> dict[str, dict[str, float]]:
        """Seconds per launch of a kernel that adds 1 to 32 numbers: ours, CuPy's `+=`, and as one node of a graph."""
        import cupy

        x = cupy.zeros(32, np.float32)
        kernel = adding_one()

        def ours() -> None:
            kernel(1, x, 32)

        def theirs() -> None:
            x.__iadd__(1)

        out = {"ours": host_seconds(ours), "CuPy": host_seconds(theirs)}
        try:
            node = device_seconds(ours, LAUNCHES)
        except Exception as error:
            raise RuntimeError(f"a graph of {LAUNCHES} launches: {error}") from error
        return out | {"in a graph": {"asking": node, "median": node}}

    def adam(self) -> dict[str, dict[str, float]]:
        """Device seconds of an Adam step and the memory traffic that it amounts to: 28 bytes per parameter."""
        import cupy

        out = {}
        for millions in (2, 20):
            n = millions * 1_000_000
            p, g, m, v = (cupy.full(n, 0.01, np.float32) for _ in range(4))
            step = partial(optim.adam_update, p, g, m, v, lr=1e-3, t=1, b1=0.5, b2=0.999, eps=1e-8)
            seconds = device_seconds(step, CALLS)
            out[f"{millions} M"] = {"median": seconds, "gigabytes_per_second": 28 * n / seconds / 1e9}
        return out

    def dense(self, seconds: float) -> dict[str, Any]:
        """Device seconds of every schedule for the forward and backward products of the recipes' layers.

        Keys are form and (n, i, o) as in kernels/cuda/dense.py; `chosen` is the schedule that a program would use. A
        schedule that does not run has its reason. What does not fit into `seconds` is left out.
        """
        end, out = time.perf_counter() + seconds, {}
        for case in [(form, *shape) for shape in dense_shapes() for form in ("forward", "backward")]:
            if time.perf_counter() > end:
                break
            out["{} {}x{}x{}".format(*case)] = schedules(case)
        return out


def dense_shapes() -> list[tuple[int, int, int]]:
    """(batch, features in, features out) of the recipes' dense layers; the critic sees real and fake together."""
    found = set()
    for recipe in fg.recipes.values():
        if isinstance(recipe.generator, Net) or isinstance(recipe.critic, Net):
            continue
        features = FEATURES.get(recipe.data, 2)
        for n, widths in (
            (recipe.batch, (recipe.latent, *recipe.generator.hidden, features)),
            (2 * recipe.batch, (features, *recipe.critic.hidden, 1)),
        ):
            found |= {(n, i, o) for i, o in pairwise(widths)}
    return sorted(found)


def schedules(case: tuple[str, int, int, int]) -> dict[str, Any]:
    """Device seconds by schedule, and the `chosen` one."""
    import cupy

    dense, measuring = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("dense", "measuring"))
    chosen = dense.schedule(*case)
    out: dict[str, Any] = {"chosen": chosen}
    for name in dict.fromkeys((chosen, *measuring.candidates(case[0]))):
        dense.MEASURED[case] = name
        out[name] = tried(measuring.call(cupy, case))
    dense.MEASURED[case] = chosen
    return out


def tried(call: Callable[[], Any]) -> float | str:
    """Device seconds of a call, or why there are none."""
    try:
        return device_seconds(call, CALLS)
    except Exception as error:
        return reason(error)


def reason(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def host_seconds(call: Callable[[], Any], count: int = LAUNCHES) -> dict[str, float]:
    """Seconds per call until `count` were asked for, and until they had finished."""
    import cupy

    device, times = cupy.cuda.Device(), []
    for _ in range(REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        for _ in range(count):
            call()
        asked = time.perf_counter()
        device.synchronize()
        times.append(((asked - start) / count, (time.perf_counter() - start) / count))
    asking, total = np.median(times[1:], axis=0)
    return {"asking": float(asking), "median": float(total)}


def device_seconds(call: Callable[[], Any], count: int) -> float:
    """Seconds per call on the device, without launches from Python: a graph of `count` calls, timed by events."""
    import cupy

    cupy.cuda.Device().synchronize()  # operands are ready before another stream reads them
    pool = cupy.cuda.MemoryPool()  # kept until the graph is done with
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, cupy.cuda.using_allocator(pool.malloc):
        for _ in range(3):
            call()
        stream.synchronize()
        stream.begin_capture()
        try:
            for _ in range(count):
                call()
        except Exception:
            with suppress(Exception):
                stream.end_capture()
            raise
        graph, times = stream.end_capture(), []
        for _ in range(REPEATS + 2):
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            graph.launch(stream)
            end.record()
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3 / count)
    pool.free_all_blocks()  # CuPy 14 would keep them for good
    return float(np.median(times[2:]))


def adding_one() -> Any:
    """The smallest kernel there is a use for."""
    from numba import cuda, float32

    from fastgan.kernels.cuda.launching import INOUT, INT, Kernel

    def add_one(x: Any, n: Any) -> None:
        i = cuda.grid(1)
        if i < n:
            x[i] += float32(1)

    return Kernel(add_one, (INOUT, INT), block=32)  # type: ignore[no-untyped-call]
