"""The trainer: one class runs every recipe.

`step` is `critic_steps` critic updates and one generator update; everything random in it is a function of the seed and
the step's number. Losses stay on the device and are read once per logging interval. What happens around the steps
(progress, pictures, files) is done by callbacks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fastgan import optim, random
from fastgan.backend import Array, array_module, module_of, resolve_device, to_device, to_host
from fastgan.errors import DivergedError, UsageError
from fastgan.losses import Objective, gradient_penalty, objective, refuse_batch_norm
from fastgan.nn import BatchNorm, Dropout, Module, flatten
from fastgan.random import Stream
from fastgan.tape import Tensor, grad, no_grad
from fastgan.train.batches import Batches
from fastgan.train.recipe import Recipe
from fastgan.train.recipes import recipe_named
from fastgan.train.source import find

Metrics = dict[str, float]


class Callback:
    """What a logger, a progress bar or a run directory implements; every method may be left out."""

    def on_start(self, trainer: "Trainer") -> None:
        """Before the first step of a `fit`."""

    def on_step(self, trainer: "Trainer") -> None:
        """After every step; must not read from the device."""

    def on_log(self, trainer: "Trainer", metrics: Metrics) -> None:
        """Every `log_every` steps, with the interval's metrics."""

    def on_end(self, trainer: "Trainer") -> None:
        """After the last step, also when the run was stopped; not after an error."""


class Trainer:
    """Networks, optimisers and data of one run.

    `recipe` is a Recipe or its name; `data` an array, a Dataset, or what `fastgan.data.load` takes (default: the
    recipe's). `generator`, `critic` and `objective` replace the recipe's by your own. Errors: UsageError, DataError or
    DeviceError before the first step; DivergedError while training.
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
    ) -> None:
        self.recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
        self.device, self.seed = resolve_device(device), seed
        self.dataset, self.form = find(data, self.recipe)
        self.own_networks = generator is not None or critic is not None or objective is not None
        self.objective = objective or _objective(self.recipe)
        features = self.form.features
        self.generator = generator or self.recipe.generator.build(self.recipe.latent, features, seed=seed)
        self.critic = critic or self.recipe.critic.build(features, 1, seed=seed, number=1)
        if self.objective.penalty:
            refuse_batch_norm(self.critic)
        for network in (self.generator, self.critic):
            flatten(network, self.device)
        settings = self.recipe.optimiser
        self.generator_optimiser = settings.build(self.generator)
        self.critic_optimiser = settings.build(self.critic, clip=self.objective.clip)
        self.ema = optim.Ema(self.generator, decay=self.recipe.ema) if self.recipe.ema else None
        self.batches = self._batches() if self.dataset else None
        self.steps_done = 0
        self.horizon = self.recipe.steps  # the step at which schedules end
        self.stop_wanted = False
        layers = [*self.generator.modules(), *self.critic.modules()]
        self._draws = any(isinstance(m, Dropout) for m in layers)
        self._together = not any(isinstance(m, BatchNorm | Dropout) for m in self.critic.modules())
        self._losses = module_of(self.device).zeros((self.recipe.log_every, 2), np.float32)
        self._last: dict[str, Array] = {}
        self._check_shapes()

    def _batches(self) -> Batches:
        """The batches; after a load, the data are found again when they are first needed."""
        if self.dataset is None:
            if self.form.source is None:
                raise UsageError(
                    f"{self.form.name}: the run's data were an array; pass it to load() to train on"
                )
            self.dataset = self.form.source.load()
            self.form.check(self.dataset)
        return Batches(self.dataset, self.recipe, seed=self.seed, device=self.device)

    # The step

    def step(self) -> None:
        """The critic updates and the generator update of one step."""
        self.batches = self.batches or self._batches()
        self._set_rates()
        first = self.steps_done * (self.recipe.critic_steps + 1)  # number of this step's first draw of noise
        if self.recipe.simultaneous:
            critic_loss, generator_loss = self._both(first)
        else:
            for k in range(self.recipe.critic_steps):
                critic_loss = self._critic_update(self.steps_done * self.recipe.critic_steps + k, first + k)
            generator_loss = self._generator_update(first + self.recipe.critic_steps)
        if self.ema:
            self.ema.update()
        row = self._losses[self.steps_done % self.recipe.log_every]
        row[0], row[1] = critic_loss.data, generator_loss.data
        self.steps_done += 1

    def _begin(self, number: int) -> None:
        """Tell layers that draw random numbers which draw this is."""
        if self._draws:
            self.critic.begin(self.seed, number)
            self.generator.begin(self.seed, number)

    def _set_rates(self) -> None:
        factor = optim.schedule(self.recipe.optimiser.schedule, self.steps_done, self.horizon)
        own = self.recipe.generator_lr
        self.critic_optimiser.lr = self.recipe.optimiser.lr * factor
        self.generator_optimiser.lr = (self.recipe.optimiser.lr if own is None else own) * factor

    def latent(self, n: int, number: int, *, stream: int = Stream.NOISE, seed: int | None = None) -> Tensor:
        """The latents of one draw; (n, z)."""
        shape, seed = (n, self.recipe.latent), self.seed if seed is None else seed
        if self.recipe.noise == "normal":
            return Tensor(random.normal(shape, seed=seed, stream=stream, step=number, device=self.device))
        return Tensor(random.uniform(shape, -1, 1, seed=seed, stream=stream, step=number, device=self.device))

    def _draw(self, update: int) -> Array:
        assert self.batches is not None
        return self.batches.draw(update)

    def _fakes(self, number: int) -> Tensor:
        """Fakes for a critic update, without a tape."""
        with no_grad():
            if not self.recipe.inference_fakes:
                return self.generator(self.latent(self.recipe.batch, number))
            self.generator.eval()
            try:
                return self.generator(self.latent(self.recipe.batch, number))
            finally:
                self.generator.train()

    def _critic_update(self, update: int, number: int) -> Tensor:
        """One critic update, or one for real and one for fake samples; the loss as the articles print it."""
        self._begin(number)
        real, fake = Tensor(self._draw(update)), self._fakes(number)
        if not self.recipe.split_updates:
            loss = self._critic_loss(real, fake, update)
            self._descend(self.critic_optimiser, loss)
            return loss
        scores = self.critic(real)
        real_loss = self.objective.real(scores)
        self._descend(self.critic_optimiser, real_loss)
        self._last["real"] = scores.data
        scores = self.critic(fake)
        fake_loss = self.objective.fake(scores)
        self._descend(self.critic_optimiser, fake_loss)
        self._last["fake"] = scores.data
        return (real_loss.detach() + fake_loss.detach()) * 0.5

    def _critic_loss(self, real: Tensor, fake: Tensor, update: int) -> Tensor:
        """The whole critic loss; real and fake share one pass where no layer mixes samples."""
        n = real.shape[0]
        if self._together:
            scores = self.critic(Tensor(array_module(real.data).concatenate([real.data, fake.data])))
            real_scores, fake_scores = scores[:n], scores[n:]
        else:
            real_scores, fake_scores = self.critic(real), self.critic(fake)
        self._last |= {"real": real_scores.data, "fake": fake_scores.data}
        loss = self.objective.real(real_scores) + self.objective.fake(fake_scores)
        if not self.objective.penalty:
            return loss
        epsilon = random.uniform(
            (n, 1), seed=self.seed, stream=Stream.EPSILON, step=update, device=self.device
        )
        penalty = gradient_penalty(self.critic, real, fake, Tensor(epsilon)) * self.objective.penalty
        self._last["penalty"] = penalty.data
        return loss + penalty

    def _generator_update(self, number: int) -> Tensor:
        self._begin(number)
        fake = self.generator(self.latent(self.recipe.batch, number))
        loss = self.objective.generator(self.critic(fake))
        self._descend(self.generator_optimiser, loss)
        return loss

    def _both(self, number: int) -> tuple[Tensor, Tensor]:
        """Both networks updated from gradients taken at the same point, on the same fakes."""
        self._begin(number)
        real = Tensor(self._draw(self.steps_done))
        fake = self.generator(self.latent(self.recipe.batch, number))
        generator_loss = self.objective.generator(self.critic(fake))
        critic_loss = self._critic_loss(real, fake.detach(), self.steps_done)
        for optimiser, loss in (
            (self.generator_optimiser, generator_loss),
            (self.critic_optimiser, critic_loss),
        ):
            grad(loss, optimiser.flat.parameters, out=optimiser.gradients, allow_unused=True)
        self.generator_optimiser.step()
        self.critic_optimiser.step()
        return critic_loss, generator_loss

    def _descend(self, optimiser: optim.Optimiser, loss: Tensor) -> None:
        grad(loss, optimiser.flat.parameters, out=optimiser.gradients, allow_unused=True)
        optimiser.step()

    # The run

    def fit(self, steps: int | None = None, callbacks: Sequence[Callback] = ()) -> "Trainer":
        """Train for `steps` more steps (default: up to the recipe's number); returns self."""
        goal = self.horizon if steps is None else self.steps_done + steps
        self.horizon = max(self.horizon, goal) if steps is None or self.steps_done else goal
        self.generator.train()
        self.critic.train()
        _each(callbacks, lambda c: c.on_start(self))
        mark, marked = perf_counter(), self.steps_done
        while self.steps_done < goal and not self.stop_wanted:
            with np.errstate(all="ignore"):  # overflow shows as losses that are not finite, checked below
                self.step()
            _each(callbacks, lambda c: c.on_step(self))
            if self.steps_done % self.recipe.log_every == 0 or self.steps_done == goal:
                metrics = self.metrics()
                now = perf_counter()
                metrics["steps_per_second"] = (self.steps_done - marked) / max(now - mark, 1e-9)
                mark, marked = now, self.steps_done
                _each(callbacks, lambda c, m=metrics: c.on_log(self, m))  # type: ignore[misc]
        _each(callbacks, lambda c: c.on_end(self))
        return self

    def metrics(self) -> Metrics:
        """Mean losses since the last interval began, and the last critic update's scores; waits for the device.

        DivergedError where a loss is not finite.
        """
        count = (self.steps_done - 1) % self.recipe.log_every + 1
        with np.errstate(all="ignore"):
            critic_loss, generator_loss = to_host(self._losses[:count]).mean(axis=0)
            out = {
                "step": self.steps_done,
                "critic_loss": float(critic_loss),
                "generator_loss": float(generator_loss),
                **_score_metrics(self.objective, {name: to_host(x) for name, x in self._last.items()}),
            }
        for name in ("critic_loss", "generator_loss"):
            if not np.isfinite(out[name]):
                raise DivergedError(
                    f"step {self.steps_done}: {name.replace('_', ' ')} is {out[name]}; "
                    "try a lower --lr, or another objective"
                )
        return out

    # Samples

    def sample(self, n: int, seed: int | None = None, *, latent: Array | None = None) -> Array:
        """n samples on the host: images (n, h, w, c) in [0, 1], or points (n, d).

        The same seed gives the same latents on every device; without one, the run's fixed latents. `latent` (n, z)
        replaces them.
        """
        if n < 1:
            raise UsageError(f"sample: got n {n}, wanted at least 1")
        z = (
            self.latent(n, 0, stream=Stream.SAMPLE, seed=seed)
            if latent is None
            else Tensor(to_device(latent, self.device))
        )
        self.generator.eval()
        if self.ema:
            self.ema.swap()
        try:
            with no_grad():
                x = to_host(self.generator(z).data)
        finally:
            if self.ema:
                self.ema.swap()
            self.generator.train()
        return self.pixels(x)

    def pixels(self, x: Array) -> Array:
        """A generator's output (n, f) as images in [0, 1], or points as they are."""
        shape = (len(x), *self.form.shape)
        if self.recipe.points or len(shape) != 4:
            return x.reshape(shape)
        scaled = (x - self.recipe.low) / (self.recipe.high - self.recipe.low)
        return np.clip(scaled, 0, 1).reshape(shape)

    def save(self, path: str | Path) -> None:
        """Write networks, optimisers and step to one safetensors file, whole or not at all."""
        from fastgan.train.state import save

        save(self, Path(path))

    def _check_shapes(self) -> None:
        """Run both networks once on two samples, so that networks that do not fit fail here and by name."""
        features = self.form.features
        with no_grad():
            fake = self.generator.eval()(self.latent(2, 0))
            if fake.shape != (2, features):
                raise UsageError(
                    f"the generator gives shape {fake.shape[1:]} per sample, wanted ({features},): "
                    f"the data are {self.form.name} of shape {self.form.shape}"
                )
            scores = self.critic.eval()(fake)
            if scores.shape != (2, 1):
                raise UsageError(
                    f"the critic gives scores of shape {scores.shape}, wanted (2, 1) for two samples"
                )
        self.generator.train()
        self.critic.train()


def _objective(recipe: Recipe) -> Objective:
    base = objective(recipe.objective)
    changes = {
        name: getattr(recipe, name) for name in ("clip", "penalty") if getattr(recipe, name) is not None
    }
    return replace(base, **changes)


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
