"""The layers.

Shapes: `n` batch, `i` features in, `o` features out, `f` features. Weights are (i, o), so a layer is x @ w + b.
`Sequential` runs a layer with a weight and the LeakyReLU or ReLU after it as one fused op.
"""

import math
from itertools import count
from typing import TypeGuard

import numpy as np

from fastgan import ops, random
from fastgan.clock import Count, refuse_while_capturing
from fastgan.device import Array, array_module, device_of, to_device
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.init import fan_in, initialize
from fastgan.nn.module import Module
from fastgan.ops.elementwise import check_slope
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, tensor

_layer_number = count()


def first_draws(seed: int | None) -> Draws:
    """What a new layer draws its values from; without a seed, by how many layers the program has made before."""
    return Draws(next(_layer_number) if seed is None else seed, Stream.INIT)


class Fused(Module):
    """A layer that takes the LeakyReLU after it in: a subclass says how in `leaky`, and leaves `__call__` as it is."""

    def __call__(self, x: Tensor) -> Tensor:
        """The layer alone."""
        return self.leaky(x, 1.0)

    def leaky(self, x: Tensor, slope: float) -> Tensor:
        """The layer and the LeakyReLU after it, as one op; slope 1 for none."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define leaky")


class Weighted(Fused):
    """A layer with a weight and, unless it is left out, a bias; (o,). `strides`: see nn.initialize.

    `init` is a name of nn.INITIALIZERS, multiplied by `init_scale`. Without a seed, the first values depend on how many
    layers the program has made before.
    """

    strides = 1
    out_axis = -1  # of the weight

    def __init__(
        self, shape: tuple[int, ...], *, bias: bool, init: str, init_scale: float, seed: int | None
    ) -> None:
        if min(shape) < 1:
            raise ShapeError(
                f"{type(self).__name__}: got a weight of shape {shape}, wanted at least 1 each way"
            )
        self.init, self.init_scale = init, init_scale
        self.weight = Tensor(np.zeros(shape, np.float32), requires_grad=True)
        if bias:
            self.bias = Tensor(np.zeros(shape[self.out_axis], np.float32), requires_grad=True)
        self.has_bias = bias
        self.initialize(first_draws(seed))

    @property
    def biases(self) -> Tensor | None:
        """The bias, or None where it is left out."""
        return self.bias if self.has_bias else None

    def leaky(self, x: Tensor, slope: float) -> Tensor:
        """The layer with its own weight, and the LeakyReLU after it."""
        return self.apply(x, self.weight, slope)

    def apply(self, x: Tensor, w: Tensor, slope: float) -> Tensor:
        """The layer with a weight w, and the LeakyReLU after it."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define apply")

    def initialize(self, draws: Draws) -> None:
        """Draw the weight; biases are 0, or like the weight with PyTorch's default."""
        device, shape = device_of(self.weight.data), self.weight.shape
        values = initialize(self.init, shape, draws, scale=self.init_scale, strides=self.strides)
        self.weight.data[...] = to_device(values, device)
        if self.has_bias:
            bound = fan_in(shape) ** -0.5
            first = draws.uniform(self.bias.shape, -bound, bound) if self.init == "torch" else 0
            self.bias.data[...] = first if isinstance(first, int) else to_device(first, device)


class Linear(Weighted):
    """x @ weight + bias; (n, i) -> (n, o). `init`, `init_scale` and `seed` as Weighted says."""

    def __init__(
        self,
        i: int,
        o: int,
        *,
        bias: bool = True,
        init: str = "torch",
        init_scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        if i < 1 or o < 1:
            raise ShapeError(f"Linear: got {i} features in and {o} out, wanted at least 1 each")
        super().__init__((i, o), bias=bias, init=init, init_scale=init_scale, seed=seed)

    def apply(self, x: Tensor, w: Tensor, slope: float) -> Tensor:
        """leaky_relu(x @ w + bias)."""
        if self.has_bias and slope == 1:
            return ops.linear(x, w, self.bias)
        if self.has_bias:
            return ops.linear_leaky_relu(x, w, self.bias, slope=slope)
        y = x @ w
        return y if slope == 1 else ops.leaky_relu(y, slope=slope)


class LeakyReLU(Module):
    """x where positive, slope * x elsewhere; 0 <= slope <= 1. PyTorch's default slope is 0.01."""

    def __init__(self, slope: float = 0.01) -> None:
        check_slope(slope)
        self.slope = slope

    def __call__(self, x: Tensor) -> Tensor:
        """leaky_relu(x)."""
        return ops.leaky_relu(x, slope=self.slope)


class ReLU(LeakyReLU):
    """x where positive, 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Tanh(Module):
    """Hyperbolic tangent."""

    def __call__(self, x: Tensor) -> Tensor:
        """tanh(x)."""
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Tensor) -> Tensor:
        """sigmoid(x)."""
        return ops.sigmoid(x)


class Arctan(Module):
    """Inverse tangent."""

    def __call__(self, x: Tensor) -> Tensor:
        """arctan(x)."""
        return ops.arctan(x)


class Maxout(Module):
    """The largest of `pieces` linear maps per unit (Goodfellow et al. 2013); (n, i) -> (n, o)."""

    def __init__(
        self, i: int, o: int, *, pieces: int = 5, init: str = "torch", init_scale: float = 1.0
    ) -> None:
        self.linear = Linear(i, o * pieces, init=init, init_scale=init_scale)
        self.pieces = pieces

    def __call__(self, x: Tensor) -> Tensor:
        """max over pieces of x @ w + b."""
        y = self.linear(x)
        # units last: NumPy reduces a short last axis element by element, a tenth as fast
        return ops.maximum(y.reshape(y.shape[0], self.pieces, -1), axis=1)


class BatchNorm(Module):
    """Normalise each feature by the batch's mean and variance (Ioffe and Szegedy 2015), then scale and shift.

    In inference mode the running statistics are used instead. They move by `momentum` per training batch, as in PyTorch
    (Keras calls 1 - momentum its momentum). The running variance moves towards that of the batch's n samples and places
    times n / (n - correction): 1 makes it unbiased, as in PyTorch and in TensorFlow's fused op, 0 leaves it as it is.
    """

    state = ("mean", "variance")

    def __init__(self, f: int, *, momentum: float = 0.1, eps: float = 1e-5, correction: float = 1.0) -> None:
        if not 0 <= momentum <= 1:
            raise UsageError(f"BatchNorm: got momentum {momentum}, wanted 0 to 1")
        if not 0 <= correction < math.inf:
            raise UsageError(f"BatchNorm: got correction {correction}, wanted 0 or more")
        self.momentum, self.eps, self.correction = momentum, eps, correction
        self.gamma = Tensor(np.ones(f, np.float32), requires_grad=True)
        self.beta = Tensor(np.zeros(f, np.float32), requires_grad=True)
        self.mean: Array = np.zeros(f, np.float32)
        self.variance: Array = np.ones(f, np.float32)

    def initialize(self, draws: Draws) -> None:
        """Identity: gamma 1, beta 0, running statistics of N(0, 1)."""
        for ones in (self.gamma.data, self.variance):
            ones[...] = 1
        for zeros in (self.beta.data, self.mean):
            zeros[...] = 0

    def __call__(self, x: Tensor) -> Tensor:
        """x normalised per feature (the last axis)."""
        x = x if isinstance(x, Tensor) else tensor(x)
        if x.shape[-1:] != self.gamma.shape:
            raise ShapeError(f"BatchNorm: got x {x.shape}, wanted (..., {self.gamma.size})")
        if not self.training:
            inverse = (self.variance + self.eps) ** -0.5
            return (x - Tensor(self.mean)) * (self.gamma * Tensor(inverse)) + self.beta
        widening = self.widening(x.shape)
        stats = ops.moments(x.data, eps=self.eps)
        variance = array_module(stats).maximum(stats[1] ** -2 - self.eps, 0)
        self.mean += self.momentum * (stats[0] - self.mean)
        self.variance *= 1 - self.momentum
        self.variance += self.momentum * widening * variance
        return ops.batch_norm(x, self.gamma, self.beta, eps=self.eps, stats=stats)

    def widening(self, shape: tuple[int, ...]) -> float:
        """n / (n - correction) for a training batch (..., f) of n rows; ShapeError where they are too few."""
        n = math.prod(shape[:-1])
        if n <= max(1, self.correction):
            raise ShapeError(
                f"BatchNorm: got a batch of {n} rows {shape}, wanted more than {max(1, self.correction):g} to take "
                "statistics of"
            )
        return n / (n - self.correction)


class Dropout(Module):
    """Set a share `rate` of the elements to 0 and scale the rest up, in training mode only (Srivastava et al. 2014).

    Which ones is a function of the run's seed and step (see `Module.begin`), the layer, and the call within the step.
    """

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise UsageError(f"Dropout: got rate {rate}, wanted 0 <= rate < 1")
        self.rate = float(rate)
        self.source = (0, 0, next(_layer_number) % 2**12)

    def __call__(self, x: Tensor) -> Tensor:
        """x with a share of its elements dropped."""
        if not self.training or self.rate == 0:
            return x
        seed, step, layer = self.source
        if not isinstance(step, Count):
            refuse_while_capturing("dropout counts its masks")
        stream = Stream.DROPOUT | layer << 4 | (self.calls_done & 0xFFFF) << 16
        step += (self.calls_done >> 16) << 48
        self.calls_done += 1
        u = random.uniform(x.shape, seed=seed, stream=stream, step=step, device=x.device)
        return ops.dropout(x, Tensor((u >= self.rate).astype(x.dtype) / (1 - self.rate)))


class Sequential(Module):
    """Layers one after the other. With a `seed`, their parameters are drawn anew from it."""

    def __init__(self, *layers: Module, seed: int | None = None) -> None:
        for number, layer in enumerate(layers):
            setattr(self, str(number), layer)
        if seed is not None:
            self.initialize(Draws(seed, Stream.INIT))

    def __call__(self, x: Tensor) -> Tensor:
        """The last layer's output; a Fused layer and the LeakyReLU or ReLU after it run as one op."""
        layers = iter((*layers_of(self), None))
        layer = next(layers)
        while layer is not None:
            after = next(layers)
            if fuses(layer) and (type(after) is LeakyReLU or type(after) is ReLU):  # subclasses may differ
                x = layer.leaky(x, after.slope)
                after = next(layers)
            else:
                x = layer(x)
            layer = after
        return x

    def __len__(self) -> int:
        return len(layers_of(self))

    def __getitem__(self, number: int) -> Module:
        return layers_of(self)[number]


def layers_of(network: Sequential) -> list[Module]:
    """What a Sequential runs: its attributes that are Modules, and not what a subclass keeps in a list besides."""
    return [x for x in vars(network).values() if isinstance(x, Module)]


def fuses(layer: Module) -> TypeGuard[Fused]:
    """Whether the layer is what its `leaky` says: not where a subclass has a `__call__` of its own."""
    return type(layer).__call__ is Fused.__call__
