"""The probes of `fastgan doctor`; `main` prints what each of them finds as a line of JSON.

A probe returns (status, detail, fix). It may raise, crash or hang: the doctor reports that too. They share a process,
as the libraries do in training, and since most of a probe's time would be Python's start and the imports.
"""

import importlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fastgan.cli.gpu_probes import (
    GPU,
    REPORT,
    Found,
    compared,
    compiler,
    cuda,
    cupy,
    driver,
    gpu_kernels,
    numba_cuda,
    nvmath,
)

SWITCHES = ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "LD_LIBRARY_PATH", "FASTGAN_DATA", "OMP_NUM_THREADS")
FAMILIES = ("NUMBA_", "CUPY_", "OPENBLAS_", "MKL_")
LITTLE_MEMORY = 1.0  # GiB of free disk below which a run's checkpoints may not fit
CACHE = "set NUMBA_CACHE_DIR to a folder that can be written"


@dataclass(frozen=True)
class Probe:
    """A check: `needed` if training on the CPU is impossible without it, `gpu` if it is for a GPU only.

    `fix` is for where it fails without a word.
    """

    run: Callable[[], Found]
    needed: bool
    fix: str = ""
    gpu: bool = False


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


def kernels() -> Found:
    """One kernel compiled, or taken from the disk, and compared with the array code it replaces."""
    return compared("cpu", _install("numba llvmlite"))


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
    from fastgan.nn import Net

    generator = Net(("linear 16", "relu", "linear o", "tanh"))
    critic = Net(("linear 16", "leaky_relu 0.2", "linear o"))
    recipe = fg.recipes["digits"].replace(generator=generator, critic=critic, steps=3)
    trainer = fg.Trainer(recipe, device="cpu").fit()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        trainer.save(path)
        same = (fg.load(path, device="cpu").sample(4, seed=0) == trainer.sample(4, seed=0)).all()
    if not same:
        return "error", "a checkpoint does not come back as it was", REPORT
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
    "training": Probe(training, needed=True, fix=REPORT),
    "digits": Probe(digits, needed=True, fix="pip install --force-reinstall fastgan"),
    "mnist": Probe(mnist, needed=False),
    "cupy": Probe(cupy, needed=False, fix=GPU, gpu=True),
    "numba-cuda": Probe(numba_cuda, needed=False, fix=GPU, gpu=True),
    "cuda compiler": Probe(compiler, needed=False, fix=GPU, gpu=True),
    "driver": Probe(driver, needed=False, fix=GPU, gpu=True),
    "cuda": Probe(cuda, needed=False, fix=GPU, gpu=True),
    "gpu kernels": Probe(gpu_kernels, needed=False, fix=GPU, gpu=True),
    "nvmath-python": Probe(nvmath, needed=False, fix=_install("nvmath-python"), gpu=True),
    "environment": Probe(environment, needed=False),
}


def main(names: list[str]) -> None:
    """Print what the probes of these names find, each as soon as it does."""
    for name in names:
        status, detail, fix = PROBES[name].run()
        print(json.dumps({"status": status, "detail": detail, "fix": fix}), flush=True)
