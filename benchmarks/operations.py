"""Single operations on arrays, as fastgan does them and as peers do, made into `Work`: what kernels and layers share.

One idea: an `Operation` is a function of fastgan and its operands; array code in float64 gives the right answer, and
the same function runs in every column of ours, on arrays of that column. Where memory is the limit, calls go round
through so many copies of the operands that none is in the cache when its turn comes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count as count_from
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks import machine, peer_kernels
from fastgan.benchmarks.cases import AbsentError, Calls, Case, Results, Work, against
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.turns import Chunk
from fastgan.device import Array, cuda_problem, module_of, to_host
from fastgan.nn.flat import aligned_zeros
from fastgan.threads import cpu_threads

Operands = list[NDArray[Any]]
Wrong = Callable[[Mapping[str, Results]], dict[str, str]]

GRAPH_CALLS = 20  # at least, in one graph: then launching it is a small part
GPU_CACHE = 128 * 2**20  # more than the L2 of an H200 (50 MB) or B200 (126 MB)
# part of the memory that all copies, or one, may take: columns live side by side
SETS_SHARE, SET_SHARE = 32, 12
COMPILED = "torch-compiled"
# operations of a product below which a second BLAS thread does not pay (see Trainer.threads)
ONE_THREAD = 2**24


@dataclass(frozen=True)
class Operation:
    """`own` takes the operands as arrays of any library, may write to them, and returns the results.

    `bytes` and `flops` as in Case. `fresh`: copies of the inputs are larger than the cache, all together.
    `counted`: `own` takes the number of the `call` as well. `split`: kernels share samples among threads, as they do in
    the training of convolutional networks. `finished` makes of results what is compared. `without` names columns
    that are not asked.
    """

    group: str
    name: str
    shape: Mapping[str, Any]
    bytes: int
    flops: int
    operands: Callable[[], Operands]  # NumPy arrays, the same at each call
    own: Callable[..., Sequence[Any]]
    tolerance: float
    rival: peer_kernels.Rival | None = None
    fresh: bool = False
    inputs: str = ""  # "fresh" where they are by themselves
    counted: bool = False
    split: bool = False
    most: int = 3000  # copies of the operands
    compiled: bool = False  # whether torch.compile is asked, which takes seconds
    finished: Callable[[Sequence[Any]], Sequence[Any]] = list
    without: tuple[str, ...] = ()
    wrong: Wrong | None = None

    def case(self, suite: str, size: str) -> Case:
        """The case that it is; `torch.compile` is asked in full runs only, and tiny operands are in the cache."""
        small = size == "tiny"
        inputs = "same" if small else self.inputs or ("fresh" if self.fresh else "same")
        peers = [name for name in peer_kernels.COLUMNS if self.rival and peer_kernels.has(name, self.rival)]
        asked = "numpy", "cpu-kernels", "cupy", "cuda-kernels", "cuda-graph", *peers
        compiled = [COMPILED] * (self.compiled and size == "full")
        without = (
            (*self.without, "autograd") if size == "quick" else self.without
        )  # NumPy again, for two minutes
        return Case(
            suite,
            self.group,
            self.name,
            partial(make, replace(self, most=2) if small else self),
            self.wrong or against(partial(reference, self), self.tolerance),
            {**self.shape, "inputs": inputs},
            self.bytes,
            self.flops,
            (*(name for name in asked if name not in without), *compiled),
        )

    def threads(self, column: Column) -> AbstractContextManager[None]:
        """The threads that fastgan's training would have for it on the CPU."""
        if column.where() != "cpu":
            return nullcontext()
        if self.split:
            return cpu_threads(None, split=column.kernels)
        return cpu_threads(1 if self.flops < ONE_THREAD else None)


def make(operation: Operation, column: Column) -> Work:
    """The work of a column; AbsentError where it has none, or the memory is too small."""
    if not column.own and not (operation.rival and peer_kernels.has(column.name, operation.rival)):
        raise AbsentError(f"{column.name} has no counterpart of this operation")
    operands = operation.operands()
    size = sum(x.nbytes for x in operands)
    if size * SET_SHARE > memory(column.where()):
        wanted = f"needs {size / 1e9:.1f} GB in each column"
        raise AbsentError(f"{wanted}, this machine has {memory(column.where()) / 1e9:.0f} GB for all")
    count = copies(size, column, most=operation.most) if operation.fresh else 1
    if operation.rival and not column.own:
        return peer_kernels.make(operation.rival, column, operands, count, operation.finished)
    return (Graph if column.capture else Own)(operation, column, operands, count)


class Own(Calls):
    """fastgan's function on copies of the operands, one after the other, with the column's kernels or without."""

    def __init__(self, operation: Operation, column: Column, operands: Operands, count: int) -> None:
        self.operation, self.column, self.device = operation, column, column.where()
        copied = [[placed(x, self.device) for x in operands] for _ in range(count - 1)]
        self.sets = [*copied, [placed(x, self.device, copy=False) for x in operands]]
        self.round, self.numbers = cycle(self.sets), count_from(0)
        self.own: Callable[..., Sequence[Any]] = self.numbered if operation.counted else operation.own
        super().__init__(self.once, self.found, column.clock())

    def once(self) -> Sequence[Any]:
        """One call, on the next copy."""
        return self.own(*next(self.round))

    def numbered(self, *operands: Any) -> Sequence[Any]:
        """One call, which is told how many there were."""
        return self.operation.own(*operands, call=next(self.numbers))

    def found(self) -> Results:
        """What the first call leaves."""
        found = [to_host(x) for x in self.once()]
        return list(self.operation.finished(found))

    def first(self) -> Results:
        """The results of one call."""
        with self.settings():
            return super().first()

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        """Chunks of `count` calls."""
        with self.settings():
            return super().turn(count, seconds)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """A block with the column's kernels and the threads of training."""
        with ExitStack() as stack:
            stack.enter_context(self.column.switched())
            stack.enter_context(self.operation.threads(self.column))
            yield


class Graph(Own):
    """The same as one CUDA graph of 20 calls or a call on each copy, timed on the graph's own stream."""

    def found(self) -> Results:
        """Warm up, capture, put the operands back, replay once: what the first call leaves."""
        from fastgan.capture import Capturer

        self.capturer = Capturer()
        with self.capturer.on_stream(), self.capturer.memory():
            self.calls()
        recording = self.capturer.record(self.calls)
        self.call, self.times = recording.replay, self.length
        for array, value in zip(self.sets[0], self.operation.operands(), strict=True):
            array[...] = module_of(self.device).asarray(value)
        with self.capturer.on_stream():
            recording.replay()
        self.clock.wait()
        self.recording = recording
        return list(self.operation.finished([to_host(x) for x in recording.outputs]))

    @property
    def length(self) -> int:
        """Calls in the graph; on fresh inputs each copy has one, for a second would not find it as it was."""
        return len(self.sets) if self.operation.fresh else GRAPH_CALLS

    def calls(self) -> Sequence[Any]:
        """The calls of the graph; returns what the first one did."""
        first, *others = islice(cycle(self.sets), self.length)
        found = self.own(*first)
        for operands in others:
            self.own(*operands)
        return found

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Replays go to the current stream, where the clock's events are as well."""
        with super().settings():
            if not hasattr(self, "recording"):
                yield
                return
            with self.capturer.on_stream():
                yield


def placed(x: NDArray[Any], device: str, *, copy: bool = True) -> Array:
    """A copy of an operand on the device; float32 on a boundary of 128 bytes, as fastgan's buffers are.

    Unless a `copy` is wanted it may be the operand itself: 2 s of making 1.6 GB.
    """
    if device != "cpu":
        return module_of(device).asarray(x)
    if not copy and x.ctypes.data % 128 == 0:
        return x
    if x.dtype != np.float32:
        return x.copy()
    place = aligned_zeros(x.size, device).reshape(x.shape)
    place[...] = x
    return place


def reference(operation: Operation) -> Results:
    """The right answer: the array code in float64."""
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in operation.operands()]
    return list(operation.finished(operation.own(*wide)))


def copies(size: int, column: Column, *, most: int) -> int:
    """How many sets of operands calls go round through; the sets have more than twice the bytes of the cache."""
    where = column.where()
    least = GRAPH_CALLS if column.capture else 1
    wanted = min(max(2 * cache_bytes(where) // size + 1, least), most)
    return max(1, min(wanted, memory(where) // SETS_SHARE // size))


@cache
def cache_bytes(device: str) -> int:
    """Bytes of the caches that operands must not stay in."""
    return machine.cache_bytes() if device == "cpu" else GPU_CACHE


def largest_cache() -> int:
    """The largest of the devices that there are: for data that all columns must have alike."""
    return max(cache_bytes("cpu"), 0 if cuda_problem() else GPU_CACHE)


@cache
def memory(device: str) -> int:
    """Bytes of memory of the device; 8 GiB where the system does not say."""
    if device == "cpu":
        return machine.memory() or 8 << 30
    return int(module_of(device).cuda.Device().mem_info[1])
