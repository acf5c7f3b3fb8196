"""CPU kernels of what stands between convolutions on the tape: batch norm, max pooling and sums of leading axes.

As in test_kernels.py, a kernel's tolerance is the array code's own error, both measured against it in float64.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan import fused, ops
from fastgan.dispatch import Fusable, use_kernels
from fastgan.kernels.splitting import over
from fastgan.nn import BatchNorm
from fastgan.tape import Tensor, grad

Arrays = tuple[NDArray[Any], ...]
Case = tuple[Fusable, Arrays, dict[str, Any]]

ROWS = [
    (2, 1),
    (7, 33),
    (130, 10),
    (5, 3, 3, 3),
    (3, 7, 5, 64),
    (4, 28, 28, 1),
    (65, 257),
    (64, 1024),
    (1, 3),
]
WINDOWS = [  # x, size, stride: ragged edges, windows that overlap, and pixels between windows
    ((2, 6, 8, 8), (2, 2), (2, 2)),
    ((3, 7, 5, 33), (2, 2), (2, 2)),
    ((2, 9, 8, 16), (3, 3), (2, 2)),
    ((2, 5, 6, 9), (1, 3), (2, 1)),
    ((1, 8, 9, 12), (2, 1), (3, 4)),
    ((2, 3, 3, 8), (3, 3), (1, 1)),
]
SUMS = [(65_536, 2), (50_001, 3), (4097, 33), (16, 24, 24, 32), (2, 33, 64, 33), (257, 511)]
NORM = (ops.moments, ops.batch_norm.forward, ops.batch_norm_grad.forward, ops.batch_norm_gamma_grad.forward)
POOLING = (ops.max_pool2d.forward, ops.max_pool2d_grad.forward, ops.max_pool2d_pick.forward)
KERNELS = (*NORM, *POOLING, ops.sum_to.forward)


def kernel_of(fusable: Fusable) -> Callable[..., Any]:
    """The CPU kernel of an array code."""
    for code, library, module, function in fused.TABLE:
        if code is fusable and library == "numpy":
            kernel: Callable[..., Any] = getattr(import_module(f"fastgan.kernels.{module}"), function)
            return kernel
    raise LookupError(fusable)


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def norm_cases(shape: tuple[int, ...], *, eps: float = 1e-3, given: bool = False) -> list[Case]:
    """The four of batch norm, with statistics worked out by each or given."""
    x, g = 2 * normal(*shape) + 3, normal(*shape, seed=1)
    gamma, beta = normal(shape[-1], seed=2), normal(shape[-1], seed=3)
    settings: dict[str, Any] = {"eps": eps}
    stats = {"stats": ops.moments.plain(x, eps=eps)} if given else {}
    operands = (x,), (x, gamma, beta), (g, x, gamma), (g, x)
    more = ({}, stats, stats, stats)
    return [(f, xs, settings | m) for f, xs, m in zip(NORM, operands, more, strict=True)]


def pool_cases(shape: tuple[int, ...], size: Any, stride: Any, *, ties: bool = False) -> list[Case]:
    """The three of max pooling; with ties, most windows have several largest elements."""
    x, gg = normal(*shape), normal(*shape, seed=1)
    if ties:
        x = np.maximum(np.round(x), 0)
    settings = {"size": size, "stride": stride}
    g = normal(*ops.max_pool2d.forward.plain(x, **settings).shape, seed=2)
    return [(f, xs, settings) for f, xs in zip(POOLING, ((x,), (g, x), (gg, x)), strict=True)]


def sum_case(shape: tuple[int, ...]) -> Case:
    return ops.sum_to.forward, (normal(*shape) + 1,), {"shape": shape[-1:]}


CASES = [
    *(case for shape in ROWS for given in (False, True) for case in norm_cases(shape, given=given)),
    *(case for plan in WINDOWS for ties in (False, True) for case in pool_cases(*plan, ties=ties)),
    *(sum_case(shape) for shape in SUMS),
]
LARGE = [
    *norm_cases((50, 14, 14, 64)),
    *norm_cases((600_000, 1)),
    *pool_cases((80, 12, 12, 64), (2, 2), (2, 2)),
    *pool_cases((81, 11, 12, 64), (3, 3), (2, 2)),
    sum_case((40, 24, 24, 32)),
    sum_case((199_999, 3)),
]


def case_name(case: Case) -> str:
    fusable, operands, settings = case
    more = {k: v for k, v in settings.items() if k in ("size", "stride")}
    return (
        f"{fusable.plain.__name__}-{operands[0].shape}{more or ''}{'-stats' if 'stats' in settings else ''}"
    )


def error(y: NDArray[Any], case: Case) -> float:
    """The largest distance from the array code in float64."""
    fusable, operands, settings = case
    wide = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    exact = fusable.plain(*(x.astype(np.float64) for x in operands), **wide)
    assert y.shape == exact.shape
    assert y.dtype == np.float32
    return float(abs(y - exact).max() / max(1, abs(exact).max()))


def test_every_kernel_has_a_case() -> None:
    assert {case[0] for case in CASES} == {case[0] for case in LARGE} == set(KERNELS)


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_as_accurate_as_the_array_code_and_no_operand_is_written(case: Case) -> None:
    fusable, operands, settings = case
    before = [x.copy() for x in operands]
    y = kernel_of(fusable)(*operands, **settings)
    assert error(y, case) <= 2 * error(fusable.plain(*operands, **settings), case) + 1e-6
    for x, copy in zip(operands, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("case", [c for c in CASES if c[0] in POOLING], ids=case_name)
def test_pooling_has_the_array_codes_numbers(case: Case) -> None:
    """Ties go to the first, row by row; only sums of overlapping windows may be rounded in another order."""
    fusable, operands, settings = case
    got, wanted = kernel_of(fusable)(*operands, **settings), fusable.plain(*operands, **settings)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 if fusable is POOLING[1] else 0)
    assert ((got != 0) == (wanted != 0)).all()


@pytest.mark.parametrize("f", [2, 3, 32])
@pytest.mark.parametrize("away", [0.0, 30.0])
def test_long_columns_are_at_least_as_exact_as_the_array_codes(f: int, away: float) -> None:
    x = normal(120_001, f) + np.float32(away)
    case: Case = (ops.moments, (x,), {"eps": 1e-5})
    assert error(kernel_of(ops.moments)(x, eps=1e-5), case) <= 2 * error(ops.moments.plain(x, eps=1e-5), case)
    total = kernel_of(ops.sum_to.forward)(x, shape=(f,))
    exact = x.sum(axis=0, dtype=np.float64)
    assert abs(total - exact).max() <= max(2 * abs(x.sum(axis=0) - exact).max(), 1e-7 * abs(exact).max())


def test_a_mean_far_away_that_changes_along_the_rows_leaves_the_variance_exact() -> None:
    """Blocks of rows with means of their own: what they are apart from each other counts."""
    x = normal(70_000, 2) + np.repeat(np.arange(70, dtype=np.float32), 1000)[:, None] + 1000
    inverse = kernel_of(ops.moments)(x, eps=0.0)[1]
    np.testing.assert_allclose(inverse, 1 / x.astype(np.float64).std(axis=0), rtol=2e-6)


@pytest.mark.parametrize("case", LARGE, ids=case_name)
def test_threads_do_not_change_a_bit(case: Case) -> None:
    fusable, operands, settings = case
    alone = kernel_of(fusable)(*operands, **settings)
    for threads in (2, 3):
        with over(threads):
            assert kernel_of(fusable)(*operands, **settings).tobytes() == alone.tobytes()


@pytest.mark.parametrize("tap", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_window_that_holds_a_nan_is_nan_and_has_no_largest_element(tap: tuple[int, int]) -> None:
    x = np.arange(2 * 4 * 4 * 8, dtype=np.float32).reshape(2, 4, 4, 8)
    holes, ones = x.copy(), np.ones((2, 2, 2, 8), np.float32)
    holes[0, tap[0], tap[1]] = np.nan
    operands = (holes,), (ones, holes), (x, holes)
    settings = {"size": (2, 2), "stride": (2, 2)}
    y, gx, picked = (kernel_of(f)(*xs, **settings) for f, xs in zip(POOLING, operands, strict=True))
    assert np.isnan(y[0, 0, 0]).all()
    assert np.isnan(y).sum() == 8
    assert not gx[0, :2, :2].any()
    assert gx.sum() == 7 * 8
    assert not picked[0, 0, 0].any()
    for got, f, xs in zip((y, gx, picked), POOLING, operands, strict=True):
        np.testing.assert_array_equal(got, f.plain(*xs, **settings))


def misfits() -> list[Case]:
    """Operands and settings that loops would read or write past the end of, or that array code does better."""
    x, g, f = np.zeros((4, 6, 6, 8), np.float32), np.zeros((4, 3, 3, 8), np.float32), np.zeros(8, np.float32)
    moments, norm, norm_grad, gamma_grad = NORM
    pool, pool_grad, pick = POOLING
    eps, two = {"eps": 1e-5}, {"size": (2, 2), "stride": (2, 2)}
    short = [{"eps": 1e-5, "stats": s} for s in (np.zeros((2, 7), "f4"), np.zeros((2, 8)), [f, f])]
    return [
        (moments, (np.zeros((), np.float32),), eps),
        (norm, (x, f[:7], f), eps),
        (norm, (x, f, f[:7]), eps),
        (norm, (np.zeros((), np.float32), f, f), eps),
        *((norm, (x, f, f), s) for s in short),
        (norm_grad, (g, x, f), eps),
        (norm_grad, (x, x, f[:7]), eps),
        *((norm_grad, (x, x, f), s) for s in short),
        (gamma_grad, (g, x), eps),
        *((gamma_grad, (x, x), s) for s in short),
        (pool, (x[0],), two),
        (pool, (x[..., :7].copy(),), two),
        (pool, (x,), {"size": (7, 2), "stride": (2, 2)}),
        (pool, (x,), {"size": (2, 7), "stride": (1, 1)}),
        (pool, (x,), {"size": (2, 2), "stride": (0, 2)}),
        (pool_grad, (g[:3], x), two),
        (pool_grad, (x, x), two),
        (pick, (x[:3], x), two),
        (pick, (g, x), two),
        (ops.sum_to.forward, (np.zeros((9, 9, 4000), "f4"),), {"shape": (9, 4000)}),
        (ops.sum_to.forward, (np.zeros((324_000, 2), "f4"),), {"shape": (1,)}),
        (ops.sum_to.forward, (np.zeros(324_000, "f4"),), {"shape": (324_000,)}),
        (ops.sum_to.forward, (np.zeros((324_000, 2), "f4"),), {"shape": ()}),
        (ops.sum_to.forward, (np.zeros((64, 8), "f4"),), {"shape": (8,)}),
        (ops.sum_to.forward, (np.zeros((324_000, 1), "f4"),), {"shape": (1,)}),
        (ops.sum_to.forward, (np.zeros((324, 1000), "f4"),), {"shape": (1000,)}),
    ]


@pytest.mark.parametrize("case", misfits(), ids=case_name)
def test_a_misfit_is_left_to_the_array_code(case: Case) -> None:
    fusable, operands, settings = case
    assert kernel_of(fusable)(*operands, **settings) is NotImplemented


def batch_norm_net() -> list[NDArray[Any]]:
    """A small critic with batch norm and pooling: its score, its penalty's gradients, and the running statistics."""
    draws = ((5, 5, 1, 16), (16,), (3, 3, 16, 24), (24,), (600, 1))
    w1, b1, w2, b2, w3 = (Tensor(normal(*s, seed=4) / 5, requires_grad=True) for s in draws)
    norms = BatchNorm(16), BatchNorm(24)
    x = Tensor(normal(16, 28, 28, 1, seed=5), requires_grad=True)
    parameters = [w1, b1, w2, b2, w3, *(p for norm in norms for p in (norm.gamma, norm.beta))]

    y = norms[0](ops.conv2d(x, w1, b1, slope=0.2))  # (16, 24, 24, 16)
    y = ops.max_pool2d(y, size=(2, 2), stride=(2, 2))
    y = norms[1](ops.conv2d(y, w2, b2, slope=0.2))  # (16, 10, 10, 24)
    y = ops.max_pool2d(y, size=(2, 2), stride=(2, 2)).reshape(16, 600)
    score = (y @ w3).mean()
    (gx,) = grad(score, [x], create_graph=True)
    loss = score + (gx * gx).sum() * 100
    found = grad(loss, parameters)
    return [score.data, gx.data, *(t.data for t in found), *(a for n in norms for a in (n.mean, n.variance))]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_net_with_batch_norm_has_the_array_codes_gradients(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Fusable] = []

    def counted(fusable: Fusable) -> Callable[..., Any]:
        def call(*operands: Any, **settings: Any) -> Any:
            y = kernel_of(fusable)(*operands, **settings)
            if y is not NotImplemented:
                done.append(fusable)
            return y

        return call

    with use_kernels(False):
        wanted = batch_norm_net()
    for fusable in KERNELS:
        monkeypatch.setitem(fusable.kernels, np.ndarray, counted(fusable))
    with over(threads):
        got = batch_norm_net()
    assert set(done) == set(KERNELS)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, abs(b).max()))
