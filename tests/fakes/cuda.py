"""A GPU that captures, for the stand-in for CuPy: streams, graphs and memory pools, as strict as CUDA is about order.

A launch is done when it is asked for, unless the current stream captures: then it is kept, and done (and counted) at
each replay of the graph, with the numbers of the time when it was captured. An AssertionError is a mistake that CUDA
would not see; what CUDA or CuPy refuses raises as they do. Whether the driver agrees only tests/test_gpu.py can show.
"""

import gc
import sys
from contextlib import contextmanager
from types import SimpleNamespace

from fastgan.benchmarks import fake_cupy
from fastgan.benchmarks.fake_cupy import Device, Launch, counting, ndarray

__all__ = ["Cuda", "counting", "ndarray", "standing_in"]


def standing_in(*, kernels_compute=True):
    """A block with this GPU; in Numba's simulator its kernels compute, unless they are only to be counted."""
    return fake_cupy.standing_in(Cuda(kernels_compute=kernels_compute))


class Cuda(Device):
    """What was asked of streams and pools is in `log`, in order; `pools` are those that were made."""

    def __init__(self, *, kernels_compute=True):
        super().__init__()
        self.kernels_compute, self.log, self.allocators, self.pools = kernels_compute, [], [], []
        self.current = self.default = Stream(self)
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(getDeviceCount=lambda: 1),
            get_current_stream=lambda: self.current,
            using_allocator=self.using_allocator,
            Stream=lambda *, non_blocking=False: Stream(self, non_blocking=non_blocking),
            MemoryPool=lambda: Pool(self),
            Event=Event,
        )

    @property
    def capturing(self):
        return self.current.state is not None

    def issue(self, launches, work):
        if self.capturing:
            assert self.allocate() in self.pools, "memory that others write to"
            self.current.state.append((launches, work))
            return
        self.log.extend(f"kernel on {self.current}" for _ in launches)
        super().issue(launches, work)

    def transfer(self, name, size):
        if self.capturing:
            raise RuntimeError(f"a copy {name} while the stream is capturing")
        super().transfer(name, size)

    def run(self, kernel, grid, values):
        if self.kernels_compute and sys.modules[type(kernel).__module__].SIMULATED:
            kernel.simulate(grid, values)

    def launch(self, work):
        """A kernel that does `work`."""
        self.issue([Launch("kernel", 0, 0)], work)

    @contextmanager
    def using_allocator(self, allocator):
        self.allocators.append(allocator)
        yield
        self.allocators.pop()

    def allocate(self):
        """The pool (None: CuPy's own) that memory would come from now."""
        return self.allocators[-1](1) if self.allocators else None


class Event:
    def __init__(self, disable_timing=False):
        assert disable_timing


class Pool:
    def __init__(self, cuda):
        self.cuda = cuda
        cuda.pools.append(self)

    def malloc(self, size):
        return self

    def free_all_blocks(self):
        self.cuda.log.append("memory goes back")


class Stream:
    def __init__(self, cuda, *, non_blocking=False):
        self.cuda, self.non_blocking, self.ptr, self.state, self.outer = (
            cuda,
            non_blocking,
            id(self),
            None,
            [],
        )

    def __enter__(self):
        self.outer.append(self.cuda.current)
        self.cuda.current = self
        return self

    def __exit__(self, *_):
        self.cuda.current = self.outer.pop()

    def __str__(self):
        return "own" if self.non_blocking else "caller"

    def record(self, event):
        assert self.state is None, "an event outside the graph"
        event.stream = self
        return event

    def wait_event(self, event):
        assert self.state is None, "an event outside the graph"
        self.cuda.log.append(f"{self} waits for {event.stream}")

    def synchronize(self):
        if self.state is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: waiting for a stream that is capturing")
        self.cuda.log.append("synchronize")

    def begin_capture(self, mode=None):
        if not self.non_blocking or self.state is not None:
            raise RuntimeError("only a non-blocking stream captures, and one at a time")
        assert self.cuda.current is self, "captures a stream that is not current"
        assert not gc.isenabled(), "a collection may free memory in the capture"
        self.state = []
        self.cuda.log.append("begin")

    def end_capture(self):
        nodes, self.state = self.state, None
        self.cuda.log.append("end")
        if "poison" in nodes:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated: operation failed\nmore")
        return Graph(self.cuda, nodes)


class Graph:
    """What a stream captured: lists of launches, each with what they do together."""

    def __init__(self, cuda, nodes):
        self.cuda, self.nodes, self.uploaded = cuda, nodes, False

    def upload(self, stream):
        self.uploaded = True

    def launch(self, stream=None):
        assert self.uploaded
        assert stream is self.cuda.current
        assert stream.state is None
        self.cuda.log.append("replay")
        for launches, work in self.nodes:
            Device.issue(self.cuda, launches, work)

    def debug_dot_str(self, flags=0):
        names = [launch.name for launches, _ in self.nodes for launch in launches]
        nodes = [f'"graph_1_node_{k}"[style="bold" label="{k}\n{name}"];' for k, name in enumerate(names)]
        edges = [f'"graph_1_node_{k}" -> "graph_1_node_{k + 1}"[headlabel=0];' for k in range(len(nodes) - 1)]
        return "\n".join(["digraph dot {", *nodes, *edges, "}"])
