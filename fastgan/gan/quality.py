"""How good samples are, by counting: which classes or modes they cover, and how many points lie where they should.

Nothing here needs a trained network: a generated image belongs to the class of the real image nearest to it, a point
to the mode nearest to it. Letters: `n` samples, `k` classes or modes, `f` features.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan.data import Dataset
from fastgan.errors import DataError, ShapeError

REACH = 3.0  # standard deviations within which a point counts as good (PacGAN's protocol)
SHARE = 0.1  # of a fair share, n / k: what a class needs to count as kept
PROBES = 500  # real samples whose distance to their neighbours is taken
NOTHING = np.iinfo(np.int64).min  # the label of what is near to nothing
_BLOCK = 4096  # real samples compared at a time: 16 MB of distances for 1,000 generated ones


class ModeScores(NamedTuple):
    """Modes with at least one good point, the share of good points, KL(good points per mode || uniform) in nats."""

    kept: int
    share: float
    reverse_kl: float


def class_votes(samples: NDArray[Any], dataset: Dataset) -> NDArray[np.int64]:
    """Generated samples per class, (k,), in the order of the data's labels; see `vote`; ShapeError, DataError."""
    return tally(vote(samples, dataset), dataset)


def tally(voted: NDArray[np.int64], dataset: Dataset) -> NDArray[np.int64]:
    """How many of some votes (n,) each class got, (k,), in the order of the data's labels."""
    assert dataset.labels is not None
    return np.array([(voted == k).sum() for k in np.unique(dataset.labels)], np.int64)


def vote(samples: NDArray[Any], dataset: Dataset) -> NDArray[np.int64]:
    """The label (n,) of the real sample nearest to each generated one (L2 on pixels in [0, 1]), or NOTHING.

    A sample votes only if that is no farther than twice what lies between real neighbours (the median): noise would
    spread its votes over the classes as evenly as digits do.

    `samples` (n, h, w, c) in [0, 1], of the data's shape. ShapeError for another, DataError for data without labels.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.name}: got data without labels, wanted one class per sample to vote with")
    if samples.shape[1:] != dataset.sample_shape:
        raise ShapeError(f"vote: got samples of {samples.shape[1:]}, wanted {dataset.sample_shape}")
    found, distance = nearest(samples.reshape(len(samples), -1).astype(np.float32), dataset)
    chosen = np.linspace(0, dataset.n - 1, min(dataset.n, PROBES)).astype(np.int64)
    _, between = nearest(dataset.take(chosen).scaled(0, 1), dataset, own=chosen)
    return np.where(distance <= 2 * np.median(between), dataset.labels[found], NOTHING)


def nearest(
    rows: NDArray[np.float32], dataset: Dataset, own: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Number and distance of the real sample nearest to each row, other than the row's `own`."""
    best = np.full(len(rows), np.inf, np.float32)
    found = np.zeros(len(rows), np.int64)
    for start in range(0, dataset.n, _BLOCK):
        real = dataset.take(slice(start, start + _BLOCK)).scaled(0, 1)
        distance = (real * real).sum(axis=1) - 2 * (rows @ real.T)  # the row's own square is left out
        if own is not None:
            here = (own >= start) & (own < start + len(real))
            distance[here, own[here] - start] = np.inf
        closest = distance.argmin(axis=1)
        least = distance[np.arange(len(rows)), closest]
        nearer = least < best
        best[nearer], found[nearer] = least[nearer], start + closest[nearer]
    squares = np.maximum(best + (rows * rows).sum(axis=1), 0)
    return found, np.sqrt(squares)


def classes_kept(votes: NDArray[Any], n: int | None = None) -> int:
    """How many classes have at least a tenth of their fair share, n / k, of n samples (default: of the votes)."""
    n = int(votes.sum()) if n is None else n
    return int((votes >= max(1, SHARE * n / len(votes))).sum())


def mode_scores(points: NDArray[Any], modes: NDArray[Any], std: float) -> ModeScores:
    """Coverage and quality of points (n, d) for Gaussians at `modes` (k, d), as in PacGAN (Lin et al. 2018).

    A point is good if it lies within 3 `std` of the nearest centre. The reverse KL divergence is that of the good
    points per mode from the uniform distribution; without a good point it is infinite. ShapeError.
    """
    if points.ndim != 2 or modes.ndim != 2 or points.shape[1] != modes.shape[1] or not len(points):
        raise ShapeError(
            f"mode_scores: got points {points.shape}, modes {modes.shape}, wanted (n, d), (k, d)"
        )
    gaps = points[:, None, :].astype(np.float64) - modes[None]  # (n, k, d)
    distance = np.sqrt((gaps * gaps).sum(axis=2))
    good = distance.min(axis=1) < REACH * std
    if not good.any():
        return ModeScores(0, 0.0, math.inf)
    counts = np.bincount(distance.argmin(axis=1)[good], minlength=len(modes))
    p = counts[counts > 0] / counts.sum()
    reverse_kl = max(0.0, float((p * np.log(p * len(modes))).sum()))
    return ModeScores(int((counts > 0).sum()), float(good.mean()), reverse_kl)
