"""The script that `fastgan export` writes: export.py puts in the title, the constants, and the generator.

What stands for those here is that of no run. Functions that the generator does not call are left out. The latents are
those of fastgan.random at step 0 of Stream.SAMPLE, the picture is that of pictures.image_grid.
"""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

LATENT, NORMAL, STREAM, CLASSES = 1, True, 0, 0
SHAPE, LOW, HIGH, POINTS = (1, 1, 1), -1.0, 1.0, 1
ROWS, COLUMNS, ZOOM, GAP = 5, 5, 1, 2


def latents(seed: Any, n: int) -> Any:
    """n rows of LATENT numbers, normal by Box and Muller or in [-1, 1): a function of the seed by Philox4x32-10."""
    low = 0xFFFFFFFF
    a: Any = np.arange(-(-n * LATENT // 4), dtype=np.uint64)
    b, c, d = 0 * a, 0 * a, 0 * a + np.uint64(STREAM)
    for k in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        key = (seed + k * 0x9E3779B9) & low, ((seed >> 32) + k * 0xBB67AE85) & low
        a, b, c, d = (q >> 32) ^ b ^ key[0], q & low, (p >> 32) ^ d ^ key[1], p & low
    u = np.stack([a, b, c, d], axis=1).reshape(-1, 2) >> 8
    z: Any = u / 2**23 - 1
    if NORMAL:
        radius, angle = np.sqrt(-2 * np.log((u[:, 0] + 1) / 2**24)), (u[:, 1] / 2**23 - 0.25) * np.pi
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return z.reshape(-1)[: n * LATENT].reshape(n, LATENT).astype(np.float32)


def pad(x: Any, pads: Any, value: float = 0) -> Any:
    """Images (n, h, w, c) with `pads` more rows and columns above, below, left and right."""
    return np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)), constant_values=value)


def windows(x: Any, size: Any, stride: Any) -> Any:
    """All windows of (n, h, w, c); (n, oh, ow, *size, c)."""
    x = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return np.moveaxis(x[:, :: stride[0], :: stride[1]], 3, 5)


def conv(x: Any, kernel: Any, stride: Any, pads: Any, size: Any) -> Any:
    """Convolution of (n, h, w, c) with (kh, kw, c, o): each tap meets its pixel of all windows at once."""
    x, (h, w, _), (down, right), taps = pad(x, pads), size, stride, np.ndindex(kernel.shape[:2])
    return sum(x[:, i:, j:][:, : h * down : down, : w * right : right] @ kernel[i, j] for i, j in taps)


def conv_transpose(x: Any, kernel: Any, stride: Any, corner: Any, size: Any) -> Any:
    """Transposed convolution of (n, h, w, c) with (kh, kw, o, c): each pixel adds its kernel to a window."""
    (n, h, w, _), (kh, kw, o, _), (down, right), (top, left) = x.shape, kernel.shape, stride, corner
    y = np.zeros((n, h * down + kh, w * right + kw, o), np.float32)
    for i, j in np.ndindex(kh, kw):
        y[:, i : i + h * down : down, j : j + w * right : right] += x @ kernel[i, j].T
    return y[:, top : top + size[0], left : left + size[1]]


def generator(*_: Any) -> Any:
    """Samples of latents."""


def picture(x: Any) -> bytes:
    """A PNG file: images (n, h, w, c), LOW black and HIGH white, in ROWS of COLUMNS between grey lines."""
    x = np.clip((x - LOW) / (HIGH - LOW), 0, 1)
    if x.shape[3] == 4:  # the fourth channel says how opaque a pixel is
        x = x[..., :3] * x[..., 3:] + 1 - x[..., 3:]
    x = (x * 255 + 0.5).astype(np.uint8).repeat(ZOOM, axis=1).repeat(ZOOM, axis=2)
    x = np.pad(x, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=48)
    _, h, w, c = x.shape
    x = x.reshape(ROWS, COLUMNS, h, w, c).swapaxes(1, 2).reshape(ROWS * h, COLUMNS * w, c)
    x = np.pad(x, ((0, GAP), (0, GAP), (0, 0)), constant_values=48)
    head = struct.pack(">2I5B", x.shape[1], x.shape[0], 8, 0 if c == 1 else 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in x))
    chunks = [b"IHDR" + head, b"IDAT" + body, b"IEND"]
    framed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def main() -> None:
    """Draw with the numbers behind the script's name, or those that it asks for."""
    wanted = "a seed from 0 to 2**64 - 1" + f", and a label from 0 to {CLASSES - 1}" * (CLASSES > 0)
    try:
        seed, *labels = map(int, sys.argv[1:] or input("a number: ").split())
        if seed not in range(2**64) or labels[1:] or not {*labels} <= {*range(CLASSES)}:
            raise ValueError(f"wanted {wanted}")
        weights = dict(np.load(Path(__file__).with_name("generator.npz")))
    except Exception as error:
        usage = "python sample.py SEED" + " [LABEL]" * (CLASSES > 0)
        sys.exit(f"usage: {usage}, with generator.npz beside sample.py ({error})")
    images = len(SHAPE) == 3
    given = [labels or range(CLASSES)] if CLASSES else []
    x = generator(latents(seed, ROWS * COLUMNS if images else POINTS), *given, weights)
    target = "-".join([f"sample-seed{seed}", *(f"label{k}" for k in labels)]) + (".png" if images else ".csv")
    if images:
        Path(target).write_bytes(picture(x))
    else:
        np.savetxt(target, x, fmt="%.6g", delimiter=",")
    print(target)


if __name__ == "__main__":
    main()
