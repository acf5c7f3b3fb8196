"""The probes of `fastgan doctor` that concern a GPU: libraries, driver, and whether a kernel runs right on it."""

import importlib
import time
import warnings
from importlib import metadata
from typing import Any

Found = tuple[str, str, str]  # status, detail, fix

GPU = 'pip install "fastgan[cu13]" (driver 580 or newer) or "fastgan[cu12]"'


def cupy() -> Found:
    """CuPy: which of its distributions, of which there must not be two."""
    wheels = [f"{name} {version}" for name, version in _building().cupy_wheels().items()]
    if len(wheels) > 1:
        both = " ".join(wheel.partition(" ")[0] for wheel in wheels)
        return "error", f"two of them: {', '.join(wheels)}", f"pip uninstall {both}; then {GPU}"
    if not wheels:
        return "info", "not installed: needed for a GPU only", GPU
    importlib.import_module("cupy")
    return "ok", wheels[0], ""


def numba_cuda() -> Found:
    """numba-cuda, which compiles kernels for a GPU."""
    try:
        return "ok", metadata.version("numba-cuda"), ""
    except metadata.PackageNotFoundError:
        return "info", "not installed: needed for kernels on a GPU only", GPU


def compiler() -> Found:
    """libnvvm and nvJitLink: whether they make machine code of a kernel, which takes no GPU."""
    if numba_cuda()[0] != "ok":
        return "info", "not tried: numba-cuda is not installed", ""
    building = _building()
    problem = building.compiler_problem() or building.linker_problem()
    if problem:
        reason, _, fix = problem.rpartition("; ")
        return "warning", f"{reason}: only array code on a GPU, which is slower", fix
    version = ".".join(map(str, importlib.import_module("cuda.bindings.nvjitlink").version()))
    return "ok", f"libnvvm and nvJitLink {version} make machine code", ""


def driver() -> Found:
    """The driver: whether it loads what the installed toolkit makes."""
    building = _building()
    version = building.driver_version()
    if version is None:
        return "info", "none: needed for a GPU only", ""
    if numba_cuda()[0] == "ok":
        problem = building.driver_problem()
        if problem:
            reason, _, fix = problem.partition("; ")
            return "warning", reason, fix
    return "ok", f"for CUDA {version[0]}.{version[1]}", ""


def nvmath() -> Found:
    """nvmath-python, by which cuBLAS is called in a captured step."""
    try:
        version = metadata.version("nvmath-python")
    except metadata.PackageNotFoundError:
        version = ""
    problem = importlib.import_module("fastgan.kernels.cuda.blas").available()
    if problem is None:
        return "ok", f"{version}, cuBLAS can be called", ""
    reason, _, fix = problem.rpartition("; ")
    if not version:
        return "info", "not installed: cuBLAS for large products on a GPU only", fix
    return "info" if _building().driver_version() is None else "warning", f"{version}, {reason}", fix


def cuda() -> Found:
    """Whether a GPU can be used, and which."""
    from fastgan.device import cuda_problem

    problem = cuda_problem()
    if problem:
        reason, _, fix = problem.partition("; ")
        return "info", f"no GPU in use: {reason}", fix
    runtime = importlib.import_module("cupy").cuda.runtime
    gpu = runtime.getDeviceProperties(0)
    free, total = (x / 2**30 for x in runtime.memGetInfo())
    version = runtime.driverGetVersion()
    detail = (
        f"{gpu['name'].decode()}, compute capability {gpu['major']}.{gpu['minor']}, {free:,.1f} of "
        f"{total:,.1f} GiB free, driver for CUDA {version // 1000}.{version % 1000 // 10}, "
        f"{runtime.getDeviceCount()} in all"
    )
    return "ok", detail, ""


def gpu_kernels() -> Found:
    """One kernel built, or taken from the disk, run on the GPU, and compared with the array code it replaces."""
    from fastgan.device import cuda_problem

    if cuda_problem():
        return "info", "not tried: no GPU in use", ""
    return compared("cuda", GPU)


REPORT = "report it, with --json's output"


def compared(device: str, fix: str) -> Found:
    """Whether a kernel runs on a device, and gives what array code gives; `fix` for where none runs."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        difference, seconds = compare(device)
    said = next((str(w.message) for w in told if str(w.message).startswith("no kernels")), "")
    if said:
        return "warning", said, fix
    if not difference <= 1e-4:
        return "error", f"a kernel differs from the array code by {difference:g}", REPORT
    return "ok", f"right; the first took {seconds:.1f} s", ""


def compare(device: str) -> tuple[float, float]:
    """How far a kernel's result is from array code's on a device, and the seconds that its first call took."""
    import numpy as np

    from fastgan import ops, tensor, use_kernels
    from fastgan.device import to_host

    rng = np.random.default_rng(0)
    shapes = (17, 33), (33, 5), (5,)
    x, w, b = (tensor(rng.standard_normal(s).astype(np.float32), device=device) for s in shapes)
    start = time.perf_counter()
    fast = to_host(ops.linear_leaky_relu(x, w, b, slope=0.2).data)
    seconds = time.perf_counter() - start
    with use_kernels(False):
        plain = to_host(ops.linear_leaky_relu(x, w, b, slope=0.2).data)
    return float(abs(fast - plain).max()), seconds


def _building() -> Any:
    return importlib.import_module("fastgan.kernels.cuda.building")
