"""Batches on CUDA: real samples gathered and scaled, fakes, and points between the two, in one launch; and the losses.

A block has a part of one sample's row and writes it as real, as fake and as mixed. Row numbers and shares are Philox
words, as in fastgan/random.py; products and sums are rounded apart, so the bits are the array code's.
"""

from numba import cuda, float32, int32, int64, uint32

from fastgan.kernels import batch as cpu
from fastgan.kernels.cuda.clock import count, divided, number
from fastgan.kernels.cuda.epilogues import LOADS, STORES, of_four, of_fours
from fastgan.kernels.cuda.launching import (
    FLOAT,
    IN,
    IN_LONGS,
    INOUT_LONGS,
    INT,
    LONG,
    OUT,
    WORD,
    Argument,
    Kernel,
    blocks,
    is_plain,
    vectors,
)
from fastgan.kernels.cuda.noise import SEPARATELY, words
from fastgan.kernels.cuda.vector import inlined

THREADS = 64  # each with four columns
REPLACEMENT, EPOCHS, SEQUENTIAL = range(3)
KINDS = {"replacement": REPLACEMENT, "epochs": EPOCHS, "sequential": SEQUENTIAL}
BATCH, EPSILON = cpu.BATCH, cpu.EPSILON
IN_WORDS, IN_BYTES = (Argument(kind, pointer=True, reads=True) for kind in ("uint32", "uint8"))

_word_below = inlined(cpu.word_below)
_word_unit = inlined(cpu.word_unit)


@inlined
def _word(r, step, stream, k0, k1):
    """Word r of a sequence."""
    a, b, c, d = words(r >> 2, step, stream, k0, k1)
    k = r & 3
    return a if k == 0 else b if k == 1 else c if k == 2 else d


@inlined
def _chosen(r, step, order, n, batch, per_epoch, slots, kind, k0, k1):
    """The row number of sample r, an int64 in [0, n)."""
    row = int64(0)
    if kind == REPLACEMENT:
        row = int64(_word_below(_word(r, step, BATCH, k0, k1), n))
    else:
        epoch, piece = divided(step, per_epoch)
        row = int64(piece) * batch + r
        if kind == EPOCHS:
            _, slot = divided(epoch, slots)
            row = order[int64(slot) * n + row]
    return int64(0) if row < 0 else int64(n - 1) if row >= n else row


@inlined
def _bytes_vector(p, row, column, height, width):
    """Four bytes of a row, which lie in one word."""
    a, b, c, d = float32(0), float32(0), float32(0), float32(0)
    if column < width:
        word = p[(row * width + column) >> 2]
        a, b = float32(word & uint32(255)), float32((word >> uint32(8)) & uint32(255))
        c, d = float32((word >> uint32(16)) & uint32(255)), float32((word >> uint32(24)) & uint32(255))
    return a, b, c, d


READS = {
    ("uint8", True): (IN_WORDS, _bytes_vector),
    ("uint8", False): (IN_BYTES, LOADS[False]),
    ("float32", True): (IN, LOADS[True]),
    ("float32", False): (IN, LOADS[False]),
}


_scaled = of_four(lambda x, scale, offset: x * scale + offset)
_between = of_fours(lambda real, fake, e: fake + e * (real - fake))


def _assemble(dtype, vector):
    """x = real samples, then those of `fake`, then with `mixed` points between: `batch` rows of f columns each."""
    _, read = READS[dtype, vector]
    load, store = LOADS[vector], STORES[vector]

    def assemble(
        x, rows, order, fake, clock, times, plus, n, batch, f, per_epoch, slots, kind, faked, mixed, k0, k1,
        scale, offset,
    ):  # fmt: skip
        column = 4 * cuda.grid(1)
        step = number(clock, times, plus)
        r = int32(cuda.blockIdx.y)
        while r < batch and column < f:
            row, e = _chosen(r, step, order, n, batch, per_epoch, slots, kind, k0, k1), float32(0)
            q = _scaled(read(rows, row, column, n, f), scale, offset)
            store(x, r, column, batch, f, q)
            if faked != 0:
                y = load(fake, r, column, batch, f)
                store(x, batch + r, column, 2 * batch, f, y)
                if mixed != 0:
                    e = _word_unit(_word(r, step, EPSILON, k0, k1))
                    store(x, 2 * batch + r, column, 3 * batch, f, _between(q, y, e))
            r += cuda.gridDim.y

    return assemble


def write_losses(ring, generator_loss, critic_loss, more, clock, times, plus, k, there, advances, scale):
    """A step's losses to its row of the ring, by one thread; a clock moves on."""
    step = number(clock, times, plus)
    _, row = divided(step, k)
    loss = critic_loss[0]
    if there != 0:
        loss += more[0]
    ring[2 * row], ring[2 * row + 1] = loss * scale, generator_loss[0]
    if advances != 0:
        clock[0] += 1


NUMBERS = IN_LONGS, LONG, LONG, *[INT] * 8, WORD, WORD, FLOAT, FLOAT
ASSEMBLE = {
    (dtype, wide): Kernel(
        _assemble(dtype, wide),
        (OUT, kind, IN_LONGS, IN, *NUMBERS),
        block=THREADS,
        name=f"assemble_{dtype}" + ("" if wide else "_scalar"),
        options=SEPARATELY,
    )
    for (dtype, wide), (kind, _) in READS.items()
}
NUMBERS = INOUT_LONGS, LONG, LONG, INT, INT, INT, FLOAT
RECORD = Kernel(write_losses, (OUT, IN, IN, IN, *NUMBERS), block=1, name="record")


def assemble(
    x, *, rows, batch, scale, offset, seed, update, sampling="replacement", order=None, fake=None, mixed=False
):
    """See fastgan.gan.batches.assemble."""
    if rows.ndim != 2 or str(rows.dtype) not in ("uint8", "float32") or not 0 <= seed < 2**64:
        return NotImplemented
    (n, f), parts = rows.shape, 1 + (fake is not None) + bool(mixed and fake is not None)
    kind = SEQUENTIAL if sampling == "epochs" and order is None else KINDS[sampling]
    slots = len(order) if kind == EPOCHS else 1
    if not is_plain(rows, (n, f), rows.dtype) or x.shape != (parts * batch, f):
        return NotImplemented
    if max(x.size, n) >= 2**31 or (kind != REPLACEMENT and not 0 < batch <= n):
        return NotImplemented
    if kind == EPOCHS and not (type(order) is type(x) and is_plain(order, (slots, n), "int64")):
        return NotImplemented
    if fake is not None and not is_plain(fake, (batch, f)):
        return NotImplemented
    wide = f % 4 == 0 and vectors(x, fake, rows)
    source = rows.view("uint32") if wide and rows.dtype == "uint8" else rows
    read = batch * f * rows.itemsize + 8 * batch * (kind == EPOCHS) + (0 if fake is None else fake.nbytes)
    ASSEMBLE[str(rows.dtype), wide](
        (blocks(f, 4 * THREADS), min(batch, 65535)),
        x,
        source,
        order if kind == EPOCHS else None,
        fake,
        *count(update),
        *(n, batch, f, max(n // batch, 1), slots, kind, int(parts > 1), int(parts > 2)),
        *(seed & 0xFFFFFFFF, seed >> 32, scale, offset),
        moved=(read, x.nbytes),
    )
    return None


def record(ring, generator_loss, critic_loss, *, step, more=None, scale=1.0, advance=False):
    """See fastgan.gan.step.record."""
    if ring.ndim != 2 or ring.shape[1] != 2 or generator_loss.size != 1 or critic_loss.size != 1:
        return NotImplemented
    if more is not None and not is_plain(more, more.shape):
        return NotImplemented
    clock, times, plus = count(step)
    advances = int(advance and clock is not None)
    moved = 8 + 4 * (more is not None) + 8 * (clock is not None), 8 + 8 * advances
    RECORD(
        1,
        *(ring, generator_loss, critic_loss, more, clock, times, plus),
        *(len(ring), int(more is not None), advances, scale),
        moved=moved,
    )
    return None
