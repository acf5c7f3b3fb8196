"""The "before" of every table of speed-ups: a GAN as the reader of a NumPy-only tutorial writes it, on NumPy or CuPy.

One idea: no engine. Weights, biases and Adam's moments lie in lists with an entry per array, the backward pass is
written by hand, every line is an array expression with a result of its own, and both costs are read and shown at every
step. This is the manner of Seo's NumPy-only GAN and its CuPy port (JaeDukSeo/Personal_Daily_NeuralNetwork_Practice,
1_numpy/j_GAN), with batches, any dense networks, and the mistakes of that code corrected: it makes the same steps as
fastgan's recipe of the same networks (a test), and nothing that the gradient does not need.

Shapes: `n` batch, `i`/`o` features in/out of a layer. `xp` is the module `numpy` or `cupy` that the arrays are of.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastgan.device import Array

# an activation and its derivative, both as functions of what the layer's matrix product gives
Activation = tuple[Callable[[Any, Array], Array], Callable[[Any, Array], Array]]


def sigmoid(xp: Any, z: Array) -> Array:
    """1 / (1 + exp(-z)), by tanh, which cannot overflow."""
    return 0.5 * (1 + xp.tanh(0.5 * z))


def leaky_relu(slope: float) -> Activation:
    """z where positive, slope z elsewhere."""
    return lambda xp, z: xp.where(z > 0, z, slope * z), lambda xp, z: xp.where(z > 0, xp.ones_like(z), slope)


ACTIVATIONS: dict[str, Activation] = {
    "linear": (lambda xp, z: z, lambda xp, z: xp.ones_like(z)),
    "relu": leaky_relu(0.0),
    "arctan": (lambda xp, z: xp.arctan(z), lambda xp, z: 1 / (1 + z**2)),
    "tanh": (lambda xp, z: xp.tanh(z), lambda xp, z: 1 - xp.tanh(z) ** 2),
    "sigmoid": (sigmoid, lambda xp, z: sigmoid(xp, z) * (1 - sigmoid(xp, z))),
}


class Network:
    """Dense layers and their Adam: weights (i, o) and biases (o,) in turn, and an activation per layer."""

    def __init__(
        self,
        parameters: Sequence[Array],
        activations: Sequence[Activation],
        xp: Any,
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self.parameters, self.activations, self.xp = list(parameters), activations, xp
        self.lr, self.betas, self.eps = lr, betas, eps
        self.m = [xp.zeros_like(p) for p in parameters]
        self.v = [xp.zeros_like(p) for p in parameters]
        self.t = 0

    def forward(self, x: Array) -> Array:
        """The output for a batch (n, i); what the backward pass needs is kept."""
        self.inputs: list[Array] = []
        self.sums: list[Array] = []
        for k, (activation, _) in enumerate(self.activations):
            w, b = self.parameters[2 * k : 2 * k + 2]
            z = x @ w + b
            self.inputs.append(x)
            self.sums.append(z)
            x = activation(self.xp, z)
        return x

    def backward(self, g: Array) -> list[Array]:
        """Gradients of the parameters, in their order, from the gradient (n, o) for the last output."""
        gradients: list[Array] = []
        for k in reversed(range(len(self.activations))):
            g = self._before_activation(g, k)
            gradients = [self.inputs[k].T @ g, g.sum(axis=0), *gradients]
            if k:
                g = g @ self.parameters[2 * k].T
        return gradients

    def backward_to_input(self, g: Array) -> Array:
        """The gradient (n, i) for the input; none for the parameters."""
        for k in reversed(range(len(self.activations))):
            g = self._before_activation(g, k) @ self.parameters[2 * k].T
        return g

    def _before_activation(self, g: Array, k: int) -> Array:
        if self.activations[k] is ACTIVATIONS["linear"]:
            return g
        return g * self.activations[k][1](self.xp, self.sums[k])

    def update(self, gradients: Sequence[Array]) -> None:
        """A step of Adam, array by array (Kingma and Ba 2015)."""
        self.t += 1
        b1, b2 = self.betas
        for k, g in enumerate(gradients):
            self.m[k] = b1 * self.m[k] + (1 - b1) * g
            self.v[k] = b2 * self.v[k] + (1 - b2) * g**2
            m_hat = self.m[k] / (1 - b1**self.t)
            v_hat = self.v[k] / (1 - b2**self.t)
            self.parameters[k] = self.parameters[k] - self.lr * m_hat / (self.xp.sqrt(v_hat) + self.eps)


class Gan:
    """Both networks; the discriminator's last layer gives logits, (n, 1)."""

    def __init__(self, generator: Network, discriminator: Network) -> None:
        self.generator, self.discriminator, self.xp = generator, discriminator, generator.xp

    def step(self, images: Array, z: Array, next_z: Array) -> tuple[float, float]:
        """The discriminator's update on images and the fakes of z, then the generator's on those of next_z.

        Returns both costs: -log D(x) - log(1 - D(G(z))) and -log D(G(next_z)), means over the batch. As the
        tutorial prints them at every step, the host waits for the device here.
        """
        d_cost, gradients = self.discriminator_gradients(images, self.generator.forward(z))
        self.discriminator.update(gradients)
        g_cost, gradients = self.generator_gradients(next_z)
        self.generator.update(gradients)
        return float(d_cost), float(g_cost)

    def discriminator_gradients(self, images: Array, fakes: Array) -> tuple[Array, list[Array]]:
        """The discriminator's cost, of shape (), and the gradient of each of its parameters."""
        xp, d, n = self.xp, self.discriminator, len(images)
        real = d.forward(images)
        of_real = d.backward((sigmoid(xp, real) - 1) / n)
        fake = d.forward(fakes)
        of_fake = d.backward(sigmoid(xp, fake) / n)
        cost = xp.logaddexp(0, -real).mean() + xp.logaddexp(0, fake).mean()
        return cost, [a + b for a, b in zip(of_real, of_fake, strict=True)]

    def generator_gradients(self, z: Array) -> tuple[Array, list[Array]]:
        """The generator's cost, of shape (), and the gradient of each of its parameters."""
        xp, d = self.xp, self.discriminator
        score = d.forward(self.generator.forward(z))
        g = d.backward_to_input((sigmoid(xp, score) - 1) / len(z))
        return xp.logaddexp(0, -score).mean(), self.generator.backward(g)


class Draws:
    """What a step is given: random images of (N, f), and latents for either update; drawn by `xp`'s own generator."""

    def __init__(
        self, images: Array, batch: int, latent: int, *, uniform: bool, xp: Any, seed: int = 0
    ) -> None:
        self.images, self.shape, self.uniform, self.xp = images, (batch, latent), uniform, xp
        self.rng = xp.random.default_rng(seed)

    def __call__(self) -> tuple[Array, Array, Array]:
        """Images (n, f), then latents (n, z) for the discriminator's update and for the generator's."""
        rows = self.rng.integers(0, len(self.images), size=self.shape[0])
        return self.images[rows], self.noise(), self.noise()

    def noise(self) -> Array:
        """Latents (n, z): uniform in [-1, 1), or N(0, 1)."""
        if self.uniform:
            return self.rng.random(self.shape, dtype=self.xp.float32) * 2 - 1
        return self.rng.standard_normal(self.shape, dtype=self.xp.float32)
