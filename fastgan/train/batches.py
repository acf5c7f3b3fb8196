"""Batches: which samples an update sees, and their pixels in the range that the recipe wants.

The data set stays on the device as it is stored (uint8 stays uint8); a batch is gathered and scaled when it is drawn.
Which rows it has is a function of the seed and the update's number, so nothing needs saving for an exact resume.
"""

from fastgan import random
from fastgan.backend import Array, to_device
from fastgan.data import Dataset
from fastgan.errors import DataError
from fastgan.random import Stream
from fastgan.train.recipe import Recipe


class Batches:
    """Batches of one data set on one device."""

    def __init__(self, dataset: Dataset, recipe: Recipe, *, seed: int, device: str) -> None:
        rows = dataset.samples[: recipe.first or None].reshape(-1, dataset.features)
        if len(rows) < recipe.batch:
            raise DataError(
                f"{dataset.name}: got {len(rows)} samples, wanted at least a batch of {recipe.batch}"
            )
        self.rows: Array = to_device(rows, device)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.scale = 1.0 if recipe.points else (recipe.high - recipe.low) / (dataset.high - dataset.low)
        self.offset = 0.0 if recipe.points else recipe.low - dataset.low * self.scale
        self._epoch = -1
        self._order: Array = None

    def draw(self, update: int) -> Array:
        """The batch of a critic update, counted from 0; (n, f) float32."""
        x = self.rows[self._chosen(update)].astype("float32")
        if self.scale != 1:
            x *= self.scale
        if self.offset:
            x += self.offset
        return x

    def _chosen(self, update: int) -> Array | slice:
        """Row numbers: with replacement, or one piece of an epoch (the last, partial piece is left out)."""
        n, batch = len(self.rows), self.recipe.batch
        if self.recipe.sampling == "replacement":
            return random.integers(
                batch, n, seed=self.seed, stream=Stream.BATCH, step=update, device=self.device
            )
        epoch, piece = divmod(update, n // batch)
        place = slice(piece * batch, (piece + 1) * batch)
        if self.recipe.sampling == "sequential":
            return place
        if epoch != self._epoch:
            self._order = random.permutation(
                n, seed=self.seed, stream=Stream.EPOCH, step=epoch, device=self.device
            )
            self._epoch = epoch
        return self._order[place]
