"""A run's generator as one .npz and a script that draws with it, from NumPy alone.

The idea: the script is written for the network at hand, about a line of NumPy for a layer and no function that it does
not need, so that it reads from top to bottom. Its random numbers are those of fastgan.random, so `python sample.py 42`
gives the picture of `fastgan sample RUN --seed 42`; rounding may move a pixel by one grey level.
"""

import copy
import io
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fastgan import nn
from fastgan.device import Array, to_host
from fastgan.errors import OutputError, UsageError
from fastgan.gan import files, standalone
from fastgan.gan.conditional import LabelledGenerator
from fastgan.gan.published import SeoOutput
from fastgan.gan.run import POINTS
from fastgan.gan.standalone import COLUMNS, GAP, ROWS, SCRIPT, WEIGHTS, WIDEST
from fastgan.gan.trainer import Trainer
from fastgan.ops.conv import Pad, pads, same_pads
from fastgan.tape import Tensor, no_grad
from fastgan.tape.engine import Node

Shape = tuple[int, ...]

WIDTH = 106  # of a line of the network: 110 with its indent
FLATTEN = "x.reshape(len(x), -1)"
SIGMOID = "(np.tanh(x / 2) + 1) / 2"  # cannot overflow


def export(trainer: Trainer, folder: str | Path) -> None:
    """Write generator.npz and sample.py to a new folder, from the average where the run samples from one.

    UsageError for a generator that no script can be written for; OutputError where the folder holds something, or
    cannot be written: nothing is left then. The script comes last: where it is, its weights are.
    """
    text, arrays = script_of(trainer)
    packed = io.BytesIO()
    np.savez(packed, recipe=np.array(json.dumps(trainer.recipe.to_dict())), **arrays)
    _write(Path(folder), {WEIGHTS: packed.getvalue(), SCRIPT: text.encode()})


def script_of(trainer: Trainer) -> tuple[str, dict[str, Array]]:
    """The script's text, and the arrays that it reads, by name. UsageError as `export`."""
    recipe, shape = trainer.recipe, trainer.form.shape
    images = len(shape) == 3 and not recipe.points
    script = _network(trainer)
    parts = [_opening(trainer, images), standalone.NORMAL if recipe.noise == "normal" else standalone.UNIFORM]
    parts += [text for name, text in standalone.FUNCTIONS.items() if name in script.calls]
    parts.append(script.function(shape if images else (trainer.form.features,), labelled=recipe.classes > 0))
    if images:
        parts.append(standalone.PICTURE if shape[2] != 4 else standalone.PICTURE_ON_WHITE)
    parts.append(standalone.main(images=images, classes=recipe.classes))
    return "\n\n\n".join(part.strip() for part in parts) + "\n", script.arrays


def recorded(y: Tensor) -> list[Node]:
    """All calls of ops that y was made by, the oldest first."""
    found: set[Node] = set()
    stack = [y]
    while stack:
        node = stack.pop().node
        if node is not None and node not in found:
            found.add(node)
            stack += node.parents
    return sorted(found, key=lambda node: node.order)


class Script:
    """The lines of a network's function, and the arrays that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.arrays: dict[str, Array] = {}
        self.calls: set[str] = set()  # functions of FUNCTIONS

    def keep(self, name: str, array: Array) -> str:
        """Keep an array; how a line names it."""
        self.arrays[name] = np.array(to_host(array))  # a copy: the average is swapped out again
        return f'w["{name}"]'

    def add(self, value: str) -> None:
        """A line that gives x a new value."""
        self.lines.append(f"x = {value}")

    def wrap(self, call: str) -> None:
        """A function of x, written around the line before where that does not get too long."""
        before = self.lines[-1].removeprefix("x = ") if self.lines else "x"
        if len(whole := f"x = {call.format(before)}") <= WIDTH:
            self.lines[-1:] = [whole]
        else:
            self.add(call.format("x"))

    def function(self, shape: Shape, *, labelled: bool) -> str:
        """The lines as a function whose samples have a shape."""
        head = "def generator(z, labels, w):" if labelled else "def generator(x, w):"
        says = f'"""Samples of latents{" and labels, which are repeated" * labelled}; w has the weights."""'
        lines = self.lines[:-1] if self.lines[-1:] == [f"x = {FLATTEN}"] else self.lines
        end = f"return x.reshape({', '.join(map(str, (-1, *shape)))})"
        return "\n    ".join([head, says, *lines, end])


def _network(trainer: Trainer) -> Script:
    """The generator's lines, found out by running it a layer at a time: its average, in inference mode."""
    generator, script = trainer.generator.eval(), Script()
    if trainer.ema:
        trainer.ema.swap()
    try:
        with no_grad():
            x, body = Tensor(trainer.latent(2, 0)), generator
            if isinstance(generator, LabelledGenerator):
                x, body = _labels(script, generator, x), generator.body
            _walk(script, body, x)
    finally:
        if trainer.ema:
            trainer.ema.swap()
        generator.train()
    return script


def _labels(script: Script, generator: LabelledGenerator, x: Tensor) -> Tensor:
    """The line that joins latents and labels; what the body is given."""
    table = script.keep("labels", generator.table.named_arrays()["weight"])
    rows = f"{table}[np.resize(labels, len(z))]"
    script.add(f"z * {rows}" if generator.join == "multiply" else f"np.concatenate([z, {rows}], axis=1)")
    return generator.joined(x)[0]


def _walk(script: Script, network: nn.Module, x: Tensor, prefix: str = "") -> Tensor:
    """Write the lines of layers one after the other; the last one's output."""
    if type(network) is not nn.Sequential:
        raise UsageError(f"export: got a generator of {type(network).__name__}, wanted an nn.Sequential")
    for number, layer in network.parts():
        name, before = prefix + number, x.shape[1:]
        if type(layer) is nn.Sequential:
            x = _walk(script, layer, x, f"{name}.")
            continue
        plain = _normalised(layer) if type(layer) is nn.SpectralNorm else layer
        if type(plain) not in LAYERS:
            raise UsageError(
                f"export: got layer {name}, {type(plain).__name__}, for which there is no line of NumPy; "
                f"known are {', '.join(kind.__name__ for kind in LAYERS)}"
            )
        x = layer(x)
        LAYERS[type(plain)](script, name, plain, before, x.shape[1:])
    return x


def _normalised(norm: nn.SpectralNorm) -> nn.Module:
    """The layer inside, with its weight divided by its largest singular value."""
    layer = copy.copy(norm.layer)
    w = to_host(layer.weight.data)
    matrix = np.moveaxis(w, layer.out_axis, -1).reshape(-1, w.shape[layer.out_axis])
    layer.weight = Tensor(w / (to_host(norm.v) @ matrix @ to_host(norm.u)))
    return layer


# What a layer adds to a script, from its name and the shapes of a sample before and after it.
Writer = Callable[[Script, str, Any, Shape, Shape], None]


def _weight(script: Script, name: str, layer: Any) -> tuple[str, str]:
    """A layer's weight, and what adds its bias."""
    bias = f" + {script.keep(f'{name}.bias', layer.bias.data)}" if layer.has_bias else ""
    return script.keep(f"{name}.weight", layer.weight.data), bias


def _linear(script: Script, name: str, layer: nn.Linear, before: Shape, after: Shape) -> None:
    w, bias = _weight(script, name, layer)
    script.add(f"x @ {w}{bias}")
    if type(layer) is SeoOutput:
        script.add(SIGMOID)


def _maxout(script: Script, name: str, layer: nn.Maxout, before: Shape, after: Shape) -> None:
    w, bias = _weight(script, name, layer.linear)
    script.add(f"(x @ {w}{bias}).reshape(len(x), {layer.pieces}, -1).max(axis=1)")


def _conv(script: Script, name: str, layer: nn.Conv2d, before: Shape, after: Shape) -> None:
    w, bias = _weight(script, name, layer)
    script.calls.add("conv")
    script.add(f"conv(x, {w}, {layer.stride}, {_pads(layer, before)}, {after[:2]}){bias}")


def _conv_transpose(
    script: Script, name: str, layer: nn.ConvTranspose2d, before: Shape, after: Shape
) -> None:
    w, bias = _weight(script, name, layer)
    script.calls.add("conv_transpose")
    script.add(f"conv_transpose(x, {w}, {layer.stride}, {_pads(layer, after)[::2]}, {after[:2]}){bias}")


def _pads(layer: nn.Conv2d | nn.ConvTranspose2d, size: Shape) -> Pad:
    """(top, bottom, left, right) around the larger images, which have a size."""
    kh, kw = layer.weight.shape[:2]
    return (
        same_pads((size[0], size[1]), (kh, kw), layer.stride)
        if layer.padding == "same"
        else pads(layer.padding)
    )


def _batch_norm(script: Script, name: str, layer: nn.BatchNorm, before: Shape, after: Shape) -> None:
    mean, variance = (script.keep(f"{name}.{part}", getattr(layer, part)) for part in layer.state)
    script.add(f"(x - {mean}) / np.sqrt({variance} + {float(layer.eps)}){_affine(script, name, layer)}")


def _norm_of_sample(script: Script, name: str, layer: nn.LayerNorm, before: Shape, after: Shape) -> None:
    axes = layer.axes(1 + len(before))
    script.add(f"x - x.mean(axis={axes}, keepdims=True)")
    deviation = f"np.sqrt(x.var(axis={axes}, keepdims=True) + {float(layer.eps)})"
    script.add(f"x / {deviation}{_affine(script, name, layer)}")


def _affine(script: Script, name: str, layer: Any) -> str:
    gamma, beta = (script.keep(f"{name}.{part}", getattr(layer, part).data) for part in ("gamma", "beta"))
    return f" * {gamma} + {beta}"


def _pool(script: Script, name: str, layer: nn.MaxPool2d, before: Shape, after: Shape) -> None:
    script.add(f"np.lib.stride_tricks.sliding_window_view(x, {layer.size}, axis=(1, 2))")
    how, (down, right) = "mean" if type(layer) is nn.AvgPool2d else "max", layer.stride
    script.add(f"x[:, ::{down}, ::{right}].{how}(axis=(4, 5))")


def _pad(script: Script, name: str, layer: nn.Pad2d, before: Shape, after: Shape) -> None:
    sides = f"((0, 0), {layer.pads[:2]}, {layer.pads[2:]}, (0, 0))"
    script.add(f"np.pad(x, {sides}, constant_values={float(layer.value)})")


def _adding(text: Callable[[Any], str]) -> Writer:
    return lambda script, name, layer, before, after: script.add(text(layer))


def _wrapping(call: str) -> Writer:
    return lambda script, name, layer, before, after: script.wrap(call)


LAYERS: dict[type[nn.Module], Writer] = {
    nn.Linear: _linear,
    SeoOutput: _linear,
    nn.Maxout: _maxout,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.BatchNorm: _batch_norm,
    nn.LayerNorm: _norm_of_sample,
    nn.InstanceNorm: _norm_of_sample,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.Upsample2d: _adding(lambda layer: "x.repeat({}, axis=1).repeat({}, axis=2)".format(*layer.factor)),
    nn.Pad2d: _pad,
    nn.Crop2d: _adding(lambda layer: "x[:, :{}, :{}]".format(*layer.size)),
    nn.Reshape: _adding(lambda layer: f"x.reshape({', '.join(map(str, (-1, *layer.shape)))})"),
    nn.Flatten: _adding(lambda layer: FLATTEN),
    nn.Mean: _adding(lambda layer: f"{FLATTEN}.mean(axis=1, keepdims=True)"),
    nn.LeakyReLU: _adding(lambda layer: f"np.maximum(x, {float(layer.slope)} * x)"),
    nn.ReLU: _wrapping("np.maximum({}, 0)"),
    nn.Tanh: _wrapping("np.tanh({})"),
    nn.Sigmoid: _adding(lambda layer: SIGMOID),
    nn.Arctan: _wrapping("np.arctan({})"),
    nn.Dropout: lambda *nothing: None,
}


def _opening(trainer: Trainer, images: bool) -> str:
    """The script's first lines."""
    recipe, shape = trainer.recipe, trainer.form.shape
    lines: list[dict[str, object]] = [{"LATENT": recipe.latent}]
    if recipe.classes:
        lines[0]["CLASSES"] = recipe.classes
    if images:
        zoom = max(1, (WIDEST - GAP * (COLUMNS + 1)) // (COLUMNS * shape[1]))
        lines[0] |= {"LOW": float(recipe.low), "HIGH": float(recipe.high)}
        lines.append({"ROWS": ROWS, "COLUMNS": COLUMNS, "ZOOM": zoom, "GAP": GAP})
    else:
        lines[0]["POINTS"] = POINTS
    name = re.sub(r"[^\w.-]+", "-", recipe.name)[:40]  # from a checkpoint, and the script is code
    title = f"Draws with a GAN, fastgan's {name} after {trainer.steps_done:,} steps: python {SCRIPT} 42"
    return standalone.opening(title, lines, images=images)


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Files of a new folder, all or none."""
    new = not os.path.lexists(folder)
    files.make_directory(folder)
    if any(folder.iterdir()):
        raise OutputError(f"{str(folder)!r} exists already: choose another --out")
    try:
        for name, content in contents.items():
            files.write_atomic(folder / name, content)
    except BaseException:
        with suppress(OSError):
            for name in contents:
                (folder / name).unlink(missing_ok=True)
            if new:
                folder.rmdir()
        raise
