"""Batches on the CPU: real samples gathered and scaled, fakes, and points between the two, in one pass over the result.

The row numbers and the shares are Philox words, as in fastgan/random.py; products and sums are rounded apart: the same
bits as array code.
"""

import numpy as np
from numba import float32, uint32, uint64

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.dense import is_place
from fastgan.kernels.formulas import Stream
from fastgan.kernels.noise import words

BATCH, EPSILON = int(Stream.BATCH), int(Stream.EPSILON)  # Numba takes no subclasses of int


def word_below(word, n):
    """A whole number in [0, n) of a random word: multiply and shift."""
    return uint64(uint64(word) * uint64(n)) >> uint64(32)


def word_unit(word):
    """A number in [0, 1) of a random word."""
    return float32(word >> uint32(8)) * float32(2**-24)


_word_below = inlined(word_below)
_word_unit = inlined(word_unit)


@compiled
def _below(words, n, out):
    for r in range(out.size):
        out[r] = _word_below(words[r], n)


@compiled
def _gather(rows, chosen, scale, offset, x):
    for r in range(chosen.size):
        row = chosen[r]
        for c in range(rows.shape[1]):
            x[r, c] = float32(rows[row, c]) * scale + offset


@compiled
def _mix(x, batch, words):
    for r in range(batch):
        e = _word_unit(words[r])
        for c in range(x.shape[1]):
            real, fake = x[r, c], x[batch + r, c]
            x[2 * batch + r, c] = fake + e * (real - fake)


def _chosen(n, batch, seed, update, sampling, order):
    """The row numbers of a batch, (batch,) int64 in [0, n); None where array code has to say what is wrong."""
    if sampling == "replacement":
        if n > 2**32:
            return None
        numbers = np.empty(batch, np.int64)
        _below(words(batch, seed, BATCH, update), n, numbers)
        return numbers
    if batch > n:
        return None
    epoch, piece = divmod(update, n // batch)
    if order is None:
        return np.arange(piece * batch, (piece + 1) * batch)
    if not isinstance(order, np.ndarray) or order.dtype != np.int64 or order.shape != (len(order), n):
        return None
    line = np.ascontiguousarray(order[epoch % len(order), piece * batch : (piece + 1) * batch])
    return line if line.min() >= 0 and line.max() < n else None


def assemble(
    x, *, rows, batch, scale, offset, seed, update, sampling="replacement", order=None, fake=None, mixed=False
):
    """See fastgan.gan.batches.assemble."""
    fits = (
        isinstance(rows, np.ndarray) and rows.dtype in (np.uint8, np.float32) and rows.ndim == 2 and rows.size
    )
    if not fits or not rows.flags.c_contiguous or not 0 <= seed < 2**64 or batch < 1:
        return NotImplemented
    update, parts, f = int(update), 1 + (fake is not None) + bool(mixed), rows.shape[1]
    if not is_place(x, parts * batch, f) or (fake is None and mixed) or not 0 <= update < 2**64:
        return NotImplemented
    if fake is not None and not (fake.dtype == x.dtype and fake.shape == (batch, f)):
        return NotImplemented
    chosen = _chosen(len(rows), batch, seed, update, sampling, order)
    if chosen is None:
        return NotImplemented
    _gather(rows, chosen, np.float32(scale), np.float32(offset), x)
    if fake is not None:
        x[batch : 2 * batch] = fake
    if mixed:
        _mix(x, batch, words(batch, seed, EPSILON, update))
    return None
