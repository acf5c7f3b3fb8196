"""What the tests of the CUDA kernels in Numba's simulator share: arrays, and the rule for how far off is right."""

import numpy as np


def draw(seed, *shape):
    """Numbers in [-1, 1), none of them near 0, where an activation has its kink."""
    x = np.random.default_rng(seed).uniform(-1, 1, shape)
    return (np.sign(x) * (0.05 + 0.95 * abs(x))).astype(np.float32)


def precise(call, *arrays, **settings):
    """What array code gives in float64: arrays among the operands and settings are widened (copies)."""

    def wide(x):
        return x.astype(np.float64) if isinstance(x, np.ndarray) else x

    return call(*map(wide, arrays), **{key: wide(x) for key, x in settings.items()})


def assert_as_good(got, plain, exact):
    """`got` is off by at most twice the array code's own error against float64, plus 1e-6."""
    assert got.shape == plain.shape
    assert got.dtype == np.float32
    allowed = 2 * np.abs(plain - exact).max(initial=0) + 1e-6
    assert np.abs(got - exact).max(initial=0) <= allowed


def flat_views(*shapes, value=np.nan):
    """Views of these shapes into one flat float32 buffer, each on 128 bytes, as gradients lie; and the buffer."""
    starts, end = [], 0
    for shape in shapes:
        starts.append(end)
        end += -(-int(np.prod(shape)) // 32) * 32
    flat = np.full(end, value, np.float32)
    views = [flat[k : k + int(np.prod(s))].reshape(s) for k, s in zip(starts, shapes, strict=True)]
    return views, flat


def off_by_four(x):
    """A copy of x that starts 4 bytes after a multiple of 16, so that no 16-byte access fits."""
    room = np.empty(x.size + 8, x.dtype)
    start = (4 - room.ctypes.data // 4 % 4) % 4 + 1
    copy = room[start : start + x.size].reshape(x.shape)
    copy[...] = x
    return copy
