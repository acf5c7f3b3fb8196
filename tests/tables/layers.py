"""One row per layer, settings and shape of a batch; layer_math.py says what each computes.

The sweeps in test_nn_layers.py run over these rows, so a new layer needs its mathematics and a row, and no test.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgan import nn
from fastgan.nn import Module
from fastgan.tape import Tensor
from tables.layer_math import MATH, Math, Values, spectral

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A layer by its name in fastgan.nn, the shape of a batch, and the layer's arguments and settings.

    A batch with `ties` is rounded, so that some of its numbers are equal.
    """

    kind: str
    shape: Shape
    args: tuple[Any, ...]
    settings: dict[str, Any]
    ties: bool = False

    def __str__(self) -> str:
        words = [*map(str, self.args), *(f"{k}={v}" for k, v in self.settings.items())]
        shape, ties = "x".join(map(str, self.shape)), " ties" * self.ties
        return f"{self.kind}({','.join(words)}) {shape}{ties}".replace(", ", "x")

    def make(self) -> Module:
        """A new layer."""
        args = (arg.make() if isinstance(arg, Row) else arg for arg in self.args)
        return getattr(nn, self.kind)(*args, **self.settings)  # type: ignore[no-any-return]

    @property
    def math(self) -> Math:
        """What it computes."""
        if self.kind == "SpectralNorm":
            inner: Row = self.args[0]
            return spectral(inner.kind, inner.args, inner.settings)
        return MATH[self.kind]

    def operands(self, dtype: Any = np.float64) -> tuple[Values, list[Values], list[Values]]:
        """Samples for a batch (whole numbers for an embedding), the parameters and the state."""
        rng, layer = np.random.default_rng(0), self.make()
        x = rng.normal(size=self.shape).astype(dtype)
        if self.kind == "Embedding":
            x = rng.integers(0, self.args[0], self.shape)
        parameters = [rng.normal(size=p.shape).astype(dtype) for p in layer.parameters()]
        state = {name: rng.normal(size=a.shape).astype(dtype) for name, a in layer.named_state()}
        if "variance" in state:
            state["variance"] = abs(state["variance"]) + dtype(0.5)
        return np.rint(x) if self.ties else x, parameters, list(state.values())

    def function(self, dtype: Any = np.float64, *, training: bool = True) -> tuple[Any, list[Values], Module]:
        """The layer as a function of batch and parameters, from the same state at each call; arrays for it; itself."""
        layer, (x, parameters, state) = self.make().train(training), self.operands(dtype)
        fixed = [x] if self.kind == "Embedding" else []

        def call(*tensors: Tensor) -> Tensor:
            batch, *values = (*fixed, *tensors)
            put(layer, values, [a.copy() for a in state])
            layer.begin(1, 2)
            return layer(batch)

        return call, parameters if fixed else [x, *parameters], layer


def put(module: Module, parameters: Any, state: Any = ()) -> None:
    """Tensors and arrays in the place of a Module's own, wherever in it they are."""
    names = [name for name, _ in module.named_parameters()]
    names += [name for name, _ in module.named_state()] if state else []
    for name, value in zip(names, [*parameters, *state], strict=True):
        *path, last = name.split(".")
        part: Any = module
        for step in path:
            part = getattr(part, step)
        setattr(part, last, value)


def row(kind: str, shape: Shape, *args: Any, **settings: Any) -> Row:
    return Row(kind, shape, args, settings)


IMAGES = [(2, 4, 5, 3), (1, 2, 1, 3), (3, 1, 2, 1), (2, 7, 7, 4), (4, 2, 2, 16)]
WIDE = [(1, 2), (3, 3), (4, 16), (2, 33), (7, 10)]
SIZES = [(1, 1, 1, 1), (2, 3, 4, 1), (3, 2, 5, 2)]
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
POOLS: list[tuple[Shape, Any, Any]] = [
    ((2, 4, 6, 3), 2, None),
    ((2, 24, 24, 4), 2, None),  # cs231n's
    ((2, 5, 7, 3), 2, None),  # a row and a column left out
    ((2, 6, 6, 2), (3, 2), None),
    ((2, 6, 7, 2), 3, 1),
    ((2, 7, 7, 2), 3, 2),
    ((1, 9, 8, 2), (2, 3), (4, 5)),  # gaps between windows
    ((3, 4, 5, 1), (4, 5), None),
    ((2, 3, 3, 2), 1, None),
    ((2, 5, 6, 2), (1, 3), (2, 1)),
]

ROWS = [
    *LINEAR,
    row("Linear", (4, 3), 3, 2, bias=False),
    *CONV,
    *TRANSPOSED,
    *(
        row("SpectralNorm", r.shape, r)
        for r in (*LINEAR, CONV[0], CONV[6], CONV[8], CONV[11], *TRANSPOSED[:1])
    ),
    *(row("SpectralNorm", r.shape, r) for r in (TRANSPOSED[3], TRANSPOSED[4])),
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
    *(
        row(kind, s, size=size, stride=stride)
        for kind in ("MaxPool2d", "AvgPool2d")
        for s, size, stride in POOLS
    ),
    *(Row("MaxPool2d", s, (), {"size": size, "stride": stride}, ties=True) for s, size, stride in POOLS),
    *(row("Upsample2d", s, factor=factor) for s in SIZES for factor in (2, (1, 3))),
    *(row("Pad2d", s, padding=p) for s in SIZES for p in (2, (1, 0), (0, 1, 2, 3))),
    *(row("Pad2d", s, padding=(0, 1, 2, 3), value=-1.0) for s in SIZES),
    *(row("Crop2d", (2, 8, 8, 3), h=h, w=w) for h, w in [(7, 7), (8, 8), (1, 4), (2, 1)]),
    row("Reshape", (5, 24), 2, 3, 4),
    row("Flatten", (5, 2, 3, 4)),
    *(row("Mean", shape) for shape in [(5, 2, 3, 4), (5, 1)]),
]
