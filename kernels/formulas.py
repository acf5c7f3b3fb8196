"""What both sides need and neither may copy: formulas of activations and scores, names, and the constants of Philox.

A formula is written once, in terms of `m`: NumPy or CuPy where it works on arrays, the functions of `scalars` where a
compiled loop or a CUDA body applies it to one number. A row added to a table here is known everywhere: to array code,
to the CPU's kernels and to CUDA's, where a row's number is its place in the table. This file imports nothing of ours.

Constants are float32 by name (`zero`, `one`, `half`): Numba widens a literal to float64, NumPy does not.
"""

import math
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from numpy import float32

zero, one, half = float32(0), float32(1), float32(0.5)


class Activation(NamedTuple):
    """An activation and its derivative, which is a function of the activation's output y; only "leaky" has a slope."""

    value: Callable[..., Any]  # (m, z, slope) -> y
    masked: Callable[..., Any]  # (m, g, y, slope) -> g times the derivative


ACTIVATIONS = {
    "leaky": Activation(  # slope 0 is ReLU, 1 nothing at all; 0 * inf would be NaN
        lambda m, z, slope: m.maximum(z, z * slope if slope else zero),
        lambda m, g, y, slope: m.where(y > zero, g, g * slope),
    ),
    "tanh": Activation(lambda m, z, slope: m.tanh(z), lambda m, g, y, slope: g * (one - y * y)),
    "sigmoid": Activation(lambda m, z, slope: m.sigmoid(z), lambda m, g, y, slope: g * y * (one - y)),
    "arctan": Activation(lambda m, z, slope: m.arctan(z), lambda m, g, y, slope: g * m.squared_cosine(y)),
}


class Score(NamedTuple):
    """A loss of one score s and its derivative; Tensor code has the formula too, with `fastgan.ops` as m."""

    formula: Callable[..., Any]  # (m, s) -> loss; of m only softplus and relu
    slope: Callable[..., Any]  # (m, s) -> derivative


SCORES = {
    "softplus(-s)": Score(lambda m, s: m.softplus(-s), lambda m, s: -m.sigmoid(-s)),
    "softplus(s)": Score(lambda m, s: m.softplus(s), lambda m, s: m.sigmoid(s)),
    "-softplus(s)": Score(lambda m, s: -m.softplus(s), lambda m, s: -m.sigmoid(s)),
    "(s - 1)^2 / 2": Score(lambda m, s: (s - one) * (s - one) * half, lambda m, s: s - one),
    "s^2 / 2": Score(lambda m, s: s * s * half, lambda m, s: s),
    "-s": Score(lambda m, s: -s, lambda m, s: -one),
    "s": Score(lambda m, s: s, lambda m, s: one),
    "max(0, 1 - s)": Score(lambda m, s: m.relu(one - s), lambda m, s: -m.step(one - s)),
    "max(0, 1 + s)": Score(lambda m, s: m.relu(one + s), lambda m, s: m.step(one + s)),
}
GRADIENT = "gradient"  # no loss but the seed of a gradient penalty: 1 for each row
KINDS = (*SCORES, GRADIENT)

LAST = float32(-1 / 39916800)  # of a sine's terms up to pi / 2
PI_2 = (
    float32(math.pi / 2),
    float32(math.pi / 2 - float(float32(math.pi / 2))),
)  # and what float32 leaves of it


def composed(m: Any) -> list[Callable[..., Any]]:
    """What formulas use and NumPy lacks, made of what it has."""

    def softplus(x):
        return m.maximum(x, zero) + m.log1p(m.exp(-m.absolute(x)))

    def sigmoid(x):
        e = m.exp(-m.absolute(x))  # never above 1, so nothing overflows
        return m.where(x >= zero, one, e) / (one + e)

    def relu(x):
        return m.maximum(x, zero)

    def step(x):
        return m.where(x > zero, one, zero)

    def squared_cosine(y):
        """Of |y| <= pi / 2; CUDA's own cosine would keep an array in slow memory for larger ones."""
        t = (PI_2[0] - m.absolute(y)) + PI_2[1]
        q = t * t
        series = ((LAST * q + SIN[3]) * q + SIN[2]) * q + SIN[1]
        sine = t + t * (q * (series * q + SIN[0]))
        return sine * sine

    return [softplus, sigmoid, relu, step, squared_cosine]


def _maximum(a, b):
    return a if a > b or a != a else b  # NaN stays NaN, which CUDA's own would drop


def _where(condition, a, b):
    return a if condition else b


def scalars(inlined: Callable[..., Any]) -> ModuleType:
    """`m` for one number, where `inlined` makes a function one that compiled code may call."""
    m = ModuleType("scalars")
    vars(m).update(absolute=abs, arctan=math.atan, exp=math.exp, log1p=math.log1p, tanh=math.tanh)
    vars(m).update(maximum=inlined(_maximum), where=inlined(_where))
    vars(m).update({function.__name__: inlined(function) for function in composed(m)})
    return m


@cache
def arrays(xp: Any) -> ModuleType:
    """`m` for arrays of a library, NumPy or CuPy."""
    m = ModuleType("arrays")
    names = ("absolute", "arctan", "exp", "log1p", "maximum", "tanh", "where")
    vars(m).update({name: getattr(xp, name) for name in names})
    vars(m).update({function.__name__: function for function in composed(m)})
    return m


def chosen(functions: list[Callable[..., Any]], inlined: Callable[..., Any], number: int = 0) -> Any:
    """One function for compiled code: chosen(k, ...) is the k-th function of (...), of the last for any other k."""
    first = functions[0]
    if len(functions) == 1:
        return inlined(lambda k, *x: first(*x))
    others = chosen(functions[1:], inlined, number + 1)

    def choose(k, *x):
        if k == number:
            return first(*x)
        return others(k, *x)

    return inlined(choose)


def scores(m: Any, inlined: Callable[..., Any]) -> list[Any]:
    """For each of KINDS a function for compiled code, from a score to its loss and the derivative."""

    def both(row):
        formula, slope = inlined(row.formula), inlined(row.slope)
        return inlined(lambda s: (formula(m, s), slope(m, s)))

    return [*map(both, SCORES.values()), inlined(lambda s: (zero, one))]


class Stream(IntEnum):
    """What a random number is for."""

    INIT = 0
    NOISE = 1
    BATCH = 2
    EPSILON = 3
    DROPOUT = 4
    SAMPLE = 5
    EPOCH = 6
    LABEL = 7
    HELD_OUT = 8


M0, M1 = 0xD2511F53, 0xCD9E8D57  # Philox: multipliers and Weyl increments of the paper
W0, W1 = 0x9E3779B9, 0xBB67AE85

# sin(w) and cos(w) for |w| <= pi / 4, and log((1 + s) / (1 - s)) for |s| <= 0.172: Taylor terms below half a unit in
# the last place of float32.
SIN = tuple(map(float32, (-1 / 6, 1 / 120, -1 / 5040, 1 / 362880)))
COS = tuple(map(float32, (-1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800)))
LOG = tuple(map(float32, (1 / 3, 1 / 5, 1 / 7, 1 / 9)))
