"""What of rounding and NaN only machine code shows, and no simulator: the PTX of kernels that promise the CPU's bits.

No GPU is needed. Each check is also shown a kernel that breaks its rule.
"""

import re

import pytest

from fastgan.kernels.cuda import batch, noise, update
from fastgan.kernels.cuda.building import build, problem
from fastgan.kernels.cuda.launching import FLOAT, INOUT, Kernel

EXACT = [*noise.KERNELS, *batch.ASSEMBLE.values()]


@pytest.fixture(autouse=True, scope="module")
def _compiler():
    reason = problem()
    if reason:
        pytest.skip(f"kernels cannot be built here: {reason}")


def ptx_of(kernel):
    return build(kernel, (8, 0), ptx=True).ptx


def operations(ptx):
    """Names of float32 instructions, with their rounding."""
    return set(re.findall(r"\b((?:add|sub|mul|fma|div|sqrt|rsqrt|rcp|min|max|mad)\.[\w.]*f32)\b", ptx))


@pytest.mark.parametrize("kernel", EXACT, ids=lambda kernel: kernel.name)
def test_every_operation_is_rounded_by_itself(kernel):
    """mul.f32 without .rn would be an offer to the assembler to fuse it."""
    found = operations(ptx_of(kernel))
    assert found
    assert found <= {"add.rn.f32", "sub.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32"}


def test_a_fused_operation_is_found():
    for kernel in (noise.NORMAL, batch.ASSEMBLE["uint8", True]):
        usual = Kernel(kernel.body, kernel.arguments, block=kernel.block, name="usual")
        assert "fma.rn.f32" in operations(ptx_of(usual))


@pytest.mark.parametrize("kernel", update.KERNELS, ids=lambda kernel: kernel.name)
def test_clipping_does_not_drop_a_nan(kernel):
    """min.f32 and max.f32 return the other operand; comparisons are false and leave it."""
    assert not {"min.f32", "max.f32"} & operations(ptx_of(kernel))


def test_clipping_that_drops_a_nan_is_found():
    def clip(p, most):
        p[0] = min(max(p[0], -most), most)

    assert {"min.f32", "max.f32"} <= operations(ptx_of(Kernel(clip, (INOUT, FLOAT), block=32)))
