"""One training step: the networks, their optimisers, and the updates of an objective.

A step is `critic_steps` critic updates and one generator update. Everything random in it is a function of the seed and
the step's number, and nothing in it reads from the device: losses stay in a small ring there until somebody asks.
"""

from dataclasses import replace

import numpy as np

from fastgan import optim, random
from fastgan.backend import Array, array_module, module_of
from fastgan.errors import UsageError
from fastgan.losses import Objective, gradient_penalty, objective, refuse_batch_norm
from fastgan.nn import BatchNorm, Dropout, Module, flatten
from fastgan.random import Stream
from fastgan.tape import Tensor, grad, no_grad, recording
from fastgan.train.recipe import Recipe


class Step:
    """Networks and optimisers of one run, and the step that trains them; a subclass says where real samples come from.

    `features` is the size of a sample. The networks are moved to the device. UsageError where they do not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        objective: Objective,
        generator: Module,
        critic: Module,
        *,
        features: int,
        device: str,
        seed: int,
    ) -> None:
        self.recipe, self.objective, self.generator, self.critic = recipe, objective, generator, critic
        self.device, self.seed = device, seed
        random.key_of(seed)  # an error now rather than at the first draw
        if objective.penalty:
            refuse_batch_norm(critic)
            if recipe.split_updates:
                raise UsageError(
                    "got a gradient penalty with split updates, wanted joint ones: --no-split-updates"
                )
        if recipe.simultaneous and (
            recipe.critic_steps > 1 or recipe.split_updates or recipe.inference_fakes
        ):
            raise UsageError(
                "got simultaneous updates with several critic updates a step, wanted one joint update"
            )
        for network in (generator, critic):
            flatten(network, device)
        self.generator_optimiser = recipe.optimiser.build(generator)
        self.critic_optimiser = recipe.optimiser.build(critic, clip=objective.clip)
        self.ema = optim.Ema(generator, decay=recipe.ema) if recipe.ema else None
        self.steps_done = 0
        self.horizon = recipe.steps  # the step at which schedules end
        self._draws = any(isinstance(m, Dropout) for net in (generator, critic) for m in net.modules())
        self._together = not mixes(critic)
        self._mixed = mixes(generator)
        self.losses = module_of(device).zeros((recipe.log_every, 2), np.float32)
        self._last: dict[str, Array] = {}  # scores and penalty of the last critic update
        self._check_shapes(features)

    def step(self) -> None:
        """The critic updates and the generator update of one step."""
        self._set_rates()
        first = self.steps_done * (self.recipe.critic_steps + 1)  # number of this step's first draw of noise
        if self.recipe.simultaneous:
            critic_loss, generator_loss = self._both(first)
        else:
            for k, fake in enumerate(self._fakes(first)):
                critic_loss = self._critic_update(
                    self.steps_done * self.recipe.critic_steps + k, first + k, fake
                )
            generator_loss = self._generator_update(first + self.recipe.critic_steps)
        if self.ema:
            self.ema.update()
        row = self.losses[self.steps_done % self.recipe.log_every]
        row[0], row[1] = critic_loss.data, generator_loss.data
        self.steps_done += 1

    def losses_since_log(self) -> Array:
        """The losses, (k, 2), of the steps since the last one that was logged."""
        return self.losses[: self.steps_done % self.recipe.log_every]

    def _begin(self, number: int) -> None:
        """Tell layers that draw random numbers which draw this is."""
        if self._draws:
            self.critic.begin(self.seed, number)
            self.generator.begin(self.seed, number, first=sum(1 for _ in self.critic.modules()))

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

    def draw(self, update: int) -> Array:
        """The real samples of a critic update, counted from 0; (n, f)."""
        raise NotImplementedError

    @recording(False)
    def _fakes(self, first: int) -> list[Tensor]:
        """Fakes for each critic update of a step: the generator rests meanwhile, so one pass can make them all."""
        count, batch = self.recipe.critic_steps, self.recipe.batch
        if self._mixed and not self.recipe.inference_fakes:
            return [self._fake(batch, first + k) for k in range(count)]
        self.generator.train(not self.recipe.inference_fakes)
        fakes = self._fake(count * batch, first)
        self.generator.train()
        return [fakes[k * batch : (k + 1) * batch] for k in range(count)]

    def _fake(self, n: int, number: int) -> Tensor:
        self._begin(number)
        return self.generator(self.latent(n, number))

    def _critic_update(self, update: int, number: int, fake: Tensor) -> Tensor:
        """One critic update, or one for real and one for fake samples; the loss as the articles print it."""
        self._begin(number)
        real = Tensor(self.draw(update))
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
        fake = self._fake(self.recipe.batch, number)
        loss = self.objective.generator(self.critic(fake))
        self._descend(self.generator_optimiser, loss)
        return loss

    def _both(self, number: int) -> tuple[Tensor, Tensor]:
        """Both networks updated from gradients taken at the same point, on the same fakes."""
        real, fake = Tensor(self.draw(self.steps_done)), self._fake(self.recipe.batch, number)
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

    def _check_shapes(self, features: int) -> None:
        """Run both networks once on two samples, so that networks that do not fit fail here and by name."""
        with no_grad():
            fake = self.generator.eval()(self.latent(2, 0))
            if fake.shape != (2, features):
                raise UsageError(
                    f"the generator gives shape {fake.shape[1:]} per sample, wanted ({features},) as the data have"
                )
            scores = self.critic.eval()(fake)
            if scores.shape != (2, 1):
                raise UsageError(
                    f"the critic gives scores of shape {scores.shape}, wanted (2, 1) for two samples"
                )
        self.generator.train()
        self.critic.train()


def mixes(network: Module) -> bool:
    """Whether a sample's output depends on the batch that it is in, or on the call."""
    return any(isinstance(m, BatchNorm | Dropout) for m in network.modules())


def objective_of(recipe: Recipe) -> Objective:
    """The recipe's objective, with the recipe's own clip and penalty where it has them."""
    base = objective(recipe.objective)
    changes = {
        name: getattr(recipe, name) for name in ("clip", "penalty") if getattr(recipe, name) is not None
    }
    return replace(base, **changes)
