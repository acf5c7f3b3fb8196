"""Random numbers as a function, not a state: Philox4x32-10 of (seed, stream, step, element).

The same call gives the same bits on NumPy, in the CPU kernel and on CuPy, whatever was drawn before; so resuming a run
needs no state, and a captured step only needs its step counter. Philox: Salmon, Moraes, Dror, Shaw,
"Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Normals use Box-Muller with polynomials in plain float32
arithmetic instead of the libraries' logarithm and sine, which differ in the last bit from one library to the next.

A `stream` names what the numbers are for, so that no two uses share them.
"""

from typing import Any

import numpy as np

from fastgan.clock import Count
from fastgan.device import Array, array_module, module_of
from fastgan.dispatch import Fusable
from fastgan.errors import UsageError
from fastgan.kernels.formulas import COS, LOG, M0, M1, SIN, W0, W1
from fastgan.kernels.formulas import Stream as Stream  # for all who draw

MASK = 0xFFFFFFFF


def philox(
    counter: tuple[Any, Any, Any, Any], key: tuple[int, int], *, rounds: int = 10
) -> tuple[Any, Any, Any, Any]:
    """Philox4x32: four uint64 arrays (or ints) that hold 32-bit words, and two key words, to four such arrays."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


def key_of(seed: int) -> tuple[int, int]:
    """The two key words of a seed; UsageError unless 0 <= seed < 2**64."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"got seed {seed}, wanted 0 <= seed < 2**64")
    return seed & MASK, seed >> 32


def _words(xp: Any, n: int, seed: int, stream: int, step: int | Count) -> tuple[Array, Array, Array, Array]:
    """Four arrays of ceil(n / 4) words: element e of the sequence is word e % 4 of block e // 4."""
    seed, stream, step = int(seed), int(stream), int(step)  # CuPy takes no subclasses of int, such as Stream
    block = xp.arange(-(-n // 4), dtype=xp.uint64)
    low, high = (xp.full_like(block, x) for x in (step & MASK, step >> 32))
    return philox((block, low, high, xp.full_like(block, stream)), key_of(seed))


def bits(n: int, *, seed: int, stream: int, step: int | Count, device: str = "cpu") -> Array:
    """n random 32-bit words; (n,) uint32."""
    xp = module_of(device)
    return xp.stack(_words(xp, n, seed, stream, step), axis=1).astype(xp.uint32).reshape(-1)[:n]


@Fusable
def fill_uniform(
    out: Array, *, seed: int, stream: int, step: int | Count, low: float = 0.0, high: float = 1.0
) -> None:
    """Fill a float32 array with multiples of (high - low) / 2**24 in [low, high), in place."""
    xp = array_module(out)
    words = xp.stack(_words(xp, out.size, seed, stream, step), axis=1).reshape(-1)[: out.size]
    unit = (words >> 8).astype(np.float32) * np.float32(2**-24)
    top = np.nextafter(np.float32(high), np.float32(low))  # rounding may reach `high`
    out[...] = xp.minimum(unit * np.float32(high - low) + np.float32(low), top).reshape(out.shape)


@Fusable
def fill_normal(out: Array, *, seed: int, stream: int, step: int | Count) -> None:
    """Fill a float32 array with independent N(0, 1) numbers, in place; |x| < 5.8."""
    xp = array_module(out)
    w = _words(xp, out.size, seed, stream, step)
    pairs = [*_box_muller(xp, w[0], w[1]), *_box_muller(xp, w[2], w[3])]
    out[...] = xp.stack(pairs, axis=1).reshape(-1)[: out.size].reshape(out.shape)


def _box_muller(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """Two independent normals from two words: radius from a, angle from b."""
    f = np.float32
    x = ((a >> 8) + 1).astype(f)  # 1 .. 2**24, exact
    shift = xp.zeros_like(x)
    for limit, factor, places in (
        (2**12, 2**12, 12),
        (2**18, 2**6, 6),
        (2**21, 2**3, 3),
        (2**22, 4, 2),
        (2**23, 2, 1),
    ):
        small = x < limit
        x = xp.where(small, x * f(factor), x)
        shift = xp.where(small, shift + f(places), shift)
    x = x * f(2**-24)  # in [1/2, 1]
    small = x < f(0.70710677)
    x = xp.where(small, x * f(2), x)
    shift = xp.where(small, shift + f(1), shift)
    s = (x - f(1)) / (x + f(1))
    log_x = f(2) * s + f(2) * s * (s * s * _horner(s * s, LOG))
    radius = xp.sqrt(f(2) * (shift * f(0.6931472) - log_x))
    quarter = ((b >> 8) * 4 >> 24).astype(np.int32)
    turn = (((b >> 8) * 4) & 0xFFFFFF).astype(f) * f(2**-24) - f(0.5)
    w = turn * f(1.5707964)
    sine = w + w * (w * w * _horner(w * w, SIN))
    cosine = f(1) + w * w * _horner(w * w, COS)
    odd = (quarter & 1) == 1
    c, d = xp.where(odd, -sine, cosine), xp.where(odd, cosine, sine)
    sign = xp.where(quarter >= 2, f(-1), f(1))
    return radius * (c * sign), radius * (d * sign)


def _horner(x: Array, coefficients: tuple[Any, ...]) -> Array:
    y: Any = np.float32(coefficients[-1])
    for c in coefficients[-2::-1]:
        y = y * x + np.float32(c)
    return y


def uniform(
    shape: tuple[int, ...],
    low: float = 0.0,
    high: float = 1.0,
    *,
    seed: int,
    stream: int,
    step: int | Count,
    device: str = "cpu",
) -> Array:
    """A new float32 array of numbers in [low, high)."""
    out = module_of(device).empty(shape, np.float32)
    fill_uniform(out, seed=seed, stream=stream, step=step, low=low, high=high)
    return out


def normal(
    shape: tuple[int, ...], *, seed: int, stream: int, step: int | Count, device: str = "cpu"
) -> Array:
    """A new float32 array of N(0, 1) numbers."""
    out = module_of(device).empty(shape, np.float32)
    fill_normal(out, seed=seed, stream=stream, step=step)
    return out


def integers(n: int, high: int, *, seed: int, stream: int, step: int | Count, device: str = "cpu") -> Array:
    """n integers in [0, high), int64, by multiply and shift: no value is likelier than another by over high / 2**32."""
    if not 0 < high <= 2**32:
        raise UsageError(f"integers: got high {high}, wanted 1 to 2**32")
    words = bits(n, seed=seed, stream=stream, step=step, device=device)
    return (words.astype(np.uint64) * np.uint64(high) >> np.uint64(32)).astype(np.int64)


def permutation(n: int, *, seed: int, stream: int, step: int | Count, device: str = "cpu") -> Array:
    """The numbers 0 .. n-1 in random order, int64: sorted by a random word each, ties by the number itself."""
    xp = module_of(device)
    words = bits(n, seed=seed, stream=stream, step=step, device=device).astype(np.uint64)
    return xp.argsort(words << np.uint64(32) | xp.arange(n, dtype=np.uint64)).astype(np.int64)


class Draws:
    """A sequence of draws from one stream on the CPU, for what is drawn once: first weights, held-out noise."""

    def __init__(self, seed: int, stream: int, step: int = 0) -> None:
        self.seed, self.stream, self.step = seed, stream, step

    def _next(self) -> int:
        self.step += 1
        return self.step - 1

    def normal(self, shape: tuple[int, ...]) -> Array:
        """The next N(0, 1) numbers."""
        return normal(shape, seed=self.seed, stream=self.stream, step=self._next())

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Array:
        """The next numbers in [low, high)."""
        return uniform(shape, low, high, seed=self.seed, stream=self.stream, step=self._next())
