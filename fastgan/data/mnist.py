"""MNIST and Fashion-MNIST: found where the user keeps them, or downloaded once into the user's cache.

The idea: a file is known by its content, not by its packing, so what a user puts in place counts when its shape and
(where it is known) the sha256 of its plain bytes are right, gzipped or not. A download is pinned to the sha256 of
the public .gz, and a mirror that serves the wrong bytes is a mirror that is down.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import Dataset
from fastgan.data.files import idx_header, read_idx
from fastgan.errors import DataError

Place = str | os.PathLike[str] | None

ENVIRONMENT = "FASTGAN_DATA"  # a folder that holds data sets
TIMEOUT = 30  # seconds without an answer, or without a byte, before a mirror counts as down


class Part(NamedTuple):
    """One public file: its name without .gz, its shape, the sha256 of its .gz and of its plain bytes (if known)."""

    name: str
    shape: tuple[int, ...]
    gz_sha256: str
    raw_sha256: str


class Collection(NamedTuple):
    """Images and labels of train, then of test; the mirrors (URLs that end in /) and the credit."""

    parts: tuple[Part, ...]
    mirrors: tuple[str, ...]
    source: str


FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def _parts(gz: str, raw: str = "") -> tuple[Part, ...]:
    """The four files, from the sha256s of the .gz and of the plain bytes."""
    return tuple(map(Part, FILES, FILES.values(), gz.split(), raw.split() or 4 * [""]))


COLLECTIONS = {
    "mnist": Collection(
        _parts(
            """
            440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
            3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
            8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
            f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
            """,
            """
            ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
            65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
            0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
            ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
            """,
        ),
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        "The MNIST database of handwritten digits, Y. LeCun, C. Cortes and C. J. C. Burges, 1998.",
    ),
    "fashion-mnist": Collection(
        _parts(
            """
            3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
            a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
            346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
            67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
            """
        ),
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # no https; the hash guards it
        ),
        "Fashion-MNIST, H. Xiao, K. Rasul and R. Vollgraf, Zalando Research, 2017 (arXiv:1708.07747), MIT licence.",
    ),
}


def load_collection(name: str, split: str, data_dir: Place, *, download: bool = True) -> Dataset:
    """Images (n, 28, 28, 1) of uint8 0..255 with labels 0..9: "mnist" or "fashion-mnist", split "train" or "test".

    Looks in `data_dir`, the folder that the environment variable FASTGAN_DATA names, and the user's cache, in each
    first below a folder of the set's name; then downloads to the cache. Raises DataError when that fails too.
    """
    parts, mirrors, source = COLLECTIONS[name]
    pair = parts[2:] if split == "test" else parts[:2]
    images, labels = (_obtain(name, part, mirrors if download else (), data_dir) for part in pair)
    return Dataset(name, images[..., None], labels.astype(np.int64), 0.0, 255.0, source=source)


def _obtain(name: str, part: Part, mirrors: tuple[str, ...], data_dir: Place) -> NDArray[np.uint8]:
    """The content of one file, wherever it is found first whole; files passed over are named."""
    unfit: list[str] = []
    for path in chain(_candidates(name, part, data_dir), [None]):
        try:
            content = _verified(path or _download(name, part, mirrors), part)
        except DataError as error:
            unfit.append(str(error))
            continue
        for reason in unfit:
            warnings.warn(f"passed over {reason}", stacklevel=6)  # points at the caller of load()
        return content
    raise DataError("; besides, ".join([unfit[-1], *unfit[:-1]]))


def _candidates(name: str, part: Part, data_dir: Place) -> Iterator[Path]:
    """Existing files of the part's name, in order of preference."""
    stems = (part.name, part.name.replace("-idx", ".idx"))  # the second as some archives spell it
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


def _verified(path: Path, part: Part) -> NDArray[np.uint8]:
    """The array in a file of the right shape and, where it is known, the right content."""
    content = read_idx(path)
    if content.shape != part.shape:
        raise DataError(
            f"{path} holds shape {content.shape}, wanted {part.shape}; replace it with the public file"
        )
    digest = hashlib.sha256(idx_header(content.shape) + content.tobytes()).hexdigest()
    known = {other.raw_sha256 for collection in COLLECTIONS.values() for other in collection.parts}
    if digest != part.raw_sha256 and (part.raw_sha256 or digest in known):  # of Fashion-MNIST: none of MNIST
        raise DataError(
            f"{path} has the right shape but other content than the public file; replace or move it"
        )
    return content


def _download(name: str, part: Part, mirrors: tuple[str, ...]) -> Path:
    """The part's .gz in the cache, from the first mirror that serves the right bytes; DataError when none does."""
    import pooch

    folder, file, failures = cache_folder() / name, f"{part.name}.gz", []
    get = pooch.HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    for mirror in mirrors:
        store = pooch.create(path=folder, base_url=mirror, registry={file: f"sha256:{part.gz_sha256}"})
        try:
            return Path(store.fetch(file, downloader=get))
        except (ValueError, OSError) as error:  # wrong content; no connection, no disk
            status = getattr(getattr(error, "response", None), "status_code", None)
            kind = "wrong content" if isinstance(error, ValueError) else type(error).__name__
            failures.append(f"{urlsplit(mirror).netloc}: {f'answer {status}' if status else kind}")
    raise DataError(
        f"{file} could not be downloaded ({'; '.join(failures)}): put the file into {folder} by hand, "
        "or use the data set digits, which needs no network"
    )
