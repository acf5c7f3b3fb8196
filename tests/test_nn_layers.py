"""Each layer against a plain reference, and how Sequential puts them together."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan import nn
from fastgan.clock import Count
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import MLP, BatchNorm, Dropout, LeakyReLU, Linear, Maxout, Module, ReLU, Sequential
from fastgan.optim import Adam
from fastgan.tape import Op, Tensor, grad, tensor


def normalise(x: NDArray[Any], eps: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean, variance = flat.mean(0), flat.var(0)
    return (x - mean) / np.sqrt(variance + eps), mean, variance


@pytest.mark.parametrize("correction", [0, 1, 1.001])
@pytest.mark.parametrize("shape", [(16, 3), (4, 5, 2, 3)], ids=str)
def test_batch_norm_trains_on_the_batch_and_infers_from_running_statistics(
    shape: tuple[int, ...], correction: float
) -> None:
    layer = BatchNorm(3, momentum=0.2, eps=1e-3, correction=correction)
    n = np.prod(shape[:-1])
    layer.gamma.data[...], layer.beta.data[...] = [1, 2, -3], [0.5, 0, 1]
    gamma, beta = layer.gamma.data.copy(), layer.beta.data.copy()
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = (np.random.default_rng(seed).normal(size=shape) * [1, 5, 0.1] + [0, 3, -2]).astype(np.float32)
        wanted, batch_mean, batch_variance = normalise(x, 1e-3)
        np.testing.assert_allclose(layer(Tensor(x)).data, wanted * gamma + beta, atol=2e-5)
        mean = 0.8 * mean + 0.2 * batch_mean
        variance = 0.8 * variance + 0.2 * batch_variance * n / (n - correction)
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.variance, variance, rtol=1e-4)
    layer.eval()
    inferred = layer(Tensor(x)).data
    np.testing.assert_allclose(
        inferred, (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(layer(Tensor(x[:1])).data, inferred[:1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.mean, mean, rtol=1e-5, atol=1e-6)


def test_batch_norms_gradient_in_inference_does_not_go_through_the_statistics() -> None:
    layer = BatchNorm(2)
    layer.variance[...] = 3
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (gx,) = grad(layer.eval()(x).sum(), [x])
    np.testing.assert_allclose(gx.data, 1 / np.sqrt(3 + 1e-5), rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)], ids=str)
def test_batch_norm_refuses_a_batch_of_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"BatchNorm: got a batch of 1 rows \(1,.* more than 1"):
        BatchNorm(3, correction=0)(Tensor(np.ones(shape, np.float32)))
    generator = MLP((3,), batch_norm=0.1).build(2, 3, seed=0)
    with pytest.raises(ShapeError, match=r"BatchNorm: got a batch of 1 rows \(1, 3\)"):
        generator(Tensor(np.ones((1, 2), np.float32)))


@pytest.mark.parametrize("correction", [-1, float("nan"), float("inf")])
def test_batch_norm_refuses_a_correction_that_is_none(correction: float) -> None:
    with pytest.raises(UsageError, match="correction"):
        BatchNorm(3, correction=correction)


def dropped(net: Module, *, seed: int, step: int, n: int = 40_000) -> NDArray[Any]:
    net.begin(seed, step)
    return net(Tensor(np.ones((n // 100, 100), np.float32))).numpy()


def test_dropout_keeps_the_mean_and_is_a_function_of_seed_step_layer_and_call() -> None:
    layer = Dropout(0.3)
    y = dropped(layer, seed=1, step=2)
    assert sorted(set(y.ravel().tolist())) == [0, pytest.approx(1 / 0.7)]
    assert y.mean() == pytest.approx(1, abs=4 * sqrt(0.3 / 0.7 / y.size))
    again = layer(Tensor(np.ones_like(y))).numpy()
    assert np.array_equal(dropped(layer, seed=1, step=2), y)
    for other in (again, dropped(layer, seed=2, step=2), dropped(layer, seed=1, step=3)):
        assert np.mean((other > 0) == (y > 0)) == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    two = Sequential(Dropout(0.5), Dropout(0.5))
    assert (dropped(two, seed=0, step=0) > 0).mean() == pytest.approx(0.25, abs=0.01)


def test_dropout_by_a_count_is_dropout_by_its_number() -> None:
    """Also in calls past those that the stream's number has room for."""
    layer, x = Dropout(0.5), Tensor(np.ones((10, 10), np.float32))
    for calls in (0, 1, 2**16 + 1):
        masks = []
        for step in (7, Count(None, 3, 1, host=2)):
            layer.begin(1, step)
            layer.calls_done = calls
            masks.append(layer(x).numpy().tobytes())
        assert masks[0] == masks[1]


def test_dropout_in_inference_or_at_rate_zero_does_nothing() -> None:
    x = tensor([1.0, 2.0])
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x
    with pytest.raises(UsageError, match="got rate 1"):
        Dropout(1.0)


def test_dropouts_gradient_goes_through_what_was_kept() -> None:
    x = Tensor(np.ones(1000, np.float32), requires_grad=True)
    y = Dropout(0.5)(x)
    assert np.array_equal(grad(y.sum(), [x])[0].data, y.data)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.3)])
def test_sequential_runs_linear_and_leaky_relu_as_one_op(
    activation: LeakyReLU, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    plain = Op.__call__

    def noted(op: Op, *operands: Any, **settings: Any) -> Tensor:
        ran.append(op.name)
        return plain(op, *operands, **settings)

    monkeypatch.setattr(Op, "__call__", noted)
    first, last = Linear(3, 5, seed=1), Linear(5, 2, bias=False, seed=2)
    net = Sequential(first, activation, last, activation, activation)
    x = Tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    with use_kernels(kernels):
        got = net(x)
    assert ran == ["linear", "matmul", "activation", "activation"]
    wanted = activation(activation(last(activation(first(x)))))
    np.testing.assert_allclose(got.data, wanted.data, rtol=1e-6)
    fused = grad(got.sum(), net.parameters())
    separate = grad(wanted.sum(), net.parameters())
    for a, b in zip(fused, separate, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)


def test_a_users_own_linear_layer_is_not_bypassed() -> None:
    class Doubled(Linear):
        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__(x) * 2

    class Shifted(LeakyReLU):
        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__(x) + 1

    x = tensor([[1.0, -1.0]])
    doubled, linear, shifted = Doubled(2, 3, seed=0), Linear(2, 3, seed=0), Shifted(0.5)
    assert np.array_equal(Sequential(doubled, ReLU())(x).data, ReLU()(doubled(x)).data)
    assert np.array_equal(Sequential(linear, shifted)(x).data, shifted(linear(x)).data)


def test_maxout_takes_the_largest_of_its_pieces() -> None:
    layer = Maxout(3, 2, pieces=4)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    z = x @ layer.linear.weight.data + layer.linear.bias.data
    pieces = np.stack([z[:, start : start + 2] for start in (0, 2, 4, 6)])
    np.testing.assert_allclose(layer(Tensor(x)).data, pieces.max(axis=0), rtol=1e-5)
    assert layer.count() == 3 * 8 + 8


def test_activations_are_their_functions() -> None:
    x = tensor([-2.0, 0.0, 3.0])
    for layer, wanted in (
        (nn.Tanh(), np.tanh(x.data)),
        (nn.Sigmoid(), 1 / (1 + np.exp(-x.data))),
        (nn.Arctan(), np.arctan(x.data)),
        (ReLU(), np.array([0, 0, 3])),
        (LeakyReLU(), np.array([-0.02, 0, 3])),
    ):
        np.testing.assert_allclose(layer(x).data, wanted, rtol=1e-6)


def test_batch_norm_stands_where_the_recipe_says() -> None:
    after = MLP((3,), batch_norm=0.1).build(2, 1, seed=0)
    before = MLP((3,), batch_norm=0.1, norm_first=True, hidden_bias=False).build(2, 1, seed=0)
    kinds = [[type(m).__name__ for m in net.modules()][1:] for net in (after, before)]
    assert kinds == [
        ["Linear", "LeakyReLU", "BatchNorm", "Linear"],
        ["Linear", "BatchNorm", "LeakyReLU", "Linear"],
    ]
    assert [name for name, _ in before.named_parameters()] == [
        "0.weight",
        "1.gamma",
        "1.beta",
        "3.weight",
        "3.bias",
    ]


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
