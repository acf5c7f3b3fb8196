"""JAX: the whole training step of every recipe as one jitted function of a donated state, on the CPU or a GPU.

One idea: the state of a run is one pytree (`State`) that goes in and comes out of the compiled step, which draws its
batch and noise from keys split inside; nothing but the dispatch of that one call is left to Python. Adam is
written out because optax would be a dependency for ten lines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers import setting
from fastgan.benchmarks.peers.jax_state import Layers, Learner, State, initial, size, started, values
from fastgan.benchmarks.peers.settings import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    PENALTY,
    SETTINGS,
    Arrays,
    Images,
    Peer,
    Setting,
    widening,
)

if TYPE_CHECKING:
    from jax import Array

RECIPES: tuple[str, ...] = tuple(SETTINGS)


def make(recipe: str | Setting, data: NDArray[np.float32], *, seed: int = 0, device: str = "cpu") -> Peer:
    """`recipe` on `data`, float32 (n, 784) in [-1, 1]; the first step compiles. Raises `UsageError`."""
    row = setting(recipe, data)
    import jax

    if device == "cuda":
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, as everybody here
    # Placed, because JAX would otherwise choose an accelerator and be compared with peers on the CPU.
    place = jax.devices(device)[0]
    images, state = jax.device_put((data, initial(row, seed)), place)
    compiled = jax.jit(partial(_step, row), donate_argnums=0)
    losses: Any = (float("nan"), float("nan"))

    def step() -> None:
        nonlocal state, losses
        state, losses = compiled(state, images)

    def sync() -> None:
        jax.block_until_ready((state, losses))  # type: ignore[no-untyped-call, unused-ignore]

    def start(generator: Arrays, critic: Arrays) -> None:
        nonlocal state
        state = jax.device_put(started(state, generator, critic), place)

    def play(z: Images, x: Images) -> tuple[Images, Images]:
        images, scores = jax.jit(partial(_play, row))(state, z, x)
        return np.array(images), np.array(scores)

    return Peer(
        step=step,
        sync=sync,
        losses=lambda: (float(losses[0]), float(losses[1])),
        updates=lambda: (int(state.generator.updates), int(state.critic.updates)),
        parameters=(size(state.generator.parameters), size(state.critic.parameters)),
        latent=row.generator[0],
        start=start,
        play=play,
        values=lambda: (values(state.generator), values(state.critic)),
    )


def gradient_penalty(critic: Callable[[Array], Array], real: Array, fake: Array, mix: Array) -> Array:
    """E[(|d critic / d x_hat| - 1)^2] at x_hat = real + mix (fake - real); (n, i), (n, i), (n, 1) -> ()."""
    import jax
    import jax.numpy as jnp

    slope = jax.grad(lambda x: critic(x).sum())(real + mix * (fake - real))  # (n, i)
    norm = jnp.sqrt(jnp.square(slope).sum(axis=1) + 1e-12)  # finite derivative where the critic is flat
    return jnp.square(norm - 1).mean()


def _step(row: Setting, state: State, images: Array) -> tuple[State, tuple[Array, Array]]:
    """One whole training step; the losses are (critic, generator)."""
    import jax

    key, critic_key, generator_key = jax.random.split(state.key, 3)
    train = {"joint": _critic_joint, "separate": _critic_separate, "penalty": _critic_penalty}
    critic, critic_loss = train[row.critic_update](row, state, images, critic_key)
    generator, statistics, generator_loss = _train_generator(row, state, critic.parameters, generator_key)
    return State(key, generator, critic, statistics), (critic_loss, generator_loss)


def _critic_joint(row: Setting, state: State, images: Array, key: Array) -> tuple[Learner, Array]:
    import jax

    batch_key, noise_key = jax.random.split(key)
    real, fake = _batch(row, images, batch_key), _fakes(row, state, noise_key)

    def loss(critic: Layers) -> Array:
        return _bce(_score(row, critic, real), 1) + _bce(_score(row, critic, fake), 0)

    return _descend(row, state.critic, loss)


def _critic_separate(row: Setting, state: State, images: Array, key: Array) -> tuple[Learner, Array]:
    import jax

    batch_key, noise_key = jax.random.split(key)
    real, fake = _batch(row, images, batch_key), _fakes(row, state, noise_key)
    critic, real_loss = _descend(row, state.critic, lambda critic: _bce(_score(row, critic, real), 1))
    critic, fake_loss = _descend(row, critic, lambda critic: _bce(_score(row, critic, fake), 0))
    return critic, (real_loss + fake_loss) / 2  # what the article prints; each update used its whole loss


def _critic_penalty(row: Setting, state: State, images: Array, key: Array) -> tuple[Learner, Array]:
    import jax

    critic = state.critic
    for update_key in jax.random.split(key, row.critic_updates):
        # Unrolled while tracing: lax.scan gave no shorter a step.
        critic, loss = _critic_wasserstein(row, state, critic, images, update_key)
    return critic, loss


def _critic_wasserstein(
    row: Setting, state: State, critic: Learner, images: Array, key: Array
) -> tuple[Learner, Array]:
    import jax

    batch_key, noise_key, mix_key = jax.random.split(key, 3)
    real, fake = _batch(row, images, batch_key), _fakes(row, state, noise_key)
    mix = jax.random.uniform(mix_key, (row.batch, 1))

    def loss(critic: Layers) -> Array:
        score = partial(_score, row, critic)
        return score(fake).mean() - score(real).mean() + PENALTY * gradient_penalty(score, real, fake, mix)

    return _descend(row, critic, loss)


def _train_generator(row: Setting, state: State, critic: Layers, key: Array) -> tuple[Learner, Any, Array]:
    import jax

    z = _noise(row, key)

    def loss(generator: Layers) -> tuple[Array, Any]:
        images, statistics = _generate(row, generator, state.statistics, z, training=True)
        scores = _score(row, critic, images)
        return -scores.mean() if row.critic_update == "penalty" else _bce(scores, 1), statistics

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.generator.parameters)
    return _adam(row, state.generator, gradient), statistics, value


def _descend(row: Setting, learner: Learner, loss: Callable[[Layers], Array]) -> tuple[Learner, Array]:
    import jax

    value, gradient = jax.value_and_grad(loss)(learner.parameters)
    return _adam(row, learner, gradient), value


def _adam(row: Setting, learner: Learner, gradient: Layers) -> Learner:
    """One step of Kingma & Ba 2015, algorithm 1."""
    import jax
    import jax.numpy as jnp

    (b1, b2), t = row.betas, learner.updates + 1
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, learner.mean, gradient)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, learner.square, gradient)
    rate, unbias = row.lr / (1 - b1**t), 1 / (1 - b2**t)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v * unbias) + row.eps), learner.parameters, mean, square
    )
    return Learner(parameters, mean, square, t)


def _generate(
    row: Setting, layers: Layers, statistics: list[Any], z: Array, *, training: bool
) -> tuple[Array, list[Any]]:
    """Images (n, 784) from noise (n, z), and the running statistics after them."""
    import jax.numpy as jnp

    h, updated = z, []
    for index, layer in enumerate(layers[:-1]):
        h = _activation(row.generator_slope, h @ layer["w"] + layer["b"])
        if row.batch_norm:
            h, running = _batch_norm(layer, statistics[index], h, training=training)
            updated.append(running)
    return jnp.tanh(h @ layers[-1]["w"] + layers[-1]["b"]), updated


def _batch_norm(layer: dict[str, Any], running: Any, x: Array, *, training: bool) -> tuple[Array, Any]:
    import jax

    mean, variance = (x.mean(axis=0), x.var(axis=0)) if training else running
    y = (x - mean) * jax.lax.rsqrt(variance + BATCH_NORM_EPS) * layer["gamma"] + layer["beta"]
    if not training:
        return y, running
    keep, wide = BATCH_NORM_MOMENTUM, widening(len(x))
    return y, (keep * running[0] + (1 - keep) * mean, keep * running[1] + (1 - keep) * wide * variance)


def _score(row: Setting, layers: Layers, x: Array) -> Array:
    """Logits of the critic, (n, i) -> (n, 1)."""
    for layer in layers[:-1]:
        x = _activation(row.critic_slope, x @ layer["w"] + layer["b"])
    logits: Array = x @ layers[-1]["w"] + layers[-1]["b"]
    return logits


def _activation(slope: float, x: Array) -> Array:
    import jax

    return jax.nn.leaky_relu(x, slope) if slope else jax.nn.relu(x)


def _bce(logits: Array, label: int) -> Array:
    """Mean binary cross-entropy with logits, all labels alike: E[softplus(-s)] for 1, E[softplus(s)] for 0."""
    import jax

    return jax.nn.softplus(-logits if label else logits).mean()


def _batch(row: Setting, images: Array, key: Array) -> Array:
    import jax
    import jax.numpy as jnp

    return jnp.take(images, jax.random.randint(key, (row.batch,), 0, len(images)), axis=0, mode="clip")


def _fakes(row: Setting, state: State, key: Array) -> Array:
    return _generate(row, state.generator.parameters, state.statistics, _noise(row, key), training=False)[0]


def _noise(row: Setting, key: Array) -> Array:
    import jax

    shape = row.batch, row.generator[0]
    if row.noise == "normal":
        return jax.random.normal(key, shape)
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def _play(row: Setting, state: State, z: Array, x: Array) -> tuple[Array, Array]:
    """See `Peer`."""
    images, _ = _generate(row, state.generator.parameters, state.statistics, z, training=True)
    return images, _score(row, state.critic.parameters, x)
