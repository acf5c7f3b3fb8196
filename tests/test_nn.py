"""Networks as a whole: first values, the flat buffer, and values out and in by name."""

from math import sqrt

import numpy as np
import pytest

from fastgan import nn
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Embedding,
    LeakyReLU,
    Linear,
    Net,
    Sequential,
    flatten,
)
from fastgan.optim import SGD, Adam, RMSProp
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, grad

FIRST = {  # the variance of i inputs and o outputs, and the bound in units of the standard deviation
    "torch": (lambda i, o: 1 / (3 * i), sqrt(3)),
    "glorot_uniform": (lambda i, o: 2 / (i + o), sqrt(3)),
    "glorot_normal": (lambda i, o: 2 / (i + o), None),
    "he_uniform": (lambda i, o: 2 / i, sqrt(3)),
    "he_normal": (lambda i, o: 2 / i, None),
    "lecun_uniform": (lambda i, o: 1 / i, sqrt(3)),
    "lecun_normal": (lambda i, o: 1 / i, None),
    "normal": (lambda i, o: 1, None),
    "uniform": (lambda i, o: 1 / 3, sqrt(3)),
    "truncated_normal": (lambda i, o: 0.87963**2, 2 / 0.87963),
    "orthogonal": (lambda i, o: 1 / max(i, o), None),
    "igul": (lambda i, o: 2 / (i + o), sqrt(3)),
    "zeros": (lambda i, o: 0, 0),
}


@pytest.mark.parametrize("shape", [(300, 500), (700, 200), (4, 4, 64, 300)], ids=str)
@pytest.mark.parametrize("name", nn.INITIALIZERS)
def test_first_values(name, shape):
    """A kernel's height and width count in the inputs and outputs of a unit."""
    if len(shape) == 4 and name in ("orthogonal", "igul"):
        return  # below
    variance, bound = FIRST[name]
    x = nn.initialize(name, shape, Draws(0, Stream.INIT), scale=0.5)
    assert (x.dtype, x.shape) == (np.float32, shape)
    std = sqrt(variance(*(int(np.prod(shape[:-2])) * f for f in shape[-2:]))) / 2
    assert x.std() == pytest.approx(std, rel=0.01)
    assert abs(x.mean()) <= 4 * x.std() / sqrt(x.size)
    if bound is not None:
        assert bound * std * 0.999 <= np.abs(x).max() <= bound * std * (1 + 1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 2, 5)], ids=str)
def test_orthogonal_is(shape):
    x = nn.initialize("orthogonal", shape, Draws(0, Stream.INIT)).astype(np.float64).reshape(-1, shape[-1])
    product = x.T @ x if len(x) >= shape[-1] else x @ x.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)


@pytest.mark.parametrize(("stride", "places"), [(1, 1), (2, 4), ((1, 3), 3)])
def test_igul222s_first_values_count_what_a_stride_leaves_out(stride, places):
    more = {"stride": stride, "init": "igul"}
    for layer in Conv2d(64, 128, 5, **more), ConvTranspose2d(128, 64, 5, **more):
        bound = sqrt(12 / (64 * 25 + 128 * 25 / places))
        assert abs(layer.weight.data).max() == pytest.approx(bound, rel=1e-3)
        assert layer.weight.data.std() == pytest.approx(bound / sqrt(3), rel=0.01)


def test_biases_start_at_zero_but_for_pytorchs_default_and_embeddings_at_normal_values():
    """There they are like the weight; of a transposed convolution PyTorch counts the outputs."""
    for kind, i, args in (Linear, 4, ()), (Conv2d, 1, (2,)), (ConvTranspose2d, 1, (2,)):
        assert not kind(i, 300, *args, init="he_normal", seed=0).bias.data.any()
        bound = (4 * (300 if kind is ConvTranspose2d else 1)) ** -0.5
        assert 0.97 * bound < np.abs(kind(i, 300, *args, init="torch", seed=0).bias.data).max() <= bound
    w = Embedding(100, 200, seed=0).weight.data
    assert (w.std(), w.mean()) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02))
    assert Embedding(100, 200, init="glorot_uniform", init_scale=0.5).weight.data.std() < 0.1


def test_seeds_and_numbers_decide_first_values():
    recipe = Net(("linear 5", "leaky_relu 0.2", "batch_norm", "linear o"))
    settings = {"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "number": 1}
    a, b, *others = (recipe.build(4, 3, **more).values() for more in settings)
    assert all(np.array_equal(x, b[name]) for name, x in a.items())
    assert not any(np.array_equal(a["0.weight"], other["0.weight"]) for other in others)
    square = Net(("linear 4", "linear 4")).build(4, 4, seed=0).values()
    assert not np.array_equal(square["0.weight"], square["1.weight"])
    weights = [Linear(4, 3, **more).weight.data for more in ({"seed": 5}, {"seed": 5}, {}, {})]
    assert [np.array_equal(*pair) for pair in (weights[:2], weights[2:])] == [True, False]


def network():
    layers = Linear(3, 5), LeakyReLU(0.2), BatchNorm(5), Linear(5, 7, bias=False), Linear(7, 1)
    return Sequential(*layers, seed=0)


def batch(n):
    return Tensor(np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32))


def test_parameters_are_views_of_an_aligned_buffer_and_keep_their_values():
    net, twin = network(), network()
    flat = flatten(net)
    for p, q, g in zip(net.parameters(), twin.parameters(), flat.gradients, strict=True):
        assert np.array_equal(p.data, q.data)
        assert (p.data.dtype, g.shape) == (np.float32, p.shape)
        assert np.shares_memory(p.data, flat.buffer)
        assert np.shares_memory(g, flat.gradient)
    views = [*(p.data for p in net.parameters()), *flat.gradients]
    for array in (flat.buffer, flat.gradient, flat.like(), *views):
        assert array.ctypes.data % 128 == 0
        assert array.flags.c_contiguous
    flat.buffer[...] = 3
    assert all((p.data == 3).all() for p in net.parameters())
    assert flatten(net) is flat
    assert flat.buffer.size == sum(-(-p.size // 32) * 32 for p in net.parameters())


@pytest.mark.parametrize("optimizer", [Adam, RMSProp, SGD])
def test_the_gaps_of_the_buffer_stay_zero(optimizer):
    net = network()
    o = optimizer(net, lr=0.1)
    before, gaps = o.flat.buffer.copy(), np.ones_like(o.flat.buffer)
    for p in net.parameters():
        start = (p.data.ctypes.data - o.flat.buffer.ctypes.data) // 4
        gaps[start : start + p.size] = 0
    assert 0 < gaps.sum() < gaps.size
    for _ in range(5):
        grad((net(batch(9)) ** 2).mean(), net.parameters(), out=o.gradients)
        o.step()
    for array in (o.flat.buffer, o.flat.gradient, *o.state.values()):
        assert not (array * gaps).any()
        assert array.any()
    assert not np.array_equal(o.flat.buffer, before)


def test_values_come_back_by_load_and_a_load_that_fails_changes_nothing():
    net, other = network(), network()
    flatten(other)
    net(batch(8))
    names = "0.weight 0.bias 2.gamma 2.beta 3.weight 4.weight 4.bias 2.mean 2.variance"
    assert list(net.values()) == names.split()
    saved = {name: x.copy() + 1 for name, x in net.values().items()}
    other.load(saved)
    assert all(np.array_equal(x, saved[name]) for name, x in other.values().items())
    assert np.shares_memory(other.parameters()[0].data, flatten(other).buffer)
    with pytest.raises(ShapeError):
        other.load({name: x + 1 for name, x in saved.items()} | {"2.variance": np.zeros(4)})
    assert all(np.array_equal(x, saved[name]) for name, x in other.values().items())


def test_train_and_eval_reach_every_layer():
    net = network()
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 6
    assert [m.training for m in net.train().modules()] == [True] * 6


def test_parts_of_an_optimized_network_get_no_optimizer_of_their_own():
    """Their parameters would move to another buffer, and one of the two optimizers would train nothing."""
    for first_whole in (False, True):
        inner = Linear(2, 3)
        outer = Sequential(inner, Linear(3, 1))
        first, second = (outer, inner) if first_whole else (inner, outer)
        Adam(first)
        with pytest.raises(UsageError, match="shares parts"):
            Adam(second)
