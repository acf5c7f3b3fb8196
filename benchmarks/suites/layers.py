"""Layers of `fastgan.nn` on the tape, forward, and forward with all gradients, against the same layers of peers.

One idea: what is timed is what a user's own training loop would call, recording and all; weights are the same in every
column, and outputs and gradients are compared. Bytes and operations are those of the products and passes over data that
the layer cannot do without: a forward and a backward pass of a product are three of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastgan.benchmarks.cases import Case
from fastgan.benchmarks.image_operations import Convolution
from fastgan.benchmarks.kernel_operations import ELEMENTS, EPS, PRODUCT, SLOPE, norm_operands, normal
from fastgan.benchmarks.operations import Operands, Operation
from fastgan.benchmarks.peer_kernels import Rival
from fastgan.gan.objectives import gradient_penalty
from fastgan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    LayerNorm,
    LeakyReLU,
    Linear,
    Module,
    Sequential,
)
from fastgan.tape import Tensor, grad, no_grad

WEIGHT = 10.0  # of the gradient penalty
# seeds of inputs for which no unit of a LeakyReLU is within 1e-4 of 0, where rounding would choose its slope (tested)
LINEAR_SEED, CRITIC_SEED = 593, 303
# batch and features in and out; batch and features; convolutions as in the suite of kernels; batch and widths
SIZES: dict[str, dict[str, Any]] = {
    "full": {
        "linear": (128, 784, 256),
        "norm": (128, 1024),
        "down": ((256, 12, 12, 32), (5, 64), (1, 1), (0, 0, 0, 0)),
        "up": ((128, 14, 14, 64), (4, 128), (2, 2), (1, 1, 1, 1)),
        "critic": (64, 784, 256, 256, 1),
    },
    "tiny": {
        "linear": (4, 6, 5),
        "norm": (8, 5),
        "down": ((2, 6, 6, 3), (3, 4), (1, 1), (0, 0, 0, 0)),
        "up": ((2, 6, 6, 3), (4, 4), (2, 2), (1, 1, 1, 1)),
        "critic": (4, 6, 5, 5, 1),
    },
}


def cases(size: str) -> list[Case]:
    """All of them; a quick run has a dense layer and the gradient penalty."""
    sizes = SIZES["tiny" if size == "tiny" else "full"]
    found = [linear(*sizes["linear"])[-1], critic(*sizes["critic"])]
    if size != "quick":
        found = [
            *linear(*sizes["linear"]),
            *batch_norm(*sizes["norm"]),
            *layer_norm(*sizes["norm"]),
            *conv(*sizes["down"]),
            *conv_transposed(*sizes["up"]),
            critic(*sizes["critic"]),
        ]
    return [operation.case("layers", size) for operation in found]


class Taped:
    """A layer as an operation: operands are its input, its parameters, its state, and a gradient for its output."""

    def __init__(self, layer: Module, *, backward: bool) -> None:
        self.layer, self.backward = layer, backward
        self.parameters = layer.parameters()
        self.state = [(part, name) for part in layer.modules() for name in part.state]

    def fill(self, arrays: Sequence[Any]) -> None:
        """Let the layer have the values."""
        for parameter, array in zip(self.parameters, arrays, strict=False):
            parameter.data = array
        for (part, name), array in zip(self.state, arrays[len(self.parameters) :], strict=True):
            setattr(part, name, array)

    def __call__(self, x: Any, *arrays: Any) -> Sequence[Any]:
        """The output, and with `backward` the gradients for the input and the parameters."""
        self.fill(arrays[:-1])
        if not self.backward:
            with no_grad():
                return [self.layer(Tensor(x)).data]
        given = Tensor(x, requires_grad=True)
        y = self.layer(given)
        return [y.data, *(g.data for g in grad(y, [given, *self.parameters], Tensor(arrays[-1])))]


def both_ways(
    name: str,
    layer: Module,
    operands: Any,
    op: str,
    cost: tuple[dict[str, Any], int, int],
    settings: dict[str, Any],
    *,
    tolerance: float = PRODUCT,
    state: int = 0,
    layouts: tuple[str, ...] = (),
    result: str = "",
    **more: Any,
) -> list[Operation]:
    """The layer forward, and forward and backward; `cost` is that of the forward pass.

    With a gradient in the place of each number, both ways have twice the bytes, and two more products.
    """
    shape, size, flops = cost
    place = "x".join(str(n) for n in operands()[0].shape)
    wrt = tuple(range(1 + len(layer.parameters())))
    peers: dict[str, Any] = {"layouts": layouts, "result": result, "settings": settings}
    forward = Rival(op, lambda *xs: xs[:-1], **peers)
    backward = Rival(op, lambda *xs: xs, "both", wrt=wrt, **peers)
    return [
        Operation(
            f"{name}_{direction}",
            place,
            shape,
            passes * size,
            (2 * passes - 1) * flops,
            operands,
            Taped(layer, backward=passes > 1),
            tolerance,
            rival,
            **more,
        )
        for direction, passes, rival in (("forward", 1, forward), ("forward_backward", 2, backward))
    ]


def linear(n: int, i: int, o: int) -> list[Operation]:
    """Linear and LeakyReLU, which run as one op."""
    cost = {"batch": n, "in": i, "out": o}, 4 * (n * i + i * o + o + n * o), 2 * n * i * o
    return both_ways(
        "linear",
        Sequential(Linear(i, o), LeakyReLU(SLOPE)),
        lambda: [normal((n, i), LINEAR_SEED), normal((i, o), 2, i**-0.5), normal(o, 3), normal((n, o), 4)],
        "linear_leaky_relu",
        cost,
        {"slope": SLOPE},
        layouts=("", "matrix"),
    )


def batch_norm(n: int, f: int) -> list[Operation]:
    """BatchNorm in training mode."""
    return both_ways(
        "batch_norm",
        BatchNorm(f, eps=EPS),
        lambda: [*norm_operands((n, f)), normal((n, f), 5)],
        "batch_norm",
        ({"batch": n, "features": f}, 8 * n * f, 6 * n * f),
        {"eps": EPS},
        tolerance=ELEMENTS,
        fresh=True,
    )


def layer_norm(n: int, f: int) -> list[Operation]:
    """LayerNorm of rows."""
    return both_ways(
        "layer_norm",
        LayerNorm(f, eps=EPS),
        lambda: [*norm_operands((n, f))[:3], normal((n, f), 5)],
        "layer_norm",
        ({"batch": n, "features": f}, 8 * n * f, 6 * n * f),
        {"eps": EPS},
        tolerance=ELEMENTS,
        fresh=True,
    )


def conv(*sizes: Any) -> list[Operation]:
    """Conv2d."""
    made = Convolution(*sizes)
    channels, taps, way = made.image[3], made.taps, made.way
    return both_ways(
        "conv2d",
        Conv2d(channels, made.channels, taps, stride=way["stride"], padding=way["pad"]),
        lambda: [made.x(), made.w(), made.b(), made.v()],
        "convolve",
        made.facts(bias=True),
        way,
        layouts=("image", "kernel"),
        result="image",
        split=True,
    )


def conv_transposed(*sizes: Any) -> list[Operation]:
    """ConvTranspose2d, of the convolution with these sizes."""
    made = Convolution(*sizes)
    channels, taps, way = made.image[3], made.taps, made.way

    def operands() -> Operands:
        return [made.v(), made.w(), normal(channels, 4), made.x()]

    return both_ways(
        "conv_transpose2d",
        ConvTranspose2d(made.channels, channels, taps, stride=way["stride"], padding=way["pad"]),
        operands,
        "convolve_transposed",
        made.facts(),
        way | {"size": made.image[1:3]},
        layouts=("image", "kernel"),
        result="image",
        split=True,
    )


def critic(n: int, *widths: int) -> Operation:
    """The gradient penalty of an MLP critic, and its gradient for the weights: backward twice.

    The least are 4 products a layer: forward, the slope at the input, from there up again, and the weights' gradient.
    """
    pairs = list(pairwise(widths))
    network = Sequential()
    for number, (i, o) in enumerate(pairs):
        setattr(network, str(2 * number), Linear(i, o))
        if o > 1:
            setattr(network, str(2 * number + 1), LeakyReLU(SLOPE))
    parameters = network.parameters()

    def operands() -> Operands:
        weights = [normal((i, o), 5 + i, i**-0.5) for i, o in pairs]
        biases = [normal(o, 6 + o, 0.1) for _, o in pairs]
        layers = [x for pair in zip(weights, biases, strict=True) for x in pair]
        mix = np.random.default_rng(4).random((n, 1), np.float32)
        return [normal((n, widths[0]), CRITIC_SEED), normal((n, widths[0]), 2), mix, *layers]

    def own(real: Any, fake: Any, mix: Any, *layers: Any) -> list[Any]:
        for parameter, array in zip(parameters, layers, strict=True):
            parameter.data = array
        loss = gradient_penalty(network, Tensor(real), Tensor(fake), Tensor(mix)) * WEIGHT
        return [loss.data, *(g.data for g in grad(loss, parameters[::2]))]

    numbers = sum(i * o for i, o in pairs)
    return Operation(
        "critic_penalty",
        "x".join(str(w) for w in (n, *widths)),
        {"batch": n, "parameters": numbers},
        4 * (2 * n * widths[0] + 2 * numbers),
        4 * 2 * n * numbers,
        operands,
        own,
        PRODUCT,
        Rival(
            "critic_penalty",
            lambda *xs: [*xs, np.float32(1)],
            "both",
            {"slope": SLOPE, "weight": WEIGHT},
            tuple(range(3, 3 + 2 * len(pairs), 2)),
            ("", "", "", *["matrix", ""] * len(pairs)),
        ),
    )
