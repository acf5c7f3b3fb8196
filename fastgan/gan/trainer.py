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

from fastgan.clock import Count
from fastgan.device import Array, array_module, resolve_device, to_device, to_host
from fastgan.errors import DivergedError, UsageError
from fastgan.gan import state
from fastgan.gan.batches import Batches
from fastgan.gan.networks import build
from fastgan.gan.objectives import Objective
from fastgan.gan.quality import held_out_loss
from fastgan.gan.recipe import Recipe
from fastgan.gan.recipes import RECIPES
from fastgan.gan.replay import Replay, due
from fastgan.gan.sharing import Threads
from fastgan.gan.source import bordered, find
from fastgan.gan.step import Step, objective_of
from fastgan.nn import Module
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad
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


class Trainer(Step):
    """One run: networks, optimizers, data, and the loop.

    `recipe` is a Recipe or its name; `data` an array, a Dataset, or what `fastgan.data.load` takes (default: the
    recipe's). `generator`, `critic` and `objective` replace the recipe's by your own. On a GPU steps are captured as
    graphs and replayed, unless `capture` is False. `threads` keeps a number of CPU threads, on which bits depend; None
    takes what fits, and fewer while other programs have the cores. Errors: UsageError, DataError or DeviceError before
    the first step; DivergedError while training.
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
        device = resolve_device(device)
        self.dataset, self.form = find(data, recipe)
        features = self.form.features + recipe.classes
        given = {"generator": generator, "critic": critic, "objective": objective}
        self.own_networks = [name for name, own in given.items() if own is not None]
        seed = int(seed)
        if generator is None or critic is None:
            built = build(recipe, self.form.shape, seed)
            generator, critic = generator or built[0], critic or built[1]
        super().__init__(
            recipe,
            objective or objective_of(recipe),
            generator,
            critic,
            features=features,
            device=device,
            seed=seed,
        )
        self.batches = self._batches() if self.dataset else None
        self.stop_wanted = False
        self.arithmetic = ""  # of the newest steps, see _arithmetic
        self.capture = capture
        self.replay: Replay | None = None
        self.threads = self._threads(threads)

    def prepare_data(self, first: int, last: int) -> None:
        """See Step."""
        self.batches = self.batches or self._batches()
        self.batches.prepare(first, last)

    def fill(self, x: Array, update: int | Count, *, fake: Array | None = None, mixed: bool = False) -> None:
        """See Step."""
        assert self.batches
        self.batches.fill(x, update, fake=fake, mixed=mixed)

    def _batches(self) -> Batches:
        """The batches; after a load, the data are found again when they are first needed."""
        if self.dataset is None:
            if self.form.source is None:
                raise UsageError(
                    f"{self.form.name}: the run's data were an array; pass it to load() to train on"
                )
            self.dataset = bordered(self.form.source.load(), self.recipe.border)
            self.form.check(self.dataset)
        return Batches(self.dataset, self.recipe, seed=self.seed, device=self.device)

    def fit(self, steps: int | None = None, callbacks: Sequence[Callback] = ()) -> "Trainer":
        """Train for `steps` more steps (default: up to the recipe's number, or what was begun); returns self.

        From a fresh start, a schedule ends after `steps`; later calls leave its end where it is, or move it on.
        """
        if steps is not None and steps < 0:
            raise UsageError(f"fit: got steps {steps}, wanted 0 or more")
        goal = max(self.recipe.steps, self.horizon) if steps is None else self.steps_done + steps
        self.horizon = max(self.horizon, goal) if steps is None or self.steps_done else goal
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
                    self.replay.advance(due(self, goal))
                else:
                    self.step()
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
        self.replay = self.replay or Replay(self)
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
        losses = losses if len(losses) else self.last_losses(self.recipe.log_every)
        with np.errstate(all="ignore"):
            if len(losses):  # none are known after a load, before the next step
                out["critic_loss"], out["generator_loss"] = map(float, losses.mean(axis=0))
            last = {name: to_host(x) for name, x in self.updates.last.items()}
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
        if n < 1:
            raise UsageError(f"sample: got n {n}, wanted at least 1")
        z = (
            self.noise(n, 0, stream=Stream.SAMPLE, seed=seed)
            if latent is None
            else to_device(latent, self.device)
        )
        z = self._labelled(z, label)
        self.generator.eval()
        if self.ema:
            self.ema.swap()
        try:
            with no_grad():
                x = to_host(self.generator(Tensor(z)).data)
        finally:
            if self.ema:
                self.ema.swap()
            self.generator.train()
        return self.pixels(x)

    def _labelled(self, z: Array, label: Any) -> Array:
        """Latents with the rows of their labels behind them, where the run has classes and they have none yet."""
        k = self.recipe.classes
        if label is not None and not k:
            raise UsageError(
                f"sample: got label {label} for a run without classes; train one with, such as recipe cgan-mnist"
            )
        has_labels = z.shape[1] == self.recipe.latent + k
        if not k or (label is None and has_labels):
            return z
        labels = np.asarray(np.arange(len(z)) % k if label is None else label)
        if labels.dtype.kind not in "iu" or labels.shape not in ((), (len(z),)):
            raise UsageError(f"sample: got label {label!r}, wanted a whole number or {len(z)} of them")
        for wrong in labels[(labels < 0) | (labels >= k)].flat:
            raise UsageError(f"sample: got label {wrong}, wanted 0 to {k - 1}")
        rows = to_device(np.eye(k, dtype=np.float32)[np.broadcast_to(labels, len(z))], self.device)
        return array_module(z).concatenate([z[:, :-k] if has_labels else z, rows], axis=1)

    def pixels(self, x: Array) -> Array:
        """A generator's output (n, f) as images in [0, 1], or points as they are; label columns are left out."""
        x, shape = x[:, : self.form.features], (len(x), *self.form.shape)
        if self.recipe.points or len(shape) != 4:
            return x.reshape(shape)
        scaled = (x - self.recipe.low) / (self.recipe.high - self.recipe.low)
        return np.clip(scaled, 0, 1).reshape(shape)

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
