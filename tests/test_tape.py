"""The tape: which ops a gradient runs, what `grad` returns and where, and what stays in memory."""

import copy
import gc
import pickle
import sys
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gradcheck import check_gradient, squares
from tables.ops import CASES

from fastgan import ops
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import Linear, Sequential
from fastgan.optim import SGD, Ema
from fastgan.tape import Op, Tensor, grad, no_grad, op, recording, tensor
from fastgan.tape.arithmetic import alias


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def close(tensors, *wanted):
    for x, y in zip(tensors, wanted, strict=True):
        np.testing.assert_allclose(x.data, np.broadcast_to(y, x.shape), rtol=1e-7, atol=1e-300)


@pytest.fixture
def calls(monkeypatch):
    """Every op that runs from here on: its name and its output's shape."""
    made, plain = [], Op.__call__

    def counted(self, *operands, **settings):
        y = plain(self, *operands, **settings)
        made.append((self.name, y.shape))
        return y

    monkeypatch.setattr(Op, "__call__", counted)
    return made


def test_a_generator_step_computes_no_gradient_of_the_critic(calls):
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


def test_shared_work_is_done_once_and_branches_away_from_the_inputs_are_not_visited(calls):
    xs = [leaf(4, 3), leaf(3, 2), leaf(2)]
    y = ops.linear_leaky_relu(*xs).sum()
    calls.clear()
    grad(y, xs, create_graph=True)
    assert Counter(name for name, _ in calls)["activation_grad"] == 1
    x, long = leaf(3), leaf(3, seed=1)
    for _ in range(50):
        long = ops.tanh(long)
    y = (x * long).sum()
    calls.clear()
    grad(y, [x])
    assert len(calls) < 5


def test_what_grad_gives():
    x, v, unused = leaf(3), leaf(3, seed=1), Tensor(np.ones((2, 4), np.float32), requires_grad=True)
    weights = [tensor([1.0, 10.0, 100.0]), tensor([1.0, 1.0, 1.0])]
    close(grad(x.sum(), x), 1)  # one input needs no list
    gx, zeros = grad(x.sum(), [x, unused], allow_unused=True)
    close([gx, zeros], 1, 0)
    assert (zeros.shape, zeros.dtype) == ((2, 4), np.float32)
    y, z = x * 2, x * x
    close(grad([y, z], [x], weights), 2 * weights[0].data + 2 * x.data)  # outputs add up
    close(grad([y, y], [x], weights), 2 * (weights[0].data + 1))
    close(grad([y.sum(), z.sum()], [x]), 2 + 2 * x.data)
    close(grad(grad([z], [x], [v], create_graph=True)[0].sum(), [v]), 2 * x.data)  # through grad_outputs
    close(grad((x * (x * 2).detach()).sum(), [x]), 2 * x.data)
    assert x.detach().data is x.data
    assert not x.detach().requires_grad
    h = ops.tanh(x)  # a value in between
    gh, gx = grad((h * h * h).sum(), [h, x], create_graph=True)
    close([gh, gx, *grad(gh.sum(), [h])], 3 * h.data**2, 3 * h.data**2 * (1 - h.data**2), 6 * h.data)
    m, ones = leaf(3, 3), np.ones((3, 3))  # one Tensor on both sides
    close(grad((m - m).sum(), [m]), 0)
    close(grad((m * m).sum(), [m]), 2 * m.data)
    close(grad((m @ m).sum(), [m]), ones @ m.data.T + m.data.T @ ones)


def test_gradients_have_the_dtype_of_what_they_are_for():
    x, w = Tensor(np.ones((4, 3), np.float32), requires_grad=True), Tensor(np.ones((3, 2), np.float32), True)
    loss = ((x @ w - np.ones((4, 2))) ** 2).sum()
    gx, gw = grad(loss, [x, w], create_graph=True)
    assert (loss.dtype, gx.dtype, gw.dtype) == (np.float64, np.float32, np.float32)
    assert grad((gw * gw).sum(), [x])[0].dtype == np.float32
    assert grad([x @ w], [w], [Tensor(np.ones((4, 2)))])[0].dtype == np.float32


def test_what_is_recorded():
    x = leaf(3)
    cubes = (x**3).sum()
    with no_grad():
        y = x * 2
        with recording(True):
            assert (x * 2).requires_grad
        assert grad(cubes, [x], create_graph=True)[0].requires_grad
    assert (y.requires_grad, y.node) == (False, None)
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    quiet = no_grad()(lambda: x * 2)
    assert [t.requires_grad for t in (x * 2, quiet(), quiet(), x * 2)] == [True, False, False, True]
    assert not grad(cubes, [x])[0].requires_grad


def test_no_grad_holds_in_its_own_thread_only():
    x = leaf(3)
    with no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (x * 2).requires_grad).result()
        assert not (x * 2).requires_grad


def test_a_deep_graph_needs_no_recursion():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(5 * sys.getrecursionlimit()):
        y = y * 1.0
    (gx,) = grad((y * y).sum(), [x], create_graph=True)
    close([gx, *grad(gx.sum(), [x])], [2, 4], 2)


def test_what_an_op_made_is_freed_without_the_collector():
    gc.disable()
    try:
        for case in CASES:
            xs = [Tensor(x, requires_grad=True) for x in case.operands()]
            y = case.op(*(alias(x) for x in xs), **case.settings)
            first = grad((y * y).sum(), xs, create_graph=True, allow_unused=True)
            second = grad(squares(first), xs, allow_unused=True)
            watched = [weakref.ref(t) for t in (y, y.data, *first, *second)]
            del y, first, second, xs
            assert [w() for w in watched] == [None] * len(watched), str(case)
    finally:
        gc.enable()


def test_parts_of_a_concatenation_get_whole_arrays():
    """A GEMM's kernel takes no view."""
    a, b = leaf(3, 2), leaf(3, 4)
    for g in grad((ops.concat(a, b, axis=1) ** 2).sum(), [a, b]):
        assert g.data.flags.c_contiguous


def test_derivatives_of_any_order():
    for function in (lambda x: x**4, lambda x: x * x * x * x, lambda x: (x * x) ** 2.0):
        x = Tensor(np.array(1.5), requires_grad=True)
        y, seen = function(x), []
        for _ in range(4):
            (y,) = grad(y, [x], create_graph=True)
            seen.append(y.item())
        assert seen == pytest.approx([4 * 1.5**3, 12 * 1.5**2, 24 * 1.5, 24], rel=1e-12)


def test_third_derivatives_of_a_network_by_finite_differences():
    def network(x, w, b, gamma, beta):
        return ops.tanh(ops.batch_norm(ops.linear(x, w, b) * x, gamma, beta, eps=0.1))

    shapes = [(4, 3), (3, 3), (3,), (3,), (3,)]
    for order in (1, 2, 3):
        check_gradient(network, [leaf(*s, seed=i).data * 0.5 for i, s in enumerate(shapes)], order=order)


def test_a_users_op_has_every_derivative_and_one_without_a_rule_says_so():
    @op
    def cube(x):
        return x * x * x

    x = leaf(3)
    with pytest.raises(UsageError, match=r"cube has no gradient.*\.vjp"):
        grad(cube(x).sum(), [x])
    cube.vjp(lambda g, y, x: (lambda: g * 3 * x * x,))
    for order in (1, 2):
        check_gradient(cube, [x.data], order=order)


def test_a_users_vjp_that_does_not_fit_is_named():
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


def halved(network, optimizer):
    optimizer.step([p.data / 2 for p in network.parameters()])


def loaded(network, optimizer):
    network.load({name: x / 2 for name, x in network.values().items()})


def swapped(network, optimizer):
    ema = Ema(network, decay=0.5)
    ema.average /= 2
    ema.swap()


STALE = [
    lambda x, network: network(x),
    lambda x, network: x @ network[0].weight + network[0].bias,
    lambda x, network: x @ network[0].weight.T,
    lambda x, network: x * network[0].weight[:1],
    lambda x, network: x * alias(ops.broadcast_to(network[0].weight, shape=(2, 3, 3))[0, :2]),
]


@pytest.mark.parametrize("formula", STALE, ids=["network", "ops", "transposed", "rows", "broadcast"])
@pytest.mark.parametrize("change", [halved, loaded, swapped])
def test_a_gradient_through_parameters_that_changed_since_is_refused(change, formula):
    """With the values of then and now it would be that of nothing. Nothing is written to `out` either."""
    network = Sequential(Linear(3, 3, seed=0))
    network.load({name: np.ones(x.shape) for name, x in network.values().items()})
    optimizer, weight = SGD(network, lr=1.0), network[0].weight
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    before = formula(x, network).sum()
    assert grad(before, [x])[0].data.any()
    change(network, optimizer)
    kept = optimizer.flat.gradient.copy()
    all_of_them = network.parameters(), optimizer.gradients
    for wanted, out in (([x], None), ([weight], None), ([x, weight], None), all_of_them):
        with pytest.raises(UsageError, match=r"shape \(.*has changed since .* was computed"):
            grad(before, wanted, out=out)
    assert np.array_equal(optimizer.flat.gradient, kept)
    assert not optimizer.gradients.written
    assert grad(formula(x, network).sum(), [x])[0].data.any()


def test_gradients_that_no_changed_parameter_has_a_part_in_are_taken():
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
