"""One training until its samples are good, fastgan's or PyTorch's, with the clock stopped while samples are judged.

One idea: whoever trains asks a `Watch` every so many steps whether to go on. PyTorch starts from fastgan's parameters
and has the recipe's schedule and average of the generator, written out as its users would.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgan as fg
from fastgan import optim, random
from fastgan.benchmarks import peers
from fastgan.benchmarks.columns import Clock, Column
from fastgan.benchmarks.peers import torch_eager
from fastgan.benchmarks.scores import Judge
from fastgan.data import Dataset
from fastgan.random import Stream
from fastgan.train import networks

Images = NDArray[np.float32]
Draw = Callable[[], Images]
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

    There is a look each `every` steps, at `n` samples. A run ends after `limit` seconds of training, or `steps` steps.
    """

    threshold: float
    n: int
    every: int
    limit: float
    steps: int = 10**9


class Run:
    """One training of a recipe in a column, with a seed; what `Worker` holds."""

    def __init__(
        self, name: str, column: Column, seed: int, dataset: Dataset, judge: Judge, goal: Goal
    ) -> None:
        self.name, self.column, self.seed = name, column, seed
        self.dataset, self.judge, self.goal = dataset, judge, goal

    def given(self) -> tuple[Any, ...]:
        """What it was made of."""
        return self.name, self.column, self.seed, self.dataset, self.judge, self.goal

    def train(self) -> dict[str, Any]:
        """What `Watch.found` says; `first` is the seconds of building and of the first steps, with compiling."""
        clock, go = self.column.clock(), self.ours if self.column.own else self.peer
        start = clock.now()
        go(Watch(self.judge, replace(self.goal, every=WARM_UP, steps=0), clock))
        clock.wait()
        first = clock.now() - start
        watch = Watch(self.judge, self.goal, clock)
        go(watch)
        return watch.found() | {"first": first}

    def ours(self, watch: "Watch") -> None:
        """fastgan, by `fit`, as its users run it."""
        recipe, where = fg.recipes[self.name].replace(sample_every=watch.goal.every), self.column.where()
        capture = self.column.capture  # says nothing on a CPU
        with self.column.switched():
            trainer = fg.Trainer(recipe, self.dataset, device=where, seed=self.seed, capture=capture)
            trainer.fit(callbacks=[Looks(watch, latents(recipe, watch.goal.n))])

    def peer(self, watch: "Watch") -> None:
        """PyTorch, from the parameters that fastgan begins with."""
        recipe = fg.recipes[self.name]
        gan = TorchGan(recipe, self.dataset, self.seed, self.column.where())
        z = latents(recipe, watch.goal.n)
        watch.begin()
        for done in range(1, recipe.steps + 1):
            gan.step()
            if done % watch.goal.every == 0 and watch.look(done, lambda: gan.sample(z)):
                return


class Watch:
    """The clock and the looks of one training: the clock stands while samples are drawn and judged."""

    def __init__(self, judge: Judge, goal: Goal, clock: Clock) -> None:
        self.judge, self.goal, self.clock = judge, goal, clock
        self.spent, self.steps = 0.0, 0
        self.curve: list[tuple[float, float]] = []  # seconds, score
        self.kept: list[int] = []  # classes at each look

    def begin(self) -> None:
        """Training begins."""
        self.clock.wait()
        self.since = self.clock.now()

    def look(self, steps: int, draw: Draw) -> bool:
        """Judge samples after so many steps; whether the run is over."""
        self.clock.wait()
        self.spent += self.clock.now() - self.since
        self.steps = steps
        if self.goal.steps:
            score, kept = self.judge.score(draw())
            self.curve.append((self.spent, score))
            self.kept.append(kept)
        self.begin()
        return self.reached() is not None or self.spent >= self.goal.limit or steps >= self.goal.steps

    def reached(self) -> int | None:
        """Which look was the first of two in a row that were good; None where there is none."""
        classes = self.judge.classifier.classes
        good = [
            score <= self.goal.threshold and kept == classes
            for (_, score), kept in zip(self.curve, self.kept, strict=True)
        ]
        return next((i for i in range(len(good) - 1) if good[i] and good[i + 1]), None)

    def found(self) -> dict[str, Any]:
        """What a row says; `reached_steps` belongs to `reached`, `steps` are all that were made."""
        number = self.reached()
        return {
            "reached": None if number is None else self.curve[number][0],
            "reached_steps": None if number is None else (number + 1) * self.goal.every,
            "curve": [list(point) for point in self.curve],
            "coverage": self.kept[-1 if number is None else number] if self.kept else 0,
            "steps": self.steps,
            "trained": self.spent,
        }


class Looks(fg.Callback):
    """Lets a watch look at a trainer, and ends the fit when it has seen enough."""

    def __init__(self, watch: Watch, z: Images) -> None:
        self.watch, self.z = watch, z

    def on_start(self, trainer: fg.Trainer) -> None:
        self.watch.begin()

    def on_step(self, trainer: fg.Trainer) -> None:
        done, watch = trainer.steps_done, self.watch
        if done % watch.goal.every == 0:
            trainer.stop_wanted = watch.look(done, lambda: trainer.sample(len(self.z), latent=self.z))


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

    def step(self) -> None:
        """One step, at the rate that the schedule has for it."""
        settings = self.recipe.optimiser
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
