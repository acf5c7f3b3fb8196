"""One training step: the networks, their optimizers, and the updates of an objective.

A step is `critic_steps` critic updates (more in a warm-up step) and `generator_steps` generator updates. Everything
random in it is a function of the seed and the step's number, and nothing in it reads from the device: losses stay in a
small ring there until somebody asks.
"""

from dataclasses import replace

import numpy as np

from fastgan import optim, random
from fastgan.clock import Count, Rate
from fastgan.device import Array, module_of, to_device, to_host
from fastgan.errors import UsageError
from fastgan.gan import published
from fastgan.gan.objectives import Objective, objective, refuse_batch_norm
from fastgan.gan.recipe import Recipe
from fastgan.gan.updates import TapeUpdates, Terms, mixes, updates_for
from fastgan.nn import Dropout, Module, flatten
from fastgan.ops import passes
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad

WARMUP_UPDATES = 1 << 40  # beyond the number of any other update


class Step:
    """Networks and optimizers of one run, and the step that trains them; a subclass says where real samples come from.

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
        if objective.penalty and not objective.penalty_of:
            refuse_batch_norm(critic)
        if objective.penalty and recipe.split_updates:
            raise UsageError(
                "got a gradient penalty with split updates, wanted joint ones: --no-split-updates"
            )
        several = max(recipe.critic_steps, recipe.warmup_critic_steps, recipe.generator_steps) > 1
        if recipe.simultaneous and (several or recipe.split_updates or recipe.inference_fakes):
            raise UsageError("got simultaneous updates with several updates a step, wanted one joint update")
        for network in (generator, critic):
            flatten(network, device)
        adam = published.of(recipe.published).adam
        self.generator_optimizer = recipe.optimizer.build(generator, adam=adam)
        self.critic_optimizer = recipe.optimizer.build(critic, clip=objective.clip, adam=adam)
        self.ema = optim.Ema(generator, decay=recipe.ema) if recipe.ema else None
        self.steps_done = self.losses_from = 0  # the ring holds no losses of steps before that
        self.horizon = recipe.steps  # the step at which schedules end
        self._draws = any(isinstance(m, Dropout) for net in (generator, critic) for m in net.modules())
        self._together = not mixes(critic)
        self._mixed = mixes(generator)
        self.updates = updates_for(generator, critic, objective, seed=seed, simultaneous=recipe.simultaneous)
        xp = module_of(device)
        self.features = features
        self.critic_updates = recipe.critic_steps * (1 + recipe.split_updates)  # a step's
        self.losses: Array = xp.zeros((recipe.log_every, 2), np.float32)
        self.clock: Array = xp.zeros(1, np.int64)  # steps done, as the device knows it
        if self.ema:
            self.generator_optimizer.average = self.ema
        if device != "cpu":
            self.critic_optimizer.lr, self.generator_optimizer.lr = Rate(device), Rate(device)
        self._check_shapes(features)

    def begin_at(self, steps_done: int, losses: Array | None = None) -> None:
        """Set the number of steps done, on both sides, and what `losses_since_log` gave then."""
        self.steps_done = self.losses_from = steps_done
        self.clock[...] = steps_done
        if losses is not None and len(losses):
            self.losses_from -= len(losses)
            ring = to_host(self.losses)
            ring[self._rows(len(losses))] = losses
            self.losses[...] = to_device(ring, self.device)

    def step(self) -> None:
        """The critic updates and the generator update of one step."""
        self.prepare(1)
        self.make()
        self.steps_done += 1

    def prepare(self, steps: int) -> None:
        """What the host does ahead of the next steps: learning rates, and what `prepare_data` needs."""
        self._set_rates()
        first, last = self._update(0), self._update(steps * self._critic_steps() - 1)
        self.prepare_data(int(first), int(last))

    def make(self) -> None:
        """A step's work on the device: all updates, and the losses written to the ring."""
        critic_loss, generator_loss = self._updates()
        passes.record(
            self.losses,
            generator_loss,
            critic_loss[0],
            more=critic_loss[1] if len(critic_loss) > 1 else None,
            scale=0.5 if self.recipe.halved_loss else 1.0,
            step=self.count(1, 0),
            advance=True,
        )

    def _updates(self) -> tuple[Terms, Array]:
        """The critic's updates and the generator's; the last critic loss, in terms, and the generator's."""
        count, batch = self._critic_steps(), self.recipe.batch
        z = self.latent((count + (not self.recipe.shared_latents)) * batch, self.count(1, 0))
        if self.recipe.simultaneous:
            return self._simultaneously(z[-batch:])
        for k, fake in enumerate(self._fakes(z[: count * batch])):
            critic_loss = self._critic_update(k, fake)
        self._begin(count)
        for _ in range(self.recipe.generator_steps):
            generator_loss = self.updates.generator(z[-batch:], self.generator_optimizer.gradients)
            self._move(self.generator_optimizer)
        return critic_loss, generator_loss

    def _critic_steps(self) -> int:
        """Critic updates of the step that comes next."""
        recipe = self.recipe
        return recipe.warmup_critic_steps if recipe.warms_up(self.steps_done) else recipe.critic_steps

    def _update(self, k: int) -> int | Count:
        """The number of a step's critic update, which says what samples it sees.

        Those of warm-up steps are numbered by themselves, so that the others stay a multiple of the step.
        """
        if self.recipe.warms_up(self.steps_done):
            return WARMUP_UPDATES + self.recipe.warmup_critic_steps * self.steps_done + k
        return self.count(self.recipe.critic_steps, k)

    def count(self, times: int, plus: int) -> int | Count:
        """times * steps done + plus: a number on the CPU, and one that the device works out by itself there."""
        if self.device == "cpu":
            return times * self.steps_done + plus
        return Count(self.clock, times, plus, self.steps_done)

    def losses_since_log(self) -> Array:
        """The losses, (k, 2) on the host, of the steps since the last one that was logged."""
        return self.last_losses(self.recipe.log_every - self.recipe.until_log(self.steps_done))

    def last_losses(self, most: int) -> Array:
        """The losses, (k, 2) on the host, of up to `most` steps: as many as are known."""
        return to_host(self.losses)[self._rows(min(most, self.steps_done - self.losses_from))]

    def _rows(self, count: int) -> Array:
        """Where the ring of losses holds those of the last `count` steps."""
        return np.arange(self.steps_done - count, self.steps_done) % self.recipe.log_every

    def _begin(self, k: int) -> None:
        """Tell layers that draw random numbers which pass of the step this is."""
        if self._draws:  # going through all layers takes as long as one of them
            most = max(self.recipe.critic_steps, self.recipe.warmup_critic_steps)
            number = self.count(most + 1, k)
            self.critic.begin(self.seed, number)
            self.generator.begin(self.seed, number, first=sum(1 for _ in self.critic.modules()))

    def _set_rates(self) -> None:
        factor = optim.schedule(self.recipe.optimizer.schedule, self.steps_done, self.horizon)
        own, lr = self.recipe.generator_lr, self.recipe.optimizer.lr
        for optimizer, rate in (
            (self.critic_optimizer, lr * factor),
            (self.generator_optimizer, (lr if own is None else own) * factor),
        ):
            if isinstance(optimizer.lr, Rate):
                optimizer.lr.set(rate)
            else:
                optimizer.lr = rate

    def latent(
        self, n: int, number: int | Count, *, stream: int = Stream.NOISE, seed: int | None = None
    ) -> Array:
        """The latents of one draw; (n, z), or with k classes (n, z + k), each as likely as another."""
        z, k = self.noise(n, number, stream=stream, seed=seed), self.recipe.classes
        if not k:
            return z
        xp, seed = module_of(self.device), self.seed if seed is None else seed
        u = random.uniform(
            (n, 1), seed=seed, stream=Stream.LABEL | stream << 4, step=number, device=self.device
        )
        y = xp.floor(u * k) == xp.arange(k, dtype=np.float32)
        return xp.concatenate([z, y.astype(np.float32)], axis=1)

    def noise(
        self, n: int, number: int | Count, *, stream: int = Stream.NOISE, seed: int | None = None
    ) -> Array:
        """The random part of latents; (n, z)."""
        shape, seed = (n, self.recipe.latent), self.seed if seed is None else seed
        if self.recipe.noise == "normal":
            return random.normal(shape, seed=seed, stream=stream, step=number, device=self.device)
        return random.uniform(shape, -1, 1, seed=seed, stream=stream, step=number, device=self.device)

    def prepare_data(self, first: int, last: int) -> None:
        """Get the real samples of the critic updates `first` to `last` ready to be drawn."""

    def fill(self, x: Array, update: int | Count, *, fake: Array | None = None, mixed: bool = False) -> None:
        """Fill x (., f) with the real samples of a critic update, then fakes, then mixed ones (see assemble)."""
        raise NotImplementedError

    def _fakes(self, z: Array) -> list[Array]:
        """Fakes for each critic update of a step: the generator rests meanwhile, so one pass can make them all."""
        batch = self.recipe.batch
        count = len(z) // batch
        pieces = [slice(k * batch, (k + 1) * batch) for k in range(count)]
        if self._mixed and not self.recipe.inference_fakes:
            return [self._fake(k, z[piece]) for k, piece in enumerate(pieces)]
        fakes = self._fake(0, z)
        return [fakes[piece] for piece in pieces]

    def _fake(self, k: int, z: Array) -> Array:
        self._begin(k)
        return self.updates.generate(z, training=not self.recipe.inference_fakes)

    def _critic_update(self, k: int, fake: Array) -> Terms:
        """One critic update, or one for real and one for fake samples, after which weights are clipped."""
        self._begin(k)
        update = self._update(k)
        optimizer, gradients = self.critic_optimizer, self.critic_optimizer.gradients
        if self.recipe.split_updates:
            optimizer.clip = 0.0
            real_loss = self.updates.critic_part(self._samples(update), True, gradients)
            self._move(optimizer)
            optimizer.clip = self.objective.clip
            fake_loss = self.updates.critic_part(fake, False, gradients)
            self._move(optimizer)
            return real_loss, fake_loss
        if self._together:
            x = self._samples(update, fake, mixed=self.updates.draws_mixed)
            loss = self.updates.critic(x, None, update, gradients)
        else:
            loss = self.updates.critic(self._samples(update), fake, update, gradients)
        self._move(optimizer)
        return loss

    def _samples(self, update: int | Count, fake: Array | None = None, *, mixed: bool = False) -> Array:
        """Real samples, then fake, then mixed ones, in one new array."""
        kinds = 1 + (fake is not None) + mixed
        x = module_of(self.device).empty((kinds * self.recipe.batch, self.features), np.float32)
        self.fill(x, update, fake=fake, mixed=mixed)
        return x

    def _simultaneously(self, z: Array) -> tuple[Terms, Array]:
        """Both networks updated from gradients taken at the same point, on the same fakes."""
        assert isinstance(self.updates, TapeUpdates)
        self._begin(0)
        update = self.count(1, 0)
        critic_loss, generator_loss = self.updates.both(
            self._samples(update),
            z,
            update,
            self.critic_optimizer.gradients,
            self.generator_optimizer.gradients,
        )
        self._move(self.generator_optimizer)
        self._move(self.critic_optimizer)
        return (critic_loss,), generator_loss

    def _move(self, optimizer: optim.Optimizer) -> None:
        """An optimizer's step; on a device its number is worked out there, from the steps done."""
        if self.device != "cpu":
            critic = optimizer is self.critic_optimizer
            per_step = self.critic_updates if critic else self.recipe.generator_steps
            done = optimizer.steps - per_step * self.steps_done
            optimizer.count = Count(self.clock, per_step, done + 1, self.steps_done)
        optimizer.step(optimizer.gradients)  # which the updates have written, on the tape or by a chain

    def _check_shapes(self, features: int) -> None:
        """Run both networks once on two samples, so that networks that do not fit fail here and by name."""
        with no_grad():
            fake = self.generator.eval()(Tensor(self.latent(2, 0)))
            if fake.shape != (2, features):
                raise UsageError(
                    f"the generator gives shape {fake.shape[1:]} per sample, wanted ({features},) as the data have: "
                    "choose other data, --image-size or --border, or other --generator-layers"
                )
            scores = self.critic.eval()(fake)
            if scores.shape != (2, 1):
                raise UsageError(
                    f"the critic gives scores of shape {scores.shape}, wanted (2, 1) for two samples"
                )
        self.generator.train()
        self.critic.train()


def objective_of(recipe: Recipe) -> Objective:
    """The recipe's objective, with the recipe's own clip and penalty where it has them."""
    name = recipe.objective
    base = published.of(recipe.published).objectives.get(name) or objective(name)
    changes = {
        name: getattr(recipe, name) for name in ("clip", "penalty") if getattr(recipe, name) is not None
    }
    return replace(base, **changes)
