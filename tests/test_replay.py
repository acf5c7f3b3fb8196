"""Steps as graphs, on the stand-in for CuPy: who counts what, when several steps go at once, what is not captured.

The values that replays compute are checked in the simulator (tests/simulator/test_steps.py).
"""

import numpy as np
import pytest
from fakes.cuda import counting, standing_in
from tiny import arrays, samples, tiny

import fastgan as fg
from fastgan.errors import UsageError
from fastgan.gan import OptimizerSettings
from fastgan.gan.batches import UNROLL
from fastgan.gan.replay import WARMUP, Replay, due

pytestmark = pytest.mark.slow


def trainer_of(recipe, **settings):
    return fg.Trainer(recipe, samples(recipe), device="cuda", seed=2, **settings)


class Seen(fg.Callback):
    """The steps at which a callback is called."""

    def __init__(self):
        self.steps, self.logs = [], []

    def on_step(self, trainer):
        self.steps.append(trainer.steps_done)

    def on_log(self, trainer, metrics):
        self.logs.append(trainer.steps_done)


def test_a_replay_shows_the_scores_of_its_own_graph():
    """Also after a second graph was recorded, and after a step of the user's own."""
    recipe = tiny("wgan-gp-mlp").replace(log_every=20)
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(recipe).fit(WARMUP + UNROLL)
        whole = dict(trainer.work.scores)
        trainer.fit(1)
        single = dict(trainer.work.scores)
        trainer.step()
        trainer.fit(1)
        assert all(trainer.work.scores[key] is single[key] is not whole[key] for key in whole)
        trainer.fit(UNROLL - 2).fit(UNROLL)
        assert sorted(trainer.replay.recordings) == [1, UNROLL]
        assert all(trainer.work.scores[key] is whole[key] for key in whole)


def test_a_schedule_goes_step_by_step_and_sets_the_rate_in_between():
    recipe = tiny("digits").replace(optimizer=OptimizerSettings(schedule="linear:0.5", lr=0.1), log_every=50)
    seen = Seen()
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(recipe).fit(11, [seen])
        assert float(trainer.critic_optimizer.lr) == pytest.approx(0.1 * (1 - 0.5 * 10 / 11))
        assert float(trainer.critic_optimizer.lr.array.get()[0]) == pytest.approx(0.1 * (1 - 0.5 * 10 / 11))
    assert seen.steps == list(range(1, 12))


def test_array_code_cannot_be_captured_which_is_said_once_and_changes_nothing():
    recipe = tiny("wgan-gp-mlp")
    with standing_in(), fg.use_kernels(False):
        trainer = trainer_of(recipe)
        with pytest.warns(RuntimeWarning, match="no graph: ") as told:
            trainer.fit(WARMUP + 3)
        trainer.fit(2)
        eager = trainer_of(recipe, capture=False).fit(WARMUP + 3).fit(2)
        got, wanted = arrays(trainer), arrays(eager)
    assert len(told) == 1
    assert all((got[key] == wanted[key]).all() for key in wanted)


def test_without_capture_nothing_is_recorded():
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        assert trainer_of(tiny("wgan-mlp"), capture=False).fit(WARMUP + 3).replay is None


def test_a_replay_launches_what_the_steps_would():
    recipe = tiny("keras-mlp")
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(recipe)
        with counting() as eager:
            trainer.step()
        replay = Replay(trainer.work)
        replay.made = WARMUP
        with replay.session():
            replay.advance(UNROLL)
            with counting() as replayed:
                replay.advance(UNROLL)
    names = [launch.name for launch in eager if launch.name != "fill"]  # the rates, once
    assert [launch.name for launch in replayed] == names * UNROLL


def test_due():
    recipe = tiny("digits").replace(log_every=10, sample_every=15, checkpoint_every=100)
    step = fg.Trainer(recipe, samples(recipe), device="cpu")
    assert [due(recipe, step.steps_done, goal) for goal in (3, 50)] == [3, 10]
    step.begin_at(12)
    assert due(recipe, step.steps_done, 50) == 3
    step.begin_at(20)
    assert due(recipe, step.steps_done, 22) == 2


def test_a_gradient_from_before_a_replay_is_refused():
    recipe = tiny("wgan-mlp")
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(recipe).fit(WARMUP + UNROLL)
        x = fg.tensor(np.ones((2, recipe.latent), np.float32), device="cuda", requires_grad=True)
        losses = [trainer.critic(trainer.generator(x)).sum() for _ in range(2)]
        fg.grad(losses[0], [x])
        trainer.fit(UNROLL)
        with pytest.raises(UsageError, match="has changed since"):
            fg.grad(losses[1], [x])
