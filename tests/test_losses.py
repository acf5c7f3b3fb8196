"""Objectives against closed formulas, and the identities that a gradient penalty must satisfy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.typing import NDArray
from tables.layers import put

from fastgan.gan.objectives import OBJECTIVES, gradient_penalty
from fastgan.nn import Conv2d, Flatten, LeakyReLU, Linear, Reshape, Sequential
from fastgan.ops import bce_with_logits, leaky_relu, linear, tanh
from fastgan.tape import Tensor, grad, no_grad, tensor

Formula = Callable[[NDArray[Any]], Any]


def stable(x: NDArray[Any], y: float) -> Any:
    """The cs231n assignment's binary cross-entropy with logits."""
    return np.mean(np.maximum(x, 0) - x * y + np.log(1 + np.exp(-np.abs(x))))


# real, fake, generator, as the papers print them
FORMULAS: dict[str, tuple[Formula, Formula, Formula]] = {
    "minimax": (lambda r: stable(r, 1), lambda f: stable(f, 0), lambda f: -stable(f, 0)),
    "non-saturating": (lambda r: stable(r, 1), lambda f: stable(f, 0), lambda f: stable(f, 1)),
    "least-squares": (
        lambda r: 0.5 * np.mean((r - 1) ** 2),
        lambda f: 0.5 * np.mean(f**2),
        lambda f: 0.5 * np.mean((f - 1) ** 2),
    ),
    "wasserstein": (lambda r: -np.mean(r), np.mean, lambda f: -np.mean(f)),
    "wasserstein-gp": (lambda r: -np.mean(r), np.mean, lambda f: -np.mean(f)),
    "hinge": (
        lambda r: np.mean(np.maximum(0, 1 - r)),
        lambda f: np.mean(np.maximum(0, 1 + f)),
        lambda f: -np.mean(f),
    ),
}
SCORES = np.array([[-3.5], [-1.2], [-0.1], [0.0], [0.4], [1.7], [6.0]])
PARTS = [(name, part) for name in OBJECTIVES for part in ("real", "fake", "generator")]


def test_every_objective_is_tested() -> None:
    assert set(FORMULAS) == set(OBJECTIVES)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_objectives_are_their_formulas(name: str, part: str, dtype: Any) -> None:
    wanted = FORMULAS[name][("real", "fake", "generator").index(part)](SCORES)
    loss = getattr(OBJECTIVES[name], part)(Tensor(SCORES.astype(dtype)))
    assert (loss.shape, loss.dtype) == ((), dtype)
    assert loss.item() == pytest.approx(wanted, rel=1e-12 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_gradients_of_objectives(name: str, part: str, order: int) -> None:
    scores = np.random.default_rng(0).normal(size=(6, 1)) * 2
    check_gradient(getattr(OBJECTIVES[name], part), [scores], order=order)


@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize(("name", "part"), PARTS)
def test_large_scores_stay_finite(name: str, part: str, scale: float) -> None:
    scores = tensor([[scale], [scale / 3]], requires_grad=True)
    loss = getattr(OBJECTIVES[name], part)(scores)
    assert np.isfinite(loss.data)
    assert np.isfinite(grad(loss, [scores])[0].data).all()


def test_cross_entropy_is_the_assignments() -> None:
    x = np.linspace(-30, 30, 101)[:, None]
    for y in (0.0, 1.0, 0.9):
        assert bce_with_logits(Tensor(x), y).item() == pytest.approx(stable(x, y), rel=1e-7)


def test_constraints_are_the_papers() -> None:
    assert {name: o.clip for name, o in OBJECTIVES.items() if o.clip} == {"wasserstein": 0.01}
    assert {name: o.penalty for name, o in OBJECTIVES.items() if o.penalty} == {"wasserstein-gp": 10.0}
    assert {o.boundary for o in OBJECTIVES.values()} == {0.0, 0.5, None}
    assert {name for name, o in OBJECTIVES.items() if o.logits} == {
        "minimax",
        "non-saturating",
    }


def points(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def epsilons(n: int, dtype: Any = np.float64) -> Tensor:
    return Tensor(np.random.default_rng(9).uniform(size=(n, 1)).astype(dtype))


@pytest.mark.parametrize("shape", [(7, 5), (7, 4, 3), (7, 4, 4, 3)], ids=str)
@pytest.mark.parametrize("norm", [0.3, 1.0, 2.5])
def test_a_linear_critics_penalty_is_that_of_its_norm_over_all_features(
    norm: float, shape: tuple[int, ...]
) -> None:
    f = int(np.prod(shape[1:]))
    w = np.random.default_rng(1).normal(size=(f, 1))
    weight = Tensor(w * norm / np.linalg.norm(w))
    penalty = gradient_penalty(
        lambda x: x.reshape(shape[0], f) @ weight, points(*shape), points(*shape, seed=2), epsilons(7)
    )
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-6)


def test_a_constant_critic_has_penalty_one_and_finite_gradients() -> None:
    net = Sequential(Linear(3, 4), LeakyReLU(0.2), Linear(4, 1), seed=0)
    for p in net.parameters():
        p.data[...] = 0
    real, fake = points(6, 3, dtype=np.float32), points(6, 3, seed=1, dtype=np.float32)
    penalty = gradient_penalty(net, real, fake, epsilons(6, np.float32))
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    for g in grad(penalty, net.parameters(), allow_unused=True):
        assert np.isfinite(g.data).all()
    assert gradient_penalty(
        lambda x: Tensor(np.ones((6, 1))), real, fake, epsilons(6)
    ).item() == pytest.approx(1, abs=1e-5)


def test_the_penalty_is_taken_between_the_points_with_one_epsilon_per_sample() -> None:
    real, fake, epsilon = points(5, 3, 2), points(5, 3, 2, seed=1), epsilons(5)
    seen: list[NDArray[Any]] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.data)
        return (x * x).sum(axis=(1, 2)).reshape(5, 1) * 0.5

    penalty = gradient_penalty(critic, real, fake, epsilon)
    e = epsilon.data[:, :, None]
    np.testing.assert_allclose(seen[0], e * real.data + (1 - e) * fake.data, rtol=1e-12)
    norms = np.sqrt((seen[0] ** 2).sum(axis=(1, 2)))  # this critic's gradient is x itself
    assert penalty.item() == pytest.approx(((norms - 1) ** 2).mean(), rel=1e-9)
    flat = gradient_penalty(critic, real, fake, Tensor(epsilon.data[:, 0]))
    assert flat.item() == penalty.item()


def test_a_penalty_without_a_tape_is_not_taken_for_that_of_a_constant_critic() -> None:
    x, epsilon = tensor([[1.0, 2.0]]), tensor([[0.5]])
    w = tensor([[3.0], [4.0]], requires_grad=True)
    with no_grad():
        value = gradient_penalty(lambda t: t @ w, x, x * 2, epsilon).item()
    assert value == pytest.approx(16)


def test_the_penalty_is_the_mean_over_samples() -> None:
    """Each sample's own gradient: what is in the rest of the batch does not matter."""
    w1, w2 = points(3, 8, seed=3), points(8, 1, seed=4)
    real, fake, epsilon = points(6, 3), points(6, 3, seed=1), epsilons(6)

    def critic(x: Tensor) -> Tensor:
        return tanh(x @ w1) @ w2

    alone = [
        gradient_penalty(critic, *(Tensor(t.data[i : i + 1]) for t in (real, fake, epsilon))).item()
        for i in range(6)
    ]
    assert gradient_penalty(critic, real, fake, epsilon).item() == pytest.approx(np.mean(alone), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_the_penalty_for_the_critics_weights(order: int) -> None:
    real, fake, epsilon = points(5, 3), points(5, 3, seed=1), epsilons(5)
    weights = [points(*s, seed=i).data for i, s in enumerate([(3, 6), (6,), (6, 4), (4,), (4, 1), (1,)])]

    def penalty(*ws: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            h = leaky_relu(linear(x, ws[0], ws[1]), slope=0.2)
            return linear(tanh(linear(h, ws[2], ws[3])), ws[4], ws[5])

        return gradient_penalty(critic, real, fake, epsilon)

    check_gradient(penalty, weights, order=order)


DENSE = [Linear(3, 8), LeakyReLU(0.2), Linear(8, 8), LeakyReLU(0.2), Linear(8, 1)]
CONV = [
    Reshape(7, 6, 2),
    Conv2d(2, 4, 3, stride=2, padding="same"),
    LeakyReLU(0.2),
    Conv2d(4, 3, (2, 3), padding=(1, 0, 0, 1)),
    LeakyReLU(0.2),
    Flatten(),
    Linear(24, 1),
]


@pytest.mark.parametrize(("layers", "f"), [(DENSE, 3), (CONV, 84)], ids=["dense", "conv"])
def test_gradients_of_the_penalty_of_a_fused_network_by_finite_differences(layers: Any, f: int) -> None:
    """The layers' own path, in which a layer and LeakyReLU are one op; float64 parameters."""
    net = Sequential(*layers, seed=0)
    values = [p.data.astype(np.float64) * 2 for p in net.parameters()]
    real, fake, epsilon = points(5, f), points(5, f, seed=1), epsilons(5)

    def penalty(*ws: Tensor) -> Tensor:
        put(net, ws)
        return gradient_penalty(net, real, fake, epsilon) + net(real).mean()

    check_gradient(penalty, values)
