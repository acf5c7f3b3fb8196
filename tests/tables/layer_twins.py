"""PyTorch's function for each layer that it has too, as layer_math.py has NumPy's; none where it is not installed.

Functions take a batch, then the layer's parameters and state in the layer's own order, and its settings by name; what
PyTorch wants otherwise (NCHW, the order of a weight's axes) is said here.
"""

from contextlib import suppress
from typing import Any

from tables.layer_math import around, both, conv_transpose_size

torch: Any = None
with suppress(ImportError):
    import torch
F = torch and torch.nn.functional

KERNEL = (3, 2, 0, 1)  # ours (kh, kw, i, o) as PyTorch's (o, i, kh, kw), and (kh, kw, o, i) as (i, o, kh, kw)


def images(f):
    """A function of PyTorch's for NCHW images, for NHWC ones; rows stay as they are."""

    def there_and_back(x, *rest, **settings):
        if x.ndim == 2:
            return f(x, *rest, **settings)
        return f(x.permute(0, 3, 1, 2), *rest, **settings).permute(0, 2, 3, 1)

    return there_and_back


def turned(pads):
    """(top, bottom, left, right) as PyTorch's pad takes it."""
    return (*pads[2:], *pads[:2])


def conv(x, w, b=None, *, stride=1, padding=0, **_):
    pad, kernel = turned(around(padding, x.shape[1:3], w.shape[:2], stride)), w.permute(KERNEL).contiguous()
    return images(lambda x: F.conv2d(F.pad(x, pad), kernel, b, both(stride)))(x)


def conv_transpose(x, w, b, **settings):
    """PyTorch's own, or where it cannot pad like that the gradient of its convolution for a larger image."""
    padding = settings.get("padding", 0)
    if padding != "same" and len(both(padding)) == 2:
        return images(lambda x: F.conv_transpose2d(x, w.permute(KERNEL).contiguous(), b, **settings))(x)
    size = conv_transpose_size(x.shape, w.shape, **settings)
    image = torch.zeros(len(x), *size, w.shape[2], dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(conv(image, w, **settings), image, x, create_graph=True)[0] + b


def spectral(row):
    """A layer under PyTorch's parametrization, from the same u and v."""
    inner = row.args[0]

    def twin(x, w, b, u, v):
        theirs = getattr(torch.nn, inner.kind)(*inner.args, **inner.settings).double()
        theirs = torch.nn.utils.parametrizations.spectral_norm(theirs)
        state = theirs.parametrizations.weight[0]
        state._u.copy_(u)
        state._v.copy_(v.reshape(*w.shape[:-2], -1).movedim(-1, 0).flatten())  # a unit's numbers: (i, kh, kw)
        weight = (w.T if w.ndim == 2 else w.permute(KERNEL)).contiguous()
        values = {"parametrizations.weight.original": weight, "bias": b}
        return images(lambda x: torch.func.functional_call(theirs, values, x))(x)

    return twin


def groups(count):
    """Not PyTorch's instance_norm, whose second derivative for a single image is wrong (PyTorch 2.13)."""
    return images(lambda x, gamma, beta, eps: F.group_norm(x, count or x.shape[1], gamma, beta, eps))


def pool(f):
    return images(lambda x, size, stride=None: f(x, both(size), both(stride) if stride else None))


def twin_of(row):
    """PyTorch's function for a row, or None."""
    return spectral(row) if torch and row.kind == "SpectralNorm" else TWINS.get(row.kind)


TWINS = (
    {}
    if torch is None
    else {
        "Linear": lambda x, w, b=0.0, **_: x @ w + b,
        "Conv2d": conv,
        "ConvTranspose2d": conv_transpose,
        "Maxout": lambda x, w, b, pieces: (x @ w + b).unflatten(1, (pieces, -1)).amax(1),
        "LeakyReLU": lambda x, slope=0.01: F.leaky_relu(x, slope),
        "ReLU": F.relu,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "Activation": lambda x, act: getattr(torch, act)(x),
        "Arctan": torch.arctan,
        "BatchNorm": images(
            lambda x, g, b, *_, eps=1e-5, **__: F.batch_norm(x, None, None, g, b, True, eps=eps)
        ),
        "LayerNorm": groups(1),
        "InstanceNorm": groups(None),
        "Embedding": lambda x, w: F.embedding(x, w),
        "MaxPool2d": pool(F.max_pool2d),
        "AvgPool2d": pool(F.avg_pool2d),
        "Upsample2d": images(lambda x, factor: F.interpolate(x, scale_factor=both(factor), mode="nearest")),
        "Pad2d": images(lambda x, padding, value=0.0: F.pad(x, turned(around(padding)), value=value)),
    }
)
