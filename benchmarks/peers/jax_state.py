"""The state of a JAX run: what goes in and comes out of its compiled step, how it begins and what it holds.

A network is a list of layers, dicts with `w` (i, o) and `b` (o,), and `gamma`, `beta` (o,) where batch norm follows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastgan.benchmarks.peers.settings import Arrays, Setting, check_start

if TYPE_CHECKING:
    from jax import Array

Layers = list[dict[str, Any]]
ORDER = ("w", "b", "gamma", "beta")  # of fastgan's parameters


class Learner(NamedTuple):
    """A network's parameters with Adam's two moments (trees of one shape) and the number of its updates."""

    parameters: Layers
    mean: Layers
    square: Layers
    updates: Array


class State(NamedTuple):
    """Everything that a step changes; `statistics` holds the running mean and variance of each batch norm."""

    key: Array
    generator: Learner
    critic: Learner
    statistics: list[tuple[Array, Array]]


def initial(row: Setting, seed: int) -> State:
    """A state before the first step; drawn by NumPy, for JAX would compile each shape on its own."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(seed)
    generator, critic = _layers(row.generator, rng), _layers(row.critic, rng)
    hidden = row.generator[1:-1] if row.batch_norm else ()
    for layer, o in zip(generator, hidden, strict=False):
        layer.update(gamma=np.ones(o, np.float32), beta=np.zeros(o, np.float32))
    statistics = [(np.zeros(o, np.float32), np.ones(o, np.float32)) for o in hidden]
    # jnp.array copies: a donated state may neither share memory with NumPy nor hold one buffer twice.
    copies = jax.tree.map(jnp.array, (_learner(generator), _learner(critic), statistics))
    return State(jax.random.key(seed), *copies)


def _layers(widths: tuple[int, ...], rng: np.random.Generator) -> Layers:
    """Weights and biases from U(-1/sqrt(i), 1/sqrt(i)), PyTorch's default, so that peers start alike."""
    layers: Layers = []
    for i, o in pairwise(widths):
        w, b = (rng.uniform(-(i**-0.5), i**-0.5, shape).astype(np.float32) for shape in ((i, o), (o,)))
        layers.append({"w": w, "b": b})
    return layers


def _learner(layers: Layers) -> Learner:
    import jax

    zeros = jax.tree.map(np.zeros_like, layers)
    return Learner(layers, zeros, zeros, np.int32(0))  # type: ignore[arg-type, unused-ignore]


def started(state: State, generator: Arrays, critic: Arrays) -> State:
    """The state with other parameters, copied: see `initial`."""
    import jax
    import jax.numpy as jnp

    learners = state.generator, state.critic
    check_start((generator, critic), [[p.shape for p in _flat(x.parameters)] for x in learners])
    new = []
    for learner, arrays in zip(learners, (generator, critic), strict=True):
        numbers = iter(arrays)
        layers = [{key: next(numbers) for key in ORDER if key in layer} for layer in learner.parameters]
        new.append(learner._replace(parameters=jax.tree.map(jnp.array, layers)))
    return state._replace(generator=new[0], critic=new[1])


def values(learner: Learner) -> Arrays:
    """Copies, for the arrays themselves are donated to the next step."""
    return [np.array(p) for p in _flat(learner.parameters)]


def _flat(layers: Layers) -> list[Any]:
    """All parameters in fastgan's order."""
    return [layer[key] for layer in layers for key in ORDER if key in layer]


def size(layers: Layers) -> int:
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(layers))
