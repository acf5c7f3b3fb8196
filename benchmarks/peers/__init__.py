"""The same training steps as users of other engines write them, to be timed against fastgan in one process.

One idea: a recipe is a row of facts (`SETTINGS`) that every peer reads, so that two peers cannot differ in a width or
a learning rate; each peer writes only how its engine runs the row. Peers run on the CPU with their engine's default
thread settings, or on a GPU, in float32 without TF32. A peer's module imports its engine in `make`, so that looking at
`RECIPES` costs nothing.

Sources: `keras-mlp` is gan.py of eriklindernoren/Keras-GAN, `toy-mlp` the PyTorch MLP toy GAN, `cs231n-vanilla` and
`cs231n-dcgan` assignment 3 of cs231n; `wgan-gp-mlp` joins the networks of the first of these to the settings of
Gulrajani et al. 2017, and `igul-mnist-wgan-gp` is gan_mnist.py of these authors.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers.agreement import (
    Arrays,
    Images,
    check_start,
    disagreement,
    peer_facts,
    same_networks,
    start_like,
    trainer_facts,
)
from fastgan.errors import DataError, UsageError

__all__ = [
    "ALL",
    "BATCH_NORM_EPS",
    "BATCH_NORM_MOMENTUM",
    "CONVOLUTIONAL",
    "CRITIC_UPDATES",
    "PENALTY",
    "PIXELS",
    "SETTINGS",
    "Arrays",
    "Images",
    "Peer",
    "Setting",
    "check_start",
    "disagreement",
    "peer_facts",
    "runs",
    "same_networks",
    "setting",
    "start_like",
    "trainer_facts",
]

PIXELS = 784
PENALTY = 10.0  # lambda of Gulrajani et al. 2017
CRITIC_UPDATES = 5  # n_critic of the same


@dataclass(frozen=True)
class Setting:
    """One recipe: widths run from input to output, a slope of 0 means ReLU, `betas` and `eps` are Adam's.

    A recipe with `convolutions` has its ends as widths; the layers between them are code, in `torch_conv`.
    `critic_update` is `joint` (one update on the sum of the real and the fake loss), `separate` (one update on each,
    fakes drawn with the running statistics of batch norm) or `penalty` (`critic_updates` Wasserstein updates).
    """

    generator: tuple[int, ...]
    critic: tuple[int, ...]
    noise: Literal["normal", "uniform"]
    batch: int
    lr: float
    betas: tuple[float, float]
    generator_slope: float = 0.0
    critic_slope: float = 0.0
    eps: float = 1e-8
    batch_norm: bool = False
    critic_update: Literal["joint", "separate", "penalty"] = "joint"
    critic_updates: int = CRITIC_UPDATES
    convolutions: str = ""  # whose networks
    low: float = -1.0  # what black becomes; white is 1


SETTINGS = {
    "keras-mlp": Setting(
        generator=(100, 256, 512, 1024, PIXELS),
        critic=(PIXELS, 512, 256, 1),
        generator_slope=0.2,
        critic_slope=0.2,
        noise="normal",
        batch=32,
        lr=2e-4,
        betas=(0.5, 0.999),
        eps=1e-7,
        batch_norm=True,
        critic_update="separate",
    ),
    "toy-mlp": Setting(
        generator=(64, 256, 256, PIXELS),
        critic=(PIXELS, 256, 256, 1),
        generator_slope=0.0,
        critic_slope=0.2,
        noise="normal",
        batch=100,
        lr=2e-4,
        betas=(0.9, 0.999),
    ),
    "cs231n-vanilla": Setting(
        generator=(96, 1024, 1024, PIXELS),
        critic=(PIXELS, 256, 256, 1),
        generator_slope=0.0,
        critic_slope=0.01,
        noise="uniform",
        batch=128,
        lr=1e-3,
        betas=(0.5, 0.999),
    ),
    "wgan-gp-mlp": Setting(
        generator=(96, 1024, 1024, PIXELS),
        critic=(PIXELS, 256, 256, 1),
        generator_slope=0.0,
        critic_slope=0.01,
        noise="uniform",
        batch=64,
        lr=1e-4,
        betas=(0.5, 0.9),
        critic_update="penalty",
    ),
}
CONVOLUTIONAL = {  # only PyTorch runs these
    "cs231n-dcgan": Setting(
        generator=(96, PIXELS),
        critic=(PIXELS, 1),
        noise="uniform",
        batch=128,
        lr=1e-3,
        betas=(0.5, 0.999),
        convolutions="cs231n-dcgan",
    ),
    "igul-mnist-wgan-gp": Setting(
        generator=(128, PIXELS),
        critic=(PIXELS, 1),
        noise="normal",
        batch=50,
        lr=1e-4,
        betas=(0.5, 0.9),
        critic_update="penalty",
        convolutions="igul-mnist-wgan-gp",
        low=0.0,
    ),
}
ALL = SETTINGS | CONVOLUTIONAL
BATCH_NORM_EPS = 1e-3  # Keras's default
BATCH_NORM_MOMENTUM = 0.8  # share of the old running statistic that is kept, in Keras's sense


@dataclass(frozen=True)
class Peer:
    """A recipe ready to run: time `step` followed by `sync`; pairs are (generator, critic) unless said otherwise."""

    name: str
    step: Callable[[], None]
    sync: Callable[[], None]  # returns when every step so far has finished
    losses: Callable[[], tuple[float, float]]  # (critic, generator) of the latest step; waits for it
    updates: Callable[[], tuple[int, int]]  # optimiser updates so far, from Adam's own counter
    parameters: tuple[int, int]  # trainable numbers
    latent: int  # numbers in a row of noise
    start: Callable[[Arrays, Arrays], None]  # takes over fastgan's parameters, as `start_like` gives them
    play: Callable[[Images, Images], tuple[Images, Images]]  # images of z, scores of x: see `agreement.play`
    values: Callable[
        [], tuple[Arrays, Arrays]
    ]  # copies of the parameters, in order, as the engine lays them out


def setting(
    recipe: str | Setting, data: NDArray[np.float32], rows: Mapping[str, Setting] = SETTINGS
) -> Setting:
    """The row of `recipe`, or a row itself; raises `UsageError` for one not in `rows`, `DataError` unless data is
    float32 (n, 784).
    """
    if isinstance(recipe, str) and recipe not in rows:
        raise UsageError(f"this peer does not run the recipe {recipe!r}; choose one of {', '.join(rows)}")
    if data.dtype != np.float32 or data.ndim != 2 or data.shape[1] != PIXELS or not len(data):
        raise DataError(
            f"data is {data.dtype} of shape {data.shape}, wanted float32 (n, {PIXELS}); reshape and cast it first"
        )
    return rows[recipe] if isinstance(recipe, str) else recipe


def runs(module: str, recipe: str) -> bool:
    """Whether a module of this package has the recipe; imports no engine."""
    return recipe in importlib.import_module(f"fastgan.benchmarks.peers.{module}").RECIPES
