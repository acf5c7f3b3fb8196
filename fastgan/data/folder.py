"""A folder of pictures as one array of one size.

The idea: every picture becomes the plain thing a network sees, 8-bit grey or RGB the right way up, before anything
is counted or compared; and one pass names every file that cannot be read, so that a user repairs them once.
Transparent pixels show white, as on paper. Letters: `h w c` as everywhere. Only this file imports Pillow, so import it
when a folder is read.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fastgan.data.dataset import Dataset, from_array
from fastgan.errors import DataError

Pixels = NDArray[np.uint8]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")  # what the suffixes promise; nothing else is ever decoded
GREY_MODES = ("1", "L", "LA", "La")
SHOWN = 3  # files named in an error
CUT = "give image_size=N (--image-size N) to cut and resize all to NxN"


def load_folder(folder: Path, *, image_size: int | None = None, skip_bad: bool = False) -> Dataset:
    """All pictures below a folder, sorted by path, as (n, h, w, c) uint8; c is 1 when every file is grey, else 3.

    Labelled where each picture lies in one of at least two subfolders, however deep: these are the classes, in the
    order of their names. Links are followed, hidden files are not; of a moving picture the first frame counts. All must
    be of one size, unless `image_size` asks for a centred square cut and a resize. Files that cannot be read raise one
    DataError that counts them, or with `skip_bad` are left out, each with one UserWarning.
    """
    paths = image_paths(folder)
    total = len(paths)
    if not total:
        raise DataError(f"{folder} holds no pictures; wanted {', '.join(SUFFIXES)}")
    pictures: Pixels | None = None
    kept: list[Path] = []
    sizes: dict[tuple[int, ...], str] = {}
    bad: list[str] = []
    for path, pixels in _readable(folder, paths, image_size, bad):
        sizes.setdefault(pixels.shape[:2], path.name)
        if pictures is None:
            try:
                pictures = np.empty((total, *pixels.shape), np.uint8)
            except MemoryError as error:
                raise DataError(f"{folder} holds {total} pictures: {error}; {CUT}") from error
        if len(sizes) == 1:  # of several sizes there will be no array, so none is kept
            if pixels.shape[2] > pictures.shape[3]:
                pictures = pictures.repeat(3, axis=3)
            pictures[len(kept)] = pixels  # grey spreads over three channels
            kept.append(path)
    _report(folder, bad, total, skip_bad)
    if pictures is None:
        raise DataError(f"none of the {total} pictures in {folder} can be read; check what made them")
    if len(sizes) > 1:
        some = ", ".join(f"{name} is {w}x{h}" for (h, w), name in list(sizes.items())[:SHOWN])
        raise DataError(f"the pictures in {folder} have {len(sizes)} sizes ({some}); wanted one: {CUT}")
    labels, classes = _classes(kept)
    source = f"{len(kept)} pictures in {folder}."
    return from_array(pictures[: len(kept)], labels, folder.resolve().name, source=source, classes=classes)


def image_paths(folder: Path) -> list[Path]:
    """Files with a picture's suffix below `folder`, sorted; each real folder is entered once, so loops of links end."""
    entered: set[str] = set()
    found: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(root)
        folders[:] = [] if real in entered else sorted(x for x in folders if not x.startswith("."))
        if real not in entered:
            pictures = (x for x in files if x.lower().endswith(SUFFIXES) and not x.startswith("."))
            found += (Path(root, name) for name in pictures)
        entered.add(real)
    return sorted(found, key=lambda path: path.as_posix())


def _readable(
    folder: Path, paths: list[Path], size: int | None, bad: list[str]
) -> Iterator[tuple[Path, Pixels]]:
    """Pictures that can be read, by their path from the folder, and their pixels; the others get a line in `bad`."""
    for path in paths:
        name = path.relative_to(folder)
        try:
            pixels = read_pixels(path, size)
        except Exception as error:  # a dozen types, by decoder and damage
            text = " ".join(str(error).split())
            kind = "" if text and isinstance(error, ValueError) else f"{type(error).__name__} "
            bad.append(f"{name}: {(kind + text)[:100]}")
        else:
            yield name, pixels


def _classes(paths: list[Path]) -> tuple[list[int] | None, tuple[str, ...]]:
    """A label for each relative path, and the labels' names; None and nothing where folders are no classes."""
    names = sorted({path.parts[0] for path in paths})
    if len(names) < 2 or any(len(path.parts) == 1 for path in paths):
        return None, ()
    number = {name: i for i, name in enumerate(names)}
    return [number[path.parts[0]] for path in paths], tuple(names)


def read_pixels(path: Path, image_size: int | None = None) -> Pixels:
    """One picture as (h, w, 1) grey or (h, w, 3) colour; raises whatever the decoder raises, and ValueError."""
    if not path.is_file():  # a pipe would block, a broken link has nothing
        raise ValueError("not a file, or a broken link")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on metadata; the pixels are judged below
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as picture:
            if image_size:
                picture.draft(None, (2 * image_size, 2 * image_size))  # large JPEGs decode at reduced size
            flat = _plain(ImageOps.exif_transpose(picture))
        if image_size:  # the largest centred square; ImageOps.fit would let the filter see past the cut
            side = min(flat.size)
            left, top = (flat.width - side) // 2, (flat.height - side) // 2
            middle = flat.crop((left, top, left + side, top + side))
            flat = middle.resize((image_size, image_size), Image.Resampling.LANCZOS)
    pixels = np.asarray(flat)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _unreadable(error: OSError) -> None:
    raise DataError(f"folder {error.filename} cannot be read: {error.strerror}; check its permissions")


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in mode L or RGB: 16-bit grey by its high byte, transparent pixels over white."""
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    grey, palette = picture.mode in GREY_MODES, picture.mode in ("P", "PA")
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture.convert("RGBA"))
        picture = paper
    picture = picture.convert("L" if grey else "RGB")
    pixels = np.asarray(picture)
    return picture.convert("L") if palette and (pixels == pixels[..., :1]).all() else picture


def _report(folder: Path, bad: list[str], total: int, skip_bad: bool) -> None:
    """DataError that names the first bad files, or with `skip_bad` a warning for each."""
    if bad and not skip_bad:
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"{len(bad)} of {total} pictures in {folder} cannot be read ({'; '.join(bad[:SHOWN])}{more}): "
            "repair or remove them, or leave them out with skip_bad (--skip-bad)"
        )
    for line in bad:
        warnings.warn(f"left out {line}", stacklevel=5)  # points at the caller of load()
