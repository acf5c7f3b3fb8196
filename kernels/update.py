"""Optimiser updates on the CPU: one pass over a flat buffer, each array read and written once.

Adam moves 28 bytes per parameter, RMSProp 20; array code makes a dozen passes.
`clip` > 0 keeps the weights in [-clip, clip] in the same pass.
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
    """One element of RMSProp: the new parameter and mean square; c is 1 - decay."""
    v = v + c * (g * g - v)
    return p - lr * g / (np.sqrt(v) + eps), v


def clipped(p, clip):
    """p kept in [-clip, clip]."""
    return min(max(p, -clip), clip)


_adam_element = inlined(adam)
_rmsprop_element = inlined(rmsprop)
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


def adam_update(p, g, m, v, *, rate, b1, b2, scale, eps, shrink=1.0, clip=0.0):
    """One Adam step in place on p, m and v, all flat; see fastgan.optim.adam_update."""
    f = np.float32
    _adam(p, g, m, v, f(rate), f(1 - b1), f(1 - b2), f(scale), f(eps), f(shrink), f(clip or np.inf))


def rmsprop_update(p, g, v, *, lr, decay, eps, clip=0.0):
    """One RMSProp step in place on p and v, both flat; see fastgan.optim.rmsprop_update."""
    f = np.float32
    _rmsprop(p, g, v, f(lr), f(1 - decay), f(eps), f(clip or np.inf))
