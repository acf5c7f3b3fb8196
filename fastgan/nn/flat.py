"""One flat buffer for all parameters of a network, and one of the same layout for their gradients.

Each parameter becomes a view that starts on a 128-byte boundary (a GPU's cache line; the gaps stay 0). An optimiser
step, clipping, an average of the weights or a sum over machines is then one pass over one buffer, and the GEMMs write
their gradients straight into theirs.
"""

from typing import Any

import numpy as np

from fastgan.backend import Array, device_of, module_of, to_device
from fastgan.errors import UsageError
from fastgan.nn.module import Module

LINE = 32  # float32 elements in 128 bytes


class Flat:
    """The flat buffers of one network; use `flatten` to get it."""

    def __init__(self, module: Module, device: str) -> None:
        self.module, self.device = module, device
        self.parameters = parameters = module.parameters()
        starts = np.cumsum([0] + [-(-p.size // LINE) * LINE for p in parameters])
        self.buffer: Array = aligned_zeros(int(starts[-1]), device)
        self.gradient: Array = aligned_zeros(int(starts[-1]), device)
        self.gradients: list[Array] = []
        for p, start in zip(parameters, starts, strict=False):
            place, size, shape = slice(int(start), int(start) + p.size), p.size, p.shape
            self.buffer[place] = to_device(p.data, device).reshape(size)
            p.data = self.buffer[place].reshape(shape)
            self.gradients.append(self.gradient[place].reshape(shape))
        for part in module.modules():
            for name in part.state:
                setattr(part, name, to_device(getattr(part, name), device))

    def like(self) -> Array:
        """A zeroed buffer of the same layout, for an optimiser's state or an average."""
        return aligned_zeros(self.buffer.size, self.device)


def flatten(module: Module, device: str | None = None) -> Flat:
    """Move a network's parameters into flat buffers on a device (default: where they are), once."""
    flat: Any = vars(module).get("_flat")
    first = next(iter(module.parameters()), None)
    wanted = device or (device_of(first.data) if first is not None else "cpu")
    if flat is None and any("_part_of" in vars(part) for part in module.modules()):
        raise UsageError(
            "got a network that shares parts with one that has an optimiser; make one for the whole"
        )
    if flat is None or flat.device != wanted:
        flat = Flat(module, wanted)
        vars(module)["_flat"] = flat
        for part in module.modules():
            vars(part)["_part_of"] = True
    return flat  # type: ignore[no-any-return]


def aligned_zeros(size: int, device: str) -> Array:
    """float32 zeros that start on a 128-byte boundary (CuPy's allocator always gives that)."""
    xp = module_of(device)
    if device != "cpu":
        return xp.zeros(size, np.float32)
    raw = np.zeros(size * 4 + 128, np.uint8)
    skip = -raw.ctypes.data % 128
    return raw[skip : skip + size * 4].view(np.float32)
