"""`grad`: the gradient of what was computed, by going through the recorded nodes from the newest to the oldest.

A node's gradient comes from its op's first-order rule, all operands at once, unless a graph of the gradient is wanted:
then from its vjp, in Tensor code, which leaves nodes of its own.

A node keeps its operands' arrays, not copies, and an optimizer writes over them: nodes and such changes are numbered on
one clock, and `grad` refuses a node that is older than a change of what it was given.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
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
    if out is not None:
        _check_places(inputs, out, create_graph)
    walk = _Walk(outputs, inputs, out, _seeds(outputs, grad_outputs))
    with recording(create_graph):
        for node in walk.path:
            g = walk.grads.get(node) if node in walk.targets else walk.grads.pop(node, None)
            if g is not None:
                try:
                    if create_graph or node.op.first is None or not walk.at_once(node, g):
                        walk.by_thunks(node, g)
                except (ValueError, TypeError, AttributeError) as error:
                    raise _unfit(node, error) from error
    places = [None] * len(inputs) if out is None else out
    results = tuple(
        _result(x, walk.grads.get(x.node or x), place, allow_unused)
        for x, place in zip(inputs, places, strict=True)
    )
    if isinstance(out, Places):
        out.written = True
    return results


def _check_places(inputs: Sequence[Tensor], out: Sequence[Array], create_graph: bool) -> None:
    """An error unless `out` has an array for each input, of its shape and dtype."""
    if create_graph:
        raise UsageError(
            "grad: got both out and create_graph, wanted one: a recorded gradient cannot be overwritten"
        )
    _check_number("out", out, inputs)
    for x, place in zip(inputs, out, strict=True):
        if place.shape != x.data.shape or place.dtype != x.data.dtype:
            raise ShapeError(
                f"grad: got an array of shape {place.shape} and {place.dtype} as out, wanted {x.shape} and {x.dtype}"
            )


def _check_number(name: str, arrays: Sequence[Any], wanted: Sequence[Any]) -> None:
    if len(arrays) != len(wanted):
        raise UsageError(f"grad: got {len(arrays)} arrays as {name}, wanted {len(wanted)}")


def _seeds(outputs: Sequence[Tensor], weights: Tensor | Sequence[Tensor] | None) -> list[Tensor]:
    """The gradient that each output begins with."""
    if weights is None:
        for y in outputs:
            if y.shape != ():
                raise ShapeError(
                    f"grad: got a loss of shape {y.shape}, wanted (); reduce it with mean() or sum()"
                )
        return [_one(y.data) for y in outputs]
    weights = [weights] if isinstance(weights, Tensor) else weights
    _check_number("grad_outputs", weights, outputs)
    seeds = [g if isinstance(g, Tensor) else tensor(g) for g in weights]
    for y, g in zip(outputs, seeds, strict=True):
        if g.shape != y.shape:
            raise ShapeError(
                f"grad: got grad_outputs of shape {g.shape} for an output of shape {y.shape}, wanted the same"
            )
    return [_fitted(g, y) for y, g in zip(outputs, seeds, strict=True)]


_ones: dict[tuple[Any, ...], Tensor] = {}


def _one(y: Array) -> Tensor:
    """The number 1 in the dtype and on the device of y: one array for ever, as a new one would be a launch.

    CuPy's devices have a number, by which they can be told apart.
    """
    key = type(y), y.dtype, getattr(getattr(y, "device", None), "id", None)
    if key not in _ones:
        _ones[key] = Tensor(array_module(y).ones((), y.dtype))
    return _ones[key]


def times(g: Array, slopes: Array) -> Array:
    """g * slopes, for first-order rules of losses: slopes themselves where g is the 1 that `grad` begins with."""
    return slopes if any(one.data is g for one in _ones.values()) else slopes * g


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
    """The gradients of one `grad`, while its nodes are gone through.

    A value's key is the node that made it, or the Tensor itself where it is a leaf. `path` holds the nodes between
    inputs and outputs, newest first: nothing else is visited.
    """

    def __init__(
        self,
        outputs: Sequence[Tensor],
        inputs: Sequence[Tensor],
        out: Sequence[Array] | None,
        seeds: Sequence[Tensor],
    ) -> None:
        keys = [x.node or x for x in inputs]
        self.targets = set(keys)
        self.places: dict[Any, Array] = dict(zip(keys, out or (), strict=False))  # to write gradients to
        self.wanted: set[Any] = set(keys)  # whose gradient is asked for, or needed on the way
        self.uses: dict[Node, int] = {}  # of a node's output
        self.path = self._path([y.node for y in outputs if y.node is not None])
        self.premasked: set[Node] = set()
        self.grads: dict[Any, Tensor] = {}
        for y, seed in zip(outputs, seeds, strict=True):
            known = self.grads.get(y.node or y)
            self.grads[y.node or y] = seed if known is None else known + seed

    def _path(self, stack: list[Node]) -> list[Node]:
        uses, path = self.uses, []
        uses.update(dict.fromkeys(stack, 0))
        while stack:
            for x in stack.pop().parents:
                if (node := x.node) is not None:
                    if node not in uses:
                        uses[node] = 0
                        stack.append(node)
                    uses[node] += 1
        for node in sorted(uses, key=_order):
            for x in node.parents:
                if (x.node or x) in self.wanted:
                    _refuse_changed(node)
                    self.wanted.add(node)
                    path.append(node)
                    break
        return path[::-1]

    def by_thunks(self, node: Node, g: Tensor) -> None:
        """Add what a node's vjp gives to the gradients of its operands."""
        for x, thunk in zip(node.inputs, _thunks(node, g), strict=True):
            if thunk is not None and isinstance(x, Tensor):
                key = x.node or x
                if key in self.wanted:
                    self.add(key, _fitted(thunk(), x))

    def at_once(self, node: Node, g: Tensor) -> bool:
        """Add what a node's first-order rule gives; False where it takes no such operands or settings."""
        arrays, keys = [], []
        for x in node.inputs:
            is_tensor = isinstance(x, Tensor)
            arrays.append(x.data if is_tensor else x)
            keys.append(x.node or x if is_tensor else None)
        wanted, told = [key in self.wanted for key in keys], node.op.told
        settings: dict[str, Any] = dict(node.settings)
        if "wanted" in told:
            settings["wanted"] = wanted
        if "into" in told:
            settings["into"] = self._free(keys)
        if "below" in told:
            settings["below"] = self._below(keys) if wanted[0] else None
        if "kept" in told:
            settings["kept"] = node.kept
        if "premasked" in told:
            settings["premasked"] = node in self.premasked
        assert node.op.first
        parts = node.op.first(g.data, node.output, *arrays, **settings)
        if parts is NotImplemented:
            return False
        if settings.get("below"):
            self.premasked.add(node.inputs[0].node)
        for x, key, want, part in zip(node.inputs, keys, wanted, parts, strict=True):
            if want and part is not None:
                if part.shape != x.data.shape:
                    raise ShapeError(f"got a gradient of shape {part.shape}, wanted {x.shape}")
                self.add(key, _fitted(Tensor(part), x))
        return True

    def _free(self, keys: Sequence[Any]) -> list[Array | None]:
        """Where each gradient may be written: not for a second use of a value, whose gradient is added to the first."""
        places: list[Array | None] = []
        seen: set[Any] = set()
        for key in keys:
            places.append(None if key in seen or key in self.grads else self.places.get(key))
            seen.add(key)
        return places

    def _below(self, keys: Sequence[Any]) -> Act | None:
        """The activation that made the first operand, where its op can take its gradient before that activation."""
        node = keys[0]
        if not isinstance(node, Node) or node.op.ends_in is None or "premasked" not in node.op.told:
            return None
        only_here = self.uses[node] == 1 and node not in self.targets and node not in self.grads
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


_order = attrgetter("order")


def _refuse_changed(node: Node) -> None:
    """UsageError where a node is older than a change of what it was given, or of what that is a view of."""
    for x in node.parents:
        while x.node is not None and x.node.op.is_view:
            x = x.node.inputs[0]
        if x.changed > node.order:
            raise UsageError(
                f"grad: a parameter of shape {x.shape} has changed since {node.op.name} was computed from it, by "
                "an optimizer's step, load() or swap(); compute the outputs anew, or take gradients before the step"
            )


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
