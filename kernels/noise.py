"""Noise on the CPU: Philox4x32-10 and Box-Muller, four numbers a block, the same bits as fastgan/random.py.

Every operation is a plain float32 or integer one in a fixed order (no fastmath, no contraction), so that every target
rounds alike. Words first, numbers from them next: each loop alone vectorises.
"""

import math

import numpy as np
from numba import float32, uint32, uint64

from fastgan.kernels.compiling import compiled, inlined
from fastgan.kernels.formulas import COS, LOG, M0, M1, SIN, W0, W1, one


def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds; uint32 words in and out."""
    for _ in range(10):
        p0 = uint64(c0) * uint64(M0)
        p1 = uint64(c2) * uint64(M1)
        c0 = uint32(uint32(p1 >> uint64(32)) ^ c1 ^ k0)
        c2 = uint32(uint32(p0 >> uint64(32)) ^ c3 ^ k1)
        c1 = uint32(p1)
        c3 = uint32(p0)
        k0 = uint32(k0 + uint32(W0))
        k1 = uint32(k1 + uint32(W1))
    return c0, c1, c2, c3


def box_muller(a, b):
    """Two independent normals from two words: radius from a, angle from b."""
    two = float32(2)
    x = float32((a >> uint32(8)) + uint32(1))
    shift = float32(0)
    if x < float32(2**12):
        x *= float32(2**12)
        shift += float32(12)
    if x < float32(2**18):
        x *= float32(2**6)
        shift += float32(6)
    if x < float32(2**21):
        x *= float32(2**3)
        shift += float32(3)
    if x < float32(2**22):
        x *= float32(4)
        shift += two
    if x < float32(2**23):
        x *= two
        shift += one
    x *= float32(2**-24)
    if x < float32(0.70710677):
        x *= two
        shift += one
    s = (x - one) / (x + one)
    q = s * s
    series = ((LOG[3] * q + LOG[2]) * q + LOG[1]) * q + LOG[0]
    log_x = two * s + two * s * (q * series)
    radius = math.sqrt(two * (shift * float32(0.6931472) - log_x))
    turns = (b >> uint32(8)) * uint32(4)  # 26 bits: quarter turn and what is left of it
    w = (float32(turns & uint32(0xFFFFFF)) * float32(2**-24) - float32(0.5)) * float32(1.5707964)
    q = w * w
    series = ((SIN[3] * q + SIN[2]) * q + SIN[1]) * q + SIN[0]
    sine = w + w * (q * series)
    series = (((COS[4] * q + COS[3]) * q + COS[2]) * q + COS[1]) * q + COS[0]
    cosine = one + q * series
    quarter = turns >> uint32(24)
    if quarter & uint32(1):
        cosine, sine = -sine, cosine
    if quarter >= uint32(2):
        cosine, sine = -cosine, -sine
    return radius * cosine, radius * sine


_philox = inlined(philox)
_box_muller = inlined(box_muller)


@compiled
def _bits(out, k0, k1, stream, low, high):
    for block in range(out.size // 4):
        a, b, c, d = _philox(uint32(block), low, high, stream, k0, k1)
        e = 4 * block
        out[e], out[e + 1], out[e + 2], out[e + 3] = a, b, c, d


@compiled
def _normal(words, out):
    for pair in range(out.size // 2):
        e = 2 * pair
        out[e], out[e + 1] = _box_muller(words[e], words[e + 1])
    if out.size % 2:
        e = out.size - 1
        out[e], _ = _box_muller(words[e], words[e + 1])


@compiled
def _uniform(words, out, scale, offset, top):
    for k in range(out.size):
        unit = float32(words[k] >> uint32(8)) * float32(2**-24)
        out[k] = min(unit * scale + offset, top)


def words(n, seed, stream, step):
    """At least n random words, up to a multiple of four; (4 * ceil(n / 4),) uint32."""
    out, step = np.empty(-(-n // 4) * 4, np.uint32), int(step)
    key_and_counter = seed, seed >> 32, stream, step, step >> 32
    _bits(out, *(np.uint32(x & 0xFFFFFFFF) for x in key_and_counter))
    return out


def fill_normal(out, *, seed, stream, step):
    """Fill a float32 array with N(0, 1) numbers."""
    if not 0 <= seed < 2**64:
        return NotImplemented
    _normal(words(out.size, seed, stream, step), out.reshape(-1))
    return None


def fill_uniform(out, *, seed, stream, step, low=0.0, high=1.0):
    """Fill a float32 array with numbers in [low, high)."""
    if not 0 <= seed < 2**64:
        return NotImplemented
    f = np.float32
    top = np.nextafter(f(high), f(low))
    _uniform(words(out.size, seed, stream, step), out.reshape(-1), f(high - low), f(low), top)
    return None
