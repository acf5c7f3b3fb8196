"""Point sets in the plane whose true distribution is known, so that coverage and quality can be counted.

The idea: a mixture is a table of centres and one standard deviation; a maker draws `n` points once, on the host,
from Philox with a fixed seed. `ring` and `grid` follow PacGAN (Lin et al. 2018, arXiv:1712.04086, appendix and
published code), `eight_gaussians`, `twenty_five_gaussians` and `swiss_roll` the toy script of WGAN-GP (Gulrajani et al.
2017, arXiv:1704.00028), constants 1.414 and 2.828 included. Letters: `n` points, `k` modes.
"""

import numpy as np
from numpy.typing import NDArray

from fastgan.data.dataset import Dataset
from fastgan.errors import UsageError

PACGAN = "Drawn on this machine after Lin et al., PacGAN, 2018 (arXiv:1712.04086)."
WGAN_GP = "Drawn on this machine after Gulrajani et al., Improved Training of WGANs, 2017 (arXiv:1704.00028)."


def ring(n: int = 100_000, *, seed: int = 0) -> Dataset:
    """8 modes at (cos 2 pi i/8, sin 2 pi i/8), standard deviation 0.01; (n, 2) float32, labels are the modes."""
    return _mixture("ring", _circle(8), 0.01, n, seed, source=PACGAN)


def grid(n: int = 100_000, *, seed: int = 0) -> Dataset:
    """25 modes at (-4 + 2i, -4 + 2j), standard deviation 0.05; (n, 2) float32, labels are the modes."""
    return _mixture("grid", _square(5, spacing=2.0), 0.05, n, seed, source=PACGAN)


def eight_gaussians(n: int = 100_000, *, seed: int = 0) -> Dataset:
    """8 modes on a circle of radius 2/1.414, standard deviation 0.02/1.414; (n, 2) float32, labels are the modes."""
    return _mixture("8gaussians", _circle(8) * 2 / 1.414, 0.02 / 1.414, n, seed, source=WGAN_GP)


def twenty_five_gaussians(n: int = 100_000, *, seed: int = 0) -> Dataset:
    """25 modes 2/2.828 apart, standard deviation 0.05/2.828, each with its equal share of the (n, 2) points."""
    modes = _square(5, spacing=2.0) / 2.828
    return _mixture("25gaussians", modes, 0.05 / 2.828, n, seed, equal=True, source=WGAN_GP)


def swiss_roll(n: int = 100_000, *, seed: int = 0) -> Dataset:
    """(t cos t, t sin t) + 0.25 N(0, 1), all divided by 7.5, with t uniform in [1.5 pi, 4.5 pi); (n, 2) float32.

    Columns 0 and 2 of the roll that scikit-learn's make_swiss_roll draws.
    """
    random = _random(n, seed)
    t = 1.5 * np.pi * (1 + 2 * random.random(n))
    roll = np.stack((t * np.cos(t), t * np.sin(t)), axis=1)
    noisy = (roll + 0.25 * random.standard_normal((n, 2))) / 7.5
    return Dataset("swiss-roll", noisy.astype(np.float32), source=WGAN_GP)


MAKERS = {
    "ring": ring,
    "grid": grid,
    "8gaussians": eight_gaussians,
    "25gaussians": twenty_five_gaussians,
    "swiss-roll": swiss_roll,
}


def _circle(k: int) -> NDArray[np.float64]:
    # k angles without the last: linspace over both ends gives one mode twice, a known mistake of published code
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _square(k: int, *, spacing: float) -> NDArray[np.float64]:
    along = spacing * (np.arange(k) - (k - 1) / 2)
    return np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)


def _mixture(
    name: str, modes: NDArray[np.float64], std: float, n: int, seed: int, *, source: str, equal: bool = False
) -> Dataset:
    """n points of a mixture of equal weights: modes drawn at random, or in equal shares and shuffled."""
    random = _random(n, seed)
    k = len(modes)
    which = random.permutation(np.arange(n) % k) if equal else random.integers(k, size=n)
    points = modes[which] + std * random.standard_normal((n, 2))
    return Dataset(
        name, points.astype(np.float32), which.astype(np.int64), modes=modes, mode_std=std, source=source
    )


def _random(n: int, seed: int) -> np.random.Generator:
    if n < 2:
        raise UsageError(f"a point set of {n} points; give at least 2")
    return np.random.Generator(np.random.Philox(seed))
