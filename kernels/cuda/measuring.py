"""Which tiles are fastest for a shape, or whether cuBLAS is: measured once per GPU, and kept on the disk.

A candidate is timed as it will run, inside a captured graph, where what a launch costs the host does not count. The
built-in choice stays unless another is clearly faster, so that noise does not change which sums are rounded how.
"""

import json
import re
from contextlib import suppress
from importlib import import_module

import numpy as np

from fastgan.kernels import cache_folder
from fastgan.kernels.compiling import sources
from fastgan.kernels.cuda import blas, dense, keeping, norm, products

LAUNCHES = 50  # of a candidate, in one graph
REPEATS = 7
CLEARLY = 0.95  # of the built-in choice's time


def measure(cases):
    """Time the schedules of cases (form, n, i, o), as `dense.schedule` takes them; dense.MEASURED learns the fastest.

    What is known is not timed again. Milliseconds a case, and seconds where kernels must be built. Returns the table.
    """
    cupy = import_module("cupy")
    table = load()
    new = [case for case in dict.fromkeys(cases) if case not in table]
    for case in new:
        table[case] = _fastest(cupy, case)
    if new:
        rows = json.dumps([[*case, name] for case, name in table.items()])
        keeping.write(_path(cupy), rows.encode(), {})
        dense.MEASURED.update(table)
    return table


def load():
    """What was measured on this GPU before, by this version; dense.MEASURED learns it."""
    found = keeping.read(_path(import_module("cupy")))
    table = {(form, *sizes): name for form, *sizes, name in json.loads(found[0])} if found else {}
    if blas.available():  # it was, when this was written
        table = {case: name for case, name in table.items() if name != "blas"}
    dense.MEASURED.update(table)
    return table


def _path(cupy):
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    name = re.sub(r"\W+", "-", properties["name"].decode())
    return cache_folder() / "cuda" / f"table-{name}-{sources('*.py', 'cuda/*.py')[:16]}.table"


def _fastest(cupy, case):
    """The name of the fastest schedule."""
    built_in = dense.built_in(*case)
    times = {built_in: _time(cupy, case, built_in)}
    for name in candidates(case[0]):
        with suppress(Exception):  # too large for this GPU, say
            times[name] = _time(cupy, case, name)
    best = min(times, key=lambda name: times[name])
    return best if times[best] < CLEARLY * times[built_in] else built_in


def candidates(form):
    """The schedules of a form."""
    if form == "forward_norm":
        return *products.LINEAR_NORM, "apart"
    kernels = products.LINEAR if form in ("forward", "tangent", "NN") else products.BACKWARD
    return *kernels, *([] if blas.available() else ["blas"])


def _time(cupy, case, name):
    """Microseconds a launch, the least of some."""
    before = dense.MEASURED.get(case)
    dense.MEASURED[case] = name
    try:
        return _replayed(cupy, call(cupy, case))
    finally:
        dense.MEASURED.pop(case)
        if before:
            dense.MEASURED[case] = before


def _replayed(cupy, run):
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.get_current_stream().synchronize()  # the operands are there
    with stream, cupy.cuda.using_allocator(pool.malloc):
        for _ in range(3):
            run()
        stream.synchronize()
        stream.begin_capture()
        try:
            for _ in range(LAUNCHES):
                run()
        finally:
            graph = stream.end_capture()
        graph.upload(stream)
        times = []
        for _ in range(REPEATS):
            start.record(stream)
            graph.launch(stream)
            end.record(stream)
            end.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, end))
    pool.free_all_blocks()  # CuPy 14 would keep them for good
    return min(times) * 1e3 / LAUNCHES


def call(xp, case):
    """A function without arguments that runs a case by its host function, on operands of the library `xp`."""
    form, n, i, o = case

    def full(*shape):
        return xp.full(shape, 0.01, np.float32)

    x, w, b, v = full(n, i), full(i, o), full(o), full(n, o)
    if form == "forward":
        return lambda: dense.forward(x, w, b, slope=0.2)
    if form == "tangent":
        return lambda: dense.tangent(x, w, v, slope=0.2)
    if form == "backward":
        gw, gb = full(i, o), full(o)
        return lambda: dense.backward(v, x, w, slope=0.2, gw=gw, gb=gb)
    if form == "weight_gradients":
        gw, gb = full(i, o), full(o)
        return lambda: dense.weight_gradients(x, v, gw=gw, gb=gb, rows=n)
    if form == "forward_norm":
        return _norm_call(full, x, w, b)
    operands = {"NN": (x, w), "NT": (x, full(o, i).T), "TN": (x.T, v)}[form]
    return lambda: dense.matmul(*operands)


def _norm_call(full, x, w, b):
    """A layer with batch norm: fused, or where that is declined by one kernel after the other."""
    o = len(b)
    four, stats = [full(o) for _ in range(4)], full(2, o)

    def run():
        settings = {"eps": 1e-5, "momentum": 0.1, "stats": stats}
        if dense.forward_norm(x, w, b, *four, slope=0.2, **settings) is NotImplemented:
            norm.norm_forward(dense.forward(x, w, b, slope=0.2), *four, **settings)

    return run
