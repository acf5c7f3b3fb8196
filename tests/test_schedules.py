"""Steps of more than one kind: several generator updates, and warm-up steps with critic updates of their own.

The numbers that replays compute are checked in the simulator; here, that they are asked for at the right steps.
"""

import numpy as np
import pytest
from fakes.cuda import standing_in
from tiny import samples, tiny

import fastgan as fg
from fastgan import random
from fastgan.clock import Count
from fastgan.gan.batches import UNROLL, Batches
from fastgan.gan.replay import WARMUP, Replay, due
from fastgan.nn import Net

pytestmark = pytest.mark.slow

PLAIN = tiny("wgan-gp-mlp").replace(critic_steps=2, log_every=20, sample_every=1000)
WARM = PLAIN.replace(warmup_critic_steps=5, warmup_steps=2, warmup_every=10)


def trainer_of(recipe, device="cpu", **settings):
    return fg.Trainer(recipe, samples(recipe), device=device, seed=2, **settings)


def seen_batches(monkeypatch):
    """The numbers of the critic updates that samples are drawn for, as they come."""
    numbers, draw = [], Batches.draw
    monkeypatch.setattr(
        Batches,
        "draw",
        lambda self, update, *fake, **to: numbers.append(int(update)) or draw(self, update, *fake, **to),
    )
    return numbers


def test_which_steps_warm_up():
    recipe = fg.recipes["hs-wgan"]
    assert (recipe.warmup_critic_steps, recipe.critic_steps) == (25, 5)
    warm = [step for step in range(1600) if recipe.warms_up(step)]
    assert warm == [*range(25), 500, 1000, 1500]
    assert not any(recipe.replace(warmup_critic_steps=0).warms_up(step) for step in range(600))


def test_updates_of_warm_up_steps():
    trainer = trainer_of(WARM)
    done = []
    for _ in range(13):
        trainer.step()
        done.append(trainer.critic_optimizer.steps)
    assert np.diff([0, *done]).tolist() == [5, 5, *[2] * 8, 5, 2, 2]
    assert trainer.generator_optimizer.steps == 13


@pytest.mark.parametrize("sampling", ["replacement", "epochs", "sequential"])
def test_warm_up_steps_have_batches_of_their_own(monkeypatch, sampling):
    """No number twice, and those of other steps are what they were without warm-up."""
    numbers = seen_batches(monkeypatch)
    trainer_of(WARM.replace(sampling=sampling)).fit(12)
    own = {2 * step + k for step in range(12) if not WARM.warms_up(step) for k in range(2)}
    assert len(set(numbers)) == len(numbers) == 3 * 5 + 9 * 2
    assert {number for number in numbers if number < 24} == own
    assert min(set(numbers) - own) >= 1 << 40


def test_critic_updates_of_a_warm_up_step_see_other_samples_and_latents(monkeypatch):
    drawn = []
    trainer = trainer_of(WARM.replace(sampling="epochs"))
    made, draw = trainer.work._fakes, Batches.draw
    monkeypatch.setattr(
        Batches, "draw", lambda *batch, **to: drawn.append(draw(*batch, **to)) or drawn[-1].copy()
    )
    trainer.work._fakes = lambda z, y: drawn.append(z.copy()) or made(z, y)
    trainer.fit(1)
    assert len(drawn[0]) == 5 * 8
    assert len(np.unique(drawn[0], axis=0)) == 5 * 8
    real = np.concatenate([x[:8] for x in drawn[1:]])
    assert len(real) == 5 * 8
    assert len(np.unique(real, axis=0)) == 5 * 8


@pytest.mark.parametrize("sampling", ["epochs", "sequential"])
def test_small_data_sets_begin_epochs_within_a_step(monkeypatch, sampling):
    """Three batches an epoch, five in a warm-up step: each has the samples that its number says."""
    recipe = WARM.replace(sampling=sampling, warmup_steps=3, warmup_every=3)
    few = samples(recipe).take(slice(0, 25))
    alone = Batches(few, recipe, seed=2, device="cpu")
    numbers, drawn = seen_batches(monkeypatch), []
    trainer = fg.Trainer(recipe, few, device="cpu", seed=2)
    draw = trainer.batches.draw
    trainer.batches.draw = lambda *batch, **to: drawn.append(draw(*batch, **to)) or drawn[-1].copy()
    trainer.fit(10)
    assert len(drawn) == len(numbers) == 6 * 5 + 4 * 2
    for number, x in zip(tuple(numbers), drawn, strict=True):
        alone.prepare(number, number)
        assert (alone.draw(number) == x[:8]).all(), number


def test_all_updates_of_a_step_may_share_their_latents():
    trainer = trainer_of(tiny("hs-dcgan").replace(log_first=False))
    drawn, seen, losses, generator = [], [], [], trainer.work.generator_update
    made = trainer.work._fakes
    trainer.work._fakes = lambda z, y: seen.append(z.copy()) or made(z, y)
    trainer.work.generator_update = lambda z, y: (
        drawn.append(z.copy()) or losses.append(generator(z, y)) or losses[-1]
    )
    trainer.fit(3)
    assert len(drawn) == 6
    assert (drawn[0] == drawn[1]).all()
    assert np.array_equal(np.stack(seen), drawn[::2])
    assert (drawn[1] != drawn[2]).all()
    assert trainer.generator_optimizer.steps == 6
    assert trainer.critic_optimizer.steps == 3
    assert losses[4] != losses[5]
    assert trainer.work.ring.array[2 % trainer.recipe.log_every, 1] == losses[5]


@pytest.mark.parametrize("steps", [1, 3])  # a warm-up step, and one that is none
def test_the_generator_learns_from_latents_that_the_critic_has_not_seen(steps):
    trainer, seen, own = trainer_of(WARM), [], []
    made, generator = trainer.work._fakes, trainer.work.generator_update
    trainer.work._fakes = lambda z, y: seen.append(z.copy()) or made(z, y)
    trainer.work.generator_update = lambda z, y: own.append(z.copy()) or generator(z, y)
    trainer.fit(steps)
    assert [len(z) for z in own] == [8] * steps
    assert len(np.unique(np.concatenate([*seen, *own]), axis=0)) == sum(map(len, seen)) + 8 * steps


def test_dropout_draws_other_masks_in_each_update(monkeypatch):
    """Those of a step with many critic updates are not those of the next."""
    recipe = WARM.replace(
        objective="hinge", critic=Net(("linear 8", "leaky_relu 0.2", "dropout 0.5", "linear o")), penalty=None
    )
    told, uniform = [], random.uniform
    trainer = trainer_of(recipe)
    monkeypatch.setattr(random, "uniform", lambda *shape, **to: told.append(to) or uniform(*shape, **to))
    trainer.fit(12)
    masks = [(to["stream"], to["step"]) for to in told if to["stream"] & 15 == random.Stream.DROPOUT]
    assert len(masks) > 24
    assert len(set(masks)) == len(masks)


# on a GPU


def test_due_ends_at_a_warm_up_step():
    step = trainer_of(WARM)
    step.begin_at(13)
    assert due(WARM, step.steps_done, 1000) == 7
    step.begin_at(20)
    assert due(WARM, step.steps_done, 1000) == 10
    assert due(PLAIN, 0, 1000) == 20
    assert due(PLAIN.replace(warmup_every=7), 0, 1000) == 20  # there are none


class Watched(Replay):
    """Which steps are made one by one and which are replayed, and whether Adam's number is right in those."""

    log, counts = (), ()

    def advance(self, most):
        before, recorded = self.step.clock.steps, len(self.log)
        super().advance(most)
        if len(self.log) == recorded:
            self.log.append(("eager", before, self.step.clock.steps))

    def _record(self, steps):
        self.noted = []
        found = super()._record(steps)
        self.counts[steps] = self.noted
        return found

    def _replay(self, steps):
        trainer = self.step
        for optimizer in (trainer.critic_optimizer, trainer.generator_optimizer):
            count = next(count for who, count in self.counts[steps] if who is optimizer)
            assert count.times * trainer.clock.steps + count.plus == optimizer.steps + 1
        before = trainer.clock.steps
        super()._replay(steps)
        self.log.append(("replayed", before, trainer.clock.steps))


def watched(recipe, steps):
    """A trainer on the stand-in after some steps, and how they were made."""
    trainer = trainer_of(recipe, "cuda")
    replay = trainer.replay = Watched(trainer.work)
    replay.log, replay.counts, replay.noted = [], {}, []
    for optimizer in (trainer.critic_optimizer, trainer.generator_optimizer):

        def step(optimizer=optimizer, made=optimizer.step):
            assert isinstance(optimizer.count, Count)
            assert optimizer.count.times * trainer.steps_done + optimizer.count.plus == optimizer.steps + 1
            replay.noted.append((optimizer, optimizer.count))
            made()

        optimizer.step = step
    trainer.fit(steps)
    return trainer, replay.log


def test_a_warm_up_step_is_never_captured_nor_crossed_by_a_replay():
    recipe = WARM.replace(generator_steps=2, log_every=1000, warmup_every=15)
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer, log = watched(recipe, 50)
    eager = [begin for how, begin, end in log if how == "eager"]
    assert eager == [0, 1, 2, 3, 4, 15, 30, 45]  # two warm-up steps, then as many as any run begins with
    assert len(eager) == 2 + WARMUP + 3
    assert all(end - begin in (1, UNROLL) for _, begin, end in log)
    assert any(end - begin == UNROLL for _, begin, end in log)
    assert not [
        step
        for how, begin, end in log
        if how == "replayed"
        for step in range(begin, end)
        if recipe.warms_up(step)
    ]
    assert trainer.steps_done == 50
    assert trainer.critic_optimizer.steps == 5 * 5 + 45 * 2
    assert trainer.generator_optimizer.steps == 100


def test_a_run_that_begins_with_many_warm_up_steps_is_captured_all_the_same():
    recipe = WARM.replace(warmup_steps=WARMUP + 2, warmup_every=1000)
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        _, log = watched(recipe, 30)
    assert [begin for how, begin, _ in log if how == "eager"] == list(range(2 * WARMUP + 2))
