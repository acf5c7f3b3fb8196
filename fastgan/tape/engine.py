"""Ops, the nodes they leave behind, and the gradient of what was computed.

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

A node keeps its operands' arrays, not copies, and an optimizer writes over them: nodes and such changes are numbered on
one clock, and `grad` refuses a node that is older than a change of what it was given.
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

from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.tape.tensor import Operand, Tensor, explained, first_line, tensor

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
        inputs: tuple[Operand, ...],
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
        arrays, parents = [], []
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


def no_grad() -> Any:
    """A block whose ops leave nothing on the tape (also usable as a decorator)."""
    return recording(False)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
    allow_unused: bool = False,
    out: Sequence[Array] | None = None,
) -> tuple[Tensor, ...]:
    """Gradients of the outputs, summed, for each input.

    An output must have shape () unless `grad_outputs` gives what to weigh it with. `create_graph` records the gradient
    itself, so that it can be differentiated again. An input that the outputs do not depend on is an error, or zeros
    with `allow_unused`. `out` gives one array per input to write the gradient to (first derivatives only): with views
    of one flat buffer an optimizer finds all gradients in one piece, and the GEMMs have written them there themselves.

    UsageError where a parameter that the gradient depends on has changed since: by an optimizer, `Module.load` or
    `Ema.swap`. A change that you made through `.data`, or of what `detach()` gave, cannot be seen.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    elif grad_outputs is not None:
        grad_outputs = [g if isinstance(g, Tensor) else tensor(g) for g in grad_outputs]
    if out is not None and create_graph:
        raise UsageError(
            "grad: got both out and create_graph, wanted one: a recorded gradient cannot be overwritten"
        )
    for name, given, wanted_count in (
        ("out", out, len(inputs)),
        ("grad_outputs", grad_outputs, len(outputs)),
    ):
        if given is not None and len(given) != wanted_count:
            raise UsageError(f"grad: got {len(given)} arrays as {name}, wanted {wanted_count}")
    for x, place in zip(inputs, out or [], strict=False):
        if place.shape != x.shape or place.dtype != x.dtype:
            raise ShapeError(
                f"grad: got an array of shape {place.shape} and {place.dtype} as out, wanted {x.shape} and {x.dtype}"
            )
    targets = {_key(x) for x in inputs}
    places = [None] * len(inputs) if out is None else list(out)
    path = _path(outputs, targets)
    _refuse_changed(path)
    walk = _Walk(path, targets, _seeds(outputs, grad_outputs))
    walk.places = {_key(x): place for x, place in zip(inputs, places, strict=True) if place is not None}
    with recording(create_graph):
        for node in path:
            g = walk.grads.get(node) if node in targets else walk.grads.pop(node, None)
            if g is not None:
                try:
                    if create_graph or node.op.first is None or not walk.at_once(node, g):
                        walk.by_thunks(node, g)
                except (ValueError, TypeError, AttributeError) as error:
                    raise _unfit(node, error) from error
    grads = walk.grads
    found = tuple(
        _result(x, grads.get(_key(x)), place, allow_unused) for x, place in zip(inputs, places, strict=True)
    )
    if isinstance(out, Places):
        out.written = True
    return found


def _key(x: Tensor) -> Any:
    """What identifies a value on the tape: the node that made it, or the Tensor itself where it is a leaf."""
    return x if x.node is None else x.node


def _seeds(outputs: Sequence[Tensor], grad_outputs: Sequence[Tensor] | None) -> dict[Any, Tensor]:
    if grad_outputs is None:
        for y in outputs:
            if y.shape != ():
                raise ShapeError(
                    f"grad: got a loss of shape {y.shape}, wanted (); reduce it with mean() or sum()"
                )
        grad_outputs = [_one(y.data) for y in outputs]
    seeds: dict[Any, Tensor] = {}
    for y, g in zip(outputs, grad_outputs, strict=True):
        if g.shape != y.shape:
            raise ShapeError(
                f"grad: got grad_outputs of shape {g.shape} for an output of shape {y.shape}, wanted the same"
            )
        g = _fitted(g, y)
        seeds[_key(y)] = seeds[_key(y)] + g if _key(y) in seeds else g
    return seeds


_ones: dict[tuple[Any, ...], Tensor] = {}


def _one(y: Array) -> Tensor:
    """The number 1 in the dtype and on the device of y: one array for ever, as a new one would be a launch."""
    key = _kind(y)
    if key not in _ones:
        _ones[key] = Tensor(key[0].ones((), y.dtype))
    return _ones[key]


def _kind(y: Array) -> tuple[Any, ...]:
    """The library, dtype and device of an array; CuPy's devices have a number, by which they can be told apart."""
    return array_module(y), y.dtype, getattr(getattr(y, "device", None), "id", None)


def times(g: Array, slopes: Array) -> Array:
    """g * slopes, for first-order rules of losses: slopes themselves where g is the 1 that `grad` begins with."""
    known = _ones.get(_kind(g))
    return slopes if known is not None and known.data is g else slopes * g


def _path(outputs: Sequence[Tensor], targets: set[Any]) -> list[Node]:
    """The nodes between the targets and the outputs, newest first: nothing else is visited by `grad`."""
    found: set[Node] = set()
    stack = [y.node for y in outputs if y.node is not None]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += [x.node for x in node.parents if x.node is not None]
    path: list[Node] = []
    on_path: set[Any] = set(targets)
    for node in sorted(found, key=lambda n: n.order):
        for x in node.parents:
            if (x if x.node is None else x.node) in on_path:
                on_path.add(node)
                path.append(node)
                break
    return path[::-1]


def _refuse_changed(path: Sequence[Node]) -> None:
    """UsageError where a node is older than a change of what it was given, or of what that is a view of."""
    for node in path:
        for x in node.parents:
            while x.node is not None and x.node.op.is_view:
                x = x.node.inputs[0]
            if x.changed > node.order:
                raise UsageError(
                    f"grad: a parameter of shape {x.shape} has changed since {node.op.name} was computed from it, by "
                    "an optimizer's step, load() or swap(); compute the outputs anew, or take gradients before the step"
                )


def _thunks(node: Node, g: Tensor) -> tuple[Thunk, ...]:
    y = Tensor(node.output)
    y.node = node
    if node.op.rule is None:
        raise UsageError(f"{node.op.name} has no gradient; detach() its input, or register one with .vjp")
    return node.op.rule(g, y, *node.inputs, **node.settings)


def _unfit(node: Node, error: Exception) -> Exception:
    """The error of a vjp in the user's terms: whose it was, and what it should have given."""
    if isinstance(error, FastganError) and not isinstance(error, ShapeError):
        return error
    return ShapeError(
        f"{node.op.name}: its gradient does not fit ({first_line(error)}); wanted of a vjp a tuple of one function "
        "or None for each operand, which gives a Tensor of the operand's shape, and of a first-order rule those arrays"
    )


class _Walk:
    """The gradients of one `grad`, by what identifies a value on the tape, while its nodes are gone through."""

    def __init__(self, path: Sequence[Node], targets: set[Any], grads: dict[Any, Tensor]) -> None:
        self.grads, self.targets, self.wanted = grads, targets, targets.union(path)
        self.places: dict[Any, Array] = {}  # where gradients are to be written
        self.uses: dict[Any, int] = {}  # of a node's output by nodes of the path
        for node in path:
            for x in node.parents:
                self.uses[x.node] = self.uses.get(x.node, 0) + 1
        self.premasked: set[Node] = set()

    def by_thunks(self, node: Node, g: Tensor) -> None:
        """Add what a node's vjp gives to the gradients of its operands."""
        for x, thunk in zip(node.inputs, _thunks(node, g), strict=True):
            if thunk is not None and isinstance(x, Tensor):
                key = x if x.node is None else x.node  # _key(x), but for the call
                if key in self.wanted:
                    self.add(key, _fitted(thunk(), x))

    def at_once(self, node: Node, g: Tensor) -> bool:
        """Add what a node's first-order rule gives; False where it takes no such operands or settings."""
        told, inputs = node.op.told, node.inputs
        keys = [(x if x.node is None else x.node) if isinstance(x, Tensor) else None for x in inputs]
        wanted = [key in self.wanted for key in keys]
        settings: dict[str, Any] = dict(node.settings)
        if "wanted" in told:
            settings["wanted"] = wanted
        if "into" in told:
            settings["into"] = self._free(keys)
        if "below" in told:
            once = wanted[0] and not any(key is keys[0] for key in keys[1:])
            settings["below"] = self._below(inputs[0]) if once else None
        if "kept" in told:
            settings["kept"] = node.kept
        if "premasked" in told:
            settings["premasked"] = node in self.premasked
        assert node.op.first
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        parts = node.op.first(g.data, node.output, *arrays, **settings)
        if parts is NotImplemented:
            return False
        if settings.get("below"):
            self.premasked.add(inputs[0].node)
        for x, key, want, part in zip(inputs, keys, wanted, parts, strict=True):
            if want and part is not None:
                if part.shape != x.data.shape:
                    raise ShapeError(f"got a gradient of shape {part.shape}, wanted {x.shape}")
                self.add(key, _fitted(Tensor(part), x))
        return True

    def _free(self, keys: Sequence[Any]) -> tuple[Array | None, ...]:
        """Where each gradient may be written: not for a second use of a value, whose gradient is added to the first."""
        places, seen = [], set()
        for key in keys:
            places.append(None if key in seen or key in self.grads else self.places.get(key))
            seen.add(key)
        return tuple(places)

    def _below(self, x: Tensor) -> Act | None:
        """The activation that made x, where its op can take its gradient before that activation."""
        node = x.node
        if node is None or node.op.ends_in is None or "premasked" not in node.op.told:
            return None
        only_here = self.uses.get(node) == 1 and node not in self.targets and node not in self.grads
        return node.op.ends_in(**node.settings) if only_here else None

    def add(self, key: Any, part: Tensor) -> None:
        """Add one contribution to a gradient: in its place if it has one, else in a new Tensor."""
        place, known = self.places.get(key), self.grads.get(key)
        if place is None:
            self.grads[key] = part if known is None else known + part
            return
        if known is None:
            if part.data is not place:
                place[...] = part.data
        else:
            if known.data is not place:  # an output that was itself asked for: its seed comes first
                place[...] = known.data
            place += part.data
        self.grads[key] = Tensor(place)


def _fitted(g: Tensor, x: Tensor) -> Tensor:
    """A gradient for x in x's shape and dtype, where broadcasting or promotion has given it another."""
    if g.data.shape != x.data.shape:
        g = g.sum_to(x.data.shape)
    have, wanted = g.data.dtype, x.data.dtype  # nearly always one object, and `is` is quick
    return g if have is wanted or have == wanted else cast(g, x)


def _result(x: Tensor, g: Tensor | None, place: Array | None, allow_unused: bool) -> Tensor:
    if g is None and not allow_unused:
        raise UsageError(
            f"grad: the outputs do not depend on an input of shape {x.shape}; "
            "give it requires_grad=True before it is used, or pass allow_unused=True for zeros"
        )
    if place is None:
        return g if g is not None else Tensor(array_module(x.data).zeros_like(x.data))
    if g is None:
        place[...] = 0
    elif g.data is not place:  # an output that was itself asked for, or an input asked for twice
        place[...] = g.data
    return Tensor(place)


def _operand(x: Any) -> Operand:
    """A Tensor or a Python number as it is; anything else becomes a Tensor without a gradient."""
    return x if isinstance(x, Tensor | float | int) else tensor(x)


@op
def alias(x: Array) -> Array:
    """x itself, as a value of its own on the tape."""
    return x


@alias.vjp
def _(g: Tensor, out: Tensor, x: Tensor) -> tuple[Thunk, ...]:
    return (lambda: g,)


alias.is_view = True


@op
def cast(x: Array, like: Array) -> Array:
    """x in the dtype of `like`."""
    return x.astype(like.dtype)


@cast.vjp
def _(g: Tensor, out: Tensor, x: Tensor, like: Tensor) -> tuple[Thunk, ...]:
    return lambda: g, None  # cast to x's dtype by the engine


def vjp_of(formula: Callable[..., Tensor]) -> Vjp:
    """A vjp made by differentiating a formula in Tensor code that computes the same as the op.

    For ops whose forward is fused and whose derivative is rarely asked for (the second derivative of batch norm): the
    formula is run again, so it costs a forward pass, and its derivatives of any order come from its own ops.
    """

    def rule(g: Tensor, out: Tensor, *inputs: Operand, **settings: Any) -> tuple[Thunk, ...]:
        with recording(
            True
        ):  # aliases: the inputs may depend on each other, and only the formula counts here
            cut = [alias(x) if isinstance(x, Tensor) else x for x in inputs]
            y = formula(*cut, **settings)

        def part(x: Tensor) -> Tensor:
            return grad([y], [x], [g], create_graph=_recording.get(), allow_unused=True)[0]

        return tuple((lambda x=x: part(x)) if isinstance(x, Tensor) else None for x in cut)

    return rule
