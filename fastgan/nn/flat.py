"""One flat buffer for all parameters of a network, and one of the same layout for their gradients.

Each parameter becomes a view that starts on a 128-byte boundary (a GPU's cache line; the gaps stay 0). An optimizer
step, clipping, an average of the weights or a sum over machines is then one pass over one buffer, and the GEMMs write
their gradients straight into theirs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastgan.device import Array, device_of, module_of, to_device
from fastgan.errors import UsageError
from fastgan.nn.module import Module
from fastgan.tape import Places, Tensor, mark_changed

LINE = 32  # float32 elements in 128 bytes; wider ones start on the boundary too


class Flat:
    """The flat buffers of some parameters of one dtype; use `flatten` to get it."""

    def __init__(self, parameters: list[Tensor], device: str) -> None:
        self.parameters, self.device = parameters, device
        self.dtype = parameters[0].dtype if parameters else np.dtype(np.float32)
        starts = np.cumsum([0] + [-(-p.size // LINE) * LINE for p in parameters])
        self.buffer: Array = aligned_zeros(int(starts[-1]), device, self.dtype)
        self.gradient: Array = self.like()
        self.gradients = Places()
        for p, start in zip(parameters, starts, strict=False):
            place, size, shape = slice(int(start), int(start) + p.size), p.size, p.shape
            self.buffer[place] = to_device(p.data, device).reshape(size)
            p.data = self.buffer[place].reshape(shape)
            self.gradients.append(self.gradient[place].reshape(shape))
        self.views = [p.data for p in parameters]

    def like(self) -> Array:
        """A zeroed buffer of the same layout, for an optimizer's state or an average."""
        return aligned_zeros(self.buffer.size, self.device, self.dtype)

    def mark_changed(self) -> None:
        """Note that the values have changed in place (see tape.mark_changed)."""
        mark_changed(self.parameters)

    def holds(self, parameters: list[Tensor]) -> bool:
        """Whether these are the parameters, and still views of the buffer."""
        return len(parameters) == len(self.parameters) and all(
            p is q and p.data is view
            for p, q, view in zip(parameters, self.parameters, self.views, strict=True)
        )


def flatten(network: Module | Sequence[Tensor], device: str | None = None) -> Flat:
    """The flat buffers of a network's parameters, or of loose ones, on a device (default: where they are).

    A network keeps them: asked again, it gives the same. UsageError where a part of it already has its own, where
    parameters differ in dtype, and where a list has one twice.
    """
    named: list[tuple[Any, Tensor]] = list(
        network.named_parameters() if isinstance(network, Module) else enumerate(network)
    )
    parameters = [p for _, p in named]
    if not all(isinstance(p, Tensor) for p in parameters):
        raise UsageError(f"got a {type(network).__name__}, wanted a network or a list of Tensors")
    _check(named)
    wanted = device or (device_of(parameters[0].data) if parameters else "cpu")
    if not isinstance(network, Module):
        return Flat(parameters, wanted)
    flat: Flat | None = vars(network).get("_flat")
    if flat is None and any("_part_of" in vars(part) for part in network.modules()):
        raise UsageError(
            "got a network that shares parts with one that has an optimizer; make one for the whole"
        )
    if flat is None or flat.device != wanted or not flat.holds(parameters):
        flat = Flat(parameters, wanted)
        vars(network)["_flat"] = flat
    for part in network.modules():
        vars(part)["_part_of"] = True
        for name in part.state:
            setattr(part, name, to_device(getattr(part, name), wanted))
    return flat


def _check(named: Sequence[tuple[Any, Tensor]]) -> None:
    """UsageError unless parameters, by name or number, are floats of one dtype, and each there once."""
    seen: dict[Tensor, Any] = {}
    for name, p in named:
        first = named[0]
        if p in seen:
            raise UsageError(f"got one Tensor as parameters {seen[p]} and {name}, wanted each once")
        if p.dtype != first[1].dtype or p.dtype.kind != "f":
            raise UsageError(
                f"got parameter {name} of {p.dtype}, and {first[0]} of {first[1].dtype}, wanted floats of one dtype"
            )
        seen[p] = name


def aligned_zeros(size: int, device: str, dtype: Any = np.float32) -> Array:
    """Zeros that start on a 128-byte boundary (CuPy's allocator always gives that)."""
    xp, bytes_ = module_of(device), size * np.dtype(dtype).itemsize
    if device != "cpu":
        return xp.zeros(size, dtype)
    raw = np.zeros(bytes_ + 128, np.uint8)
    skip = -raw.ctypes.data % 128
    return raw[skip : skip + bytes_].view(dtype)
