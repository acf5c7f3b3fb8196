"""Optimizers against plain transcriptions of their papers, and the schedules, clips and averages around them."""

import numpy as np
import pytest

from fastgan.device import array_module
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError, UsageError
from fastgan.gan.published import ConstantAdam
from fastgan.nn import Module, flatten
from fastgan.optim import SGD, Adam, AdamW, Ema, RMSProp, clip_norm, schedule
from fastgan.tape import Tensor, grad

STEPS = 50
KERNELS = pytest.mark.parametrize("kernels", [True, False])


class Point(Module):
    """Parameters and nothing else."""

    def __init__(self, x):
        self.x = Tensor(np.asarray(x).astype(np.float32), requires_grad=True)


def gradients(shape):
    """One for each step, of very different sizes from element to element."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(STEPS, *shape)) * 10 ** rng.uniform(-3, 1, shape) + 0.01


def adam(x, gs, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, constant=False):
    """Kingma and Ba 2015, algorithm 1; weight decay: Loshchilov and Hutter 2019, algorithm 2, the rate in lambda."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t, g in enumerate(gs, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat, v_hat = (a / (1 - b ** (1 if constant else t)) for a, b in zip((m, v), betas, strict=True))
        x = x - lr * weight_decay * x - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield x


def rmsprop(x, gs, *, lr, alpha=0.99, eps=1e-8):
    """Tieleman and Hinton 2012, lecture 6.5."""
    v = np.zeros_like(x)
    for g in gs:
        v = alpha * v + (1 - alpha) * g**2
        x = x - lr * g / (np.sqrt(v) + eps)
        yield x


def sgd(x, gs, *, lr, momentum=0.0):
    """Polyak 1964, with the rate on the sum as in PyTorch."""
    m = np.zeros_like(x)
    for g in gs:
        m = momentum * m + g
        x = x - lr * m
        yield x


def constant_adam(x, gs, **settings):
    return adam(x, gs, **settings, constant=True)


RULES = [
    (Adam, adam, {"lr": 1e-2}),
    (Adam, adam, {"lr": 1e-2, "betas": (0.5, 0.9), "eps": 1e-3}),
    (Adam, adam, {"lr": 1e-2, "betas": (0.0, 0.9)}),
    (ConstantAdam, constant_adam, {"lr": 1e-2}),
    (AdamW, adam, {"lr": 1e-2, "weight_decay": 0.3}),
    (RMSProp, rmsprop, {"lr": 1e-3}),
    (RMSProp, rmsprop, {"lr": 1e-3, "alpha": 0.5, "eps": 1e-2}),
    (SGD, sgd, {"lr": 1e-2}),
    (SGD, sgd, {"lr": 1e-2, "momentum": 0.9}),
]


@pytest.mark.parametrize(("dtype", "kernels"), [("f4", True), ("f4", False), ("f8", True)])
@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r[0].__name__}-{','.join(r[2])}")
def test_fifty_steps_follow_the_paper_in_the_parameters_dtype(rule, dtype, kernels):
    (make, reference, settings), tolerance = rule, 1e-5 if dtype == "f4" else 1e-10
    start, gs = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype), gradients((5, 7)).astype(dtype)
    x = Tensor(start.copy(), requires_grad=True)
    optimizer = make([x], **settings)
    optimizer.average = Ema(optimizer.flat, decay=0.75)
    average, exact = start, (start.astype("f8"), gs.astype("f8"))
    with use_kernels(kernels):
        for g, wanted in zip(gs, reference(*exact, **settings), strict=True):
            grad((x * Tensor(g)).sum(), [x], out=optimizer.gradients)
            optimizer.step()
            average = 0.75 * average + 0.25 * wanted
            np.testing.assert_allclose(x.data, wanted, rtol=tolerance, atol=tolerance)
    followed = optimizer.average.average[:35].reshape(5, 7)
    np.testing.assert_allclose(followed, average, rtol=1e-4, atol=tolerance)
    assert optimizer.steps == STEPS
    assert np.abs(x.data - start).max() > 0.01
    flat = optimizer.flat
    for array in (x.data, flat.buffer, flat.gradient, optimizer.average.average, *optimizer.state.values()):
        assert (array.dtype, array.ctypes.data % 128) == (dtype, 0)


@KERNELS
def test_moments_are_exact_to_float32(kernels):
    """1 - beta is rounded once: 1 - float32(0.999) would be wrong in the fifth digit."""
    optimizers = Adam(Point(np.zeros(3))), RMSProp(Point(np.zeros(3)), alpha=0.999)
    with use_kernels(kernels):
        for optimizer in optimizers:
            optimizer.step([np.ones(3, np.float32)])
            np.testing.assert_allclose(optimizer.state["v"][:3], 1e-3, rtol=2e-7)
    np.testing.assert_allclose(optimizers[0].state["m"][:3], 0.1, rtol=2e-7)


@KERNELS
@pytest.mark.parametrize("make", [Adam, RMSProp, SGD])
def test_clipping_keeps_every_weight_within_and_moves_no_other(make, kernels):
    start = np.linspace(-0.03, 0.03, 13)
    free, kept = Point(start), Point(start)
    with use_kernels(kernels):
        for point, clip in ((free, 0.0), (kept, 0.01)):
            make(point, lr=1e-3, clip=clip).step([np.linspace(1, -1, 13, dtype=np.float32)])
    np.testing.assert_allclose(kept.x.data, np.clip(free.x.data, -0.01, 0.01), atol=1e-9)
    assert np.abs(free.x.data).max() > 0.01


def test_clip_norm_scales_down_but_never_up():
    for g, most, wanted in (([3, 4], 10, [3, 4]), ([3, 4], 1, [0.6, 0.8]), ([0, 0], 1, [0, 0])):
        g = np.array(g, np.float32)
        clip_norm(g, most)
        np.testing.assert_allclose(g, wanted, rtol=1e-5)
        assert np.linalg.norm(g) <= most
    point = Point(np.zeros(2))
    SGD(point, lr=1.0, max_norm=1.0).step([np.array([30, 40], np.float32)])
    np.testing.assert_allclose(point.x.data, [-0.6, -0.8], rtol=1e-5)


def test_an_average_follows_and_swaps():
    point = Point([1.0, 2.0])
    ema = Ema(point, decay=0.75)
    assert ema.average[:2].tolist() == [1, 2]
    for value, wanted in ((5.0, 2.0), (6.0, 3.0)):
        point.x.data[0] = value
        ema.update()
        assert ema.average[0] == wanted
    for x, average in (([3, 2], [6, 2]), ([6, 2], [3, 2])):
        ema.swap()
        assert (point.x.data.tolist(), ema.average[:2].tolist()) == (x, average)
    assert np.shares_memory(point.x.data, flatten(point).buffer)


@pytest.mark.parametrize(
    ("text", "steps", "wanted"),
    [
        ("constant", 10, {0: 1, 5: 1, 99: 1}),
        ("linear", 10, {0: 1, 5: 0.5, 10: 0, 99: 0}),
        ("linear:0.2", 10, {0: 1, 5: 0.6, 10: 0.2, 99: 0.2}),
        ("linear", 0, {0: 1}),
        ("exponential:0.9", 10, {0: 1, 1: 0.9, 20: 0.9**20}),
        ("drop:0.01@1,41", 50, {0: 1, 1: 0.01, 40: 0.01, 41: 1e-4, 99: 1e-4}),
        ("drop:0.5@3", 10, {2: 1, 3: 0.5}),
    ],
)
def test_schedules(text, steps, wanted):
    assert {step: schedule(text, step, steps) for step in wanted} == pytest.approx(wanted)


@pytest.mark.gpu
@KERNELS
@pytest.mark.parametrize("make", [Adam, RMSProp, SGD])
def test_cuda_follows_the_cpu(make, kernels):
    start = np.random.default_rng(0).normal(size=(5, 7))
    results = []
    for device in ("cpu", "cuda"):
        flat = flatten(Point(start), device)
        optimizer = make(flat, lr=1e-2, clip=1.5)
        with use_kernels(kernels):
            for g in gradients(start.shape).astype(np.float32):
                optimizer.gradients[0][...] = array_module(flat.buffer).asarray(g)
                optimizer.step(optimizer.gradients)
        results.append(Tensor(flat.buffer).numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


def that_fail(optimizer, x):
    with pytest.raises(UsageError, match="depend"):
        grad((Tensor(np.ones(3)) * 2).sum(), [x], out=optimizer.gradients)
    optimizer.step()


WRONG = {
    "without": lambda optimizer, x: optimizer.step(),
    "to nowhere": lambda optimizer, x: grad(x.sum(), [x]) and optimizer.step(),
    "only looked at": lambda optimizer, x: [g.max() for g in optimizer.gradients] and optimizer.step(),
    "of another dtype": lambda optimizer, x: optimizer.step([np.ones(3)]),
    "one too many": lambda optimizer, x: optimizer.step([np.ones(3, np.float32)] * 2),
    "none": lambda optimizer, x: optimizer.step([]),
    "that fail": that_fail,
}


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_step_without_new_gradients_moves_nothing_and_says_so(wrong, steps):
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


def test_every_way_of_giving_gradients_is_seen():
    point = Point(np.zeros(3))
    optimizer = SGD(point, lr=1.0)
    kept = optimizer.gradients  # read once, before the loop
    for count in (1, 2):
        grad(point.x.sum(), [point.x], out=kept)
        grad(point.x.sum(), [point.x], out=kept)  # written again before the step
        optimizer.step()
        assert point.x.data.tolist() == [-count] * 3
    kept[0][...] = 1
    ones = np.ones(3, np.float32)
    taken = grad(point.x.sum(), [point.x])
    for given in (kept, [ones], [Tensor(ones)], taken, grad(point.x.sum(), [point.x], out=kept)):
        optimizer.step(given)
    assert point.x.data.tolist() == [-7] * 3
