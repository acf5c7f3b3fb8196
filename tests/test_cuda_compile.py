"""Every CUDA kernel as machine code for three generations of GPUs: no float64, nothing spilled, wide loads where meant,
and what of rounding and NaN no simulator shows.

No GPU is needed, and the code is the one that runs on a GPU. Each check is also shown a kernel that breaks its rule.
"""

import re

import cuda_builds
import pytest
from cuda_builds import CAPABILITIES
from numba import cuda, float32

from fastgan.kernels.cuda import batch, noise, update
from fastgan.kernels.cuda.building import architecture, build, kernels, problem, threads
from fastgan.kernels.cuda.launching import FLOAT, IN, INOUT, INT, LONG, OUT, Kernel, kernels_of
from fastgan.kernels.cuda.vector import ld4, st4

ARGUMENTS = (IN, OUT, FLOAT, INT)
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
    reads = any(a.reads and a.dtype == "float32" for a in kernel.arguments)  # noise only writes
    access, kind = ("ld", "load") if reads else ("st", "store")
    if wide and not re.search(rf"{access}\.global(\.nc)?\.v4\.f32", text):
        found.append(f"no 16-byte {kind}")
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


EXACT = [*noise.NORMAL.each.values(), *noise.UNIFORM.each.values(), *batch.ASSEMBLE.values()]


def operations(ptx):
    """Names of a kernel's float32 instructions, with their rounding."""
    return set(re.findall(r"\b((?:add|sub|mul|fma|div|sqrt|rsqrt|rcp|min|max|mad)\.[\w.]*f32)\b", ptx))


@pytest.mark.parametrize("kernel", EXACT, ids=lambda kernel: kernel.name)
def test_every_operation_of_what_promises_the_cpus_bits_is_rounded_by_itself(kernel, everything):
    """mul.f32 without .rn would be an offer to the assembler to fuse it."""
    found = operations(everything[1][kernel.name][CAPABILITIES[0]].ptx)
    assert found
    assert found <= {"add.rn.f32", "sub.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32"}


def test_a_fused_operation_is_found():
    kernel = batch.ASSEMBLE["float32", True]
    usual = Kernel(kernel.body, kernel.arguments, block=kernel.block, name="usual")
    assert "fma.rn.f32" in operations(build(usual, (8, 0), ptx=True).ptx)


@pytest.mark.parametrize("kernel", kernels_of(update.UPDATE), ids=lambda kernel: kernel.name)
def test_clipping_does_not_drop_a_nan(kernel, everything):
    """min.f32 and max.f32 return the other operand; comparisons are false and leave it."""
    assert not {"min.f32", "max.f32"} & operations(everything[1][kernel.name][CAPABILITIES[0]].ptx)


def test_clipping_that_drops_a_nan_is_found():
    def clip(p, most):
        p[0] = min(max(p[0], -most), most)

    ptx = build(Kernel(clip, (INOUT, FLOAT), block=32), (8, 0), ptx=True).ptx
    assert {"min.f32", "max.f32"} <= operations(ptx)


def one_minus(x, y, b, n):
    y[n] = (1 - b) * x[n]  # the 1 is an int64, so the difference is a float64


def literal(x, y, b, n):
    y[n] = x[n] * 0.1


def square_root(x, y, b, n):
    y[n] = x[n] ** 0.5


def copy4(x, y, b, n):
    for k in range(4):
        y[4 * n + k] = x[4 * n + k]


def copy_vector(x, y, b, n):
    p, q, r, s = ld4(x, n)
    st4(y, n, p, q, r, s)


def local(x, y, b, n):
    kept = cuda.local.array(16, float32)
    for k in range(16):
        kept[k] = x[k]
    y[n] = kept[n]


PLANTED = [
    *((body, False, "float64") for body in (one_minus, literal, square_root)),
    (copy4, True, "['no 16-byte load']"),
    (copy_vector, True, "[]"),
    (local, False, "local memory"),
    ("atom.global.add.f32 f, [rd], g;", False, "order is not fixed"),
    ("call.uni f, (r);", False, "not inlined"),
    (".shared .align 4 .b8 s[20]; ld.shared.v4.f32 {a, b, c, d}, [s];", False, "starts anywhere"),
]


@pytest.mark.parametrize(("code", "is_wide", "said"), PLANTED)
def test_what_a_rule_forbids_is_found(code, is_wide, said):
    if isinstance(code, str):
        kernel, ptx = Kernel(local, (IN,), block=32), f".visible .entry k(.param .u64 a)\n{{ {code} }}"
    else:
        kernel = Kernel(code, ARGUMENTS, block=32)
        ptx = build(kernel, (8, 0), ptx=True).ptx
    assert said in str(code_faults(kernel, ptx, wide=is_wide))


def test_wrong_parameters_are_found():
    kernel = Kernel(literal, ARGUMENTS, block=32)
    ptx = build(kernel, (8, 0), ptx=True).ptx
    kernel.arguments = (IN, OUT, FLOAT, LONG)
    assert "parameters" in str(code_faults(kernel, ptx, wide=False))
    assert wide(Kernel(copy4, ARGUMENTS, block=32), {"copy4"})


def test_spills_and_registers_are_found():
    """With 1,024 threads a thread has 64 registers; this keeps two hundred numbers while it waits."""
    lines = [f" a{k} = x[{k} * n]" for k in range(200)] + [" cuda.syncthreads()"]
    lines += [f" y[{k} * n] = a{k} * a{199 - k} + b" for k in range(200)]
    names = {"cuda": cuda}
    exec("def many(x, y, b, n):\n" + "\n".join(lines), names)
    for block, said in ((1024, "bytes spilled"), (32, "registers for 32 threads")):
        kernel = Kernel(names["many"], ARGUMENTS, block=block)
        assert said in str(machine_faults(kernel, build(kernel, (8, 0))))
