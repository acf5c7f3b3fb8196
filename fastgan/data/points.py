"""Point sets in the plane whose true distribution is known, so that coverage and quality can be counted.

The idea: a mixture is a row of a table, centres and one standard deviation; `draw` draws `n` points of a set once, on
the host, from Philox with a fixed seed. `ring` and `grid` follow PacGAN (Lin et al. 2018, arXiv:1712.04086, appendix
and published code), the others the toy script of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028), constants 1.414 and
2.828 included. Letters: `n` points, `k` modes.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import Dataset
from fastgan.errors import UsageError

PACGAN = "Drawn on this machine after Lin et al., PacGAN, 2018 (arXiv:1712.04086)."
WGAN_GP = "Drawn on this machine after Gulrajani et al., Improved Training of WGANs, 2017 (arXiv:1704.00028)."


class Mixture(NamedTuple):
    """Gaussians of one standard deviation at modes (k, 2), each drawn by chance or (`equal`) with its equal share."""

    modes: NDArray[np.float64]
    std: float
    source: str
    equal: bool = False


def _circle(k: int) -> NDArray[np.float64]:
    # k angles without the last: linspace over both ends gives one mode twice, a known mistake of published code
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _square(k: int) -> NDArray[np.float64]:
    along = 2.0 * (np.arange(k) - (k - 1) / 2)
    return np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)


MIXTURES = {
    "ring": Mixture(_circle(8), 0.01, PACGAN),
    "grid": Mixture(_square(5), 0.05, PACGAN),
    "8gaussians": Mixture(_circle(8) * 2 / 1.414, 0.02 / 1.414, WGAN_GP),
    "25gaussians": Mixture(_square(5) / 2.828, 0.05 / 2.828, WGAN_GP, equal=True),
}
ROLL = "swiss-roll"
NAMES = (*MIXTURES, ROLL)


def draw(name: str, n: int = 100_000, *, seed: int = 0) -> Dataset:
    """n points (n, 2) float32 of a set; the labels of a mixture are its modes. UsageError for fewer than 2."""
    if n < 2:
        raise UsageError(f"a point set of {n} points; give at least 2")
    random = np.random.Generator(np.random.Philox(seed))
    if name == ROLL:
        return Dataset(name, _swiss_roll(n, random).astype(np.float32), source=WGAN_GP)
    modes, std, source, equal = MIXTURES[name]
    k = len(modes)
    which = random.permutation(np.arange(n) % k) if equal else random.integers(k, size=n)
    points = modes[which] + std * random.standard_normal((n, 2))
    known: dict[str, Any] = {"modes": modes, "mode_std": std, "source": source}
    return Dataset(name, points.astype(np.float32), which.astype(np.int64), **known)


def _swiss_roll(n: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(t cos t, t sin t) + 0.25 N(0, 1), all divided by 7.5, with t uniform in [1.5 pi, 4.5 pi).

    Columns 0 and 2 of the roll that scikit-learn's make_swiss_roll draws.
    """
    t = 1.5 * np.pi * (1 + 2 * random.random(n))
    roll = np.stack((t * np.cos(t), t * np.sin(t)), axis=1)
    noisy: NDArray[np.float64] = (roll + 0.25 * random.standard_normal((n, 2))) / 7.5
    return noisy
