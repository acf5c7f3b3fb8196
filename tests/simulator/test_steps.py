"""Whole training steps through every kernel, in the simulator, against the array code on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from fakes.cuda import counting, standing_in
from labelled import TINY, labelled
from tiny import arrays

import fastgan as fg
from fastgan import nn
from fastgan.gan import OptimizerSettings
from fastgan.gan.replay import WARMUP, Replay
from fastgan.nn import Net
from fastgan.random import Draws, Stream

GENERATOR = Net(
    (
        "linear 9",
        "leaky_relu 0.2",
        "batch_norm",
        "linear 12",
        "leaky_relu 0.2",
        "batch_norm",
        "linear o",
        "tanh",
    ),
    init="glorot_uniform",
    norm_eps=0.001,
    batch_norm=0.2,
)
PLAIN = Net(("linear 9", "relu", "linear o", "tanh"))
CRITIC = Net(("linear 10", "leaky_relu 0.2", "linear 7", "leaky_relu 0.2", "linear o"))
SMALL = {"latent": 5, "batch": 6, "log_every": 3}
# a large epsilon: where a gradient is 0 but for rounding, an adaptive step is the sign of that rounding
ADAM = OptimizerSettings(lr=1e-2, beta1=0.5, eps=1e-2)


@dataclass(frozen=True)
class Layers:
    """Settings of a network that is given as its layers."""

    make: Callable

    def build(self, i, o, *, seed, number=0, shape=None, name=""):
        network = nn.Sequential(*self.make(i))
        network.initialize(Draws(seed, Stream.INIT, step=number << 32))
        return network


@Layers
def UPWARDS(z):
    """To images of 3 x 5 x 1: a layer with channels in fours, one with three, one with one."""
    return [
        nn.Linear(z, 2 * 2 * 4),
        nn.ReLU(),
        nn.BatchNorm(16),
        nn.Reshape(2, 2, 4),
        nn.ConvTranspose2d(4, 3, (2, 3), stride=(1, 2), padding="same"),
        nn.ReLU(),
        nn.BatchNorm(3),
        nn.ConvTranspose2d(3, 1, 2),
        nn.Tanh(),
        nn.Flatten(),
    ]


@Layers
def POOLED(f):
    return [
        nn.Reshape(3, 5, 1),
        nn.Conv2d(1, 4, 2),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d((1, 2)),
        nn.Conv2d(4, 3, 2, padding="same"),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(12, 1),
    ]


@Layers
def STRIDED(f):
    return [
        nn.Reshape(3, 5, 1),
        nn.Conv2d(1, 4, 3, stride=2, padding="same"),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(24, 1),
    ]


RECIPES = {
    "keras-mlp": fg.recipes["keras-mlp"].replace(generator=GENERATOR, critic=CRITIC, optimizer=ADAM, **SMALL),
    "wgan-gp-mlp": fg.recipes["wgan-gp-mlp"].replace(
        generator=PLAIN, critic=CRITIC, critic_steps=2, optimizer=ADAM, ema=0.9, **SMALL
    ),
    "conv": fg.recipes["cs231n-vanilla"].replace(generator=UPWARDS, critic=POOLED, optimizer=ADAM, **SMALL),
    "conv-penalty": fg.recipes["wgan-gp-mlp"].replace(
        generator=PLAIN, critic=STRIDED, critic_steps=1, optimizer=ADAM, **SMALL
    ),
}
WGAN = fg.recipes["wgan-mlp"].replace(
    generator=PLAIN,
    critic=CRITIC,
    critic_steps=1,
    optimizer=OptimizerSettings(kind="rmsprop", lr=1e-2, eps=1e-2),
    sampling="replacement",
    **SMALL,
)
DROPOUT = WGAN.replace(
    generator=Net(("linear 2", "leaky_relu 0.2", "dropout 0.5", "linear o", "tanh")),
    critic=Net(("linear 3", "leaky_relu 0.2", "dropout 0.5", "linear o")),
    latent=2,
    batch=2,
)
DATA = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 1), np.uint8)


LABELLED = TINY.replace(optimizer=ADAM, critic_steps=1, objective="least-squares")


def both(recipe, data, run):
    """What `run` gives and the arrays that it leaves: of a trainer on the stand-in, then by array code on the CPU."""
    with standing_in():
        there = fg.Trainer(recipe, data, device="cuda", seed=2)
        done = run(there)
        got = arrays(there)
    with fg.use_kernels(False):
        here = fg.Trainer(recipe, data, device="cpu", seed=2)
        here_done = run(here)
        wanted = arrays(here)
    for key, array in wanted.items():
        assert np.allclose(got[key], array, rtol=1e-4, atol=1e-5), key
    return there, done, here, here_done


def replayed(steps):
    """Steps, each a replay of a captured one where there is a device."""

    def run(trainer):
        if trainer.device == "cpu":
            for _ in range(steps):
                trainer.step()
            return None
        replay = Replay(trainer.work)
        replay.made = WARMUP
        with replay.session():
            for _ in range(steps):
                replay.advance(1)
        return replay

    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_through_the_kernels_is_the_array_codes(name):
    """From the second step on, so that a clock that the kernels read is not 0."""

    def run(trainer):
        trainer.begin_at(3)
        with counting() as launches:
            trainer.step()
        return launches

    there, launches, here, _ = both(RECIPES[name], DATA, run)
    assert launches
    assert not {"gemm", "pad", "reshape"} & {launch.name for launch in launches}  # array code's
    assert there.work.ring.array[0].get().any() == here.work.ring.array[0].any()


@pytest.mark.parametrize("recipe", [WGAN, DROPOUT], ids=["noise", "masks"])
def test_a_captured_step_draws_anew_at_each_replay(recipe):
    """Two replays of one captured step are two steps: the device counts by itself."""
    there, *_ = both(recipe, DATA, replayed(2))
    done = int(there.clock.array.get()[0])
    assert (done, there.steps_done, there.critic_optimizer.steps) == (2, 2, 2)


def test_replays_around_warm_up_steps_are_the_array_codes():
    """Samples and latents of both kinds of step, and Adam's number after critic updates that no recording counted."""
    few = {"warmup_critic_steps": 2, "warmup_steps": 0, "warmup_every": 2}
    small = {
        "generator": Net(("linear 2", "leaky_relu 0.2", "linear o", "tanh")),
        "critic": Net(("linear 3", "leaky_relu 0.2", "linear o")),
        "latent": 2,
        "batch": 2,
        "first": 6,
    }
    recipe = WGAN.replace(sampling="epochs", generator_steps=2, optimizer=ADAM, **few, **small)
    there, replay, *_ = both(recipe, DATA, replayed(4))
    assert replay.possible
    assert (there.critic_optimizer.steps, there.generator_optimizer.steps) == (6, 8)


def test_replays_of_a_labelled_step_are_steps():
    recipe = LABELLED.replace(generator_labels="concat", critic_labels="projection")
    _, replay, *_ = both(recipe, labelled(), replayed(2))
    assert replay.recordings
