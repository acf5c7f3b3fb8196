"""Noise on CUDA: four numbers a thread, the same bits as fastgan/random.py.

No multiplication is fused with an addition here, as nothing is fused on the CPU; division and square root are IEEE's.
"""

import numpy as np
from numba import cuda, float32, uint32

from fastgan.kernels import noise
from fastgan.kernels.cuda.clock import count, number
from fastgan.kernels.cuda.epilogues import STORES, of_four
from fastgan.kernels.cuda.launching import FLOAT, IN_LONGS, INT, LONG, OUT4, WORD, Wide, blocks
from fastgan.kernels.cuda.vector import inlined

THREADS = 128
SEPARATELY = {"fma": False}  # every operation is rounded

philox = inlined(noise.philox)
_box_muller = inlined(noise.box_muller)


@of_four
def _unit(word, scale, offset, top):
    """A multiple of scale / 2**24 above offset; rounding may reach what `top` is just below."""
    x = float32(word >> uint32(8)) * float32(2**-24) * scale + offset
    return x if x < top else top


@inlined
def words(block, step, stream, k0, k1):
    """The four words of a block."""
    return philox(uint32(block), uint32(step), uint32(step >> 32), uint32(stream), uint32(k0), uint32(k1))


def _normal(wide):
    """Element e is made of the words of block e // 4."""
    store = STORES[wide]

    def normal(out, clock, times, plus, size, stream, k0, k1):
        block = cuda.grid(1)
        a, b, c, d = words(block, number(clock, times, plus), stream, k0, k1)
        x0, x1 = _box_muller(a, b)
        x2, x3 = _box_muller(c, d)
        store(out, 0, 4 * block, 1, size, (x0, x1, x2, x3))

    return normal


def _uniform(wide):
    """Element e is word e % 4 of block e // 4."""
    store = STORES[wide]

    def uniform(out, clock, times, plus, size, stream, k0, k1, scale, offset, top):
        block = cuda.grid(1)
        four = words(block, number(clock, times, plus), stream, k0, k1)
        store(out, 0, 4 * block, 1, size, _unit(four, scale, offset, top))

    return uniform


_KINDS = OUT4, IN_LONGS, LONG, LONG, INT, WORD, WORD, WORD
_SETTINGS = {"block": THREADS, "options": SEPARATELY}
NORMAL = Wide(_normal, _KINDS, name="normal", **_SETTINGS)
UNIFORM = Wide(_uniform, (*_KINDS, FLOAT, FLOAT, FLOAT), name="uniform", **_SETTINGS)


def _fill(kernel, out, seed, stream, step, *more):
    if not 0 <= seed < 2**64 or out.size >= 2**31:
        return NotImplemented
    words = int(stream) & 0xFFFFFFFF, seed & 0xFFFFFFFF, seed >> 32
    grid = blocks(out.size, 4 * THREADS)
    kernel(grid, out, *count(step), out.size, *words, *more, sizes=(out.size,))
    return None


def fill_normal(out, *, seed, stream, step):
    """Fill a float32 array with N(0, 1) numbers."""
    return _fill(NORMAL, out, seed, stream, step)


def fill_uniform(out, *, seed, stream, step, low=0.0, high=1.0):
    """Fill a float32 array with numbers in [low, high)."""
    f = np.float32
    return _fill(UNIFORM, out, seed, stream, step, f(high - low), f(low), np.nextafter(f(high), f(low)))
