"""Optimiser updates on the CPU: one pass over a flat buffer, each array read and written once.

Adam moves 28 bytes per parameter, RMSProp and SGD 20; array code makes a dozen passes. Weight clipping and an average
of the weights happen in the same pass (the average adds 8 bytes).
"""

import numpy as np

from fastgan.kernels.compiling import compiled, inlined


def adam(p, g, m, v, rate, c1, c2, scale, eps):
    """One element of Adam: the new parameter and both moments; `rate` and `scale` carry the bias correction.

    c1 and c2 are 1 - beta, rounded once: 1 - float32(0.999) would be wrong in the fifth digit.
    """
    m = m + c1 * (g - m)
    v = v + c2 * (g * g - v)
    return p - rate * m / (np.sqrt(v) * scale + eps), m, v


def rmsprop(p, g, v, lr, c, eps):
    """One element of RMSProp: the new parameter and mean square; c is 1 - alpha."""
    v = v + c * (g * g - v)
    return p - lr * g / (np.sqrt(v) + eps), v


def sgd(p, g, m, lr, momentum):
    """One element of gradient descent with momentum: the new parameter and the momentum's sum."""
    m = m * momentum + g
    return p - lr * m, m


def clipped(p, clip):
    """p kept in [-clip, clip]."""
    return min(max(p, -clip), clip)


_adam_element = inlined(adam)
_rmsprop_element = inlined(rmsprop)
_sgd_element = inlined(sgd)
_clipped = inlined(clipped)


@compiled
def _adam(p, g, m, v, rate, c1, c2, scale, eps, shrink, clip):
    for k in range(p.size):
        q, m[k], v[k] = _adam_element(p[k] * shrink, g[k], m[k], v[k], rate, c1, c2, scale, eps)
        p[k] = _clipped(q, clip)


@compiled
def _rmsprop(p, g, v, lr, c, eps, clip):
    for k in range(p.size):
        q, v[k] = _rmsprop_element(p[k], g[k], v[k], lr, c, eps)
        p[k] = _clipped(q, clip)


@compiled
def _sgd(p, g, m, lr, momentum, clip):
    for k in range(p.size):
        q, m[k] = _sgd_element(p[k], g[k], m[k], lr, momentum)
        p[k] = _clipped(q, clip)


@compiled
def _follow(average, p, share):
    for k in range(p.size):
        average[k] += share * (p[k] - average[k])


def _in_pieces(loop, arrays, settings, average, follow):
    """The loop over pieces that stay in a cache until the average has seen them."""
    if average is None:
        loop(*arrays, *settings)
        return
    share = np.float32(follow)
    for start in range(0, arrays[0].size, PIECE):
        piece = [x[start : start + PIECE] for x in arrays]
        loop(*piece, *settings)
        _follow(average[start : start + PIECE], piece[0], share)


PIECE = 16384  # parameters: 64 KB of each array, which the second-level cache holds


def adam_update(p, g, m, v, *, lr, t, b1, b2, eps, decay=0.0, clip=0.0, average=None, follow=0.0):
    """One Adam step in place on p, m and v, all flat; see fastgan.optim.adam_update."""
    lr, t = float(lr), int(t)
    rate, scale = lr / (1 - b1**t), (1 - b2**t) ** -0.5
    settings = rate, 1 - b1, 1 - b2, scale, eps, 1 - lr * decay, clip or np.inf
    _in_pieces(_adam, (p, g, m, v), [np.float32(x) for x in settings], average, follow)


def rmsprop_update(p, g, v, *, lr, alpha, eps, clip=0.0, average=None, follow=0.0):
    """One RMSProp step in place on p and v, both flat; see fastgan.optim.rmsprop_update."""
    settings = float(lr), 1 - alpha, eps, clip or np.inf
    _in_pieces(_rmsprop, (p, g, v), [np.float32(x) for x in settings], average, follow)


def sgd_update(p, g, m, *, lr, momentum, clip=0.0, average=None, follow=0.0):
    """One step of gradient descent in place on p and m, both flat; see fastgan.optim.sgd_update."""
    settings = float(lr), momentum, clip or np.inf
    _in_pieces(_sgd, (p, g, m), [np.float32(x) for x in settings], average, follow)
