"""The pieces of the script that `fastgan export` writes, but the network, which export.py writes.

The pieces are text to be read: what differs between scripts stands in the constants of the opening, and in the network.
The latents are those of fastgan.random at step 0 of Stream.SAMPLE, the picture is that of pictures.image_grid.
"""

from fastgan.random import Stream

WEIGHTS, SCRIPT = "generator.npz", "sample.py"
ROWS, COLUMNS, GAP, WIDEST = 5, 5, 2, 700  # as in `fastgan sample`

_WORDS = f'''
def latents(seed, n):
    """n rows of LATENT DISTRIBUTION, a function of the seed."""
    low, zeros = 0xFFFFFFFF, np.zeros(-(-n * LATENT // 4), np.uint64)
    a, b, c, d = np.arange(len(zeros), dtype=np.uint64), zeros, zeros, zeros + np.uint64({Stream.SAMPLE})
    for k in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        key = (seed + k * 0x9E3779B9) & low, ((seed >> 32) + k * 0xBB67AE85) & low
        a, b, c, d = (q >> 32) ^ b ^ key[0], q & low, (p >> 32) ^ d ^ key[1], p & low
'''
NORMAL = f"""{_WORDS.replace("DISTRIBUTION", "normal numbers by Philox4x32-10 and Box and Muller")}\
    u = np.stack([a, b, c, d], axis=1).reshape(-1, 2) >> 8
    radius, angle = np.sqrt(-2 * np.log((u[:, 0] + 1) / 2**24)), (u[:, 1] / 2**23 - 0.25) * np.pi
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return z.reshape(-1)[: n * LATENT].reshape(n, LATENT).astype(np.float32)
"""
UNIFORM = f"""{_WORDS.replace("DISTRIBUTION", "numbers in [-1, 1), by Philox4x32-10")}\
    z = (np.stack([a, b, c, d], axis=1) >> 8) / 2**23 - 1
    return z.reshape(-1)[: n * LATENT].reshape(n, LATENT).astype(np.float32)
"""

FUNCTIONS = {  # that a network's lines may call
    "windows": '''
def windows(x, size, stride):
    """All windows of (n, h, w, c); (n, oh, ow, *size, c)."""
    x = np.lib.stride_tricks.sliding_window_view(x, size, axis=(1, 2))
    return np.moveaxis(x[:, :: stride[0], :: stride[1]], 3, 5)
''',
    "conv": '''
def conv(x, kernel, stride, pads, size):
    """Convolution of (n, h, w, c) with (kh, kw, c, o): each tap meets its pixel of all windows at once."""
    x = np.pad(x, ((0, 0), pads[:2], pads[2:], (0, 0)))
    (h, w), (down, right), taps = size, stride, np.ndindex(kernel.shape[:2])
    return sum(x[:, i:, j:][:, : h * down : down, : w * right : right] @ kernel[i, j] for i, j in taps)
''',
    "conv_transpose": '''
def conv_transpose(x, kernel, stride, corner, size):
    """Transposed convolution of (n, h, w, c) with (kh, kw, o, c): each pixel adds its kernel to a window."""
    (n, h, w, _), (kh, kw, o, _), (down, right), (top, left) = x.shape, kernel.shape, stride, corner
    y = np.zeros((n, h * down + kh, w * right + kw, o), np.float32)
    for i, j in np.ndindex(kh, kw):
        y[:, i : i + h * down : down, j : j + w * right : right] += x @ kernel[i, j].T
    return y[:, top : top + size[0], left : left + size[1]]
''',
}

_SCALED = "    x = np.clip((x - LOW) / (HIGH - LOW), 0, 1)\n"
_ON_WHITE = (
    "    x = x[..., :3] * x[..., 3:] + 1 - x[..., 3:]  # the fourth channel says how opaque a pixel is\n"
)
PICTURE = rf'''
def picture(x):
    """A PNG file: images (n, h, w, c), LOW black and HIGH white, in ROWS of COLUMNS between grey lines."""
{_SCALED}\
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
'''.replace("\\\n", "")
PICTURE_ON_WHITE = PICTURE.replace(_SCALED, _SCALED + _ON_WHITE)


def opening(title: str, constants: list[dict[str, object]], *, images: bool) -> str:
    """What the script is, its imports, and its constants by line; the title must not end the docstring."""
    needed = ("struct", "sys", "zlib") if images else ("sys",)
    imports = (
        "".join(f"import {name}\n" for name in needed) + "from pathlib import Path\n\nimport numpy as np\n"
    )
    lines = [f"{', '.join(line)} = {', '.join(map(repr, line.values()))}\n" for line in constants]
    return f'"""{title}"""\n\n{imports}\n{"".join(lines)}'


def main(*, images: bool, classes: int) -> str:
    """What the script does with the words behind its name."""
    read = '(seed,) = map(int, sys.argv[1:] or [input("a number: ")])'
    wrong, wanted, usage = "seed not in range(2**64)", "a seed from 0 to 2**64 - 1", "SEED"
    name = 'f"sample-seed{seed}.SUFFIX"'
    if classes:
        read = 'seed, *labels = map(int, sys.argv[1:] or input("a number: ").split())'
        wrong += " or labels[1:] or not {*labels} <= {*range(CLASSES)}"
        wanted, usage = f"{wanted}, and a label from 0 to {classes - 1}", "SEED [LABEL]"
        name = '"-".join([f"sample-seed{seed}", *(f"label{k}" for k in labels)]) + ".SUFFIX"'
    z = f"latents(seed, {'ROWS * COLUMNS' if images else 'POINTS'})"
    x = f"generator({z}, {'labels or range(CLASSES), ' if classes else ''}weights)"
    png, csv = "Path(target).write_bytes(picture(x))", 'np.savetxt(target, x, fmt="%.6g", delimiter=",")'
    return f'''
if __name__ == "__main__":
    try:
        {read}
        if {wrong}:
            raise ValueError("wanted {wanted}")
        weights = dict(np.load(Path(__file__).with_name("{WEIGHTS}")))
    except Exception as error:
        sys.exit(f"usage: python {SCRIPT} {usage}, with {WEIGHTS} beside {SCRIPT} ({{error}})")
    x = {x}
    target = {name.replace("SUFFIX", "png" if images else "csv")}
    {png if images else csv}
    print(target)
'''
