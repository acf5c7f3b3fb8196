"""What the critic of a run says of samples that it is not trained on: held-out ones, and places in the plane.

The idea: both networks rest (inference mode, no tape but the gradient penalty's), and everything random is a function
of the run's seed and its step, so that looking changes nothing and a resumed run sees the same.

Letters: `n` samples, `f` features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fastgan import random
from fastgan.device import Array, to_device, to_host
from fastgan.errors import UsageError
from fastgan.gan.batches import Batches
from fastgan.gan.objectives import gradient_penalty
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad

if TYPE_CHECKING:
    from fastgan.gan.trainer import Trainer

HELD_OUT = 1000  # samples at most: enough for a mean, and a small part of an interval's work
BLOCK = 4096  # places that are scored together


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
    z = trainer.latent(n * count, step, stream=Stream.HELD_OUT)
    epsilon = random.uniform(
        (n * count, 1), seed=trainer.seed, stream=Stream.HELD_OUT, step=step + 1, device=trainer.device
    )
    with resting(trainer):
        pieces = [slice(k * n, (k + 1) * n) for k in range(count)]
        losses = [_loss(trainer, batches.draw(k), z[rows], epsilon[rows]) for k, rows in enumerate(pieces)]
    halves = 0.5 if recipe.halved_loss else 1.0  # as the trained loss is then recorded
    return halves * float(np.mean([to_host(loss) for loss in losses]))


def _loss(trainer: Trainer, real: Array, z: Array, epsilon: Array) -> Array:
    objective, critic = trainer.objective, trainer.critic
    x, fake = Tensor(real), trainer.generator(Tensor(z))
    loss = objective.real(critic(x)) + objective.fake(critic(fake))
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
    recipe = trainer.recipe
    if recipe.classes and label is None:
        raise UsageError(f"got no label for the critic of a run with {recipe.classes} classes; give one")
    columns = np.where(np.arange(recipe.classes) == label, recipe.high, recipe.low).astype(np.float32)

    def scores(x: Array) -> Array:
        x = np.concatenate([x, np.broadcast_to(columns, (len(x), recipe.classes))], axis=1)
        with resting(trainer):
            blocks = (to_device(x[i : i + BLOCK], trainer.device) for i in range(0, len(x), BLOCK))
            return np.concatenate([to_host(trainer.critic(Tensor(block)).data)[:, 0] for block in blocks])

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
