"""How good samples are, in two figures: how far their features lie from real ones, and which classes there are.

The Frechet distance is that between two Gaussians with the samples' means and covariances (Dowson and Landau 1982;
Heusel et al. 2017 for GANs). It is biased upwards, by more the fewer samples there are, even for samples of one
distribution. So it is always taken of as many samples as the floor, which is the distance of real samples from other
real ones, and no generator can be expected below that. Letters: `n` samples, `f` features, `k` classes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan import random
from fastgan.benchmarks.classifier import Classifier
from fastgan.data import Dataset
from fastgan.errors import ShapeError, UsageError
from fastgan.gan.quality import classes_kept
from fastgan.random import Stream

Rows = NDArray[np.float64]


class Gaussian(NamedTuple):
    """Mean (f,) and covariance (f, f)."""

    mean: Rows
    covariance: Rows


def gaussian(features: Rows) -> Gaussian:
    """That of features (n, f), n > f; UsageError where there are fewer: the covariance would have no full rank."""
    n, f = features.shape
    if n < f + 1:
        raise UsageError(f"frechet: got {n} samples of {f} features, wanted at least {f + 1}: draw more")
    return Gaussian(features.mean(axis=0), np.cov(features, rowvar=False).reshape(f, f))


def frechet(a: Rows | Gaussian, b: Rows | Gaussian) -> float:
    """|mean_a - mean_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of features (n, f), or of Gaussians; not its root.

    tr (S_a S_b)^(1/2) is the sum of the roots of the eigenvalues of R S_b R with R R = S_a, which is symmetric.
    Infinite where features are not finite. UsageError for too few samples, ShapeError for other features.
    """
    if not all(np.isfinite(x).all() for x in (*_parts(a), *_parts(b))):
        return float("inf")
    one, two = (x if isinstance(x, Gaussian) else gaussian(np.asarray(x, np.float64)) for x in (a, b))
    if one.mean.shape != two.mean.shape:
        raise ShapeError(f"frechet: got {one.mean.size} and {two.mean.size} features, wanted as many")
    gap = one.mean - two.mean
    root = _root(one.covariance)
    between = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two.covariance @ root), 0)).sum()
    return max(0.0, float(gap @ gap + np.trace(one.covariance) + np.trace(two.covariance) - 2 * between))


def coverage(labels: NDArray[np.int64], classes: int) -> tuple[int, float]:
    """Of labels (n,) below `classes`: classes with at least a tenth of the fair share, the share of the rarest one."""
    votes = np.bincount(labels, minlength=classes)
    return classes_kept(votes), float(votes.min() / max(1, len(labels)))


@dataclass(frozen=True)
class Judge:
    """Scores `n` samples at a time against `n` real ones; `floor` is the score of `n` other real ones."""

    classifier: Classifier
    real: Gaussian
    n: int
    floor: float

    def score(self, images: NDArray[np.float32]) -> tuple[float, int]:
        """Frechet distance and classes kept of images (n, ...) in [0, 1]; infinity and 0 where they are not finite.

        UsageError for another number of images.
        """
        if len(images) != self.n:
            raise UsageError(f"score: got {len(images)} samples, wanted {self.n}, as the floor is of as many")
        if not np.isfinite(images).all():
            return float("inf"), 0
        kept, _ = coverage(self.classifier.labels(images), self.classifier.classes)
        return frechet(self.real, self.classifier.features(images)), kept


def judge(dataset: Dataset, classifier: Classifier, n: int, *, seed: int = 0) -> Judge:
    """One who compares with `n` real samples drawn by the seed, and has the floor of `n` others; UsageError."""
    if 2 * n > dataset.n:
        raise UsageError(f"{dataset.name}: got n {n} of {dataset.n} samples, wanted at most half")
    order = random.permutation(dataset.n, seed=seed, stream=Stream.SAMPLE, step=0)
    one, two = (
        classifier.features(dataset.take(order[part]).scaled(0.0, 1.0))
        for part in (slice(n), slice(n, 2 * n))
    )
    real = gaussian(one)
    return Judge(classifier, real, n, frechet(real, two))


def _parts(x: Rows | Gaussian) -> tuple[Rows, ...]:
    return tuple(x) if isinstance(x, Gaussian) else (np.asarray(x),)


def _root(matrix: Rows) -> Rows:
    """The symmetric square root of a positive semidefinite matrix (f, f)."""
    values, vectors = np.linalg.eigh(matrix)
    found: Rows = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return found
