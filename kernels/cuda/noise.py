"""Noise on CUDA: four numbers a thread, the same bits as fastgan/random.py.

No multiplication is fused with an addition here, as nothing is fused on the CPU; division and square root are IEEE's.
"""

import numpy as np
from numba import cuda, float32

from fastgan.kernels import noise
from fastgan.kernels.cuda.clock import count, high_word, low_word, number, of_words, uint32
from fastgan.kernels.cuda.launching import FLOAT, IN_LONGS, INT, LONG, OUT, WORD, Kernel, blocks, vectors
from fastgan.kernels.cuda.vector import inlined, st4

THREADS = 128
SEPARATELY = {"fma": False}  # every operation is rounded

philox = of_words(noise.philox)
_box_muller = of_words(noise.box_muller)


@inlined
def _store(out, k, size, wide, a, b, c, d):
    """Elements k to k + 3, as many as there are."""
    if wide != 0 and k + 3 < size:
        st4(out, k >> 2, a, b, c, d)
    else:
        out[k] = a
        if k + 1 < size:
            out[k + 1] = b
        if k + 2 < size:
            out[k + 2] = c
        if k + 3 < size:
            out[k + 3] = d


@inlined
def _unit(word, scale, offset, top):
    """A multiple of scale / 2**24 above offset; rounding may reach what `top` is just below."""
    x = float32(word >> uint32(8)) * float32(2**-24) * scale + offset
    return x if x < top else top


@inlined
def words(block, step, stream, k0, k1):
    """The four words of a block."""
    return philox(uint32(block), low_word(step), high_word(step), uint32(stream), uint32(k0), uint32(k1))


def normal(out, clock, times, plus, size, wide, stream, k0, k1):
    """Element e is made of the words of block e // 4."""
    block = cuda.grid(1)
    if 4 * block < size:
        a, b, c, d = words(block, number(clock, times, plus), stream, k0, k1)
        x0, x1 = _box_muller(a, b)
        x2, x3 = _box_muller(c, d)
        _store(out, 4 * block, size, wide, x0, x1, x2, x3)


def uniform(out, clock, times, plus, size, wide, stream, k0, k1, scale, offset, top):
    """Element e is word e % 4 of block e // 4."""
    block = cuda.grid(1)
    if 4 * block < size:
        a, b, c, d = words(block, number(clock, times, plus), stream, k0, k1)
        x0, x1 = _unit(a, scale, offset, top), _unit(b, scale, offset, top)
        x2, x3 = _unit(c, scale, offset, top), _unit(d, scale, offset, top)
        _store(out, 4 * block, size, wide, x0, x1, x2, x3)


_KINDS = (OUT, IN_LONGS, LONG, LONG, INT, INT, WORD, WORD, WORD)
NORMAL = Kernel(normal, _KINDS, block=THREADS)
UNIFORM = Kernel(uniform, (*_KINDS, FLOAT, FLOAT, FLOAT), block=THREADS)
KERNELS = (NORMAL, UNIFORM)
for _kernel in KERNELS:
    _kernel.options = SEPARATELY


def _fill(kernel, out, seed, stream, step, *more):
    if not 0 <= seed < 2**64 or out.size >= 2**31:
        return NotImplemented
    words = int(stream) & 0xFFFFFFFF, seed & 0xFFFFFFFF, seed >> 32
    grid = blocks(out.size, 4 * THREADS)
    kernel(grid, out, *count(step), out.size, int(vectors(out)), *words, *more)
    return None


def fill_normal(out, *, seed, stream, step):
    """Fill a float32 array with N(0, 1) numbers."""
    return _fill(NORMAL, out, seed, stream, step)


def fill_uniform(out, *, seed, stream, step, low=0.0, high=1.0):
    """Fill a float32 array with numbers in [low, high)."""
    f = np.float32
    return _fill(UNIFORM, out, seed, stream, step, f(high - low), f(low), np.nextafter(f(high), f(low)))
