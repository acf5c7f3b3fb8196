"""CPU kernels against the array code that they replace: as accurate, NaN where it has NaN, none missing in the table.

What they are held to, and the calls, are tables/fusables.py; what they must leave alone is tables/misfits.py.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from kernel_runs import called, kernel, names, truth, wrong
from tables.fusables import ADAM, ALL, ENTRIES, OF, RMSPROP, SCORE_LOSSES, SMALL, TINY, Draw, rows, rows_of
from tables.misfits import MISFITS

from fastgan import fused, ops, optim
from fastgan.dispatch import use_kernels
from fastgan.kernels import conv, dense, pooling, splitting, sums
from fastgan.tape import Tensor

ON_CPU = names("numpy")
PRODUCTS = ("matmul", "forward", "backward", "weight", "tangent", "convolve")  # by BLAS, piece by piece


@contextmanager
def pieces(threads: int, least: int | None = None, chunk: int = 1 << 19) -> Iterator[None]:
    """A block in which kernels share work from `least` elements on, if given, and new memory then holds NaN.

    Not in a kernel's first call, in which Numba compiles it and would meet another np.empty than its own.
    """
    empty = np.empty

    def filled(shape: Any, dtype: Any = float, **more: Any) -> Any:
        x = empty(shape, dtype, **more)
        x.reshape(-1).view(np.uint8)[:] = 0xFF
        return x

    with pytest.MonkeyPatch.context() as patch, splitting.over(threads):
        if least is not None:
            for module in (conv, dense, pooling, sums):
                patch.setattr(module, "LEAST", least)
            patch.setattr(np, "empty", filled)
        patch.setattr(conv, "CHUNK", chunk)
        patch.setattr(splitting, "_own", type(splitting._own)())
        yield


WAYS = [lambda: pieces(1), lambda: pieces(2, 1), lambda: pieces(3, 1, 40)]


def test_every_entry_has_rows_and_every_row_an_entry() -> None:
    assert {*ENTRIES} == {*OF}
    assert len({id(fusable) for fusable, *_ in fused.TABLE}) == len(OF)
    assert all(rows(name, TINY) for name in OF)


@pytest.mark.parametrize("name", ON_CPU)
def test_as_accurate_as_the_array_code(name: str) -> None:
    """However many threads there are, whatever new memory holds, and nothing beside an array is read or written."""
    assert wrong(name, "numpy", rows(name, SMALL), ways=WAYS) == {}


@pytest.mark.parametrize("name", [name for name in ON_CPU if not name.startswith(PRODUCTS)])
def test_threads_do_not_change_a_bit(name: str) -> None:
    """Of the largest; the others were compared with the array code alone."""
    code = kernel(name)
    for row in sorted(rows(name, SMALL), key=lambda row: -row.operands[0].size)[:6]:
        results = []
        for way in (*WAYS, lambda: pieces(2)):
            with way():
                results.append([x.tobytes() for x in called(code, row, np.copy) or []])
        assert results[1:] == results[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_CPU)
def test_real_sizes(name: str) -> None:
    if large := rows(name, ALL, least=SMALL):
        assert wrong(name, "numpy", large) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OF if name not in ON_CPU])
def test_array_code_gives_what_is_finite(name: str) -> None:
    """What a GPU's kernels are compared with, where no CPU's are."""
    for row in rows(name):
        assert all(np.isfinite(x).all() for x in truth(row)[0]), str(row)


@pytest.mark.parametrize("row", [row for row in MISFITS if "numpy" in row.left], ids=str)
def test_misfits_are_left_to_the_array_code(row: Any) -> None:
    arrays = [x for x in (*row.operands, *row.settings.values()) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in arrays]
    assert kernel(row.name)(*row.operands, **row.settings) is NotImplemented
    assert all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(arrays, before, strict=True)
    )


def test_every_host_function_is_in_the_table() -> None:
    """A scalar formula has positional arguments only, a kernel's host function takes its settings by keyword."""
    listed = {(module, function) for _, _, module, function in fused.TABLE}
    for name in {module for module, _ in listed}:
        module = import_module(f"fastgan.kernels.{name}")
        for function, code in inspect.getmembers(module, inspect.isfunction):
            own = code.__module__ == module.__name__ and not function.startswith("_")
            if own and inspect.getfullargspec(code).kwonlyargs:
                assert (name, function) in listed


def mistake(code: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """A kernel with a mistake planted in it."""

    def planted(*operands: Any, **settings: Any) -> Any:
        if kind == "leaves":
            return NotImplemented
        y = code(*operands, **settings)
        if kind == "returned":
            y.flat[-1] += 1e-4 * abs(y).max()
        elif kind == "nan":
            y.flat[-1] = np.nan
        elif kind == "dtype":
            return y.astype(np.float64)
        elif kind == "shape":
            return y[:-1]
        elif kind == "written":
            settings["gb"][-1] += 1e-4 * abs(settings["gb"]).max()
        elif kind == "operand":
            operands[1][-1] = 0
        elif kind == "beside":
            np.lib.stride_tricks.as_strided(settings["gb"], (settings["gb"].size + 1,), (4,))[-1] = 0
        return y

    return planted


@pytest.mark.parametrize(
    "kind", ["leaves", "returned", "nan", "dtype", "shape", "written", "operand", "beside"]
)
def test_a_mistake_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = rows_of("backward", 33, 12, 36)[0]
    assert wrong("backward", "numpy", [row]) == {}
    monkeypatch.setattr(dense, "backward", mistake(dense.backward, kind))
    assert wrong("backward", "numpy", [row]) != {}


@pytest.mark.parametrize("name", ON_CPU)
def test_a_small_mistake_in_a_kernel_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last number that it gives, or in an operand where it gives nothing."""
    code, row = kernel(name), next(row for row in rows(name, SMALL) if "numpy" not in row.left)

    def planted(*operands: Any, **settings: Any) -> Any:
        y = code(*operands, **settings)
        x = y[0] if isinstance(y, tuple) else operands[0] if y is None else y
        x.reshape(-1)[-1:] += 1e-4 * max(abs(x).max(), 1)
        return y

    assert wrong(name, "numpy", [row]) == {}
    monkeypatch.setattr(import_module(code.__module__), name, planted)
    assert wrong(name, "numpy", [row]) != {}


def test_a_bit_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    code = pooling.max_pool2d
    monkeypatch.setattr(
        pooling, "max_pool2d", lambda x, **settings: code(x, **settings) * np.float32(1 + 1e-7)
    )
    assert wrong("max_pool2d", "numpy", rows_of("max_pool2d", (2, 6, 8, 8), (2, 2), (2, 2))) != {}


def stats_of(code: Callable[..., Any], x: Any) -> Any:
    """Means, and inverse deviations, as batch norm keeps them."""
    columns, stats = np.ones((4, x.shape[1]), x.dtype), np.empty((2, x.shape[1]), x.dtype)
    code(x, *columns, eps=1e-5, stats=stats)
    return stats


@pytest.mark.parametrize("f", [2, 3, 32])
@pytest.mark.parametrize("away", [0.0, 30.0])
def test_long_columns_are_at_least_as_exact_as_the_array_codes(f: int, away: float) -> None:
    """A row's 1e-6 would hide it: 120,000 numbers after one another lose five digits of seven."""
    x, code = Draw(f)(120_001, f) + np.float32(away), OF["norm_forward"].plain
    exact = stats_of(code, x.astype(np.float64))
    for k in (0, 1):
        off, plain = (abs(stats_of(c, x)[k] - exact[k]).max() for c in (kernel("norm_forward"), code))
        assert off <= 2 * plain
    total, exact = kernel("sum_to")(x, shape=(f,)), x.sum(axis=0, dtype=np.float64)
    assert abs(total - exact).max() <= max(2 * abs(x.sum(axis=0) - exact).max(), 1e-7 * abs(exact).max())


def test_a_mean_far_away_that_changes_along_the_rows_leaves_the_variance_exact() -> None:
    """Blocks of rows with means of their own: what they are apart from each other counts."""
    x = Draw(0)(70_000, 2) + np.repeat(np.arange(70, dtype=np.float32), 1000)[:, None] + 1000
    _, inverse = stats_of(kernel("norm_forward"), x)
    np.testing.assert_allclose(inverse, 1 / x.astype(np.float64).std(axis=0), rtol=2e-6)


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("kernels", [True, False])
def test_a_gradient_that_is_not_a_number_stays_visible(kernels: bool, clip: float) -> None:
    p, g, m, v = (np.ones(3, np.float32) for _ in range(4))
    g[1] = np.nan
    with use_kernels(kernels):
        optim.adam_update(p, g, m, v, **ADAM | {"clip": clip})
        assert np.isnan(p).tolist() == [False, True, False]
        optim.rmsprop_update(p, g, v, **RMSPROP | {"clip": clip})
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
            y = OF["norm_forward"](*operands, eps=0.0, training=False, **act)
            assert np.isnan(y[0, 0])
            np.testing.assert_allclose(y[0, 1:], finite, rtol=1e-6)
        for kind in SCORE_LOSSES:
            loss, d = OF["score_loss"](x[:, :1].copy(), kinds=(kind,), counts=(1,))
            assert np.isnan(loss)
            assert loss.shape == ()
            assert loss.dtype == d.dtype == np.float32


@pytest.mark.parametrize("tap", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_window_that_holds_a_nan_is_nan_and_has_no_largest_element(tap: tuple[int, int]) -> None:
    x = np.arange(2 * 4 * 4 * 8, dtype=np.float32).reshape(2, 4, 4, 8)
    holes, ones, settings = x.copy(), np.ones((2, 2, 2, 8), np.float32), {"size": (2, 2), "stride": (2, 2)}
    holes[0, tap[0], tap[1]] = np.nan
    calls = {"max_pool2d": (holes,), "max_pool2d_grad": (ones, holes), "max_pool2d_pick": (x, holes)}
    y, gx, picked = (kernel(name)(*xs, **settings) for name, xs in calls.items())
    assert np.isnan(y[0, 0, 0]).all()
    assert np.isnan(y).sum() == 8
    assert not gx[0, :2, :2].any()
    assert gx.sum() == 7 * 8
    assert not picked[0, 0, 0].any()
    for got, (name, xs) in zip((y, gx, picked), calls.items(), strict=True):
        np.testing.assert_array_equal(got, OF[name].plain(*xs, **settings))
