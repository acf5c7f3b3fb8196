"""What every op computes, in plain NumPy, written another way than the op: the two are not to share a mistake."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Values = Any  # a NumPy array


def leaky(x, *, slope=0.2):
    return np.where(x > 0, x, slope * x)


def linear(x, w, b):
    return np.einsum("ni,io->no", x, w) + b


def logistic(x):
    return 1 / (1 + np.exp(-x))


def normalized(x, gamma, beta, *, eps=1e-5):
    flat = x.reshape(-1, x.shape[-1])
    return (((flat - flat.mean(0)) / np.sqrt(flat.var(0) + eps)) * gamma + beta).reshape(x.shape)


def entropy(s, t):
    p = logistic(s)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()


def adjoint(f, g, shape):
    """The adjoint at g of a linear function of arrays of a shape: through its matrix, column by column."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.array([(f(unit) * g).sum() for unit in units]).reshape(shape)


def taps(x, kernel, stride, pad=(0, 0, 0, 0)):
    """The windows of images; (n, h, w, c) -> (n, down, right, c, *kernel)."""
    every = sliding_window_view(bordered(x, pads=pad), kernel, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1]]


def bordered(x, *, pads, value=0.0):
    return np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=value)


def window_sum(x, w, b=0.0, *, stride, pad, slope=1.0):
    """A convolution."""
    return leaky(np.einsum("nijcyx,yxco->nijo", taps(x, w.shape[:2], stride, pad), w) + b, slope=slope)


def window_spread(v, w, b=0.0, *, stride, pad, size, slope=1.0):
    """Its transpose."""
    back = adjoint(lambda x: window_sum(x, w, stride=stride, pad=pad), v, (len(v), *size, w.shape[2]))
    return leaky(back + b, slope=slope)


def window_products(x, v, *, stride, pad, kernel):
    """The weight's gradient."""
    return adjoint(lambda w: window_sum(x, w, stride=stride, pad=pad), v, (*kernel, x.shape[3], v.shape[3]))


def windows(x, *, kernel, stride, pad):
    every = np.einsum("nijcyx->nijyxc", taps(x, kernel, stride, pad))
    return every.reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def windows_back(cols, *, shape, **lie):
    return adjoint(lambda x: windows(x, **lie), cols, shape)


def pooled(x, *, size, stride, take=np.max):
    return take(taps(x, size, stride), axis=(4, 5))


def picked(gg, x, *, size, stride):
    """What gg has where x has each window's first largest element."""
    shape = *pooled(x, size=size, stride=stride).shape, -1
    there, values = (taps(a, size, stride).reshape(shape) for a in (x, gg))
    return np.take_along_axis(values, there.argmax(-1)[..., None], -1)[..., 0]


def pooled_back(g, x, **by):
    return adjoint(lambda gg: picked(gg, x, **by), g, x.shape)
