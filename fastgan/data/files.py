"""Arrays from .npy, .npz and IDX files (the format of MNIST, plain or gzipped), which may come from anywhere.

The idea: trust no header. No more is read than it claims, and no more kept than the file holds; nothing is unpickled,
and whatever a library says of a damaged file becomes one DataError that names it.
"""

import gzip
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import CHANNELS
from fastgan.errors import DataError

SAMPLE_KEYS = ("images", "samples", "x", "X", "arr_0")
LARGEST = 2**31  # bytes of an IDX file's payload
PIECE = 1 << 20  # bytes of it that are read at once


def read_arrays(
    path: Path, split: str = "train", image_size: int | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The samples of a .npy or .npz file, and their labels if it has any.

    In an .npz: the array named images, samples, x, X, arr_0 or x_train/x_test (by `split`), or the only one; labels
    from labels, y or y_train/y_test. Rows (n, d) are images where `image_size` says their height and width, or the
    array is named images and d is a square. DataError.
    """
    key, labels = "", None
    with _naming(path, "cannot be read as NumPy arrays", "save it again, without objects"):
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
            if zipped:
                file.seek(0)
                held = np.load(file)
                key, label_key = _keys(held.files, split, path)
                samples, labels = np.asarray(held[key]), held[label_key] if label_key else None
        if not zipped:
            # mapping compares the header's claim with the file's length before anything is allocated
            samples = np.array(np.lib.format.open_memmap(path, mode="r"))
    if samples.ndim == 2:
        n, d = samples.shape
        side = image_size or (math.isqrt(d) if key == "images" else 0)
        if side and d % side**2 == 0 and d // side**2 in CHANNELS:
            samples = samples.reshape(n, side, side, -1)
    return samples, labels


def is_idx(path: Path) -> bool:
    """True when the name says IDX: "ubyte" in it, or a suffix .idx, .idx1..., with or without .gz."""
    stem = path.name.lower().removesuffix(".gz")
    return "ubyte" in stem or Path(stem).suffix.startswith(".idx")


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of an IDX file, plain or gzipped, as (n,) labels or (n, h, w) images of uint8.

    DataError where it is missing, is of another kind, holds nothing or more than 2 GiB, or where its length is not
    exactly what its header says.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path} is not a file; wanted an IDX file, plain or gzipped")
    with _naming(path, "is not a sound IDX file", "copy or download it again"):
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as content:
            magic = content.read(4)
            if magic not in (b"\0\0\x08\1", b"\0\0\x08\3"):
                got = magic.hex(" ") or "nothing"
                raise ValueError(
                    f"it begins with {got}, not with 00 00 08 01 (labels) or 00 00 08 03 (images)"
                )
            shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", content.read(4 * magic[3]))
            count, payload = math.prod(shape), bytearray()
            if not 0 < count <= LARGEST:
                raise ValueError(f"its header says {shape}, which is nothing or over {LARGEST} bytes")
            # grows with what is there, not with the claim
            while len(payload) <= count and (piece := content.read(PIECE)):
                payload += piece
        if len(payload) != count:
            holds = f"{len(payload)}" if len(payload) < count else "more"
            raise ValueError(f"its header says {shape}, so {count} bytes, but it has {holds}")
        return np.frombuffer(payload, np.uint8).reshape(shape)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The only header that an array of unsigned bytes of this shape can have."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


@contextmanager
def _naming(path: str | os.PathLike[str], problem: str, remedy: str) -> Iterator[None]:
    """A block whose errors, of a dozen types on damaged files, become one DataError: path, problem, remedy."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} {problem}: {reason[:200]}; {remedy}") from error


def _keys(names: list[str], split: str, path: Path) -> tuple[str, str | None]:
    """What the samples and the labels, if any, are called in an .npz."""
    labels = next((name for name in ("labels", "y", f"y_{split}") if name in names), None)
    samples = [name for name in (*SAMPLE_KEYS, f"x_{split}") if name in names]
    others = [name for name in names if name != labels]
    if samples or len(others) == 1:
        return (samples or others)[0], labels
    raise DataError(
        f"{path} holds {', '.join(names) or 'no arrays'}; name the samples one of {', '.join(SAMPLE_KEYS)}"
    )
