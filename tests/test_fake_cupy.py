"""The stand-in for CuPy counts what CuPy would launch, refuses what CuPy refuses, and replays what was captured."""

import gc
import sys

import numpy as np
import pytest
from fakes.cuda import counting, standing_in

from fastgan import device
from fastgan.kernels.cuda.launching import IN, INT, OUT, Kernel


@pytest.fixture
def cupy():
    with standing_in():
        import cupy

        yield cupy


def asked(call):
    """(name, bytes read, bytes written) of what a call launches."""
    with counting() as launches:
        call()
    return [(x.name, x.read, x.written) for x in launches]


X, ROW = np.ones((3, 4), np.float32), np.ones(4, np.float32)
LAUNCHED = {
    "a ufunc": (lambda xp, x, r: x + r, [("add", 64, 48)]),
    "with a number": (lambda xp, x, r: x * 2, [("multiply", 48, 48)]),
    "with a broadcast view": (lambda xp, x, r: x + xp.broadcast_to(r, (3, 4)), [("add", 64, 48)]),
    "a comparison": (lambda xp, x, r: x > 0, [("greater", 48, 12)]),
    "in place": (lambda xp, x, r: x.__iadd__(r), [("add", 64, 48)]),
    "to a given array": (lambda xp, x, r: xp.multiply(r, r, out=x), [("multiply", 32, 48)]),
    "a choice": (lambda xp, x, r: xp.where(x > 0, x, r), [("greater", 48, 12), ("where", 76, 48)]),
    "a sum": (lambda xp, x, r: x.sum(axis=0), [("sum", 48, 16)]),
    "a sum to a given array": (lambda xp, x, r: xp.sum(x, axis=0, out=r), [("sum", 48, 16)]),
    "a mean over rows": (lambda xp, x, r: x.mean(axis=0), [("mean", 48, 16)]),
    "a mean of each row": (lambda xp, x, r: x.mean(axis=1), [("sum", 48, 12), ("true_divide", 12, 12)]),
    "its axis kept": (
        lambda xp, x, r: x.mean(axis=1, keepdims=True),
        [("sum", 48, 12), ("true_divide", 12, 12)],
    ),
    "a mean of all": (lambda xp, x, r: x.mean(), [("sum", 48, 4), ("true_divide", 4, 4)]),
    "a product": (lambda xp, x, r: x.T @ x, [("gemm", 96, 64)]),
    "a product to a given array": (
        lambda xp, x, r: xp.matmul(x, x.T, out=xp.empty((3, 3), np.float32)),
        [("gemm", 96, 36)],
    ),
    "a copy": (lambda xp, x, r: x.copy(), [("copy", 48, 48)]),
    "another type": (lambda xp, x, r: x.astype(np.float64), [("astype", 48, 96)]),
    "the same type": (lambda xp, x, r: x.astype(np.float32, copy=False), []),
    "a number everywhere": (lambda xp, x, r: x.__setitem__(..., 1), [("fill", 0, 48)]),
    "rows of another": (lambda xp, x, r: x.__setitem__(slice(0, 2), r), [("copy", 16, 32)]),
    "rows by number": (lambda xp, x, r: x[xp.arange(2)], [("arange", 0, 16), ("take", 48, 32)]),
    "to rows by number": (
        lambda xp, x, r: x.__setitem__(xp.arange(2), r),
        [("arange", 0, 16), ("scatter", 32, 32)],
    ),
    "two put together": (lambda xp, x, r: xp.concatenate([x, x[:1]]), [("copy", 48, 48), ("copy", 16, 16)]),
    "nine put together": (lambda xp, x, r: xp.stack([r] * 9), [("join", 144, 144)]),
    "an order": (lambda xp, x, r: xp.argsort(r), [("argsort", 16, 32)]),
    "zeros": (lambda xp, x, r: xp.zeros_like(x), [("memset", 0, 48)]),
    "ones": (lambda xp, x, r: xp.ones(3, np.float32), [("fill", 0, 12)]),
    "like another": (lambda xp, x, r: xp.full_like(x, 3), [("fill", 0, 48)]),
    "a reshape that copies": (lambda xp, x, r: x.T.reshape(-1), [("reshape", 48, 48)]),
    "nothing but memory": (lambda xp, x, r: (xp.empty((9, 9)), xp.empty_like(x)), []),
    "views": (
        lambda xp, x, r: (x.T, x[1], x[:, 1:], x[None], x[0, 0], x.reshape(-1), x.transpose(), list(x)),
        [],
    ),
    "more views": (
        lambda xp, x, r: (xp.broadcast_to(r, (3, 4)), xp.expand_dims(r, 0), xp.asarray(x), r.shape, len(x)),
        [],
    ),
}


@pytest.mark.parametrize("name", LAUNCHED)
def test_launches_are_cupys(cupy, name):
    call, wanted = LAUNCHED[name]
    x, row = cupy.asarray(X), cupy.asarray(ROW)
    assert asked(lambda: call(cupy, x, row)) == wanted


def test_one_element_is_a_view(cupy):
    x = cupy.asarray(X)
    x[1][2][...] = 7
    assert x[1, 2].shape == ()
    assert x.get()[1, 2] == 7


def test_transfers_are_counted_apart(cupy):
    with counting() as launches:
        x = cupy.asarray(X)
        assert cupy.asarray(x) is x
        x.get(), float(x[0, 0]), bool(x[0, 0] > 0), int(x[0, 0])
        x.set(X)
    assert [t.name for t in launches.transfers] == ["to the device", *["to the host"] * 4, "to the device"]
    assert [t.read for t in launches.transfers] == [48, 48, 4, 1, 4, 48]
    assert [x.name for x in launches] == ["greater"]


def test_counts_nest(cupy):
    x = cupy.asarray(X)
    with counting() as outer:
        x + x
        with counting() as inner:
            x * x
    x - x
    assert ([a.name for a in outer], [a.name for a in inner]) == (["add", "multiply"], ["multiply"])


@pytest.mark.parametrize("real", [None, "a real one"])
def test_everything_is_as_before_afterwards(monkeypatch, real):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    if real:
        monkeypatch.setitem(sys.modules, "cupy", real)
    driver = device._driver_found
    with standing_in():
        assert device.resolve_device() == "cuda"
    assert (sys.modules.get("cupy"), device._driver_found) == (real, driver)


def body(x, y, n):
    """Never run: kernels compute nothing here."""


KERNEL = Kernel(body, (IN, OUT, INT), block=32, name="a_kernel")


def test_a_kernel_is_counted_by_its_arguments(cupy):
    x, y = cupy.asarray(X), cupy.empty(4, np.float32)
    with standing_in(kernels_compute=False):
        assert asked(lambda: KERNEL(1, x, y, 3)) == [("a_kernel", 48, 16)]
        assert asked(lambda: KERNEL(1, x, None, 3)) == [("a_kernel", 48, 0)]
        assert asked(lambda: KERNEL(1, x, y, 3, moved=(5, 6))) == [("a_kernel", 5, 6)]
    assert (x.get() == X).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda xp, x: x.get(),
        lambda xp, x: x.astype(np.float64),
        lambda xp, x: x.T,
        lambda xp, x: x[:, :2],
    ],
    ids=["host", "float64", "transposed", "part of each row"],
)
def test_what_a_pointer_would_hide_is_refused(cupy, wrong):
    x = cupy.asarray(X)
    with pytest.raises(TypeError, match=r"a_kernel: got .*, wanted"):
        KERNEL(1, x, wrong(cupy, x), 3)


@pytest.fixture
def stream(cupy):
    """A stream in a block in which it may capture."""
    gc.disable()
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.Stream(non_blocking=True) as stream, cupy.cuda.using_allocator(pool.malloc):
        yield stream
    gc.enable()


def test_a_capture_keeps_what_is_asked_for(cupy, stream):
    x, y = cupy.asarray(X), cupy.empty((3, 4), np.float32)
    number = 2
    with counting() as launches:
        stream.begin_capture()
        x += number
        np.multiply(x[:2], x[:2], out=y[:2])
        z = x[0] * 10
        z[1:][...] = 5
        graph = stream.end_capture()
    graph.upload(stream)
    number = 100
    assert launches == []
    assert (x.get() == 1).all()
    for k in (1, 2):
        assert [name for name, *_ in asked(lambda: graph.launch(stream))] == [
            "add",
            "multiply",
            "multiply",
            "fill",
        ]
        assert (x.get() == 1 + 2 * k).all()
        assert (y.get()[:2] == (1 + 2 * k) ** 2).all()
        assert (y.get()[2] == 0).all()
        assert z.get().tolist() == [10 * (1 + 2 * k), 5, 5, 5]
    assert graph.debug_dot_str().count("[style") == 4


def test_a_capture_refuses_what_cuda_does(cupy, stream):
    x = cupy.asarray(X)
    stream.begin_capture()
    for call in (x.get, lambda: cupy.asarray(X), lambda: float(x[0, 0]), stream.synchronize):
        with pytest.raises(RuntimeError, match="capturing"):
            call()
    for call in (lambda: x.T @ x, lambda: cupy.matmul(x.T, x, out=cupy.empty((4, 4), np.float32))):
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            call()
    with pytest.raises(RuntimeError, match="one at a time"):
        stream.begin_capture()
    stream.end_capture()
    with pytest.raises(RuntimeError, match="non-blocking"):
        cupy.cuda.Stream().begin_capture()
