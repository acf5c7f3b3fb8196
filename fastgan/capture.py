"""Recording: a function's work on the GPU is captured once as one CUDA graph, and replayed by a single launch.

A small network's step is short, and its hundred launches are most of it. A graph holds addresses and numbers, no
objects, and three things follow. It gets a stream and a memory pool of its own (CuPy's pool would hand its temporaries
to the next eager operation). Everything it touches is kept alive beside it. And a number that changes from call to call
has to live on the device (see `fastgan.clock.Count`), because one from the host is frozen.
"""

import gc
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastgan.clock import capturing
from fastgan.device import module_of, resolve_device
from fastgan.errors import CaptureError, UsageError


class Pool:
    """Memory of the device that goes back when nobody has the pool any more.

    CuPy 14's own keeps for good the blocks that were freed to it: they and their list hold one another.
    """

    def __init__(self) -> None:
        self._pool: Any = module_of("cuda").cuda.MemoryPool()
        self.malloc: Any = self._pool.malloc  # an allocator, as CuPy calls it

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(Exception):  # a device that has failed
                self._pool.free_all_blocks()


@dataclass(frozen=True, eq=False)
class Recording:
    """A captured graph with what it needs: its pool, and what the function returned."""

    graph: Any
    stream: Any
    pool: Pool
    outputs: Any

    def replay(self) -> None:
        """Launch the graph on its stream; for a caller whose current stream is that one (`Capturer.on_stream`)."""
        self.graph.launch(self.stream)

    def nodes(self) -> int:
        """Launches, copies and fills in one replay."""
        return len(re.findall(r'^\s*"\w+_node_\d+"\s*\[', self.graph.debug_dot_str(), re.MULTILINE))


class Capturer:
    """A non-blocking stream, and memory that only its graphs write to.

    Several graphs may be recorded: they are replayed one after the other, on one stream, so their temporaries may lie
    in the same place. With `like`, stream and memory are another Capturer's.
    """

    def __init__(self, like: "Capturer | None" = None) -> None:
        xp = module_of("cuda")
        self.stream: Any = like.stream if like else xp.cuda.Stream(non_blocking=True)
        self.pool: Pool = like.pool if like else Pool()
        self._before, self._after = xp.cuda.Event(disable_timing=True), xp.cuda.Event(disable_timing=True)

    @contextmanager
    def on_stream(self) -> Iterator[None]:
        """A block whose work goes to the stream: after what the caller's stream was asked for, before what comes."""
        caller = module_of("cuda").cuda.get_current_stream()
        if caller.ptr == self.stream.ptr:
            yield
            return
        self.stream.wait_event(caller.record(self._before))
        try:
            with self.stream:
                yield
        finally:
            caller.wait_event(self.stream.record(self._after))

    def memory(self) -> AbstractContextManager[Any]:
        """A block whose memory is private: for eager calls that warm up, and not after the last capture.

        What an eager call takes there later would lie where the graphs write.
        """
        allocator: AbstractContextManager[Any] = module_of("cuda").cuda.using_allocator(self.pool.malloc)
        return allocator

    def record(self, fn: Callable[[], Any]) -> Recording:
        """Capture one call of `fn`, of which nothing runs yet.

        `fn` must have run before, in `on_stream` and `memory`, so that kernels are loaded and the pool has grown.
        CaptureError, with the stream free again, where something in it cannot be captured.
        """
        with self.on_stream(), self.memory(), _no_collection():
            self.stream.synchronize()
            try:
                graph, outputs = self._captured(fn)
            except CaptureError:
                raise
            except Exception as error:  # CuPy, CUDA and kernels each raise their own
                raise CaptureError(f"cannot be captured: {_line(error)}") from error
            graph.upload(self.stream)
        return Recording(graph, self.stream, self.pool, outputs)

    def _captured(self, fn: Callable[[], Any]) -> tuple[Any, Any]:
        self.stream.begin_capture()  # relaxed: a kernel that is loaded late does not break it
        try:
            with capturing():
                outputs = fn()
        except BaseException:
            with suppress(
                Exception
            ):  # it says that the capture failed, which is known; the stream is free again
                self.stream.end_capture()
            raise
        return self.stream.end_capture(), outputs


class Captured:
    """What `capture` returns: call it to run the function again, as a replay on the GPU."""

    def __init__(self, fn: Callable[[], Any], outputs: Any, capturer: Capturer | None = None) -> None:
        self._fn, self._capturer = fn, capturer  # fn holds the arrays that the graph reads
        self.recording = capturer.record(fn) if capturer else None
        self.outputs = self.recording.outputs if self.recording else outputs

    def __call__(self) -> Any:
        """Run once more; returns `outputs`, on the GPU the same arrays each time, overwritten."""
        if self.recording is None or self._capturer is None:
            self.outputs = self._fn()
        else:
            with self._capturer.on_stream():
                self.recording.replay()
        return self.outputs


def capture(fn: Callable[[], Any], *, warmup: int = 3, device: str = "auto") -> Captured:
    """Record `fn()`, which takes nothing and works on arrays that stay in place, so that calling it again is cheap.

    `fn` first runs `warmup` times, on a stream of its own, and then once for the recording, when nothing is computed:
    `outputs` (what `fn` returned, arrays or Tensors) hold values after the first replay. On a GPU the host's part of
    `fn` runs no more: no printing, no random numbers of the host, no float of an array. On the CPU the result just
    calls `fn`. CaptureError where something in `fn` cannot be captured; UsageError, DeviceError for the settings.
    """
    if warmup < 1:
        raise UsageError(
            f"capture: got warmup {warmup}, wanted at least 1: kernels are compiled by running them"
        )
    if resolve_device(device) == "cpu":
        return Captured(fn, [fn() for _ in range(warmup)][-1])
    capturer = Capturer()
    with capturer.on_stream(), capturer.memory():
        for _ in range(warmup):
            fn()
    captured = Captured(fn, None, capturer)
    if captured.recording and not captured.recording.nodes():
        raise CaptureError('nothing in it runs on the GPU; give it CuPy arrays, or pass device="cpu"')
    return captured


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection in a block: a finaliser may free memory of the device, which ends a capture."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _line(error: BaseException) -> str:
    """An error's first line, or its class where it has no words."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
