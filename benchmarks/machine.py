"""Which machine, versions, threads and arithmetic: what a result file must say first for its numbers to mean anything.

One idea: facts are asked of the system when a run begins, never assumed; what it does not say is null, "unknown" or
"not installed". No other library is imported to ask it how many threads it would use.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastgan
from fastgan.device import cuda_problem
from fastgan.threads import blas_libraries as libraries
from fastgan.threads import cores

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("numpy", "numba", "cupy-cuda13x", "cupy-cuda12x", "numba-cuda", "cuda-core", "nvmath-python"),
    *("torch", "jax", "autograd"),
)
# the first four set numbers of threads, the others let products round to TF32
SETTINGS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    *("CUPY_TF32", "NVIDIA_TF32_OVERRIDE"),
)
ARITHMETIC = "float32 throughout, TF32 off everywhere (PyTorch and JAX set to highest)"
DATA = "in the device's memory before the first step: bytes for fastgan, float32 for the peers"
CPUINFO = ("model name", "cpu family", "model")
CACHE = 32 << 20  # bytes
PARTS = (("GPU", "gpu"), ("CPU", "cpu"), ("cores", "cores"))  # what makes a machine another one
BUSY = 0.125  # of the cores, and at least half of one: the load from which others disturb


def facts(command: str, commit: str | None = None) -> dict[str, Any]:
    """The head of a result file. `command` is what was typed, `commit` what is measured where git cannot say."""
    graphics, driver = gpu() if cuda_problem() is None else (None, "none")
    cpu, allowed = processor(), affinity()
    return {
        "device": graphics or f"{cpu}, {allowed} core{'s' * (allowed != 1)}",
        "machine": {
            "cpu": cpu,
            "cores": allowed,
            "memory_bytes": memory(),
            "gpu": graphics,
            "driver": driver,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "versions": versions(),
        "threads": threads(),
        "arithmetic": ARITHMETIC + "; but CUPY_TF32=1 is set" * (os.environ.get("CUPY_TF32") == "1"),
        "data": DATA,
        "commit": commit or commit_of(CHECKOUT),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": command,
    }


def processor() -> str:
    """The CPU's name, which clouds give to several; so its family and model (of x86) and its BLAS's kernels as well."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    lines = (re.search(rf"^{key}[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE) for key in CPUINFO)
    name, family, model = (line[1].strip() if line else "" for line in lines)
    if sys.platform == "darwin":
        name = output("sysctl", "-n", "machdep.cpu.brand_string")
    name = name or platform.processor() or platform.machine() or "unknown CPU"
    core = next((library.get("architecture") for library in libraries()), None)
    more = [f"family {family} model {model}"] * bool(family and model) + [f"{core} kernels"] * bool(core)
    return f"{name} ({', '.join(more)})" if more else name


def affinity() -> int:
    """Cores that the system lets this process use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of memory of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cache_bytes() -> int:
    """Bytes of the caches of the last level, all together; 32 MiB where the system does not say."""
    found = {}
    for folder in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index3"):
        with suppress(OSError, ValueError):
            size = int((folder / "size").read_text().strip().removesuffix("K")) << 10
            found[(folder / "shared_cpu_list").read_text()] = size
    return sum(found.values()) or CACHE


def versions() -> dict[str, str]:
    """Of Python, fastgan, and all that is or could be measured."""
    found = {"python": platform.python_version(), "fastgan": fastgan.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    blas = libraries()
    words = "{internal_api} {version} ({architecture})"
    return found | {"BLAS": words.format_map(Unknown(blas[0])) if blas else "unknown"}


def threads() -> dict[str, Any]:
    """What fastgan's kernels, BLAS and PyTorch would use, and the variables that were set to change it."""
    torch, blas = sys.modules.get("torch"), libraries()
    return {
        "cores": cores(),
        "BLAS": blas[0]["num_threads"] if blas else "unknown",
        "torch": torch.get_num_threads() if torch is not None else "its default",
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


class Unknown(dict[str, Any]):
    """A dictionary whose missing words are unknown."""

    def __missing__(self, key: str) -> str:
        return "unknown"


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """In what the machines of two result files differ, or "". With another driver or system it is the same one."""
    pairs = [(name, a["machine"].get(key), b["machine"].get(key)) for name, key in PARTS]
    return ", ".join(f"{name} {_said(x)} and {_said(y)}" for name, x, y in pairs if x != y)


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def is_busy() -> str:
    """A line where the load says that other programs use the cores, else "". It is the mean of the last minute."""
    try:
        load, count = os.getloadavg()[0], os.cpu_count() or 1
    except (AttributeError, OSError):  # Windows
        return ""
    if load < max(0.5, BUSY * count):
        return ""
    return f"load {load:.1f} on {count} core{'s' * (count != 1)}: numbers will be noisy"


def gpu() -> tuple[str, str]:
    """Name and driver release of the first GPU."""
    line = output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").partition("\n")[0]
    name, comma, driver = line.rpartition(",")
    if comma:
        return name.strip(), driver.strip()
    import cupy

    runtime = cupy.cuda.runtime
    return runtime.getDeviceProperties(0)["name"].decode(), f"CUDA {runtime.driverGetVersion()}"


def commit_of(checkout: Path) -> str:
    """The commit, with + behind it where files were changed since; "unknown" without git, or in another's checkout."""
    top = output("git", "-C", str(checkout), "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != checkout.resolve():  # installed below some other project
        return "unknown"
    commit = output("git", "-C", str(checkout), "rev-parse", "HEAD")
    changed = output("git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no")
    return commit + "+" * bool(commit and changed) or "unknown"


def output(*command: str) -> str:
    """What a command prints, or nothing where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def slug(name: str) -> str:
    """A file name: nvidia-h200."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
