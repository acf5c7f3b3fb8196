"""How good samples are: by counting, and by what the critic of a run says of samples that it is not trained on.

Counting needs no trained network: a generated image belongs to the class of the real image nearest to it, a point to
the mode nearest to it. When the critic is asked, both networks rest (inference mode, no tape but the gradient
penalty's), and everything random is a function of the run's seed and its step, so that looking changes nothing and a
resumed run sees the same. Letters: `n` samples, `k` classes or modes, `f` features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan import random
from fastgan.data import Dataset
from fastgan.device import Array, to_device, to_host
from fastgan.errors import DataError, ShapeError, UsageError
from fastgan.gan.batches import Batches
from fastgan.gan.conditional import rows_of, told
from fastgan.gan.objectives import gradient_penalty
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad

Trainer = Any  # of trainer.py, which imports this file: its type would be a circle
REACH = 3.0  # standard deviations within which a point counts as good (PacGAN's protocol)
SHARE = 0.1  # of a fair share, n / k: what a class needs to count as kept
PROBES = 500  # real samples whose distance to their neighbours is taken
NOTHING = np.iinfo(np.int64).min  # the label of what is near to nothing
HELD_OUT = 1000  # samples at most: enough for a mean, and a small part of an interval's work
BLOCK = 4096  # samples that are compared or scored together: 16 MB of distances for 1,000 generated ones


class ModeScores(NamedTuple):
    """Modes with at least one good point, the share of good points, KL(good points per mode || uniform) in nats."""

    kept: int
    share: float
    reverse_kl: float


def tally(voted: NDArray[np.int64], dataset: Dataset) -> NDArray[np.int64]:
    """How many of some votes (n,), see `vote`, each class got; (k,), in the order of the data's labels."""
    return np.array([(voted == k).sum() for k in np.unique(np.asarray(dataset.labels))], np.int64)


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
    for start in range(0, dataset.n, BLOCK):
        real = dataset.take(slice(start, start + BLOCK)).scaled(0, 1)
        distance = (real * real).sum(axis=1) - 2 * (rows @ real.T)  # the row's own square is left out
        if own is not None:
            here = (own >= start) & (own < start + len(real))
            distance[here, own[here] - start] = np.inf
        closest = distance.argmin(axis=1)
        least = distance[np.arange(len(rows)), closest]
        nearer = least < best
        best[nearer], found[nearer] = least[nearer], start + closest[nearer]
    return found, np.sqrt(np.maximum(best + (rows * rows).sum(axis=1), 0))


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


def held_out_loss(trainer: Trainer) -> float | None:
    """The critic's loss on samples after the recipe's `first`, on whole batches with fresh fakes; waits for the device.

    The penalty is in it, as in the loss that is trained. None where the recipe does not ask, or no samples are left.
    """
    recipe, dataset = trainer.recipe, trainer.dataset
    if not (recipe.held_out and dataset and 0 < recipe.first < dataset.n):
        return None
    data = dataset.take(slice(recipe.first, recipe.first + HELD_OUT))
    n = min(recipe.batch, data.n)
    rules = recipe.replace(first=0, held_out=False, batch=n, sampling="sequential")
    batches = Batches(data, rules, seed=trainer.seed, device=trainer.device)
    count, step = batches.per_epoch, 2 * trainer.steps_done
    z, y = (draw(n * count, step, stream=Stream.HELD_OUT) for draw in (trainer.latent, trainer.labels))
    epsilon = random.uniform(
        (n * count, 1), seed=trainer.seed, stream=Stream.HELD_OUT, step=step + 1, device=trainer.device
    )
    with resting(trainer):
        pieces = [slice(k * n, (k + 1) * n) for k in range(count)]
        losses = [
            _loss(trainer, (batches.draw(k), batches.labels(k)), (z[rows], rows_of(y, rows)), epsilon[rows])
            for k, rows in enumerate(pieces)
        ]
    halves = 0.5 if recipe.halved_loss else 1.0  # as the trained loss is then recorded
    return halves * float(np.mean([to_host(loss) for loss in losses]))


def _loss(
    trainer: Trainer, real: tuple[Array, Array | None], latents: tuple[Array, Array | None], epsilon: Array
) -> Array:
    """The critic's loss on real samples and those of latents, both with their labels."""
    objective, x, (z, y) = trainer.objective, Tensor(real[0]), latents
    critic, fake = told(trainer.critic, real[1]), told(trainer.generator, y)(Tensor(z))
    loss = objective.real(critic(x)) + objective.fake(told(trainer.critic, y)(fake))
    if objective.penalty:
        penalty = (objective.penalty_of or gradient_penalty)(critic, x, fake, Tensor(epsilon))
        loss = loss + objective.penalty * penalty
    return loss.data


def has_contours(trainer: Trainer) -> bool:
    """Whether a run's pictures show its critic: one of a Wasserstein objective in the plane, as in WGAN-GP's."""
    return trainer.form.shape == (2,) and not trainer.recipe.classes and trainer.objective.boundary is None


def critic_of(trainer: Trainer, label: int | None = None) -> Callable[[Array], Array]:
    """The critic as a function of points (n, d) on the host to scores (n,) there; `label` where the run has classes.

    UsageError without it.
    """
    k = trainer.recipe.classes
    if k and label is None:
        raise UsageError(f"got no label for the critic of a run with {k} classes; give one")

    def scores(x: Array) -> Array:
        y = to_device(np.eye(k, dtype=np.float32)[np.full(BLOCK, label)], trainer.device) if k else None
        with resting(trainer):
            blocks = (to_device(x[i : i + BLOCK], trainer.device) for i in range(0, len(x), BLOCK))
            critics = (
                (told(trainer.critic, rows_of(y, slice(len(block)))), Tensor(block)) for block in blocks
            )
            return np.concatenate([to_host(critic(block).data)[:, 0] for critic, block in critics])

    return scores


@contextmanager
def resting(trainer: Trainer) -> Iterator[None]:
    """A block in which both networks are in inference mode, without a tape."""
    trainer.generator.eval()
    trainer.critic.eval()
    try:
        with no_grad():
            yield
    finally:
        trainer.generator.train()
        trainer.critic.train()
