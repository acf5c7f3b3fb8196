"""Kernels against the array code they replace: as accurate, with NaN where it has NaN, and none missing in the table.

A kernel's tolerance is the array code's own error, both measured against the array code in float64.
"""

import inspect
from importlib import import_module

import numpy as np
import pytest
from kernel_cases import DeclinedError, on_cpu, results, samples

from fastgan import fused, ops, optim
from fastgan.device import module_of
from fastgan.dispatch import Fusable, use_kernels
from fastgan.gan import batches
from fastgan.ops.loss import SCORE_LOSSES
from fastgan.ops.norm import norm_forward
from fastgan.tape import Tensor


def entry_name(entry: tuple[Fusable, str, str, str]) -> str:
    return f"{entry[1]}-{entry[3]}"


ENTRIES = [
    pytest.param(entry, id=entry_name(entry), marks=[pytest.mark.gpu] if entry[1] == "cupy" else [])
    for entry in fused.TABLE
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_as_accurate_as_the_array_code(entry: tuple[Fusable, str, str, str]) -> None:
    fusable, library, module, function = entry
    kernel = getattr(import_module(f"fastgan.kernels.{module}"), function)
    xp = module_of("cpu" if library == "numpy" else "cuda")
    taken = 0
    for operands, settings in samples(fusable):
        exact = results(fusable.plain, [x.astype(np.float64) for x in operands], settings)
        plain = results(fusable.plain, operands, settings)
        try:
            got = results(kernel, operands, settings, xp)
        except DeclinedError:
            continue
        taken += 1
        for k, p, e in zip(got, plain, exact, strict=True):
            assert k.shape == e.shape
            assert k.dtype == np.float32
            assert abs(k - e).max() <= 2 * abs(p - e).max() + 1e-6 * max(1, abs(e).max())
    assert taken >= (1 if library == "numpy" else 0.5) * len(samples(fusable))


def test_every_entry_has_samples() -> None:
    """Also those that only a GPU tries."""
    assert all(samples(fusable) for fusable, *_ in fused.TABLE)


def test_a_batch_has_the_array_codes_bits() -> None:
    for operands, settings in samples(batches.assemble):
        wanted = results(batches.assemble.plain, operands, settings)
        got = results(on_cpu(batches.assemble), operands, settings)
        assert np.array_equal(got[0].view(np.uint32), wanted[0].view(np.uint32))


def test_every_host_function_is_in_the_table() -> None:
    """A scalar formula has positional arguments only, a kernel's host function takes its settings by keyword."""
    listed = {(module, function) for _, _, module, function in fused.TABLE}
    for name in {module for module, _ in listed}:
        module = import_module(f"fastgan.kernels.{name}")
        for function, code in inspect.getmembers(module, inspect.isfunction):
            own = code.__module__ == module.__name__ and not function.startswith("_")
            if own and inspect.getfullargspec(code).kwonlyargs:
                assert (name, function) in listed


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("kernels", [True, False])
def test_a_gradient_that_is_not_a_number_stays_visible(kernels: bool, clip: float) -> None:
    p, g, m, v = (np.ones(3, np.float32) for _ in range(4))
    g[1] = np.nan
    with use_kernels(kernels):
        optim.adam_update(p, g, m, v, lr=0.1, t=5, b1=0.9, b2=0.999, eps=1e-8, clip=clip)
        assert np.isnan(p).tolist() == [False, True, False]
        optim.rmsprop_update(p, g, v, lr=0.1, alpha=0.9, eps=1e-8, clip=clip)
        assert np.isnan(p).tolist() == [False, True, False]
        x = Tensor(np.array([[np.nan, 1]], np.float32))
        y = ops.linear_leaky_relu(x, Tensor(np.eye(2, dtype=np.float32)), Tensor(np.zeros(2, np.float32)))
        assert np.isnan(y.data).all()


@pytest.mark.parametrize("kernels", [True, False])
def test_an_activation_or_a_loss_of_no_number_is_no_number(kernels: bool) -> None:
    x = np.array([[np.nan, -np.inf, np.inf, -1.0]], np.float32)
    with use_kernels(kernels):
        for act, finite in (({"slope": 0.0}, [0, np.inf, 0]), ({"act": "sigmoid"}, [0, 1, 1 / (1 + np.e)])):
            gamma, beta, mean, variance = np.repeat(np.float32([[1], [0], [0], [1]]), 4, axis=1)
            operands = x, gamma, beta, mean, variance
            y = norm_forward(*operands, eps=0.0, training=False, **act)
            assert np.isnan(y[0, 0])
            np.testing.assert_allclose(y[0, 1:], finite, rtol=1e-6)
        for kind in SCORE_LOSSES:
            loss, d = ops.score_loss.forward(x[:, :1].copy(), kinds=(kind,), counts=(1,))
            assert np.isnan(loss)
            assert loss.shape == ()
            assert loss.dtype == d.dtype == np.float32


@pytest.mark.parametrize("code", [optim.adam_update, optim.rmsprop_update, optim.sgd_update])
def test_an_update_moves_only_parameters_and_state(code: Fusable) -> None:
    operands, settings = samples(code)[0]
    for implementation in (code, code.plain):
        copies = [x.copy() for x in operands]
        implementation(*copies, **settings)
        assert np.array_equal(copies[1], operands[1])
        assert not any(np.array_equal(copies[i], operands[i]) for i in range(len(copies)) if i != 1)
