"""What the stand-in for CuPy is asked for, counted: launches, transfers, and graphs that a stream captures.

A launch is done when it is asked for, unless a stream captures: then it is kept, and done (and counted) at each
replay of the graph, with the numbers of the time when it was captured.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Launch:
    """A kernel, copy or fill: its name, and the bytes that it reads and writes."""

    name: str
    read: int
    written: int


class Launches(list[Launch]):
    """Launches in order; copies between host and device are apart, in `transfers`."""

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[Launch] = []


_counts: ContextVar[tuple[Launches, ...]] = ContextVar("counts", default=())


@contextmanager
def counting() -> Iterator[Launches]:
    """A block whose launches are listed."""
    launches = Launches()
    token = _counts.set((*_counts.get(), launches))
    try:
        yield launches
    finally:
        _counts.reset(token)


def issue(launches: list[Launch], work: Callable[[], Any]) -> None:
    """Ask for launches that together do `work`."""
    if Stream.captured is not None:
        Stream.captured.nodes.append((launches, work))
        return
    for listed in _counts.get():
        listed.extend(launches)
    work()


def transfer(name: str, size: int) -> None:
    """A copy between host and device of so many bytes; RuntimeError while a stream captures, as CuPy's."""
    if Stream.captured is not None:
        raise RuntimeError(f"a copy {name} while the stream is capturing")
    for listed in _counts.get():
        listed.transfers.append(Launch(name, size, size))


class Graph:
    """What a stream captured."""

    def __init__(self) -> None:
        self.nodes: list[tuple[list[Launch], Callable[[], Any]]] = []

    def launch(self, stream: Any = None) -> None:
        """Do it all again."""
        for launches, work in self.nodes:
            issue(launches, work)

    def upload(self, stream: Any = None) -> None:
        """Send it ahead: nothing to do."""

    def debug_dot_str(self, flags: int = 0) -> str:
        """The graph in the DOT language, a line for each node."""
        names = [launch.name for launches, _ in self.nodes for launch in launches]
        return "\n".join(f'"graph_0_node_{k}"[label="{name}"];' for k, name in enumerate(names))


_pointers = count(1)


class Stream:
    """A stream of cupy.cuda; all streams do at once what they are asked for, so that none waits."""

    current: "Stream"
    captured: Graph | None = None  # by any of them

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.ptr = next(_pointers) if non_blocking else 0
        self._outer: list[Stream] = []

    def __enter__(self) -> "Stream":
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *_: object) -> None:
        Stream.current = self._outer.pop()

    def synchronize(self) -> None:
        """Wait for nothing."""
        if Stream.captured is not None:
            raise RuntimeError("waiting for a stream that is capturing")

    def record(self, event: Any) -> Any:
        """The event, which has happened."""
        return event

    def wait_event(self, event: Any) -> None:
        """Wait for nothing."""

    def begin_capture(self, mode: Any = None) -> None:
        """Keep from now on what is asked for, and do nothing of it."""
        if not self.ptr or Stream.captured is not None:
            raise RuntimeError("only a non-blocking stream captures, and one at a time")
        Stream.captured = Graph()

    def end_capture(self) -> Graph | None:
        """What was kept."""
        graph, Stream.captured = Stream.captured, None
        return graph


Stream.current = Stream()

CUDA = SimpleNamespace(  # the names of cupy.cuda that fastgan uses
    runtime=SimpleNamespace(getDeviceCount=lambda: 1),
    get_current_stream=lambda: Stream.current,
    Stream=Stream,
    Event=lambda **_: SimpleNamespace(),
    MemoryPool=lambda: SimpleNamespace(malloc=None, free_all_blocks=lambda: None),
    using_allocator=lambda allocator=None: nullcontext(),
)
