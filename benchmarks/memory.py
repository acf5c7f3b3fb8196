"""Memory that training adds at its peak, in a process of its own: resident bytes on the host, used bytes of a GPU.

One idea: what counts is the most that is used until the last of some steps, less what was used when the engine had made
a small network of the same kind, so that libraries, compiled kernels and contexts do not count. The images count once,
in the form in which an engine keeps them: bytes for fastgan, float32 for the peers. A kernel that was never compiled on
this machine must be run before in another process, for a compiler leaves memory that training would use again.

Where the system does not give away a process's own peak (/proc on Linux), getrusage does, which also counts peaks of
the imports. A GPU's used bytes are those of the whole device, pools and captured graphs included: other programs that
use it meanwhile make them wrong.
"""

import gc
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastgan.benchmarks import peers, training, variants
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.turns import LostError, Worker

MIB = 2**20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SMALL = {"batch": 2, "width": 8}


def added(columns: Sequence[Column], sizes: dict[str, int], seconds: float) -> dict[str, int | LostError]:
    """Bytes that the `variants.recipe_of` these sizes adds in each column, on its device, or why they are not known.

    Processes of CPU columns run at once, for each is counted by itself; of a GPU the whole is.
    """
    workers = {column.name: Worker(Probe, column) for column in columns}
    at_once = all(column.where() == "cpu" for column in columns)
    found: dict[str, int | LostError] = {}
    try:
        for worker in workers.values() if at_once else ():
            worker.ask("added", sizes)
        for name, worker in workers.items():
            try:
                if not at_once:
                    worker.ask("added", sizes)
                found[name] = int(worker.answer(seconds))
            except LostError as reason:
                found[name] = reason
    finally:
        for worker in workers.values():
            worker.end()
    return found


class Probe:
    """What the process holds: a column."""

    def __init__(self, column: Column) -> None:
        self.column = column

    def added(self, sizes: dict[str, int]) -> int:
        """See `added`."""
        self.train(sizes | SMALL | {"data": 100})
        gc.collect()
        return self.train(sizes)

    def train(self, sizes: dict[str, int]) -> int:
        """Bytes that making a variant and its first steps add."""
        images = sizes.get("data", training.IMAGES)
        recipe = variants.recipe_of(**{name: value for name, value in sizes.items() if name != "data"})
        work: training.Fit | training.Stepped
        if self.column.own:
            before = self.used()
            work = training.Fit(recipe, training.random_images(images), self.column)
        else:
            setting = variants.setting_of(recipe)
            data = training.floats(training.random_images(images), setting.low)
            before = self.used()
            work = training.Stepped(peer(setting, data, self.column), self.column)  # which copies them
        work.first()
        return self.most() - before

    def used(self) -> int:
        """Bytes in use now."""
        return used_of_gpu(self.column) if self.column.where() == "cuda" else baseline()

    def most(self) -> int:
        """The most since then: a GPU's pools never give back."""
        return used_of_gpu(self.column) if self.column.where() == "cuda" else peak()


def peer(setting: peers.Setting, data: Any, column: Column) -> peers.Peer:
    """A peer on float32 images, made without a second copy of them."""
    from importlib import import_module

    module = import_module(f"fastgan.benchmarks.peers.{column.module}")
    made: peers.Peer = module.make(setting, data, device=column.where())
    return made


def used_of_gpu(column: Column) -> int:
    """Bytes of the GPU that are not free, when all work is done."""
    column.clock().wait()
    if column.package == "torch":
        import torch

        free, total = torch.cuda.mem_get_info()
    else:
        import cupy

        free, total = cupy.cuda.runtime.memGetInfo()
    return int(total) - int(free)


def baseline() -> int:
    """Bytes resident now; from here on `peak` knows of no earlier peak, where the system can forget it."""
    try:
        RESET.write_text("5", encoding="ascii")
    except OSError:
        return peak()
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes that were resident so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or usage * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int:
    """A size of this process in bytes, 0 where /proc does not have it.

    Unlike ru_maxrss it does not begin at the size of the process that started this one.
    """
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
