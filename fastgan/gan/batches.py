"""Batches: which samples an update sees, and their pixels in the range that the recipe wants.

The data set stays on the device as it is stored (uint8 stays uint8); a batch is gathered and scaled when it is drawn
by `assemble`, in one pass. The shuffled orders of the epochs that the next updates need are made ahead of them, so that
nothing in a step waits for one. Labels, where the recipe has classes, are drawn in the same way.

Which samples an update sees, and how far between real and fake its mixed ones lie, are functions of the seed and the
update's number: a captured step that knows the number draws a new batch at each replay, and an exact resume needs
nothing saved.
"""

from typing import Any

import numpy as np

from fastgan import random
from fastgan.clock import Count
from fastgan.data import Dataset, check_count
from fastgan.device import Array, device_of, module_of, to_device
from fastgan.dispatch import Fusable
from fastgan.errors import DataError
from fastgan.gan.recipe import Recipe
from fastgan.random import Stream

UNROLL = 8  # steps that may be made at once: orders are kept for their updates


class Batches:
    """Batches of one data set on one device."""

    def __init__(self, dataset: Dataset, recipe: Recipe, *, seed: int, device: str) -> None:
        rows = dataset.samples[: recipe.first or None].reshape(-1, dataset.features)
        check_count(len(rows), recipe.batch, dataset.name)
        self.rows: Array = to_device(rows, device)
        self.one_hot: Array | None = None
        if recipe.classes:
            self.one_hot = to_device(one_hot(dataset, recipe)[: len(rows)], device)
        self.recipe, self.seed, self.device = recipe, seed, device
        images = dataset.is_images
        self.scale = (recipe.high - recipe.low) / (dataset.high - dataset.low) if images else 1.0
        self.offset = recipe.low - dataset.low * self.scale if images else 0.0
        self.per_epoch = len(rows) // recipe.batch
        slots = (max(recipe.critic_steps * UNROLL, recipe.warmup_critic_steps) - 1) // self.per_epoch + 2
        self._held = [-1] * slots  # the epoch whose order lies in each slot
        self._order: Array | None = None
        if recipe.sampling == "epochs":
            self._order = module_of(device).empty((slots, len(rows)), "int64")
        self._rules: dict[str, Any] = {"batch": recipe.batch, "sampling": recipe.sampling}
        self._rules |= {"seed": seed, "order": self._order}

    def prepare(self, first: int, last: int) -> None:
        """Make the orders of the epochs that the critic updates `first` to `last` see; before these are asked for."""
        if self._order is None:
            return
        for epoch in range(first // self.per_epoch, last // self.per_epoch + 1):
            slot = epoch % len(self._held)
            if self._held[slot] != epoch:
                self._order[slot] = random.permutation(
                    len(self.rows), seed=self.seed, stream=Stream.EPOCH, step=epoch, device=self.device
                )
                self._held[slot] = epoch

    def draw(self, update: int | Count, fake: Array | None = None, *, mixed: bool = False) -> Array:
        """The real samples of a critic update, counted from 0, then `fake`, then mixed ones, in one new array (., f).

        A number that only the device knows must have been prepared. See `assemble`.
        """
        return self._drawn(self.rows, update, fake, mixed=mixed, scale=self.scale, offset=self.offset)

    def labels(self, update: int | Count, fake: Array | None = None) -> Array | None:
        """The labels of a critic update's real samples, then `fake`, one-hot in one new array; None without classes."""
        return (
            None if self.one_hot is None else self._drawn(self.one_hot, update, fake, scale=1.0, offset=0.0)
        )

    def _drawn(
        self, rows: Array, update: int | Count, fake: Array | None, *, mixed: bool = False, **scaling: float
    ) -> Array:
        if isinstance(update, int):
            self.prepare(update, update)
        kinds = 1 + (fake is not None) + mixed
        x = module_of(self.device).empty((kinds * self.recipe.batch, rows.shape[1]), "float32")
        assemble(x, rows=rows, update=update, fake=fake, mixed=mixed, **scaling, **self._rules)
        return x


def one_hot(dataset: Dataset, recipe: Recipe) -> Array:
    """The labels as rows that are 1 at the class and else 0, (n, classes) uint8; DataError."""
    k, labels = recipe.classes, dataset.labels
    if labels is None:
        raise DataError(
            f"{dataset.name}: got data without labels, wanted one of {k} classes for each sample: give labelled data "
            "(a folder has labels where all of its pictures lie in two or more subfolders), or a recipe without classes"
        )
    if labels.min() < 0:
        raise DataError(
            f"{dataset.name}: got label {labels.min()} (sample {labels.argmin()}), wanted labels from 0 on"
        )
    if dataset.count_classes() != k:
        raise DataError(
            f"{dataset.name}: got {dataset.classes_text()}, but recipe {recipe.name} is for {k}: "
            f"give --classes {dataset.count_classes()}"
        )
    return np.eye(k, dtype=np.uint8)[labels]


@Fusable
def assemble(
    x: Array,
    *,
    rows: Array,
    batch: int,
    scale: float,
    offset: float,
    seed: int,
    update: int | Count,
    sampling: str = "replacement",
    order: Array | None = None,
    fake: Array | None = None,
    mixed: bool = False,
) -> None:
    """Fill x, (batch, f) or a multiple of it: real rows, then `fake` (batch, f) if given, then with `mixed` both mixed.

    Real rows are `rows` (N, f), uint8 or float32, times `scale` plus `offset`; which ones, see `chosen`. Mixed rows are
    fake + e (real - fake) with e uniform in [0, 1), one per row (Gulrajani et al. 2017).
    """
    update = int(update)
    real = x[:batch]
    numbers = chosen(rows, batch, seed=seed, update=update, sampling=sampling, order=order)
    real[...] = rows[numbers]
    if scale != 1:
        real *= scale
    if offset:
        real += offset
    if fake is None:
        return
    x[batch : 2 * batch] = fake
    if mixed:
        e = random.uniform((batch, 1), seed=seed, stream=Stream.EPSILON, step=update, device=device_of(x))
        x[2 * batch :] = fake + e * (real - fake)


def chosen(
    rows: Array, batch: int, *, seed: int, update: int, sampling: str, order: Array | None
) -> Array | slice:
    """The row numbers of an update's batch: "replacement", or a piece of an epoch (the last, partial one is left out).

    A piece is taken in the order of the rows ("sequential") or of `order` (slots, N) ("epochs"), which holds a
    permutation for an epoch in slot epoch % slots.
    """
    n = len(rows)
    if sampling == "replacement":
        return random.integers(batch, n, seed=seed, stream=Stream.BATCH, step=update, device=device_of(rows))
    epoch, piece = divmod(update, n // batch)
    place = slice(piece * batch, (piece + 1) * batch)
    return order[epoch % len(order)][place] if sampling == "epochs" and order is not None else place
