"""The probes of `fastgan doctor`; `main` prints what each of them finds as a line of JSON.

A probe returns (status, detail, fix). It may raise, and crash or hang, which the doctor then reports. They share a
process, as the libraries do in training, and since most of a probe's time would be Python's start and the imports.
"""

import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

Found = tuple[str, str, str]  # status (ok, info, warning or error), detail, fix

READ = (
    "NUMBA_",
    "CUPY_",
    "OPENBLAS_",
    "MKL_",
    "OMP_",
    "CUDA_",
    "LD_LIBRARY_PATH",
    "FASTGAN_",
)  # by libraries
LITTLE = 1.0  # GiB of free disk below which a run's checkpoints may not fit
CACHE = "set NUMBA_CACHE_DIR to a folder that can be written"
AGAIN = "pip install --force-reinstall"
GPU = 'pip install "fastgan[cu13]" (driver 580 or newer) or "fastgan[cu12]"'
REPORT = "report it, with --json's output"


class Probe(NamedTuple):
    """A check; `fix` is for where it fails without a word.

    Without one that is `needed` there is no training on the CPU; one for a `gpu` is tried only where a driver is.
    """

    run: Callable[[], Found]
    fix: str
    needed: bool = False
    gpu: bool = False


def system() -> Found:
    """Versions of fastgan, Python and the system; cores, disk."""
    from fastgan import __version__
    from fastgan.threads import cores

    free = shutil.disk_usage(".").free / 2**30
    versions = f"fastgan {__version__}, Python {platform.python_version()}, {platform.platform()}"
    detail = f"{versions}, {cores()} cores, {free:,.1f} GiB free on this disk"
    if free < LITTLE:
        return "warning", detail, "free some space, or write to another disk with --out"
    return "ok", detail, ""


def blas() -> Found:
    """NumPy, its BLAS, and how many threads that takes."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))  # loads the library, where it is loaded late
    found = [x for x in threadpool_info() if x["user_api"] == "blas"]
    parts = [f"{x['internal_api']} {x['version']}, threads: {x['num_threads']}" for x in found]
    return "ok", ", ".join([np.__version__, *parts]), ""


def library(module: str, distribution: str) -> Found:
    """A package imported, and its version."""
    import_module(module)
    return "ok", metadata.version(distribution), ""


def kernels(device: str, fix: str) -> Found:
    """One kernel compiled, or taken from the disk, and compared with the array code it replaces."""
    import numpy as np

    from fastgan import ops, tensor, use_kernels
    from fastgan.device import to_host

    rng = np.random.default_rng(0)
    shapes = (17, 33), (33, 5), (5,)
    operands = [tensor(rng.standard_normal(s).astype(np.float32), device=device) for s in shapes]
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fast = to_host(ops.linear_leaky_relu(*operands, slope=0.2).data)
    seconds = time.perf_counter() - start
    with use_kernels(False):
        difference = abs(fast - to_host(ops.linear_leaky_relu(*operands, slope=0.2).data)).max()
    for text in (str(warning.message) for warning in told):
        if text.startswith("no kernels"):
            return "warning", text, fix
    if not difference <= 1e-4:
        return "error", f"a kernel differs from the array code by {difference:g}", REPORT
    return "ok", f"right; the first took {seconds:.1f} s", ""


def cache() -> Found:
    """Whether Numba can keep compiled kernels on the disk."""
    dense = import_module("fastgan.kernels.dense")
    places = (getattr(getattr(x, "stats", None), "cache_path", None) for x in vars(dense).values())
    place = next(filter(None, places), None)
    if place is None:
        return "warning", "no place to keep kernels: each program compiles them anew, for seconds", CACHE
    os.makedirs(place, exist_ok=True)
    with tempfile.TemporaryFile(dir=place):
        return "ok", f"kernels are kept in {place}", ""


def training() -> Found:
    """A few steps of a small run, and a checkpoint there and back, in a temporary folder."""
    import fastgan as fg
    from fastgan.nn import Net

    small = {
        "generator": Net(("linear 16", "relu", "linear o", "tanh")),
        "critic": Net(("linear 16", "linear o")),
    }
    trainer = fg.Trainer(fg.recipes["digits"].replace(**small, steps=3), device="cpu").fit()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        trainer.save(path)
        same = (fg.load(path, device="cpu").sample(4, seed=0) == trainer.sample(4, seed=0)).all()
    if not same:
        return "error", "a checkpoint does not come back as it was", REPORT
    return "ok", "3 steps with the bundled digits, and a checkpoint there and back", ""


def environment() -> Found:
    """Variables that change what the libraries do."""
    found = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(READ)]
    return "info", ", ".join(found) or "nothing set", ""


def driver() -> Found:
    """Whether there is a driver, without which nothing of a GPU is tried."""
    version = import_module("fastgan.kernels.cuda.building").driver_version()
    if version is None:
        return "info", "no NVIDIA driver: training on the CPU", ""
    return "ok", f"for CUDA {version[0]}.{version[1]}", ""


def says_why(module: str, function: str, right: str) -> Found:
    """What a function of fastgan says is wrong, "reason; fix", or that nothing is."""
    reason, _, fix = (getattr(import_module(module), function)() or "").partition("; ")
    return ("warning", reason, fix) if reason else ("ok", right, "")


def gpu() -> Found:
    """Which GPU can be used, and whether kernels run right on it."""
    status, reason, fix = says_why("fastgan.device", "cuda_problem", "")
    if status != "ok":
        return status, f"no GPU in use: {reason}", fix
    runtime = import_module("cupy").cuda.runtime
    found = runtime.getDeviceProperties(0)
    free, total = (x / 2**30 for x in runtime.memGetInfo())
    name = f"{found['name'].decode()}, compute capability {found['major']}.{found['minor']}"
    status, detail, fix = kernels("cuda", GPU)
    return status, f"{name}, {free:,.1f} of {total:,.1f} GiB free, kernels: {detail}", fix


def _library(module: str, name: str, *, needed: bool = False) -> Probe:
    return Probe(partial(library, module, name), f"{AGAIN} {name}", needed)


_kernels = f"{AGAIN} numba llvmlite"
_building = partial(
    says_why, "fastgan.kernels.cuda.building", "problem", "kernels can be compiled and loaded"
)
_cublas = partial(says_why, "fastgan.kernels.cuda.blas", "available", "can be called")
PROBES = {
    "system": Probe(system, ""),
    "numpy": Probe(blas, f"{AGAIN} numpy", needed=True),
    "numba": _library("numba", "numba"),
    "safetensors": _library("safetensors.numpy", "safetensors", needed=True),
    "pillow": _library("PIL.Image", "pillow", needed=True),
    "matplotlib": _library("matplotlib.figure", "matplotlib", needed=True),
    "tomli-w": _library("tomli_w", "tomli-w", needed=True),
    "pooch": _library("pooch", "pooch"),
    "kernels": Probe(partial(kernels, "cpu", _kernels), _kernels, needed=True),
    "kernel cache": Probe(cache, CACHE),
    "training": Probe(training, REPORT, needed=True),
    "environment": Probe(environment, ""),
    "driver": Probe(driver, GPU),
    "gpu libraries": Probe(_building, GPU, gpu=True),
    "gpu": Probe(gpu, GPU, gpu=True),
    "cublas": Probe(_cublas, GPU, gpu=True),
}


def main(names: list[str]) -> None:
    """Print what the probes of these names find, each as soon as it does."""
    for name in names:
        try:
            found = PROBES[name].run()
        except Exception as error:
            found = "error", f"{type(error).__name__}: {error}", PROBES[name].fix
        print(json.dumps([name, *found]), flush=True)
