"""What a training step asks of a GPU, counted without one: launches and bytes by name, and the fewest bytes there are.

`count` makes a step on the stand-in for CuPy. `floor` is arithmetic on the recipe: what must go through memory where
each pass over a network is one launch, so that nothing between two layers does unless a later pass needs it.

Letters: `n` batch, `k` critic updates per step, `f` features of a sample, `z` latents; sizes are in numbers of 4 bytes
unless they say bytes.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgan.data import Dataset
from fastgan.dispatch import use_kernels
from fastgan.gan import Recipe, Trainer
from fastgan.gan.networks import build
from fastgan.gan.recipe import objective_of
from fastgan.gan.step import mixes
from fastgan.nn import Module
from fastgan.standin import Launches, counting, standing_in
from fastgan.tape import Tensor
from fastgan.tape.engine import Node

FORMS = {  # sizes of the built-in data's samples, which nothing here needs the data for
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "fashion-mnist": (28, 28, 1),
    **dict.fromkeys(("ring", "grid", "8gaussians", "25gaussians", "swiss-roll"), (2,)),
}
LAYERS = ("linear", "linear_leaky_relu", "matmul", "convolve", "convolve_transposed", "seo_sigmoid_layer")
ROWS = 4  # samples of the pass that sizes are read off
OPTIMIZER = {"adam": 7, "adamw": 7, "rmsprop": 5, "sgd": 5}  # read p, g and state, write p and state


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
    with standing_in(kernels_compute=False), use_kernels(kernels), np.errstate(all="ignore"):
        trainer = Trainer(recipe, data, device="cuda")
        trainer.step()
        with counting() as launches:
            trainer.step()
    return launches


def data_shape(recipe: Recipe) -> tuple[int, ...]:
    """The shape of a sample of the recipe's data; its own pictures are in colour."""
    return FORMS.get(recipe.data) or (recipe.picture_size, recipe.picture_size, 3)


def within_border(recipe: Recipe, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a sample as the recipe's networks see it."""
    if len(shape) != 3:
        return shape
    return shape[0] + 2 * recipe.border, shape[1] + 2 * recipe.border, shape[2]


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


@dataclass(frozen=True)
class Sizes:
    """What of a network has to be moved; a layer is one with a weight."""

    first: int  # the first layer's weights
    last: int  # the last layer's
    weights: int  # all
    parameters: int  # with biases, and scale and shift of batch norm
    hidden: int  # numbers per sample between layers, at the least
    running: int  # running statistics
    mixes: bool  # whether a sample's output depends on the others of its batch, or on the call
    flops: int  # of the products of a pass over one sample
    first_flops: int  # the first layer's part

    @property
    def inner(self) -> int:
        """Weights that a backward pass reads on its way to the first layer."""
        return self.weights - self.first


def sizes(network: Module, i: int) -> Sizes:
    """The sizes of a network for samples of `i` numbers, read off the tape of a pass over a few of them.

    Between two layers counts the smaller of what the one gives and the other takes: a pooling, an upsampling or a
    border can be made again from it, and from a pooling's result with where it was, a few bits, its gradient.
    """
    network.train()
    x = np.random.default_rng(0).uniform(-1, 1, (ROWS, i)).astype(np.float32)
    layers = [node for node in _tape(network(Tensor(x))) if node.op.name in LAYERS]
    weights = [node.inputs[1].size for node in layers]
    given, taken = [node.output.size for node in layers], [node.inputs[0].size for node in layers]
    hidden = sum(map(min, given[:-1], taken[1:])) // ROWS
    parameters = network.count(trained_only=True)
    running = network.count() - parameters
    work = [_flops(node) for node in layers]
    passing = mixes(network)
    return Sizes(
        weights[0], weights[-1], sum(weights), parameters, hidden, running, passing, sum(work), work[0]
    )


def _flops(node: Node) -> int:
    """Multiplications and additions of a layer for one sample: each weight is used once at each place it slides to."""
    places = node.inputs[0] if node.op.name == "convolve_transposed" else node.output
    return int(2 * node.inputs[1].size * math.prod(places.shape[1:-1]))


def _tape(y: Tensor) -> list[Node]:
    """All nodes that y was made by, the oldest first."""
    found: set[Node] = set()
    stack = [y]
    while stack:
        node = stack.pop().node
        if node is not None and node not in found:
            found.add(node)
            stack += node.parents
    return sorted(found, key=lambda node: node.order)


def floor(recipe: Recipe, shape: tuple[int, ...] | None = None) -> int:
    """The fewest bytes that a step of the recipe moves; a sample has `shape` (the recipe's data's)."""
    shape = within_border(recipe, shape or data_shape(recipe))
    f, n, k = math.prod(shape), recipe.batch, recipe.critic_steps
    networks = build(recipe, shape, 0)
    generator = sizes(networks[0], recipe.latent + recipe.classes)
    critic = sizes(networks[1], f + recipe.classes)
    numbers = (
        (n if recipe.simultaneous else (k + 1) * n) * recipe.latent  # noise, written
        + _fakes(recipe, generator, f)
        + k * _critic_update(recipe, critic, f)
        + recipe.generator_steps * _generator_update(recipe, generator, critic, f)
    )
    gathered = (
        k * n * f * (1 if len(shape) == 3 else 4)
    )  # bytes: a batch as the data set has it, images in uint8
    return 4 * numbers + gathered


def flops(recipe: Recipe, shape: tuple[int, ...] | None = None) -> int:
    """The floating-point operations of the products of a step, at the least; the other work is small beside them."""
    shape = within_border(recipe, shape or data_shape(recipe))
    n, k = recipe.batch, recipe.critic_steps
    networks = build(recipe, shape, 0)
    generator = sizes(networks[0], recipe.latent + recipe.classes)
    critic = sizes(networks[1], math.prod(shape) + recipe.classes)
    fakes = 0 if recipe.simultaneous else k * n * generator.flops
    update = (
        2 * n * (3 * critic.flops - critic.first_flops)
    )  # forward, weights, and back down to the first layer
    if objective_of(recipe).penalty:
        update += 4 * n * critic.flops  # forward, down to the samples, up again, and the weights
    through = 1 if recipe.simultaneous else 2  # the critic forward, if not the critic update's own, and back
    last = n * (3 * generator.flops - generator.first_flops + through * critic.flops)
    return fakes + k * update + recipe.generator_steps * last


def _fakes(recipe: Recipe, generator: Sizes, f: int) -> int:
    """Fakes for all critic updates of a step: the generator rests meanwhile, so one pass makes them."""
    if recipe.simultaneous:
        return 0  # the generator update's own
    apart = generator.mixes and not recipe.inference_fakes
    passes = recipe.critic_steps if apart else 1  # what mixes a batch keeps the batches apart
    return (
        passes * generator.parameters  # read
        + passes * generator.running * (1 if recipe.inference_fakes else 2)  # read, in training also written
        + recipe.critic_steps * recipe.batch * f  # fakes, written
    )


def _critic_update(recipe: Recipe, critic: Sizes, f: int) -> int:
    """One critic update, of n real and n fake samples."""
    n, penalty = recipe.batch, bool(objective_of(recipe).penalty)
    passes = 2 if recipe.split_updates or critic.mixes else 1
    updates = 2 if recipe.split_updates else 1
    return (
        n * f  # real samples in the range that the network wants, written
        + passes * critic.parameters  # read forward
        + passes * critic.running * 2  # running statistics, read and written
        + 2 * n * critic.hidden  # activations, written
        + passes * critic.inner  # weights, read backward
        + 2 * n * (f + critic.hidden)  # each layer's input, read backward
        + updates * critic.parameters  # gradient, written
        + updates * critic.parameters * _optimizer(recipe)  # weights and state
        + (_penalty(critic, n, f) if penalty else 0)
    )


def _penalty(critic: Sizes, n: int, f: int) -> int:
    """What a gradient penalty adds: n mixed samples, their slopes, and the slopes' own derivative back up."""
    return (
        n * f  # mixed samples, written
        + n * critic.hidden  # their activations, written
        + critic.first  # the first weights too, read backward: the slope is for the samples
        + n * critic.hidden  # the activations' signs, read backward
        + n * critic.hidden  # a gradient for each layer, written: its weights' gradient needs it
        + n * f * 2  # the slope, written, and read when all of it is known
        + critic.weights
        - critic.last  # read upward
        + n * critic.hidden  # the signs again
        + n * (f + critic.hidden)  # each layer's tangent, written
        + n * (f + critic.hidden * 2)  # tangents and gradients, read for the weights' gradient
    )


def _generator_update(recipe: Recipe, generator: Sizes, critic: Sizes, f: int) -> int:
    """The generator update on n fakes."""
    n, ema = recipe.batch, 2 if recipe.ema else 0
    forward = critic.parameters + n * critic.hidden  # the critic's, read, and its activations, written
    return (
        generator.parameters  # read forward
        + generator.running * 2  # running statistics, read and written
        + n * (generator.hidden + f)  # activations and fakes, written
        + (0 if recipe.simultaneous else forward)  # else the critic update's own
        + critic.weights  # read backward, all: on to the fakes
        + n * critic.hidden  # activations, read backward
        + generator.inner  # weights, read backward
        + n * (recipe.latent + generator.hidden + f)  # each layer's input and the fakes, read backward
        + generator.parameters  # gradient, written
        + generator.parameters * (_optimizer(recipe) + ema)  # weights, state and average
    )


def _optimizer(recipe: Recipe) -> int:
    """Numbers that an optimizer step moves per parameter; with a clipped norm the gradient is read twice."""
    return OPTIMIZER[recipe.optimizer.kind] + (1 if recipe.optimizer.max_norm else 0)
