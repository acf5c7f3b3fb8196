"""What every layer computes, written out in plain NumPy, and PyTorch's function for the same.

Functions take a batch, then a layer's parameters and its state, in the layer's own order, and its settings by name.
Images are NHWC and weights (kh, kw, i, o) in both; what PyTorch wants instead is said here. PyTorch need not be there.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tables import op_references as plain
from tables.op_references import Values

torch: Any = None
with suppress(ImportError):
    import torch
F = torch and torch.nn.functional

KERNEL = (3, 2, 0, 1)  # ours (kh, kw, i, o) as PyTorch's (o, i, kh, kw), and (kh, kw, o, i) as (i, o, kh, kw)


@dataclass(frozen=True)
class Math:
    """A layer's output in NumPy and in PyTorch; where they differ, its output when it does not train, and what becomes
    of its state when it does."""

    reference: Callable[..., Values] | None
    twin: Callable[..., Any] | None = None
    inference: Callable[..., Values] | None = None
    moved: Callable[..., list[Values]] | None = None


def both(value):
    """A setting for both directions."""
    return (value, value) if isinstance(value, int) else value


def channels_first(f):
    """A function of PyTorch's for NCHW images, for NHWC ones; rows stay as they are."""

    def there_and_back(x, *rest, **settings):
        if x.ndim == 2:
            return f(x, *rest, **settings)
        return f(x.permute(0, 3, 1, 2), *rest, **settings).permute(0, 2, 3, 1)

    return there_and_back


# Convolutions


def around(padding, size=(0, 0), kernel=(0, 0), stride=1):
    """A padding as (top, bottom, left, right); "same" by the formula in the documentation of tf.nn."""
    sides = []
    for h, k, s in zip(size, kernel, both(stride), strict=True):
        total = max(k - s, 0) if h % s == 0 else max(k - h % s, 0)
        sides += [total // 2, total - total // 2]
    if padding == "same":
        return tuple(sides)
    padding = both(padding)
    return padding if len(padding) == 4 else (padding[0],) * 2 + (padding[1],) * 2


def spread_size(shape, kernel, *, stride=1, padding=0, output_padding=0):
    """Height and width of what a transposed convolution makes."""
    down_right = range(2)
    if padding == "same":
        return [shape[k + 1] * both(stride)[k] for k in down_right]
    pads = around(padding)
    whole = [(shape[k + 1] - 1) * both(stride)[k] + kernel[k] + both(output_padding)[k] for k in down_right]
    return [whole[k] - pads[2 * k] - pads[2 * k + 1] for k in down_right]


def conv(x, w, b=0.0, *, stride=1, padding=0, **_):
    pad = around(padding, x.shape[1:3], w.shape[:2], stride)
    return plain.window_sum(x, w, b, stride=both(stride), pad=pad)


def torch_conv(x, w, b=None, *, stride=1, padding=0, **_):
    pad = turned(around(padding, x.shape[1:3], w.shape[:2], stride))
    run = channels_first(lambda x: F.conv2d(F.pad(x, pad), w.permute(KERNEL).contiguous(), b, both(stride)))
    return run(x)


def conv_transpose(x, w, b=0.0, **settings):
    size = spread_size(x.shape, w.shape[:2], **settings)
    stride = settings.get("stride", 1)
    pad = around(settings.get("padding", 0), size, w.shape[:2], stride)
    return plain.window_spread(x, w, b, stride=both(stride), pad=pad, size=size)


def torch_transposed(x, w, b, **settings):
    """PyTorch's own, or where it cannot pad like that the gradient of its convolution for a larger image."""
    padding = settings.get("padding", 0)
    if padding != "same" and len(both(padding)) == 2:
        run = channels_first(lambda x: F.conv_transpose2d(x, w.permute(KERNEL).contiguous(), b, **settings))
        return run(x)
    size = spread_size(x.shape, w.shape[:2], **settings)
    image = torch.zeros(x.shape[0], *size, w.shape[2], dtype=x.dtype, requires_grad=True)
    return torch.autograd.grad(torch_conv(image, w, **settings), image, x, create_graph=True)[0] + b


def turned(pads):
    """(top, bottom, left, right) as PyTorch's pad takes it."""
    return (*pads[2:], *pads[:2])


# Norms


def standard(x, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps)


def layer_norm(x, gamma, beta, *, eps=1e-5):
    return np.stack([standard(sample, eps) for sample in x]) * gamma + beta


def instance_norm(x, gamma, beta, *, eps=1e-5):
    apart = [[standard(sample[..., c], eps) for c in range(x.shape[-1])] for sample in x]
    return np.stack([np.stack(channels, axis=-1) for channels in apart]) * gamma + beta


def torch_groups(groups):
    """Not PyTorch's instance_norm, whose second derivative for a single image is wrong (PyTorch 2.13)."""
    return channels_first(
        lambda x, gamma, beta, eps=1e-5: F.group_norm(x, groups or x.shape[1], gamma, beta, eps)
    )


def batch_norm_moved(x, gamma, beta, mean, variance, *, momentum=0.1, correction=1.0, **_):
    flat = x.reshape(-1, x.shape[-1])
    widened = flat.var(0) * len(flat) / (len(flat) - correction)
    return [mean + momentum * (flat.mean(0) - mean), variance + momentum * (widened - variance)]


BATCH_NORM = Math(
    lambda x, gamma, beta, *state, eps=1e-5, **_: plain.normalized(x, gamma, beta, eps=eps),
    channels_first(
        lambda x, gamma, beta, *state, eps=1e-5, **_: F.batch_norm(x, None, None, gamma, beta, True, eps=eps)
    ),
    lambda x, gamma, beta, mean, var, *, eps=1e-5, **_: (x - mean) / np.sqrt(var + eps) * gamma + beta,
    batch_norm_moved,
)


def karras(x, *, group=4, xp=np):
    """minibatch_stddev_layer of the paper's code, for the channels last."""
    group = min(group, len(x))
    y = x.reshape(group, -1, *x.shape[1:])
    y = xp.sqrt(((y - y.mean(0)) ** 2).mean(0) + 1e-8)
    each = xp.stack([xp.full_like(x[0][..., :1], 1.0) * sample.mean() for sample in y])
    return xp.concatenate([x, xp.concatenate([each] * group)], -1)


def spectral(kind, args, settings):
    """A layer whose weight is over its largest singular value: as a matrix, it has one column per unit."""
    inner, axis = MATH[kind], -2 if kind == "ConvTranspose2d" else -1

    def moved(x, w, b, u, v):
        matrix = np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])
        u = v @ matrix / np.linalg.norm(v @ matrix)
        return [u, matrix @ u / np.linalg.norm(matrix @ u)]

    def inference(x, w, b, u, v):
        matrix = np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])
        return inner.reference(x, w / (v @ matrix @ u), b, **settings)

    def twin(x, w, b, u, v):
        theirs = torch.nn.utils.parametrizations.spectral_norm(
            getattr(torch.nn, kind)(*args, **settings).double()
        )
        state = theirs.parametrizations.weight[0]
        state._u.copy_(u)
        # PyTorch has a unit's numbers as (i, kh, kw)
        state._v.copy_(v.reshape(*w.shape[:-2], -1).movedim(-1, 0).flatten())
        weight = (w.T if w.ndim == 2 else w.permute(KERNEL)).contiguous()
        values = {"parametrizations.weight.original": weight, "bias": b}
        return channels_first(lambda x: torch.func.functional_call(theirs, values, x))(x)

    return Math(lambda *xs: inference(*xs[:3], *moved(*xs)), twin, inference, moved)


# Others


def maxout(x, w, b, *, pieces):
    z = plain.linear(x, w, b)
    width = z.shape[1] // pieces
    return np.max([z[:, k * width : (k + 1) * width] for k in range(pieces)], axis=0)


def pool(take, name):
    def reference(x, *, size, stride=None):
        return plain.pooled(x, size=both(size), stride=both(stride or size), take=take)

    return Math(
        reference,
        channels_first(
            lambda x, size, stride=None: getattr(F, name)(x, both(size), both(stride) if stride else None)
        ),
    )


def same(f):
    """A function that NumPy and PyTorch write alike."""
    return Math(f, f)


MATH: dict[str, Math] = {
    "Linear": Math(lambda x, w, b=0.0, **_: plain.linear(x, w, b), lambda x, w, b=0.0, **_: x @ w + b),
    "Conv2d": Math(conv, torch_conv),
    "ConvTranspose2d": Math(conv_transpose, torch_transposed),
    "Maxout": Math(maxout, lambda x, w, b, pieces: (x @ w + b).unflatten(1, (pieces, -1)).amax(1)),
    "LeakyReLU": Math(
        lambda x, slope=0.01: plain.leaky(x, slope=slope), lambda x, slope=0.01: F.leaky_relu(x, slope)
    ),
    "ReLU": Math(lambda x: np.maximum(x, 0), lambda x: F.relu(x)),
    "Tanh": Math(lambda x: 1 - 2 / (np.exp(2 * x) + 1), lambda x: torch.tanh(x)),
    "Sigmoid": Math(plain.logistic, lambda x: torch.sigmoid(x)),
    "Activation": Math(
        lambda x, act: MATH[act.capitalize()].reference(x), lambda x, act: getattr(torch, act)(x)
    ),
    "Arctan": Math(lambda x: np.arctan2(x, np.ones_like(x)), lambda x: torch.arctan(x)),
    "Dropout": Math(None, inference=lambda x, rate: x),  # its masks are random: tests of its own
    "BatchNorm": BATCH_NORM,
    "LayerNorm": Math(layer_norm, torch_groups(1)),
    "InstanceNorm": Math(instance_norm, torch_groups(None)),
    "MinibatchStdDev": Math(karras, lambda x, **settings: karras(x, **settings, xp=torch)),
    "Embedding": Math(lambda x, w: np.stack([w[k] for k in x]), lambda x, w: F.embedding(x, w)),
    "MaxPool2d": pool(np.max, "max_pool2d"),
    "AvgPool2d": pool(np.mean, "avg_pool2d"),
    "Upsample2d": Math(
        lambda x, factor: np.kron(x, np.ones((1, *both(factor), 1))),
        channels_first(lambda x, factor: F.interpolate(x, scale_factor=both(factor), mode="nearest")),
    ),
    "Pad2d": Math(
        lambda x, padding, value=0.0: plain.bordered(x, pads=around(padding), value=value),
        channels_first(lambda x, padding, value=0.0: F.pad(x, turned(around(padding)), value=value)),
    ),
    "Crop2d": same(lambda x, h, w: x[:, :h, :w]),
    "Reshape": same(lambda x: x.reshape(5, 2, 3, 4)),
    "Flatten": same(lambda x: x.reshape(len(x), -1)),
    "Mean": same(lambda x: x.reshape(len(x), -1).mean(1)[:, None]),
}
