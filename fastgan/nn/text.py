"""A network as text, one line per layer: what recipes are made of, and what config.toml and --help show.

    "image", "conv 64 5 stride=2 padding=same", "leaky_relu 0.2", "flatten", "linear 1"

A line is a call: its first word says which layer of LAYERS, the others are what the layer's signature asks for, values
in their order (7x7x128 is three) and settings by name. Sizes in are worked out and never written: each layer is run
once, on zeros, when the network is built, so that a line that does not fit is an error which names it. `c` stands for
the channels of the data, `o` for the numbers wanted out; "image" gives a flat sample the data's form.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from inspect import Parameter, signature
from math import isfinite
from typing import Any, get_args

import numpy as np

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import conv, norm
from fastgan.nn import layers as dense
from fastgan.nn.layers import Sequential
from fastgan.nn.module import Module
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, no_grad

Shape = tuple[int, ...]
SIZE = re.compile(r"[\dc]+(x[\dc]+)+")
SPELT = {"scale": "init_scale"}  # settings that lines have another word for


def _image(data: Shape) -> conv.Reshape:
    """A flat sample as an image."""
    if len(data) != 3:
        raise UsageError(f"got data of {_text(data)}, wanted images")
    return conv.Reshape(*data)


def _pad(*sides: int) -> conv.Pad2d:
    """One number for all sides, or one for each."""
    if len(sides) not in (1, 4):
        raise UsageError(f"got {len(sides)} values, wanted 1, or 4: top, bottom, left, right")
    return conv.Pad2d(sides if len(sides) == 4 else sides[0])


ACTIVATIONS: dict[str, Callable[..., Module]] = {
    **{name: partial(dense.Activation, name) for name in ops.ACTIVATIONS if name != "leaky"},
    "relu": dense.ReLU,
    "leaky_relu": dense.LeakyReLU,
    "tanh": dense.Tanh,
    "sigmoid": dense.Sigmoid,
    "arctan": dense.Arctan,
}
# What makes a layer; one more of yours is one more row. Of a signature's names, `i` and `f` are a sample's last axis,
# `data` is the form of the data, and the settings of a Net hold for those in Net.settings.
LAYERS: dict[str, Callable[..., Module]] = {
    "linear": dense.Linear,
    "conv": conv.Conv2d,
    "conv_transpose": conv.ConvTranspose2d,
    "maxout": dense.Maxout,
    "max_pool": conv.MaxPool2d,
    "avg_pool": conv.AvgPool2d,
    "upsample": conv.Upsample2d,
    "pad": _pad,
    "crop": conv.Crop2d,
    "image": _image,
    "reshape": conv.Reshape,
    "flatten": conv.Flatten,
    "mean": conv.Mean,
    **ACTIVATIONS,
    "dropout": dense.Dropout,
    "batch_norm": dense.BatchNorm,
    "layer_norm": norm.LayerNorm,
    "instance_norm": norm.InstanceNorm,
    "minibatch_stddev": norm.MinibatchStdDev,
}
OF_ROWS = (dense.Linear, dense.Maxout)
OF_IMAGES = (conv.Conv2d, conv.ConvTranspose2d, conv.MaxPool2d, conv.Upsample2d, conv.Pad2d, conv.Crop2d)


@dataclass(frozen=True)
class Net:
    """Layers as text, see LAYERS; `build` makes the network.

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

    def build(
        self, i: int, o: int, *, seed: int, number: int = 0, shape: Shape | None = None, name: str = "network"
    ) -> Sequential:
        """The network for `i` numbers in and `o` out, where samples of the data have `shape`, (h, w, c) or (d,).

        `number` tells networks of one run apart, and `name` what errors call this one. UsageError, with the line, for a
        layer that is unknown or cannot be.
        """
        given: Shape = (i,)
        modules: list[Module] = []
        for place, text in enumerate(self.layers, 1):
            try:
                modules.append(self._layer(text, given, shape or (i,), o))
                given = _shape_after(modules[-1], given)
            except (ShapeError, UsageError) as error:
                raise UsageError(f"{name}, layer {place}, {text!r}: {error}") from error
        network = Sequential(*modules)
        network.initialize(Draws(seed, Stream.INIT, step=number << 32))
        return network

    def settings(self) -> dict[str, Any]:
        """What holds for layers that say nothing else, by the names that their signatures have for it."""
        norms = {"momentum": self.batch_norm, "eps": self.norm_eps, "correction": self.norm_correction}
        return {"init": self.init, "init_scale": self.init_scale, "bias": self.bias, **norms}

    def _layer(self, text: str, given: Shape, data: Shape, o: int) -> Module:
        """The layer of one line, for samples as the layers before leave them."""
        name, *words = text.split() or [""]
        if name not in LAYERS:
            near = get_close_matches(name, LAYERS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(LAYERS)}"
            raise UsageError(f"got {name!r}; {hint}")
        known = {"i": given[-1], "f": given[-1], "data": data, **self.settings()}
        plain = [word for word in words if word != "spectral"]
        layer = _call(LAYERS[name], plain, known, {"o": o, "c": data[-1]})
        _check(layer, given)
        return layer if plain == words else norm.SpectralNorm(layer)


def _call(
    make: Callable[..., Module], words: list[str], known: dict[str, Any], sizes: dict[str, int]
) -> Module:
    """The layer that the words of a line make; arguments that are `known` need not be written."""
    parameters = signature(make, eval_str=True).parameters.values()
    arguments = {p.name: known[p.name] for p in parameters if p.name in known}
    options = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"}
    arguments |= _settings([word for word in words if "=" in word], options, sizes)
    places = [p for p in parameters if p.kind is not p.KEYWORD_ONLY and p.name not in known]
    values = _values([word for word in words if "=" not in word], places, sizes)
    if any(p.kind is p.VAR_POSITIONAL for p in places):
        return make(*values, **arguments)
    return make(**arguments, **{p.name: value for p, value in zip(places, values, strict=False)})


def _settings(words: list[str], options: dict[str, Parameter], sizes: dict[str, int]) -> dict[str, Any]:
    """Settings by name, of words such as stride=2."""
    settings: dict[str, Any] = {}
    for word in words:
        written, _, text = word.partition("=")
        name = SPELT.get(written, written)
        if name not in options:
            raise UsageError(f"got option {written!r}, wanted {' or '.join(options) or 'none'}")
        if name in settings:
            raise UsageError("got an option twice, wanted each once")
        settings[name] = _value(text, options[name], sizes, word)
    return settings


def _values(words: list[str], places: list[Parameter], sizes: dict[str, int]) -> list[Any]:
    """Values in their order; 7x7x128 is three."""
    texts = [text for word in words for text in (word.split("x") if SIZE.fullmatch(word) else [word])]
    least, most, count = sum(p.default is p.empty for p in places), len(places), str(len(places))
    if places and places[-1].kind is Parameter.VAR_POSITIONAL:
        places, most, count = places * max(1, len(texts)), len(texts), f"{least} or more"
    elif least < most:
        count = f"{least} to {most}"
    if not least <= len(texts) <= most:
        names = ", ".join(p.name for p in places)
        raise UsageError(f"got {len(texts)} values, wanted {count}{f': {names}' if names else ''}")
    return [_value(text, p, sizes, f"{text!r} for {p.name}") for text, p in zip(texts, places, strict=False)]


def _value(text: str, parameter: Parameter, sizes: dict[str, int], shown: str) -> Any:
    """A word in the type that the signature says."""
    kinds = get_args(parameter.annotation) or (parameter.annotation,)
    if bool in kinds:
        if text not in ("yes", "no"):
            raise UsageError(f"got {shown}, wanted yes or no")
        return text == "yes"
    if int in kinds and text in sizes:
        return sizes[text]
    if int in kinds and text.isdecimal() and len(text) <= 9:
        return int(text)
    if float in kinds:
        with suppress(ValueError):
            if isfinite(number := float(text)):
                return number
        raise UsageError(f"got {shown}, wanted a finite number")
    if int in kinds and str not in kinds:
        raise UsageError(f"got {shown}, wanted a whole number of at most 9 digits")
    return text  # a name, which the layer knows


def _shape_after(layer: Module, given: Shape) -> Shape:
    """The form of a sample behind a layer."""
    layer.eval()
    with no_grad(), use_kernels(False):
        x = layer(Tensor(np.zeros((2, *given), np.float32)))
    layer.train()
    return x.shape[1:]


def _check(layer: Module, given: Shape) -> None:
    """UsageError where a layer cannot take such samples, or would leave rows of an image unread."""
    if isinstance(layer, OF_ROWS) and len(given) != 1:
        raise UsageError(f"got samples of {_text(given)}, wanted rows: put flatten before it")
    if isinstance(layer, OF_IMAGES) and len(given) != 3:
        raise UsageError(
            f"got samples of {_text(given)}, wanted images (h, w, c): put image or reshape before it"
        )
    window: Shape
    if isinstance(layer, conv.MaxPool2d):
        window, around = layer.size, (0, 0)
    elif isinstance(layer, conv.Conv2d) and not isinstance(layer.padding, str):
        top, bottom, left, right = layer.padding
        window, around = layer.weight.shape[:2], (top + bottom, left + right)
    else:
        return
    for length, size, more, stride in zip(given, window, around, layer.stride, strict=False):
        rest = length + more - size
        if rest > 0 and rest % stride:
            raise UsageError(
                f"got {length} pixels, of which stride {stride} leaves {rest % stride} unread: wanted another size or "
                "stride, or padding=same for a convolution"
            )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
