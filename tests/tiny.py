"""Narrow recipes whose steps take milliseconds, samples of the size that each learns, and a run's arrays."""

from dataclasses import replace

import numpy as np

import fastgan as fg
from fastgan import data
from fastgan.benchmarks.training import is_dense, narrow
from fastgan.data import Dataset
from fastgan.gan import Recipe, state

SIDES = ("generator", "critic")


def tiny(name: str) -> Recipe:
    """The recipe with narrow networks and small batches; 25 warm-up updates become 3."""
    recipe = fg.recipes[name]
    few = {"warmup_critic_steps": 3, "warmup_steps": 1} if recipe.warmup_critic_steps else {}
    sides = {side: narrow(getattr(recipe, side)) for side in SIDES}
    return recipe.replace(batch=8, latent=4, log_every=2, **sides, **few)


def samples(recipe: Recipe) -> Dataset:
    """200 points, or the bundled digits, enlarged to the pixels that a convolutional network wants."""
    if recipe.points:
        return data.load("ring").take(slice(0, 200))
    digits = data.load("digits")
    if is_dense(recipe.generator):
        return digits
    times, border = (8, 0) if recipe.picture_size else (3, 2)
    images = digits.samples.repeat(times, axis=1).repeat(times, axis=2)
    images = np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))
    return replace(digits, samples=images[:200], labels=digits.labels[:200])


def arrays(trainer: fg.Trainer) -> dict[str, np.ndarray]:
    """Copies of all arrays of a run, by name."""
    return {name: array.copy() for name, array in state.arrays(trainer).items()}
