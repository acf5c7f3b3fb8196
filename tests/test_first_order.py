"""First-order rules against the vjps, which are the truth: every op that has one, every way that `grad` calls it."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tables.ops import CASES, Case

import fastgan as fg
from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError
from fastgan.tape import Op, Tensor, grad, op

RULED = [case for case in CASES if isinstance(case.op, Op) and case.op.first is not None and case.gradient]


def energy(y: Tensor) -> Tensor:
    """A loss whose gradient for y is neither 0 nor 1."""
    return (y * y).sum() + y.sum() * 0.3


def both(loss: Any, xs: list[Tensor], **more: Any) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Each gradient by first-order rules, and by vjps alone."""
    ours = grad(loss, xs, allow_unused=True, **more)
    more.pop("out", None)
    truth = grad(loss, xs, allow_unused=True, create_graph=True, **more)
    return [(a.data, b.data) for a, b in zip(ours, truth, strict=True)]


def agree(pairs: list[tuple[NDArray[Any], NDArray[Any]]], tolerance: float) -> None:
    for got, wanted in pairs:
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_there_are_rules_for_what_training_runs() -> None:
    ruled = {case.op for case in RULED}
    assert {ops.linear, ops.linear_norm, ops.batch_norm, ops.convolve, ops.convolve_transposed} <= ruled
    assert {ops.matmul, ops.activation, ops.score_loss} <= ruled


@pytest.mark.parametrize("case", RULED, ids=str)
@pytest.mark.parametrize("kernels", [False, True])
def test_every_subset_of_gradients_with_and_without_places(case: Case, kernels: bool) -> None:
    """In float32 kernels run where there are any; the array code is compared in float64."""
    dtype, tolerance = (np.float32, 3e-5) if kernels else (np.float64, 1e-9)
    xs = case.operands(dtype)
    subsets = [s for s in product((False, True), repeat=len(xs)) if any(s)]
    for subset, placed in product(subsets, (False, True)):
        inputs = [Tensor(x, requires_grad=w) for x, w in zip(xs, subset, strict=True)]
        targets = [x for x in inputs if x.requires_grad]
        out = [np.full(x.shape, 7, dtype) for x in targets] if placed else None
        with use_kernels(kernels):
            agree(both(energy(case.op(*inputs, **case.settings)), targets, out=out), tolerance)


def chained(case: Case, act: str, slope: float, xs: list[NDArray[Any]]) -> tuple[Tensor, list[Tensor]]:
    """The op between an activation below it and one above it, and everything that can have a gradient."""
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    y = case.op(ops.activation(inputs[0], act=act, slope=slope), *inputs[1:], **case.settings)
    return ops.activation(y, act="tanh", slope=1.0), inputs


@pytest.mark.parametrize("case", RULED, ids=str)
@pytest.mark.parametrize(("act", "slope"), [("leaky", 0.2), ("leaky", 0.0), ("tanh", 1.0), ("sigmoid", 1.0)])
def test_an_activations_derivative_handed_over_is_there_once(case: Case, act: str, slope: float) -> None:
    """`below` and `premasked`: alone, and where a second use, a wanted value in between or a seed forbids it."""
    xs = case.operands()
    y, inputs = chained(case, act, slope, xs)
    agree(both(energy(y), inputs), 1e-9)
    z = ops.activation(inputs[0], act=act, slope=slope)
    before = energy(z)
    y = case.op(z, *inputs[1:], **case.settings)
    loss = energy(y)
    agree(both(loss, [*inputs, z]), 1e-9)  # the value in between is asked for as well
    agree(both(loss + energy(z), inputs), 1e-9)  # and has a second use, which gives its gradient first
    agree(both(loss + before, inputs), 1e-9)  # or after the op's
    seeds = [Tensor(np.ones(())), Tensor(np.full(z.shape, 0.7))]
    agree(both([loss, z], inputs, grad_outputs=seeds), 1e-9)  # or is itself what is differentiated


@pytest.mark.parametrize("act", [("leaky", 0.2), ("tanh", 1.0)])
def test_batch_norm_in_inference_is_handed_nothing_over(act: tuple[str, float]) -> None:
    """Its gradient is the vjp's, which does not know of an activation's derivative that is there already."""
    rng = np.random.default_rng(0)
    x, gamma, beta, w, b = (Tensor(rng.normal(size=s), requires_grad=True) for s in ((5, 3), 3, 3, (3, 2), 2))
    running = {"mean": rng.normal(size=3), "variance": rng.uniform(0.5, 2, 3)}
    h = ops.batch_norm(x, gamma, beta, act=act[0], slope=act[1], training=False, **running)
    agree(both(energy(ops.linear(h, w, b)), [x, gamma, beta, w, b]), 1e-9)


@pytest.mark.parametrize("case", RULED, ids=str)
def test_an_input_used_twice_has_the_sum(case: Case) -> None:
    xs = case.operands()
    inputs = [Tensor(x, requires_grad=True) for x in xs]
    first, second = (case.op(*inputs, **case.settings) for _ in range(2))
    loss = energy(first) + energy(second) * 0.5
    agree(both(loss, inputs, out=[np.full(x.shape, 7.0) for x in xs]), 1e-9)


def test_one_value_as_two_operands() -> None:
    w = Tensor(np.random.default_rng(0).normal(size=(3, 3)), requires_grad=True)
    for y in (w @ w, ops.linear(w, w, Tensor(np.ones(3)), act="tanh", slope=1.0)):
        agree(both(energy(y), [w], out=[np.full((3, 3), 7.0)]), 1e-9)


def test_a_stranger_s_network_gets_the_fused_backward() -> None:
    """One backward pass per layer, and no activation's derivative by itself."""
    net = fg.nn.Sequential(
        fg.nn.Linear(3, 4), fg.nn.Tanh(), fg.nn.Linear(4, 4), fg.nn.LeakyReLU(0.2), fg.nn.Linear(4, 1)
    )
    x = Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    seen: list[tuple[str, float]] = []
    plain = ops.dense.linear_backward.plain

    def spy(*operands: Any, **settings: Any) -> Any:
        seen.append((settings["act"], settings["slope"]))
        return plain(*operands, **settings)

    ops.dense.linear_backward.plain = spy
    try:
        with use_kernels(False):
            grad(net(x).sum(), net.parameters())
    finally:
        ops.dense.linear_backward.plain = plain
    assert seen == [("leaky", 0.2), ("tanh", 1.0), ("leaky", 1.0)]


def test_a_rule_that_writes_a_wrong_shape_is_named() -> None:
    @op
    def doubled(x: Any) -> Any:
        return x * 2

    doubled.vjp(lambda g, y, x: (lambda: g * 2,))
    doubled.first_order(lambda g, y, x: (g[:1] * 2,))
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ShapeError, match=r"doubled.*\(1,\).*\(3,\)"):
        grad(doubled(x).sum(), [x])


def test_a_gradient_has_its_operands_dtype() -> None:
    """Batch norm of float64 samples by a layer in float32."""
    layer, x = fg.nn.BatchNorm(3), Tensor(np.random.default_rng(0).normal(size=(5, 3)), requires_grad=True)
    xs = [x, *layer.parameters()]
    gradients = grad(energy(layer(x)), xs, out=[np.full(p.shape, 7, p.dtype) for p in xs])
    assert [g.dtype for g in gradients] == [p.dtype for p in xs] == [np.float64, np.float32, np.float32]


def test_a_rule_may_leave_it_to_the_vjp() -> None:
    @op
    def doubled(x: Any) -> Any:
        return x * 2

    doubled.vjp(lambda g, y, x: (lambda: g * 2,))
    doubled.first_order(lambda g, y, x: NotImplemented)
    x = Tensor(np.ones(3), requires_grad=True)
    assert grad(doubled(x).sum(), [x])[0].data.tolist() == [2, 2, 2]
