"""Capturing without a GPU, on a stand-in that is as strict as CUDA about order (tests/fakes/cuda.py)."""

import gc

import numpy as np
import pytest
from fakes.cuda import standing_in

from fastgan.capture import Capturer, capture
from fastgan.clock import Count, refuse_while_capturing
from fastgan.errors import CaptureError, DeviceError, UsageError
from fastgan.nn import Dropout
from fastgan.tape import Tensor

pytestmark = pytest.mark.slow


@pytest.fixture
def cuda():
    with standing_in() as cuda:
        yield cuda


class Counter:
    """A function to capture: adds one on the device, and says when its host part runs."""

    def __init__(self, cuda, *more):
        self.cuda, self.value, self.called, self.more = cuda, 0, 0, more

    def __call__(self):
        self.called += 1
        self.cuda.launch(self.add)
        for call in self.more:
            call()
        return self

    def add(self):
        self.value += 1


def test_a_replay_runs_the_device_part_alone(cuda):
    count = Counter(cuda)
    captured = capture(count, warmup=2, device="cuda")
    assert (count.called, count.value) == (3, 2)
    assert captured() is captured.outputs is count
    captured()
    assert (count.called, count.value) == (3, 4)
    assert captured.recording.nodes() == 1
    assert gc.isenabled()


def test_the_order_between_the_callers_stream_and_its_own(cuda):
    captured = capture(Counter(cuda), warmup=1, device="cuda")
    warm, own = (
        ["own waits for caller", "kernel on own", "caller waits for own"],
        ["synchronize", "begin", "end"],
    )
    assert cuda.log == [*warm, warm[0], *own, warm[2]]
    cuda.log.clear()
    captured()
    assert cuda.log == ["own waits for caller", "replay", "caller waits for own"]
    assert cuda.current is cuda.default


def test_inside_its_own_stream_nothing_waits(cuda):
    capturer, count = Capturer(), Counter(cuda)
    with capturer.on_stream(), capturer.memory():
        count()
        recording = capturer.record(count)
        cuda.log.clear()
        for _ in range(3):
            recording.replay()
        assert cuda.log == ["replay"] * 3
    assert count.value == 4


def test_memory_is_private_where_asked_for_and_in_a_capture(cuda):
    capturer, pools = Capturer(), []
    with capturer.on_stream():
        pools.append(cuda.allocate())
        with capturer.memory():
            pools.append(cuda.allocate())
    recording = capturer.record(lambda: cuda.launch(lambda: pools.append(cuda.allocate())))
    assert pools == [None, *cuda.pools]
    assert recording.pool is capturer.pool


def test_memory_goes_back_with_the_last_that_needs_it(cuda):
    """CuPy's pool does not see to that itself."""
    capturer = Capturer()
    recording = capturer.record(Counter(cuda))
    del capturer
    gc.collect()
    assert cuda.log[-1] == "caller waits for own"
    del recording
    gc.collect()
    assert cuda.log[-1] == "memory goes back"


def test_two_graphs_of_one_stream(cuda):
    capturer, first, second = Capturer(), Counter(cuda), Counter(cuda)
    other = Capturer(like=capturer)
    assert (other.stream, other.pool) == (capturer.stream, capturer.pool)
    recordings = capturer.record(first), other.record(second)
    with other.on_stream():
        cuda.log.clear()
        with capturer.on_stream():
            recordings[0].replay()
        recordings[1].replay()
        recordings[1].replay()
    assert (first.value, second.value) == (1, 2)
    assert cuda.log == ["replay"] * 3 + ["caller waits for own"]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    "error", [RuntimeError("is capturing\nmore"), NotImplementedError(), KeyboardInterrupt()]
)
def test_an_error_while_capturing_ends_the_capture(cuda, error, enabled):
    """The stream is free again, garbage is collected as before, and the same Capturer can try once more."""

    def fail():
        if cuda.current.state is not None:
            raise error

    capturer, count = Capturer(), Counter(cuda, fail)
    if not enabled:
        gc.disable()
    try:
        with pytest.raises((CaptureError, KeyboardInterrupt)) as caught:
            capturer.record(count)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    if isinstance(error, Exception):
        assert type(caught.value) is CaptureError
        assert str(caught.value).endswith("is capturing" if str(error) else "NotImplementedError")
        assert caught.value.__cause__ is error
    else:
        assert caught.value is error
    assert cuda.log[1:] == ["synchronize", "begin", "end", "caller waits for own"]
    assert capturer.stream.state is None
    refuse_while_capturing("nothing")
    recording = capturer.record(Counter(cuda))
    with capturer.on_stream():
        recording.replay()


def test_a_capture_that_ended_unseen(cuda):
    """Something in it failed and was caught there: CUDA says so only at the end."""
    with pytest.raises(
        CaptureError, match=r"^cannot be captured: cudaErrorStreamCaptureInvalidated: operation failed$"
    ):
        Capturer().record(lambda: cuda.current.state.append("poison"))
    assert cuda.current is cuda.default


def test_a_number_of_the_host_is_refused(cuda):
    step, x = Count(None, 1, 0, host=7), Tensor(np.ones(3, np.float32))
    with pytest.raises(CaptureError, match="the step's number on the host"):
        capture(Counter(cuda, lambda: int(step)), device="cuda")
    with pytest.raises(CaptureError, match="dropout"):
        capture(Counter(cuda, lambda: Dropout(0.5)(x)), device="cuda")
    assert int(step) == 7


def test_nothing_on_the_gpu_is_an_error(cuda):
    with pytest.raises(CaptureError, match="nothing in it runs on the GPU"):
        capture(lambda: None, device="cuda")


def test_settings(cuda, monkeypatch):
    with pytest.raises(UsageError, match="warmup 0"):
        capture(lambda: None, warmup=0, device="cuda")
    with pytest.raises(DeviceError, match="got device 'gpu'"):
        capture(lambda: None, device="gpu")
    monkeypatch.setattr("fastgan.device._driver_found", lambda: False)
    with pytest.raises(DeviceError, match="cannot be used"):
        capture(lambda: None, device="cuda")


def test_on_the_cpu_the_function_simply_runs():
    calls = []
    captured = capture(lambda: calls.append(None) or len(calls), warmup=2, device="cpu")
    assert captured.outputs == 2
    assert captured() == captured.outputs == 3
    assert captured.recording is None


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda cuda, own: cuda.launch(lambda: None), "memory that others write to"),
        (
            lambda cuda, own: cuda.default.wait_event(own.record(cuda.cuda.Event(disable_timing=True))),
            "outside the graph",
        ),
    ],
)
def test_the_stand_in_is_strict(cuda, mistake, said):
    own = cuda.cuda.Stream(non_blocking=True)
    gc.disable()
    try:
        with own:
            cuda.cuda.MemoryPool()
            own.begin_capture()
            with pytest.raises(AssertionError, match=said):
                mistake(cuda, own)
    finally:
        gc.enable()
