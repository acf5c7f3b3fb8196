"""What every peer is told: the recipes as rows of facts, and what a peer is (`Peer`).

One idea: a recipe is a row (`Setting`) that every peer reads, so that two peers cannot differ in a width or a learning
rate; each peer writes only how its engine runs the row.

Sources: `keras-mlp` is gan.py of eriklindernoren/Keras-GAN, `toy-mlp` the PyTorch MLP toy GAN, `cs231n-vanilla` and
`cs231n-dcgan` assignment 3 of cs231n; `wgan-gp-mlp` joins the networks of the first of these to the settings of
Gulrajani et al. 2017, and `igul-mnist-wgan-gp` is gan_mnist.py of these authors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastgan.errors import UsageError

Images = NDArray[np.float32]
Arrays = list[NDArray[np.float32]]

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


def widening(n: int) -> float:
    """What a batch's variance is multiplied by before the running one moves towards it: Keras 2's correction.

    That of PyTorch's own batch norm, n / (n - 1), is less than 1e-4 away at 32 rows.
    """
    return n / (n - 1 - BATCH_NORM_EPS)


@dataclass(frozen=True)
class Peer:
    """A recipe ready to run: time `step` followed by `sync`; pairs are (generator, critic) unless said otherwise."""

    step: Callable[[], None]
    sync: Callable[[], None]  # returns when every step so far has finished
    losses: Callable[[], tuple[float, float]]  # (critic, generator) of the latest step; waits for it
    updates: Callable[[], tuple[int, int]]  # optimizer updates so far, from Adam's own counter
    parameters: tuple[int, int]  # trainable numbers
    latent: int  # numbers in a row of noise
    start: Callable[[Arrays, Arrays], None]  # takes over fastgan's parameters, as `start_like` gives them
    play: Callable[[Images, Images], tuple[Images, Images]]  # images of z, scores of x: see `agreement.play`
    values: Callable[[], tuple[Arrays, Arrays]]  # copies of the parameters, as the engine lays them out


def check_start(networks: Sequence[Arrays], shapes: Sequence[Sequence[tuple[int, ...]]]) -> None:
    """UsageError unless the arrays of both networks, (generator, critic), have these shapes."""
    for name, arrays, wanted in zip(("generator", "critic"), networks, shapes, strict=True):
        found = [array.shape for array in arrays]
        odd = [n for n, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]]
        if odd or len(found) != len(wanted):
            what = (
                f"shape {found[odd[0]]} for its parameter {odd[0]}, wanted {wanted[odd[0]]}"
                if odd
                else f"{len(found)} parameters, wanted {len(wanted)}"
            )
            raise UsageError(f"start of the {name}: got {what}; take them from a trainer of the same recipe")
