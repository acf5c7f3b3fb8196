"""Module: what holds parameters and other Modules, and maps a Tensor to a Tensor."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastgan.clock import Count
from fastgan.device import Array, device_of, to_device
from fastgan.errors import ShapeError, UsageError
from fastgan.random import Draws
from fastgan.tape import Tensor, mark_changed


class Module:
    """A network or a layer. Attributes that are Tensors with requires_grad are parameters, attributes that are
    Modules its parts; so are those in lists, tuples and dicts, as "layers.0". One that is shared has its first name."""

    training = True
    state: tuple[str, ...] = ()  # attributes that are arrays: saved with the network but not trained
    # for layers that draw random numbers: seed, step and number of this layer, and how often it has drawn in this step
    source: tuple[int, int | Count, int] = (0, 0, 0)
    calls_done = 0

    def __call__(self, *inputs: Any, **settings: Any) -> Tensor:
        """The output for a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define __call__")

    def parts(self) -> Iterator[tuple[str, "Module"]]:
        """The Modules directly inside, by name; one that is there twice comes twice."""
        return ((name, x) for name, x in _inside(vars(self).items(), "", []) if isinstance(x, Module))

    def modules(self) -> Iterator["Module"]:
        """This Module and all inside it, each once."""
        return iter(_whole(self)[0])

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The Tensors that are trained, each once, as ("0.weight", Tensor), in a fixed order."""
        return ((name, x) for x, name in _whole(self)[1].items())

    def parameters(self) -> list[Tensor]:
        """The Tensors that are trained, each once."""
        return list(_whole(self)[1])

    def named_state(self) -> Iterator[tuple[str, Array]]:
        """The arrays that are kept but not trained (running statistics)."""
        for module, prefix in _whole(self)[0].items():
            for name in module.state:
                yield prefix + name, getattr(module, name)

    def named_arrays(self) -> dict[str, Array]:
        """Parameters and running statistics by name: the arrays themselves. UsageError where two have one name."""
        named = [(name, x.data) for name, x in self.named_parameters()] + list(self.named_state())
        arrays = dict(named)
        if len(arrays) < len(named):
            names = [name for name, _ in named]
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(
                f"got two arrays named {twice!r}, wanted one: change the keys of the dict they are in"
            )
        return arrays

    def __getstate__(self) -> dict[str, object]:
        """What a copy takes along: not the flat buffers, whose views a copy's parameters no longer are."""
        return {name: x for name, x in vars(self).items() if name not in ("_flat", "_part_of")}

    def count(self, *, trained_only: bool = False) -> int:
        """Number of parameters; running statistics count too, as in Keras's summary, unless `trained_only`."""
        kept = 0 if trained_only else sum(x.size for _, x in self.named_state())
        return kept + sum(x.size for x in self.parameters())

    def initialize(self, draws: Draws) -> None:
        """Draw first values for every parameter inside."""
        for _, part in self.parts():
            part.initialize(draws)

    def train(self, training: bool = True) -> "Module":
        """Training mode: batch norm uses the batch's statistics, dropout drops."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> "Module":
        """Inference mode: batch norm uses its running statistics, dropout does nothing."""
        return self.train(False)

    def begin(self, seed: int, step: int | Count, *, first: int = 0) -> None:
        """Tell layers that draw random numbers which step of which run this is; `first` sets two networks apart."""
        for number, module in enumerate(self.modules(), first):
            module.source, module.calls_done = (seed, step, number), 0

    def load(self, arrays: dict[str, Array]) -> None:
        """Copy values in by name, parameters and running statistics alike; every one must be there and fit."""
        own = self.named_arrays()
        if own.keys() != arrays.keys():
            odd = sorted(own.keys() ^ arrays.keys())[0]
            raise ShapeError(
                f"got values for {len(arrays)} arrays, wanted {len(own)}; the first odd one is {odd}"
            )
        for name, array in arrays.items():
            if own[name].shape != array.shape:
                raise ShapeError(f"{name}: got shape {array.shape}, wanted {own[name].shape}")
        for name, array in arrays.items():
            own[name][...] = to_device(array, device_of(own[name]))
        mark_changed(self.parameters())

    def values(self) -> dict[str, Array]:
        """Copies of all arrays by name, as `load` takes them: training goes on without them."""
        return {name: x.copy() for name, x in self.named_arrays().items()}


def _inside(
    items: Iterable[tuple[Any, Any]], prefix: str, found: list[tuple[str, Module | Tensor]]
) -> list[tuple[str, Module | Tensor]]:
    """`found`, and the Modules and Tensors among attributes, and in those that are a list, tuple or dict, by name."""
    for name, x in items:
        if isinstance(x, (Module, Tensor)):  # as a union the types would be joined for each attribute
            found.append((f"{prefix}{name}", x))
        elif isinstance(x, dict):
            _inside(x.items(), f"{prefix}{name}.", found)
        elif isinstance(x, (list, tuple)):
            _inside(enumerate(x), f"{prefix}{name}.", found)
    return found


def _whole(module: Module) -> tuple[dict[Module, str], dict[Tensor, str]]:
    """A Module and all inside it, outer ones first, each with what its names begin with; parameters and their names."""
    modules: dict[Module, str] = {}
    parameters: dict[Tensor, str] = {}
    _walk(module, "", modules, parameters)
    return modules, parameters


def _walk(part: Module, prefix: str, modules: dict[Module, str], parameters: dict[Tensor, str]) -> None:
    """Enter a Module and all inside it; no function inside another, which would keep the network until a collection."""
    modules[part] = prefix
    inside = _inside(vars(part).items(), prefix, [])
    for name, x in inside:
        if isinstance(x, Tensor) and x.wanted:
            parameters.setdefault(x, name)
    for name, x in inside:
        if isinstance(x, Module) and x not in modules:
            _walk(x, f"{name}.", modules, parameters)
