"""Arrays from .npy, .npz and IDX files (the format of MNIST, plain or gzipped), which may come from anywhere.

The idea: trust no header. Its claim is compared with what the file holds before that much is allocated, nothing is
unpickled, and whatever a library says of a damaged file becomes one DataError that names it.
"""

import gzip
import math
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import CHANNELS, Dataset, check_count, from_array
from fastgan.errors import DataError

SAMPLE_KEYS = ("images", "samples", "x", "X", "arr_0")
LABEL_KEYS = ("labels", "y")
LARGEST = 2**31  # bytes of an IDX file's payload
PIECE = 1 << 20  # bytes of it that are read at once


def load_arrays(
    path: Path, split: str = "train", *, batch: int = 1, image_size: int | None = None
) -> Dataset:
    """The images or points of a .npy or .npz file, as `from_array` reads them.

    In an .npz: the array named images, samples, x, X, arr_0 or x_train/x_test (by `split`), or the only one; labels
    from labels, y or y_train/y_test. Rows (n, d) are images where `image_size` says their height and width, or the
    array is named images and d is a square. Fewer than a `batch` are an error before they are read. DataError.
    """
    with _naming(path, "cannot be read as NumPy arrays", "save it again, without objects"):
        key, samples, labels = (
            _read_npz(path, split, batch) if zipfile.is_zipfile(path) else _read_npy(path, batch)
        )
    if samples.ndim == 2:
        side = image_size or (math.isqrt(samples.shape[1]) if key == "images" else 0)
        samples = _unflattened(samples, side)
    return from_array(samples, labels, name=path.name, source=f"Read from {path}.")


def _unflattened(rows: NDArray[Any], side: int) -> NDArray[Any]:
    """Rows (n, d) as the images (n, side, side, c) that they can be, or as they are."""
    pixels = side * side
    channels = rows.shape[1] // pixels if pixels else 0
    fits = channels in CHANNELS and channels * pixels == rows.shape[1]
    return rows.reshape(len(rows), side, side, channels) if fits else rows


def load_idx(path: Path, *, batch: int = 1) -> Dataset:
    """The images of an IDX file. DataError, also for a file of labels."""
    images = read_idx(path)
    if images.ndim != 3:
        raise DataError(f"{path} holds {len(images)} labels; wanted the file of the images (rank 3)")
    check_count(len(images), batch, path.name)
    return from_array(images, name=path.name, source=f"Read from {path}.")


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
            return _decode_idx(content)


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


def _read_npy(path: Path, batch: int) -> tuple[str, NDArray[Any], None]:
    """No name, samples, and no labels."""
    # Mapping compares the header's claim with the file's length before anything is allocated.
    mapped = np.lib.format.open_memmap(path, mode="r")
    _check_rows(mapped.shape, batch, path)
    return "", np.array(mapped), None


def _read_npz(path: Path, split: str, batch: int) -> tuple[str, NDArray[Any], NDArray[Any] | None]:
    """The samples' name, samples, and labels, by the names that they usually have."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        labels = _first((*LABEL_KEYS, f"y_{split}"), names)
        samples = _first((*SAMPLE_KEYS, f"x_{split}"), names)
        rest = [name for name in names if name != labels]
        if samples is None and len(rest) != 1:
            raise DataError(
                f"{path} holds {', '.join(names) or 'no arrays'}; name the samples one of {', '.join(SAMPLE_KEYS)}"
            )
        samples = samples or rest[0]
        _check_rows(_claim(archive, samples), batch, path)
        return samples, _member(archive, samples), _member(archive, labels) if labels else None


def _first(wanted: Iterable[str], names: list[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _check_rows(shape: tuple[int, ...], batch: int, path: Path) -> None:
    if shape and shape[0]:  # else from_array says what is wrong
        check_count(shape[0], batch, path.name)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    _claim(archive, name)
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _claim(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape that an array's own header claims; ValueError where it needs more than the archive has of it."""
    with archive.open(f"{name}.npy") as file:
        first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    size = archive.getinfo(f"{name}.npy").file_size
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} claims shape {shape} in {size} bytes")
    return shape


def _decode_idx(file: IO[bytes] | gzip.GzipFile) -> NDArray[np.uint8]:
    """The array in an open file; ValueError with the reason otherwise."""
    magic = file.read(4)
    if magic not in (b"\0\0\x08\1", b"\0\0\x08\3"):
        raise ValueError(
            f"it begins with {magic.hex(' ') or 'nothing'}, not with 00 00 08 01 (labels) or 00 00 08 03 (images)"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("it ends inside its header")
    shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", sizes)
    count, payload = math.prod(shape), bytearray()
    if not 0 < count <= LARGEST:
        raise ValueError(f"its header says {shape}, which is nothing or over {LARGEST} bytes")
    while len(payload) <= count and (
        piece := file.read(PIECE)
    ):  # grows with what is there, not with the claim
        payload += piece
    if len(payload) != count:
        holds = f"{len(payload)}" if len(payload) < count else "more"
        raise ValueError(f"its header says {shape}, so {count} bytes, but it has {holds}")
    return np.frombuffer(payload, np.uint8).reshape(shape)
