"""What every op computes, in plain NumPy, written another way than the op: the two are not to share a mistake."""

from typing import Any

import numpy as np

Values = Any  # a NumPy array


def leaky(x: Values, *, slope: float = 0.2) -> Values:
    return np.where(x > 0, x, slope * x)


def linear(x: Values, w: Values, b: Values) -> Values:
    return np.einsum("ni,io->no", x, w) + b


def logistic(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


def normalized(x: Values, gamma: Values, beta: Values, *, eps: float = 1e-5) -> Values:
    flat = x.reshape(-1, x.shape[-1])
    return (((flat - flat.mean(0)) / np.sqrt(flat.var(0) + eps)) * gamma + beta).reshape(x.shape)


def window_sum(
    x: Values, w: Values, b: Values | float = 0.0, *, stride: Any, pad: Any, slope: float = 1.0
) -> Values:
    """A convolution, output by output."""
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    kh, kw, _, o = w.shape
    down, right = (x.shape[1] - kh) // stride[0] + 1, (x.shape[2] - kw) // stride[1] + 1
    y = np.zeros((len(x), down, right, o))
    for i, j in np.ndindex(down, right):
        part = x[:, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw]
        y[:, i, j] = np.einsum("nyxc,yxco->no", part, w)
    return leaky(y + b, slope=slope)


def window_spread(
    v: Values, w: Values, b: Values | float = 0.0, *, stride: Any, pad: Any, size: Any, slope: float = 1.0
) -> Values:
    """Its transpose: each input spread over a window."""
    kh, kw, c, _ = w.shape
    y = np.zeros((len(v), size[0] + sum(pad[:2]), size[1] + sum(pad[2:]), c))
    for i, j in np.ndindex(*v.shape[1:3]):
        part = np.einsum("no,yxco->nyxc", v[:, i, j], w)
        y[:, i * stride[0] : i * stride[0] + kh, j * stride[1] : j * stride[1] + kw] += part
    return leaky(y[:, pad[0] : pad[0] + size[0], pad[2] : pad[2] + size[1]] + b, slope=slope)


def window_products(x: Values, v: Values, *, stride: Any, pad: Any, kernel: Any) -> Values:
    """The weight's gradient, tap by tap."""
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    out = np.zeros((*kernel, x.shape[3], v.shape[3]))
    for i, j in np.ndindex(*kernel):
        rows = slice(i, i + stride[0] * (v.shape[1] - 1) + 1, stride[0])
        columns = slice(j, j + stride[1] * (v.shape[2] - 1) + 1, stride[1])
        out[i, j] = np.einsum("nyxc,nyxo->co", x[:, rows, columns], v)
    return out


def windows(x: Values, *, kernel: Any, stride: Any, pad: Any) -> Values:
    x = np.pad(x, ((0, 0), pad[:2], pad[2:], (0, 0)))
    every = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.einsum("nijcyx->nijyxc", every).reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def windows_back(cols: Values, *, shape: Any, kernel: Any, stride: Any, pad: Any) -> Values:
    """Through the matrix of `windows`, column by column."""
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    matrix = np.stack([windows(u, kernel=kernel, stride=stride, pad=pad) for u in units])
    return np.einsum("irk,rk->i", matrix, cols).reshape(shape)


def window_starts(x: Values, size: Any, stride: Any) -> list[tuple[Any, ...]]:
    """Sample, row and column of every window, and the corner where it begins."""
    down, right = (x.shape[1] - size[0]) // stride[0] + 1, (x.shape[2] - size[1]) // stride[1] + 1
    places = np.ndindex(len(x), down, right)
    return [(n, i, j, i * stride[0], j * stride[1]) for n, i, j in places]


def pooled(x: Values, *, size: Any, stride: Any, take: Any = np.max) -> Values:
    every = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return take(every, axis=(4, 5))


def pooled_back(g: Values, x: Values, *, size: Any, stride: Any) -> Values:
    out = np.zeros(x.shape)
    for n, i, j, top, left in window_starts(x, size, stride):
        for c in range(x.shape[3]):
            part = x[n, top : top + size[0], left : left + size[1], c]
            row, column = np.unravel_index(part.argmax(), part.shape)
            out[n, top + row, left + column, c] += g[n, i, j, c]
    return out


def picked(gg: Values, x: Values, *, size: Any, stride: Any) -> Values:
    """Through the matrix of `pooled_back`, column by column."""
    shape = pooled(x, size=size, stride=stride).shape
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.stack([(pooled_back(u, x, size=size, stride=stride) * gg).sum() for u in units]).reshape(shape)


def bordered(x: Values, *, pads: Any, value: float = 0.0) -> Values:
    return np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=value)


def entropy(s: Values, t: Values) -> Values:
    p = logistic(s)
    return np.asarray(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
