"""One row per layer, settings and shape of a batch; layer_math.py says what each computes.

The sweeps in test_nn_layers.py run over these rows, so a new layer needs its mathematics and a row, and no test.
"""

from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np

from fastgan import nn
from tables.layer_math import MATH, spectral


@dataclass(frozen=True)
class Row:
    """A layer by its name in fastgan.nn, the shape of a batch, and the layer's arguments and settings."""

    kind: str
    shape: tuple[int, ...]
    args: tuple[Any, ...]
    settings: dict[str, Any]

    def __str__(self) -> str:
        words = [*map(str, self.args), *(f"{k}={v}" for k, v in self.settings.items())]
        return f"{self.kind}({','.join(words)}) {'x'.join(map(str, self.shape))}".replace(", ", "x")

    def make(self) -> Any:
        """A new layer."""
        args = (arg.make() if isinstance(arg, Row) else arg for arg in self.args)
        return getattr(nn, self.kind)(*args, **self.settings)

    @property
    def math(self):
        """What it computes."""
        inner = self.args[0] if self.kind == "SpectralNorm" else None
        return spectral(inner.kind, inner.settings) if inner else MATH[self.kind]

    def operands(self, dtype=np.float64):
        """Samples for a batch (whole numbers for an embedding), the parameters and the state."""
        rng, layer = np.random.default_rng(0), self.make()
        x = rng.normal(size=self.shape).astype(dtype)
        if self.kind == "Embedding":
            x = rng.integers(0, self.args[0], self.shape)
        parameters = [rng.normal(size=p.shape).astype(dtype) for p in layer.parameters()]
        state = {name: rng.normal(size=a.shape).astype(dtype) for name, a in layer.named_state()}
        if "variance" in state:
            state["variance"] = abs(state["variance"]) + dtype(0.5)
        return x, parameters, list(state.values())

    def function(self, dtype=np.float64, *, training=True):
        """The layer as a function of batch and parameters, from the same state at each call; arrays for it; itself."""
        layer, (x, parameters, state) = self.make().train(training), self.operands(dtype)
        fixed = [x] if self.kind == "Embedding" else []

        def call(*tensors):
            batch, *values = (*fixed, *tensors)
            put(layer, values, [a.copy() for a in state])
            layer.begin(1, 2)
            return layer(batch)

        return call, parameters if fixed else [x, *parameters], layer


def put(module, parameters, state=()):
    """Tensors and arrays in the place of a Module's own, wherever in it they are."""
    names = [name for name, _ in module.named_parameters()]
    names += [name for name, _ in module.named_state()] if state else []
    for name, value in zip(names, [*parameters, *state], strict=True):
        where, _, last = name.rpartition(".")
        setattr(attrgetter(where)(module) if where else module, last, value)


def row(kind, shape, *args, **settings):
    return Row(kind, shape, args, settings)


IMAGES = [(2, 4, 5, 3), (1, 2, 1, 3), (3, 1, 2, 1), (4, 2, 2, 16)]
WIDE = [(1, 2), (3, 3), (4, 16), (2, 33)]
SIZES = [(1, 1, 1, 1), (3, 2, 5, 2)]
GROUPS = [((4, 2, 3, 2), 4), ((6, 3, 1, 2), 3), ((2, 4, 4, 1), 2), ((9, 2, 3), 3), ((5, 7), 5), ((8, 3), 2)]
GROUPS += [((3, 2, 2, 2), 4)]  # a batch smaller than a group

LINEAR = [row("Linear", (4, 3), 3, 5), row("Linear", (2, 6), 6, 1), row("Linear", (1, 4), 4, 4)]
CONV = [
    row("Conv2d", (2, 5, 4, 2), 2, 3, 3),
    row("Conv2d", (2, 7, 6, 3), 3, 2, (3, 2), stride=(2, 1), padding=(1, 2, 0, 1)),
    row("Conv2d", (1, 28, 28, 1), 1, 3, 5, stride=2, padding="same"),  # igul222's first: 1 before, 2 after
    row("Conv2d", (3, 7, 7, 4), 4, 3, 5, stride=2, padding="same"),
    row("Conv2d", (2, 5, 8, 2), 2, 3, 4, stride=3, padding="same"),
    row("Conv2d", (2, 4, 4, 2), 2, 3, 2, stride=3, padding="same"),  # gaps between windows
    row("Conv2d", (2, 3, 3, 5), 5, 1, 1),
    row("Conv2d", (2, 6, 5, 2), 2, 1, 1, stride=2),  # a row and a column left out
    row("Conv2d", (2, 4, 6, 3), 3, 2, (4, 6)),  # kernel = input
    row("Conv2d", (2, 3, 3, 2), 2, 2, 5, padding=1),
    row("Conv2d", (2, 9, 4, 2), 2, 2, (2, 4), stride=(3, 2), padding=(0, 1)),
    row("Conv2d", (2, 6, 6, 2), 2, 4, 4, stride=2, padding=1),
    row("Conv2d", (2, 4, 4, 2), 2, 3, 3, bias=False),
]
TRANSPOSED = [
    row("ConvTranspose2d", (2, 7, 7, 3), 3, 2, 4, stride=2, padding=1),  # cs231n's layers
    row("ConvTranspose2d", (2, 4, 4, 3), 3, 2, 5, stride=2, padding="same"),  # igul222's
    row("ConvTranspose2d", (2, 4, 4, 3), 3, 2, 5, stride=2, padding=2, output_padding=1),
    row("ConvTranspose2d", (2, 3, 5, 2), 2, 3, 3, stride=(2, 3), padding=1, output_padding=(1, 2)),
    row("ConvTranspose2d", (2, 1, 1, 8), 8, 4, 4),
    row("ConvTranspose2d", (2, 4, 4, 2), 2, 3, 1),
    row("ConvTranspose2d", (2, 3, 3, 2), 2, 3, 1, stride=2, output_padding=1),
    row("ConvTranspose2d", (2, 3, 4, 2), 2, 3, (3, 2), padding=(1, 0, 0, 1)),
    row("ConvTranspose2d", (2, 4, 4, 2), 2, 1, 4, padding="same"),  # handspeaker's last: kernel = input
    row("ConvTranspose2d", (2, 3, 2, 2), 2, 2, 2, stride=3, padding="same"),  # gaps between windows
    row("ConvTranspose2d", (3, 2, 5, 1), 1, 2, (2, 5), stride=(2, 1), padding=(0, 2)),
]
SPECTRAL = [*LINEAR, *(CONV[k] for k in (0, 6, 8, 11)), *(TRANSPOSED[k] for k in (0, 3, 4))]
POOLS = [
    ((2, 4, 6, 3), {"size": 2}),
    ((2, 5, 7, 3), {"size": 2, "stride": None}),  # a row and a column left out
    ((2, 6, 7, 2), {"size": (3, 2), "stride": 1}),
    ((1, 9, 8, 2), {"size": (2, 3), "stride": (4, 5)}),  # gaps between windows
    ((3, 4, 5, 1), {"size": (4, 5)}),
    ((2, 3, 3, 2), {"size": 1}),
]
ROWS = [
    *LINEAR,
    row("Linear", (4, 3), 3, 2, bias=False),
    *CONV,
    *TRANSPOSED,
    *(row("SpectralNorm", inner.shape, inner) for inner in SPECTRAL),
    row("Maxout", (5, 3), 3, 2, pieces=4),
    row("LeakyReLU", (3, 4), slope=0.3),
    *(row(kind, (3, 4)) for kind in ("LeakyReLU", "ReLU", "Tanh", "Sigmoid", "Arctan")),
    *(row("Activation", (3, 4), act=act) for act in ("tanh", "sigmoid")),
    row("Dropout", (3, 4), rate=0.3),
    *(row("BatchNorm", s, s[-1], eps=1e-3) for s in [*IMAGES, (7, 3)]),
    *(row("BatchNorm", (16, 3), 3, momentum=0.2, correction=c) for c in (0, 1, 1.001)),
    *(row("LayerNorm", s, s[-1], eps=1e-3) for s in [*IMAGES, *WIDE]),
    *(row("InstanceNorm", s, s[-1], eps=1e-2) for s in IMAGES),
    *(row("MinibatchStdDev", shape, group=group) for shape, group in GROUPS),
    *(row("Embedding", (6,), count, f) for count, f in WIDE),
    *(row(kind, shape, **by) for kind, (shape, by) in product(("MaxPool2d", "AvgPool2d"), POOLS)),
    *(row("Upsample2d", s, factor=factor) for s, factor in product(SIZES, (2, (1, 3)))),
    *(row("Pad2d", s, padding=padding) for s, padding in product(SIZES, (2, (1, 0), (0, 1, 2, 3)))),
    row("Pad2d", SIZES[1], padding=(0, 1, 2, 3), value=-1.0),
    *(row("Crop2d", (2, 8, 8, 3), h=h, w=w) for h, w in [(7, 7), (8, 8), (1, 4), (2, 1)]),
    row("Reshape", (5, 24), 2, 3, 4),
    row("Flatten", (5, 2, 3, 4)),
    *(row("Mean", shape) for shape in [(5, 2, 3, 4), (5, 1)]),
]
