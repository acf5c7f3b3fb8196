"""Which machine, which versions, which arithmetic: what a result of the GPU gate must say to mean anything."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks import steps

PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "numba-cuda", "cuda-core", "nvmath-python")


def facts(device: str, commit: str | None, checkout: Path) -> dict[str, Any]:
    """The head of a result file for "cuda" or "cpu"."""
    name, driver = gpu() if device == "cuda" else ("dry run on the CPU", "none")
    return {
        "device": name,
        "driver": driver,
        "versions": steps.versions(*PACKAGES),
        "commit": commit or commit_of(checkout),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "arithmetic": "float32 throughout, TF32 off everywhere (PyTorch and JAX set to highest)",
        "data": "on the device before the first step: bytes for fastgan, float32 for the peers",
        "units": "seconds per step; asking is the part in which the host was busy",
    }


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
    """The commit, with + behind it where files were changed since; "unknown" without git."""
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
