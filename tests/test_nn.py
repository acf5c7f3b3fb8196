"""Networks as a whole: the articles' sizes, first values, the flat buffer, and values out and in by name."""

from math import sqrt
from typing import Any

import numpy as np
import pytest

from fastgan import nn
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import BatchNorm, Conv2d, ConvTranspose2d, LeakyReLU, Linear, Net, Sequential, flatten
from fastgan.optim import SGD, Adam, RMSProp
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, grad

# name, the shape's standard deviation, and its bound (None: unbounded)
FIRST = [
    ("torch", lambda i, o: 1 / sqrt(3 * i), lambda i, o: 1 / sqrt(i)),
    ("glorot_uniform", lambda i, o: sqrt(2 / (i + o)), lambda i, o: sqrt(6 / (i + o))),
    ("glorot_normal", lambda i, o: sqrt(2 / (i + o)), None),
    ("he_uniform", lambda i, o: sqrt(2 / i), lambda i, o: sqrt(6 / i)),
    ("he_normal", lambda i, o: sqrt(2 / i), None),
    ("lecun_uniform", lambda i, o: sqrt(1 / i), lambda i, o: sqrt(3 / i)),
    ("lecun_normal", lambda i, o: sqrt(1 / i), None),
    ("normal", lambda i, o: 1, None),
    ("uniform", lambda i, o: 1 / sqrt(3), lambda i, o: 1),
    ("truncated_normal", lambda i, o: 0.87963, lambda i, o: 2),
    ("orthogonal", lambda i, o: 1 / sqrt(max(i, o)), None),
    ("igul", lambda i, o: sqrt(2 / (i + o)), lambda i, o: sqrt(6 / (i + o))),
    ("zeros", lambda i, o: 0, lambda i, o: 0),
]


@pytest.mark.parametrize("shape", [(300, 500), (700, 200), (4, 4, 64, 300)], ids=str)
@pytest.mark.parametrize(("name", "std", "bound"), FIRST, ids=[name for name, _, _ in FIRST])
def test_first_values(name: str, std: Any, bound: Any, shape: tuple[int, ...]) -> None:
    """A kernel's height and width count in the inputs and outputs of a unit."""
    if len(shape) == 4 and name in ("orthogonal", "igul"):
        return  # below
    x = nn.initialize(name, shape, Draws(0, Stream.INIT), scale=0.5)
    assert (x.dtype, x.shape) == (np.float32, shape)
    fans = [int(np.prod(shape[:-2])) * f for f in shape[-2:]]
    assert x.std() == pytest.approx(std(*fans) / 2, rel=0.01)
    assert abs(x.mean()) <= 4 * x.std() / sqrt(x.size)
    if bound is not None:
        limit = bound(*fans) / 2
        assert np.abs(x).max() <= limit * (1 + 1e-6)
        assert np.abs(x).max() >= limit * 0.999


def test_every_initializer_is_tested() -> None:
    assert {name for name, _, _ in FIRST} == set(nn.INITIALIZERS)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 2, 5)], ids=str)
def test_orthogonal_is(shape: tuple[int, ...]) -> None:
    x = nn.initialize("orthogonal", shape, Draws(0, Stream.INIT)).astype(np.float64).reshape(-1, shape[-1])
    product = x.T @ x if len(x) >= shape[-1] else x @ x.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)


@pytest.mark.parametrize(("stride", "places"), [(1, 1), (2, 4), ((1, 3), 3)])
def test_igul222s_first_values_count_what_a_stride_leaves_out(stride: Any, places: int) -> None:
    settings = {"stride": stride, "init": "igul"}
    for layer in (Conv2d(64, 128, 5, **settings), ConvTranspose2d(128, 64, 5, **settings)):
        bound = sqrt(12 / (64 * 25 + 128 * 25 / places))
        assert abs(layer.weight.data).max() == pytest.approx(bound, rel=1e-3)
        assert layer.weight.data.std() == pytest.approx(bound / sqrt(3), rel=0.01)


def test_seeds_and_numbers_decide_first_values() -> None:
    recipe = Net(("linear 5", "leaky_relu 0.2", "batch_norm", "linear o"))
    a, b, other, second = (
        recipe.build(4, 3, **k) for k in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "number": 1})
    )
    for name, x in a.values().items():
        assert np.array_equal(x, b.values()[name])
    for network in (other, second):
        assert not np.array_equal(a.values()["0.weight"], network.values()["0.weight"])
    square = Net(("linear 4", "linear 4")).build(4, 4, seed=0).values()
    assert not np.array_equal(square["0.weight"], square["1.weight"])
    assert np.array_equal(Linear(4, 3, seed=5).weight.data, Linear(4, 3, seed=5).weight.data)
    assert not np.array_equal(Linear(4, 3).weight.data, Linear(4, 3).weight.data)


@pytest.mark.parametrize(
    ("kind", "i", "args"), [(Linear, 4, ()), (Conv2d, 1, (2,)), (ConvTranspose2d, 1, (2,))]
)
def test_biases_start_at_zero_but_for_pytorchs_default(kind: Any, i: int, args: Any) -> None:
    """There they are like the weight; of a transposed convolution PyTorch counts the outputs."""
    assert not kind(i, 300, *args, init="he_normal", seed=0).bias.data.any()
    bound = (4 * (300 if kind is ConvTranspose2d else 1)) ** -0.5
    assert 0.97 * bound < np.abs(kind(i, 300, *args, init="torch", seed=0).bias.data).max() <= bound


def network() -> Sequential:
    return Sequential(
        Linear(3, 5), LeakyReLU(0.2), BatchNorm(5), Linear(5, 7, bias=False), Linear(7, 1), seed=0
    )


def test_parameters_are_views_of_an_aligned_buffer_and_keep_their_values() -> None:
    net, twin = network(), network()
    flat = flatten(net)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)
        assert p.data.dtype == np.float32
    for array in (
        flat.buffer,
        flat.gradient,
        flat.like(),
        *(p.data for p in net.parameters()),
        *flat.gradients,
    ):
        assert array.ctypes.data % 128 == 0
        assert array.flags.c_contiguous
    for p, g in zip(net.parameters(), flat.gradients, strict=True):
        assert np.shares_memory(p.data, flat.buffer)
        assert np.shares_memory(g, flat.gradient)
        assert g.shape == p.shape
    flat.buffer[...] = 3
    assert all((p.data == 3).all() for p in net.parameters())
    assert flatten(net) is flat
    assert flat.buffer.size == sum(-(-p.size // 32) * 32 for p in net.parameters())


@pytest.mark.parametrize("optimizer", [Adam, RMSProp, SGD])
def test_the_gaps_of_the_buffer_stay_zero(optimizer: Any) -> None:
    net = network()
    x = Tensor(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32))
    o = optimizer(net, lr=0.1)
    gaps = o.flat.like()
    before = o.flat.buffer.copy()
    o.flat.buffer[...] = 1
    for p in net.parameters():
        p.data[...] = 0
    gaps[...] = o.flat.buffer
    o.flat.buffer[...] = before
    assert 0 < gaps.sum() < gaps.size
    for _ in range(5):
        grad((net(x) ** 2).mean(), net.parameters(), out=o.gradients)
        o.step()
    for array in (o.flat.buffer, o.flat.gradient, *o.state.values()):
        assert not (array * gaps).any()
        assert array.any()
    assert not np.array_equal(o.flat.buffer, before)


def test_values_come_back_by_load() -> None:
    net, other = network(), network()
    flatten(other)
    net(Tensor(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)))
    names = [
        "0.weight",
        "0.bias",
        "2.gamma",
        "2.beta",
        "3.weight",
        "4.weight",
        "4.bias",
        "2.mean",
        "2.variance",
    ]
    assert list(net.values()) == names
    saved = {name: x.copy() + 1 for name, x in net.values().items()}
    other.load(saved)
    for name, x in other.values().items():
        assert np.array_equal(x, saved[name])
    assert np.shares_memory(other.parameters()[0].data, flatten(other).buffer)


def test_a_load_that_fails_changes_nothing() -> None:
    net = network()
    before = {name: x.copy() for name, x in net.values().items()}
    with pytest.raises(ShapeError):
        net.load({name: x + 1 for name, x in before.items()} | {"2.variance": np.zeros(4)})
    assert all(np.array_equal(x, before[name]) for name, x in net.values().items())


def test_train_and_eval_reach_every_layer() -> None:
    net = network()
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 6
    assert [m.training for m in net.train().modules()] == [True] * 6


def test_parts_of_an_optimized_network_get_no_optimizer_of_their_own() -> None:
    """Their parameters would move to another buffer, and one of the two optimizers would train nothing."""
    inner = Linear(2, 3)
    outer = Sequential(inner, Linear(3, 1))
    Adam(inner)
    with pytest.raises(UsageError, match="shares parts"):
        Adam(outer)
    other = Linear(2, 3)
    Adam(Sequential(other, Linear(3, 1)))
    with pytest.raises(UsageError, match="shares parts"):
        Adam(other)
