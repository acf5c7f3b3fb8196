"""MNIST and Fashion-MNIST: found where the user keeps them, or downloaded once into the user's cache.

The idea: a file is known by its content, not by its packing, so what a user puts in place counts when its header,
shape and (for MNIST) the sha256 of its plain bytes are right, gzipped or not. A download is pinned to the sha256 of
the public .gz, and a mirror that serves the wrong bytes is a mirror that is down.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fastgan.data import idx
from fastgan.data.dataset import Dataset
from fastgan.errors import DataError

ENVIRONMENT = "FASTGAN_DATA"  # a folder that holds data sets
TIMEOUT = 30  # seconds without an answer, or without a byte, before a mirror counts as down


@dataclass(frozen=True)
class Part:
    """One public file: its name without .gz, the sha256 of its .gz and (if known) of its plain bytes, its shape."""

    name: str
    gz_sha256: str
    shape: tuple[int, ...]
    raw_sha256: str | None = None


@dataclass(frozen=True)
class Collection:
    """Images and labels of each split, the mirrors (URLs that end in /) and the credit."""

    name: str
    splits: dict[str, tuple[Part, Part]]
    mirrors: tuple[str, ...]
    source: str


def _splits(*hashes: tuple[str, str | None]) -> dict[str, tuple[Part, Part]]:
    """The four files of the MNIST layout from (sha256 of the .gz, of the plain bytes): images, labels, test alike."""
    train_images, train_labels, test_images, test_labels = hashes
    return {
        "train": (
            Part("train-images-idx3-ubyte", train_images[0], (60_000, 28, 28), train_images[1]),
            Part("train-labels-idx1-ubyte", train_labels[0], (60_000,), train_labels[1]),
        ),
        "test": (
            Part("t10k-images-idx3-ubyte", test_images[0], (10_000, 28, 28), test_images[1]),
            Part("t10k-labels-idx1-ubyte", test_labels[0], (10_000,), test_labels[1]),
        ),
    }


MNIST = Collection(
    "mnist",
    _splits(
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "The MNIST database of handwritten digits, Y. LeCun, C. Cortes and C. J. C. Burges, 1998.",
)
FASHION = Collection(
    "fashion-mnist",
    _splits(
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", None),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", None),
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", None),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", None),
    ),
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # no https; the hash guards it
    ),
    "Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf, Zalando Research, 2017 (arXiv:1708.07747), MIT licence.",
)
COLLECTIONS = {collection.name: collection for collection in (MNIST, FASHION)}


def load_collection(name: str, split: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Images (n, 28, 28, 1) of uint8 0..255 with labels 0..9: "mnist" or "fashion-mnist", split "train" or "test".

    Looks in `data_dir`, the folder that the environment variable FASTGAN_DATA names, and the user's cache, in each
    first below a folder of the set's name; then downloads to the cache. Raises DataError when that fails too.
    """
    collection = COLLECTIONS[name]
    images, labels = (_obtain(collection, part, data_dir) for part in collection.splits[split])
    if len(images) != len(labels):
        raise DataError(
            f"{name}: {len(images)} images but {len(labels)} labels; get both files from one place"
        )
    return Dataset(name, images[..., None], labels.astype(np.int64), 0.0, 255.0, source=collection.source)


def _obtain(collection: Collection, part: Part, data_dir: str | os.PathLike[str] | None) -> NDArray[np.uint8]:
    """The content of one file, wherever it is found first whole; files passed over are named."""
    unfit: list[str] = []
    for path in _candidates(collection, part, data_dir):
        try:
            content = _verified(path, part)
        except DataError as error:
            unfit.append(str(error))
            continue
        if not _belongs_elsewhere(content, collection):
            break
    else:
        try:
            content = _verified(_download(collection, part), part)
        except DataError as error:
            raise DataError("; besides, ".join([str(error), *unfit])) from error
    for reason in unfit:
        warnings.warn(f"passed over {reason}", stacklevel=6)  # points at the caller of load()
    return content


def _candidates(
    collection: Collection, part: Part, data_dir: str | os.PathLike[str] | None
) -> Iterator[Path]:
    """Existing files of the part's name, in order of preference; the cache is asked last, as it needs pooch."""
    places = [place for place in (data_dir, os.environ.get(ENVIRONMENT)) if place]
    for place in (*map(Path, places), None):
        base = cache_folder() if place is None else place.expanduser()
        for folder in (base / collection.name, base):
            for stem in (
                part.name,
                part.name.replace("-idx", ".idx"),
            ):  # the second as some archives spell it
                yield from filter(os.path.isfile, (folder / f"{stem}.gz", folder / stem))


def cache_folder() -> Path:
    """Where downloads of this user are kept."""
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise DataError(
            "finding or downloading this set needs pooch: pip install pooch, or use digits"
        ) from error
    return Path(pooch.os_cache("fastgan"))


def _verified(path: Path, part: Part) -> NDArray[np.uint8]:
    """The array in a file of the right shape and, where it is known, the right content."""
    content = idx.read(path)
    if content.shape != part.shape:
        raise DataError(
            f"{path} holds shape {content.shape}, wanted {part.shape}; replace it with the public file"
        )
    if part.raw_sha256 not in (None, content_sha256(content)):
        raise DataError(
            f"{path} has the right shape but other content than the public file; replace or move it"
        )
    return content


def content_sha256(content: NDArray[np.uint8]) -> str:
    """The sha256 of the plain IDX file that holds this array."""
    digest = hashlib.sha256(idx.header(content.shape))
    digest.update(np.ascontiguousarray(content).data)
    return digest.hexdigest()


def _belongs_elsewhere(content: NDArray[np.uint8], collection: Collection) -> bool:
    """True for a file of the other collection, whose names and shapes are the same."""
    others = (other for other in COLLECTIONS.values() if other.name != collection.name)
    known = {part.raw_sha256 for other in others for parts in other.splits.values() for part in parts} - {
        None
    }
    return bool(known) and content_sha256(content) in known


def _download(collection: Collection, part: Part) -> Path:
    """The part's .gz in the cache, from the first mirror that serves the right bytes; DataError when none does."""
    folder = cache_folder() / collection.name
    name, failures = f"{part.name}.gz", []
    for mirror in collection.mirrors:
        try:
            return fetch(
                mirror + name, sha256=part.gz_sha256, folder=folder, limit=2 * int(np.prod(part.shape)) + 4096
            )
        except (ValueError, OSError) as error:  # wrong or too many bytes; no connection, no disk
            failures.append(f"{urlsplit(mirror).netloc}: {_why(error)}")
    raise DataError(
        f"{name} could not be downloaded ({'; '.join(failures)}): put the file into {folder} by hand, "
        "or use the data set digits, which needs no network"
    )


def _why(error: Exception) -> str:
    """The few words that tell a user what was wrong with a mirror; the errors of requests go on for lines."""
    if isinstance(error, ValueError):
        return "wrong content"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"answer {status}" if status else type(error).__name__


def fetch(url: str, *, sha256: str, folder: Path, limit: int) -> Path:
    """The file behind a URL, in `folder` only once its sha256 is right.

    Raises ValueError for wrong content or more than `limit` bytes, OSError (which holds every error of requests)
    when it cannot be reached or written.
    """
    import pooch

    def download(source: str, target: str, caller: object) -> None:
        get = pooch.HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
        with open(target, "wb") as file:
            get(source, _Limited(file, limit), caller)

    name = url.rpartition("/")[2]
    return Path(
        pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=name, path=folder, downloader=download)
    )


class _Limited:
    """A file that refuses to grow past `limit` bytes, so that an endless answer cannot fill the disk."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self._left = file, limit

    def write(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise ValueError("the answer is larger than the file wanted")
        self._file.write(piece)

    def flush(self) -> None:
        self._file.flush()
