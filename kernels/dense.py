"""Linear + LeakyReLU on the CPU: the GEMM is BLAS's; bias and activation are one pass over its result.

Shapes: `n` batch, `i` features in, `o` features out.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined


def leaky(z, slope):
    """z where positive, slope * z elsewhere."""
    return z if z > float32(0) else slope * z if slope else float32(0)  # 0 * inf would be NaN


_leaky = inlined(leaky)


@compiled
def _bias_leaky(y, b, slope):
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            y[r, c] = _leaky(y[r, c] + b[c], slope)


@compiled
def _leaky_grad(g, y, slope, out):
    for k in range(g.size):
        out[k] = g[k] if y[k] > float32(0) else slope * g[k]


def linear_leaky_relu(x, w, b, *, slope=0.2):
    """leaky_relu(x @ w + b); (n, i), (i, o), (o,) -> (n, o)."""
    if (
        x.ndim != 2
        or w.ndim != 2
        or x.shape[1] != w.shape[0]
        or b.shape != w.shape[1:]
        or not 0 <= slope <= 1
    ):
        return NotImplemented
    y = np.matmul(x, w)
    _bias_leaky(y, b, np.float32(slope))
    return y


def leaky_relu_grad(g, y, *, slope):
    """g where y > 0, slope * g elsewhere; g and y of one shape."""
    if g.shape != y.shape:
        return NotImplemented
    out = np.empty_like(g)
    _leaky_grad(g.reshape(-1), y.reshape(-1), np.float32(slope), out.reshape(-1))
    return out
