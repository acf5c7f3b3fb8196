"""The tape: which ops a gradient runs, what `grad` returns and where, and what stays in memory."""

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from tables.ops import CASES, Case

from fastgan import ops
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import Linear, Sequential
from fastgan.optim import SGD, Ema
from fastgan.tape import Op, Tensor, grad, no_grad, op, recording, tensor
from fastgan.tape.arithmetic import alias


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """Every op that runs from here on: its name and its output's shape."""
    made = []
    plain = Op.__call__

    def counted(self: Op, *operands: Any, **settings: Any) -> Tensor:
        y = plain(self, *operands, **settings)
        made.append((self.name, y.shape))
        return y

    monkeypatch.setattr(Op, "__call__", counted)
    return made


def test_a_generator_step_computes_no_gradient_of_the_critic(
    calls: list[tuple[str, tuple[int, ...]]],
) -> None:
    g1, g2, d1, d2 = leaf(3, 5), leaf(5, 2), leaf(2, 6), leaf(6, 1)
    b1, b2, c1, c2 = leaf(5), leaf(2), leaf(6), leaf(1)
    fake = ops.linear(ops.linear_leaky_relu(leaf(4, 3), g1, b1), g2, b2)
    loss = ops.linear(ops.linear_leaky_relu(fake, d1, c1), d2, c2).mean()
    calls.clear()
    grad(loss, [g1, b1, g2, b2], create_graph=True)
    products = Counter(shape for name, shape in calls if name in ("matmul", "masked_back", "masked_outer"))
    # back through the critic's two layers, then weight, input, weight of the generator
    assert products == Counter([(4, 6), (4, 2), (5, 2), (4, 5), (3, 5)])
    assert [shape for name, shape in calls if name == "sum_to"] == [(2,), (5,)]
    calls.clear()
    grad(loss, [d2], create_graph=True)
    assert [shape for name, shape in calls if name == "matmul"] == [(6, 1)]


def test_work_that_two_inputs_share_is_done_once(calls: list[tuple[str, tuple[int, ...]]]) -> None:
    xs = [leaf(4, 3), leaf(3, 2), leaf(2)]
    y = ops.linear_leaky_relu(*xs).sum()
    calls.clear()
    grad(y, xs, create_graph=True)
    assert Counter(name for name, _ in calls)["activation_grad"] == 1


def test_branches_away_from_the_inputs_are_not_visited(calls: list[tuple[str, tuple[int, ...]]]) -> None:
    x, other = leaf(3), leaf(3, seed=1)
    long = other
    for _ in range(50):
        long = ops.tanh(long)
    y = (x * long).sum()
    calls.clear()
    grad(y, [x])
    assert len(calls) < 5


def test_an_unused_input_that_is_allowed_gets_zeros() -> None:
    x, unused = leaf(3), Tensor(np.ones((2, 4), np.float32), requires_grad=True)
    gx, zeros = grad(x.sum(), [x, unused], allow_unused=True)
    assert gx.data.tolist() == [1, 1, 1]
    assert (zeros.shape, zeros.dtype, zeros.data.any()) == ((2, 4), np.float32, np.False_)


def test_grad_outputs_weigh_the_outputs_and_outputs_add_up() -> None:
    x = leaf(3)
    y, z = x * 2, x * x
    weights = [tensor([1.0, 10.0, 100.0]), tensor([1.0, 1.0, 1.0])]
    (gx,) = grad([y, z], [x], weights)
    np.testing.assert_allclose(gx.data, 2 * weights[0].data + 2 * x.data)
    (twice,) = grad([y, y], [x], weights)
    np.testing.assert_allclose(twice.data, 2 * (weights[0].data + 1))
    (sums,) = grad([y.sum(), z.sum()], [x])
    np.testing.assert_allclose(sums.data, 2 + 2 * x.data)


def test_one_input_needs_no_list() -> None:
    x = leaf(3)
    (gx,) = grad(x.sum(), x)
    assert gx.data.tolist() == [1, 1, 1]


def test_gradients_flow_through_grad_outputs() -> None:
    x, v = leaf(3), leaf(3, seed=1)
    (gx,) = grad([x * x], [x], [v], create_graph=True)
    np.testing.assert_allclose(grad(gx.sum(), [v])[0].data, 2 * x.data)


def test_no_grad_leaves_nothing_on_the_tape() -> None:
    x = leaf(3)
    with no_grad():
        y = x * 2
        with recording(True):
            z = x * 2
    assert (y.requires_grad, y.node, z.requires_grad) == (False, None, True)
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad

    @no_grad()  # type: ignore[untyped-decorator]
    def quiet() -> Tensor:
        return x * 2

    assert (quiet().requires_grad, quiet().requires_grad, (x * 2).requires_grad) == (False, False, True)


def test_without_create_graph_a_gradient_has_no_tape_and_with_it_one() -> None:
    x = leaf(3)
    y = (x**3).sum()
    assert not grad(y, [x])[0].requires_grad
    with no_grad():
        assert grad(y, [x], create_graph=True)[0].requires_grad


def test_no_grad_holds_in_its_own_thread_only() -> None:
    x, inside, done = leaf(3), threading.Event(), threading.Event()
    seen = {}

    def other() -> None:
        with no_grad():
            inside.set()
            assert done.wait(10)
            seen["other"] = (x * 2).requires_grad

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["here"] = (x * 2).requires_grad
    done.set()
    thread.join()
    assert seen == {"here": True, "other": False}


def test_detach_cuts() -> None:
    x = leaf(3)
    cut = x.detach()
    assert cut.data is x.data
    assert not cut.requires_grad
    np.testing.assert_allclose(grad((x * (x * 2).detach()).sum(), [x])[0].data, 2 * x.data)


def test_a_deep_graph_needs_no_recursion() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x
    depth = 5 * sys.getrecursionlimit()
    for _ in range(max(depth, 5000)):
        y = y * 1.0
    (gx,) = grad((y * y).sum(), [x], create_graph=True)
    assert gx.data.tolist() == [2, 4]
    assert grad(gx.sum(), [x])[0].data.tolist() == [2, 2]


@pytest.mark.parametrize("case", [case for case in CASES if case.gradient], ids=str)
def test_what_an_op_made_is_freed_without_the_collector(case: Case) -> None:
    gc.disable()
    try:
        xs = [Tensor(x, requires_grad=True) for x in case.operands()]
        y = case.op(*(alias(x) for x in xs), **case.settings)
        gradients = grad((y * y).sum(), xs, create_graph=True, allow_unused=True)
        second = grad(
            sum(((g * g).sum() for g in gradients[1:]), (gradients[0] ** 2).sum()), xs, allow_unused=True
        )
        watched = [weakref.ref(t) for t in (y, y.data, *gradients, *second)]
        del y, gradients, second, xs
        assert [w() is None for w in watched] == [True] * len(watched)
    finally:
        gc.enable()


def test_derivatives_of_any_order() -> None:
    powers: list[Callable[[Tensor], Tensor]] = [
        lambda x: x**4,
        lambda x: x * x * x * x,
        lambda x: (x * x) ** 2.0,
    ]
    for function in powers:
        x = Tensor(np.array(1.5), requires_grad=True)
        y, seen = function(x), []
        for _ in range(4):
            (y,) = grad(y, [x], create_graph=True)
            seen.append(y.item())
        assert seen == pytest.approx([4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24], rel=1e-12)


def test_third_derivatives_of_a_network_by_finite_differences() -> None:
    xs = [
        np.random.default_rng(i).normal(size=s) * 0.5
        for i, s in enumerate([(4, 3), (3, 3), (3,), (3,), (3,)])
    ]

    def network(x: Tensor, w: Tensor, b: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return ops.tanh(ops.batch_norm(ops.linear(x, w, b) * x, gamma, beta, eps=0.1))

    for order in (1, 2, 3):
        check_gradient(network, xs, order=order)


def test_a_tensor_computed_from_others_can_be_an_input() -> None:
    x = leaf(3)
    h = ops.tanh(x)
    y = (h * h * h).sum()
    gh, gx = grad(y, [h, x], create_graph=True)
    np.testing.assert_allclose(gh.data, 3 * h.data**2)
    np.testing.assert_allclose(gx.data, 3 * h.data**2 * (1 - h.data**2))
    np.testing.assert_allclose(grad(gh.sum(), [h])[0].data, 6 * h.data)


def test_one_tensor_on_both_sides() -> None:
    x = leaf(3, 3)
    np.testing.assert_allclose(grad((x - x).sum(), [x])[0].data, 0)
    np.testing.assert_allclose(grad((x * x).sum(), [x])[0].data, 2 * x.data)
    ones = np.ones((3, 3))
    np.testing.assert_allclose(grad((x @ x).sum(), [x])[0].data, ones @ x.data.T + x.data.T @ ones)


def test_a_users_op_has_every_derivative_and_one_without_a_rule_says_so() -> None:
    @op
    def cube(x: Any) -> Any:
        return x * x * x

    x = leaf(3)
    with pytest.raises(UsageError, match=r"cube has no gradient.*\.vjp"):
        grad(cube(x).sum(), [x])
    cube.vjp(lambda g, y, x: (lambda: g * 3 * x * x,))
    check_gradient(cube, [x.data], order=1)
    check_gradient(cube, [x.data], order=2)


def test_the_networks_gradients_are_the_formulas() -> None:
    network = Sequential(Linear(3, 2, seed=0), seed=1)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    gw, gb = grad(network(Tensor(x)).sum(), network.parameters())
    np.testing.assert_allclose(gw.data, np.repeat(x.sum(0)[:, None], 2, 1), rtol=1e-5)
    assert gb.data.tolist() == [5, 5]


def halved(network: Sequential, optimizer: SGD) -> None:
    optimizer.step([p.data / 2 for p in network.parameters()])


def loaded(network: Sequential, optimizer: SGD) -> None:
    network.load({name: x / 2 for name, x in network.values().items()})


def swapped(network: Sequential, optimizer: SGD) -> None:
    ema = Ema(network, decay=0.5)
    ema.average /= 2
    ema.swap()


STALE: list[Callable[[Tensor, Sequential], Tensor]] = [
    lambda x, network: network(x),
    lambda x, network: x @ network[0].weight + network[0].bias,
    lambda x, network: x @ network[0].weight.T,
    lambda x, network: x * network[0].weight[:1],
    lambda x, network: x * alias(ops.broadcast_to(network[0].weight, shape=(2, 3, 3))[0, :2]),
]


@pytest.mark.parametrize("formula", STALE, ids=["network", "ops", "transposed", "rows", "broadcast"])
@pytest.mark.parametrize("change", [halved, loaded, swapped])
def test_a_gradient_through_parameters_that_changed_since_is_refused(change: Any, formula: Any) -> None:
    """With the values of then and now it would be that of nothing."""
    network = Sequential(Linear(3, 3, seed=0))
    network.load({name: np.ones(x.shape) for name, x in network.values().items()})
    optimizer = SGD(network, lr=1.0)
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    before = formula(x, network).sum()
    assert grad(before, [x])[0].data.any()
    change(network, optimizer)
    for wanted in ([x], [network[0].weight], [x, network[0].weight]):
        with pytest.raises(UsageError, match=r"shape \(.*has changed since .* was computed"):
            grad(before, wanted)
    y = formula(x, network)
    assert grad(y.sum(), [x])[0].data.any()


def test_nothing_is_written_where_a_gradient_is_refused() -> None:
    network = Sequential(Linear(3, 2, seed=0))
    optimizer = SGD(network, lr=1.0)
    y = network(Tensor(np.ones((2, 3), np.float32))).sum()
    halved(network, optimizer)
    flat = optimizer.flat.gradient.copy()
    with pytest.raises(UsageError, match="has changed"):
        grad(y, network.parameters(), out=optimizer.gradients)
    assert np.array_equal(optimizer.flat.gradient, flat)
    assert not optimizer.gradients.written


def test_gradients_that_no_changed_parameter_has_a_part_in_are_taken() -> None:
    """A GAN's step: fakes and gradients from before one network moves serve what comes after."""
    generator, critic = Sequential(Linear(2, 3, seed=0)), Sequential(Linear(3, 1, seed=1))
    g, d = SGD(generator, lr=0.1), SGD(critic, lr=0.1)
    fake = generator(Tensor(np.ones((4, 2), np.float32)))
    grad(critic(fake).mean(), critic.parameters(), out=d.gradients)
    d.step()
    loss = critic(fake).mean()  # through the critic as it is now
    grad(loss, generator.parameters(), out=g.gradients)
    grad(loss, critic.parameters(), out=d.gradients)  # both from one point,
    g.step()
    d.step()  # before either moves
    grad((fake * 2).sum(), [fake])
    for again in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert [p.changed for p in again.parameters()] == [0, 0]  # another process has another clock


def test_gradients_have_the_dtype_of_what_they_are_for() -> None:
    x, w = Tensor(np.ones((4, 3), np.float32), requires_grad=True), Tensor(np.ones((3, 2), np.float32), True)
    loss = ((x @ w - np.ones((4, 2))) ** 2).sum()
    gx, gw = grad(loss, [x, w], create_graph=True)
    assert (loss.dtype, gx.dtype, gw.dtype) == (np.float64, np.float32, np.float32)
    assert grad((gw * gw).sum(), [x])[0].dtype == np.float32
    weights = Tensor(np.ones((4, 2)))
    assert grad([x @ w], [w], [weights])[0].dtype == np.float32


def test_a_users_vjp_that_does_not_fit_is_named() -> None:
    x = leaf(2, 3)
    for rule in (
        lambda g, y, x: (lambda: g.sum(axis=0),),
        lambda g, y, x: (g,),
        lambda g, y, x: (lambda: g, lambda: g),
        lambda g, y, x: g,
        lambda g, y, x: (lambda: g.data,),
        lambda g, y, x: (lambda: x @ x,),
        lambda g, y: (lambda: g,),
    ):
        twice = op(lambda x: x * 2)
        twice.name = "twice"
        twice.vjp(rule)
        with pytest.raises(ShapeError, match=r"^twice: its gradient does not fit"):
            grad(twice(x).sum(), [x])
