"""A multi-layer perceptron as a value: what the recipes of the articles describe in one line each."""

from dataclasses import dataclass

from fastgan.errors import UsageError
from fastgan.nn.layers import (
    Arctan,
    BatchNorm,
    Dropout,
    LeakyReLU,
    Linear,
    Maxout,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from fastgan.nn.module import Module
from fastgan.random import Draws, Stream

ACTIVATIONS = ("leaky_relu", "relu", "tanh", "sigmoid", "arctan", "maxout", "linear")


@dataclass(frozen=True)
class MLP:
    """Hidden layers of the given widths and an output layer; `build` makes the network.

    `activation` is one name of ACTIVATIONS for all hidden layers or one per layer. `batch_norm` is the share by which
    running statistics move per batch (0: no batch norm), `norm_correction` how their variance is corrected (see
    BatchNorm); it stands after the activation, or before it with `norm_first`. A layer that batch norm follows directly
    needs no bias: `hidden_bias` switches it off.
    """

    hidden: tuple[int, ...]
    activation: str | tuple[str, ...] = "leaky_relu"
    slope: float = 0.2
    output: str = "linear"
    init: str = "torch"
    init_scale: float = 1.0
    batch_norm: float = 0.0
    norm_first: bool = False
    norm_eps: float = 1e-5
    norm_correction: float = 1.0
    hidden_bias: bool = True
    pieces: int = 5
    dropout: float = 0.0

    def build(
        self, i: int, o: int, *, seed: int, number: int = 0, shape: tuple[int, ...] | None = None
    ) -> Sequential:
        """The network for `i` features in and `o` out; `number` tells networks of one run apart.

        The `shape` of the data's samples is nothing to it.
        """
        names = (self.activation,) * len(self.hidden) if isinstance(self.activation, str) else self.activation
        if len(names) != len(self.hidden):
            raise UsageError(
                f"got {len(names)} activations for {len(self.hidden)} hidden layers, wanted one each"
            )
        layers: list[Module] = []
        for width, name in zip(self.hidden, names, strict=True):
            layers += self._block(i, width, name)
            i = width
        layers += [self._linear(i, o), *self._activation(self.output)]
        network = Sequential(*layers)
        network.initialize(Draws(seed, Stream.INIT, step=number << 32))
        return network

    def _block(self, i: int, o: int, activation: str) -> list[Module]:
        if activation == "maxout":
            return [Maxout(i, o, pieces=self.pieces, init=self.init, init_scale=self.init_scale)]
        norm: list[Module] = []
        if self.batch_norm:
            settings = {"momentum": self.batch_norm, "eps": self.norm_eps, "correction": self.norm_correction}
            norm = [BatchNorm(o, **settings)]
        drop: list[Module] = [Dropout(self.dropout)] if self.dropout else []
        act = self._activation(activation)
        linear = self._linear(i, o, bias=self.hidden_bias)
        return [linear, *norm, *act, *drop] if self.norm_first else [linear, *act, *norm, *drop]

    def _linear(self, i: int, o: int, bias: bool = True) -> Linear:
        return Linear(i, o, bias=bias, init=self.init, init_scale=self.init_scale)

    def _activation(self, name: str) -> list[Module]:
        if name == "linear":
            return []
        if name == "leaky_relu":
            return [LeakyReLU(self.slope)]
        simple = {"relu": ReLU, "tanh": Tanh, "sigmoid": Sigmoid, "arctan": Arctan}
        if name not in simple:
            raise UsageError(f"got activation {name!r}, wanted one of {', '.join(ACTIVATIONS)}")
        return [simple[name]()]
