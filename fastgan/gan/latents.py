"""What a generator starts from: latents and, in a run with classes, labels; functions of seed, stream and number."""

import numpy as np

from fastgan import random
from fastgan.clock import Count
from fastgan.device import Array, module_of
from fastgan.gan.recipe import Recipe
from fastgan.random import Stream


def draw_latents(
    recipe: Recipe, n: int, number: int | Count, *, seed: int, device: str, stream: int = Stream.NOISE
) -> Array:
    """The latents of one draw; (n, z)."""
    shape = (n, recipe.latent)
    if recipe.noise == "normal":
        return random.normal(shape, seed=seed, stream=stream, step=number, device=device)
    return random.uniform(shape, -1, 1, seed=seed, stream=stream, step=number, device=device)


def draw_labels(
    recipe: Recipe, n: int, number: int | Count, *, seed: int, device: str, stream: int = Stream.NOISE
) -> Array | None:
    """The labels of one draw of latents, one-hot (n, k), each class as likely as another; None without classes."""
    k = recipe.classes
    if not k:
        return None
    xp = module_of(device)
    u = random.uniform((n, 1), seed=seed, stream=Stream.LABEL | stream << 4, step=number, device=device)
    return (xp.floor(u * k) == xp.arange(k, dtype=np.float32)).astype(np.float32)
