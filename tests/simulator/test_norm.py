"""Batch norm's kernels against their array code, in the simulator: beyond 32 rows and 8 columns, and ragged."""

import numpy as np
import pytest
from simulator.sim_helpers import assert_as_good, draw, precise
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan.dispatch import use_kernels
from fastgan.kernels.cuda import norm, sums
from fastgan.ops.norm import norm_backward, norm_forward

ACTS = [("leaky", 0.2), ("leaky", 0.0), ("leaky", 1.0), ("tanh", 1.0), ("sigmoid", 1.0), ("arctan", 1.0)]
SHAPES = [(1, 1), (2, 3), (32, 8), (33, 9), (70, 2)]
SETTINGS = {"eps": 1e-3, "momentum": 0.2, "widening": 1.25}


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code throughout, also where one pass calls another."""
    with use_kernels(False):
        yield


def operands(n, f):
    """x, gamma, beta, mean and variance; x far from 0, so that one pass for the variance would show."""
    return draw(1, n, f) + 50, draw(2, f), draw(3, f), draw(4, f), draw(5, f) ** 2


def forward(arrays, **settings):
    """y, and the running statistics and `stats` as the kernel, array code and array code in float64 leave them."""
    f, results = arrays[0].shape[-1], []
    codes = norm.norm_forward, norm_forward.plain
    for code, dtype in ((codes[0], "float32"), (codes[1], "float32"), (codes[1], "float64")):
        copies, stats = [x.astype(dtype) for x in arrays], np.zeros((2, f), dtype)
        y = code(*copies, stats=stats, **settings)
        results.append((y, *copies, stats))
    return results


def check(arrays, **settings):
    got, plain, exact = forward(arrays, **settings)
    for a, p, e in zip(got, plain, exact, strict=True):
        assert_as_good(a, p, e)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape, training):
    check(operands(*shape), training=training, slope=0.2, **SETTINGS)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("act", "slope"), ACTS)
def test_activations_after_it(act, slope, training):
    check(operands(5, 3), training=training, act=act, slope=slope, **SETTINGS)


def test_statistics_need_not_be_kept():
    arrays = operands(5, 3)
    with_stats = norm.norm_forward(
        *(x.copy() for x in arrays), stats=np.zeros((2, 3), np.float32), **SETTINGS
    )
    np.testing.assert_array_equal(norm.norm_forward(*(x.copy() for x in arrays), **SETTINGS), with_stats)


def test_a_nan_stays_in_its_column():
    arrays = operands(33, 9)
    arrays[0][32, 8] = np.nan
    y = norm.norm_forward(*arrays, **SETTINGS)
    assert np.isnan(y).any(axis=0).tolist() == [False] * 8 + [True]
    assert np.isnan(y[:, 8]).all()


@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("shape", [(2, 3), (33, 9), (64, 16), (70, 1), (2, 35, 1, 6)])
def test_backward(shape, act, slope):
    f, axes = shape[-1], tuple(range(len(shape) - 1))
    u, x, gamma = draw(1, *shape), draw(2, *shape), draw(3, f)
    stats = np.stack([x.mean(axis=axes), 1 / np.sqrt(x.var(axis=axes) + 1e-3)])

    def run(code, dtype):
        out = {"ggamma": np.zeros(f, dtype), "gbeta": np.zeros(f, dtype)}
        arrays = [a.astype(dtype) for a in (u, x, gamma, stats)]
        y = code(*arrays, act=act, slope=slope, **out)
        for before, after in zip((u, x, gamma, stats), arrays, strict=True):
            np.testing.assert_array_equal(before, after)
        return y, out["ggamma"], out["gbeta"]

    plain = norm_backward.plain
    for got, p, e in zip(
        run(norm.norm_backward, "float32"), run(plain, "float32"), run(plain, "float64"), strict=True
    ):
        assert_as_good(got, p, e)


def test_backward_is_the_derivative():
    """Of the sum of u * y, by differences of the kernel's own forward pass."""
    n, f, step = 6, 2, 1e-2
    u, x, gamma, beta = draw(1, n, f), draw(2, n, f), draw(3, f), draw(4, f)
    stats, ggamma, gbeta = (np.zeros(s, np.float32) for s in ((2, f), f, f))

    def loss(x):
        y = norm.norm_forward(x, gamma, beta, beta.copy(), beta.copy(), eps=1e-3, stats=stats)
        return float((y.astype(np.float64) * u).sum())

    loss(x)
    got = norm.norm_backward(u, x, gamma, stats.copy(), ggamma=ggamma, gbeta=gbeta)
    for k in range(n):
        there, back = x.copy(), x.copy()
        there[k, 1] += step
        back[k, 1] -= step
        assert abs((loss(there) - loss(back)) / (2 * step) - got[k, 1]) < 2e-3


def declined(call, *arrays, **settings):
    return call(*arrays, **settings) is NotImplemented


def test_what_does_not_fit_is_left_to_array_code():
    x, gamma, beta, mean, variance = operands(5, 3)
    short = draw(1, 2)
    assert declined(norm.norm_forward, x, short, beta, mean, variance, **SETTINGS)
    assert declined(norm.norm_forward, x, gamma, beta, short, variance, **SETTINGS)
    assert declined(norm.norm_forward, x[0], gamma, beta, mean, variance, **SETTINGS)
    assert declined(norm.norm_forward, x, gamma, beta, mean, variance, act="softplus", **SETTINGS)
    assert declined(norm.norm_forward, x, gamma, beta, mean, variance, slope=2.0, **SETTINGS)
    double = np.zeros((2, 3))
    assert declined(norm.norm_forward, x, gamma, beta, mean, variance, stats=double, **SETTINGS)
    assert precise(norm.norm_forward, x, gamma, beta, mean, variance, **SETTINGS) is NotImplemented
    out = {"ggamma": np.zeros(3, np.float32), "gbeta": np.zeros(3, np.float32)}
    assert declined(norm.norm_backward, x[:4], x, gamma, np.zeros((2, 3), np.float32), **out)
    assert declined(norm.norm_backward, x, x, gamma, np.zeros((3, 2), np.float32), **out)
    assert declined(
        norm.norm_backward, x, x, gamma, np.zeros((2, 3), np.float32), **out | {"gbeta": np.zeros(3)}
    )


# (..., f): two axes and four, one feature, columns in fours and not, more columns than a block has; then two slices
SHAPES_AND_SLICES = [(7, 8), (3, 2, 5, 4), (2, 3, 4, 3), (70, 1), (9, 37), (71, 33), (1, 71, 1, 36)]


@pytest.fixture(autouse=True)
def slices(monkeypatch):
    """Slices of few rows, as those of images have many; and no block that owns more than 60."""
    monkeypatch.setattr(sums, "PASSES", 1)
    monkeypatch.setattr(norm, "FEW", 60)


@pytest.mark.parametrize("shape", SHAPES_AND_SLICES)
def test_images_and_slices(shape, launched):  # noqa: F811
    arrays = draw(1, *shape) + 30, *operands(1, shape[-1])[1:]
    check(arrays, slope=0.2, **SETTINGS)
    assert len(launched) == (2 if arrays[0].size > 60 * shape[-1] else 1)
    check(arrays, slope=0.2, training=False, **SETTINGS)


def test_moments_of_rows_that_differ_much():
    """The mean lies 10,000 deviations from 0, where the difference of two large sums would have no digit right."""
    _, gamma, beta, mean, variance = operands(1, 4)
    x, stats = draw(1, 90, 4) + np.float32(1e4), np.zeros((2, 4), np.float32)
    norm.norm_forward(x, gamma, beta, mean, variance, eps=1e-3, stats=stats)
    wide = x.astype(float)
    np.testing.assert_allclose(stats[0], wide.mean(axis=0), rtol=3e-7)
    np.testing.assert_allclose(stats[1], 1 / np.sqrt(wide.var(axis=0) + 1e-3), rtol=1e-4)
