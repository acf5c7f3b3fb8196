"""PyTorch eager: every recipe as the PyTorch tutorials and the WGAN-GP ports write it, on the CPU or a GPU.

One idea: nothing clever and nothing slow. Modules in `nn.Sequential`, Adam with its defaults, fakes for the critic
drawn without a graph, the critic frozen while the generator learns (else autograd computes critic weight gradients
that nobody reads), and no number read back inside a step.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers import setting
from fastgan.benchmarks.peers.settings import (
    ALL,
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    PENALTY,
    Arrays,
    Images,
    Peer,
    Setting,
    check_start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

RECIPES: tuple[str, ...] = tuple(ALL)


def make(recipe: str | Setting, data: NDArray[np.float32], *, seed: int = 0, device: str = "cpu") -> Peer:
    """`recipe` on `data`, float32 (n, 784) in [low, 1]; raises `UsageError` for an unknown name."""
    gan = Gan(setting(recipe, data, ALL), data, seed, device=device)
    return peer(gan, gan.step)


def peer(gan: Gan, step: Callable[[], None]) -> Peer:
    """A `Peer` that steps with `step` and reads from `gan`."""
    return Peer(
        step=step,
        sync=syncing(gan.data.device.type),
        losses=lambda: (gan.critic_loss.item(), gan.generator_loss.item()),
        updates=lambda: (_updates(gan.generator_adam), _updates(gan.critic_adam)),
        parameters=(_size(gan.generator), _size(gan.critic)),
        latent=gan.row.generator[0],
        start=gan.start,
        play=gan.play,
        values=lambda: (_values(gan.generator), _values(gan.critic)),
    )


def syncing(device: str) -> Callable[[], None]:
    """What waits for the work on a device: eager CPU operations have finished when they return."""
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E[(|d critic / d x_hat| - 1)^2] at x_hat = real + mix (fake - real); (n, i), (n, i), (n, 1) -> ()."""
    import torch

    x_hat = torch.lerp(real, fake, mix).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)  # (n, i)
    norm = (slope.square().sum(dim=1) + 1e-12).sqrt()  # finite derivative where the critic is flat
    return (norm - 1).square().mean()


class Gan:
    """Networks, optimizers and data of one run; `step` is what is timed.

    With `capturable`, a step can be captured as a CUDA graph: Adam counts on the device, and random numbers come from
    PyTorch's own generator, which knows about graphs.
    """

    def __init__(
        self,
        row: Setting,
        data: NDArray[np.float32],
        seed: int,
        *,
        device: str = "cpu",
        capturable: bool = False,
    ) -> None:
        import torch
        from torch import nn

        torch.set_float32_matmul_precision("highest")  # PyTorch's default, said aloud: no TF32
        torch.backends.cudnn.allow_tf32 = False  # convolutions use it by default
        torch.backends.cudnn.benchmark = (
            True  # sizes never change, so the fastest algorithm is worth a search
        )
        torch.manual_seed(seed)  # the initial parameters
        self.rng = None if capturable else torch.Generator(device).manual_seed(seed)
        self.torch = torch
        self.row = row
        self.device = device
        self.data = torch.tensor(data, device=device)
        self.generator, self.critic = _networks(row, device)
        self.generator_adam = _adam(self.generator, row, capturable=capturable)
        self.critic_adam = _adam(self.critic, row, capturable=capturable)
        self.bce = nn.BCEWithLogitsLoss()
        self.ones = torch.ones(row.batch, 1, device=device)
        self.zeros = torch.zeros(row.batch, 1, device=device)
        self.critic_loss = self.generator_loss = torch.tensor(float("nan"))
        self.train_critic = {
            "joint": self._critic_joint,
            "separate": self._critic_separate,
            "penalty": self._critic_penalty,
        }[row.critic_update]

    def start(self, generator: Arrays, critic: Arrays) -> None:
        """In place, as a graph may know where the parameters are."""
        from fastgan.benchmarks.peers.torch_layout import load, shape_of_ours

        networks = self.generator, self.critic
        check_start((generator, critic), [[shape_of_ours(p) for p in x.parameters()] for x in networks])
        load(self.generator, generator)
        load(self.critic, critic)

    def play(self, z: Images, x: Images) -> tuple[Images, Images]:
        """See `Peer`; batch norm moves copies of its running statistics."""
        latents, samples = (self.torch.tensor(a, device=self.device) for a in (z, x))
        kept = {name: buffer.clone() for name, buffer in self.generator.named_buffers()}
        with self.torch.no_grad():
            images = self.torch.func.functional_call(self.generator, kept, (latents,))
            scores = self.critic(samples)
        return images.cpu().numpy(), scores.cpu().numpy()

    def step(self) -> None:
        self.critic.requires_grad_(True)
        self.critic_loss = self.train_critic()
        self.critic.requires_grad_(False)
        self.generator_loss = self._train_generator()

    def _critic_joint(self) -> Tensor:
        real, fake = self._batch(), self._fakes()
        loss = self.bce(self.critic(real), self.ones) + self.bce(self.critic(fake), self.zeros)
        return _descend(self.critic_adam, loss)

    def _critic_separate(self) -> Tensor:
        real = _descend(self.critic_adam, self.bce(self.critic(self._batch()), self.ones))
        self.generator.eval()
        fakes = self._fakes()
        self.generator.train()
        fake = _descend(self.critic_adam, self.bce(self.critic(fakes), self.zeros))
        return (real + fake) / 2  # what the article prints; each update used its whole loss

    def _critic_penalty(self) -> Tensor:
        for _ in range(self.row.critic_updates):
            real, fake = self._batch(), self._fakes()
            mix = self.torch.rand(len(real), 1, generator=self.rng, device=self.device)
            penalty = gradient_penalty(self.critic, real, fake, mix)
            loss = self.critic(fake).mean() - self.critic(real).mean() + PENALTY * penalty
            last = _descend(self.critic_adam, loss)
        return last

    def _train_generator(self) -> Tensor:
        scores = self.critic(self.generator(self._noise()))
        wasserstein = self.row.critic_update == "penalty"
        return _descend(self.generator_adam, -scores.mean() if wasserstein else self.bce(scores, self.ones))

    def _batch(self) -> Tensor:
        shape = (self.row.batch,)
        rows = self.torch.randint(len(self.data), shape, generator=self.rng, device=self.device)
        return self.data.index_select(0, rows)

    def _noise(self) -> Tensor:
        shape = self.row.batch, self.row.generator[0]
        if self.row.noise == "normal":
            return self.torch.randn(shape, generator=self.rng, device=self.device)
        return self.torch.empty(shape, device=self.device).uniform_(-1, 1, generator=self.rng)

    def _fakes(self) -> Tensor:
        with self.torch.no_grad():
            fakes: Tensor = self.generator(self._noise())
        return fakes


def _descend(optimizer: torch.optim.Adam, loss: Tensor) -> Tensor:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
    optimizer.step()
    return loss.detach()


def _networks(row: Setting, device: str) -> tuple[nn.Sequential, nn.Sequential]:
    if row.convolutions:
        from fastgan.benchmarks.peers.torch_conv import networks

        return networks(row.convolutions, device)
    return _generator(row).to(device), _critic(row).to(device)


def _generator(row: Setting) -> nn.Sequential:
    from torch import nn

    layers: list[nn.Module] = []
    for i, o in pairwise(row.generator[:-1]):
        layers += [nn.Linear(i, o), _activation(row.generator_slope)]
        if row.batch_norm:
            layers.append(nn.BatchNorm1d(o, eps=BATCH_NORM_EPS, momentum=1 - BATCH_NORM_MOMENTUM))
    return nn.Sequential(*layers, nn.Linear(row.generator[-2], row.generator[-1]), nn.Tanh())


def _critic(row: Setting) -> nn.Sequential:
    from torch import nn

    layers: list[nn.Module] = []
    for i, o in pairwise(row.critic[:-1]):
        layers += [nn.Linear(i, o), _activation(row.critic_slope)]
    return nn.Sequential(*layers, nn.Linear(row.critic[-2], row.critic[-1]))


def _activation(slope: float) -> nn.Module:
    from torch import nn

    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def _adam(network: nn.Module, row: Setting, *, capturable: bool) -> torch.optim.Adam:
    import torch

    settings: dict[str, Any] = {"lr": row.lr, "betas": row.betas, "eps": row.eps}
    # fused, which is no default: on two cores it takes a fifth off a keras-mlp step, and on a GPU more
    return torch.optim.Adam(network.parameters(), fused=True, capturable=capturable, **settings)


def _updates(optimizer: torch.optim.Adam) -> int:
    counters: list[Any] = [state["step"] for state in optimizer.state.values()]
    return int(counters[0]) if counters else 0


def _values(network: nn.Module) -> Arrays:
    """Copies of the parameters, on the host."""
    return [np.array(p.detach().cpu().numpy()) for p in network.parameters()]


def _size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
