"""A training until its samples are good, fastgan's or PyTorch's, slice by slice; the clock runs in slices only.

One idea: two trainings that are compared take turns, slice by slice, so that what disturbs the machine disturbs both.
PyTorch starts from fastgan's parameters, and has the recipe's schedule and average of the generator, written out as its
users would.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastgan as fg
from fastgan import optim, random
from fastgan.benchmarks import peers
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.peers import torch_eager
from fastgan.benchmarks.scores import Judge
from fastgan.data import Dataset
from fastgan.gan import networks
from fastgan.random import Stream

Images = NDArray[np.float32]
SETTINGS = peers.SETTINGS | {
    "digits": replace(
        peers.SETTINGS["wgan-gp-mlp"],
        generator=(32, 128, 128, 64),
        critic=(64, 128, 128, 1),
        critic_slope=0.2,
        noise="normal",
        lr=1e-3,
        critic_updates=2,
    )
}
WARM_UP = 12  # steps of a run that is thrown away: they compile


@dataclass(frozen=True)
class Goal:
    """What a recipe is to reach: `threshold` or less, with every class, at two looks in a row; the first counts.

    Of the classes some may be `missing`. There is a look each `every` steps, at `n` samples. A run ends after `limit`
    seconds of training, or `steps` steps.
    """

    threshold: float
    n: int
    every: int
    limit: float
    steps: int = 10**9
    missing: int = 0


class Look(NamedTuple):
    """Seconds that a slice of training took, and what samples after it score: the distance, and the classes kept."""

    seconds: float
    score: float
    kept: int


class Course:
    """What one training has come to, look by look."""

    def __init__(self, goal: Goal, classes: int, recipe_steps: int) -> None:
        self.goal, self.classes = goal, classes
        self.most = min(goal.steps, recipe_steps)
        self.looks: list[Look] = []

    @property
    def steps(self) -> int:
        """How many were made."""
        return self.goal.every * len(self.looks)

    @property
    def over(self) -> bool:
        """Whether it is good, or may go on no longer."""
        spent = sum(look.seconds for look in self.looks)
        return self.reached() is not None or spent >= self.goal.limit or self.steps >= self.most

    def reached(self) -> int | None:
        """Which look was the first of two in a row that were good; None where there is none."""
        least = self.classes - self.goal.missing
        good = [look.score <= self.goal.threshold and look.kept >= least for look in self.looks]
        return next((i for i in range(len(good) - 1) if good[i] and good[i + 1]), None)

    def told(self) -> dict[str, Any]:
        """What a row says; `reached_steps` belongs to `reached`, `steps` are all that were made.

        `slice` is the median of the slices: where the sum is much more than so many of them, the machine was disturbed.
        """
        number, spent = self.reached(), accumulate(look.seconds for look in self.looks)
        curve = [[seconds, look.score] for seconds, look in zip(spent, self.looks, strict=True)]
        return {
            "reached": None if number is None else curve[number][0],
            "reached_steps": None if number is None else (number + 1) * self.goal.every,
            "curve": curve,
            "coverage": self.looks[-1 if number is None else number].kept,
            "steps": self.steps,
            "slice": float(np.median([look.seconds for look in self.looks])),
        }


class Run:
    """One training of a recipe in a column, slice by slice; what a worker process holds."""

    def __init__(
        self, name: str, column: Column, seed: int, dataset: Dataset, judge: Judge, every: int
    ) -> None:
        self.recipe, self.column, self.seed = fg.recipes[name], column, seed
        self.dataset, self.judge, self.every = dataset, judge, every
        self.clock, self.z = column.clock(), latents(self.recipe, judge.n)

    def begin(self) -> float:
        """Get ready; the seconds of building one that is thrown away, and of its first steps, which compile."""
        start = self.clock.now()
        self._made(WARM_UP).train(WARM_UP)
        self.clock.wait()
        first = self.clock.now() - start
        self.engine = self._made(self.every)
        return first

    def look(self) -> Look:
        """Train for a slice, from the device being idle to its being idle; then, outside the clock, judge samples."""
        self.clock.wait()
        start = self.clock.now()
        self.engine.train(self.every)
        self.clock.wait()
        seconds = self.clock.now() - start
        return Look(seconds, *self.judge.score(self.engine.sample(self.z)))

    def _made(self, every: int) -> "Ours | TorchGan":
        if self.column.own:
            return Ours(self.recipe, self.dataset, self.seed, self.column, every)
        return TorchGan(self.recipe, self.dataset, self.seed, self.column.where())


class Ours(fg.Callback):
    """fastgan by `fit`, as its users run it; a slice ends as a user ends a run, by `stop_wanted`."""

    def __init__(self, recipe: fg.Recipe, dataset: Dataset, seed: int, column: Column, every: int) -> None:
        self.column, self.end = column, 0
        with column.switched():
            self.trainer = fg.Trainer(
                recipe.replace(sample_every=every),  # on a GPU steps that come at once end there
                dataset,
                device=column.where(),
                seed=seed,
                capture=column.capture,  # says nothing on a CPU
            )

    def on_step(self, trainer: fg.Trainer) -> None:
        trainer.stop_wanted = trainer.steps_done >= self.end

    def train(self, steps: int) -> None:
        """So many steps of the recipe's own number, where its schedule ends."""
        self.end += steps
        with self.column.switched():
            self.trainer.fit(callbacks=[self])

    def sample(self, z: Images) -> Images:
        """Images (n, h, w, c) in [0, 1]."""
        with self.column.switched():
            images: Images = self.trainer.sample(len(z), latent=z)
        return images


class TorchGan:
    """The eager peer with what else the recipe asks for: fastgan's start, a schedule, an average of the generator."""

    def __init__(self, recipe: fg.Recipe, dataset: Dataset, seed: int, device: str) -> None:
        rows = dataset.scaled(recipe.low, recipe.high)
        self.gan = torch_eager.Gan(SETTINGS[recipe.name], rows, seed, device=device)
        self.torch, self.recipe, self.done = self.gan.torch, recipe, 0
        self.shape = dataset.sample_shape
        own = networks.build(recipe, dataset.sample_shape, seed)
        with self.torch.no_grad():
            for theirs, ours in zip((self.gan.generator, self.gan.critic), own, strict=True):
                for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
                    p.copy_(self.torch.tensor(q.data.T))  # a weight is (i, o) here and (o, i) there
        self.average = deepcopy(self.gan.generator) if recipe.ema else self.gan.generator

    def train(self, steps: int) -> None:
        """So many steps."""
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        """One step, at the rate that the schedule has for it."""
        settings = self.recipe.optimizer
        if settings.schedule != "constant":
            rate = settings.lr * optim.schedule(settings.schedule, self.done, self.recipe.steps)
            for adam in (self.gan.critic_adam, self.gan.generator_adam):
                adam.param_groups[0]["lr"] = rate
        self.gan.step()
        self.done += 1
        if self.recipe.ema:
            with self.torch.no_grad():
                pairs = zip(self.average.parameters(), self.gan.generator.parameters(), strict=True)
                for average, p in pairs:
                    average.lerp_(p, 1 - self.recipe.ema)

    def sample(self, z: Images) -> Images:
        """Images (n, h, w, c) in [0, 1], as `Trainer.sample` makes them."""
        self.average.eval()
        with self.torch.no_grad():
            x = self.average(self.torch.tensor(z, device=self.gan.device)).cpu().numpy()
        self.average.train()
        scaled = (x - self.recipe.low) / (self.recipe.high - self.recipe.low)
        images: Images = np.clip(scaled, 0, 1).reshape(-1, *self.shape)
        return images


def latents(recipe: fg.Recipe, n: int) -> Images:
    """The latents (n, z) of every look."""
    draws = random.Draws(0, Stream.SAMPLE)
    shape = n, recipe.latent
    z: Images = draws.normal(shape) if recipe.noise == "normal" else draws.uniform(shape, -1.0, 1.0)
    return z
