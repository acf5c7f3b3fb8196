"""cuBLAS and the measured table without a GPU: a stand-in for the binding computes on host memory as it does."""

import ctypes
import enum
import importlib
import sys
import threading
import types
from itertools import count
from unittest.mock import MagicMock

import numpy as np
import pytest

blas = pytest.importorskip("fastgan.kernels.cuda.blas")
measuring = pytest.importorskip("fastgan.kernels.cuda.measuring", exc_type=ImportError)
dense = measuring.dense
launching = importlib.import_module("fastgan.kernels.cuda.launching")


class Math(enum.IntEnum):
    DEFAULT_MATH = 0
    TF32_TENSOR_OP_MATH = 3


class Binding(types.ModuleType):
    """nvmath.bindings.cublas: column-major, strict about leading dimensions and about the order of settings."""

    def __init__(self):
        super().__init__("nvmath.bindings.cublas")
        self.Math, self.log, self._numbers, self.ready = Math, [], count(1), {}

    def get_property(self, kind):
        return 12

    def create(self):
        number = next(self._numbers)
        self.ready[number] = {}
        self.log.append("create")
        return number

    def set_stream(self, handle, stream):
        self.ready[handle] = {"stream": stream}  # the workspace is cuBLAS's own again

    def set_workspace(self, handle, pointer, size):
        assert size == 32 << 20
        self.ready[handle]["workspace"] = pointer

    def set_math_mode(self, handle, mode):
        self.log.append(Math(mode).name)

    def sgemm(self, handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        assert self.ready[handle]["workspace"]
        assert lda >= (k if ta else m)
        assert ldb >= (n if tb else k)
        assert ldc >= m
        left, right = (
            matrix(a, k if ta else m, m if ta else k, lda),
            matrix(b, n if tb else k, k if tb else n, ldb),
        )
        product = number(alpha) * ((left.T if ta else left) @ (right.T if tb else right))
        out = matrix(c, m, n, ldc)
        out[...] = product + (number(beta) * out if number(beta) else 0)
        self.log.append(("sgemm", self.ready[handle]["stream"]))


def matrix(pointer, rows, columns, leading):
    """A column-major matrix in host memory."""
    floats = (ctypes.c_float * (leading * columns)).from_address(pointer)
    return np.frombuffer(floats, np.float32).reshape(columns, leading).T[:rows]


def number(pointer):
    return ctypes.c_float.from_address(pointer).value


class Array:
    """A NumPy array with CuPy's way to ask for its address."""

    def __init__(self, host):
        self.host, self.shape = np.ascontiguousarray(host, np.float32), host.shape
        self.data = types.SimpleNamespace(ptr=self.host.ctypes.data)


@pytest.fixture
def cublas(monkeypatch):
    """The binding, with a CuPy whose stream is 7 on device 0."""
    binding, memory = Binding(), []
    cupy = types.ModuleType("cupy")
    cupy.cuda = types.SimpleNamespace(
        Memory=lambda size: memory.append(size) or types.SimpleNamespace(ptr=4096),
        get_current_stream=lambda: types.SimpleNamespace(ptr=binding.stream),
        runtime=types.SimpleNamespace(
            getDevice=lambda: 0, getDeviceProperties=lambda _: {"name": b"NVIDIA Test 100"}
        ),
    )
    binding.stream, binding.memory = 7, memory
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for name in ("nvmath", "nvmath.bindings"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublas", binding)
    monkeypatch.setattr(blas, "_handles", {})
    forget()
    yield binding
    forget()
    blas.use_tf32(False)


def forget():
    blas.available.cache_clear()
    blas._binding.cache_clear()


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 4, 1), (8, 1, 2)])
@pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True), (True, True)])
def test_gemm_is_row_by_row(cublas, shape, ta, tb):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(k, m) if ta else (m, k)), rng.normal(size=(n, k) if tb else (k, n))
    out = Array(np.full((m, n), np.nan))
    assert blas.gemm(Array(a), Array(b), out, ta, tb) is out
    np.testing.assert_allclose(out.host, (a.T if ta else a) @ (b.T if tb else b), rtol=1e-5, atol=1e-6)


def test_a_shape_that_does_not_fit_never_reaches_cublas(cublas):
    a, b = Array(np.ones((2, 3))), Array(np.ones((3, 4)))
    for out, ta, tb in (((2, 5), False, False), ((3, 4), True, False), ((2, 4), False, True)):
        with pytest.raises(ValueError, match=r"gemm: got \(2, 3\) and \(3, 4\)"):
            blas.gemm(a, b, Array(np.ones(out)), ta, tb)
    assert cublas.log == []


def product():
    one = Array(np.ones((1, 1)))
    return blas.gemm(one, one, Array(np.ones((1, 1))))


def test_a_handle_for_each_stream_and_thread(cublas):
    for cublas.stream in (7, 7, 9, 7):
        product()
    other = threading.Thread(target=product)
    other.start()
    other.join()
    assert cublas.log.count("create") == 3
    assert [entry[1] for entry in cublas.log if entry[0] == "sgemm"] == [7, 7, 9, 7, 7]
    assert cublas.memory == [32 << 20] * 3


def test_tf32_is_asked_for(cublas):
    product()
    blas.use_tf32(True)
    product()
    product()
    blas.use_tf32(False)
    product()
    modes = [entry for entry in cublas.log if isinstance(entry, str) and entry != "create"]
    assert modes == ["DEFAULT_MATH", "TF32_TENSOR_OP_MATH", "DEFAULT_MATH"]


def test_without_the_binding(cublas, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvmath", None)
    monkeypatch.delitem(sys.modules, "nvmath.bindings.cublas")
    monkeypatch.delitem(sys.modules, "nvmath.bindings")
    forget()
    with pytest.raises(ImportError, match="nvmath-python is not installed; pip install"):
        product()


def test_a_library_that_does_not_load(cublas, monkeypatch):
    def fail(kind):
        raise RuntimeError("libcublas.so.12 not found\nlong story")

    monkeypatch.setattr(cublas, "get_property", fail)
    forget()
    assert blas.available() == f"cuBLAS does not load (libcublas.so.12 not found); {blas.INSTALL}"


CASES = [("forward", 32, 100, 256), ("backward", 32, 100, 256)]


@pytest.fixture
def clock(cublas, tmp_path, monkeypatch):
    """Times by schedule, and what was timed."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(dense, "MEASURED", {})
    table = types.SimpleNamespace(times={}, asked=[], folder=tmp_path / "cuda")

    def replayed(_, run):
        (case,) = dense.MEASURED  # the schedule that is tried
        table.asked.append((case, dense.MEASURED[case]))
        return table.times.get(dense.MEASURED[case], 10.0)

    monkeypatch.setattr(measuring, "call", lambda xp, case: None)
    monkeypatch.setattr(measuring, "_replayed", replayed)
    return table


def test_the_fastest_is_found_kept_and_found_again(clock):
    clock.times = {"blas": 5.0}
    wanted = dict.fromkeys(CASES, "blas")
    assert measuring.measure([*CASES, *CASES]) == wanted == dense.MEASURED
    assert {name for case, name in clock.asked if case == CASES[0]} == set(measuring.candidates("forward"))
    (file,) = clock.folder.iterdir()
    assert file.name.startswith("table-NVIDIA-Test-100-")
    clock.asked.clear()
    dense.MEASURED.clear()
    assert measuring.measure(CASES) == measuring.load() == wanted == dense.MEASURED
    assert clock.asked == []


def test_the_built_in_choice_stays_unless_clearly_beaten(clock):
    clock.times = {"blas": 9.7}
    built_in = dense.schedule(*CASES[0])
    assert measuring.measure(CASES[:1]) == {CASES[0]: built_in}
    assert built_in in measuring.candidates("forward")


def test_without_cublas_it_is_not_tried_and_an_old_choice_of_it_is_dropped(clock, monkeypatch):
    clock.times = {"blas": 5.0}
    measuring.measure(CASES)
    dense.MEASURED.clear()
    with monkeypatch.context() as patch:
        patch.setattr(blas, "available", lambda: "it is not installed")
        assert measuring.load() == dense.MEASURED == {}
        assert "blas" not in measuring.candidates("forward")


def test_a_schedule_that_fails_is_not_chosen(clock, monkeypatch):
    def fails(_, run):
        if dense.MEASURED[CASES[0]] == "blas":
            raise RuntimeError("out of memory")
        return 10.0

    monkeypatch.setattr(measuring, "_replayed", fails)
    assert "blas" not in measuring.measure(CASES[:1]).values()
    assert list(dense.MEASURED) == CASES[:1]


@pytest.mark.parametrize("text", ["", "[[]]", '[["forward", "x", 1, 1, "blas"]]', "{}", "[1]", "null"])
def test_a_damaged_table_counts_as_none(clock, text):
    measuring.measure(CASES[:1])
    (file,) = clock.folder.iterdir()
    assert len(measuring.load()) == 1
    file.write_text(text)
    assert measuring.load() == {}


FORMS = ("forward", "tangent", "backward", "weight_gradients", "forward_norm", "NN", "NT", "TN")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_run_as_the_case_it_is_measured_for(form, monkeypatch):
    """The host functions ask for exactly the schedule that is being tried."""
    asked, runs = [], []
    monkeypatch.setattr(dense, "schedule", lambda *case: asked.append(case) or "32x8")
    monkeypatch.setattr(launching.Kernel, "__call__", lambda *a, **k: runs.append(a[0].name))
    measuring.call(np, (form, 12, 20, 8))()
    assert asked == [(form, 12, 20, 8)]
    assert len(runs) == 1


def test_a_launch_is_timed_inside_a_graph():
    cupy, captured = MagicMock(), []
    stream = cupy.cuda.Stream.return_value
    cupy.cuda.get_elapsed_time.return_value = 0.1  # ms
    time = measuring._replayed(cupy, lambda: captured.append(stream.begin_capture.called))
    assert captured.count(True) == measuring.LAUNCHES
    assert stream.end_capture.return_value.launch.call_count == measuring.REPEATS
    assert time == pytest.approx(100 / measuring.LAUNCHES)


def test_an_error_ends_the_capture():
    cupy = MagicMock()
    stream = cupy.cuda.Stream.return_value

    def fails():
        assert not stream.begin_capture.called, "too large"

    with pytest.raises(AssertionError, match="too large"):
        measuring._replayed(cupy, fails)
    assert stream.end_capture.called
