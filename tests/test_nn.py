"""Networks as a whole: the articles' sizes, first values, the flat buffer, and values out and in by name."""

from math import sqrt
from typing import Any

import numpy as np
import pytest

from fastgan import nn
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import BatchNorm, LeakyReLU, Linear, Net, Sequential, flatten
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


@pytest.mark.parametrize("shape", [(300, 500), (700, 200)], ids=str)
@pytest.mark.parametrize(("name", "std", "bound"), FIRST, ids=[name for name, _, _ in FIRST])
def test_first_values(name: str, std: Any, bound: Any, shape: tuple[int, int]) -> None:
    x = nn.initialize(name, shape, Draws(0, Stream.INIT), scale=0.5)
    assert (x.dtype, x.shape) == (np.float32, shape)
    assert x.std() == pytest.approx(std(*shape) / 2, rel=0.01)
    assert abs(x.mean()) <= 4 * x.std() / sqrt(x.size)
    if bound is not None:
        limit = bound(*shape) / 2
        assert np.abs(x).max() <= limit * (1 + 1e-6)
        assert np.abs(x).max() >= limit * 0.999


def test_every_initializer_is_tested() -> None:
    assert {name for name, _, _ in FIRST} == set(nn.INITIALIZERS)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)], ids=str)
def test_orthogonal_is(shape: tuple[int, int]) -> None:
    x = nn.initialize("orthogonal", shape, Draws(0, Stream.INIT)).astype(np.float64)
    product = x.T @ x if shape[0] >= shape[1] else x @ x.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-6)


def test_an_unknown_initializer_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="got initializer 'he_norma'; did you mean he_normal"):
        Linear(2, 2, init="he_norma")


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


def test_biases_start_at_zero_but_for_pytorchs_default() -> None:
    assert not Linear(4, 300, init="he_normal", seed=0).bias.data.any()
    bias = Linear(4, 300, init="torch", seed=0).bias.data
    assert 0.49 < np.abs(bias).max() <= 0.5


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
    with pytest.raises(ShapeError, match=r"got values for 8 arrays, wanted 9.*2\.mean"):
        other.load({name: x for name, x in saved.items() if name != "2.mean"})
    with pytest.raises(ShapeError, match=r"wanted 9.*extra"):
        other.load(saved | {"extra": np.zeros(1)})
    with pytest.raises(ShapeError, match=r"0\.bias: got shape \(4,\), wanted \(5,\)"):
        other.load(saved | {"0.bias": np.zeros(4)})


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 3), "Linear: got 0 features in and 3 out"),
        (lambda: LeakyReLU(1.5), "got slope 1.5"),
        (lambda: BatchNorm(3, momentum=2), "BatchNorm: got momentum 2"),
        (lambda: Net(("linear o",)).build(2, 1, seed=-1), "got seed -1"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises((UsageError, ShapeError), match=message):
        make()
