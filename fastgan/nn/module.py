"""Module: what holds parameters and other Modules, and maps a Tensor to a Tensor."""

from collections.abc import Iterator

from fastgan.backend import Array, Count, device_of, to_device
from fastgan.errors import ShapeError
from fastgan.random import Draws
from fastgan.tape import Tensor


class Module:
    """A network or a layer. Attributes that are Tensors with requires_grad are parameters, attributes that are
    Modules its parts (not those in a list: use Sequential)."""

    training = True
    state: tuple[str, ...] = ()  # attributes that are arrays: saved with the network but not trained
    # for layers that draw random numbers: seed, step and number of this layer, and how often it has drawn in this step
    source: tuple[int, int | Count, int] = (0, 0, 0)
    calls_done = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The output for a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes: define __call__")

    def parts(self) -> Iterator[tuple[str, "Module"]]:
        """The Modules directly inside, by name."""
        return ((name, x) for name, x in vars(self).items() if isinstance(x, Module))

    def modules(self) -> Iterator["Module"]:
        """This Module and all inside it."""
        yield self
        for _, part in self.parts():
            yield from part.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """The Tensors that are trained, as ("0.weight", Tensor), in a fixed order."""
        for name, x in vars(self).items():
            if isinstance(x, Tensor) and x.wanted:
                yield prefix + name, x
        for name, part in self.parts():
            yield from part.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Tensor]:
        """The Tensors that are trained."""
        return [x for _, x in self.named_parameters()]

    def named_state(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """The arrays that are kept but not trained (running statistics)."""
        for name in self.state:
            yield prefix + name, getattr(self, name)
        for name, part in self.parts():
            yield from part.named_state(f"{prefix}{name}.")

    def __getstate__(self) -> dict[str, object]:
        """What a copy takes along: not the flat buffers, whose views a copy's parameters no longer are."""
        return {name: x for name, x in vars(self).items() if name not in ("_flat", "_part_of")}

    def count(self, *, trained_only: bool = False) -> int:
        """Number of parameters; running statistics count too, as in Keras's summary, unless `trained_only`."""
        kept = 0 if trained_only else sum(x.size for _, x in self.named_state())
        return kept + sum(x.size for x in self.parameters())

    def initialise(self, draws: Draws) -> None:
        """Draw first values for every parameter inside."""
        for _, part in self.parts():
            part.initialise(draws)

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
        own = {name: x.data for name, x in self.named_parameters()} | dict(self.named_state())
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

    def values(self) -> dict[str, Array]:
        """All arrays by name, as `load` takes them."""
        return {name: x.data for name, x in self.named_parameters()} | dict(self.named_state())
