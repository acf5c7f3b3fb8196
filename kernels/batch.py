"""Batches on the CPU: real samples gathered and scaled, fakes, and points between the two, in one pass over the result.

The row numbers and the shares are Philox words, as in fastgan/random.py: four of a block, and the same bits.
"""

import numpy as np
from numba import float32, uint32, uint64

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.noise import philox

BATCH, EPSILON = 2, 3  # fastgan.random.Stream
KINDS = ("replacement", "epochs", "sequential")

_philox = inlined(philox)


def word_below(word, n):
    """A whole number in [0, n) of a random word: multiply and shift."""
    return uint64(uint64(word) * uint64(n)) >> uint64(32)


def word_unit(word):
    """A number in [0, 1) of a random word."""
    return float32(word >> uint32(8)) * float32(2**-24)


_word_below = inlined(word_below)
_word_unit = inlined(word_unit)


@compiled
def _word(r, k0, k1, stream, low, high):
    """Word r of a sequence."""
    words = _philox(uint32(r // 4), low, high, uint32(stream), k0, k1)
    return words[r % 4]


@compiled
def _chosen(n, batch, kind, first, order, k0, k1, low, high, out):
    """The row numbers of a batch; `first` is where its piece begins, in `order` or in the rows themselves."""
    for r in range(batch):
        if kind == 0:
            out[r] = _word_below(_word(r, k0, k1, BATCH, low, high), n)
        else:
            out[r] = order[first + r] if kind == 1 else first + r


@compiled
def _gather(rows, chosen, scale, offset, x):
    for r in range(chosen.size):
        row = chosen[r]
        for c in range(rows.shape[1]):
            x[r, c] = float32(rows[row, c]) * scale + offset


@compiled
def _mix(x, batch, k0, k1, low, high):
    for r in range(batch):
        e = _word_unit(_word(r, k0, k1, EPSILON, low, high))
        for c in range(x.shape[1]):
            real, fake = x[r, c], x[batch + r, c]
            x[2 * batch + r, c] = fake + e * (real - fake)


def assemble(
    x,
    *,
    rows,
    batch,
    scale,
    offset,
    seed,
    update,
    sampling="replacement",
    order=None,
    fake=None,
    mixed=False,
):
    """See fastgan.data.assemble."""
    mixed = mixed and fake is not None
    kinds = 1 + (fake is not None) + mixed
    fits = rows.dtype in (np.uint8, np.float32) and rows.flags.c_contiguous and rows.ndim == 2
    if not fits or not 0 <= seed < 2**64 or x.shape != (kinds * batch, rows.shape[1]):
        return NotImplemented
    update = int(update)
    n, words = len(rows), tuple(np.uint32(w & 0xFFFFFFFF) for w in (seed, seed >> 32, update, update >> 32))
    epoch, piece = divmod(update, n // batch)
    chosen = np.empty(batch, np.int64)
    epochs = sampling == "epochs" and order is not None
    line = order[epoch % len(order)] if epochs else chosen
    kind = KINDS.index(sampling) if sampling != "epochs" or epochs else 2
    _chosen(n, batch, kind, piece * batch, line, *words, chosen)
    _gather(rows, chosen, np.float32(scale), np.float32(offset), x)
    if fake is not None:
        x[batch : 2 * batch] = fake
    if mixed:
        _mix(x, batch, *words)
    return None
