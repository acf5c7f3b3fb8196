"""The operations of `suites/kernels.py` and `suites/layers.py` as users of PyTorch, JAX and HIPS autograd write them.

One idea: an engine is a table of plain functions on its own arrays, and three ways to run one: forward, backward alone
on what a forward pass kept, or both. What changes state (optimizers, random numbers) is written out beside it. Operands
come as fastgan has them, NHWC and (i, o); PyTorch gets its own layouts before the timing, and results are turned back
after it. All is float32 without TF32. The engines are modules `ops_...` of `fastgan.benchmarks.peers`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import cycle
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.cases import Calls, Results, Work
from fastgan.benchmarks.columns import Clock, Column

Operands = list[NDArray[Any]]
Call = Callable[[], Any]

COLUMNS = ("torch", "jax", "autograd")  # torch-compiled is asked where an operation says so
LAYOUTS = {  # where the axes of PyTorch's arrays lie in ours
    "": (),
    "matrix": (1, 0),  # (i, o)
    "image": (0, 3, 1, 2),  # NHWC
    "kernel": (3, 2, 0, 1),  # (kh, kw, c, o)
}
IMAGES = {"convolve", "convolve_transposed", "max_pool"}
LACKS = {"autograd": IMAGES}  # its convolutions have no strides and take minutes


@dataclass(frozen=True)
class Rival:
    """A function `op` of the engines, and what to give it.

    `prepare` makes its inputs of an operation's operands; where gradients are taken, of the inputs `wrt` (None: all),
    the last is the gradient for the result. `layouts` are those of the inputs, `result` that of the result.
    """

    op: str
    prepare: Callable[..., Sequence[Any]]
    mode: Literal["forward", "backward", "both", "special"] = "forward"
    settings: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] | None = None
    layouts: tuple[str, ...] = ()
    result: str = ""

    def layout(self, place: int) -> str:
        """The layout of an input."""
        return self.layouts[place] if place < len(self.layouts) else ""


class Engine(Protocol):
    """What a module of an engine has as `Engine(column)`."""

    functions: Mapping[str, Callable[..., Any]]
    special: Mapping[
        str, Callable[..., tuple[Call, Call]]
    ]  # (inputs, settings) -> a call, and the first results
    clock: Clock

    def array(self, x: NDArray[Any], layout: str) -> Any:
        """An array of the engine, on its device; it may be `x` itself."""

    def host(self, x: Any, layout: str) -> NDArray[Any]:
        """An array of NumPy in fastgan's layout."""

    def forward(self, f: Callable[..., Any], inputs: list[Any]) -> Call:
        """A call that returns the result."""

    def backward(self, f: Callable[..., Any], inputs: list[Any], wrt: tuple[int, ...], seed: Any) -> Call:
        """A call that returns the gradients; the forward pass was made."""

    def both(self, f: Callable[..., Any], inputs: list[Any], wrt: tuple[int, ...], seed: Any) -> Call:
        """A call that returns the result and the gradients."""


def has(column: str, rival: Rival) -> bool:
    """Whether a column can do it."""
    return column in (*COLUMNS, "torch-compiled") and rival.op not in LACKS.get(column, ())


def make(
    rival: Rival,
    column: Column,
    operands: Operands,
    count: int,
    finished: Callable[[Sequence[Any]], Sequence[Any]],
) -> Work:
    """Work on `count` copies of the operands, one after the other, in a column that `has` it."""
    engine: Engine = import_module(f"fastgan.benchmarks.peers.ops_{column.package}").Engine(column)
    copied = ([x.copy() for x in operands] for _ in range(count - 1))
    pairs = [_calls(engine, rival, rival.prepare(*own)) for own in (*copied, operands)]
    round_ = cycle([call for call, _ in pairs])

    def results() -> Results:
        return list(finished([engine.host(x, layout) for x, layout in pairs[0][1]()]))

    return Calls(lambda: next(round_)(), results, engine.clock)


def _calls(engine: Engine, rival: Rival, given: Sequence[Any]) -> tuple[Call, Call]:
    """A call on one copy of the inputs, and one that returns its first results with their layouts."""
    gradients = rival.mode in ("backward", "both")
    inputs = [engine.array(x, rival.layout(i)) for i, x in enumerate(given[: len(given) - gradients])]
    if rival.mode == "special":
        call, first = engine.special[rival.op](inputs, **rival.settings)
        return call, lambda: [(x, "") for x in first()]
    f = partial(engine.functions[rival.op], **rival.settings)
    if rival.mode == "forward":
        call = engine.forward(f, inputs)
        return call, lambda: [(call(), rival.result)]
    wrt = tuple(range(len(inputs))) if rival.wrt is None else rival.wrt
    run = engine.backward if rival.mode == "backward" else engine.both
    call = run(f, inputs, wrt, engine.array(given[-1], rival.result))
    layouts = [rival.result] * (rival.mode == "both") + [rival.layout(i) for i in wrt]
    return call, lambda: list(zip(call(), layouts, strict=True))


def turned(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """An array of ours as PyTorch has it."""
    return np.ascontiguousarray(x.transpose(LAYOUTS[layout])) if layout else x


def turned_back(x: NDArray[Any], layout: str) -> NDArray[Any]:
    """An array of PyTorch's as we have it."""
    return x.transpose(np.argsort(LAYOUTS[layout])) if layout else x
