"""The trainer: a run of any recipe around the step that trains it.

`fit` makes steps, reads their losses once per logging interval and tells callbacks, which do everything else (progress,
pictures, files); `sample` draws; `save` and `fastgan.load` keep a run.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastgan.clock import Clock, Rate
from fastgan.device import Array, resolve_device, to_host
from fastgan.errors import DivergedError, UsageError
from fastgan.gan import published, state
from fastgan.gan.batches import Batches
from fastgan.gan.latents import draw_labels, draw_latents
from fastgan.gan.networks import build_critic, build_generator, check_fit
from fastgan.gan.objectives import Objective
from fastgan.gan.quality import held_out_loss
from fastgan.gan.recipe import Recipe, objective_of
from fastgan.gan.recipes import RECIPES
from fastgan.gan.replay import Replay, due
from fastgan.gan.sampling import Sampler
from fastgan.gan.sharing import Threads
from fastgan.gan.source import bordered, find
from fastgan.gan.step import Step, check_updates
from fastgan.nn import Module, flatten
from fastgan.optim import Ema, Optimizer
from fastgan.random import Stream, key_of
from fastgan.threads import blas_kernels

Metrics = dict[str, float]


class Callback:
    """What a logger, a progress bar or a run directory implements; every method may be left out."""

    def on_start(self, trainer: "Trainer") -> None:
        """Before the first step of a `fit`."""

    def on_step(self, trainer: "Trainer") -> None:
        """After every step; must not read from the device.

        On a GPU several steps may come at once; they never go beyond one that the recipe's `log_every`,
        `sample_every` or `checkpoint_every` names.
        """

    def on_log(self, trainer: "Trainer", metrics: Metrics) -> None:
        """Every `log_every` steps, where the recipe's article has a line, with the interval's metrics."""

    def on_threads(self, trainer: "Trainer", before: int) -> None:
        """After the step from which on there are `trainer.threads.used` CPU threads, and not `before`."""

    def on_end(self, trainer: "Trainer") -> None:
        """After the last step, also when the run was stopped; not after an error."""

    def on_close(self, trainer: "Trainer") -> None:
        """Last of all, after an error too: to give back what on_start took."""


class Trainer:
    """One run: networks, optimizers, data, and the loop around the step that trains them.

    `recipe` is a Recipe or its name; `data` an array, a Dataset, or what `fastgan.data.load` takes (default: the
    recipe's). `generator`, `critic` and `objective` replace the recipe's by your own. On a GPU steps are captured as
    graphs and replayed, unless `capture` is False. `threads` keeps a number of CPU threads, on which bits depend; None
    takes what fits, and fewer while other programs have the cores. The networks are moved to the device. Errors:
    UsageError, DataError or DeviceError before the first step; DivergedError while training.
    """

    def __init__(
        self,
        recipe: Recipe | str,
        data: Any = None,
        *,
        device: str = "auto",
        seed: int = 0,
        generator: Module | None = None,
        critic: Module | None = None,
        objective: Objective | None = None,
        capture: bool = True,
        threads: int | None = None,
    ) -> None:
        recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
        self.recipe, self.device, self.seed = recipe, resolve_device(device), int(seed)
        key_of(self.seed)  # an error now rather than at the first draw
        self.dataset, self.form = find(data, recipe)
        given = {"generator": generator, "critic": critic, "objective": objective}
        self.own_networks = [name for name, own in given.items() if own is not None]
        self.generator = generator or build_generator(recipe, self.form.shape, self.seed)
        self.critic = critic or build_critic(recipe, self.form.shape, self.seed)
        self.objective = objective or objective_of(recipe)
        check_updates(recipe, self.objective, self.critic)
        self.clock = Clock(self.device)
        self.ema: Ema | None = None
        self.work = self._step()
        if self.dataset:
            self.work.batches = self.batches
        features = self.form.features
        check_fit(self.generator, self.critic, self.latent(2, 0), self.labels(2, 0), features)
        self.stop_wanted = False
        self.arithmetic = ""  # of the newest steps, see _arithmetic
        self.capture = capture
        self.replay: Replay | None = None
        self.threads = self._threads(threads)

    def _step(self) -> Step:
        """The step, with an optimizer for each network."""
        recipe, objective = self.recipe, self.objective
        for network in (self.generator, self.critic):
            flatten(network, self.device)
        clip = 0.0 if recipe.split_updates else objective.clip  # after both halves
        adam = published.of(recipe.published).adam
        optimizers = (
            recipe.optimizer.build(self.generator, adam=adam),
            recipe.optimizer.build(self.critic, clip=clip, adam=adam),
        )
        if recipe.ema:
            self.ema = optimizers[0].average = Ema(self.generator, decay=recipe.ema)
        if self.device != "cpu":
            for optimizer in optimizers:
                optimizer.lr = Rate(self.device)
        networks = self.generator, self.critic
        return Step(recipe, objective, networks, optimizers, clock=self.clock, seed=self.seed)

    @property
    def steps_done(self) -> int:
        """How many steps were made."""
        return self.clock.steps

    @property
    def generator_optimizer(self) -> Optimizer:
        """What moves the generator."""
        return self.work.generator_optimizer

    @property
    def critic_optimizer(self) -> Optimizer:
        """What moves the critic."""
        return self.work.critic_optimizer

    @property
    def batches(self) -> Batches:
        """What real samples are drawn from; after a load, the data are found when they are first needed."""
        if self.work.batches is None:
            if self.dataset is None:
                if self.form.source is None:
                    raise UsageError(
                        f"{self.form.name}: the run's data were an array; pass it to load() to train on"
                    )
                self.dataset = bordered(self.form.source.load(), self.recipe.border)
                self.form.check(self.dataset)
            self.work.batches = Batches(self.dataset, self.recipe, seed=self.seed, device=self.device)
        return self.work.batches

    def step(self) -> None:
        """The critic updates and the generator update of one step."""
        self.work.batches = self.batches
        self.work.step()

    def latent(self, n: int, number: int, *, stream: int = Stream.NOISE, seed: int | None = None) -> Array:
        """The latents of one draw; (n, z)."""
        seed = self.seed if seed is None else seed
        return draw_latents(self.recipe, n, number, seed=seed, device=self.device, stream=stream)

    def labels(
        self, n: int, number: int, *, stream: int = Stream.NOISE, seed: int | None = None
    ) -> Array | None:
        """The labels of one draw, one-hot (n, k), each class as likely as another; None without classes."""
        seed = self.seed if seed is None else seed
        return draw_labels(self.recipe, n, number, seed=seed, device=self.device, stream=stream)

    def begin_at(self, steps: int, losses: Array | None = None) -> None:
        """Set the number of steps done, and what `losses_since_log` gave then."""
        self.clock.set(steps)
        self.work.ring.restore(np.empty((0, 2), np.float32) if losses is None else losses)

    def losses_since_log(self) -> Array:
        """The losses, (k, 2) on the host, of the steps since the last one that was logged."""
        return self.work.ring.last(self.recipe.log_every - self.recipe.until_log(self.steps_done))

    def fit(self, steps: int | None = None, callbacks: Sequence[Callback] = ()) -> "Trainer":
        """Train for `steps` more steps (default: up to the recipe's number, or what was begun); returns self.

        From a fresh start, a schedule ends after `steps`; later calls leave its end where it is, or move it on.
        """
        if steps is not None and steps < 0:
            raise UsageError(f"fit: got steps {steps}, wanted 0 or more")
        horizon = self.work.horizon
        goal = max(self.recipe.steps, horizon) if steps is None else self.steps_done + steps
        self.work.horizon = max(horizon, goal) if steps is None or self.steps_done else goal
        self.work.batches = self.batches
        self.generator.train()
        self.critic.train()
        with self.threads.running(), self._session():
            try:
                self._note_arithmetic()
                _each(callbacks, lambda c: c.on_start(self))
                self._loop(goal, callbacks)
                _each(callbacks, lambda c: c.on_end(self))
            finally:
                _each(callbacks, lambda c: c.on_close(self))
        self.stop_wanted = False
        return self

    def _loop(self, goal: int, callbacks: Sequence[Callback]) -> None:
        mark, marked = perf_counter(), self.steps_done
        while self.steps_done < goal and not self.stop_wanted:
            with np.errstate(all="ignore"):  # overflow shows as losses that are not finite, checked below
                if self.replay:
                    self.replay.advance(due(self.recipe, self.steps_done, goal))
                else:
                    self.work.step()
            _each(callbacks, lambda c: c.on_step(self))
            if before := self.threads.look():
                self.arithmetic = self._arithmetic()
                _each(callbacks, lambda c, n=before: c.on_threads(self, n))  # type: ignore[misc]
            if self.recipe.logs_at(self.steps_done) or self.steps_done == goal or self.stop_wanted:
                metrics = self.metrics()
                now = perf_counter()
                metrics["steps_per_second"] = (self.steps_done - marked) / max(now - mark, 1e-9)
                mark, marked = now, self.steps_done
                _each(callbacks, lambda c, m=metrics: c.on_log(self, m))  # type: ignore[misc]

    def _session(self) -> AbstractContextManager[None]:
        """Where steps are made: on a GPU, a stream of their own."""
        if self.device == "cpu" or not self.capture:
            return nullcontext()
        self.replay = self.replay or Replay(self.work)
        return self.replay.session()

    def _note_arithmetic(self) -> None:
        """Keep what the steps are computed with, for checkpoints; a warning where it is not what it was so far."""
        now = self._arithmetic()
        if now and self.arithmetic and now != self.arithmetic:
            warnings.warn(
                f"the run was computed with {self.arithmetic}, from here on with {now}: the bits may differ from "
                "those of a run without a stop",
                RuntimeWarning,
                stacklevel=3,
            )
        self.arithmetic = now

    def _arithmetic(self) -> str:
        """What the bits of a step on the CPU depend on beside versions: BLAS and its kernels, and threads."""
        return f"{blas_kernels()}, threads: {self.threads.used}" if self.device == "cpu" else ""

    def _threads(self, wanted: int | None) -> Threads:
        """Those of kernels, where there are convolutions, or else of BLAS.

        Below 2^24 multiplications a second one does not pay (measured). On a GPU the number changes nothing.
        """
        parameters = (*self.generator.parameters(), *self.critic.parameters())
        split = self.device == "cpu" and any(len(p.shape) == 4 for p in parameters)
        small = max((p.size for p in parameters), default=0) * self.recipe.batch * 2 < 2**24
        return Threads(wanted, split=split, small=small or self.device != "cpu")

    def metrics(self) -> Metrics:
        """Mean losses since the last interval began, the last critic update's scores, and the critic's loss on
        held-out samples where the recipe wants it; waits for the device.

        DivergedError where a loss is not finite.
        """
        out: Metrics = {"step": self.steps_done}
        losses = self.losses_since_log()
        losses = losses if len(losses) else self.work.ring.last(self.recipe.log_every)
        with np.errstate(all="ignore"):
            if len(losses):  # none are known after a load, before the next step
                out["critic_loss"], out["generator_loss"] = map(float, losses.mean(axis=0))
            last = {name: to_host(x) for name, x in self.work.scores.items()}
            out |= _score_metrics(self.objective, last)
            if (held_out := held_out_loss(self)) is not None:
                out["critic_loss_held_out"] = held_out
        for name in ("critic_loss", "generator_loss"):
            if not np.isfinite(out.get(name, 0)):
                raise DivergedError(
                    f"step {self.steps_done}: {name.replace('_', ' ')} is {out[name]}; "
                    "try a lower --lr, or another objective"
                )
        return out

    def sample(
        self, n: int, seed: int | None = None, *, latent: Array | None = None, label: Any = None
    ) -> Array:
        """n samples on the host: images (n, h, w, c) in [0, 1], or points (n, d).

        The same seed gives the same latents on every device; without one, the run's fixed latents. `latent` (n, z)
        replaces them. `label` is one class or (n,) of them, for a run with classes; without it, each class in turn.
        """
        return self.sampler().sample(n, seed, latent=latent, label=label)

    def sampler(self) -> Sampler:
        """What draws samples from the generator as it is now, or from its average where the recipe has one."""
        return Sampler(
            self.recipe,
            self.form,
            self.generator,
            device=self.device,
            seed=self.seed,
            steps_done=self.steps_done,
            ema=self.ema,
        )

    def save(self, path: str | Path) -> None:
        """Write networks, optimizers and step to one safetensors file, whole or not at all."""
        state.save(self, Path(path))


def _score_metrics(objective: Objective, last: dict[str, Any]) -> Metrics:
    """D(x) and D(G(z)), then the critic's accuracy or the Wasserstein estimate, and the penalty by itself."""
    if "real" not in last:
        return {}
    real, fake = last["real"], last["fake"]
    d_real, d_fake = (1 / (1 + np.exp(-s)) if objective.logits else s for s in (real, fake))
    out = {"d_real": float(d_real.mean()), "d_fake": float(d_fake.mean())}
    if objective.boundary is None:
        out["wasserstein"] = float(real.mean() - fake.mean())
    else:
        out["accuracy"] = float(
            ((real > objective.boundary).mean() + (fake <= objective.boundary).mean()) / 2
        )
    if "penalty" in last:
        out["penalty"] = float(last["penalty"])
    return out


def _each(callbacks: Sequence[Callback], call: Callable[[Callback], None]) -> None:
    for callback in callbacks:
        call(callback)
