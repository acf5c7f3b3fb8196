"""The probes of `fastgan doctor`; `main` prints what one of them finds as a line of JSON.

A probe returns (status, detail, fix). It may raise, crash or hang: the doctor reports that too.
"""

import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

Found = tuple[str, str, str]  # status, detail, fix

SWITCHES = ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "LD_LIBRARY_PATH", "FASTGAN_DATA", "OMP_NUM_THREADS")
FAMILIES = ("NUMBA_", "CUPY_", "OPENBLAS_", "MKL_")
LITTLE_MEMORY = 1.0  # GiB of free disk below which a run's checkpoints may not fit
GPU = 'pip install "fastgan[cu13]" (driver 580 or newer) or "fastgan[cu12]"'

CACHE = "set NUMBA_CACHE_DIR to a folder that can be written"


@dataclass(frozen=True)
class Probe:
    """A check; `needed` if training on the CPU is impossible without it, `fix` where it fails without a word."""

    run: Callable[[], Found]
    needed: bool
    fix: str = ""


def system() -> Found:
    """Versions of fastgan, Python and the system; cores, memory, disk."""
    import fastgan

    kind = " (WSL)" if "microsoft" in platform.release().lower() else ""
    inside = " (container)" if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() else ""
    free = shutil.disk_usage(".").free / 2**30
    parts = [
        f"fastgan {fastgan.__version__}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.release()} {platform.machine()}{kind}{inside}",
        f"{cores()} cores",
        *memory(),
        f"{free:,.1f} GiB free on this disk",
    ]
    fix = "free some space, or write to another disk with --out" if free < LITTLE_MEMORY else ""
    return "warning" if fix else "ok", ", ".join(parts), fix


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> list[str]:
    """The machine's memory, where the system tells."""
    try:
        return [f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:,.1f} GiB memory"]
    except (AttributeError, ValueError, OSError):  # Windows
        return []


def numpy() -> Found:
    """NumPy, its BLAS, and how many threads that takes."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))  # loads the library, where it is loaded late
    blas = [x for x in threadpool_info() if x["user_api"] == "blas"]
    parts = [f"{x['internal_api']} {x['version']}, threads: {x['num_threads']}" for x in blas]
    return "ok", ", ".join([np.__version__, *parts]), ""


def numba() -> Found:
    """Numba and llvmlite."""
    module = importlib.import_module("numba")
    importlib.import_module("llvmlite.binding")
    return "ok", f"{module.__version__}, llvmlite {metadata.version('llvmlite')}", ""


def library(name: str, distribution: str = "") -> Callable[[], Found]:
    """A probe that imports a package and gives its version."""

    def run() -> Found:
        importlib.import_module(name)
        return "ok", metadata.version(distribution or name), ""

    return run


def cupy() -> Found:
    """CuPy: which of its distributions, of which there must not be two."""
    found = sorted(
        {
            d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]
        }.items()
    )
    wheels = [f"{name} {version}" for name, version in found if name == "cupy" or name.startswith("cupy-")]
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


def cuda() -> Found:
    """Whether a GPU can be used, and which."""
    from fastgan.backend import cuda_problem

    problem = cuda_problem()
    if problem:
        reason, _, fix = problem.partition("; ")
        return "info", f"no GPU in use: {reason}", fix
    runtime = importlib.import_module("cupy").cuda.runtime
    gpu = runtime.getDeviceProperties(0)
    free, total = (x / 2**30 for x in runtime.memGetInfo())
    driver = runtime.driverGetVersion()
    detail = (
        f"{gpu['name'].decode()}, compute capability {gpu['major']}.{gpu['minor']}, {free:,.1f} of "
        f"{total:,.1f} GiB free, driver for CUDA {driver // 1000}.{driver % 1000 // 10}, "
        f"{runtime.getDeviceCount()} in all"
    )
    return "ok", detail, ""


def kernels() -> Found:
    """One kernel compiled, or taken from the disk, and compared with the array code it replaces."""
    import numpy as np

    from fastgan import ops, use_kernels
    from fastgan.tape import Tensor

    rng = np.random.default_rng(0)
    x, w, b = (Tensor(rng.standard_normal(s).astype(np.float32)) for s in ((17, 33), (33, 5), (5,)))
    start = time.perf_counter()
    fast = ops.linear_leaky_relu(x, w, b, slope=0.2).data
    seconds = time.perf_counter() - start
    with use_kernels(False):
        plain = ops.linear_leaky_relu(x, w, b, slope=0.2).data
    if not np.allclose(fast, plain, rtol=1e-5, atol=1e-5):
        worst = float(abs(fast - plain).max())
        return (
            "error",
            f"a kernel differs from the array code by {worst:g}",
            "report it, with --json's output",
        )
    if "numba" not in sys.modules:
        return "warning", "none runs, only array code, which is slower", _install("numba llvmlite")
    return "ok", f"right; the first took {seconds:.1f} s", ""


def cache() -> Found:
    """Whether Numba can keep compiled kernels on the disk."""
    dense = importlib.import_module("fastgan.kernels.dense")
    places = (getattr(getattr(x, "stats", None), "cache_path", None) for x in vars(dense).values())
    place = next((place for place in places if place), None)
    if place is None:
        return "warning", "no place to keep kernels: each program compiles them anew, for seconds", CACHE
    os.makedirs(place, exist_ok=True)
    with tempfile.TemporaryFile(dir=place):
        return "ok", f"kernels are kept in {place}", ""


def digits() -> Found:
    """The bundled digits."""
    from fastgan import data

    found = data.load("digits")
    right = found.samples.shape == (1797, 8, 8, 1)
    detail = f"{found.n:,} images of 8x8"
    return ("ok", detail, "") if right else ("error", detail, "pip install --force-reinstall fastgan")


def mnist() -> Found:
    """Whether MNIST lies where fastgan looks for it; nothing is downloaded."""
    from fastgan.data.mnist import ENVIRONMENT, cache_folder

    places = [Path(place) for place in (os.environ.get(ENVIRONMENT), cache_folder()) if place]
    for place in places:
        for folder in (place / "mnist", place):
            if any(folder.glob("train-images*idx3-ubyte*")):
                return "ok", f"found in {folder}", ""
    return (
        "info",
        "not here yet",
        f"downloaded at the first use (12 MB); or set {ENVIRONMENT} to a folder with it",
    )


def training() -> Found:
    """A few steps of a small run, and a checkpoint there and back, in a temporary folder."""
    import fastgan as fg
    from fastgan.nn import MLP

    small = MLP((16,), activation="relu", output="tanh")
    recipe = fg.recipes["digits"].replace(generator=small, critic=MLP((16,)), steps=3)
    trainer = fg.Trainer(recipe, device="cpu").fit()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        trainer.save(path)
        same = (fg.load(path, device="cpu").sample(4, seed=0) == trainer.sample(4, seed=0)).all()
    if not same:
        return "error", "a checkpoint does not come back as it was", "report it, with --json's output"
    return "ok", "3 steps, and a checkpoint there and back", ""


def environment() -> Found:
    """Variables that change what the libraries do."""
    found = {
        name: os.environ[name] for name in sorted(os.environ) if name in SWITCHES or name.startswith(FAMILIES)
    }
    return "info", ", ".join(f"{name}={value}" for name, value in found.items()) or "nothing set", ""


def _install(name: str) -> str:
    return f"pip install --force-reinstall {name}"


PROBES = {
    "system": Probe(system, needed=False),
    "numpy": Probe(numpy, needed=True, fix=_install("numpy")),
    "numba": Probe(numba, needed=False, fix=_install("numba")),
    "safetensors": Probe(
        library("safetensors.numpy", "safetensors"), needed=True, fix=_install("safetensors")
    ),
    "pillow": Probe(library("PIL.Image", "pillow"), needed=True, fix=_install("pillow")),
    "matplotlib": Probe(library("matplotlib.figure", "matplotlib"), needed=True, fix=_install("matplotlib")),
    "tomli-w": Probe(library("tomli_w", "tomli-w"), needed=True, fix=_install("tomli-w")),
    "pooch": Probe(library("pooch"), needed=False, fix=_install("pooch")),
    "kernels": Probe(kernels, needed=True, fix=_install("numba llvmlite")),
    "kernel cache": Probe(cache, needed=False, fix=CACHE),
    "training": Probe(training, needed=True, fix="report it, with --json's output"),
    "digits": Probe(digits, needed=True, fix="pip install --force-reinstall fastgan"),
    "mnist": Probe(mnist, needed=False),
    "cupy": Probe(cupy, needed=False, fix=GPU),
    "numba-cuda": Probe(numba_cuda, needed=False, fix=GPU),
    "cuda": Probe(cuda, needed=False, fix=GPU),
    "environment": Probe(environment, needed=False),
}


def main(name: str) -> None:
    """Print what one probe finds."""
    status, detail, fix = PROBES[name].run()
    print(json.dumps({"status": status, "detail": detail, "fix": fix}))
