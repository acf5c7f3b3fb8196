"""Dense layers on the CPU: the products are BLAS's; what stands around them is one pass each.

NumPy's tanh and exp work on whole vectors and beat a compiled loop over the C library's (26 and 3 times as fast at 64 x
256), so only what surrounds them is compiled. Column sums take four rows at a time: half the additions to memory, and
half the error, of array code.

Shapes: `n` batch, `i` features in, `o` features out.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.splitting import edges, split

LEAST = 1 << 20  # multiplications that are worth a thread
ELEMENTS = 1 << 17  # of a pass over memory that are
ACTS = ("leaky", "tanh", "sigmoid")


def leaky(z, slope):
    """z where positive, slope * z elsewhere; NaN stays NaN."""
    return z if not z <= float32(0) else slope * z if slope else float32(0)  # 0 * inf would be NaN


def leaky_slope(g, y, slope):
    """g where the activation's output y is positive, slope * g elsewhere."""
    return g if y > float32(0) else slope * g


_leaky = inlined(leaky)
_leaky_slope = inlined(leaky_slope)


@compiled
def bias_leaky(y, b, slope):
    """A bias and a LeakyReLU over rows (n, o), in place."""
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            y[r, c] = _leaky(y[r, c] + b[c], slope)


@compiled
def _leaky_all(y, slope):
    for k in range(y.size):
        y[k] = _leaky(y[k], slope)


@compiled
def _sigmoid(z, e):
    """The sigmoid of z in place, where e is exp(-|z|)."""
    one = float32(1)
    for k in range(z.size):
        z[k] = (e[k] if z[k] < float32(0) else one) / (one + e[k])


@compiled
def _leaky_grad(g, y, slope, out):
    for k in range(g.size):
        out[k] = _leaky_slope(g[k], y[k], slope)


@compiled
def _tanh_grad(g, y, out):
    for k in range(g.size):
        out[k] = g[k] * (float32(1) - y[k] * y[k])


@compiled
def _sigmoid_grad(g, y, out):
    for k in range(g.size):
        out[k] = g[k] * y[k] * (float32(1) - y[k])


@compiled
def _column_sums(v, rows, out):
    for c in range(out.size):
        out[c] = float32(0)
    first = rows - rows % 4
    for r in range(0, first, 4):
        for c in range(out.size):
            out[c] += (v[r, c] + v[r + 1, c]) + (v[r + 2, c] + v[r + 3, c])
    for r in range(first, rows):
        for c in range(out.size):
            out[c] += v[r, c]


def multiply(x, w, out=None):
    """x @ w by BLAS, where splitting is on by rows or columns of the result, whichever are more."""
    (n, i), o = x.shape, w.shape[1]
    least = 1 + LEAST * max(n, o) // (n * i * o)
    if len(edges(max(n, o), least=least)) == 2:
        return np.matmul(x, w, out=out)
    y = np.empty((n, o), np.float32) if out is None else out

    def some(first, last):
        piece = slice(first, last)
        if n >= o:
            np.matmul(x[piece], w, out=y[piece])
        else:
            np.matmul(x, w[:, piece], out=y[:, piece])

    split(some, max(n, o), least=least)
    return y


def matmul(x, w, *, out=None):
    """x @ w, see fastgan.tape.arithmetic.product."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
        return NotImplemented
    if out is not None and not is_place(out, len(x), w.shape[1]):
        return NotImplemented
    return multiply(x, w, out)


def is_place(x, *shape):
    """Whether a kernel may write to x, given by name: a writeable C-contiguous float32 array of this shape."""
    return (
        isinstance(x, np.ndarray)
        and x.dtype == np.float32
        and x.shape == shape
        and x.flags.c_contiguous
        and x.flags.writeable
    )


def is_activation(act, slope):
    """Whether kernels take an activation: one of ACTS, and a leaky one that is the larger of z and slope * z."""
    return act in ACTS and 0 <= slope <= 1


def activate(y, act, slope):
    """An activation of ACTS, in place on a C-contiguous array."""
    if act == "tanh":
        np.tanh(y, out=y)
    elif act == "sigmoid":
        e = np.abs(y)
        np.exp(np.negative(e, out=e), out=e)
        _sigmoid(y.reshape(-1), e.reshape(-1))
    elif slope != 1:
        _leaky_all(y.reshape(-1), np.float32(slope))


def mask(u, a, act, slope):
    """u times the derivative of the activation that made a, in place; both C-contiguous, of one shape."""
    if act != "leaky" or slope != 1:
        _mask(u.reshape(-1), a.reshape(-1), act, slope, u.reshape(-1))


def _mask(g, y, act, slope, out):
    if act == "tanh":
        _tanh_grad(g, y, out)
    elif act == "sigmoid":
        _sigmoid_grad(g, y, out)
    else:
        _leaky_grad(g, y, np.float32(slope), out)


def forward(x, w, b, *, act="leaky", slope=1.0):
    """act(x @ w + b), see fastgan.ops.dense.linear."""
    fits = x.ndim == 2 and w.ndim == 2 and x.shape[1] == w.shape[0] and b.shape == w.shape[1:]
    if not fits or not is_activation(act, slope):
        return NotImplemented
    y = multiply(x, w)
    bias_leaky(y, b, np.float32(slope if act == "leaky" else 1))
    if act != "leaky":
        activate(y, act, slope)
    return y


def activation_grad(g, y, *, act="leaky", slope=0.2):
    """See fastgan.ops.elementwise.activation_grad; g and y of one shape."""
    if g.shape != y.shape or act not in ACTS:
        return NotImplemented
    out = np.empty_like(g)
    flat, outputs, places = g.reshape(-1), y.reshape(-1), out.reshape(-1)
    split(lambda a, b: _mask(flat[a:b], outputs[a:b], act, slope, places[a:b]), g.size, least=ELEMENTS)
    return out


def _sums_fit(a, v, gw, gb):
    """Whether a^T v goes into gw, and the sum of v's rows into gb."""
    fits = a.ndim == 2 and v.ndim == 2 and len(a) == len(v)
    return fits and is_place(gw, a.shape[1], v.shape[1]) and is_place(gb, v.shape[1])


def backward(v, a, w, *, act="leaky", slope=1.0, gw=None, gb=None, dx=True):
    """A layer's backward pass, see fastgan.ops.dense.linear_backward."""
    fits = v.ndim == 2 and a.ndim == 2 and len(a) == len(v) and w.shape == (a.shape[1], v.shape[1])
    if not fits or act not in ACTS or (gw is not None and not _sums_fit(a, v, gw, gb)):
        return NotImplemented
    if gw is not None:
        multiply(a.T, v, gw)
        _column_sums(v, len(v), gb)
    if not dx:
        return None
    u = v * w.reshape(-1) if w.shape[1] == 1 else multiply(v, w.T)  # BLAS is slow at outer products
    mask(u, a, act, slope)
    return u


def weight_gradients(a, v, *, gw, gb, rows):
    """a^T v and the sum of v's first rows, see fastgan.ops.dense.weight_gradients."""
    if not _sums_fit(a, v, gw, gb) or rows < 0:
        return NotImplemented
    multiply(a.T, v, gw)
    _column_sums(v, min(rows, len(v)), gb)
    return None


def tangent(p, w, a, *, slope):
    """(p @ w) times a derivative, written over a, see fastgan.ops.dense.tangent."""
    if p.ndim != 2 or w.ndim != 2 or p.shape[1] != w.shape[0] or a.shape != (p.shape[0], w.shape[1]):
        return NotImplemented
    product = multiply(p, w)
    flat = a.reshape(-1)
    _leaky_grad(product.reshape(-1), flat, np.float32(slope), flat)
    return None
