"""The convolutional networks as a PyTorch user writes them: `nn.Sequential` over NCHW, flat samples in and out.

One idea: they compute what fastgan's do, not something like it (a test copies weights over). So TensorFlow's SAME is
spelt out: a 5x5 convolution of stride 2 on an even size pads 1 before and 2 after, which PyTorch's own `padding` cannot
say, and its transpose drops the last row and column of what padding=1 leaves.

On the CPU weights are channels_last, which is no slower here: a cs231n-dcgan step took 0.88 of the time, one of
igul-mnist-wgan-gp the same (one thread). This module imports torch, so others import it late.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

IMAGE = (1, 28, 28)


def networks(recipe: str, device: str = "cpu") -> tuple[nn.Sequential, nn.Sequential]:
    """Generator (n, z) -> (n, 784) and critic (n, 784) -> (n, 1) of a recipe, with first values from torch's seed."""
    layout = torch.channels_last if device == "cpu" else torch.contiguous_format
    generator, critic = (make().to(device, memory_format=layout) for make in NETWORKS[recipe])
    return generator, critic


class Crop(nn.Module):  # type: ignore[misc, unused-ignore]
    """The top-left `size` x `size` of images (n, c, h, w)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.size, : self.size]


def _cs231n_generator() -> nn.Sequential:
    network = nn.Sequential(
        nn.Linear(96, 1024),
        nn.ReLU(),
        nn.BatchNorm1d(1024),
        nn.Linear(1024, 7 * 7 * 128),
        nn.ReLU(),
        nn.BatchNorm1d(7 * 7 * 128),
        nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
    )
    return _xavier(network)


def _cs231n_critic() -> nn.Sequential:
    network = nn.Sequential(
        nn.Unflatten(1, IMAGE),
        nn.Conv2d(1, 32, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 64, 4 * 4 * 64),
        nn.LeakyReLU(0.01),
        nn.Linear(4 * 4 * 64, 1),
    )
    return _xavier(network)


def _xavier(network: nn.Sequential) -> nn.Sequential:
    """The assignment's first values: convolutions keep PyTorch's."""
    for layer in network:
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
    return network


def _igul_generator() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(128, 4 * 4 * 256),
        nn.ReLU(),
        nn.Unflatten(1, (256, 4, 4)),
        *_up(256, 128, 7),
        nn.ReLU(),
        *_up(128, 64, 14),
        nn.ReLU(),
        *_up(64, 1, 28),
        nn.Sigmoid(),
        nn.Flatten(),
    )


def _igul_critic() -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, IMAGE),
        nn.ZeroPad2d((1, 2, 1, 2)),  # 28 -> 14
        nn.Conv2d(1, 64, 5, stride=2),
        nn.LeakyReLU(0.2),
        nn.ZeroPad2d((1, 2, 1, 2)),  # 14 -> 7
        nn.Conv2d(64, 128, 5, stride=2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(128, 256, 5, stride=2, padding=2),  # 7 -> 4
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 256, 1),
    )


def _up(i: int, o: int, size: int) -> tuple[nn.Module, nn.Module]:
    """Twice as large, then cut to `size`; the source cuts 8x8 to 7x7 in a step of its own."""
    return nn.ConvTranspose2d(i, o, 5, stride=2, padding=1), Crop(size)


NETWORKS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "cs231n-dcgan": (_cs231n_generator, _cs231n_critic),
    "igul-mnist-wgan-gp": (_igul_generator, _igul_critic),
}
