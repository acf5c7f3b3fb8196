"""HIPS autograd on NumPy: the dense recipes as its users write them, losses of lists of layers and `value_and_grad`.

One idea: float32 stays float32, which autograd does not see to by itself: its gradients of `mean`, `var`, `maximum` and
`where` are float64 (1.9 on NumPy 2), so means are sums over lengths, and slopes are multiplied in. A network is a list
of layers, tuples (w, b) or, where batch norm follows, (w, b, gamma, beta): w (i, o), the others (o,).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

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
from fastgan.errors import UsageError

RECIPES: tuple[str, ...] = tuple(SETTINGS)
Layers = list[Any]  # tuples of arrays, or of what autograd puts in their place


def make(recipe: str | Setting, data: NDArray[np.float32], *, seed: int = 0, device: str = "cpu") -> Peer:
    """`recipe` on `data`, float32 (n, 784) in [-1, 1]; raises `UsageError`, for another device than the CPU too."""
    if device != "cpu":
        raise UsageError(f"autograd: got device {device}, wanted cpu: it has no other")
    gan = Gan(setting(recipe, data), data, seed)
    learners = gan.generator, gan.critic
    return Peer(
        step=gan.step,
        sync=lambda: None,
        losses=lambda: (float(gan.critic_loss), float(gan.generator_loss)),
        updates=lambda: (gan.generator.updates, gan.critic.updates),
        parameters=(gan.generator.size(), gan.critic.size()),
        latent=gan.row.generator[0],
        start=gan.start,
        play=lambda z, x: (gan.generate(gan.generator.layers, z, training=True)[0], gan.scores(x)),
        values=lambda: ([p.copy() for p in learners[0].flat()], [p.copy() for p in learners[1].flat()]),
    )


def gradient_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, mix: Any) -> Any:
    """E[(|d critic / d x_hat| - 1)^2] at x_hat = real + mix (fake - real); (n, i), (n, i), (n, 1) -> ()."""
    from autograd import elementwise_grad
    from autograd import numpy as anp

    slope = elementwise_grad(critic)(
        real + mix * (fake - real)
    )  # (n, i): a score depends on its own sample alone
    norm = anp.sqrt(anp.sum(slope * slope, axis=1) + 1e-12)  # finite derivative where the critic is flat
    return _mean((norm - 1) * (norm - 1))


class Learner:
    """A network with Adam's two moments and the number of its updates."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.mean = [tuple(map(np.zeros_like, layer)) for layer in layers]
        self.square = [tuple(map(np.zeros_like, layer)) for layer in layers]
        self.updates = 0

    def flat(self) -> Arrays:
        """All parameters in order."""
        return [p for layer in self.layers for p in layer]

    def size(self) -> int:
        return sum(p.size for p in self.flat())

    def fill(self, arrays: Arrays) -> None:
        """Take copies of other parameters."""
        values = iter(arrays)
        self.layers = [tuple(next(values).copy() for _ in layer) for layer in self.layers]

    def descend(self, row: Setting, loss: Callable[[Layers], Any]) -> Any:
        """One step of autograd.misc.optimizers.adam, for each array instead of all in one; gives the loss back."""
        from autograd import value_and_grad

        value, gradients = value_and_grad(loss)(self.layers)
        self.updates += 1
        trees = zip(self.layers, gradients, self.mean, self.square, strict=True)
        moved = [
            [_adam(row, self.updates, *one) for one in zip(*layers, strict=True)] for layers in trees
        ]  # (p, m, v) of each parameter of each layer
        self.layers, self.mean, self.square = (
            [tuple(state[part] for state in layer) for layer in moved] for part in range(3)
        )
        return value


class Gan:
    """Networks, optimizers and data of one run; `step` is what is timed."""

    def __init__(self, row: Setting, data: NDArray[np.float32], seed: int) -> None:
        self.row, self.data, self.rng = row, data, np.random.default_rng(seed)
        self.generator = Learner(_layers(row.generator, self.rng, batch_norm=row.batch_norm))
        self.critic = Learner(_layers(row.critic, self.rng, batch_norm=False))
        hidden = row.generator[1:-1] if row.batch_norm else ()
        self.running = [(np.zeros(o, np.float32), np.ones(o, np.float32)) for o in hidden]
        self.critic_loss = self.generator_loss = float("nan")
        self.train_critic = {
            "joint": self._critic_joint,
            "separate": self._critic_separate,
            "penalty": self._critic_penalty,
        }[row.critic_update]

    def start(self, generator: Arrays, critic: Arrays) -> None:
        """See `Peer`."""
        learners = self.generator, self.critic
        check_start((generator, critic), [[p.shape for p in learner.flat()] for learner in learners])
        self.generator.fill(generator)
        self.critic.fill(critic)

    def step(self) -> None:
        self.critic_loss = self.train_critic()
        self.generator_loss = self._train_generator()

    def _critic_joint(self) -> Any:
        real, fake = self._batch(), self._fakes()
        return self.critic.descend(
            self.row, lambda critic: _bce(self.scores(real, critic), 1) + _bce(self.scores(fake, critic), 0)
        )

    def _critic_separate(self) -> Any:
        real, fake = self._batch(), self._fakes()
        real_loss = self.critic.descend(self.row, lambda critic: _bce(self.scores(real, critic), 1))
        fake_loss = self.critic.descend(self.row, lambda critic: _bce(self.scores(fake, critic), 0))
        return (real_loss + fake_loss) / 2  # what the article prints; each update used its whole loss

    def _critic_penalty(self) -> Any:
        for _ in range(self.row.critic_updates):
            last = self.critic.descend(self.row, self._penalized())
        return last

    def _penalized(self) -> Callable[[Layers], Any]:
        """The Wasserstein loss with its penalty, of the critic, on samples of its own."""
        real, fake = self._batch(), self._fakes()
        mix = self.rng.random((len(real), 1), dtype=np.float32)

        def loss(critic: Layers) -> Any:
            penalty = gradient_penalty(lambda x: self.scores(x, critic), real, fake, mix)
            return _mean(self.scores(fake, critic)) - _mean(self.scores(real, critic)) + PENALTY * penalty

        return loss

    def _train_generator(self) -> Any:
        z, moments = self._noise(), []

        def loss(generator: Layers) -> Any:
            images, batch = self.generate(generator, z, training=True)
            moments.append(batch)
            scores = self.scores(images)
            return -_mean(scores) if self.row.critic_update == "penalty" else _bce(scores, 1)

        value = self.generator.descend(self.row, loss)
        keep, wide = BATCH_NORM_MOMENTUM, widening(len(z))
        self.running = [
            (
                keep * mean + (1 - keep) * _plain(new_mean),
                keep * variance + (1 - keep) * wide * _plain(new_variance),
            )
            for (mean, variance), (new_mean, new_variance) in zip(self.running, moments[0], strict=True)
        ]
        return value

    def generate(self, layers: Layers, z: Any, *, training: bool) -> tuple[Any, list[Any]]:
        """Images (n, 784) from noise (n, z), and the mean and variance that each batch norm used."""
        from autograd import numpy as anp

        h, moments = z, []
        for number, (w, b, *scales) in enumerate(layers[:-1]):
            h = _activation(self.row.generator_slope, anp.dot(h, w) + b)
            if scales:
                moments.append(_moments(h) if training else self.running[number])
                mean, variance = moments[-1]
                h = (h - mean) / anp.sqrt(variance + BATCH_NORM_EPS) * scales[0] + scales[1]
        w, b = layers[-1]
        return anp.tanh(anp.dot(h, w) + b), moments

    def scores(self, x: Any, layers: Layers | None = None) -> Any:
        """Logits of the critic, (n, i) -> (n, 1)."""
        from autograd import numpy as anp

        layers = self.critic.layers if layers is None else layers
        for w, b in layers[:-1]:
            x = _activation(self.row.critic_slope, anp.dot(x, w) + b)
        w, b = layers[-1]
        return anp.dot(x, w) + b

    def _batch(self) -> Images:
        return self.data[self.rng.integers(len(self.data), size=self.row.batch)]

    def _fakes(self) -> Images:
        fakes: Images = self.generate(self.generator.layers, self._noise(), training=False)[0]
        return fakes

    def _noise(self) -> Images:
        shape = self.row.batch, self.row.generator[0]
        if self.row.noise == "normal":
            return self.rng.standard_normal(shape, dtype=np.float32)
        return self.rng.random(shape, dtype=np.float32) * 2 - 1


def _adam(row: Setting, t: int, p: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
    """Parameters and moments after step `t`, from 1."""
    b1, b2 = row.betas
    m = (1 - b1) * g + b1 * m
    v = (1 - b2) * (g * g) + b2 * v
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return p - row.lr * m_hat / (np.sqrt(v_hat) + row.eps), m, v


def _layers(widths: tuple[int, ...], rng: np.random.Generator, *, batch_norm: bool) -> Layers:
    """Weights and biases from U(-1/sqrt(i), 1/sqrt(i)), PyTorch's default, so that peers start alike."""
    layers: Layers = []
    for number, (i, o) in enumerate(pairwise(widths)):
        w, b = (rng.uniform(-(i**-0.5), i**-0.5, shape).astype(np.float32) for shape in ((i, o), (o,)))
        norm = batch_norm and number < len(widths) - 2
        layers.append((w, b, np.ones(o, np.float32), np.zeros(o, np.float32)) if norm else (w, b))
    return layers


def _activation(slope: float, x: Any) -> Any:
    """Its second derivative is 0, as it should be: the comparison is a constant to autograd."""
    return x * np.where(_plain(x) > 0, np.float32(1), np.float32(slope))


def _moments(x: Any) -> tuple[Any, Any]:
    """Mean and variance of each feature of a batch (n, o)."""
    from autograd import numpy as anp

    mean = anp.sum(x, axis=0) / len(x)
    centred = x - mean
    return mean, anp.sum(centred * centred, axis=0) / len(x)


def _bce(logits: Any, label: int) -> Any:
    """Mean binary cross-entropy with logits, all labels alike: E[softplus(-s)] for 1, E[softplus(s)] for 0."""
    from autograd import numpy as anp

    return _mean(anp.logaddexp(np.float32(0), -logits if label else logits))


def _mean(x: Any) -> Any:
    """Of (n,) or (n, 1)."""
    from autograd import numpy as anp

    return anp.sum(x) / len(x)


def _plain(x: Any) -> Any:
    """The array under however many of autograd's boxes: `getval` takes off one."""
    from autograd.tracer import getval, isbox

    while isbox(x):
        x = getval(x)
    return x
