"""First-order rules against the vjps, which are the truth: every op that has one, every way that `grad` calls it."""

from itertools import product

import numpy as np
import pytest
from tables.ops import CASES

from fastgan import nn, ops
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError
from fastgan.tape import Op, Tensor, grad, op, tensor

RULED = [case for case in CASES if isinstance(case.op, Op) and case.op.first is not None and case.gradient]


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def energy(y):
    """A loss whose gradient for y is neither 0 nor 1."""
    return (y * y).sum() + y.sum() * 0.3


def truth(loss, xs, seeds=None):
    """Gradients by vjps alone."""
    return grad(loss, xs, seeds, allow_unused=True, create_graph=True)


def agree(loss, xs, seeds=None, *, wanted=None, tolerance=1e-9):
    """First-order rules give the same, in arrays of their own and in given ones, which are full of something else."""
    wanted = wanted or truth(loss, xs, seeds)
    for out in (None, [np.full(x.shape, 7, x.dtype) for x in xs]):
        got = grad(loss, xs, seeds, allow_unused=True, out=out)
        for k, (x, a, b) in enumerate(zip(xs, got, wanted, strict=True)):
            assert (a.shape, b.shape, a.dtype, b.dtype) == (x.shape, x.shape, x.dtype, x.dtype)
            assert out is None or a.data is out[k]
            np.testing.assert_allclose(a.data, b.data, rtol=tolerance, atol=tolerance)


def test_there_are_rules_for_what_training_runs():
    wanted = {ops.linear, ops.linear_norm, ops.batch_norm, ops.convolve, ops.convolve_transposed}
    assert {*wanted, ops.matmul, ops.activation, ops.score_loss} <= {case.op for case in RULED}


@pytest.mark.parametrize("case", RULED, ids=str)
@pytest.mark.parametrize("kernels", [False, True])
def test_every_subset_of_gradients(case, kernels):
    """In float32 kernels run where there are any; the array code is compared in float64."""
    dtype, tolerance = (np.float32, 3e-5) if kernels else (np.float64, 1e-9)
    with use_kernels(kernels):
        xs = [Tensor(x, requires_grad=True) for x in case.operands(dtype)]
        loss = energy(case.op(*xs, **case.settings))
        all_of_them = truth(loss, xs)
        for subset in product((False, True), repeat=len(xs)):
            some = [[t for t, chosen in zip(ts, subset, strict=True) if chosen] for ts in (xs, all_of_them)]
            if any(subset):
                agree(loss, some[0], wanted=some[1], tolerance=tolerance)


def upon(y):
    """A layer that hands its input's activation over, where there is one for such an input."""
    if y.ndim == 2:
        return ops.linear(y, leaf(y.shape[1], 2), leaf(2))
    return ops.convolve(y, leaf(1, 1, y.shape[3], 2), stride=(1, 1), pad=(0,) * 4) if y.ndim == 4 else y


@pytest.mark.parametrize("case", RULED, ids=str)
@pytest.mark.parametrize("act", [{"act": "leaky", "slope": 0.2}, {"act": "tanh", "slope": 1.0}], ids=str)
def test_an_activations_derivative_handed_over_is_there_once(case, act):
    """`below` and `premasked`: alone, and where a second use, a wanted value in between or a seed forbids it."""
    xs = [Tensor(x, requires_grad=True) for x in case.operands()]
    y = case.op(ops.activation(xs[0], **act), *xs[1:], **case.settings)
    agree(energy(upon(y)), xs)
    z = ops.activation(xs[0], **act)
    before = energy(z)
    loss = energy(case.op(z, *xs[1:], **case.settings))
    agree(loss, [*xs, z])  # the value in between is asked for as well
    agree(loss + energy(z), xs)  # and has a second use, which gives its gradient first
    agree(loss + before, xs)  # or after the op's
    agree([loss, z], xs, [Tensor(np.ones(())), Tensor(np.full(z.shape, 0.7))])  # or is itself differentiated


@pytest.mark.parametrize("act", [("leaky", 0.2), ("tanh", 1.0)])
def test_batch_norm_in_inference_is_handed_nothing_over(act):
    """Its gradient is the vjp's, which does not know of an activation's derivative that is there already."""
    rng = np.random.default_rng(0)
    x, gamma, beta, w, b = (leaf(*s) for s in ((5, 3), (3,), (3,), (3, 2), (2,)))
    running = {"mean": rng.normal(size=3), "variance": rng.uniform(0.5, 2, 3)}
    h = ops.batch_norm(x, gamma, beta, act=act[0], slope=act[1], training=False, **running)
    agree(energy(ops.linear(h, w, b)), [x, gamma, beta, w, b])


@pytest.mark.parametrize("case", RULED, ids=str)
def test_an_input_used_twice_has_the_sum(case):
    xs = [Tensor(x, requires_grad=True) for x in case.operands()]
    first, second = (case.op(*xs, **case.settings) for _ in range(2))
    agree(energy(first) + energy(second) * 0.5, xs)


def test_values_that_are_used_asked_for_or_differentiated_more_than_once():
    x, w, b, unused, v = leaf(4, 3), leaf(3, 3, seed=1), leaf(3), leaf(5), leaf(3, seed=2)
    one, seed = Tensor(np.ones(())), tensor([1.0, 2.0, 3.0])
    y = ops.tanh(ops.linear_leaky_relu(x, w, b))
    agree((y * y).sum() + (b * b).sum() + (x @ w).mean(), [x, w, b, unused])
    h = Tensor(x.data)
    for _ in range(3):
        h = ops.linear_leaky_relu(h, w, b)
    agree(h.sum(), [w, b])
    agree(energy(w @ w), [w])
    agree(energy(ops.linear(w, w, Tensor(np.ones(3)), act="tanh", slope=1.0)), [w])
    h = b * v
    agree((h * h + h + b).sum(), [h, b, v])
    y = b * 2
    z = (y * y).sum()
    agree(z, [z], wanted=[one])
    agree([y], [y], [seed], wanted=[Tensor(seed.data.astype(float))])
    agree([y, z], [y], [seed, one], wanted=[Tensor(seed.data + 2 * y.data)])
    agree(b.sum(), [b, b], wanted=[Tensor(np.ones(3))] * 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out_lands_in_a_flat_buffer_and_nothing_beside_it(dtype):
    xs = [Tensor(leaf(*s).data.astype(dtype), requires_grad=True) for s in ((4, 3), (3, 2), (2,))]
    flat = np.full(40, 7, dtype)
    out = [flat[1:13].reshape(4, 3), flat[20:26].reshape(3, 2), flat[30:32]]
    loss = ops.linear_leaky_relu(*xs).sum()
    wanted = grad(loss, xs)
    grad(loss, xs, out=out)
    for place, g in zip(out, wanted, strict=True):
        np.testing.assert_allclose(place, g.data, rtol=1e-6)
    flat[1:13] = flat[20:26] = flat[30:32] = 7
    assert (flat == 7).all()


def test_a_stranger_s_network_gets_the_fused_backward(monkeypatch):
    """One backward pass per layer, and no activation's derivative by itself."""
    layers = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1)
    net, seen, plain = nn.Sequential(*layers), [], ops.dense.linear_backward.plain

    def spy(*operands, **settings):
        seen.append((settings["act"], settings["slope"]))
        return plain(*operands, **settings)

    monkeypatch.setattr(ops.dense.linear_backward, "plain", spy)
    with use_kernels(False):
        grad(net(Tensor(leaf(5, 3).data.astype(np.float32))).sum(), net.parameters())
    assert seen == [("leaky", 0.2), ("tanh", 1.0), ("leaky", 1.0)]


def test_a_gradient_has_its_operands_dtype():
    """Batch norm of float64 samples by a layer in float32."""
    layer, x = nn.BatchNorm(3), leaf(5, 3)
    agree(energy(layer(x)), [x, *layer.parameters()], tolerance=1e-6)


def test_a_rule_may_leave_it_to_the_vjp_and_one_that_gives_a_wrong_shape_is_named():
    @op
    def doubled(x):
        return x * 2

    doubled.vjp(lambda g, y, x: (lambda: g * 2,))
    doubled.first_order(lambda g, y, x: NotImplemented)
    x = leaf(3)
    assert grad(doubled(x).sum(), [x])[0].data.tolist() == [2, 2, 2]
    doubled.first_order(lambda g, y, x: (g[:1] * 2,))
    with pytest.raises(ShapeError, match=r"doubled.*\(1,\).*\(3,\)"):
        grad(doubled(x).sum(), [x])
