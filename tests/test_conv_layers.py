"""Convolutions against PyTorch to second derivatives, their first values, and how Sequential runs them."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from torch_oracle import both, close, normal, same_as_torch, torch

from fastgan import nn, ops
from fastgan.nn import Conv2d, ConvTranspose2d, LeakyReLU, Linear, ReLU, Sequential
from fastgan.random import Draws, Stream
from fastgan.tape import Op, Tensor, grad

F = torch.nn.functional
KERNEL = (3, 2, 0, 1)  # ours (kh, kw, i, o) as PyTorch's (o, i, kh, kw), and (kh, kw, o, i) as (i, o, kh, kw)


def tensorflows_same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Before and after, by the formula in the documentation of tf.nn."""
    total = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
    return total // 2, total - total // 2


def four(padding: Any, size: Any, kernel: Any, stride: Any) -> tuple[int, ...]:
    """A padding as (left, right, top, bottom), as PyTorch's pad takes it."""
    if padding == "same":
        down, right = (tensorflows_same(*each) for each in zip(size, kernel, stride, strict=True))
        return (*right, *down)
    if isinstance(padding, int):
        return (padding,) * 4
    return (*padding[2:], *padding[:2]) if len(padding) == 4 else (padding[1],) * 2 + (padding[0],) * 2


# input, channels out, kernel, stride, padding
CONV = [
    ((2, 5, 5, 3), 4, 3, 1, 0),
    ((2, 7, 6, 3), 2, (3, 2), (2, 1), (1, 2, 0, 1)),
    ((1, 28, 28, 1), 3, 5, 2, "same"),  # igul222's first layer: 1 before, 2 after
    ((3, 7, 7, 4), 3, 5, 2, "same"),
    ((2, 5, 8, 2), 3, 4, 3, "same"),
    ((2, 4, 4, 2), 3, 2, 3, "same"),  # gaps between windows
    ((2, 6, 6, 2), 3, 1, 1, 0),
    ((2, 6, 5, 2), 1, 1, 2, 0),  # a row and a column left out
    ((2, 4, 6, 3), 2, (4, 6), 1, 0),  # kernel = input
    ((2, 3, 3, 2), 2, 5, 1, 1),
    ((2, 9, 4, 2), 2, (2, 4), (3, 2), (0, 1)),
    ((2, 8, 8, 3), 2, 4, 2, 1),
]
# input, channels out, kernel, stride, padding, output_padding
TRANSPOSED = [
    ((2, 7, 7, 3), 2, 4, 2, 1, 0),  # cs231n's layers
    ((2, 4, 4, 3), 2, 5, 2, "same", 0),  # igul222's
    ((2, 4, 4, 3), 2, 5, 2, 2, 1),
    ((2, 3, 5, 2), 3, 3, (2, 3), 1, (1, 2)),
    ((2, 1, 1, 8), 4, 4, 1, 0, 0),
    ((2, 4, 4, 2), 3, 1, 1, 0, 0),
    ((2, 3, 3, 2), 3, 1, 2, 0, 1),
    ((2, 3, 4, 2), 3, (3, 2), 1, (1, 0, 0, 1), 0),
    ((2, 4, 4, 2), 1, 4, 1, "same", 0),  # handspeaker's last layer: kernel = input
    ((2, 3, 2, 2), 2, 2, 3, "same", 0),  # gaps between windows
    ((3, 2, 5, 1), 2, (2, 5), (2, 1), (0, 2), 0),
]


def torch_conv(x: Any, w: Any, b: Any, stride: Any, padding: Any) -> Any:
    pad = four(padding, x.shape[1:3], w.shape[:2], both(stride))
    images = F.pad(x.permute(0, 3, 1, 2), pad)
    return F.conv2d(images, w.permute(KERNEL).contiguous(), b, both(stride)).permute(0, 2, 3, 1)


def torch_transposed(x: Any, w: Any, b: Any, stride: Any, padding: Any, extra: Any) -> Any:
    """PyTorch's own, or where it cannot pad like that the gradient of its convolution for a larger image."""
    if padding != "same" and len(both(padding)) == 2:
        y = F.conv_transpose2d(
            x.permute(0, 3, 1, 2), w.permute(KERNEL).contiguous(), b, stride, padding, extra
        )
        return y.permute(0, 2, 3, 1)
    size = [h * s for h, s in zip(x.shape[1:3], both(stride), strict=True)]
    if padding != "same":
        left, right, top, bottom = four(padding, size, w.shape[:2], both(stride))
        size = [x.shape[1] + w.shape[0] - 1 - top - bottom, x.shape[2] + w.shape[1] - 1 - left - right]
    image = torch.zeros(x.shape[0], *size, w.shape[2], dtype=x.dtype, requires_grad=True)
    y = torch_conv(image, w, None, stride, padding)
    return torch.autograd.grad(y, image, x, create_graph=True)[0] + b


def with_values(layer: Any, slope: float) -> Any:
    """The layer with a LeakyReLU as a function of its input, weight and bias."""

    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        assert (layer.weight.shape, layer.bias.shape) == (w.shape, b.shape)
        layer.weight, layer.bias = w, b
        return layer.leaky(x, slope)  # type: ignore[no-any-return]

    return run


@pytest.mark.parametrize("slope", [1.0, 0.2])
@pytest.mark.parametrize(("shape", "o", "kernel", "stride", "padding"), CONV, ids=str)
def test_conv2d_is_pytorchs(
    shape: tuple[int, ...], o: int, kernel: Any, stride: Any, padding: Any, slope: float
) -> None:
    layer = Conv2d(shape[3], o, kernel, stride=stride, padding=padding)
    xs = normal(shape, (*both(kernel), shape[3], o), (o,))
    same_as_torch(
        with_values(layer, slope),
        lambda x, w, b: F.leaky_relu(torch_conv(x, w, b, stride, padding), slope),
        xs,
    )


@pytest.mark.parametrize("slope", [1.0, 0.2])
@pytest.mark.parametrize(("shape", "o", "kernel", "stride", "padding", "extra"), TRANSPOSED, ids=str)
def test_conv_transpose2d_is_pytorchs(
    shape: tuple[int, ...], o: int, kernel: Any, stride: Any, padding: Any, extra: Any, slope: float
) -> None:
    layer = ConvTranspose2d(shape[3], o, kernel, stride=stride, padding=padding, output_padding=extra)
    xs = normal(shape, (*both(kernel), o, shape[3]), (o,))
    same_as_torch(
        with_values(layer, slope),
        lambda x, w, b: F.leaky_relu(torch_transposed(x, w, b, stride, padding, extra), slope),
        xs,
    )


def test_a_penalty_on_the_slope_of_a_conv_critic_has_pytorchs_gradient() -> None:
    critic = Sequential(
        nn.Reshape(7, 6, 2),
        Conv2d(2, 4, 3, stride=2, padding="same"),
        LeakyReLU(0.2),
        Conv2d(4, 3, (2, 3), padding=(1, 0, 0, 1)),
        LeakyReLU(0.2),
        nn.Flatten(),
        Linear(24, 1),
    )
    x, *values = normal((5, 84), *(p.shape for p in critic.parameters()))
    parameters = critic.parameters()
    for p, value in zip(parameters, values, strict=True):
        p.data = value
    flat = Tensor(x, requires_grad=True)
    (slopes,) = grad(critic(flat).sum(), [flat], create_graph=True)
    penalty = ((ops.sqrt((slopes * slopes).sum(axis=1)) - 1) ** 2).mean()

    w1, b1, w2, b2, w3, b3 = theirs = [torch.tensor(value, requires_grad=True) for value in values]
    y = torch.tensor(x, requires_grad=True)
    h = F.leaky_relu(torch_conv(y.reshape(5, 7, 6, 2), w1, b1, 2, "same"), 0.2)
    h = F.leaky_relu(torch_conv(h, w2, b2, 1, (1, 0, 0, 1)), 0.2)
    (rise,) = torch.autograd.grad((h.flatten(1) @ w3 + b3).sum(), y, create_graph=True)
    wanted = ((rise.norm(dim=1) - 1) ** 2).mean()
    close(penalty, wanted)
    slope_of_penalty = grad(penalty, parameters, allow_unused=True)
    for g, h in zip(slope_of_penalty, torch.autograd.grad(wanted, theirs, allow_unused=True), strict=True):
        close(g, torch.zeros(g.shape) if h is None else h)
    assert abs(slope_of_penalty[0].data).max() > 0.01


@pytest.mark.parametrize(("transposed", "shape"), [(False, (4, 4, 64, 300)), (True, (4, 4, 300, 64))])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("torch", None),
        ("glorot_uniform", torch.nn.init.xavier_uniform_),
        ("he_normal", lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu")),
    ],
)
def test_first_values_spread_as_pytorchs(
    name: str, theirs: Any, transposed: bool, shape: tuple[int, ...]
) -> None:
    kind, other = (ConvTranspose2d, "ConvTranspose2d") if transposed else (Conv2d, "Conv2d")
    layer = kind(64, 300, 4, init=name, init_scale=0.5, seed=0)
    wanted = getattr(torch.nn, other)(64, 300, 4)
    if theirs:
        theirs(wanted.weight)
    assert layer.weight.shape == shape
    assert layer.weight.data.std() == pytest.approx(wanted.weight.std().item() / 2, rel=0.01)
    bias = abs(layer.bias.data).max()
    assert bias == (pytest.approx(wanted.bias.abs().max().item(), rel=0.05) if name == "torch" else 0)


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (Conv2d(64, 128, 5, stride=2, init="igul", seed=0), 64 * 25, 128 * 25 / 4),
        (ConvTranspose2d(128, 64, 5, stride=2, init="igul", seed=0), 128 * 25 / 4, 64 * 25),
        (Conv2d(64, 128, 5, stride=(1, 3), init="igul", seed=0), 64 * 25, 128 * 25 / 3),
    ],
)
def test_igul222s_first_values_count_what_a_stride_leaves_out(
    layer: Any, fan_in: float, fan_out: float
) -> None:
    bound = sqrt(3) * sqrt(4 / (fan_in + fan_out))
    assert abs(layer.weight.data).max() == pytest.approx(bound, rel=1e-3)
    assert layer.weight.data.std() == pytest.approx(bound / sqrt(3), rel=0.01)
    assert not layer.bias.data.any()


def test_seeds_decide_first_values() -> None:
    a, b, other = (Conv2d(2, 3, 4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.weight.data, b.weight.data)
    assert not np.array_equal(a.weight.data, other.weight.data)
    other.initialize(Draws(1, Stream.INIT))
    assert np.array_equal(a.weight.data, other.weight.data)


def ops_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the ops that run from now on."""
    ran: list[str] = []
    plain = Op.__call__

    def noted(op: Op, *operands: Any, **settings: Any) -> Tensor:
        ran.append(op.name)
        return plain(op, *operands, **settings)

    monkeypatch.setattr(Op, "__call__", noted)
    return ran


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.3)])
def test_sequential_runs_a_convolution_and_its_activation_as_one_op(
    activation: LeakyReLU, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = Conv2d(2, 3, 3, bias=False), ConvTranspose2d(3, 2, 3)
    x = Tensor(normal((2, 5, 5, 2))[0].astype(np.float32))
    wanted = activation(last(activation(first(x))))
    ran = ops_run(monkeypatch)
    got = Sequential(first, activation, last, activation)(x)
    assert ran == ["convolve", "convolve_transposed"]
    np.testing.assert_allclose(got.data, wanted.data, rtol=1e-6)


def test_a_users_own_convolution_is_not_bypassed() -> None:
    class Doubled(Conv2d):
        def __call__(self, x: Tensor) -> Tensor:
            return super().__call__(x) * 2

    doubled, x = Doubled(2, 3, 3), Tensor(np.ones((1, 4, 4, 2), np.float32))
    assert np.array_equal(Sequential(doubled, ReLU())(x).data, ReLU()(doubled(x)).data)
