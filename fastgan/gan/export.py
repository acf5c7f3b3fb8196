"""A run's generator as one .npz and a script that draws with it, from NumPy alone.

The idea: the script is read off the tape. The generator runs once, and each op that it recorded becomes a line of NumPy
or a part of one (`LINES`); what does not depend on the latents is an array of the .npz. Then the script is tried beside
the generator. Its random numbers are those of fastgan.random, so `python sample.py 42` gives the picture of `fastgan
sample RUN --seed 42`; rounding may move a pixel by one grey level.
"""

import inspect
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastgan.device import Array, to_host
from fastgan.errors import OutputError, UsageError
from fastgan.gan import files, script
from fastgan.gan.run import POINTS
from fastgan.gan.script import COLUMNS, GAP, ROWS, SCRIPT, WEIGHTS, WIDEST
from fastgan.gan.trainer import Trainer
from fastgan.nn import Module
from fastgan.random import Stream
from fastgan.tape import Tensor
from fastgan.tape.engine import Node

WIDTH = 106  # of a line of the network: 110 with its indent
SAMPLES = 3  # that the generator is run on
NAMES = "xabcdefgh"  # of values in the script; the first that is free
LAYERS = ("linear", "matmul", "convolve")  # how the names of ops begin that multiply by a weight
SUM, PRODUCT, ATOM = 1, 2, 3  # how tightly an expression holds together
LABELS = "x = np.concatenate([z, np.eye(CLASSES, dtype=np.float32)[np.resize(labels, len(z))]], axis=1)"


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
    writer = _network(trainer)
    lines = writer.function(shape if images else (trainer.form.features,), labelled=recipe.classes > 0)
    parts = [_opening(trainer, images), script.NORMAL if recipe.noise == "normal" else script.UNIFORM]
    parts += [text for name, text in script.FUNCTIONS.items() if re.search(rf"\b{name}\(", lines)]
    parts.append(lines)
    if images:
        parts.append(script.PICTURE if shape[2] != 4 else script.PICTURE_ON_WHITE)
    parts.append(script.main(images=images, classes=recipe.classes))
    text = "\n\n\n".join(part.strip() for part in parts) + "\n"
    _try(trainer, text, writer.arrays)
    return text, writer.arrays


def _network(trainer: Trainer) -> "Writer":
    """The lines of the generator, of its average and in inference mode."""
    generator, features = trainer.generator.eval(), trainer.form.features
    if trainer.ema:
        trainer.ema.swap()
    try:
        x = Tensor(trainer.latent(SAMPLES, 0), requires_grad=True)
        y = generator(x)
        nodes = recorded(y)
        if y.shape[1] > features:  # labels stand behind the pixels, which nobody draws
            y, *_ = nodes.pop().inputs
        writer = Writer(generator, x)
        writer.write([node for node in nodes if node in recorded(y)], y)
    finally:
        if trainer.ema:
            trainer.ema.swap()
        generator.train()
    return writer


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


class Value(NamedTuple):
    """An expression, and how tightly it holds together."""

    text: str
    level: int = ATOM

    def within(self, level: int) -> str:
        """The expression as a part of one of a level."""
        return self.text if self.level >= level else f"({self.text})"


class Step(NamedTuple):
    """What is written around an expression, at the {}: how tightly that must hold together, and then the whole does."""

    text: str
    inner: int = 0
    level: int = ATOM

    def around(self, value: Value) -> Value:
        """The expression with this around it."""
        return Value(self.text.replace("{}", value.within(self.inner), 1), self.level)


class Call(NamedTuple):
    """One call of an op as a line sees it: shapes of the first operand and the result, other operands, settings."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    rest: list[Value]
    settings: dict[str, Any]


class Writer:
    """The lines of a network's function of x, and the arrays that they name.

    A value that the next op alone needs, as its first operand, stays an expression that this op is written around,
    unless it multiplies by a weight or the line gets too long. Others get a name, free again after its last use.
    """

    def __init__(self, network: Module, x: Tensor) -> None:
        self.x, self.lines = x, list[str]()
        self.arrays: dict[str, Array] = {}
        self.names = {id(array): name for name, array in network.named_arrays().items()}
        self.values: dict[Tensor | Node, Value] = {x: Value("x")}
        self.owners: dict[str, Tensor | Node | None] = {"x": x}
        self.last: dict[Tensor | Node | None, int] = {
            x: -1,
            None: -1,
        }  # the call that a value is last needed by

    def write(self, nodes: list[Node], y: Tensor) -> None:
        """Write what is between x and y; `self.y` is what is left of the last line."""
        depend: set[Tensor | Node] = {self.x}
        for node in nodes:
            if any(_origin(parent) in depend for parent in node.parents):
                depend.add(node)
        calls = [node for node in nodes if node in depend]
        if calls and calls[-1].op.name == "reshape" and len(y.shape) == 2:  # the function ends in another
            y = calls.pop().inputs[0]
        uses = Counter(_origin(x) for node in calls for x in node.inputs if isinstance(x, Tensor))
        self.last |= {
            _origin(x): i for i, node in enumerate(calls) for x in node.inputs if isinstance(x, Tensor)
        }
        self.last[_origin(y)] = len(calls)
        for number, node in enumerate(calls):
            value = self._written(number, node, depend)
            after = calls[number + 1] if number + 1 < len(calls) else None
            following, layer = (after.inputs[0], after.op.name.startswith(LAYERS)) if after else (y, False)
            stays = uses[node] < 2 and isinstance(following, Tensor) and following.node is node and not layer
            self.values[node] = value if stays else self._named(value, node, number)
        self.y = self.values[_origin(y)]

    def _written(self, number: int, node: Node, depend: set[Tensor | Node]) -> Value:
        """A call as an expression; where it gets too long, lines come before it."""
        if node.op.name not in LINES:
            raise UsageError(
                f"export: got op {node.op.name}, for which there is no line of NumPy; known are {', '.join(LINES)}"
            )
        value, *rest = (self._operand(x, depend) for x in node.inputs)
        before = getattr(node.inputs[0], "shape", ())
        for step in LINES[node.op.name](Call(before, node.output.shape, rest, _settings(node))):
            whole = step.around(value)
            if len(whole.text) > WIDTH - len("x = "):
                held = {_origin(x) for x in node.inputs[1:] if isinstance(x, Tensor)}
                whole = step.around(self._named(value, None, number, held))
            value = whole
        return value

    def _operand(self, x: Any, depend: set[Tensor | Node]) -> Value:
        """How a line calls an operand; one that does not depend on x is kept as it is."""
        if not isinstance(x, Tensor):
            return Value(repr(float(x)), ATOM if x >= 0 else SUM)
        if _origin(x) in depend:
            return self.values[_origin(x)]
        name = self.names.get(id(x.data))
        if name is None:  # made of named ones, or of none
            made_of = [self.names.get(id(part.data)) for node in recorded(x) for part in node.parents]
            name = next((f"{part} folded" for part in made_of if part), f"constant {len(self.arrays)}")
        self.arrays[name] = np.array(to_host(x.data))  # a copy: the average is swapped out again
        return Value(f'w["{name}"]')

    def _named(
        self, value: Value, owner: Tensor | Node | None, number: int, held: Collection[Any] = ()
    ) -> Value:
        """A line that gives an expression a name: one whose own value no later call needs, and none that is `held`.

        What belongs to nobody is needed for the next line alone.
        """
        name = next(
            name
            for name in NAMES
            if name not in self.owners
            or (self.last[self.owners[name]] <= number and self.owners[name] not in held)
        )
        self.lines.append(f"{name} = {value.text}")
        self.owners[name] = owner
        return Value(name)

    def function(self, shape: tuple[int, ...], *, labelled: bool) -> str:
        """The lines as a function whose samples have a shape."""
        head = "def generator(z, labels, w):" if labelled else "def generator(x, w):"
        says = f'"""Samples of latents{" and labels, which are repeated" * labelled}; w has the weights."""'
        end = _reshaped(shape).around(self.y).text
        if len(end) > WIDTH - len("return "):
            self.lines.append(f"x = {self.y.text}")
            end = _reshaped(shape).around(Value("x")).text
        return "\n    ".join([head, says, *[LABELS] * labelled, *self.lines, f"return {end}"])


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
    z = to_host(trainer.noise(n, 0, stream=Stream.SAMPLE, seed=1))
    labels = (range(trainer.recipe.classes),) if trainer.recipe.classes else ()
    try:
        with np.errstate(all="ignore"):
            got = trainer.pixels(names["generator"](z, *labels, arrays).reshape(n, -1))
    except ValueError:  # a shape that fits another number of samples
        got = np.array(np.nan)
    if not np.allclose(got, trainer.sample(n, seed=1), rtol=1e-2, atol=4e-3, equal_nan=True):
        raise UsageError(
            "export: got a generator whose samples the script does not draw, wanted one that is made of ops alone, "
            "and of each sample by itself"
        )


# What a call adds to a script


def _reshaped(shape: tuple[int, ...]) -> Step:
    return Step(f"{{}}.reshape({', '.join(map(str, (-1, *shape)))})", ATOM)


def _activated(call: Call) -> list[Step]:
    """The activation that an op ends in: `act` where it has that setting, else a slope below 0."""
    slope, act = float(call.settings.get("slope", 1)), call.settings.get("act", "leaky_relu")
    if act == "sigmoid":
        return [Step("(np.tanh({} / 2) + 1) / 2", PRODUCT, PRODUCT)]  # cannot overflow
    if act in ("tanh", "arctan"):
        return [Step(f"np.{act}({{}})")]
    if act == "relu" or slope == 0:
        return [Step("np.maximum({}, 0)")]
    return [] if act in ("linear", "", None) or slope == 1 else [Step(f"leaky_relu({{}}, {slope})")]


def _linear(call: Call) -> list[Step]:
    return [*_times("@")(call), *_biased(call)]


def _biased(call: Call) -> list[Step]:
    """What comes after a product: a bias, where there is one, and the activation."""
    return [*(Step(f"{{}} + {b.text}", SUM, SUM) for b in call.rest[1:]), *_activated(call)]


def _conv(call: Call) -> list[Step]:
    s, (w, *_) = call.settings, call.rest
    return [Step(f"conv({{}}, {w.text}, {s['stride']}, {s['pad']}, {call.after[1:3]})"), *_biased(call)]


def _conv_transpose(call: Call) -> list[Step]:
    s, (w, *_) = call.settings, call.rest
    corner = s["pad"][::2]
    return [
        Step(f"conv_transpose({{}}, {w.text}, {s['stride']}, {corner}, {call.after[1:3]})"),
        *_biased(call),
    ]


def _padded(pads: tuple[int, ...], value: float = 0.0) -> Step:
    return Step(f"np.pad({{}}, ((0, 0), {pads[:2]}, {pads[2:]}, (0, 0)), constant_values={float(value)})")


def _unfold(call: Call) -> list[Step]:
    s = call.settings
    steps = [Step(f"windows({{}}, {s['kernel']}, {s['stride']})"), _reshaped(call.after[1:])]
    return [_padded(s["pad"]), *steps] if any(s["pad"]) else steps


def _crop(call: Call) -> list[Step]:
    top, bottom, left, right = call.settings["pads"]
    down, across = call.before[1] - bottom, call.before[2] - right
    return [Step(f"{{}}[:, {top or ''}:{down}, {left or ''}:{across}]", ATOM)]


def _broadcast(call: Call) -> list[Step]:
    """As repeats along axes of length 1."""
    pairs = zip(call.before, call.after, strict=True)
    repeats = "".join(f".repeat({b}, axis={axis})" for axis, (a, b) in enumerate(pairs) if a != b)
    return [Step(f"{{}}{repeats}", ATOM)] if repeats else []


def _joined(call: Call) -> list[Step]:
    others = ", ".join(value.text for value in call.rest)
    return [Step(f"np.concatenate([{{}}, {others}], axis={call.settings.get('axis', -1)})")]


def _plus(sign: str) -> Callable[[Call], list[Step]]:
    return lambda call: [Step(f"{{}} {sign} {call.rest[0].within(PRODUCT)}", SUM, SUM)]


def _times(sign: str) -> Callable[[Call], list[Step]]:
    return lambda call: [Step(f"{{}} {sign} {call.rest[0].within(ATOM)}", PRODUCT, PRODUCT)]


def _reading(text: str, inner: int = 0) -> Callable[[Call], list[Step]]:
    """A step whose text reads settings, as $axis."""
    return lambda call: [Step(re.sub(r"\$(\w+)", lambda found: str(call.settings[found[1]]), text), inner)]


LINES: dict[str, Callable[[Call], list[Step]]] = {
    "add": _plus("+"),
    "subtract": _plus("-"),
    "multiply": _times("*"),
    "divide": _times("/"),
    "matmul": _times("@"),
    "power": _reading("np.power({}, $exponent)"),
    **{name: _reading(f"np.{name}({{}})") for name in ("exp", "log", "sqrt", "tanh", "arctan")},
    "absolute": _reading("np.abs({})"),
    "softplus": _reading("np.logaddexp({}, 0)"),
    "sigmoid": lambda call: _activated(call._replace(settings={"act": "sigmoid"})),
    "leaky_relu": _activated,
    "linear": _linear,
    "linear_leaky_relu": _linear,
    "seo_sigmoid_layer": lambda call: _linear(call._replace(settings={"act": "sigmoid"})),
    "convolve": _conv,
    "convolve_transposed": _conv_transpose,
    "unfold": _unfold,
    "max_pool2d": _reading("windows({}, $size, $stride).max(axis=(3, 4))"),
    "pad2d": lambda call: [_padded(**call.settings)],
    "crop2d": _crop,
    "reshape": lambda call: [_reshaped(call.after[1:])],
    "broadcast_to": _broadcast,
    "transpose": _reading("{}.transpose($axes)", ATOM),
    "total": _reading("{}.sum(axis=$axis, keepdims=$keepdims)", ATOM),
    "maximum": _reading("{}.max(axis=$axis)", ATOM),
    "concat": _joined,
    "beside": _joined,
    "columns": _reading("{}[:, $start:$stop]", ATOM),
    **dict.fromkeys(("alias", "cast"), lambda call: []),
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
    return script.opening(title, lines, images=images)


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
