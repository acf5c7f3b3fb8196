"""The sweeps over the op table: what every op promises, whatever it computes; values at kinks, ties and extremes."""

import importlib
import pkgutil
from itertools import product

import numpy as np
import pytest
from gradcheck import check_gradient
from tables.ops import CASES

import fastgan
from fastgan import ops
from fastgan.device import module_of, to_device, to_host
from fastgan.dispatch import use_kernels
from fastgan.tape import Op, Tensor, grad

TABLES = {"ACTIVATIONS", "SCORE_LOSSES"}
OTHERS = ("fastgan.cli", "fastgan.benchmarks", "fastgan.kernels")  # which need click, peers, or make no ops
FIRST_ORDER_ONLY = {"penalized_loss"}  # tested with the penalty
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def run(case, xs):
    """The op's output, and the gradients of its energy where it has any."""
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    y = case.op(*inputs, **case.settings)
    return [y, *grad((y * y).sum(), inputs, allow_unused=True)]


def test_every_op_has_a_row():
    """Every Op that a module of fastgan has under a name."""
    found = {}
    for info in pkgutil.walk_packages(fastgan.__path__, "fastgan."):
        if not info.name.startswith(OTHERS):
            members = vars(importlib.import_module(info.name))
            found |= {id(x): x.name for x in members.values() if isinstance(x, Op)}
    rows = {id(case.op) for case in CASES}
    assert len(found) > 30
    assert {name for key, name in found.items() if key not in rows} <= FIRST_ORDER_ONLY
    assert sorted(set(ops.__all__) - {case.name for case in CASES} - TABLES) == []


def strided(x):
    wide = np.repeat(x, 2, axis=-1)
    wide[..., 1::2] = np.nan  # what lies between must not be read
    return wide[..., ::2]


def backwards(x):
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1]


@DTYPES
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_op_is_its_reference_in_any_layout_and_leaves_its_operands(case, dtype):
    xs = case.operands(dtype)
    results = run(case, xs)
    y = results[0].data
    wanted = np.asarray(case.reference(*(x.astype(np.float64) for x in xs), **case.settings))
    tolerance = 1e-12 if dtype == np.float64 else 5e-6
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance)
    for t in results:  # and not a NumPy scalar
        assert isinstance(t.data, np.ndarray)
        assert t.dtype == dtype
    if isinstance(case.op, Op):  # `grad` looks through views for parameters that have changed
        assert case.op.is_view >= np.shares_memory(y, xs[0])
    for layout in (np.asfortranarray, strided, backwards):
        for a, b in zip(run(case, [layout(x) if x.ndim else x for x in xs]), results, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-5)
    kept = y.copy()
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    out = case.op(*inputs, **case.settings)
    first = grad((out * out).sum(), inputs, create_graph=True, allow_unused=True)
    grad([(g * g).sum() for g in first], inputs, allow_unused=True)
    for a, b in zip([*xs, out.data], [*case.operands(dtype), kept], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [case for case in CASES if case.gradient], ids=str)
def test_gradient(case, order):
    check_gradient(lambda *xs: case.op(*xs, **case.settings), case.operands(), order=order)


SHAPES = [(), (1,), (3,), (0,), (1, 3), (2, 1), (2, 3), (0, 1), (1, 2, 1), (2, 1, 3), (2, 2, 1, 3)]


def together(shapes):
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


@pytest.mark.parametrize("case", [case for case in CASES if case.elementwise], ids=str)
def test_elementwise_on_all_shapes_that_go_together(case):
    for shapes in product(SHAPES, repeat=len(case.shapes)):
        if (shape := together(shapes)) is None:
            continue
        xs = case.operands(shapes=shapes)
        y, *gradients = run(case, xs)
        np.testing.assert_allclose(y.data, case.reference(*xs, **case.settings), rtol=1e-12, atol=1e-12)
        assert [y.shape, *(g.shape for g in gradients)] == [shape, *shapes]
        for order in (1, 2) if y.size else ():
            check_gradient(lambda *ts: case.op(*ts, **case.settings), xs, order=order)


PAIR = {"size": (2, 2), "stride": (2, 2)}
TIES = np.array([[0, 0, 0, 2], [1, 0, 2, 0], [0, 0, 0, 0], [0, 0, 3, 3]]).reshape(1, 4, 4, 1)
FIRST = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]).reshape(1, 4, 4, 1)
OVERLAP, TAKEN = [[[[0], [2], [2], [0]]]], [[[[0], [2], [1], [0]]]]
FAR, STEPS = [-1e4, -200, 0, 200, 1e4], [0, 0, 0.5, 1, 1]
VALUES = [  # a formula, its operand, and the values and the gradient of their sum that it has
    (lambda x: x + 1, [1, 4], [2, 5], [1, 1]),
    (lambda x: 1 + x, [1, 4], [2, 5], [1, 1]),
    (lambda x: x - 1, [1, 4], [0, 3], [1, 1]),
    (lambda x: 1 - x, [1, 4], [0, -3], [-1, -1]),
    (lambda x: 2 * x, [1, 4], [2, 8], [2, 2]),
    (lambda x: x * np.float64(0.5), [1, 4], [0.5, 2], [0.5, 0.5]),
    (lambda x: np.float64(2) - x, [1, 4], [1, -2], [-1, -1]),
    (lambda x: x / 2, [1, 4], [0.5, 2], [0.5, 0.5]),
    (lambda x: 2 / x, [1, 4], [2, 0.5], [-2, -0.125]),
    (lambda x: -x, [1, 4], [-1, -4], [-1, -1]),
    (lambda x: x**0.5, [1, 4], [1, 2], [0.5, 0.25]),
    (lambda x: x ** np.float64(3), [1, 4], [1, 64], [3, 48]),
    (lambda x: x**0, [0, 2], [1, 1], [0, 0]),
    (lambda x: x.mean(), [1, 4], 2.5, [0.5, 0.5]),
    (lambda x: ops.mse(x, 1), [1, 4], 4.5, [0, 3]),
    (lambda x: ops.mse(x, 0.0), [[1], [3]], 5, [[1], [3]]),
    (lambda x: ops.bce_with_logits(x, 1.0), [[0], [0]], np.log(2), [[-0.25], [-0.25]]),
    (lambda x: ops.bce_with_logits(x, 1.0), FAR, (10_200 + np.log(2)) / 5, [-0.2, -0.2, -0.1, 0, 0]),
    (ops.sigmoid, FAR, STEPS, [0, 0, 0.25, 0, 0]),
    (ops.softplus, FAR, [0, 0, np.log(2), 200, 1e4], STEPS),
    (ops.relu, [np.inf, -np.inf, 1], [np.inf, 0, 1], [1, 0, 1]),
    (ops.absolute, [0, -2, 3], [0, 2, 3], [0, -1, 1]),
    (lambda x: ops.leaky_relu(x, slope=0.25), [0, -2, 3], [0, -0.5, 3], [0.25, 0.25, 1]),
    (lambda x: ops.maximum(x, axis=1), [[1, 5, 5], [2, 0, 1]], [5, 2], [[0, 0.5, 0.5], [1, 0, 0]]),
    (lambda x: ops.max_pool2d(x, **PAIR), TIES, np.reshape([1, 2, 0, 3], (1, 2, 2, 1)), FIRST),
    (lambda x: ops.max_pool2d(x, size=(1, 2), stride=(1, 1)), OVERLAP, np.full((1, 1, 3, 1), 2), TAKEN),
    (lambda x: x[[0, 0, 1]], [1, 2, 4], [1, 1, 2], [2, 1, 0]),
    (lambda x: x[np.array([], int)], [1, 2, 4], [], [0, 0, 0]),
    (lambda x: x[np.array([2, 1, 2], np.uint8)], [1, 2, 4], [4, 2, 4], [0, 1, 2]),
    (lambda x: x[np.array([1, 0, 1], bool)], [1, 2, 4], [1, 4], [1, 0, 1]),
]


@DTYPES
def test_values_and_gradients_at_kinks_ties_and_extremes(dtype):
    """And numbers on either side of a Tensor leave its dtype."""
    for formula, x, wanted, slope in VALUES:
        x = Tensor(np.array(x, dtype), requires_grad=True)
        y = formula(x)
        (g,) = grad(y.sum(), [x])
        assert (y.dtype, g.dtype, y.shape) == (dtype, dtype, np.shape(wanted))
        np.testing.assert_allclose(y.data, wanted, rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(g.data, slope, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("kernels", [True, False])
def test_a_window_with_a_nan_gives_nan_and_has_no_largest_element(kernels):
    x = np.ones((1, 4, 2, 1), np.float32)
    x[0, 1, 0] = np.nan
    with use_kernels(kernels):
        y = ops.max_pool2d(x, **PAIR).data.ravel()
        g = ops.max_pool2d_grad(np.ones((1, 2, 1, 1), np.float32), x, **PAIR).data.ravel()
        picked = ops.max_pool2d_pick(np.full_like(x, 7), x, **PAIR).data.ravel()
    np.testing.assert_array_equal(y, [np.nan, 1])
    assert (g.tolist(), picked.tolist()) == ([0, 0, 0, 0, 1, 0, 0, 0], [0, 7])


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cuda_equals_cpu(case):
    xp = module_of("cuda")
    on_device = {k: xp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in case.settings.items()}
    for dtype, kernels in [(np.float64, True), (np.float32, True), (np.float32, False)]:
        xs, tolerance = case.operands(dtype), 1e-11 if dtype == np.float64 else 2e-5
        inputs = [Tensor(to_device(x, "cuda"), requires_grad=True) for x in xs]
        with use_kernels(kernels):
            y = case.op(*inputs, **on_device)
            gradients = grad((y * y).sum(), inputs, allow_unused=True)
        for a, b in zip([y, *gradients], run(case, xs), strict=True):
            assert (a.device, a.dtype) == ("cuda", dtype)
            np.testing.assert_allclose(to_host(a.data), b.data, rtol=tolerance, atol=tolerance)
