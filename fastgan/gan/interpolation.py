"""Ways from one latent to another, and the images along them: whether a generator has learnt more than single samples.

A straight line between two normal latents passes nearer to the origin than any that the generator was trained on, so
those are joined along a great circle (White 2016, "Sampling Generative Networks"); uniform ones by a straight line.
Letters: `n` ways, `s` steps, `z` latents, `h w c` image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastgan.device import Array, to_host

if TYPE_CHECKING:
    from fastgan.gan.sampling import Sampler

_PARALLEL = 1e-4  # sine of the angle below which a great circle is not defined, or as good as straight


def between(start: Array, end: Array, steps: int, *, spherical: bool) -> Array:
    """(n, z) and (n, z), both ends included, as (n, s, z) float32; straight where two latents lie on one line."""
    t = np.linspace(0, 1, steps)[:, None]
    a, b = start.astype(np.float64)[:, None], end.astype(np.float64)[:, None]  # (n, 1, z)
    lengths = np.linalg.norm(a, axis=2, keepdims=True) * np.linalg.norm(b, axis=2, keepdims=True)
    cosine = (a * b).sum(axis=2, keepdims=True) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(np.clip(cosine, -1, 1))
    curved = (np.sin(angle) > _PARALLEL) & (lengths > 0) & spherical
    sine = np.where(curved, np.sin(angle), 1)
    from_a = np.where(curved, np.sin((1 - t) * angle) / sine, 1 - t)
    from_b = np.where(curved, np.sin(t * angle) / sine, t)
    return np.asarray(from_a * a + from_b * b, np.float32)


def images_between(
    sampler: Sampler, n: int, steps: int, *, seed: int | None = None, label: int | None = None
) -> Array:
    """Images along n ways in s steps, (n, s, h, w, c) in [0, 1]; the first of each are `Trainer.sample`'s of that seed.

    A way keeps its class, where the run has classes: `label`, or each in turn. UsageError for a wrong label.
    """
    z = to_host(sampler.latent(2 * n, seed))
    ways = between(z[:n], z[n:], steps, spherical=sampler.recipe.noise == "normal")
    labels: Any = label
    if label is None and sampler.recipe.classes:
        labels = np.repeat(np.arange(n) % sampler.recipe.classes, steps)
    samples = sampler.sample(n * steps, latent=ways.reshape(n * steps, -1), label=labels)
    return samples.reshape(n, steps, *samples.shape[1:])
