"""MNIST and Fashion-MNIST: found where the user keeps them, or downloaded once into the user's cache.

The idea: a file is known by its content, not by its packing, so what a user puts in place counts when its shape and
(where it is known) the sha256 of its plain bytes are right, gzipped or not. A download is pinned to the sha256 of
the public .gz, and a mirror that serves the wrong bytes is a mirror that is down. The sums stand in registry.txt.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain, product
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import Dataset
from fastgan.data.files import idx_header, read_idx
from fastgan.errors import DataError

Place = str | os.PathLike[str] | None

ENVIRONMENT = "FASTGAN_DATA"  # a folder that holds data sets
TIMEOUT = 30  # seconds without an answer, or without a byte, before a mirror counts as down
SHAPES: dict[str, tuple[int, ...]] = {  # images and labels of train, then of test
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
MIRRORS = {
    "mnist": (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "fashion-mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # no https; the hash guards it
    ),
}
SOURCES = {
    "mnist": "The MNIST database of handwritten digits, Y. LeCun, C. Cortes and C. J. C. Burges, 1998.",
    "fashion-mnist": "Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf, Zalando Research, 2017 "
    "(arXiv:1708.07747), MIT licence.",
}
SUMS = dict(line.split() for line in files(__package__).joinpath("registry.txt").read_text().splitlines())


def load_collection(name: str, split: str, data_dir: Place, *, download: bool = True) -> Dataset:
    """Images (n, 28, 28, 1) of uint8 0..255 with labels 0..9: "mnist" or "fashion-mnist", split "train" or "test".

    Looks in `data_dir`, the folder that the environment variable FASTGAN_DATA names, and the user's cache, in each
    first below a folder of the set's name; then downloads to the cache. Raises DataError when that fails too.
    """
    pair, mirrors = [*SHAPES][2:] if split == "test" else [*SHAPES][:2], MIRRORS[name] if download else ()
    images, labels = (_obtain(name, file, mirrors, data_dir) for file in pair)
    return Dataset(name, images[..., None], labels.astype(np.int64), 0.0, 255.0, source=SOURCES[name])


def _obtain(name: str, file: str, mirrors: tuple[str, ...], data_dir: Place) -> NDArray[np.uint8]:
    """The content of one file, wherever it is found first whole; files passed over are named."""
    unfit: list[str] = []
    for path in chain(_candidates(name, file, data_dir), [None]):
        try:
            content = _verified(path or _download(name, file, mirrors), name, file)
        except DataError as error:
            unfit.append(str(error))
            continue
        for reason in unfit:
            warnings.warn(f"passed over {reason}", stacklevel=6)  # points at the caller of load()
        return content
    raise DataError("; besides, ".join([unfit[-1], *unfit[:-1]]))


def _candidates(name: str, file: str, data_dir: Place) -> Iterator[Path]:
    """Existing files of that name, in order of preference."""
    stems = (file, file.replace("-idx", ".idx"))  # the second as some archives spell it
    for base in _places(data_dir):
        for folder, stem, suffix in product((base / name, base), stems, (".gz", "")):
            if os.path.isfile(path := folder / (stem + suffix)):
                yield path


def _places(data_dir: Place) -> Iterator[Path]:
    yield from (Path(place).expanduser() for place in (data_dir, os.environ.get(ENVIRONMENT)) if place)
    yield cache_folder()  # last, as it needs pooch


def cache_folder() -> Path:
    """Where downloads of this user are kept."""
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise DataError(
            "finding or downloading this set needs pooch: pip install pooch, or use digits"
        ) from error
    return Path(pooch.os_cache("fastgan"))


def _verified(path: Path, name: str, file: str) -> NDArray[np.uint8]:
    """The array in a file of the right shape and, where it is known, the right content."""
    content, shape, wanted = read_idx(path), SHAPES[file], SUMS.get(f"{name}/{file}")
    if content.shape != shape:
        raise DataError(
            f"{path} holds shape {content.shape}, wanted {shape}; replace it with the public file"
        )
    digest = hashlib.sha256(idx_header(shape) + content.tobytes()).hexdigest()
    if digest != wanted and (wanted or digest in SUMS.values()):  # of Fashion-MNIST: none of MNIST
        raise DataError(
            f"{path} has the right shape but other content than the public file; replace or move it"
        )
    return content


def _download(name: str, file: str, mirrors: tuple[str, ...]) -> Path:
    """The .gz in the cache, from the first mirror that serves the right bytes; DataError when none does."""
    import pooch

    folder, packed, failures = cache_folder() / name, f"{file}.gz", []
    registry = {packed: f"sha256:{SUMS[f'{name}/{packed}']}"}
    get = pooch.HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    for mirror in mirrors:
        try:
            return Path(pooch.create(folder, mirror, registry=registry).fetch(packed, downloader=get))
        except (ValueError, OSError) as error:  # wrong content; no connection, no disk
            status = getattr(getattr(error, "response", None), "status_code", None)
            kind = "wrong content" if isinstance(error, ValueError) else type(error).__name__
            failures.append(f"{urlsplit(mirror).netloc}: {f'answer {status}' if status else kind}")
    raise DataError(
        f"{packed} could not be downloaded ({'; '.join(failures)}): put the file into {folder} by hand, "
        "or use the data set digits, which needs no network"
    )
