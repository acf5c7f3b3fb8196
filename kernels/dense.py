"""Dense layers on the CPU: the products are BLAS's; what stands around them is one pass each.

Shapes: `n` batch, `i` features in, `o` features out.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined


def leaky(z, slope):
    """z where positive, slope * z elsewhere."""
    return z if z > float32(0) else slope * z if slope else float32(0)  # 0 * inf would be NaN


def leaky_slope(g, y, slope):
    """g where the activation's output y is positive, slope * g elsewhere."""
    return g if y > float32(0) else slope * g


_leaky = inlined(leaky)
_leaky_slope = inlined(leaky_slope)


@compiled
def _bias_leaky(y, b, slope):
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            y[r, c] = _leaky(y[r, c] + b[c], slope)


@compiled
def _leaky_grad(g, y, slope, out):
    for k in range(g.size):
        out[k] = _leaky_slope(g[k], y[k], slope)


@compiled
def _tanh_grad(g, y, out):
    for k in range(g.size):
        out[k] = g[k] * (float32(1) - y[k] * y[k])


@compiled
def _column_sums(v, rows, out):
    for c in range(out.size):
        out[c] = float32(0)
    for r in range(rows):
        for c in range(out.size):
            out[c] += v[r, c]


def _is_layer(x, w, b):
    """Whether x (n, i), w (i, o), b (o,) fit one another."""
    return x.ndim == 2 and w.ndim == 2 and x.shape[1] == w.shape[0] and b.shape == w.shape[1:]


def forward(x, w, b, *, act="leaky", slope=1.0):
    """act(x @ w + b), see fastgan.ops.passes.forward."""
    if not _is_layer(x, w, b) or not 0 <= slope <= 1 or act == "sigmoid":
        return NotImplemented
    y = np.matmul(x, w)
    _bias_leaky(y, b, np.float32(slope if act == "leaky" else 1))
    return np.tanh(y, out=y) if act == "tanh" else y


def linear(x, w, b):
    """x @ w + b; (n, i), (i, o), (o,) -> (n, o)."""
    return forward(x, w, b)


def linear_leaky_relu(x, w, b, *, slope=0.2):
    """leaky_relu(x @ w + b); (n, i), (i, o), (o,) -> (n, o)."""
    return forward(x, w, b, slope=slope)


def leaky_relu_grad(g, y, *, slope):
    """g where y > 0, slope * g elsewhere; g and y of one shape."""
    if g.shape != y.shape:
        return NotImplemented
    out = np.empty_like(g)
    _leaky_grad(g.reshape(-1), y.reshape(-1), np.float32(slope), out.reshape(-1))
    return out


def backward(v, a, w, *, act="leaky", slope=1.0, gw=None, gb=None, dx=True):
    """A layer's backward pass, see fastgan.ops.passes.backward."""
    if (
        v.ndim != 2
        or a.ndim != 2
        or len(a) != len(v)
        or w.shape != (a.shape[1], v.shape[1])
        or act == "sigmoid"
    ):
        return NotImplemented
    if gw is not None:
        np.matmul(a.T, v, out=gw)
        _column_sums(v, len(v), gb)
    if not dx:
        return None
    u = v * w.reshape(-1) if w.shape[1] == 1 else np.matmul(v, w.T)  # BLAS is slow at outer products
    _masked(u, a, act, slope)
    return u


def _masked(u, a, act, slope):
    """u times the derivative of the activation that made a, in place."""
    flat = u.reshape(-1)
    if act == "tanh":
        _tanh_grad(flat, a.reshape(-1), flat)
    elif slope != 1:
        _leaky_grad(flat, a.reshape(-1), np.float32(slope), flat)


def weight_gradients(a, v, *, gw, gb, rows):
    """a^T v and the sum of v's first rows, see fastgan.ops.passes.weight_gradients."""
    if v.ndim != 2 or a.ndim != 2 or len(a) != len(v):
        return NotImplemented
    np.matmul(a.T, v, out=gw)
    _column_sums(v, min(rows, len(v)), gb)
    return None


def tangent(p, w, a, *, slope):
    """(p @ w) times a derivative, written over a, see fastgan.ops.passes.tangent."""
    if p.ndim != 2 or w.ndim != 2 or p.shape[1] != w.shape[0] or a.shape != (p.shape[0], w.shape[1]):
        return NotImplemented
    product = np.matmul(p, w)
    _leaky_grad(product.reshape(-1), a.reshape(-1), np.float32(slope), a.reshape(-1))
    return None
