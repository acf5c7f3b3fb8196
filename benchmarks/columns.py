"""The columns of every table: which engines are compared, on which device, and whether they can run here.

One idea: a column is a value. fastgan has one per way of running the same array code; a peer has the module of
`fastgan.benchmarks.peers` that trains with it. Peers run on the GPU where there is one and they can use it. Everything
is float32 without TF32, in all columns.
"""

import importlib.util
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastgan.device import cuda_problem
from fastgan.dispatch import use_kernels

CHUNK = {
    "cpu": 0.002,
    "cuda": 0.005,
}  # seconds of calls between two looks at the clock: a GPU must be kept ahead of


@dataclass(frozen=True)
class Column:
    """An engine: ours has no `module`; `package` must be installed for a peer; `device` "any" prefers the GPU."""

    name: str
    about: str
    device: str
    package: str = ""
    module: str = ""
    kernels: bool = True
    capture: bool = False

    @property
    def own(self) -> bool:
        """Whether it is fastgan."""
        return not self.package

    @property
    def chunk(self) -> float:
        """Seconds that a chunk of calls should last."""
        return CHUNK[self.where()]

    def where(self) -> str:
        """The device that it runs on here, "cpu" or "cuda"."""
        return _best(self.package) if self.device == "any" else self.device

    def absent(self) -> str:
        """Why it cannot run here, or ""."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"{self.package} is not installed; pip install 'fastgan[peers]'"
        if self.device == "cuda" and (problem := cuda_problem()):
            return f"no GPU: {problem}"
        if self.device == "cuda" and self.package == "torch" and _best("torch") == "cpu":
            return "this PyTorch cannot use the GPU"
        return ""

    def switched(self) -> AbstractContextManager[None]:
        """A block in which fastgan's kernels are on or off as the column has it."""
        return use_kernels(self.kernels)

    def clock(self) -> "Clock":
        """What times its work. JAX returns before work is done on a CPU as well."""
        if self.package == "jax":
            return JaxClock()
        if self.where() == "cpu":
            return Clock()
        return TorchClock() if self.package == "torch" else CupyClock()


class Clock:
    """Time on the host; `wait` returns when all work of a device is done, `mark` and `between` time it there."""

    def now(self) -> float:
        """Seconds."""
        return time.perf_counter()

    def wait(self) -> None:
        """The CPU has finished when a call returns."""

    def mark(self) -> Any:
        """A point in the work of the device."""

    def between(self, start: Any, end: Any) -> float:
        """Seconds of the device from one mark to another that were waited for; NaN where it has no clock."""
        return float("nan")


class CupyClock(Clock):
    """Events on the current stream; waits for the whole device, whichever stream the work is on."""

    def __init__(self) -> None:
        import cupy

        self._cuda: Any = cupy.cuda

    def wait(self) -> None:
        """Until all streams are done."""
        self._cuda.Device().synchronize()

    def mark(self) -> Any:
        """An event behind the work of the current stream."""
        event = self._cuda.Event()
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two events."""
        return float(self._cuda.get_elapsed_time(start, end)) / 1e3


class TorchClock(Clock):
    """The same with PyTorch's streams."""

    def __init__(self) -> None:
        import torch

        self._cuda: Any = torch.cuda

    def wait(self) -> None:
        """Until all streams are done."""
        self._cuda.synchronize()

    def mark(self) -> Any:
        """An event behind the work of the current stream."""
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two events."""
        return float(start.elapsed_time(end)) / 1e3


class JaxClock(Clock):
    """Waits for all of JAX's work; JAX shows no events."""

    def wait(self) -> None:
        """Until all live arrays are there."""
        import jax

        jax.block_until_ready(jax.live_arrays())


COLUMNS = {
    column.name: column
    for column in (
        Column("numpy", "fastgan, array code alone, on the CPU", "cpu", kernels=False),
        Column("cpu-kernels", "fastgan as it runs on a CPU: Numba kernels and BLAS", "cpu"),
        Column("cupy", "fastgan, array code alone, on the GPU", "cuda", kernels=False),
        Column("cuda-kernels", "fastgan, its kernels launched one by one", "cuda"),
        Column(
            "cuda-graph", "fastgan as it runs on a GPU: kernels replayed as CUDA graphs", "cuda", capture=True
        ),
        Column("torch", "PyTorch eager", "any", "torch", "torch_eager"),
        Column("torch-compiled", "torch.compile", "any", "torch", "torch_compiled"),
        Column(
            "torch-graph",
            "PyTorch, a whole step as one CUDA graph, fused Adam",
            "cuda",
            "torch",
            "torch_graph",
        ),
        Column("jax", "JAX, jitted", "any", "jax", "jax_jit"),
        Column("autograd", "HIPS autograd on NumPy", "cpu", "autograd", "autograd_numpy"),
    )
}
OWN = [name for name, column in COLUMNS.items() if column.own]


@cache
def _best(package: str) -> str:
    """The device that a package would use."""
    if cuda_problem():
        return "cpu"
    if package == "torch":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    if package == "jax":
        import jax

        return "cuda" if any(d.platform == "gpu" for d in jax.devices()) else "cpu"
    return "cuda"
