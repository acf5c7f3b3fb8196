"""What a training step asks of a GPU, counted without one: launches and bytes by name, on the stand-in for CuPy.

Beside it what any step of the recipe needs at the least: `floor` in bytes, `flops` in multiplications and additions.
"""

import math
from typing import NamedTuple

import numpy as np

from fastgan.benchmarks.fake_cupy import Launches, counting, standing_in
from fastgan.data import Dataset
from fastgan.dispatch import use_kernels
from fastgan.gan import Recipe, Trainer
from fastgan.gan.export import recorded
from fastgan.gan.networks import build
from fastgan.gan.recipe import objective_of, optimizer_class
from fastgan.gan.source import data_shape, within_border
from fastgan.nn import Module
from fastgan.tape import Tensor

PRODUCTS = ("linear", "matmul", "convolve")  # how the names of ops begin that multiply by a weight


class Row(NamedTuple):
    """All launches of one name in a step, and the bytes that they read and write together."""

    name: str
    launches: int
    read: int
    written: int


def count(recipe: Recipe, shape: tuple[int, ...] | None = None, *, kernels: bool = True) -> list[Row]:
    """The launches of one step, most bytes first; a sample has `shape` (the recipe's data's). Needs no GPU, no CuPy.

    Without `kernels`, those of array code. The step is not the first, and does not begin an epoch.
    """
    return by_name(step_launches(recipe, shape, kernels=kernels))


def step_launches(recipe: Recipe, shape: tuple[int, ...] | None = None, *, kernels: bool = True) -> Launches:
    """The launches of one step in order, as for `count`; no warm-up step."""
    recipe = recipe.replace(warmup_critic_steps=0)
    data = _samples(recipe, shape or data_shape(recipe))
    with standing_in(), use_kernels(kernels), np.errstate(all="ignore"):
        trainer = Trainer(recipe, data, device="cuda")
        trainer.step()
        with counting() as launches:
            trainer.step()
    return launches


def dense_cases(recipe: Recipe) -> set[tuple[str, int, int, int]]:
    """The shapes (form, n, i, o) whose tiles a step asks for: what kernels/cuda/measuring.py can time."""
    from fastgan.kernels.cuda import dense

    dense.ASKED.clear()
    step_launches(recipe)
    return set(dense.ASKED)


def by_name(launches: Launches) -> list[Row]:
    """Launches added up by name, most bytes first."""
    rows: dict[str, Row] = {}
    for x in launches:
        row = rows.get(x.name, Row(x.name, 0, 0, 0))
        rows[x.name] = Row(x.name, row.launches + 1, row.read + x.read, row.written + x.written)
    return sorted(rows.values(), key=lambda row: (-row.read - row.written, row.name))


def _samples(recipe: Recipe, shape: tuple[int, ...]) -> Dataset:
    """Samples of a shape, enough for two steps of one epoch; no two alike, as a data set must be."""
    name, n = "the size given", (2 * recipe.critic_steps + 1) * recipe.batch
    values = np.arange(n * math.prod(shape), dtype=np.uint32).reshape(n, *shape) % 251
    labels = np.arange(n) % recipe.classes if recipe.classes else None
    if len(shape) == 3:
        return Dataset(name, values.astype(np.uint8), labels, low=0.0, high=255.0)
    return Dataset(name, (values / 251).astype(np.float32), labels)


def floor(recipe: Recipe, shape: tuple[int, ...] | None = None) -> int:
    """Bytes that any step must move: weights, gradient and optimizer state once an update, and the batches."""
    shape = within_border(recipe, shape or data_shape(recipe))
    generator, critic = (network.count(trained_only=True) for network in build(recipe, shape, 0))
    updates = recipe.critic_steps * (1 + recipe.split_updates)
    weights = recipe.generator_steps * generator + updates * critic
    pixel = 1 if len(shape) == 3 else 4  # images lie there in uint8
    batches = recipe.critic_steps * recipe.batch * math.prod(shape) * pixel
    state = 2 * (2 + len(optimizer_class(recipe.optimizer.kind).slots))  # all read and written
    return 4 * state * weights + batches


def flops(recipe: Recipe, shape: tuple[int, ...] | None = None) -> int:
    """The floating-point operations of the products of a step, at the least; the other work is small beside them."""
    shape = within_border(recipe, shape or data_shape(recipe))
    n, k = recipe.batch, recipe.critic_steps
    networks = build(recipe, shape, 0)
    labels = (recipe.classes,) * bool(recipe.classes)
    generator, generator_first = products(networks[0], recipe.latent, *labels)
    critic, critic_first = products(networks[1], math.prod(shape), *labels)
    fakes = 0 if recipe.simultaneous else k * n * generator
    update = 2 * n * (3 * critic - critic_first)  # forward, weights, and back down to the first layer
    if objective_of(recipe).penalty:
        update += 4 * n * critic  # forward, down to the samples, up again, and the weights
    through = 1 if recipe.simultaneous else 2  # the critic forward, if not the critic update's own, and back
    last = n * (3 * generator - generator_first + through * critic)
    return fakes + k * update + recipe.generator_steps * last


def products(network: Module, *sizes: int) -> tuple[int, int]:
    """Multiplications and additions of a pass over one sample of so many numbers: of all layers, and of the first.

    With labels, a network has a second size: the number of classes.

    A weight is used once at each place that it slides to.
    """
    network.train()
    rng, work = np.random.default_rng(0), []
    inputs = [Tensor(rng.uniform(-1, 1, (4, i)).astype(np.float32)) for i in sizes]
    for node in recorded(network(*inputs)):
        if node.op.name.startswith(PRODUCTS):
            places = node.inputs[0] if node.op.name == "convolve_transposed" else node.output
            work.append(int(2 * node.inputs[1].size * math.prod(places.shape[1:-1])))
    return sum(work), work[0]
