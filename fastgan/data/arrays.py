"""Arrays from .npy and .npz files, which may come from anywhere.

The idea: find the one array that is meant, read it without pickle, and turn whatever NumPy says of a damaged or
hostile file into one line that names it.
"""

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from fastgan.data.dataset import Dataset, check_count, from_array
from fastgan.errors import DataError

SAMPLE_KEYS = ("images", "samples", "x", "X", "arr_0")
LABEL_KEYS = ("labels", "y")
# DEFLATE shrinks at most 1032-fold, so a member that claims more is lying about its length.
DEFLATE_RATIO = 1032


def load_arrays(path: Path, split: str = "train", *, batch: int = 1) -> Dataset:
    """The images or points of a .npy or .npz file, as `from_array` reads them.

    Fewer than a `batch` are a DataError before they are read.

    In an .npz: the array named images, samples, x, X, arr_0 or x_train/x_test (by `split`), or the only one; labels
    from labels, y or y_train/y_test. Raises DataError naming the file.
    """
    try:
        samples, labels = _read(path, split, batch)
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise a dozen types on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} cannot be read as NumPy arrays: {reason[:200]}; save it again, without objects"
        ) from error
    return from_array(samples, labels, name=path.name, source=f"Read from {path}.")


def _read(path: Path, split: str, batch: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Samples and labels (or None) of one file."""
    if not zipfile.is_zipfile(path):
        # Mapping compares the header's claim with the file's length before anything is allocated.
        mapped = np.lib.format.open_memmap(path, mode="r")
        _check_rows(mapped.shape, batch, path)
        return np.array(mapped), None
    # Opened here: NumPy leaves a file that it opened itself open when the archive is damaged.
    with path.open("rb") as file:
        shapes = _shapes(file)
        return _pick(np.load(file, allow_pickle=False), shapes, path, split, batch)


def _check_rows(shape: tuple[int, ...], batch: int, path: Path) -> None:
    if shape and shape[0]:  # else from_array says what is wrong
        check_count(shape[0], batch, path.name)


def _pick(
    stored: NpzFile, shapes: dict[str, tuple[int, ...]], path: Path, split: str, batch: int
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Samples and labels by the names that they usually have."""
    with stored:
        names = stored.files
        labels = _first((*LABEL_KEYS, f"y_{split}"), names)
        samples = _first((*SAMPLE_KEYS, f"x_{split}"), names)
        rest = [name for name in names if name != labels]
        if samples is None and len(rest) != 1:
            raise DataError(
                f"{path} holds {', '.join(names) or 'no arrays'}; name the samples one of {', '.join(SAMPLE_KEYS)}"
            )
        name = samples or rest[0]
        _check_rows(shapes.get(name, ()), batch, path)
        return stored[name], stored[labels] if labels else None


def _first(wanted: Iterable[str], names: list[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _shapes(file: BinaryIO) -> dict[str, tuple[int, ...]]:
    """The shapes of an archive's arrays, by name.

    ValueError when an array's own header claims more bytes than its zip member holds, before it is allocated.
    """
    shapes = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.file_size > DEFLATE_RATIO * (member.compress_size + 1):
                raise ValueError(
                    f"{member.filename} claims {member.file_size} bytes in {member.compress_size}"
                )
            with archive.open(member) as inner:
                shape, dtype = _claim(inner)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} claims shape {shape} in {member.file_size} bytes")
            shapes[member.filename.removesuffix(".npy")] = shape
    file.seek(0)
    return shapes


def _claim(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and number type that the header of an .npy claims."""
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
