"""fastgan's parameters in PyTorch's layouts: what makes an equal start of two networks of the same layers.

fastgan's images are NHWC, its convolutions (kh, kw, i, o) and their transposes (kh, kw, o, i); PyTorch has NCHW,
(o, i, kh, kw) and (i, o, kh, kw). A linear layer is (i, o) there and (o, i) here, and beside an image that it makes or
sees, the numbers of the flat image come in another order. This module imports torch, so others import it late.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Arrays = list[NDArray[np.float32]]


def shape_of_ours(p: torch.Tensor) -> tuple[int, ...]:
    """The shape that fastgan has for a parameter of a linear layer, a convolution or a norm."""
    return (*p.shape[2:], *p.shape[:2][::-1])


def load(network: nn.Sequential, arrays: Arrays) -> None:
    """Copy fastgan's parameters of the same layers, in its order and shapes, into a network, in place."""
    values = iter(arrays)
    modules = list(network)
    with torch.no_grad():
        for place, module in enumerate(modules):
            made, seen = _made(modules[place + 1 :]), _seen(modules[: place + 1])
            for p in module.parameters():
                value = next(values)
                value = value if made is None else value[..., made]
                value = value if seen is None or value.ndim == 1 else value[seen]
                p.copy_(torch.tensor(value.transpose(*range(value.ndim)[:-3:-1], *range(value.ndim - 2))))


def _made(after: Sequence[nn.Module]) -> NDArray[np.int_] | None:
    """Where the numbers of the image lie in fastgan that a linear layer and its norm make; None without an image."""
    following = (m for m in after if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Unflatten))
    unflatten = next(following, None)
    return _order(*unflatten.unflattened_size) if isinstance(unflatten, nn.Unflatten) else None


def _seen(until: Sequence[nn.Module]) -> NDArray[np.int_] | None:
    """The same for the image that a linear layer sees, which is the last of these."""
    if len(until) < 2 or not (isinstance(until[-1], nn.Linear) and isinstance(until[-2], nn.Flatten)):
        return None
    c = next(m.out_channels for m in reversed(until) if isinstance(m, nn.Conv2d))
    side = math.isqrt(until[-1].in_features // c)
    return _order(c, side, side)


def _order(c: int, h: int, w: int) -> NDArray[np.int_]:
    """Where the numbers of an NCHW image lie in an NHWC one."""
    return np.arange(c * h * w).reshape(h, w, c).transpose(2, 0, 1).ravel()
