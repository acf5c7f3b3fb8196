"""The sweeps over the table of layers: what every layer promises, whatever it computes; and what only one does."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient, squares
from tables.layer_twins import torch, twin_of
from tables.layers import ROWS, put

from fastgan import nn
from fastgan.clock import Count
from fastgan.dispatch import use_kernels
from fastgan.nn import Dropout, Embedding, LeakyReLU, Linear, Module, ReLU, Sequential, SpectralNorm
from fastgan.random import Draws, Stream
from fastgan.tape import Op, Tensor, grad

EACH = list({row.kind: row for row in reversed(ROWS)}.values())  # the first row of each layer
WEIGHTED = [row for row in EACH if row.kind in ("Linear", "Conv2d", "ConvTranspose2d")]
FUSED = [*WEIGHTED, *(row for row in EACH if row.kind in ("SpectralNorm", "BatchNorm"))]


def tensors(arrays):
    return [Tensor(x, requires_grad=True) for x in arrays]


def close(got, wanted, tolerance=1e-9):
    assert got.shape == wanted.shape
    largest = max(1, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * largest)


def to_second_order(run, xs):
    """The output, the gradients of its energy, and those of their squares."""
    y = run(xs[0])
    first = grad((y * y).sum(), xs, create_graph=True)
    return [y, *first, *grad(squares(first), xs)]


def test_every_layer_has_a_row():
    public = {name: getattr(nn, name) for name in nn.__all__}
    layers = {name for name, x in public.items() if isinstance(x, type) and issubclass(x, Module)}
    assert layers - {row.kind for row in ROWS} == {"Module", "Sequential"}


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed: references are asked, twins are not")
@pytest.mark.parametrize("row", [row for row in ROWS if twin_of(row)], ids=str)
def test_a_layer_is_pytorchs_to_second_derivatives(row):
    call, arrays, _ = row.function()
    x, parameters, state = row.operands()
    ours, theirs = tensors(arrays), [torch.tensor(a, requires_grad=True) for a in arrays]
    batch = [torch.tensor(x)] if len(arrays) == len(parameters) else []
    y = call(*ours)
    z = twin_of(row)(*batch, *theirs, *map(torch.tensor, state), **row.settings)
    weights = np.random.default_rng(1).normal(size=y.shape)
    first = grad((y * y * weights).sum(), ours, create_graph=True)
    wanted = torch.autograd.grad((z * z * torch.tensor(weights)).sum(), theirs, create_graph=True)
    second = torch.autograd.grad(squares(wanted), theirs)
    for got, there in zip((y, *first, *grad(squares(first), ours)), (z, *wanted, *second), strict=True):
        close(got.data, there.detach().numpy())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_layer_is_its_reference(row, training):
    """Its output and what becomes of its state; its gradients by finite differences; and nearly so in float32, which
    stays float32, through kernels and array code."""
    math, (x, parameters, state), results = row.math, row.operands(), []
    for dtype, kernels in ((np.float64, True), (np.float32, True), (np.float32, False)):
        call, arrays, layer = row.function(dtype, training=training)
        xs = tensors(arrays)
        with use_kernels(kernels):
            y = call(*xs)
            results.append([y.data, *(g.data for g in grad((y * y).sum(), xs) if xs)])
        assert {a.dtype for a in results[-1]} == {np.dtype(dtype)}
        for got, wanted in zip(results[-1], results[0], strict=True):
            close(got, wanted, 1e-3)
        if dtype == np.float64:
            moved = math.moved(x, *parameters, *state, **row.settings) if math.moved and training else state
            for (_, got), wanted in zip(layer.named_state(), moved, strict=True):
                close(got, wanted)
    reference = math.reference if training else math.inference or math.reference
    if reference:
        close(results[0][0], reference(x, *parameters, *state, **row.settings))
    call, arrays, layer = row.function(training=training)
    if (
        training and row.kind == "SpectralNorm"
    ):  # finite differences would move u and v, which are constants here
        y = call(*(xs := tensors(arrays)))
        moved = layer.eval()(xs[0])  # with the parameters and the state that the call has left
        for a, b in zip(grad((y * y).sum(), xs), grad((moved * moved).sum(), xs), strict=True):
            close(a.data, b.data, 1e-12)
    elif training or math.inference:
        for order in (1, 2):
            check_gradient(call, arrays, order=order)


@pytest.mark.parametrize("row", EACH, ids=str)
def test_values_travel_and_seeds_decide_them(row):
    """Also into a layer that has been trained; the seed alone decides, whatever was there before."""
    x = Tensor(row.operands(np.float32)[0])
    one, again, other = (Sequential(row.make(), seed=seed) for seed in (1, 1, 2))
    first = one.values()
    assert all(np.array_equal(a, again.values()[name]) for name, a in first.items())
    for a in again.named_arrays().values():
        a[...] = 7
    again.initialize(Draws(1, Stream.INIT))
    assert all(np.array_equal(a, again.values()[name]) for name, a in first.items())
    drawn = [name for name, p in one.named_parameters() if name.rpartition(".")[2] == "weight"]
    assert all(not np.array_equal(first[name], other.values()[name]) for name in drawn)
    one(x)
    other.load(one.values())
    assert np.array_equal(one.eval()(x).data, other.eval()(x).data)


# Layers and the activation behind them


@pytest.fixture
def ran(monkeypatch):
    """The names of the ops that run from now on."""
    names: list[str] = []
    plain = Op.__call__
    monkeypatch.setattr(Op, "__call__", lambda op, *xs, **s: names.append(op.name) or plain(op, *xs, **s))
    return names


def alike(ways, module, arrays, state, ran):
    """How many ops each way runs; they give the same numbers to second derivatives, and leave the same state."""
    counts, results = [], []
    for run in ways:
        xs, own = tensors(arrays), [a.copy() for a in state]
        put(module, xs[1:], own)
        ran.clear()
        run(xs[0])
        counts.append(len(ran))
        results.append([*to_second_order(run, xs), *map(Tensor, own)])
    for a, b in zip(*results, strict=True):
        close(a.data, b.data, 1e-11)
    return counts


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.3), nn.Tanh(), nn.Sigmoid()])
@pytest.mark.parametrize("row", FUSED, ids=str)
def test_a_layer_and_the_activation_behind_it(row, activation, ran):
    layer, (x, parameters, state) = row.make().eval(), row.operands()
    ways = Sequential(layer, activation), lambda x: activation(layer(x))
    whole, apart = alike(ways, layer, [x, *parameters], state, ran)
    assert apart - whole == (layer.acts is None or activation.act in layer.acts)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", [None, LeakyReLU(0.3), nn.Tanh()])
def test_a_linear_layer_its_activation_and_batch_norm(activation, training, ran):
    """In training one op."""
    layers = [Linear(3, 5), *([activation] if activation else []), nn.BatchNorm(5, eps=0.1)]
    rng, net = np.random.default_rng(0), Sequential(*layers).train(training)
    arrays = [rng.normal(size=shape) for shape in ((7, 3), (3, 5), (5,), (5,), (5,))]
    ways = net, lambda x: layers[-1](Sequential(*layers[:-1])(x))
    assert alike(ways, net, arrays, [np.zeros(5), np.ones(5)], ran) == [1 if training else 2, 2]


@pytest.mark.parametrize("row", WEIGHTED, ids=str)
def test_a_users_own_layer_or_activation_is_not_bypassed(row):
    def changed(module, change):
        kind = type(module)
        module.__class__ = type("Own", (kind,), {"__call__": lambda self, x: change(kind.__call__(self, x))})
        return module

    x, layer, own = Tensor(row.operands(np.float32)[0]), row.make(), changed(row.make(), lambda y: y * 2)
    shifted = changed(LeakyReLU(0.5), lambda y: y + 1)
    assert np.array_equal(Sequential(own, ReLU())(x).data, ReLU()(own(x)).data)
    assert np.array_equal(Sequential(layer, shifted)(x).data, shifted(layer(x)).data)


# What only one layer does


@pytest.mark.parametrize("row", WEIGHTED, ids=str)
def test_a_spectral_norm_brings_the_largest_singular_value_to_one(row):
    layer = row.make()
    norm, x = SpectralNorm(layer), Tensor(row.operands(np.float32)[0])
    for _ in range(100):
        norm(x)
    axis = -2 if row.kind == "ConvTranspose2d" else -1
    matrix = np.moveaxis(layer.weight.data, axis, -1).reshape(-1, layer.weight.shape[axis])
    layer.bias.data[...] = 0
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    np.testing.assert_allclose(norm(x).data, layer(x).data / largest, rtol=1e-3, atol=1e-5)


def test_a_later_pass_does_not_change_the_gradient_of_an_earlier_one():
    norm = SpectralNorm(Linear(5, 4, seed=0))
    norm.v[...] = [1, 0, 0, 0, 0]  # far from where the iteration goes
    w, start = norm.layer.weight, norm.v.copy()
    x, other = (Tensor(np.random.default_rng(k).normal(size=(3, 5)).astype(np.float32)) for k in (0, 1))
    (wanted,) = grad(norm(x).sum(), [w])
    norm.v[...] = start
    y = norm(x).sum()
    for _ in range(5):
        norm(other)
    assert np.array_equal(grad(y, [w])[0].data, wanted.data)


def dropped(net, *, seed=1, step=2):
    net.begin(seed, step)
    return net(Tensor(np.ones((400, 100), np.float32))).numpy()


def test_dropout_keeps_the_mean_and_is_a_function_of_seed_step_layer_and_call():
    layer = Dropout(0.3)
    y = dropped(layer)
    assert sorted(set(y.ravel().tolist())) == [0, pytest.approx(1 / 0.7)]
    assert y.mean() == pytest.approx(1, abs=4 * sqrt(0.3 / 0.7 / y.size))
    again = layer(Tensor(np.ones_like(y))).numpy()
    assert np.array_equal(dropped(layer), y)
    for other in (again, dropped(layer, seed=2), dropped(layer, step=3)):
        assert np.mean((other > 0) == (y > 0)) == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    two = Sequential(Dropout(0.5), Dropout(0.5))
    assert (dropped(two) > 0).mean() == pytest.approx(0.25, abs=0.01)


def test_dropout_by_a_count_is_dropout_by_its_number():
    """Also in calls past those that the stream's number has room for."""
    layer, x = Dropout(0.5), Tensor(np.ones((10, 10), np.float32))
    for calls in (0, 1, 2**16 + 1):
        masks = []
        for step in (7, Count(None, 3, 1, host=2)):
            layer.begin(1, step)
            layer.calls_done = calls
            masks.append(layer(x).numpy().tobytes())
        assert masks[0] == masks[1]


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_may_be_whole_numbers_of_any_kind_and_container(kind):
    layer: Any = Embedding(3, 4, seed=0)
    labels = np.array([2, 0, 2], kind)
    for given in (labels, Tensor(labels), labels.tolist()):
        assert np.array_equal(layer(given).data, layer.weight.data[[2, 0, 2]])
    assert layer(np.array([], kind)).shape == (0, 4)


def test_crops_and_gradients_of_padding_are_whole_arrays_and_no_samples_change_shape_too():
    """A kernel takes nothing else: a view would leave what follows to array code."""
    x = Tensor(np.zeros((2, 8, 8, 3), np.float32), requires_grad=True)
    (g,) = grad(nn.Pad2d(1)(x).sum(), [x])
    assert all(y.data.flags.c_contiguous for y in (nn.Crop2d(7, 7)(x), g, nn.MaxPool2d(2)(x)))
    empty = Tensor(np.zeros((0, 24), np.float32))
    assert nn.Flatten()(nn.Reshape(2, 3, 4)(empty)).shape == (0, 24)
