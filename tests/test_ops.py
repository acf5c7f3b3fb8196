"""The sweeps over the op table: what every op promises, whatever it computes."""

import importlib
import pkgutil
import warnings
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.typing import NDArray
from tables.ops import CASES, Case

import fastgan
from fastgan import ops
from fastgan.device import module_of, to_device, to_host
from fastgan.dispatch import use_kernels
from fastgan.tape import Op, Tensor, grad, tensor

SMOOTH = [case for case in CASES if case.gradient]
ELEMENTWISE = [case for case in CASES if case.elementwise]
SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (0, 3), (2, 3, 1, 2)]
TABLES = {"ACTIVATIONS", "SCORE_LOSSES"}
FIRST_ORDER_ONLY = {"penalized_loss"}  # tested with the penalty

Arrays = list[NDArray[Any]]


def run(case: Case, xs: Arrays) -> tuple[Tensor, list[Tensor]]:
    """The op's output, and the gradients of its energy where it has any."""
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    y = case.op(*inputs, **case.settings)
    return y, list(grad((y * y).sum(), inputs, allow_unused=True))


def all_ops() -> dict[int, str]:
    """Every Op that a module of fastgan has under a name; the command line, which needs click, and benchmarks, which
    need their peers, are left out."""
    found: dict[int, str] = {}
    for info in pkgutil.walk_packages(fastgan.__path__, "fastgan."):
        if not info.name.startswith(("fastgan.cli", "fastgan.benchmarks")):
            members = vars(importlib.import_module(info.name))
            found |= {id(x): x.name for x in members.values() if isinstance(x, Op)}
    return found


def test_every_op_has_a_row() -> None:
    found = all_ops()
    rows = {id(case.op) for case in CASES}
    assert len(found) > 30
    assert (
        sorted(name for key, name in found.items() if key not in rows and name not in FIRST_ORDER_ONLY) == []
    )
    assert sorted(set(ops.__all__) - {case.name for case in CASES} - TABLES) == []


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_is_the_reference_in_the_same_dtype(case: Case, dtype: Any) -> None:
    xs = case.operands(dtype)
    y, gradients = run(case, xs)
    wanted = case.reference(*(x.astype(np.float64) for x in xs), **case.settings)
    assert y.shape == wanted.shape
    assert all(isinstance(t.data, np.ndarray) for t in (y, *gradients))  # and not a NumPy scalar
    tolerance = 1e-12 if dtype == np.float64 else 5e-6
    np.testing.assert_allclose(y.data, wanted, rtol=tolerance, atol=tolerance)
    assert {y.dtype, *(g.dtype for g in gradients)} == {np.dtype(dtype)}


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case.op, Op)], ids=str)
def test_an_op_whose_output_is_a_view_says_so(case: Case) -> None:
    """`grad` looks through views for parameters that have changed."""
    xs = case.operands()
    y = case.op(*map(Tensor, xs), **case.settings)
    assert case.op.is_view >= np.shares_memory(y.data, xs[0])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradient(case: Case, order: int) -> None:
    check_gradient(lambda *xs: case.op(*xs, **case.settings), case.operands(), order=order)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_elementwise_on_any_shape(case: Case, shape: tuple[int, ...]) -> None:
    xs = case.operands(shapes=(shape,) * len(case.shapes))
    y, gradients = run(case, xs)
    np.testing.assert_allclose(y.data, case.reference(*xs, **case.settings), rtol=1e-12, atol=1e-12)
    assert [g.shape for g in (y, *gradients)] == [shape] * (1 + len(xs))
    if y.size:
        check_gradient(lambda *ts: case.op(*ts, **case.settings), xs)


def fortran(x: NDArray[Any]) -> NDArray[Any]:
    return np.asfortranarray(x)


def strided(x: NDArray[Any]) -> NDArray[Any]:
    wide = np.repeat(x, 2, axis=-1)
    wide[..., 1::2] = np.nan  # what lies between must not be read
    return wide[..., ::2]


def backwards(x: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1]


@pytest.mark.parametrize("layout", [fortran, strided, backwards])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_memory_layout(case: Case, dtype: Any, layout: Any) -> None:
    xs = case.operands(dtype)
    wanted, wanted_gradients = run(case, xs)
    got, gradients = run(case, [layout(x) if x.ndim else x for x in xs])
    for a, b in zip([got, *gradients], [wanted, *wanted_gradients], strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_operands_stay_as_they_are(case: Case, dtype: Any) -> None:
    xs = case.operands(dtype)
    before = [x.copy() for x in xs]
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    y = case.op(*inputs, **case.settings)
    output = y.data.copy()
    first = grad((y * y).sum(), inputs, create_graph=True, allow_unused=True)
    grad(sum((g * g).sum() for g in first), inputs, allow_unused=True)  # type: ignore[arg-type]
    assert all(np.array_equal(a, b) for a, b in zip([*xs, y.data], [*before, output], strict=True))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_python_numbers_leave_the_dtype(dtype: Any) -> None:
    x = Tensor(np.linspace(0.5, 2, 6, dtype=dtype).reshape(3, 2), requires_grad=True)
    for y in (
        x + 1,
        1 + x,
        x - 0.1,
        1 - x,
        x * 0.1,
        2 * x,
        x / 3,
        3 / x,
        x**2,
        x**0.5,
        -x,
        x.mean(),
        x.sum(axis=0),
    ):
        (gx,) = grad((y * y).sum(), [x])
        assert (y.dtype, gx.dtype) == (x.dtype, x.dtype)
    for op in (ops.relu, ops.sigmoid, ops.softplus, ops.tanh, ops.leaky_relu):
        assert op(x).dtype == x.dtype
    assert ops.mse(x, 1).dtype == x.dtype
    assert ops.bce_with_logits(x, 0.9).dtype == x.dtype


def test_numbers_on_either_side_mean_what_they_say() -> None:
    x = tensor([1.0, 4.0])
    results = [1 + x, x - 1, 1 - x, 2 * x, x / 2, 2 / x, -x, x**0.5]
    wanted = [[2, 5], [0, 3], [0, -3], [2, 8], [0.5, 2], [2, 0.5], [-1, -4], [1, 2]]
    assert [y.data.tolist() for y in results] == wanted


def test_power_zero_has_gradient_zero_even_at_zero() -> None:
    x = tensor([0.0, 2.0], requires_grad=True)
    assert grad((x**0).sum(), [x])[0].data.tolist() == [0, 0]


def test_gradients_at_kinks() -> None:
    x = tensor([0.0, -2.0, 3.0], requires_grad=True)
    assert grad(ops.absolute(x).sum(), [x])[0].data.tolist() == [0, -1, 1]
    assert grad(ops.leaky_relu(x, slope=0.25).sum(), [x])[0].data.tolist() == [0.25, 0.25, 1]
    y = tensor([[1.0, 5.0, 5.0], [2.0, 0.0, 1.0]], requires_grad=True)
    assert grad(ops.maximum(y, axis=1).sum(), [y])[0].data.tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_large_scores_neither_overflow_nor_warn() -> None:
    x = tensor([-1e4, -200.0, 0.0, 200.0, 1e4], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ops.sigmoid(x).data.tolist() == [0, 0, 0.5, 1, 1]
        np.testing.assert_allclose(ops.softplus(x).data, [0, 0, np.log(2), 200, 1e4], rtol=1e-7)
        assert grad(ops.softplus(x).sum(), [x])[0].data.tolist() == [0, 0, 0.5, 1, 1]
        assert np.isfinite(ops.bce_with_logits(x, 1.0).data)


def test_scores_are_means() -> None:
    x = tensor([[1.0], [3.0]])
    assert ops.mse(x, 0.0).item() == 5
    assert ops.bce_with_logits(tensor([[0.0], [0.0]]), 1.0).item() == pytest.approx(np.log(2))


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cuda_equals_cpu(case: Case) -> None:
    xp = module_of("cuda")
    on_device = {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in case.settings.items()}
    for dtype, kernels, tolerance in (
        (np.float64, True, 1e-11),
        (np.float32, True, 2e-5),
        (np.float32, False, 2e-5),
    ):
        xs = case.operands(dtype)
        wanted, wanted_gradients = run(case, xs)
        inputs = [Tensor(to_device(x, "cuda"), requires_grad=True) for x in xs]
        with use_kernels(kernels):
            y = case.op(*inputs, **on_device)
            gradients = grad((y * y).sum(), inputs, allow_unused=True)
        for a, b in zip([y, *gradients], [wanted, *wanted_gradients], strict=True):
            assert (a.device, a.dtype) == ("cuda", dtype)
            np.testing.assert_allclose(to_host(a.data), b.data, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "key",
    [
        [0, 0, 1],
        np.array([0, 0, 1]),
        np.array([], int),
        np.array([2, 1, 2], np.uint8),
        np.array([1, 0, 1], bool),
    ],
    ids=str,
)
def test_the_gradient_of_rows(key: Any) -> None:
    x, wanted = Tensor(np.ones((3, 2)), requires_grad=True), np.zeros((3, 2))
    np.add.at(wanted, key, 1)
    np.testing.assert_allclose(grad(x[key].sum(), [x])[0].data, wanted)


def test_relu_of_infinity_is_no_nan() -> None:
    x = tensor(np.array([np.inf, -np.inf, 1.0], np.float32))
    with np.errstate(all="raise"):
        assert ops.relu(x).data.tolist() == [np.inf, 0, 1]


def test_numpy_scalars_do_not_widen() -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for y in (x * np.float64(0.5), np.float64(2) - x, x ** np.float64(2)):
        assert y.dtype == np.float32
    assert grad((x ** np.float64(3)).sum(), [x])[0].data.tolist() == [[3] * 3] * 2
