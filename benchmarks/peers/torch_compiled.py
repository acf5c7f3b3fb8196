"""PyTorch compiled by Inductor: each update of a recipe is one compiled function, and a step of them one CUDA graph.

One idea: torch.compile cannot see through backward() where it is differentiated again (the penalty), so the updates are
functions of lists of tensors, differentiated by torch.func inside the compiled function and written back in place. The
graph is what mode "reduce-overhead" would make, but one for all updates of a step. A layer is w (o, i), b (o,), and
gamma, beta (o,) where batch norm follows; parameters, gradients and moments are flat lists of these.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers import setting
from fastgan.benchmarks.peers.settings import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    PENALTY,
    SETTINGS,
    Arrays,
    Images,
    Peer,
    Setting,
    check_start,
    widening,
)
from fastgan.benchmarks.peers.torch_eager import syncing
from fastgan.benchmarks.peers.torch_graph import Replayed

if TYPE_CHECKING:
    from torch import Tensor

RECIPES: tuple[str, ...] = tuple(SETTINGS)
Tensors = list[Any]


def make(recipe: str | Setting, data: NDArray[np.float32], *, seed: int = 0, device: str = "cuda") -> Peer:
    """`recipe` on `data`, float32 (n, 784) in [-1, 1]; the first step compiles. Raises `UsageError`."""
    gan = _Gan(setting(recipe, data), data, seed, device)
    return Peer(
        step=Replayed(gan.step) if device == "cuda" else gan.step,
        sync=syncing(device),
        losses=lambda: (gan.losses[0].item(), gan.losses[1].item()),
        updates=lambda: (int(gan.generator.updates), int(gan.critic.updates)),
        parameters=(gan.generator.size(), gan.critic.size()),
        latent=gan.row.generator[0],
        start=gan.start,
        play=gan.play,
        values=lambda: (gan.generator.values(), gan.critic.values()),
    )


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as a whole: a part that does not compile is an error."""
    import torch

    whole: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False)
    return whole


class _Learner:
    """A network's parameters with Adam's two moments and the number of its updates, a tensor too."""

    def __init__(self, widths: tuple[int, ...], device: str, *, batch_norm: bool) -> None:
        import torch

        self.parameters: Tensors = []
        for number, (i, o) in enumerate(pairwise(widths)):
            layer = torch.nn.Linear(i, o, device=device)
            self.parameters += [layer.weight.detach(), layer.bias.detach()]
            if batch_norm and number < len(widths) - 2:
                self.parameters += [torch.ones(o, device=device), torch.zeros(o, device=device)]
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.updates = torch.zeros((), device=device)

    def size(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def values(self) -> Arrays:
        """Copies of the parameters, on the host."""
        return [np.array(p.cpu().numpy()) for p in self.parameters]

    def descend(self, row: Setting, loss: Callable[[Tensors], Any]) -> Any:
        """One Adam step (Kingma & Ba 2015, algorithm 1) on a loss that gives (value, anything); gives both back."""
        import torch

        gradients, (value, extra) = torch.func.grad_and_value(loss, has_aux=True)(self.parameters)
        (b1, b2), t = row.betas, self.updates.add_(1)
        torch._foreach_lerp_(self.mean, gradients, 1 - b1)
        torch._foreach_mul_(self.square, b2)
        torch._foreach_addcmul_(self.square, gradients, gradients, value=1 - b2)
        below = torch._foreach_sqrt(self.square)
        torch._foreach_mul_(below, (1 - b2**t).rsqrt())
        torch._foreach_add_(below, row.eps)
        moves = torch._foreach_div(self.mean, below)
        torch._foreach_mul_(moves, -row.lr / (1 - b1**t))
        torch._foreach_add_(self.parameters, moves)
        return value, extra


class _Gan:
    """Everything that a step changes, and the updates that change it; `step` is what is timed."""

    def __init__(self, row: Setting, data: NDArray[np.float32], seed: int, device: str) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")  # PyTorch's default, said aloud: no TF32
        torch.manual_seed(seed)
        self.row, self.device = row, device
        self.data = torch.tensor(data, device=device)
        self.generator = _Learner(row.generator, device, batch_norm=row.batch_norm)
        self.critic = _Learner(row.critic, device, batch_norm=False)
        hidden = row.generator[1:-1] if row.batch_norm else ()
        self.running = [[torch.zeros(o, device=device), torch.ones(o, device=device)] for o in hidden]
        self.losses: Tensors = [torch.tensor(float("nan"))] * 2
        update = {
            "joint": self._critic_joint,
            "separate": self._critic_separate,
            "penalty": self._critic_penalty,
        }[row.critic_update]
        self.critic_updates = row.critic_updates if row.critic_update == "penalty" else 1
        self.update_critic = compiled(update)
        self.update_generator = compiled(self._train_generator)

    def start(self, generator: Arrays, critic: Arrays) -> None:
        """In place, as a graph may know where the parameters are."""
        import torch

        learners = self.generator, self.critic
        check_start((generator, critic), [[tuple(p.shape)[::-1] for p in x.parameters] for x in learners])
        for learner, arrays in zip(learners, (generator, critic), strict=True):
            for p, value in zip(learner.parameters, arrays, strict=True):
                p.copy_(torch.tensor(value.T))

    def play(self, z: Images, x: Images) -> tuple[Images, Images]:
        """See `Peer`."""
        import torch

        latents, samples = (torch.tensor(a, device=self.device) for a in (z, x))
        images = self._generate(self.generator.parameters, latents, training=True)[0]
        scores = self._score(self.critic.parameters, samples)
        return images.cpu().numpy(), scores.cpu().numpy()

    def step(self) -> None:
        for _ in range(self.critic_updates):
            critic_loss = self.update_critic()
        self.losses = [critic_loss, self.update_generator()]

    def _critic_joint(self) -> Tensor:
        real, fake = self._batch(), self._fakes()

        def loss(critic: Tensors) -> Any:
            return _bce(self._score(critic, real), 1) + _bce(self._score(critic, fake), 0), ()

        return self._descend_critic(loss)

    def _critic_separate(self) -> Tensor:
        real, fake = self._batch(), self._fakes()
        real_loss = self._descend_critic(lambda critic: (_bce(self._score(critic, real), 1), ()))
        fake_loss = self._descend_critic(lambda critic: (_bce(self._score(critic, fake), 0), ()))
        return (real_loss + fake_loss) / 2  # what the article prints; each update used its whole loss

    def _critic_penalty(self) -> Tensor:
        import torch

        real, fake = self._batch(), self._fakes()
        mix = torch.rand(len(real), 1, device=self.device)

        def loss(critic: Tensors) -> Any:
            scores = self._score(critic, fake).mean() - self._score(critic, real).mean()
            penalty = gradient_penalty(lambda x: self._score(critic, x), real, fake, mix)
            return scores + PENALTY * penalty, ()

        return self._descend_critic(loss)

    def _descend_critic(self, loss: Callable[[Tensors], Any]) -> Tensor:
        value: Tensor = self.critic.descend(self.row, loss)[0]
        return value

    def _train_generator(self) -> Tensor:
        z = self._noise()

        def loss(generator: Tensors) -> Any:
            images, statistics = self._generate(generator, z, training=True)
            scores = self._score(self.critic.parameters, images)
            return -scores.mean() if self.row.critic_update == "penalty" else _bce(scores, 1), statistics

        value, statistics = self.generator.descend(self.row, loss)
        wide = widening(len(z))
        for (mean, variance), (new_mean, new_variance) in zip(self.running, statistics, strict=True):
            mean.lerp_(new_mean, 1 - BATCH_NORM_MOMENTUM)
            variance.lerp_(new_variance * wide, 1 - BATCH_NORM_MOMENTUM)
        result: Tensor = value
        return result

    def _generate(self, parameters: Tensors, z: Tensor, *, training: bool) -> tuple[Any, Tensors]:
        """Images (n, 784) from noise (n, z), and the mean and variance of each batch norm's batch."""
        import torch
        from torch.nn.functional import linear

        *hidden, w, b = parameters
        per_layer, h, statistics = (4 if self.row.batch_norm else 2), z, []
        for number in range(len(hidden) // per_layer):
            layer = hidden[number * per_layer : (number + 1) * per_layer]
            h = _activation(self.row.generator_slope, linear(h, *layer[:2]))
            if self.row.batch_norm:
                kept = self.running[number]
                moments = [h.mean(dim=0), h.var(dim=0, unbiased=False)] if training else kept
                h = (h - moments[0]) * (moments[1] + BATCH_NORM_EPS).rsqrt() * layer[2] + layer[3]
                statistics.append([m.detach() for m in moments])
        return torch.tanh(linear(h, w, b)), statistics

    def _score(self, parameters: Tensors, x: Any) -> Any:
        """Logits of the critic, (n, i) -> (n, 1)."""
        from torch.nn.functional import linear

        for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            x = _activation(self.row.critic_slope, linear(x, w, b))
        return linear(x, *parameters[-2:])

    def _batch(self) -> Any:
        import torch

        return self.data[torch.randint(len(self.data), (self.row.batch,), device=self.device)]

    def _fakes(self) -> Any:
        return self._generate(self.generator.parameters, self._noise(), training=not self.row.batch_norm)[0]

    def _noise(self) -> Any:
        import torch

        shape = self.row.batch, self.row.generator[0]
        if self.row.noise == "normal":
            return torch.randn(shape, device=self.device)
        return torch.rand(shape, device=self.device) * 2 - 1


def gradient_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, mix: Any) -> Any:
    """E[(|d critic / d x_hat| - 1)^2] at x_hat = real + mix (fake - real); (n, i), (n, i), (n, 1) -> ()."""
    import torch

    slope = torch.func.grad(lambda x: critic(x).sum())(real + mix * (fake - real))  # (n, i)
    norm = (slope.square().sum(dim=1) + 1e-12).sqrt()  # finite derivative where the critic is flat
    return (norm - 1).square().mean()


def _activation(slope: float, x: Any) -> Any:
    from torch.nn.functional import leaky_relu, relu

    return leaky_relu(x, slope) if slope else relu(x)


def _bce(logits: Any, label: int) -> Any:
    """Mean binary cross-entropy with logits, all labels alike: E[softplus(-s)] for 1, E[softplus(s)] for 0."""
    from torch.nn.functional import softplus

    return softplus(-logits if label else logits).mean()
