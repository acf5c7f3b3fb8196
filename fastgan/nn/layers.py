"""The layers.

Shapes: `n` batch, `i` features in, `o` features out, `f` features. Weights are (i, o), so a layer is x @ w + b.
`Sequential` runs a layer with a weight, or batch norm, and the activation after it as one fused op.
"""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any, TypeGuard

import numpy as np

from fastgan import ops, random
from fastgan.clock import Count, refuse_while_capturing
from fastgan.device import Array, device_of, to_device
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.init import fan_in, initialize
from fastgan.nn.module import Module
from fastgan.ops.elementwise import NOTHING, check_act
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, tensor
from fastgan.tape.engine import Act

_layer_number = count()


def first_draws(seed: int | None) -> Draws:
    """What a new layer draws its values from; without a seed, by how many layers the program has made before."""
    return Draws(next(_layer_number) if seed is None else seed, Stream.INIT)


class Fused(Module):
    """A layer that takes the activation after it in: a subclass says how in `fused`, and leaves `__call__` as it is."""

    acts: tuple[str, ...] | None = ("leaky",)  # names of activations that it takes in; None: all there are

    def __call__(self, x: Tensor) -> Tensor:
        """The layer alone."""
        return self.fused(x, NOTHING)

    def fused(self, x: Tensor, act: Act) -> Tensor:
        """The layer and the activation (name, slope) after it, as one op; ("leaky", 1.0) is none."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define fused")


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

    def fused(self, x: Tensor, act: Act) -> Tensor:
        """The layer with its own weight, and the activation after it."""
        return self.apply(x, self.weight, act)

    def apply(self, x: Tensor, w: Tensor, act: Act) -> Tensor:
        """The layer with a weight w, and the activation after it."""
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

    acts = None

    def apply(self, x: Tensor, w: Tensor, act: Act) -> Tensor:
        """act(x @ w + bias)."""
        if self.has_bias:
            return ops.linear(x, w, self.bias, act=act[0], slope=act[1])
        y = x @ w
        return y if act == NOTHING else ops.activation(y, act=act[0], slope=act[1])


class Activation(Module):
    """An activation of ops.ACTIVATIONS, by its name; `slope` is that of "leaky"."""

    def __init__(self, act: str, slope: float = 1.0) -> None:
        check_act(act, slope)
        self.act, self.slope = act, slope

    def __call__(self, x: Tensor) -> Tensor:
        """The activation of x."""
        return ops.activation(x, act=self.act, slope=self.slope)


class LeakyReLU(Activation):
    """x where positive, slope * x elsewhere; 0 <= slope <= 1. PyTorch's default slope is 0.01."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__("leaky", slope)


class ReLU(LeakyReLU):
    """x where positive, 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Tanh(Activation):
    """Hyperbolic tangent."""

    def __init__(self) -> None:
        super().__init__("tanh")


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def __init__(self) -> None:
        super().__init__("sigmoid")


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


class BatchNorm(Fused):
    """Normalize each feature by the batch's mean and variance (Ioffe and Szegedy 2015), then scale and shift.

    In inference mode the running statistics are used instead. They move by `momentum` per training batch, as in PyTorch
    (Keras calls 1 - momentum its momentum). The running variance moves towards that of the batch's n samples and places
    times n / (n - correction): 1 makes it unbiased, as in PyTorch and in TensorFlow's fused op, 0 leaves it as it is.
    """

    state = ("mean", "variance")
    acts = None

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

    def fused(self, x: Tensor, act: Act) -> Tensor:
        """x normalized per feature (the last axis), and the activation after it."""
        x = x if isinstance(x, Tensor) else tensor(x)
        if x.shape[-1:] != self.gamma.shape:
            raise ShapeError(f"BatchNorm: got x {x.shape}, wanted (..., {self.gamma.size})")
        settings = {"act": act[0], "slope": act[1], "training": self.training, **self.moving(x.shape)}
        return ops.batch_norm(x, self.gamma, self.beta, **settings)

    def behind(self, layer: Linear, x: Tensor, act: Act) -> Tensor:
        """Batch norm of a linear layer and its activation, as one op."""
        w, b = layer.weight, layer.bias
        settings = {"act": act[0], "slope": act[1], **self.moving((x.shape[0], *b.shape))}
        return ops.linear_norm(x, w, b, self.gamma, self.beta, **settings)

    def moving(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """What the op is told of the running statistics, for x of a shape."""
        widening = self.widening(shape) if self.training else 1.0
        moving = {"eps": self.eps, "momentum": self.momentum, "widening": widening}
        return {"mean": self.mean, "variance": self.variance, **moving}

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
        """The last layer's output; what `planned` puts together runs as one op."""
        for layer, act, norm in planned(self):
            if norm is not None:
                x = norm.behind(layer, x, act)
                continue
            x = layer.fused(x, act) if fuses(layer) else layer(x)
        return x

    def __len__(self) -> int:
        return len(layers_of(self))

    def __getitem__(self, number: int) -> Module:
        return layers_of(self)[number]


def layers_of(network: Sequential) -> list[Module]:
    """What a Sequential runs: its attributes that are Modules, and not what a subclass keeps in a list besides."""
    return [x for x in vars(network).values() if isinstance(x, Module)]


def planned(network: Sequential) -> Iterator[tuple[Any, Act, BatchNorm | None]]:
    """How a Sequential runs its layers: each with the activation after it that it takes in, and a linear layer also
    with the batch norm behind that. Of a subclass only what it has not changed is known."""
    layers = layers_of(network)
    k = 0
    while k < len(layers):
        layer, act, k = layers[k], NOTHING, k + 1
        if fuses(layer):
            after = layers[k] if k < len(layers) else None
            if isinstance(after, Activation) and _taken(layer, after):
                act, k = (after.act, after.slope), k + 1
                after = layers[k] if k < len(layers) else None
            if type(layer) is Linear and layer.has_bias and type(after) is BatchNorm and after.training:
                yield layer, act, after
                k += 1
                continue
        yield layer, act, None


def fuses(layer: Module) -> TypeGuard[Fused]:
    """Whether the layer is what its `fused` says: not where a subclass has a `__call__` of its own."""
    return type(layer).__call__ is Fused.__call__


def _taken(layer: Fused, after: Activation) -> bool:
    """Whether a layer takes the activation after it in: not one that a subclass has changed."""
    return type(after).__call__ is Activation.__call__ and (layer.acts is None or after.act in layer.acts)
