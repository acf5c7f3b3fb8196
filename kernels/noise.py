"""Noise on the CPU: Philox4x32-10 and Box-Muller, four numbers a block, the same bits as fastgan/random.py.

Every operation is a plain float32 or integer one in a fixed order (no fastmath, no contraction), so that every target
rounds alike.
"""

import numpy as np
from numba import float32, uint32, uint64

from fastgan.kernels.compiling import compiled, inlined

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85


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
    one, two = float32(1), float32(2)
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
    series = ((float32(1 / 9) * q + float32(1 / 7)) * q + float32(1 / 5)) * q + float32(1 / 3)
    log_x = two * s + two * s * (q * series)
    radius = np.sqrt(two * (shift * float32(0.6931472) - log_x))
    turns = (b >> uint32(8)) * uint32(4)  # 26 bits: quarter turn and what is left of it
    w = (float32(turns & uint32(0xFFFFFF)) * float32(2**-24) - float32(0.5)) * float32(1.5707964)
    q = w * w
    series = ((float32(1 / 362880) * q + float32(-1 / 5040)) * q + float32(1 / 120)) * q + float32(-1 / 6)
    sine = w + w * (q * series)
    series = (float32(-1 / 3628800) * q + float32(1 / 40320)) * q + float32(-1 / 720)
    series = (series * q + float32(1 / 24)) * q + float32(-1 / 2)
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
def _normal(out, k0, k1, stream, low, high):
    n = out.size
    for block in range((n + 3) // 4):
        a, b, c, d = _philox(uint32(block), low, high, stream, k0, k1)
        x0, x1 = _box_muller(a, b)
        x2, x3 = _box_muller(c, d)
        e = 4 * block
        out[e] = x0
        if e + 1 < n:
            out[e + 1] = x1
        if e + 2 < n:
            out[e + 2] = x2
        if e + 3 < n:
            out[e + 3] = x3


@compiled
def _uniform(out, k0, k1, stream, low, high, scale, offset, top):
    n = out.size
    for block in range((n + 3) // 4):
        words = _philox(uint32(block), low, high, stream, k0, k1)
        for j in range(min(4, n - 4 * block)):
            unit = float32(words[j] >> uint32(8)) * float32(2**-24)
            out[4 * block + j] = min(unit * scale + offset, top)


def _words(seed, stream, step):
    step = int(step)
    split = (seed, seed >> 32, stream, step, step >> 32)
    return tuple(np.uint32(x & 0xFFFFFFFF) for x in split)


def fill_normal(out, *, seed, stream, step):
    """Fill a float32 array with N(0, 1) numbers."""
    if not 0 <= seed < 2**64:
        return NotImplemented
    _normal(out.reshape(-1), *_words(seed, stream, step))
    return None


def fill_uniform(out, *, seed, stream, step, low=0.0, high=1.0):
    """Fill a float32 array with numbers in [low, high)."""
    if not 0 <= seed < 2**64:
        return NotImplemented
    f = np.float32
    _uniform(
        out.reshape(-1), *_words(seed, stream, step), f(high - low), f(low), np.nextafter(f(high), f(low))
    )
    return None
