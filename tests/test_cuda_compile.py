"""Every CUDA kernel as machine code for three generations of GPUs: no float64, nothing spilled, wide loads where meant.

No GPU is needed, and the code is the one that runs on a GPU. Each check is also shown a kernel that breaks its rule.
"""

import re

import cuda_builds
import pytest
from cuda_builds import CAPABILITIES

from fastgan.kernels.cuda import building
from fastgan.kernels.cuda.building import architecture, build, kernels, problem, threads
from fastgan.kernels.cuda.launching import FLOAT, IN, INT, LONG, OUT, Kernel

REGISTERS = 128  # of a thread: two blocks of 256 on a multiprocessor
FILE = 65536  # registers of a multiprocessor, and of a block at most
SHARED = 48 << 10  # bytes of shared memory that need no opting in
TYPES = {"int32": ".u32", "uint32": ".u32", "int64": ".u64", "float32": ".f32"}


@pytest.fixture(autouse=True, scope="module")
def _compiler():
    reason = problem()
    if reason:
        pytest.skip(f"kernels cannot be built here: {reason}")


@pytest.fixture(scope="module")
def everything():
    """Kernels by name, and what each is on each architecture."""
    by_name = {kernel.name: kernel for kernel in kernels()}
    return by_name, cuda_builds.compile_all(list(by_name))


def wide(kernel, names):
    """Whether a kernel is meant to read 16 bytes at a time: the name says so, or another's says that it does not."""
    return kernel.name.endswith("4") or "vector" in kernel.name or f"{kernel.name}_scalar" in names


def instructions(ptx):
    """PTX without comments and declarations of its own making."""
    return re.sub(r"//[^\n]*", "", ptx)


def code_faults(kernel, ptx, *, wide):
    """What is wrong with a kernel's PTX."""
    found, text = [], instructions(ptx)
    if ".f64" in text:
        found.append("float64: " + next(line.strip() for line in text.splitlines() if ".f64" in line))
    if re.search(r"\bcall\b", text):
        found.append("a function that is not inlined")
    if ".local" in text:
        found.append("an array in local memory, which is slow")
    if wide and not re.search(r"ld\.global(\.nc)?\.v4\.f32", text):
        found.append("no 16-byte load")
    if re.search(r"\.shared \.align [1248]\b", text) and ".shared.v4" in text:
        found.append("a 16-byte access to a shared array that starts anywhere")
    if re.search(r"\b(atom|red)\.[\w.]*f(32|64)", text):
        found.append("a sum whose order is not fixed")
    declared = re.findall(r"\.param (?:\.align \d+ )?(\.\w+)", text.partition(")")[0])
    wanted = [".u64" if a.pointer else TYPES[a.dtype] for a in kernel.arguments]
    if declared != wanted:
        found.append(f"parameters {declared}, wanted {wanted}")
    return found


def machine_faults(kernel, built):
    """What is wrong with a kernel's machine code."""
    found = []
    if built.spills:
        found.append(f"{built.spills} bytes spilled")
    if built.registers > REGISTERS or built.registers * threads(kernel) > FILE:
        found.append(f"{built.registers} registers for {threads(kernel)} threads")
    if built.shared > SHARED:
        found.append(f"{built.shared} bytes of shared memory")
    return found


def test_code(everything):
    by_name, built = everything
    faults = {
        name: code_faults(kernel, built[name][CAPABILITIES[0]].ptx, wide=wide(kernel, by_name))
        for name, kernel in by_name.items()
    }
    assert {name: found for name, found in faults.items() if found} == {}


@pytest.mark.parametrize("cc", CAPABILITIES, ids=architecture)
def test_machine_code(everything, cc):
    by_name, built = everything
    faults = {name: machine_faults(kernel, built[name][cc]) for name, kernel in by_name.items()}
    assert {name: found for name, found in faults.items() if found} == {}


def test_names_are_one_each_and_some_kernels_are_wide(everything):
    by_name, _ = everything
    assert len(by_name) == len(kernels())
    assert sum(wide(kernel, by_name) for kernel in by_name.values()) > 3


def test_every_family_has_kernels():
    for family in building.FAMILIES:
        module = building.import_module(f"fastgan.kernels.cuda.{family}")
        assert module.KERNELS, family
        assert all(isinstance(kernel, Kernel) for kernel in module.KERNELS)


def one_minus(x, y, b, n):
    y[n] = (1 - b) * x[n]  # the 1 is an int64, so the difference is a float64


def literal(x, y, b, n):
    y[n] = x[n] * 0.1


def square_root(x, y, b, n):
    y[n] = x[n] ** 0.5


ARGUMENTS = (IN, OUT, FLOAT, INT)


@pytest.mark.parametrize("body", [one_minus, literal, square_root])
def test_float64_is_found(body):
    kernel = Kernel(body, ARGUMENTS, block=32)
    assert "float64" in str(code_faults(kernel, build(kernel, (8, 0), ptx=True).ptx, wide=False))


def test_a_narrow_load_is_found():
    def copy4(x, y, b, n):
        for k in range(4):
            y[4 * n + k] = x[4 * n + k]

    kernel = Kernel(copy4, ARGUMENTS, block=32)
    assert wide(kernel, {"copy4"})
    assert code_faults(kernel, build(kernel, (8, 0), ptx=True).ptx, wide=True) == ["no 16-byte load"]


def test_a_wide_load_is_seen():
    from fastgan.kernels.cuda.vector import ld4, st4

    def copy_vector(x, y, b, n):
        p, q, r, s = ld4(x, n)
        st4(y, n, p, q, r, s)

    kernel = Kernel(copy_vector, ARGUMENTS, block=32)
    assert code_faults(kernel, build(kernel, (8, 0), ptx=True).ptx, wide=True) == []


def test_spills_and_registers_are_found():
    """With 1,024 threads a thread has 64 registers; this keeps two hundred numbers while it waits."""
    from numba import cuda

    lines = [f" a{k} = x[{k} * n]" for k in range(200)] + [" cuda.syncthreads()"]
    lines += [f" y[{k} * n] = a{k} * a{199 - k} + b" for k in range(200)]
    names = {"cuda": cuda}
    exec("def many(x, y, b, n):\n" + "\n".join(lines), names)
    kernel = Kernel(names["many"], ARGUMENTS, block=1024)
    assert "bytes spilled" in str(machine_faults(kernel, build(kernel, (8, 0))))
    kernel = Kernel(names["many"], ARGUMENTS, block=32)
    assert "registers for 32 threads" in str(machine_faults(kernel, build(kernel, (8, 0))))


def test_wrong_parameters_are_found():
    kernel = Kernel(literal, ARGUMENTS, block=32)
    ptx = build(kernel, (8, 0), ptx=True).ptx
    kernel.arguments = (IN, OUT, FLOAT, LONG)
    assert "parameters" in str(code_faults(kernel, ptx, wide=False))


def test_atomics_calls_and_local_arrays_are_found():
    from numba import cuda, float32

    def local(x, y, b, n):
        kept = cuda.local.array(16, float32)
        for k in range(16):
            kept[k] = x[k]
        y[n] = kept[n]

    kernel = Kernel(local, ARGUMENTS, block=32)
    assert "local memory" in str(code_faults(kernel, build(kernel, (8, 0), ptx=True).ptx, wide=False))
    adds = ".visible .entry k(.param .u64 a)\n{ atom.global.add.f32 f, [rd], g; }"
    assert "order is not fixed" in str(code_faults(Kernel(local, (IN,), block=32), adds, wide=False))
    called = ".visible .entry k(.param .u64 a)\n{ call.uni f, (r); }"
    assert "not inlined" in str(code_faults(Kernel(local, (IN,), block=32), called, wide=False))
    odd = ".visible .entry k(.param .u64 a)\n{ .shared .align 4 .b8 s[20]; ld.shared.v4.f32 {a, b, c, d}, [s]; }"
    assert "starts anywhere" in str(code_faults(Kernel(local, (IN,), block=32), odd, wide=False))
