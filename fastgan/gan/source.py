"""Where a run's data came from, and what they looked like: enough to find them again and to know they are the same."""

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastgan.data import Dataset, from_array, load, names
from fastgan.data.dataset import CHANNELS
from fastgan.device import from_any, to_host
from fastgan.errors import DataError, UsageError
from fastgan.gan.recipe import Recipe

FORMS = {  # sizes of the built-in data's samples, where the data are not needed
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "fashion-mnist": (28, 28, 1),
    **dict.fromkeys(("ring", "grid", "8gaussians", "25gaussians", "swiss-roll"), (2,)),
}


@dataclass(frozen=True)
class Source:
    """What `fastgan.data.load` is to be called with."""

    spec: str
    data_dir: str | None = None
    split: str = "train"
    image_size: int | None = None
    skip_bad: bool = False

    def load(self, batch: int = 1) -> Dataset:
        """The data set; UsageError or DataError where it is not to be had, or too small for a batch."""
        return load(**asdict(self), batch=batch)


@dataclass(frozen=True)
class Form:
    """The shape, range and fingerprint of a data set: what networks are built for and samples are drawn in."""

    name: str
    shape: tuple[int, ...]
    count: int
    low: float
    high: float
    fingerprint: str
    source: Source | None = None

    @property
    def features(self) -> int:
        """Numbers per sample."""
        return math.prod(self.shape)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Form":
        """A Form from plain values; KeyError or TypeError for anything else."""
        source = values["source"] and Source(**values["source"])
        return Form(**{**values, "shape": tuple(values["shape"]), "source": source})

    def with_image_size(self, border: int) -> "Form":
        """The same, with an image size for a file of arrays: older runs took its rows for images without being told."""
        side, square = self.shape[0], len(self.shape) == 3 and self.shape[0] == self.shape[1]
        if not square or not self.source or Path(self.source.spec).suffix not in (".npy", ".npz"):
            return self
        return replace(self, source=replace(self.source, image_size=side - 2 * border))

    def check(self, dataset: Dataset) -> None:
        """DataError unless a data set is the one that this describes."""
        if tuple(dataset.sample_shape) != self.shape:
            raise DataError(
                f"got data of shape {dataset.sample_shape} ({dataset.name}), wanted {self.shape} as in the run"
            )
        if dataset.fingerprint() != self.fingerprint:
            raise DataError(
                f"{dataset.name}: got other data than the run was started with; a resumed run needs the same"
            )


def find(data: Any, recipe: Recipe) -> tuple[Dataset | None, Form]:
    """A data set and its form, for whatever a Trainer takes as data; a Form alone stands for data to be found later."""
    if isinstance(data, Form):
        return None, data
    source = data if isinstance(data, Source) else None
    if data is None or isinstance(data, str | Path):
        spec = own_data(recipe) if data is None else str(data)
        source = Source(spec if spec in names else absolute(spec), split=recipe.split)
    if source and source.image_size is None and source.spec not in names and os.path.isdir(source.spec):
        source = replace(source, image_size=recipe.picture_size or None)
    if source:
        data = source.load(recipe.batch)
    elif not isinstance(data, Dataset):
        data = from_array(to_host(from_any(data)))
    if recipe.points == data.is_images:
        raise DataError(f"recipe {recipe.name}: {_misfit(data)}")
    data = bordered(data, recipe.border)
    low, high, fingerprint = float(data.low), float(data.high), data.fingerprint()
    return data, Form(data.name, tuple(data.sample_shape), data.n, low, high, fingerprint, source)


def _misfit(dataset: Dataset) -> str:
    """What is wrong with images where points are wanted, or the other way round, and what to do."""
    if dataset.is_images:
        return f"got images of {dataset.sample_shape} from {dataset.name}, wanted points (try --data ring)"
    d = dataset.features
    wrong = f"got rows of {d} numbers from {dataset.name}, wanted images (try --data digits)"
    sides = [math.isqrt(d // c) for c in CHANNELS if math.isqrt(d // c) ** 2 * c == d > c]
    for side in sides[:1]:
        wrong += f"; if each is an image of {side}x{side}, give --image-size {side}, or reshape the array"
    return wrong


def absolute(path: str | Path) -> str:
    """The absolute path of what exists, so that a run can go on from another folder; anything else as it was typed."""
    there = os.path.expanduser(path)
    return str(Path(there).absolute()) if os.path.exists(there) else str(path)


def own_data(recipe: Recipe) -> str:
    """The data that the recipe names; UsageError where it learns whatever pictures it is given."""
    if not recipe.data:
        raise UsageError(
            f"recipe {recipe.name} learns pictures of your own: give data, such as --data photos/"
        )
    return recipe.data


def bordered(dataset: Dataset, border: int) -> Dataset:
    """The images of a data set with so many black pixels more on each side; others as they are."""
    if not border or not dataset.is_images:
        return dataset
    sides = ((0, 0), (border, border), (border, border), (0, 0))
    black = dataset.samples.dtype.type(dataset.low)
    return replace(dataset, samples=np.pad(dataset.samples, sides, constant_values=black))


def data_shape(recipe: Recipe) -> tuple[int, ...]:
    """The shape of a sample of the recipe's data; its own pictures are in colour."""
    return FORMS.get(recipe.data) or (recipe.picture_size, recipe.picture_size, 3)


def within_border(recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a sample as the recipe's networks see it."""
    if len(shape) != 3:
        return shape
    return shape[0] + 2 * recipe.border, shape[1] + 2 * recipe.border, shape[2]
