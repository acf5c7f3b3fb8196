"""One training step, as the algorithm has it: updates of the critic, then of the generator.

A step is `critic_steps` critic updates (more in a warm-up step) and `generator_steps` generator updates; each is a
loss, its gradient, written to the flat buffer of an optimizer, and that optimizer's step. Everything random in it is a
function of the seed and the step's number, and nothing in it reads from the device.

Shapes: `n` batch, `f` features of a sample, `z` latent, `k` classes. Labels, here always called y, are None in a run
without classes, and then networks are called without them.
"""

from collections.abc import Iterator

from fastgan import optim, random
from fastgan.clock import Clock, Count, Rate
from fastgan.device import Array
from fastgan.errors import UsageError
from fastgan.gan.batches import Batches
from fastgan.gan.conditional import rows_of, told
from fastgan.gan.latents import draw_labels, draw_latents
from fastgan.gan.objectives import Objective
from fastgan.gan.penalty import penalized_loss, piecewise_linear, refuse_batch_norm, slope_of
from fastgan.gan.recipe import Recipe
from fastgan.gan.ring import Ring, record
from fastgan.nn import BatchNorm, Dropout, MinibatchStdDev, Module
from fastgan.ops import with_penalty
from fastgan.optim import Optimizer
from fastgan.random import Stream
from fastgan.tape import Tensor, grad, no_grad

WARMUP_UPDATES = 1 << 40  # beyond the number of any other update
Scores = dict[str, Array]  # "real" and "fake" (n, 1), and "penalty" () where there is one


class Step:
    """What a step works on, and the step. `networks` and `optimizers` are the generator's and the critic's.

    `batches` are to be set before the first.
    """

    def __init__(
        self,
        recipe: Recipe,
        objective: Objective,
        networks: tuple[Module, Module],
        optimizers: tuple[Optimizer, Optimizer],
        *,
        clock: Clock,
        seed: int,
    ) -> None:
        self.recipe, self.objective = recipe, objective
        self.batches: Batches | None = None
        self.generator, self.critic = networks
        self.generator_optimizer, self.critic_optimizer = optimizers
        self.clock, self.seed = clock, seed
        self.horizon = recipe.steps  # the step at which schedules end
        self.ring = Ring(recipe.log_every, clock)
        self.scores: Scores = {}  # of the last critic update
        self.critic_updates = recipe.critic_steps * (1 + recipe.split_updates)  # a step's
        self._together = not mixes(self.critic)  # real and fake samples share a pass
        self._apart = mixes(self.generator) and not recipe.inference_fakes  # a fake depends on its batch
        # the generator's layers where fakes are made in inference mode; to find them takes as long as one of them
        self._inferring = [*self.generator.modules()] if recipe.inference_fakes else []
        self._draws = any(isinstance(m, Dropout) for net in networks for m in net.modules())
        # whether points between real and fake samples are drawn
        self._mixed = bool(objective.penalty) and not objective.penalty_of
        closed = self._mixed and objective.kinds and not recipe.simultaneous
        self._closed = piecewise_linear(self.critic) if closed else None

    def step(self) -> None:
        """The critic updates and the generator update of one step."""
        self.prepare(1)
        self.make()
        self.clock.steps += 1

    def prepare(self, steps: int) -> None:
        """What the host does ahead of the next steps: learning rates, and the orders of epochs that begin in them."""
        assert self.batches
        self._set_rates()
        first, last = self._update_number(0), self._update_number(steps * self._critic_steps() - 1)
        self.batches.prepare(int(first), int(last))

    def make(self) -> None:
        """A step's work on the device: all updates, and the losses written to the ring."""
        recipe, count = self.recipe, self._critic_steps()
        drawn = (count + (not recipe.shared_latents)) * recipe.batch
        start, device = (recipe, drawn, self.clock.count(1)), self.clock.device
        z = draw_latents(*start, seed=self.seed, device=device)
        y = draw_labels(*start, seed=self.seed, device=device)
        first, last = slice(count * recipe.batch), slice(-recipe.batch, None)
        if recipe.simultaneous:
            critic_losses, generator_loss = self._simultaneous_update(z[last], rows_of(y, last))
        else:
            for k, (fake, fake_y) in enumerate(self._fakes(z[first], rows_of(y, first))):
                critic_losses, self.scores = self.critic_update(k, fake, fake_y)
            self._begin(count)
            for _ in range(recipe.generator_steps):
                generator_loss = self.generator_update(z[last], rows_of(y, last))
        self._record(critic_losses, generator_loss)

    def critic_update(self, k: int, fake: Array, fake_y: Array | None = None) -> tuple[list[Array], Scores]:
        """A step's k-th update of the critic, against fakes (n, f) of labels (n, k).

        Its loss (), in terms to add up, and the scores.
        """
        self._begin(k)
        update = self._update_number(k)
        if not self.recipe.split_updates:
            loss, scores = self._critic_loss(update, fake, fake_y)
            self._descend(self.critic_optimizer, loss)
            return [loss.data], scores
        assert self.batches
        halves = self._halves(self.batches.draw(update), self.batches.labels(update), fake, fake_y)
        losses, scores = [], {}
        for name, (loss, of_half) in zip(("real", "fake"), halves, strict=True):
            self._descend(self.critic_optimizer, loss)
            losses.append(loss.data)
            scores[name] = of_half
        optim.clip_weights(self.critic_optimizer.flat.buffer, self.objective.clip)
        return losses, scores

    def generator_update(self, z: Array, y: Array | None = None) -> Array:
        """An update of the generator on the fakes of z and their labels: its loss ()."""
        fake = told(self.generator, y)(Tensor(z))
        loss = self.objective.generator(told(self.critic, y)(fake))
        self._descend(self.generator_optimizer, loss)
        return loss.data

    def _critic_loss(self, update: int | Count, fake: Array, fake_y: Array | None) -> tuple[Tensor, Scores]:
        """The critic's loss on a batch of real samples and as many fakes, with its penalty where it has one.

        Points between real and fake samples, where the penalty is taken, have the real ones' labels.
        """
        assert self.batches
        objective, n, mixed = self.objective, len(fake), self._mixed
        x = self.batches.draw(update, fake if self._together or mixed else None, mixed=mixed)
        if self._closed:
            return self._closed_loss(x, *self._closed)
        y = self.batches.labels(update, fake_y if self._together else None)
        real_y = rows_of(y, slice(n))
        if self._together:
            both = told(self.critic, y)(Tensor(x[: 2 * n]))
            loss, scores = objective.critic(both), {"real": both.data[:n], "fake": both.data[n:]}
        else:
            (real_loss, real), (fake_loss, fakes) = self._halves(x[:n], real_y, fake, fake_y)
            loss, scores = real_loss + fake_loss, {"real": real, "fake": fakes}
        if mixed:
            slope = slope_of(told(self.critic, real_y), x[2 * n :]).reshape(n, -1)
            loss = with_penalty(loss, slope, weight=objective.penalty)
            scores["penalty"] = loss.node.kept[0]
        elif objective.penalty and objective.penalty_of:
            points = Tensor(x[:n]), Tensor(fake), self._epsilon(n, update)
            penalty = objective.penalty_of(told(self.critic, real_y), *points) * objective.penalty
            loss, scores["penalty"] = loss + penalty, penalty.data
        return loss, scores

    def _halves(
        self, real: Array, real_y: Array | None, fake: Array, fake_y: Array | None
    ) -> Iterator[tuple[Tensor, Array]]:
        """The critic's losses on real samples and then on fakes, each with its scores."""
        for part, x, y in (self.objective.real, real, real_y), (self.objective.fake, fake, fake_y):
            scores = told(self.critic, y)(Tensor(x))
            yield part(scores), scores.data

    def _epsilon(self, n: int, update: int | Count) -> Tensor:
        """Where between real and fake samples a critic update's penalty is taken; (n, 1)."""
        device = self.clock.device
        return Tensor(
            random.uniform((n, 1), seed=self.seed, stream=Stream.EPSILON, step=update, device=device)
        )

    def _closed_loss(
        self, x: Array, parameters: list[Tensor], slopes: tuple[float, ...]
    ) -> tuple[Tensor, Scores]:
        """The loss and its penalty as one op; x (3n, f) holds real, fake and mixed samples."""
        settings = {"kinds": self.objective.kinds, "weight": self.objective.penalty, "slopes": slopes}
        loss, n = penalized_loss(Tensor(x), *parameters, **settings), len(x) // 3
        kept = loss.node.kept
        return loss, {"real": kept["scores"][:n], "fake": kept["scores"][n:], "penalty": kept["penalty"]}

    def _simultaneous_update(self, z: Array, y: Array | None) -> tuple[list[Array], Array]:
        """Both networks updated from gradients taken at the same point, on the same fakes."""
        self._begin(0)
        fake = told(self.generator, y)(Tensor(z))
        generator_loss = self.objective.generator(told(self.critic, y)(fake))
        critic_loss, self.scores = self._critic_loss(self.clock.count(1), fake.data, y)
        both = ((self.generator_optimizer, generator_loss), (self.critic_optimizer, critic_loss))
        for optimizer, loss in both:
            self._differentiate(optimizer, loss)
        for optimizer, _ in both:
            self._move(optimizer)
        return [critic_loss.data], generator_loss.data

    def _fakes(self, z: Array, y: Array | None) -> list[tuple[Array, Array | None]]:
        """Fakes for each critic update of a step, and their labels.

        The generator rests meanwhile, so one pass can make them all.
        """
        n = self.recipe.batch
        pieces = [slice(first, first + n) for first in range(0, len(z), n)]
        for module in self._inferring:
            module.training = False
        fakes = []
        with no_grad():
            for k, rows in enumerate(pieces if self._apart else [slice(None)]):
                self._begin(k)
                fakes.append(told(self.generator, rows_of(y, rows))(Tensor(z[rows])).data)
        for module in self._inferring:
            module.training = True
        if not self._apart:
            fakes = [fakes[0][rows] for rows in pieces]
        return [(fake, rows_of(y, rows)) for fake, rows in zip(fakes, pieces, strict=True)]

    def _descend(self, optimizer: Optimizer, loss: Tensor) -> None:
        """One step of an optimizer down the gradient of a loss."""
        self._differentiate(optimizer, loss)
        self._move(optimizer)

    @staticmethod
    def _differentiate(optimizer: Optimizer, loss: Tensor) -> None:
        grad(loss, optimizer.flat.parameters, out=optimizer.gradients, allow_unused=True)

    def _move(self, optimizer: Optimizer) -> None:
        """An optimizer's step; on a device its number is worked out there, from the steps done."""
        if self.clock.device != "cpu":
            critic = optimizer is self.critic_optimizer
            per_step = self.critic_updates if critic else self.recipe.generator_steps
            ahead = optimizer.steps - per_step * self.clock.steps
            optimizer.count = Count(self.clock.array, per_step, ahead + 1, self.clock.steps)
        optimizer.step()

    def passed(self, steps: int) -> None:
        """Count steps that a replay made."""
        self.clock.steps += steps
        self.critic_optimizer.steps += steps * self.critic_updates
        self.generator_optimizer.steps += steps * self.recipe.generator_steps

    def _record(self, critic_losses: list[Array], generator_loss: Array) -> None:
        first, *rest = critic_losses
        record(
            self.ring.array,
            generator_loss,
            first,
            more=rest[0] if rest else None,
            scale=0.5 if self.recipe.halved_loss else 1.0,
            step=self.clock.count(1),
            advance=True,
        )

    def _critic_steps(self) -> int:
        """Critic updates of the step that comes next."""
        recipe = self.recipe
        return recipe.warmup_critic_steps if recipe.warms_up(self.clock.steps) else recipe.critic_steps

    def _update_number(self, k: int) -> int | Count:
        """The number of a step's critic update, which says what samples it sees.

        Those of warm-up steps are numbered by themselves, so that the others stay a multiple of the step.
        """
        if self.recipe.warms_up(self.clock.steps):
            return WARMUP_UPDATES + self.recipe.warmup_critic_steps * self.clock.steps + k
        return self.clock.count(self.recipe.critic_steps, k)

    def _set_rates(self) -> None:
        recipe, lr = self.recipe, self.recipe.optimizer.lr
        factor = optim.schedule(recipe.optimizer.schedule, self.clock.steps, self.horizon)
        own = lr if recipe.generator_lr is None else recipe.generator_lr
        for optimizer, rate in (
            (self.critic_optimizer, lr * factor),
            (self.generator_optimizer, own * factor),
        ):
            if isinstance(optimizer.lr, Rate):
                optimizer.lr.set(rate)
            else:
                optimizer.lr = rate

    def _begin(self, k: int) -> None:
        """Tell layers that draw random numbers which pass of the step this is."""
        if self._draws:  # going through all layers takes as long as one of them
            most = max(self.recipe.critic_steps, self.recipe.warmup_critic_steps)
            number = self.clock.count(most + 1, k)
            self.critic.begin(self.seed, number)
            self.generator.begin(self.seed, number, first=sum(1 for _ in self.critic.modules()))


def check_updates(recipe: Recipe, objective: Objective, critic: Module) -> None:
    """UsageError where a recipe's kind of step, an objective and a critic do not fit one another."""
    if objective.penalty and not objective.penalty_of:
        refuse_batch_norm(critic)
    if objective.penalty and recipe.split_updates:
        raise UsageError("got a gradient penalty with split updates, wanted joint ones: --no-split-updates")
    several = max(recipe.critic_steps, recipe.warmup_critic_steps, recipe.generator_steps) > 1
    if recipe.simultaneous and (several or recipe.split_updates or recipe.inference_fakes):
        raise UsageError("got simultaneous updates with several updates a step, wanted one joint update")


def mixes(network: Module) -> bool:
    """Whether a sample's output depends on the batch that it is in, or on the call."""
    return any(isinstance(m, BatchNorm | Dropout | MinibatchStdDev) for m in network.modules())
