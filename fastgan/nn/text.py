"""A network as text, one line per layer: what the convolutional recipes are, and what config.toml and --help show.

    "image", "conv 64 5 stride=2 padding=same", "leaky_relu 0.2", "flatten", "linear 1"

Sizes in are worked out and never written: each layer is run once, on zeros, when the network is built, so that a line
that does not fit is an error which names it. `c` stands for the channels of the data, `o` for the numbers wanted out;
"image" gives a flat sample the data's height, width and channels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.conv import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Crop2d,
    Flatten,
    MaxPool2d,
    Mean,
    Pad2d,
    Reshape,
    Upsample2d,
)
from fastgan.nn.layers import (
    Arctan,
    BatchNorm,
    Dropout,
    LeakyReLU,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from fastgan.nn.module import Module
from fastgan.nn.norm import InstanceNorm, LayerNorm, MinibatchStdDev, SpectralNorm
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, no_grad

Shape = tuple[int, ...]
WHOLE = "a whole number of at most 9 digits"


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) <= 9


class Line(NamedTuple):
    """One layer: its name, the values behind it, its options as name=value, and what sizes stand for."""

    name: str
    values: list[str]
    options: dict[str, str]
    given: Shape  # a sample, as the layers before leave it
    data: Shape  # a sample of the data
    wanted: int  # numbers that the network is to give

    def number(self, place: int, default: int | None = None) -> int:
        """The whole number at a place."""
        if place >= len(self.values) and default is not None:
            return default
        text = self.values[place] if place < len(self.values) else ""
        known = {"o": self.wanted, "c": self.data[-1]}
        if text not in known and not _is_whole(text):
            raise UsageError(f"got {text or 'nothing'!r} as number {place + 1}, wanted {WHOLE}")
        return known[text] if text in known else int(text)

    def size(self) -> Shape:
        """Numbers joined by x."""
        parts = (self.values or [""])[0].split("x")
        if not all(part == "c" or _is_whole(part) for part in parts):
            raise UsageError(f"got {'x'.join(parts)!r}, wanted a size such as 7x7x128")
        return tuple(self.data[-1] if part == "c" else int(part) for part in parts)


@dataclass(frozen=True)
class Net:
    """Layers as text, see NAMES; `build` makes the network.

    `init`, `init_scale` and `bias` hold for layers that say nothing else (conv 64 5 init=normal scale=0.02 bias=no).
    `batch_norm` is the share by which running statistics move per batch, `norm_correction` batch norm's correction of
    the variance (see BatchNorm), `norm_eps` the epsilon of every kind of norm.
    """

    layers: tuple[str, ...]
    init: str = "torch"
    init_scale: float = 1.0
    batch_norm: float = 0.1
    norm_eps: float = 1e-5
    norm_correction: float = 1.0
    bias: bool = True

    def build(self, i: int, o: int, *, seed: int, number: int = 0, shape: Shape | None = None) -> Sequential:
        """The network for `i` numbers in and `o` out, where samples of the data have `shape`, (h, w, c) or (d,).

        `number` tells networks of one run apart. UsageError, with the line, for a layer that is unknown or cannot be.
        """
        given: Shape = (i,)
        modules: list[Module] = []
        for place, text in enumerate(self.layers, 1):
            try:
                module = self._layer(text, given, shape or (i,), o)
                given = _shape_after(module, given)
            except (ShapeError, UsageError) as error:
                name = "critic" if number else "generator"
                raise UsageError(f"{name}, layer {place}, {text!r}: {error}") from error
            modules.append(module)
        network = Sequential(*modules)
        network.initialize(Draws(seed, Stream.INIT, step=number << 32))
        return network

    def _layer(self, text: str, given: Shape, data: Shape, wanted: int) -> Module:
        name, *words = text.split() or [""]
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
            raise UsageError(f"got {name!r}; {hint}")
        make, least, most, known = NAMES[name]
        pairs = [word.split("=", 1) for word in words if "=" in word]
        options = dict(pairs)
        if len(options) < len(pairs):
            raise UsageError("got an option twice, wanted each once")
        values = [word for word in words if "=" not in word and word != "spectral"]
        for option in options.keys() - set(known):
            raise UsageError(f"got option {option!r}, wanted {' or '.join(known) if known else 'none'}")
        if not least <= len(values) <= most:
            raise UsageError(
                f"got {len(values)} values, wanted {least if least == most else f'{least} or {most}'}"
            )
        module = make(self, Line(name, values, options, given, data, wanted))
        if "spectral" not in words:
            return module
        if not isinstance(module, Linear | Conv2d | ConvTranspose2d):
            raise UsageError("got spectral, wanted it at a layer with a weight")
        return SpectralNorm(module)


def _shape_after(module: Module, given: Shape) -> Shape:
    """The shape of a sample behind a layer."""
    module.eval()
    with no_grad(), use_kernels(False):
        x = module(Tensor(np.zeros((2, *given), np.float32)))
    module.train()
    return x.shape[1:]


def _settings(net: Net, line: Line) -> dict[str, Any]:
    """How the weight of a layer begins, and whether it has a bias."""
    bias = line.options.get("bias", "yes" if net.bias else "no")
    if bias not in ("yes", "no"):
        raise UsageError(f"got bias={bias}, wanted yes or no")
    try:
        scale = float(line.options.get("scale", net.init_scale))
    except ValueError as error:
        raise UsageError(f"got scale={line.options['scale']}, wanted a number") from error
    return {"bias": bias == "yes", "init": line.options.get("init", net.init), "init_scale": scale}


def _linear(net: Net, line: Line) -> Module:
    if len(line.given) != 1:
        raise UsageError(f"got samples of {_text(line.given)}, wanted rows: put flatten before it")
    return Linear(line.given[0], line.number(0), **_settings(net, line))


def _windows(line: Line) -> dict[str, Any]:
    """Stride and padding."""
    stride = line.options.get("stride", "1")
    padding = line.options.get("padding", "0")
    for name, text in (("stride", stride), ("padding", padding)):
        if not _is_whole(text) and not (name == "padding" and text == "same"):
            raise UsageError(f"got {name}={text}, wanted {WHOLE}{', or same' * (name == 'padding')}")
    return {"stride": int(stride), "padding": padding if padding == "same" else int(padding)}


def _conv(net: Net, line: Line) -> Module:
    kernel, settings = line.number(1), _windows(line)
    if settings["padding"] != "same" and settings["stride"]:
        for length in _image(line)[:2]:
            _check_divides(length + 2 * settings["padding"] - kernel, settings["stride"], length)
    return Conv2d(_image(line)[2], line.number(0), kernel, **settings, **_settings(net, line))


def _conv_transpose(net: Net, line: Line) -> Module:
    settings = _windows(line) | _settings(net, line)
    extra = line.options.get("output_padding", "0")
    if not _is_whole(extra):
        raise UsageError(f"got output_padding={extra}, wanted {WHOLE}")
    return ConvTranspose2d(
        _image(line)[2], line.number(0), line.number(1), output_padding=int(extra), **settings
    )


def _pool(kind: type[MaxPool2d]) -> Callable[[Net, Line], Module]:
    def make(net: Net, line: Line) -> Module:
        size = line.number(0)
        stride = line.number(1, size)
        for length in _image(line)[:2]:
            _check_divides(length - size, stride, length)
        return kind(size, stride)

    return make


def _check_divides(rest: int, stride: int, length: int) -> None:
    """UsageError where a stride would leave rows of an image unread."""
    if stride and rest > 0 and rest % stride:
        raise UsageError(
            f"got {length} pixels, of which stride {stride} leaves {rest % stride} unread: wanted another size or "
            "stride, or padding=same for a convolution"
        )


def _pad(net: Net, line: Line) -> Module:
    """One number for all sides, or top, bottom, left and right."""
    sides = [line.number(place) for place in range(len(line.values))]
    if len(sides) not in (1, 4):
        raise UsageError(f"got {len(sides)} numbers, wanted 1, or 4: top, bottom, left, right")
    top, bottom, left, right = sides * 4 if len(sides) == 1 else sides
    return Pad2d((top, bottom, left, right))


def _float(line: Line, default: float) -> float:
    try:
        return float(line.values[0]) if line.values else default
    except ValueError as error:
        raise UsageError(f"got {line.values[0]!r}, wanted a number") from error


def _image(line: Line) -> Shape:
    if len(line.given) != 3:
        raise UsageError(
            f"got samples of {_text(line.given)}, wanted images (h, w, c): put image or reshape before it"
        )
    return line.given


def _to_image(net: Net, line: Line) -> Module:
    if len(line.data) != 3:
        raise UsageError(f"got data of {_text(line.data)}, wanted images")
    return Reshape(*line.data)


def _reshape(net: Net, line: Line) -> Module:
    shape = line.size()
    if math.prod(shape) != math.prod(line.given):
        raise UsageError(f"got samples of {_text(line.given)}, which {_text(shape)} does not hold")
    return Reshape(*shape)


def _crop(net: Net, line: Line) -> Module:
    size = line.size()
    if len(size) != 2:
        raise UsageError(f"got {_text(size)}, wanted a size such as 7x7")
    return Crop2d(*size)


def _batch_norm(net: Net, line: Line) -> Module:
    settings = {"momentum": net.batch_norm, "eps": net.norm_eps, "correction": net.norm_correction}
    return BatchNorm(line.given[-1], **settings)


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _plain(kind: Callable[[], Module]) -> Callable[[Net, Line], Module]:
    return lambda net, line: kind()


WEIGHT = ("init", "scale", "bias")
Maker = tuple[Callable[[Net, Line], Module], int, int, tuple[str, ...]]
NAMES: dict[str, Maker] = {  # how it is made, fewest and most values, options
    "linear": (_linear, 1, 1, WEIGHT),
    "conv": (_conv, 2, 2, ("stride", "padding", *WEIGHT)),
    "conv_transpose": (_conv_transpose, 2, 2, ("stride", "padding", "output_padding", *WEIGHT)),
    "max_pool": (_pool(MaxPool2d), 1, 2, ()),
    "avg_pool": (_pool(AvgPool2d), 1, 2, ()),
    "upsample": (lambda net, line: Upsample2d(line.number(0)), 1, 1, ()),
    "pad": (_pad, 1, 4, ()),
    "crop": (_crop, 1, 1, ()),
    "image": (_to_image, 0, 0, ()),
    "reshape": (_reshape, 1, 1, ()),
    "flatten": (_plain(Flatten), 0, 0, ()),
    "mean": (_plain(Mean), 0, 0, ()),
    "relu": (_plain(ReLU), 0, 0, ()),
    "leaky_relu": (lambda net, line: LeakyReLU(_float(line, 0.01)), 0, 1, ()),
    "tanh": (_plain(Tanh), 0, 0, ()),
    "sigmoid": (_plain(Sigmoid), 0, 0, ()),
    "arctan": (_plain(Arctan), 0, 0, ()),
    "dropout": (lambda net, line: Dropout(_float(line, 0.5)), 0, 1, ()),
    "batch_norm": (_batch_norm, 0, 0, ()),
    "layer_norm": (lambda net, line: LayerNorm(line.given[-1], eps=net.norm_eps), 0, 0, ()),
    "instance_norm": (lambda net, line: InstanceNorm(line.given[-1], eps=net.norm_eps), 0, 0, ()),
    "minibatch_stddev": (_plain(MinibatchStdDev), 0, 0, ()),
}
