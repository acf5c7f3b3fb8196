"""Pictures of a run: what the generator makes, and how it got there; figures.py draws points and curves.

One idea: the size of a picture depends on shapes alone, never on what was generated, so that the pictures of one run
can be compared, and be the frames of one GIF. Pillow is imported when a picture is made, and every file is written
whole. Shapes: `n` samples, `h w c` image, `d` features.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.errors import ShapeError, UsageError
from fastgan.gan.files import write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]

_WIDEST = 700  # pixels: fits beside text in a browser, and 8x8 digits are still large enough to judge
_GAP_GREY = 48
_FRAMES = 120  # more make a GIF of many megabytes and show nothing new


def image_grid(samples: Array, columns: int | None = None, *, zoom: int | None = None, gap: int = 2) -> Image:
    """(n, h, w, c), uint8 or floats in [0, 1], as one image, row by row; c is 1 or 3.

    `columns` None: as near to a square as n allows. `zoom` None: the largest whole number, at least 1, that keeps
    the grid within 700 pixels. `gap` is in pixels. Floats outside [0, 1] are clipped. ShapeError, UsageError.
    """
    from PIL import Image

    samples = np.asarray(samples)
    if samples.ndim != 4 or samples.shape[3] not in (1, 3) or 0 in samples.shape:
        raise ShapeError(f"image_grid needs (n, h, w, 1 or 3), n > 0, got {samples.shape}; reshape to it")
    if gap < 0 or any(number is not None and number < 1 for number in (columns, zoom)):
        raise UsageError(f"columns and zoom must be at least 1, gap 0, got {columns}, {zoom}, {gap}")
    n, h, w, c = samples.shape
    columns = min(n, columns or math.ceil((n * h / w) ** 0.5))
    zoom = zoom or max(1, (_WIDEST - gap * (columns + 1)) // (columns * w))
    tall, wide = zoom * h + gap, zoom * w + gap
    grid = np.full((-(-n // columns) * tall + gap, columns * wide + gap, c), _GAP_GREY, np.uint8)
    for i, sample in enumerate(_as_bytes(samples)):
        row, column = divmod(i, columns)
        cell = grid[gap + row * tall : (row + 1) * tall, gap + column * wide : (column + 1) * wide]
        cell[:] = sample.repeat(zoom, axis=0).repeat(zoom, axis=1)
    return Image.fromarray(grid[:, :, 0] if c == 1 else grid)


def profile(samples: Array, limits: tuple[float, float] | None = None) -> Image:
    """(n, d) vectors as n lines of d grey cells, from black to white between `limits`. ShapeError.

    To compare pictures give the limits of the real data; None takes those of the samples.
    """
    from PIL import Image

    samples = np.nan_to_num(np.asarray(samples, np.float64), posinf=0, neginf=0)
    if samples.ndim != 2 or samples.size == 0:
        raise ShapeError(f"profile needs (n, d) with n and d > 0, got {samples.shape}; reshape the samples")
    low, high = limits or (samples.min(), samples.max())
    n, d = samples.shape
    cells = _as_bytes((samples - low) / ((high - low) or 1.0))
    tall, wide = min(24, max(1, _WIDEST // n)), max(1, _WIDEST // d)
    return Image.fromarray(cells.repeat(tall, axis=0).repeat(wide, axis=1))


def encode_png(image: Image) -> bytes:
    """The content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def save_png(path: Path, image: Image) -> None:
    """Write the image as PNG, whole or not at all. OutputError."""
    write_atomic(path, encode_png(image))


def save_gif(path: Path, frames: Sequence[Image], *, ms: int = 120, hold: int = 1500) -> None:
    """Write frames of one size as an endless GIF: `ms` milliseconds each, the last held for `hold`.

    Of more than 120 frames an even choice, with the first and the last, is taken. Equal neighbours become one
    frame, held longer. UsageError without frames; ShapeError for sizes that differ; OutputError.
    """
    chosen = [frames[i] for i in evenly(len(frames), _FRAMES)]
    if not chosen:
        raise UsageError("save_gif needs at least one frame, got none")
    if len(sizes := {frame.size for frame in chosen}) > 1:
        raise ShapeError(f"save_gif needs frames of one size, got {sorted(sizes)}; make them with one grid")
    buffer = io.BytesIO()
    first, *others = _share_palette(chosen)
    times = [ms] * len(others) + [hold]
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=times, loop=0)
    write_atomic(path, buffer.getvalue())


def _as_bytes(samples: Array) -> Array:
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind != "f":
        raise UsageError(f"pictures need uint8, or floats in [0, 1], got {samples.dtype}; convert them")
    return (np.clip(np.nan_to_num(samples.astype(np.float32)), 0, 1) * 255 + 0.5).astype(np.uint8)


def evenly(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, evenly spread, with the first and the last."""
    return list(range(n)) if n <= most else np.linspace(0, n - 1, most).round().astype(int).tolist()


def _share_palette(frames: Sequence[Image]) -> list[Image]:
    """Frames of at most 256 colours, the same for all: a palette for each would flicker."""
    from PIL import Image, ImageChops, ImageStat

    def reduced(image: Image.Image, palette: Image.Image) -> Image.Image:
        return image.quantize(palette=palette, dither=Image.Dither.NONE)

    def error(palette: Image.Image) -> float:
        return sum(ImageStat.Stat(ImageChops.difference(strip, reduced(strip, palette).convert("RGB"))).mean)

    if all(frame.mode == "L" for frame in frames):
        return list(frames)
    frames = [frame.convert("RGB") for frame in frames]
    strip = Image.fromarray(np.concatenate([np.asarray(frames[i]) for i in evenly(len(frames), 8)]))
    methods = Image.Quantize.MEDIANCUT, Image.Quantize.FASTOCTREE  # for photographs, for drawings
    palette = min((strip.quantize(256, method) for method in methods), key=error)
    return [reduced(frame, palette) for frame in frames]
