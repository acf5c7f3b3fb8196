"""Optimizers against plain transcriptions of their papers, and the schedules, clips and averages around them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan.device import array_module
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError, UsageError
from fastgan.gan.published import ConstantAdam
from fastgan.nn import Module, flatten
from fastgan.optim import SGD, Adam, AdamW, Ema, Optimizer, RMSProp, clip_norm, schedule
from fastgan.tape import Tensor, grad

Values = NDArray[Any]
Rule = Iterator[Values]
STEPS = 50


class Point(Module):
    """Parameters and nothing else."""

    def __init__(self, x: Values) -> None:
        self.x = Tensor(x.astype(np.float32), requires_grad=True)


def gradients(shape: tuple[int, ...]) -> Values:
    """One for each step, of very different sizes from element to element."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(STEPS, *shape)) * 10 ** rng.uniform(-3, 1, shape) + 0.01


def adam(
    x: Values,
    gs: Values,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    decay: float = 0.0,
    constant: bool = False,
) -> Rule:
    """Kingma and Ba 2015, algorithm 1; `decay`: Loshchilov and Hutter 2019, algorithm 2 with the rate in lambda."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        power = 1 if constant else t
        m_hat, v_hat = m / (1 - betas[0] ** power), v / (1 - betas[1] ** power)
        x = x - lr * decay * x - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield x


def rmsprop(x: Values, gs: Values, *, lr: float, alpha: float = 0.99, eps: float = 1e-8) -> Rule:
    """Tieleman and Hinton 2012, lecture 6.5."""
    v = np.zeros_like(x)
    for g in gs:
        v = alpha * v + (1 - alpha) * g**2
        x = x - lr * g / (np.sqrt(v) + eps)
        yield x


def sgd(x: Values, gs: Values, *, lr: float, momentum: float = 0.0) -> Rule:
    """Polyak 1964, with the rate on the sum as in PyTorch."""
    m = np.zeros_like(x)
    for g in gs:
        m = momentum * m + g
        x = x - lr * m
        yield x


RULES: list[tuple[Callable[..., Optimizer], dict[str, Any], Callable[..., Rule], dict[str, Any]]] = [
    (Adam, {"lr": 1e-2}, adam, {"lr": 1e-2}),
    (
        Adam,
        {"lr": 1e-2, "betas": (0.5, 0.9), "eps": 1e-3},
        adam,
        {"lr": 1e-2, "betas": (0.5, 0.9), "eps": 1e-3},
    ),
    (Adam, {"lr": 1e-2, "betas": (0.0, 0.9)}, adam, {"lr": 1e-2, "betas": (0.0, 0.9)}),
    (ConstantAdam, {"lr": 1e-2}, adam, {"lr": 1e-2, "constant": True}),
    (AdamW, {"lr": 1e-2, "weight_decay": 0.3}, adam, {"lr": 1e-2, "decay": 0.3}),
    (RMSProp, {"lr": 1e-3}, rmsprop, {"lr": 1e-3}),
    (RMSProp, {"lr": 1e-3, "alpha": 0.5, "eps": 1e-2}, rmsprop, {"lr": 1e-3, "alpha": 0.5, "eps": 1e-2}),
    (SGD, {"lr": 1e-2}, sgd, {"lr": 1e-2}),
    (SGD, {"lr": 1e-2, "momentum": 0.9}, sgd, {"lr": 1e-2, "momentum": 0.9}),
]


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r[0].__name__}-{','.join(r[1])}")
def test_fifty_steps_follow_the_paper(rule: Any, kernels: bool) -> None:
    make, options, reference, settings = rule
    start = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    gs = gradients(start.shape).astype(np.float32)
    point = Point(start)
    optimizer = make(point, **options)
    with use_kernels(kernels):
        for step, wanted in enumerate(reference(start.astype(np.float64), gs.astype(np.float64), **settings)):
            optimizer.gradients[0][...] = gs[step]
            optimizer.step(optimizer.gradients)
            np.testing.assert_allclose(point.x.data, wanted, rtol=1e-5, atol=1e-5)
    assert optimizer.steps == STEPS
    assert np.abs(point.x.data - start).max() > 0.01


@pytest.mark.parametrize("make", [Adam, AdamW, RMSProp, SGD])
def test_an_optimizer_finds_the_lowest_point(make: Any) -> None:
    target = np.array([1.0, -2.0, 3.0], np.float32)
    point = Point(np.zeros(3))
    optimizer = make(point, lr=0.05)
    for step in range(400):
        optimizer.lr = 0.05 * (1 - step / 400)
        loss = ((point.x - Tensor(target)) ** 2).sum()
        grad(loss, point.parameters(), out=optimizer.gradients)
        optimizer.step()
    np.testing.assert_allclose(point.x.data, target, atol=0.05)


@pytest.mark.parametrize("kernels", [True, False])
def test_moments_are_exact_to_float32(kernels: bool) -> None:
    """1 - beta is rounded once: 1 - float32(0.999) would be wrong in the fifth digit."""
    optimizers = Adam(Point(np.zeros(3))), RMSProp(Point(np.zeros(3)), alpha=0.999)
    with use_kernels(kernels):
        for optimizer in optimizers:
            optimizer.gradients[0][...] = 1
            optimizer.step(optimizer.gradients)
            np.testing.assert_allclose(optimizer.state["v"][:3], 1e-3, rtol=2e-7)
    np.testing.assert_allclose(optimizers[0].state["m"][:3], 0.1, rtol=2e-7)


def test_a_step_takes_gradients_as_tensors_too() -> None:
    point = Point(np.zeros(3))
    optimizer = SGD(point, lr=1.0)
    optimizer.step([Tensor(np.array([1.0, 2.0, 3.0], np.float32))])
    assert point.x.data.tolist() == [-1, -2, -3]
    optimizer.step(grad(point.x.sum(), [point.x], out=optimizer.gradients))
    assert point.x.data.tolist() == [-2, -3, -4]


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("make", [Adam, RMSProp, SGD])
def test_clipping_keeps_every_weight_within_and_moves_no_other(make: Any, kernels: bool) -> None:
    start = np.linspace(-0.03, 0.03, 13)
    free, kept = Point(start), Point(start)
    with use_kernels(kernels):
        for point, clip in ((free, 0.0), (kept, 0.01)):
            optimizer = make(point, lr=1e-3, clip=clip)
            optimizer.gradients[0][...] = np.linspace(1, -1, 13)
            optimizer.step(optimizer.gradients)
    np.testing.assert_allclose(kept.x.data, np.clip(free.x.data, -0.01, 0.01), atol=1e-9)
    assert np.abs(free.x.data).max() > 0.01


def test_clip_norm_scales_down_but_never_up() -> None:
    g = np.array([3.0, 4.0], np.float32)
    clip_norm(g, 10.0)
    assert g.tolist() == [3, 4]
    clip_norm(g, 1.0)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-5)
    assert np.linalg.norm(g) <= 1
    zeros = np.zeros(3, np.float32)
    clip_norm(zeros, 1.0)
    assert not zeros.any()
    point = Point(np.zeros(2))
    optimizer = SGD(point, lr=1.0, max_norm=1.0)
    optimizer.gradients[0][...] = [30, 40]
    optimizer.step(optimizer.gradients)
    np.testing.assert_allclose(point.x.data, [-0.6, -0.8], rtol=1e-5)


def test_an_average_follows_and_swaps() -> None:
    point = Point(np.array([1.0, 2.0]))
    ema = Ema(point, decay=0.75)
    assert ema.average[:2].tolist() == [1, 2]
    for value, wanted in ((5.0, 2.0), (6.0, 3.0)):
        point.x.data[0] = value
        ema.update()
        assert ema.average[0] == wanted
    ema.swap()
    assert (point.x.data.tolist(), ema.average[:2].tolist()) == ([3, 2], [6, 2])
    ema.swap()
    assert (point.x.data.tolist(), ema.average[:2].tolist()) == ([6, 2], [3, 2])
    assert np.shares_memory(point.x.data, flatten(point).buffer)


def test_schedules() -> None:
    assert [schedule("constant", step, 10) for step in (0, 5, 99)] == [1, 1, 1]
    assert [schedule("linear", step, 10) for step in (0, 5, 10, 99)] == [1, 0.5, 0, 0]
    assert [schedule("linear:0.2", step, 10) for step in (0, 5, 10, 99)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert [schedule("exponential:0.9", step, 10) for step in (0, 1, 20)] == pytest.approx([1, 0.9, 0.9**20])
    assert [schedule("drop:0.01@1,41", step, 50) for step in (0, 1, 40, 41, 99)] == pytest.approx(
        [1, 0.01, 0.01, 1e-4, 1e-4]
    )
    assert schedule("drop:0.5@3", 3, 10) == 0.5
    assert schedule("linear", 0, 0) == 1


def test_the_minimax_orbit() -> None:
    """min over x, max over y of xy by turns, y first, step 1: Goodfellow's example comes back to where it began."""
    x, y = Point(np.array(1.0)), Point(np.array(1.0))
    descent, ascent = SGD(x, lr=1.0), SGD(y, lr=1.0)
    xs, ys = [1.0], [1.0]
    for _ in range(6):
        grad(-(x.x * y.x), [y.x], out=ascent.gradients)
        ascent.step()
        grad(x.x * y.x, [x.x], out=descent.gradients)
        descent.step()
        xs.append(x.x.item())
        ys.append(y.x.item())
    assert ys == [1, 2, 1, -1, -2, -1, 1]
    assert xs == [1, -1, -2, -1, 1, 2, 1]


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("make", [Adam, RMSProp, SGD])
def test_cuda_follows_the_cpu(make: Any, kernels: bool) -> None:
    start = np.random.default_rng(0).normal(size=(5, 7))
    gs = gradients(start.shape).astype(np.float32)
    results = []
    for device in ("cpu", "cuda"):
        flat = flatten(Point(start), device)
        optimizer = make(flat, lr=1e-2, clip=1.5)
        with use_kernels(kernels):
            for g in gs:
                optimizer.gradients[0][...] = array_module(flat.buffer).asarray(g)
                optimizer.step(optimizer.gradients)
        results.append(Tensor(flat.buffer).numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r[0].__name__}-{','.join(r[1])}")
def test_float64_parameters_stay_and_move_in_float64(rule: Any) -> None:
    make, options, reference, settings = rule
    start, gs = np.random.default_rng(0).normal(size=(5, 7)), gradients((5, 7))
    x = Tensor(start.copy(), requires_grad=True)
    optimizer = make([x], **options)
    optimizer.average = Ema(optimizer.flat, decay=0.5)
    for g, wanted in zip(gs, reference(start, gs, **settings), strict=True):
        grad((x * Tensor(g)).sum(), [x], out=optimizer.gradients)
        optimizer.step()
        np.testing.assert_allclose(x.data, wanted, rtol=1e-10)
    flat = optimizer.flat
    for array in (x.data, flat.buffer, flat.gradient, optimizer.average.average, *optimizer.state.values()):
        assert array.dtype == np.float64
        assert array.ctypes.data % 128 == 0


def that_fails(optimizer: Optimizer, x: Tensor) -> None:
    with pytest.raises(UsageError, match="depend"):
        grad((Tensor(np.ones(3)) * 2).sum(), [x], out=optimizer.gradients)
    optimizer.step()


WRONG: dict[str, Callable[[Optimizer, Tensor], Any]] = {
    "without": lambda optimizer, x: optimizer.step(),
    "to nowhere": lambda optimizer, x: grad(x.sum(), [x]) and optimizer.step(),
    "only looked at": lambda optimizer, x: [g.max() for g in optimizer.gradients] and optimizer.step(),
    "of another dtype": lambda optimizer, x: optimizer.step([np.ones(3)]),
    "one too many": lambda optimizer, x: optimizer.step([np.ones(3, np.float32)] * 2),
    "none": lambda optimizer, x: optimizer.step([]),
    "that fail": that_fails,
}


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_step_without_new_gradients_moves_nothing_and_says_so(wrong: Any, steps: int) -> None:
    point = Point(np.zeros(3))
    optimizer = SGD(point, lr=1.0, momentum=0.9)
    for _ in range(steps):
        grad(point.x.sum(), [point.x], out=optimizer.gradients)
        optimizer.step()
    before = point.values()["x"], optimizer.state["m"].copy()
    with pytest.raises((UsageError, ShapeError), match=r"step: got .*wanted|step: got no new gradients"):
        wrong(optimizer, point.x)
    assert optimizer.steps == steps
    assert np.array_equal(point.x.data, before[0])
    assert np.array_equal(optimizer.state["m"], before[1])


def test_every_way_of_giving_gradients_is_seen() -> None:
    point = Point(np.zeros(3))
    optimizer = SGD(point, lr=1.0)
    kept = optimizer.gradients  # read once, before the loop
    for count in (1, 2):
        grad(point.x.sum(), [point.x], out=kept)
        grad(point.x.sum(), [point.x], out=kept)  # written again before the step
        optimizer.step()
        assert point.x.data.tolist() == [-count] * 3
    optimizer.gradients[0][...] = 1
    optimizer.step(optimizer.gradients)
    optimizer.step([np.ones(3, np.float32)])
    optimizer.step(grad(point.x.sum(), [point.x]))
    assert point.x.data.tolist() == [-5] * 3
