"""What a generator starts from: latents (n, z), a function of seed, stream and number; with classes labels as well."""

import numpy as np

from fastgan import random
from fastgan.clock import Count
from fastgan.device import Array, module_of
from fastgan.gan.recipe import Recipe
from fastgan.random import Stream


def draw_latents(
    recipe: Recipe, n: int, number: int | Count, *, seed: int, device: str, stream: int = Stream.NOISE
) -> Array:
    """The latents of one draw; (n, z), or with k classes (n, z + k), each class as likely as another."""
    z, k = draw_noise(recipe, n, number, seed=seed, device=device, stream=stream), recipe.classes
    if not k:
        return z
    xp = module_of(device)
    u = random.uniform((n, 1), seed=seed, stream=Stream.LABEL | stream << 4, step=number, device=device)
    y = xp.floor(u * k) == xp.arange(k, dtype=np.float32)
    return xp.concatenate([z, y.astype(np.float32)], axis=1)


def draw_noise(
    recipe: Recipe, n: int, number: int | Count, *, seed: int, device: str, stream: int = Stream.NOISE
) -> Array:
    """The random part of latents; (n, z)."""
    shape = (n, recipe.latent)
    if recipe.noise == "normal":
        return random.normal(shape, seed=seed, stream=stream, step=number, device=device)
    return random.uniform(shape, -1, 1, seed=seed, stream=stream, step=number, device=device)
