"""Dense layers on the CPU: the products are BLAS's; what stands around them is one pass each.

NumPy's tanh and exp work on whole vectors and beat a compiled loop over the C library's (26 and 3 times as fast at 64 x
256), so what calls them is in FASTER. Column sums take four rows at a time: half the additions to memory, and half the
error, of array code.

Shapes: `n` batch, `i` features in, `o` features out.
"""

import numpy as np
from numba import float32

from fastgan.kernels.compiling import compiled, for_each_activation, scalars
from fastgan.kernels.formulas import ACTIVATIONS, one, zero
from fastgan.kernels.splitting import edges, split

LEAST = 1 << 20  # multiplications that are worth a thread
ELEMENTS = 1 << 17  # of a pass over memory that are
value, masked = ACTIVATIONS["leaky"]  # in a loop for each activation, its own


@for_each_activation
def _biased(y, b, slope):
    """A bias and an activation over rows (n, o), in place."""
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            y[r, c] = value(scalars, y[r, c] + b[c], slope)


@for_each_activation
def _masked(g, y, slope, out):
    for k in range(g.size):
        out[k] = masked(scalars, g[k], y[k], slope)


@for_each_activation
def _mask(g, y, slope):
    """In place. `_masked` with one array as g and out takes three times as long: the compiler gives up vectors then."""
    for k in range(g.size):
        g[k] = masked(scalars, g[k], y[k], slope)


@compiled
def _sigmoid(z, e):
    """The sigmoid of z in place, where e is exp(-|z|)."""
    for k in range(z.size):
        z[k] = (e[k] if z[k] < zero else one) / (one + e[k])


def _sigmoid_in_passes(y):
    e = np.abs(y)
    np.exp(np.negative(e, out=e), out=e)
    _sigmoid(y.reshape(-1), e.reshape(-1))


FASTER = {  # activations in place that NumPy's vectors do faster than a loop
    "tanh": lambda y: np.tanh(y, out=y),
    "sigmoid": _sigmoid_in_passes,
    "arctan": lambda y: np.arctan(y, out=y),
}


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
    if n * i * o < 2 * LEAST:  # to ask for the threads takes as long as a small product
        return np.matmul(x, w, out=out)
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
    """Whether kernels take an activation: one of the table, and a leaky one that is the larger of z and slope * z."""
    return act in ACTIVATIONS and 0 <= slope <= 1


def finish(y, b, act, slope):
    """act(y + b) over rows (n, o), in place."""
    if act in FASTER:
        _biased["leaky"](y, b, one)
        FASTER[act](y)
    else:
        _biased[act](y, b, np.float32(slope))


def mask(u, a, act, slope):
    """u times the derivative of the activation that made a, in place; both C-contiguous, of one shape."""
    if (act, slope) != ("leaky", 1):
        _mask[act](u.reshape(-1), a.reshape(-1), np.float32(slope))


def forward(x, w, b, *, act="leaky", slope=1.0):
    """act(x @ w + b), see fastgan.ops.dense.linear."""
    fits = x.ndim == 2 and w.ndim == 2 and x.shape[1] == w.shape[0] and b.shape == w.shape[1:]
    if not fits or not is_activation(act, slope):
        return NotImplemented
    y = multiply(x, w)
    finish(y, b, act, slope)
    return y


def activation_grad(g, y, *, act="leaky", slope=0.2, out=None):
    """See fastgan.ops.elementwise.activation_grad; g and y of one shape."""
    if g.shape != y.shape or act not in ACTIVATIONS or (out is not None and not is_place(out, *g.shape)):
        return NotImplemented
    out, slope = np.empty_like(g) if out is None else out, np.float32(slope)
    flat, outputs, places = g.reshape(-1), y.reshape(-1), out.reshape(-1)

    def some(first, last):
        piece = slice(first, last)
        if out is g:
            _mask[act](flat[piece], outputs[piece], slope)
        else:
            _masked[act](flat[piece], outputs[piece], slope, places[piece])

    split(some, g.size, least=ELEMENTS)
    return out


def _sums_fit(a, v, gw, gb):
    """Whether a^T v goes into gw, and the sum of v's rows into gb."""
    fits = a.ndim == 2 and v.ndim == 2 and len(a) == len(v)
    return fits and is_place(gw, a.shape[1], v.shape[1]) and is_place(gb, v.shape[1])


def backward(v, a, w, *, act="leaky", slope=1.0, gw=None, gb=None, dx=True):
    """A layer's backward pass, see fastgan.ops.dense.linear_backward."""
    fits = v.ndim == 2 and a.ndim == 2 and len(a) == len(v) and w.shape == (a.shape[1], v.shape[1])
    if not fits or act not in ACTIVATIONS or (gw is not None and not _sums_fit(a, v, gw, gb)):
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


def tangent(p, w, a, *, act="leaky", slope=0.2, out=None):
    """(p @ w) times a derivative, see fastgan.ops.dense.masked_forth; `out` may be a."""
    if p.ndim != 2 or w.ndim != 2 or p.shape[1] != w.shape[0] or a.shape != (p.shape[0], w.shape[1]):
        return NotImplemented
    if act not in ACTIVATIONS or (out is not None and not is_place(out, *a.shape)):
        return NotImplemented
    product = multiply(p, w)
    mask(product, a, act, slope)
    if out is None:
        return product
    out[...] = product
    return out
