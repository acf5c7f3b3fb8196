"""`grad`: the gradient of what was computed, by going through the recorded nodes from the newest to the oldest.

A node's gradient comes from its op's first-order rule, all operands at once, unless a graph of the gradient is wanted:
then from its vjp, in Tensor code, which leaves nodes of its own.

A node keeps its operands' arrays, not copies, and an optimizer writes over them: nodes and such changes are numbered on
one clock, and `grad` refuses a node that is older than a change of what it was given.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastgan.device import Array, array_module
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.tape.arithmetic import alias, cast
from fastgan.tape.engine import Act, Node, Places, Thunk, Vjp, is_recording, recording
from fastgan.tape.tensor import Operand, Tensor, first_line, tensor


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
        elif known is None:
            self.grads[key] = part if part.data is place else _written(part, place)
        else:
            if known.data is not place:  # an output that was itself asked for: its seed comes first
                self.grads[key] = _written(known, place)
            place += part.data


def _written(g: Tensor, place: Array) -> Tensor:
    """A gradient in its place."""
    place[...] = g.data
    return Tensor(place)


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
        return Tensor(place)
    # elsewhere: an output that was itself asked for, or an input asked for twice
    return g if g.data is place else _written(g, place)


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
            return grad([y], [x], [g], create_graph=is_recording(), allow_unused=True)[0]

        return tuple((lambda x=x: part(x)) if isinstance(x, Tensor) else None for x in cut)

    return rule
