"""Building kernels without a GPU: what comes out, what is kept on the disk, and one line where it cannot be done."""

import subprocess
import sys
import threading
import types
from importlib import metadata

import numpy as np
import pytest
from numba import float32

from fastgan.kernels.cuda import building, keeping, launching
from fastgan.kernels.cuda.building import CannotBuild, build, kept, load, problem
from fastgan.kernels.cuda.launching import FLOAT, IN, IN_BYTES, INOUT_LONGS, INT, LONG, OUT, WORD, Kernel

CC = (8, 0)


@pytest.fixture(autouse=True, scope="module")
def _compiler():
    reason = problem()
    if reason:
        pytest.skip(f"kernels cannot be built here: {reason}")


def plus(x, y, n):
    from_here = n - 1
    y[from_here] = x[0] * x[1] + y[0]


def make(number):
    def fill(y, n):
        y[n] = float32(number)

    return Kernel(fill, (OUT, INT), block=32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of kept kernels, empty."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path / "cuda"


@pytest.fixture
def builds(monkeypatch):
    """Names of the kernels that were really built."""
    names = []
    monkeypatch.setattr(building, "build", lambda kernel, cc: names.append(kernel.name) or build(kernel, cc))
    return names


def test_what_is_built():
    built = build(Kernel(plus, (IN, OUT, INT), block=(16, 8)), (9, 0, "a"), ptx=True)
    assert built.cubin.startswith(b"\x7fELF")
    assert built.entry.encode() in built.cubin
    assert 0 < built.registers < 64
    assert (built.spills, built.shared) == (0, 0)
    assert ".target sm_90a" in built.ptx
    assert ".maxntid 128, 1, 1" in built.ptx
    assert build(make(1), CC).ptx is None


def test_every_kind_of_argument():
    def all_kinds(a, b, c, d, e, f, g):
        c[0] = int(a[0]) + int(b[0]) + d + e + int(f) + int(g)

    kinds = (IN, IN_BYTES, INOUT_LONGS, INT, LONG, WORD, FLOAT)
    built = build(Kernel(all_kinds, kinds, block=32), CC, ptx=True)
    parameters = [line.split()[1] for line in built.ptx.splitlines() if line.strip().startswith(".param")]
    assert parameters == [".u64", ".u64", ".u64", ".u32", ".u64", ".u32", ".f32"]


def test_options(monkeypatch):
    linked, link = [], building._link
    kernel = Kernel(plus, (IN, OUT, INT), block=64)
    assert "fma.rn.f32" in build(kernel, CC, ptx=True).ptx
    kernel.options = {"fma": False, "blocks": 4}
    ptx = build(kernel, CC, ptx=True).ptx
    assert "fma" not in ptx
    assert ".minnctapersm 4" in ptx
    monkeypatch.setattr(building, "_link", lambda *given: linked.append(given[2]) or link(*given))
    build(kernel, CC)
    assert linked == [["-fma=0", "-Xptxas=-v"]]  # the machine code too, not the PTX alone
    kernel.options = {"fast": True}
    with pytest.raises(TypeError, match=r"plus: got options \['fast'\], wanted some of blocks, fma"):
        build(kernel, CC)


def test_shared_arrays_start_on_16_bytes():
    from numba import cuda

    def shared(y, n):
        first = cuda.shared.array(5, float32)
        second = cuda.shared.array(7, float32)
        first[n], second[n] = y[0], y[1]
        cuda.syncthreads()
        y[0], y[1] = first[0], second[0]

    built = build(Kernel(shared, (OUT, INT), block=32), CC, ptx=True)
    assert built.ptx.count(".shared .align 16") == 2
    assert built.shared == 60


def test_inner_functions_need_no_gpu():
    from numba import cuda

    inner = cuda.jit(device=True)(lambda x: x + float32(1))

    def outer(y, n):
        y[n] = inner(y[n])

    assert build(Kernel(outer, (OUT, INT), block=32), CC).spills == 0
    dispatcher = sys.modules["numba.cuda.dispatcher"]
    assert dispatcher.get_current_device.__module__ == "numba.cuda.api"


def test_a_numpy_without_row_stack():
    """NumPy 2.5 has removed what numba-cuda 0.30 overloads at its first compilation; the name is not left behind."""
    code = (
        "import numpy as np; vars(np).pop('row_stack', None)\n"
        "from fastgan.kernels.cuda import building\n"
        "assert building.compiler_problem() is None, building.compiler_problem()\n"
        "assert not hasattr(np, 'row_stack')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_threads_build_at_once():
    got = {}
    kernels = [make(float(k)) for k in range(4)]
    ends = [
        threading.Thread(target=lambda k=k: got.update({k: build(kernels[k], CC, ptx=True).ptx}))
        for k in range(4)
    ]
    for thread in ends:
        thread.start()
    for thread in ends:
        thread.join()
    constants = [f"{int(np.float32(k).view(np.uint32))}" for k in range(4)]
    assert all(constants[k] in got[k] for k in range(4))


def test_a_kernel_is_built_once_and_then_read(cache, builds):
    first, second = kept(make(1.0), CC), kept(make(1.0), CC)
    assert builds == ["fill"]
    assert first == second
    assert [file.suffix for file in cache.iterdir()] == [".cubin"]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: b"[1]\n" + raw, lambda raw: raw[1:]]
)
def test_a_damaged_file_is_built_anew(cache, builds, damage):
    right = kept(make(1.0), CC)
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert kept(make(1.0), CC).cubin[:4] == right.cubin[:4]
    assert kept(make(1.0), CC).registers == right.registers
    assert builds == ["fill", "fill"]


def test_whatever_changes_the_code_changes_the_file(cache, builds, monkeypatch):
    kernel = make(1.0)
    kept(kernel, CC)
    kept(kernel, (9, 0, "a"))
    kept(make(2.0), CC)
    kernel.options = {"fma": False}
    kept(kernel, CC)
    kept(Kernel(kernel.body, kernel.arguments, block=64), CC)
    kept(Kernel(kernel.body, (OUT, LONG), block=32), CC)
    for place, name in ((building, "_versions"), (building, "sources")):
        monkeypatch.setattr(place, name, lambda *_: ("another",))
        kept(make(1.0), CC)
    assert len(builds) == len(list(cache.iterdir())) == 8


def test_a_body_is_told_by_what_it_closes_over():
    def outer(inner):
        return lambda x: inner(x)

    same, other = keeping.identity(outer(abs)), keeping.identity(outer(len))
    assert same == keeping.identity(outer(abs)) != other
    assert keeping.identity(outer(make(1).body)) != keeping.identity(outer(make(2).body))
    assert " at 0x" not in repr(keeping.identity(outer(object())))


def test_nowhere_to_write(tmp_path, monkeypatch, builds):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert kept(make(1.0), CC) is not None
    assert builds == ["fill"]


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(keeping.os, "replace", full)
    assert kept(make(1.0), CC).spills == 0
    assert list(cache.iterdir()) == []


class Driver:
    """A stand-in for CuPy's loader."""

    def __init__(self, capability="90", error=None):
        self.loaded, driver = [], self

        class Module:
            def load(self, cubin):
                if error:
                    raise error
                driver.loaded.append(cubin)

            def get_function(self, name):
                assert name.encode() in driver.loaded[-1]
                return name

        self.cuda = types.SimpleNamespace(
            Device=lambda: types.SimpleNamespace(compute_capability=capability),
            function=types.SimpleNamespace(Module=Module),
        )


@pytest.mark.parametrize(("capability", "target"), [("90", (9, 0, "a")), ("80", (8, 0)), ("120", (12, 0))])
def test_loading(cache, monkeypatch, capability, target):
    driver, asked = Driver(capability), []
    monkeypatch.setitem(sys.modules, "cupy", driver)
    monkeypatch.setattr(building, "build", lambda kernel, cc: asked.append(cc) or build(kernel, cc))
    assert "fill" in load(make(1.0))
    assert asked == [target]


def test_what_does_not_load_is_said_in_one_line(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", Driver(error=ValueError("no binary for this GPU\nat line 3")))
    with pytest.raises(CannotBuild, match=r"^fill does not load: no binary for this GPU$"):
        load(make(1.0))
    monkeypatch.setattr(building, "problem", lambda: "libnvvm is not found")
    with pytest.raises(ImportError, match=r"^libnvvm is not found$"):
        load(make(1.0))


def test_problem_numba_cuda_missing(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "numba-cuda":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert problem() == f"numba-cuda is not installed; {building.INSTALL}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("libnvvm.so: cannot open shared object file"), "libnvvm is not found; pip install"),
        (ValueError("odd\nlong"), r"numba-cuda does not compile \(odd\); pip install"),
    ],
)
def test_problem_of_the_compiler(monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(building, "_library", fail)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problem())


def test_problem_of_the_linker(monkeypatch):
    from cuda.bindings import nvjitlink

    def fail(*_):
        raise RuntimeError("libnvJitLink.so.12 not found")

    with monkeypatch.context() as patch:
        patch.setattr(building, "_link", fail)
        assert "does not link what libnvvm makes (libnvJitLink.so.12 not found)" in problem()
    monkeypatch.setattr(nvjitlink, "version", fail)
    assert problem().startswith("nvJitLink is not found (libnvJitLink.so.12 not found); pip install")


@pytest.mark.parametrize(
    ("driver", "told"), [((11, 4), True), ((12, 0), False), ((13, 1), False), (None, False)]
)
def test_problem_of_the_driver(monkeypatch, driver, told):
    from cuda.bindings import nvjitlink

    monkeypatch.setattr(building, "driver_version", lambda: driver)
    monkeypatch.setattr(nvjitlink, "version", lambda: (12, 9))
    wanted = 'the driver is for CUDA 11.4, the toolkit is 12.9; install a newer driver, or pip install "fastgan[cu11]"'
    assert problem() == (wanted if told else None)


def test_problem_two_wheels_and_the_simulator(monkeypatch):
    monkeypatch.setattr(building, "cupy_wheels", lambda: {"cupy-cuda12x": "14.2", "cupy-cuda13x": "14.2"})
    assert problem().startswith(
        "two CuPy packages are installed: cupy-cuda12x, cupy-cuda13x; pip uninstall cupy-"
    )
    monkeypatch.setattr(building, "SIMULATED", True)
    assert "NUMBA_ENABLE_CUDASIM" in problem()


def test_the_trial_is_no_kernel_of_a_family():
    assert building.TRIAL.name not in {kernel.name for kernel in building.kernels()}
    assert launching.SIMULATED is False
