"""A data set in memory, and what must hold before a network may see it.

The idea: samples stay as they are stored (uint8 stays uint8), and `low` and `high` say which stored values mean
black and white, so that whoever draws a batch scales only that batch. Every array that a user brings passes
`from_array`, and every data set passes `check_samples` once, before the first step and not in the middle of a run.

Letters: `n` samples, `h w c` an image (NHWC), `d` columns of a point.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgan.errors import DataError, UsageError

CHANNELS = (1, 3, 4)  # grey, colour, colour with transparency
UNSCALED = (-1.0, 1.0)  # the range that points carry
NAMED = 10  # classes whose names fit on a line


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with what is needed to scale, judge and credit them.

    `samples` are images (n, h, w, c) in uint8 or float32, or points (n, d) in float32; `labels` (n,) int64 or
    None, and `classes` the names of labels 0, 1, ... where they have some. `low` and `high` are the sample values of
    black and white. `modes` (k, d) and `mode_std` describe the mixture that points were drawn from, where it is known.
    `source` is the credit, one or two sentences.
    Arrays are kept, not copied. Raises DataError when the parts do not fit together.
    """

    name: str
    samples: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    low: float = UNSCALED[0]
    high: float = UNSCALED[1]
    modes: NDArray[np.float64] | None = None
    mode_std: float | None = None
    source: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, dtype = self.samples.shape, self.samples.dtype
        wanted = {4: (np.uint8, np.float32), 2: (np.float32,)}.get(len(shape), ())
        if dtype not in wanted:
            raise DataError(
                f"{self.name}: samples are {dtype} of shape {shape}; wanted images (n, h, w, c) of uint8 or float32, "
                "or points (n, d) of float32: from_array() makes them"
            )
        if not math.prod(shape):
            raise DataError(f"{self.name}: samples of shape {shape} are empty; give at least 2")
        if (y := self.labels) is not None and (y.shape != (self.n,) or y.dtype != np.int64):
            raise DataError(
                f"{self.name}: {self.n} samples but labels of shape {y.shape} {y.dtype}; wanted ({self.n},) int64"
            )
        if not self.low < self.high:
            raise DataError(f"{self.name}: low is {self.low} and high is {self.high}; low must be below high")

    def __repr__(self) -> str:
        form = "x".join(map(str, self.sample_shape))
        extra = ", labelled" if self.labels is not None else ""
        return f"Dataset({self.name!r}: {self.n} of {form} {self.samples.dtype}, {self.low:g} to {self.high:g}{extra})"

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(h, w, c) of an image, (d,) of a point."""
        return self.samples.shape[1:]

    @property
    def features(self) -> int:
        """Values per sample: h * w * c, or d."""
        return math.prod(self.sample_shape)

    @property
    def is_images(self) -> bool:
        """True for (n, h, w, c), False for points."""
        return self.samples.ndim == 4

    def count_classes(self) -> int:
        """One more than the largest label; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def classes_text(self) -> str:
        """How many classes there are, and where they are named and few, which: 2 classes (0 cats, 1 dogs)."""
        named = ", ".join(f"{i} {name}" for i, name in enumerate(self.classes))
        some = f" ({named})" if 0 < len(self.classes) <= NAMED else ""
        return f"{self.count_classes()} classes{some}"

    def scaled(self, low: float, high: float) -> NDArray[np.float32]:
        """All samples as float32 (n, features), black at `low` and white at `high`.

        Points in their own units (range -1 to 1, which they do not keep to) come back as they are, whatever the
        range asked for. Costs 4 bytes per value. Raises UsageError unless low < high.
        """
        if not low < high:
            raise UsageError(f"cannot scale to {low} .. {high}: low must be below high")
        flat = self.samples.reshape(self.n, self.features).astype(np.float32)
        if not self.is_images and (self.low, self.high) == UNSCALED:
            return flat
        flat -= self.low
        flat /= self.high - self.low  # a division, so that white is exactly 1 before it is stretched
        flat *= high - low
        flat += low
        return flat

    def fingerprint(self) -> str:
        """16 hex digits of the sha256 of dtype, shape and bytes of the samples, and of the labels if any.

        Counted once: a data set whose arrays are written to afterwards is another data set.
        """
        return self._digest[:16]

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for array in (self.samples, self.labels):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def take(self, which: slice | NDArray[Any]) -> "Dataset":
        """The samples (and labels) that a slice or an index array names, as a data set of the same kind."""
        labels = None if self.labels is None else self.labels[which]
        return replace(self, samples=self.samples[which], labels=labels)


def check_count(n: int, batch: int, name: str) -> None:
    """DataError where n samples make no batch; asked as soon as their number is known, before they are decoded."""
    if n < batch:
        remedy = f"give --batch {n} or less, or more data" if n > 1 else "give more data"
        raise DataError(f"{name}: got {n} samples, wanted at least a batch of {batch}: {remedy}")


def check_samples(samples: NDArray[Any], name: str) -> tuple[float, float]:
    """Smallest and largest value of (n, ...) samples, of which a network can learn.

    Raises DataError for fewer than 2 samples, for NaN and infinities (with their number and the first index),
    and for samples that are all alike.
    """
    if len(samples) < 2 or not samples.size:
        raise DataError(
            f"{name}: an array of shape {samples.shape} holds fewer than 2 samples; give at least 2"
        )
    if samples.dtype.kind == "f" and not (finite := np.isfinite(samples)).all():
        first = tuple(map(int, np.unravel_index(int(finite.argmin()), samples.shape)))
        raise DataError(
            f"{name}: {samples.size - np.count_nonzero(finite)} of {samples.size} values are not finite, "
            f"the first at index {first}; repair them"
        )
    if all(np.array_equal(sample, samples[0]) for sample in samples[1:]):  # ends at the first that differs
        raise DataError(
            f"{name}: all {len(samples)} samples are the same, so there is nothing to learn; check the source"
        )
    return float(samples.min()), float(samples.max())


def from_array(
    array: ArrayLike,
    labels: ArrayLike | None = None,
    name: str = "array",
    *,
    source: str = "",
    classes: tuple[str, ...] = (),
) -> Dataset:
    """A checked data set from an array in memory, which it keeps without copying where the form already fits.

    (n, h, w, c) are images and (n, h, w) grey ones; (n, d) are points or longer vectors, in their own units, whatever d
    is: reshape flat images. Images: whole numbers 0..255 become uint8, booleans uint8 with white at 1; floats become
    float32 and mean 0..1, -1..1 or 0..255, the narrowest that holds them. `classes` names the labels. Raises DataError
    otherwise, and for what `check_samples` refuses.
    """
    values = _numbers(array, name)
    values = values[..., None] if values.ndim == 3 else values
    _check_form(values.shape, name)
    pixels = values.ndim == 4 and values.dtype.kind != "f"
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the check reports
        samples = values if pixels else np.ascontiguousarray(values, dtype=np.float32)
    low, high = _range(values, *check_samples(samples, name), name)
    samples = np.ascontiguousarray(samples, dtype=np.uint8 if pixels else np.float32)
    return Dataset(name, samples, _labels(labels, name), low, high, source=source, classes=classes)


def _numbers(array: ArrayLike, name: str) -> NDArray[Any]:
    try:
        values = np.asarray(array)
    except (TypeError, ValueError) as error:  # ragged lists; arrays of a GPU library
        raise DataError(f"{name}: not an array ({error}); give a NumPy array of numbers") from error
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name}: values are {values.dtype}; give whole numbers 0..255, floats or booleans")
    return values


def _check_form(shape: tuple[int, ...], name: str) -> None:
    if len(shape) not in (2, 4):
        raise DataError(f"{name}: shape {shape}; wanted images (n, h, w, c) or (n, h, w), or vectors (n, d)")
    if len(shape) == 4 and shape[3] not in CHANNELS:
        hint = ": array.transpose(0, 2, 3, 1) makes them so" if shape[1] in CHANNELS else ""
        raise DataError(
            f"{name}: shape {shape} has {shape[3]} channels; wanted NHWC, channels 1, 3 or 4 last{hint}"
        )


def _range(values: NDArray[Any], least: float, most: float, name: str) -> tuple[float, float]:
    """Black and white of values that lie between `least` and `most`; rows have them if they are bytes or booleans."""
    kind, white = values.dtype.kind, 1.0 if values.dtype.kind == "b" else 255.0
    if values.ndim == 2:
        points = values.shape[1] == 2 or kind not in "bu" or values.dtype.itemsize > 1
        return UNSCALED if points else (0.0, white)
    for low, high in ((0.0, 1.0), UNSCALED, (0.0, 255.0)) if kind == "f" else ((0.0, white),):
        if low <= least and most <= high:
            return low, high
    raise DataError(
        f"{name}: image values run from {least:g} to {most:g}; wanted whole numbers 0..255, "
        "or floats in 0..1, -1..1 or 0..255: rescale them"
    )


def _labels(labels: ArrayLike | None, name: str) -> NDArray[np.int64] | None:
    """int64 from whole numbers, (n,) or (n, 1)."""
    if labels is None:
        return None
    values = _numbers(labels, f"{name}: labels")
    if values.dtype.kind == "f":
        raise DataError(f"{name}: labels are {values.dtype}; wanted whole numbers, one class per sample")
    return (values[:, 0] if values.shape[1:] == (1,) else values).astype(np.int64)
