"""Ops, and the nodes they leave behind; gradient.py goes through these.

An op is array code plus, right below it, its vector-Jacobian product written in Tensor code:

    @op
    def tanh(x): return array_module(x).tanh(x)

    @tanh.vjp
    def _(g, y, x): return (lambda: g * (1 - y * y),)

Calling the op runs the array code and, where a gradient may be asked for, leaves a `Node` behind: which op, which
inputs, which output. `grad` walks the nodes between inputs and outputs from the newest to the oldest. A vjp returns one
thunk per input, so shared work is done once and an unneeded gradient never. Because vjps are Tensor code, running them
while recording gives derivatives of derivatives; nothing else is needed for a gradient penalty.

Elementwise ops broadcast and promote as NumPy does; the engine sums a gradient back to its input's shape, in its dtype.

An op may also have a *first-order rule*: one call on raw arrays that gives all wanted gradients at once and writes them
where they belong. `grad` takes it wherever no graph of the gradient is asked for, so that training runs fused kernels;
the vjp stays the truth, of any order. See `Op.first_order`.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import partial
from itertools import count
from typing import Any, overload

import numpy as np

from fastgan.device import Array
from fastgan.dispatch import Fusable
from fastgan.errors import UsageError
from fastgan.tape.tensor import Operand, Tensor, explained, tensor

Thunk = Callable[[], Tensor] | None
Vjp = Callable[..., tuple[Thunk, ...]]

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_clock = count()


class Node:
    """One recorded call. It keeps the output's array, not its Tensor, so that the tape has no reference cycles."""

    __slots__ = ("inputs", "kept", "op", "order", "output", "parents", "settings")

    def __init__(
        self,
        op: "Op",
        inputs: tuple[Any, ...],  # Tensors and Python numbers
        parents: list[Tensor],
        settings: dict[str, Any],
        output: Array,
        kept: Any,
    ) -> None:
        self.op, self.inputs, self.settings, self.output = op, inputs, settings, output
        self.kept = kept  # what the op's array code left beside its output for the first-order rule
        self.parents = parents  # the inputs that a gradient can flow to
        self.order = next(_clock)


class Places(list[Array]):
    """Arrays for `grad` to write to, which know whether it has done so since `written` was last set back."""

    written = False


def mark_changed(tensors: Iterable[Tensor]) -> None:
    """Note that Tensors have changed in place: `grad` refuses what was computed from their old values."""
    now = next(_clock)
    for x in tensors:
        x.changed = now


Act = tuple[str, float]  # an activation by its name in ops.ACTIVATIONS, and its slope
TOLD = frozenset({"wanted", "into", "below", "premasked", "kept"})


class Op:
    """Array code with a gradient. Arrays are positional, settings keyword-only and not differentiated.

    With `keeps`, the array code returns (output, what the first-order rule will want besides). `ends_in` gives, for the
    op's settings, the activation (name, slope) that the op ends in, whose derivative is a function of the output.
    """

    def __init__(self, forward: Callable[..., Any], *, keeps: bool = False) -> None:
        self.name = forward.__name__
        self.__doc__ = forward.__doc__
        self.forward = Fusable(forward)
        self.forward.writes_no_operand = True
        self.rule: Vjp | None = None
        self.first: Callable[..., Any] | None = None
        self.told: frozenset[str] = frozenset()  # of TOLD: what the first-order rule makes use of
        self.ends_in: Callable[..., Act | None] | None = None
        self.keeps = keeps
        self.is_view = False  # of its first operand: what changes that in place changes the output

    def vjp(self, rule: Vjp) -> Vjp:
        """Register `rule(g, y, *inputs, **settings)`: one thunk per input, None where no gradient flows."""
        self.rule = rule
        return rule

    def first_order(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Register `rule(g, y, *arrays, **settings)`: a gradient for each operand at once, all of them arrays.

        It returns one array (or None) per operand, of the operand's shape, or NotImplemented, and then the vjp runs. By
        the names of its keywords it says what else it makes use of:

        - `wanted`: for each operand, whether its gradient is asked for; others may be None.
        - `into`: for each operand, an array to write the gradient to, or None. What is written there is returned.
        - `kept`: what the op keeps.
        - `below`: None, or the activation (name, slope) that made the first operand: its gradient is to be multiplied
          by that activation's derivative, which is a function of the operand.
        - `premasked`: whether the op above has done that for this op, so that g is the gradient for what went into the
          activation that this op ends in.
        """
        self.first, self.told = rule, TOLD.intersection(inspect.signature(rule).parameters)
        return rule

    def __call__(self, *operands: Operand, **settings: Any) -> Tensor:
        """Run the op on Tensors, Python numbers, or anything `tensor` takes."""
        arrays: list[Any] = []
        parents: list[Tensor] = []
        for x in operands:
            if type(x) is Tensor:
                arrays.append(x.data)
                if x.wanted or x.node is not None:
                    parents.append(x)
            elif isinstance(x, np.generic):  # a NumPy scalar would widen float32, and CuPy refuses some
                arrays.append(x.item())
            elif isinstance(x, float | int):
                arrays.append(x)
            else:  # another array: a constant
                return self(*(_operand(x) for x in operands), **settings)
        try:
            data = self.forward(*arrays, **settings)
        except Exception as error:  # a kernel's compiler has errors of its own
            raise self._misuse(arrays, settings) or explained(self.name, arrays, error) from error
        kept = None
        if self.keeps:
            data, kept = data
        if isinstance(data, np.generic):  # NumPy makes scalars of 0-d results
            data = np.asarray(data)
        y = Tensor(data)
        if parents and _recording.get():
            y.node = Node(self, operands, parents, settings, data, kept)
        return y

    def _misuse(self, arrays: Sequence[Any], settings: dict[str, Any]) -> UsageError | None:
        """The error for another number of operands than the op takes, or for a setting that it lacks."""
        try:
            signature = inspect.signature(self.forward.plain)
        except ValueError:  # a built-in function may have none
            return None
        known = signature.parameters
        try:
            signature.bind(*arrays, **settings)
        except TypeError as error:
            got = str(error)
        else:
            operands = [name for name, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
            named = [name for name in operands if isinstance(settings.get(name), Tensor)]
            if not named:
                return None
            got = f"got the operand {named[0]!r} by name"
        near = [name for key in settings if key not in known for name in get_close_matches(key, known, 1)]
        hint = f"; did you mean {near[0]}?" if near else ""
        bare = [p.replace(annotation=p.empty) for p in known.values()]
        takes = signature.replace(parameters=bare, return_annotation=signature.empty)
        return UsageError(f"{self.name}: {got}, wanted {self.name}{takes}{hint}")


@overload
def op(forward: Callable[..., Any]) -> Op: ...


@overload
def op(*, keeps: bool) -> Callable[[Callable[..., Any]], Op]: ...


def op(forward: Callable[..., Any] | None = None, *, keeps: bool = False) -> Any:
    """Make an op of a function on arrays; `keeps` as for Op."""
    return Op(forward) if forward else partial(Op, keeps=keeps)


@contextmanager
def recording(on: bool) -> Iterator[None]:
    """Switch the tape on or off in a block, for this thread."""
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether the tape is on in this thread."""
    return _recording.get()


def no_grad() -> Any:
    """A block whose ops leave nothing on the tape (also usable as a decorator)."""
    return recording(False)


def _operand(x: Any) -> Operand:
    """A Tensor or a Python number as it is; anything else becomes a Tensor without a gradient."""
    return x if isinstance(x, Tensor | float | int) else tensor(x)
