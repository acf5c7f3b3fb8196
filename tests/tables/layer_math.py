"""What every layer computes, written out in plain NumPy.

Functions take a batch, then a layer's parameters and its state, in the layer's own order, and its settings by name.
Images are NHWC and weights (kh, kw, i, o). What PyTorch has too is as there, or as TensorFlow's "same".
"""

from typing import Any, NamedTuple

import numpy as np

from tables import op_references as plain


class Math(NamedTuple):
    """A layer's output; where they differ, its output when it does not train, and what becomes of its state when it
    does."""

    reference: Any
    inference: Any = None
    moved: Any = None


def both(value):
    """A setting for both directions."""
    return (value, value) if isinstance(value, int) else value


def around(padding, size=(0, 0), kernel=(0, 0), stride=1):
    """A padding as (top, bottom, left, right); "same" by the formula in the documentation of tf.nn."""
    if padding == "same":
        needed = [max(k - (h % s or s), 0) for h, k, s in zip(size, kernel, both(stride), strict=True)]
        return tuple(part for total in needed for part in (total // 2, total - total // 2))
    padding = both(padding)
    return padding if len(padding) == 4 else (padding[0],) * 2 + (padding[1],) * 2


def conv(x, w, b=0.0, *, stride=1, padding=0, **_):
    pad = around(padding, x.shape[1:3], w.shape[:2], stride)
    return plain.window_sum(x, w, b, stride=both(stride), pad=pad)


def conv_transpose_size(shape, kernel, *, stride=1, padding=0, output_padding=0):
    """Height and width of what a transposed convolution makes of images and a weight of these shapes."""
    stride, more, (h, v) = both(stride), both(output_padding), shape[1:3]
    if padding == "same":
        return h * stride[0], v * stride[1]
    top, bottom, left, right = around(padding)
    down = (h - 1) * stride[0] + kernel[0] + more[0] - top - bottom
    return down, (v - 1) * stride[1] + kernel[1] + more[1] - left - right


def conv_transpose(x, w, b=0.0, *, stride=1, padding=0, **more):
    size = conv_transpose_size(x.shape, w.shape, stride=stride, padding=padding, **more)
    pad = around(padding, size, w.shape[:2], stride)
    return plain.window_spread(x, w, b, stride=both(stride), pad=pad, size=size)


def standard(x, eps):
    return (x - x.mean()) / np.sqrt(x.var() + eps)


def layer_norm(x, gamma, beta, *, eps=1e-5):
    return np.stack([standard(sample, eps) for sample in x]) * gamma + beta


def instance_norm(x, gamma, beta, *, eps=1e-5):
    apart = [[standard(sample[..., c], eps) for c in range(x.shape[-1])] for sample in x]
    return np.stack([np.stack(channels, axis=-1) for channels in apart]) * gamma + beta


def batch_norm_moved(x, gamma, beta, mean, variance, *, momentum=0.1, correction=1.0, **_):
    flat = x.reshape(-1, x.shape[-1])
    widened = flat.var(0) * len(flat) / (len(flat) - correction)
    return [mean + momentum * (flat.mean(0) - mean), variance + momentum * (widened - variance)]


def karras(x, *, group=4):
    """minibatch_stddev_layer of the paper's code, for the channels last."""
    group = min(group, len(x))
    y = x.reshape(group, -1, *x.shape[1:])
    y = np.sqrt(((y - y.mean(0)) ** 2).mean(0) + 1e-8)
    each = np.stack([np.full_like(x[0][..., :1], sample.mean()) for sample in y])
    return np.concatenate([x, np.concatenate([each] * group)], -1)


def spectral(kind, settings):
    """A layer whose weight is over its largest singular value: as a matrix, it has one column per unit."""
    axis = -2 if kind == "ConvTranspose2d" else -1

    def matrix(w):
        return np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])

    def moved(x, w, b, u, v):
        u = v @ matrix(w) / np.linalg.norm(v @ matrix(w))
        return [u, matrix(w) @ u / np.linalg.norm(matrix(w) @ u)]

    def inference(x, w, b, u, v):
        return MATH[kind].reference(x, w / (v @ matrix(w) @ u), b, **settings)

    return Math(lambda *xs: inference(*xs[:3], *moved(*xs)), inference, moved)


def maxout(x, w, b, *, pieces):
    return np.max(np.split(plain.linear(x, w, b), pieces, axis=1), axis=0)


def pool(take):
    def reference(x, *, size, stride=None):
        return plain.pooled(x, size=both(size), stride=both(stride or size), take=take)

    return Math(reference)


MATH: dict[str, Math] = {
    "Linear": Math(lambda x, w, b=0.0, **_: plain.linear(x, w, b)),
    "Conv2d": Math(conv),
    "ConvTranspose2d": Math(conv_transpose),
    "Maxout": Math(maxout),
    "LeakyReLU": Math(lambda x, slope=0.01: plain.leaky(x, slope=slope)),
    "ReLU": Math(lambda x: np.maximum(x, 0)),
    "Tanh": Math(lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    "Sigmoid": Math(plain.logistic),
    "Activation": Math(lambda x, act: MATH[act.capitalize()].reference(x)),
    "Arctan": Math(lambda x: np.arctan2(x, np.ones_like(x))),
    "Dropout": Math(None, lambda x, rate: x),  # its masks are random: tests of its own
    "BatchNorm": Math(
        lambda x, gamma, beta, *state, eps=1e-5, **_: plain.normalized(x, gamma, beta, eps=eps),
        lambda x, gamma, beta, mean, var, *, eps=1e-5, **_: (x - mean) / np.sqrt(var + eps) * gamma + beta,
        batch_norm_moved,
    ),
    "LayerNorm": Math(layer_norm),
    "InstanceNorm": Math(instance_norm),
    "MinibatchStdDev": Math(karras),
    "Embedding": Math(lambda x, w: np.stack([w[k] for k in x])),
    "MaxPool2d": pool(np.max),
    "AvgPool2d": pool(np.mean),
    "Upsample2d": Math(lambda x, factor: np.kron(x, np.ones((1, *both(factor), 1)))),
    "Pad2d": Math(lambda x, padding, value=0.0: plain.bordered(x, pads=around(padding), value=value)),
    "Crop2d": Math(lambda x, h, w: x[:, :h, :w]),
    "Reshape": Math(lambda x: x.reshape(5, 2, 3, 4)),
    "Flatten": Math(lambda x: x.reshape(len(x), -1)),
    "Mean": Math(lambda x: x.reshape(len(x), -1).mean(1)[:, None]),
}
