"""A run's generator as one .npz and a script that draws with it, from NumPy alone.

The idea: the script is read off the tape. The generator runs once, and each op that it recorded becomes a line of NumPy
(`LINES`), and another for the activation that it ends in; what does not depend on the latents is an array of the .npz.
The rest of the script is that of script.py. It is tried beside the generator: its random numbers are fastgan.random's,
so `python sample.py 42` gives the picture of `fastgan sample RUN --seed 42`; rounding may move a pixel by one level.
"""

import inspect
import io
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fastgan.device import Array, to_host
from fastgan.errors import OutputError, UsageError
from fastgan.gan import files, script
from fastgan.gan.pictures import GAP, WIDEST
from fastgan.gan.run import POINTS
from fastgan.gan.trainer import Trainer
from fastgan.nn import Module
from fastgan.random import Stream
from fastgan.tape import Tensor
from fastgan.tape.engine import Node

WEIGHTS, SCRIPT = "generator.npz", "sample.py"
SAMPLES = 3  # that the generator is run on
NAMES = "xabcdefgh"  # of values in the script; the first that is free
LABELS = "y = np.eye(CLASSES, dtype=np.float32)[np.resize(labels, len(x))]"


def export(trainer: Trainer, folder: str | Path) -> None:
    """Write generator.npz and sample.py to a new folder, from the average where the run samples from one.

    UsageError for a generator that no script can be written for; OutputError where the folder holds something, or
    cannot be written: nothing is left then. The script comes last: where it is, its weights are.
    """
    text, arrays = script_of(trainer)
    packed = io.BytesIO()
    np.savez(packed, recipe=np.array(json.dumps(trainer.recipe.to_dict())), **arrays)  # type: ignore[arg-type]
    _write(Path(folder), {WEIGHTS: packed.getvalue(), SCRIPT: text.encode()})


def script_of(trainer: Trainer) -> tuple[str, dict[str, Array]]:
    """The script's text, and the arrays that it reads, by name. UsageError as `export`."""
    images, labelled = len(trainer.form.shape) == 3, trainer.recipe.classes > 0
    lines, value, arrays = _network(trainer)
    form = trainer.form.shape if images else (trainer.form.features,)
    parts = {part.partition("(")[0]: part for part in inspect.getsource(script).split("\n\n\n")}
    parts["def generator"] = network = _function(lines, value, form, labelled=labelled)
    for name in ("windows", "conv", "conv_transpose"):
        if f" {name}(" not in network:
            del parts[f"def {name}"]
    opening, *functions = parts.values()
    text = "\n\n\n".join([_opening(opening, trainer), *functions])
    _try(trainer, text, arrays)
    return text, arrays


def _network(trainer: Trainer) -> tuple[list[str], str, dict[str, Array]]:
    """The lines of the generator, of its average in inference mode, the name of what they end in, and their arrays."""
    inputs = {"x": Tensor(trainer.latent(SAMPLES, 0), requires_grad=True)}
    if (y := trainer.labels(SAMPLES, 0)) is not None:
        inputs["y"] = Tensor(y, requires_grad=True)
    with trainer.sampler().drawing() as generator:
        writer = Writer(generator, inputs)
        value = writer.write(generator(*inputs.values()))
    return writer.lines, value, writer.arrays


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


class Writer:
    """The lines of a network's function, and the arrays that they name; a name is free after its last use.

    `inputs` are what the network is a function of, by the names that the script has for them.
    """

    def __init__(self, network: Module, inputs: dict[str, Tensor]) -> None:
        self.lines = list[str]()
        self.arrays: dict[str, Array] = {}
        self.known = {id(array): name for name, array in network.named_arrays().items()}
        self.values: dict[Tensor | Node, str] = {
            x: name for name, x in inputs.items()
        }  # and what depends on them

    def write(self, y: Tensor) -> str:
        """Write what is between the inputs and y; the name of y."""
        depend: set[Tensor | Node] = {*self.values}
        for node in recorded(y):
            if any(_origin(x) in depend for x in node.parents):
                depend.add(node)
        calls = [node for node in recorded(y) if node in depend]
        last = {_origin(x): i for i, node in enumerate(calls) for x in node.inputs if isinstance(x, Tensor)}
        last[_origin(y)] = len(calls)
        for number, node in enumerate(calls):
            text, activation = self._call(node)
            held = {name for value, name in self.values.items() if last.get(value, 0) > number}
            name = self.values[node] = next(name for name in NAMES if name not in held)
            self.lines += [f"{name} = {text}"] * (text != name)
            self.lines += [f"{name} = {activation.format(name)}"] * (activation != "")
        return self.values[_origin(y)]

    def _call(self, node: Node) -> tuple[str, str]:
        """A call of an op as NumPy, and the activation that it ends in, of a value that stands for {0}."""
        xs, out, settings = [self._operand(x) for x in node.inputs], node.output.shape[1:], _settings(node)
        settings = {k: self._operand(Tensor(x)) if hasattr(x, "dtype") else x for k, x in settings.items()}
        more = {
            "all": ", ".join(xs),
            "bias": "".join(f" + {b}" for b in xs[2:]),
            "sizes": ", ".join(map(str, out)),
        }
        try:
            return LINES[node.op.name].format(*xs, out=out, **more, **settings), _activation(settings)
        except KeyError as error:  # of the op, of its activation, or of a setting that its line is about
            raise UsageError(
                f"export: got op {node.op.name}, for which there is no line of NumPy (no {error}); known are "
                f"{', '.join(LINES)}"
            ) from error

    def _operand(self, x: Any) -> str:
        """How a line calls an operand; one that does not depend on the inputs is kept as it is."""
        if not isinstance(x, Tensor):
            return repr(float(x))
        if _origin(x) in self.values:
            return self.values[_origin(x)]
        name = self.known.get(id(x.data))
        if name is None:  # made of named ones, or of none
            made_of = [self.known.get(id(part.data)) for node in recorded(x) for part in node.parents]
            name = next((f"{part} folded" for part in made_of if part), "constant")
            name += f" {len(self.arrays)}" * (name in self.arrays)
        self.arrays[name] = np.array(to_host(x.data))  # a copy: the average is swapped out again
        return f'w["{name}"]'


def _function(lines: list[str], value: str, shape: tuple[int, ...], *, labelled: bool) -> str:
    """The lines as a function whose samples have a shape."""
    head = f"def generator(x, {'labels, ' * labelled}w):"
    says = f'"""Samples of latents{" and labels, which are repeated" * labelled}; w has the weights."""'
    return "\n    ".join([head, says, *[LABELS] * labelled, *lines, f"return {value}.reshape{(-1, *shape)}"])


def _origin(x: Tensor) -> Tensor | Node:
    """What a Tensor was made by, or the Tensor itself."""
    return x if x.node is None else x.node


def _settings(node: Node) -> dict[str, Any]:
    """The settings of a call, those included that it left as they are."""
    parameters = inspect.signature(node.op.forward.plain).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} | node.settings


def _try(trainer: Trainer, text: str, arrays: dict[str, Array]) -> None:
    """UsageError unless the script draws what the run does: a layer may compute beside the tape."""
    names: dict[str, Any] = {"__name__": "sample"}
    exec(compile(text, SCRIPT, "exec"), names)
    n = SAMPLES + 2
    z = to_host(trainer.latent(n, 0, stream=Stream.SAMPLE, seed=1))
    labels = (range(trainer.recipe.classes),) if trainer.recipe.classes else ()
    try:
        with np.errstate(all="ignore"):
            got = trainer.sampler().pixels(names["generator"](z, *labels, arrays).reshape(n, -1))
    except Exception:  # of a shape that fits another number of samples, and the like
        got = np.array(np.nan)
    if not np.allclose(got, trainer.sample(n, seed=1), rtol=1e-2, atol=4e-3, equal_nan=True):
        raise UsageError(
            "export: got a generator whose samples the script does not draw, wanted one that is made of ops alone, "
            "and of each sample by itself"
        )


def _activation(settings: dict[str, Any]) -> str:
    """The line for the activation that an op ends in: what it has as `act`, or "leaky", with its `slope`."""
    act, slope = settings.get("act", "leaky"), float(settings.get("slope", 1))
    if act == "leaky" and slope in (0, 1):
        act = "relu" if slope == 0 else "linear"
    return ACTIVATIONS[act].replace("{slope}", str(slope))


ACTIVATIONS = {  # by the names of ops and of settings
    "linear": "",
    "leaky": "np.maximum({0}, {slope} * {0})",
    "relu": "np.maximum({0}, 0)",
    "tanh": "np.tanh({0})",
    "sigmoid": "(np.tanh({0} / 2) + 1) / 2",  # cannot overflow
    "arctan": "np.arctan({0})",
}
# by op: {0}, {1} are operands, `bias` adds the third where there is one, `out` is the shape of a sample
LINES = {
    "activation": "{0}",
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "matmul": "{0} @ {1}",
    "power": "np.power({0}, {exponent})",
    **{name: f"np.{name}({{0}})" for name in ("exp", "log", "sqrt", "arctan")},
    "absolute": "np.abs({0})",
    "softplus": "np.logaddexp({0}, 0)",
    "linear": "{0} @ {1}{bias}",
    "batch_norm": "({0} - {mean}) / np.sqrt({variance} + {eps}) * {1} + {2}",
    "seo_sigmoid_layer": "(np.tanh(({0} @ {1}{bias}) / 2) + 1) / 2",
    "convolve": "conv({0}, {1}, {stride}, {pad}, {out}){bias}",
    "convolve_transposed": "conv_transpose({0}, {1}, {stride}, ({pad[0]}, {pad[2]}), {out}){bias}",
    "unfold": "windows(pad({0}, {pad}), {kernel}, {stride}).reshape(-1, {sizes})",
    "max_pool2d": "windows({0}, {size}, {stride}).max(axis=(3, 4))",
    "pad2d": "pad({0}, {pads}, {value})",
    "crop2d": "{0}[:, {pads[0]} :, {pads[2]} :][:, : {out[0]}, : {out[1]}]",
    "reshape": "{0}.reshape(-1, {sizes})",
    "broadcast_to": "np.broadcast_to({0}, (len({0}), {sizes}))",
    "transpose": "{0}.transpose({axes})",
    "total": "{0}.sum(axis={axis}, keepdims={keepdims})",
    "maximum": "{0}.max(axis={axis})",
    "concat": "np.concatenate([{all}], axis={axis})",
    **dict.fromkeys(("alias", "cast"), "{0}"),
}


def _opening(text: str, trainer: Trainer) -> str:
    """The script's first lines, with the title and the constants of a run."""
    recipe, shape = trainer.recipe, trainer.form.shape
    wide = shape[1] if len(shape) == 3 else WIDEST
    zoom = max(1, (WIDEST - GAP * (script.COLUMNS + 1)) // (script.COLUMNS * wide))
    drawn = recipe.latent, recipe.noise == "normal", int(Stream.SAMPLE), recipe.classes
    constants = {
        "LATENT, NORMAL, STREAM, CLASSES": drawn,
        "SHAPE, LOW, HIGH, POINTS": (shape, float(recipe.low), float(recipe.high), POINTS),
        "ROWS, COLUMNS, ZOOM, GAP": (script.ROWS, script.COLUMNS, zoom, GAP),
    }
    name = re.sub(r"[^\w.-]+", "-", recipe.name)[:40]  # from a checkpoint, and the script is code
    title = f"Draws with a GAN, fastgan's {name} after {trainer.steps_done:,} steps: python {SCRIPT} 42"
    text = re.sub(r'(?s)^""".*?"""', f'"""{title}"""', text)
    for names, values in constants.items():
        text = re.sub(f"(?m)^{names} = .*", f"{names} = {repr(values)[1:-1]}", text)
    return text


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
