"""Data sets by name or by path, each loaded, checked and credited by one call.

The idea: `load` finds out what is meant (a built-in name, a folder of pictures, a NumPy or IDX file) and hands it to
the one module that knows it; a name that is nearly right gets its neighbour suggested.
"""

import difflib
import os
from pathlib import Path

from fastgan.data import points
from fastgan.data.dataset import Dataset, check_count, check_samples, from_array
from fastgan.data.digits import digits
from fastgan.data.files import is_idx, read_arrays, read_idx
from fastgan.data.mnist import MIRRORS, load_collection
from fastgan.errors import DataError, UsageError

__all__ = ["Dataset", "check_count", "from_array", "load", "names"]

names: dict[str, str] = {
    "digits": "1,797 handwritten digits of 8x8, bundled: needs no download",
    "mnist": "60,000 (test: 10,000) handwritten digits of 28x28, downloaded once (12 MB)",
    "fashion-mnist": "60,000 (test: 10,000) pieces of clothing of 28x28, downloaded once (31 MB)",
    "ring": "100,000 points, 8 narrow modes on a circle (PacGAN)",
    "grid": "100,000 points, 25 modes on a 5x5 grid (PacGAN)",
    "8gaussians": "100,000 points, 8 modes on a circle (WGAN-GP)",
    "25gaussians": "100,000 points, 25 modes on a 5x5 grid (WGAN-GP)",
    "swiss-roll": "100,000 points along a spiral (WGAN-GP)",
}
SPLITS = ("train", "test")


def load(
    spec: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "train",
    image_size: int | None = None,
    skip_bad: bool = False,
    batch: int = 1,
) -> Dataset:
    """The data set that a name of `names`, or the path of a folder of pictures, .npy, .npz or IDX file, stands for.

    `data_dir` is a folder, in which MNIST and Fashion-MNIST are looked for first. `split` picks their part, x_train or
    x_test of an .npz, and an independent draw (seed 1) of a point set; other data has one part only. `image_size` cuts
    and resizes a folder's pictures, and says that a file's rows are images of that height and width; `skip_bad` leaves
    out pictures that cannot be read. Where a folder's pictures all lie in two or more subfolders, these are their
    labels. Fewer samples than a `batch` are an error. A name goes before a path: ./digits is a folder. Raises
    UsageError for an unknown name or option, DataError for data that is missing, damaged or unlearnable.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; wanted train or test")
    if image_size is not None and (type(image_size) is not int or not 1 <= image_size <= 8192):
        raise UsageError(f"image_size is {image_size!r}; wanted whole pixels from 1 to 8192 (--image-size)")
    if data_dir is not None and not os.path.isdir(data_dir):
        raise DataError(f"no folder {os.fspath(data_dir)!r} for the data; check --data-dir, or leave it out")
    if isinstance(spec, str) and spec in names:
        dataset = _built_in(spec, data_dir, split)
        check_samples(dataset.samples, dataset.name)
    else:
        dataset = _from_path(_existing(spec), split, image_size, skip_bad)
    check_count(dataset.n, batch, dataset.name)
    if image_size is not None and dataset.sample_shape[:2] != (image_size, image_size):
        form = "x".join(map(str, dataset.sample_shape))
        raise UsageError(
            f"image_size={image_size} (--image-size) is for folders of pictures and for rows that are images; "
            f"{dataset.name} has samples of {form}"
        )
    return dataset


def _built_in(name: str, data_dir: str | os.PathLike[str] | None, split: str) -> Dataset:
    if name in MIRRORS:
        return load_collection(name, split, data_dir)
    return points.draw(name, seed=SPLITS.index(split)) if name in points.NAMES else digits()


def _existing(spec: str | os.PathLike[str]) -> Path:
    """The path that a spec names; otherwise the error that helps most."""
    known = ", ".join(names)
    if not isinstance(spec, str | os.PathLike):
        raise UsageError(f"data are named by text or a path, got {type(spec).__name__}; arrays: from_array()")
    text, path = os.fspath(spec), Path(os.path.expanduser(spec))
    if not text:
        raise UsageError(f"got no name for the data; wanted one of {known}, or a path (--data)")
    if os.path.exists(path):
        return path
    if not isinstance(spec, str) or os.sep in text or "/" in text or path.suffix:
        raise DataError(f"no file or folder {text!r}; check the path, or name one of {known}")
    near = difflib.get_close_matches(text.lower(), names, n=1)
    guess = f": did you mean {near[0]!r}?" if near else ";"
    raise UsageError(f"unknown data set {text!r}{guess} built in: {known}; or give the path of your own")


def _from_path(path: Path, split: str, image_size: int | None, skip_bad: bool) -> Dataset:
    if path.is_dir():
        try:
            from fastgan.data.folder import load_folder
        except ModuleNotFoundError as error:
            raise DataError("reading pictures needs Pillow: pip install pillow") from error
        return load_folder(path, image_size=image_size, skip_bad=skip_bad)
    if not path.is_file():  # reading a pipe would wait for ever, and some devices never end
        raise DataError(f"{path} is a pipe, a device or a socket; wanted a file, or a folder of pictures")
    labels = None
    if path.suffix.lower() in (".npy", ".npz"):
        samples, labels = read_arrays(path, split, image_size)
    elif is_idx(path):
        samples = read_idx(path)
    else:
        raise DataError(
            f"cannot tell what {path} is; wanted .npy, .npz, an IDX file, or the folder that holds pictures"
        )
    return from_array(samples, labels, name=path.name, source=f"Read from {path}.")
