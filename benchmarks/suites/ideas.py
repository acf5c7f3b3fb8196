"""What each idea of the engine brought: one GAN, trained in five ways from the tutorial's to fastgan's own.

One idea: a ladder. Each rung adds one idea to the one below and makes the same steps: same networks, batch, number of
latents, updates and learning rate. Before anything is timed, all are given the same images and latents for some steps,
and each one's costs must be those of the tutorial's code in float64. Rungs of one device are timed in one rotation.

* plain: `article.py`, array expressions and a backward pass by hand; both costs are read at every step.
* tape: the same work in array code, but recorded and differentiated by the tape, into gradient arrays that are kept.
* fused: kernels for all that has one: layers with activation and bias, losses, Adam, noise, the batch; dense networks
  run the tape with its first-order rules and kernels. Still an Adam call per parameter, and
  both costs are read at every step.
* flat Adam: all parameters in one buffer, updated in one pass; costs stay on the device.
* captured: `Trainer.fit` on a GPU, whole steps replayed as CUDA graphs. On a CPU, where nothing is captured, the last
  rung is "as trained": `fit` with its choice of threads.

Up to "tape", noise and row numbers come from NumPy's or CuPy's own generator, as a reader of the tutorial would draw
them: fastgan's, without its kernels, takes ten times as long. Learning rates are constant in all rungs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastgan as fg
from fastgan import optim
from fastgan.benchmarks import article, launches
from fastgan.benchmarks.cases import Calls, Case, Results, Work, against
from fastgan.benchmarks.columns import COLUMNS, Column
from fastgan.benchmarks.training import FIRST, Fit, floats, narrow, random_images
from fastgan.device import Array, module_of, to_device, to_host
from fastgan.gan.networks import build
from fastgan.nn import Module, Net
from fastgan.nn.flat import LINE
from fastgan.tape import Tensor, grad, no_grad

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

NETWORKS = ("toy-mlp", "seo-numpy")  # the first is a recipe that peers run too, the second the tutorial's own
QUICK = NETWORKS[:1]
SHAPE = (28, 28, 1)
IMAGES = {"full": 10_000, "quick": 10_000, "tiny": 200}
TOLERANCE = 5e-5  # of the largest cost in the first steps, all rungs against float64
SEED = 0
ARRAY_CODE, KERNELS = ("numpy", "cupy"), ("cpu-kernels", "cuda-kernels")
Images = NDArray[np.uint8]
Step = Callable[[Array, Array, Array], tuple[float, float]]
Make = Callable[[fg.Recipe, Images, Column], Work]


def cases(size: str) -> list[Case]:
    """The rungs, lowest first, of each network."""
    return [rung(name, size, *row) for name in (QUICK if size == "quick" else NETWORKS) for row in RUNGS]


def rung(network: str, size: str, name: str, make: Make, columns: tuple[str, ...], brings: str) -> Case:
    """One way of training one network."""
    recipe = recipe_of(network, size)
    return Case(
        suite="ideas",
        group=network,
        name=name,
        make=lambda column: make(recipe, random_images(IMAGES[size], SHAPE), column),
        wrong=against(partial(reference, network, size), TOLERANCE),
        shape={"batch": recipe.batch, "brings": brings},
        columns=columns,
        counted=lambda: (launches.floor(recipe, SHAPE), launches.flops(recipe, SHAPE)),
    )


def recipe_of(network: str, size: str) -> fg.Recipe:
    """The recipe with a constant learning rate; in size "tiny" narrow, and with batches of 8."""
    recipe = fg.recipes[network]
    recipe = recipe.replace(optimizer=replace(recipe.optimizer, schedule="constant"))
    if size != "tiny":
        return recipe
    return recipe.replace(batch=8, latent=4, generator=narrow(recipe.generator), critic=narrow(recipe.critic))


def plain(recipe: fg.Recipe, images: Images, column: Column) -> Work:
    """The tutorial's code."""
    gan = tutorial(recipe, module_of(column.where()), np.float32)
    return by_hand(recipe, images, column, gan.step)


def tutorial(recipe: fg.Recipe, xp: Any, dtype: Any) -> article.Gan:
    """The tutorial's code with the parameters that fastgan's recipe starts from, in one type of float."""
    settings = recipe.optimizer
    generator, critic = (
        article.Network(
            [xp.asarray(p.data.astype(dtype)) for p in network.parameters()],
            activations(net),
            xp,
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
        )
        for net, network in zip((recipe.generator, recipe.critic), build(recipe, SHAPE, SEED), strict=True)
    )
    return article.Gan(generator, critic)


def activations(net: Net) -> list[article.Activation]:
    """The tutorial's activation behind each linear layer of a dense network."""
    found: list[article.Activation] = []
    for name, *values in (line.split() for line in net.layers):
        if name == "linear":
            found.append(article.ACTIVATIONS["linear"])
        else:
            found[-1] = (
                article.leaky_relu(float(values[0])) if name == "leaky_relu" else article.ACTIVATIONS[name]
            )
    return found


def tape(recipe: fg.Recipe, images: Images, column: Column) -> Work:
    """The same steps on the tape."""
    return by_hand(recipe, images, column, Taped(recipe, column.where()).step)


class Taped:
    """A GAN as a user of the tape alone writes it: losses of scores, their gradients, an Adam call per parameter."""

    def __init__(self, recipe: fg.Recipe, device: str) -> None:
        self.generator, self.critic = build(recipe, SHAPE, SEED)
        self.objective = fg.losses.objective(recipe.objective)
        self.adams = {network: Adams(network, recipe, device) for network in (self.generator, self.critic)}

    def step(self, images: Array, z: Array, next_z: Array) -> tuple[float, float]:
        """As `article.Gan.step`."""
        with no_grad():
            fakes = self.generator(Tensor(z))
        critic_loss = self.objective.real(self.critic(Tensor(images))) + self.objective.fake(
            self.critic(fakes)
        )
        self._learn(self.critic, critic_loss)
        generator_loss = self.objective.generator(self.critic(self.generator(Tensor(next_z))))
        self._learn(self.generator, generator_loss)
        return float(critic_loss.data), float(generator_loss.data)

    def _learn(self, network: Module, loss: Tensor) -> None:
        adam = self.adams[network]
        adam.update(grad(loss, network.parameters(), out=adam.gradients))


class Adams:
    """Adam with an update for each parameter of a network, which is moved to the device."""

    def __init__(self, network: Module, recipe: fg.Recipe, device: str) -> None:
        self.parameters = network.parameters()
        for p in self.parameters:
            p.data = to_device(p.data, device)
        xp, self.settings, self.t = module_of(device), recipe.optimizer, 0
        self.m, self.v = ([xp.zeros(p.size, np.float32) for p in self.parameters] for _ in "mv")
        # kept: freed at every step, 7 MB go back to the system, and the page faults take a third of it (measured)
        self.gradients = [xp.empty(p.shape, np.float32) for p in self.parameters]

    def update(self, gradients: Sequence[Tensor]) -> None:
        """One step."""
        self.t += 1
        rule = {"lr": self.settings.lr, "b1": self.settings.beta1, "b2": self.settings.beta2, "t": self.t}
        for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
            optim.adam_update(p.data.reshape(-1), g.data.reshape(-1), m, v, eps=self.settings.eps, **rule)


def by_hand(recipe: fg.Recipe, images: Images, column: Column, step: Step) -> Work:
    """A step that is given images and latents: for the comparison fastgan's, for the timing those that `xp` draws."""
    xp = module_of(column.where())
    pixels, uniform = xp.asarray(floats(images, recipe.low)), recipe.noise == "uniform"
    draws = article.Draws(pixels, recipe.batch, recipe.latent, uniform=uniform, xp=xp)

    def call() -> None:
        with column.switched():
            step(*draws())

    def results() -> Results:
        with column.switched():
            given = [[xp.asarray(x) for x in one] for one in feed(recipe, images)]
            return [np.array([step(*one) for one in given])]

    return Calls(call, results, column.clock())


def feed(recipe: fg.Recipe, images: Images) -> list[tuple[Array, ...]]:
    """What fastgan's trainer gives each of its first steps: images (n, f), and latents (n, z) for either update."""
    trainer = fg.Trainer(recipe, images, device="cpu", seed=SEED)
    assert trainer.batches
    latents = [trainer.latent(2 * recipe.batch, k) for k in range(FIRST)]
    return [(trainer.batches.draw(k), *np.split(z, 2)) for k, z in enumerate(latents)]


@cache
def reference(network: str, size: str) -> list[NDArray[np.float64]]:
    """Both costs of the first steps, (steps, 2), by the tutorial's code in float64 on the CPU."""
    recipe = recipe_of(network, size)
    with fg.use_kernels(False):
        given = feed(recipe, random_images(IMAGES[size], SHAPE))
    gan = tutorial(recipe, np, np.float64)
    return [np.array([gan.step(*(x.astype(np.float64) for x in one)) for one in given])]


def fused(recipe: fg.Recipe, images: Images, column: Column) -> Work:
    """The trainer's steps one by one, with an Adam call for each parameter and both costs read."""
    trainer = trainer_of(recipe, images, column)
    work = trainer.work
    work.critic_optimizer = in_pieces(work.critic_optimizer)
    work.generator_optimizer = in_pieces(work.generator_optimizer)

    def step() -> tuple[float, float]:
        trainer.step()
        critic_loss, generator_loss = trainer.work.ring.array[(trainer.steps_done - 1) % recipe.log_every]
        return float(critic_loss), float(generator_loss)

    return stepping(trainer, step, column)


def in_pieces(whole: optim.Optimizer) -> optim.Optimizer:
    """An Adam for the same parameters that updates them one by one."""
    assert isinstance(whole, optim.Adam)
    pieces = InPieces(whole.flat, lr=0.0, betas=whole.betas, eps=whole.eps)
    pieces.lr = whole.lr
    return pieces


class InPieces(optim.Adam):
    """Adam with a call for each parameter, on its part of the flat buffers."""

    def update(self) -> None:
        """One step."""
        start = 0
        for size in (p.size for p in self.flat.parameters):
            part = slice(start, start + size)
            arrays = (self.flat.buffer, self.flat.gradient, self.state["m"], self.state["v"])
            b1, b2 = self.betas
            optim.adam_update(
                *(x[part] for x in arrays), lr=self.lr, t=self.steps, b1=b1, b2=b2, eps=self.eps
            )
            start += -(-size // LINE) * LINE


def flat_adam(recipe: fg.Recipe, images: Images, column: Column) -> Work:
    """The trainer's steps one by one."""
    trainer = trainer_of(recipe, images, column)
    return stepping(trainer, trainer.step, column)


def trainer_of(recipe: fg.Recipe, images: Images, column: Column) -> fg.Trainer:
    """fastgan's trainer, without graphs."""
    with column.switched():
        return fg.Trainer(recipe, images, device=column.where(), seed=SEED, capture=False)


def stepping(trainer: fg.Trainer, step: Callable[[], Any], column: Column) -> Work:
    """A trainer's step, called again and again."""

    def call() -> None:
        with column.switched():
            step()

    def results() -> Results:
        for _ in range(FIRST):
            call()
        return [to_host(trainer.work.ring.array[:FIRST])]

    return Calls(call, results, column.clock())


class Fitted(Fit):
    """fastgan's trainer as its users run it; what is compared are both costs of each of its first steps."""

    def first(self) -> Results:
        """(steps, 2)."""
        with self.column.switched():
            self.trainer.fit(FIRST)
        return [to_host(self.trainer.work.ring.array[:FIRST])]


RUNGS: tuple[tuple[str, Make, tuple[str, ...], str], ...] = (
    ("plain", plain, ARRAY_CODE, "the tutorial's code: array expressions, backward by hand"),
    ("tape", tape, ARRAY_CODE, "gradients by the tape, in array code"),
    ("fused", fused, KERNELS, "kernels for layers, losses, Adam, noise and batches"),
    ("flat Adam", flat_adam, KERNELS, "one update for all parameters, costs not read"),
    ("captured", Fitted, ("cuda-graph",), "whole steps replayed as CUDA graphs"),
    ("as trained", Fitted, ("cpu-kernels",), "Trainer.fit: threads as it chooses them"),
)


def keys(size: str) -> Iterator[str]:
    """What the rungs are called."""
    return (case.key for case in cases(size))


def rows(bench: "Bench") -> Iterator["Row"]:
    """The ladder of each network on each device, its rungs timed in turn."""
    pairs = [(case, name) for case in cases(bench.size) for name in case.columns if name in bench.columns]
    for ladder in dict.fromkeys((case.group, COLUMNS[name].where()) for case, name in pairs):
        yield from bench.together([(c, n) for c, n in pairs if (c.group, COLUMNS[n].where()) == ladder])
