"""A labelled step through every kernel, in the simulator, against the array code on the CPU; captured and replayed."""

import numpy as np
import pytest
from fakes.cuda import standing_in
from labelled import TINY, trainer_of
from tiny import arrays

import fastgan as fg
from fastgan.gan import OptimizerSettings
from fastgan.gan.replay import WARMUP, Replay

# a large epsilon: where a gradient is 0 but for rounding, an adaptive step is the sign of that rounding
RECIPE = TINY.replace(optimizer=OptimizerSettings(lr=1e-2, beta1=0.5, eps=1e-2))


@pytest.mark.parametrize(("g", "c", "steps"), [("concat", "projection", 2), ("multiply", "concat", 1)])
def test_replays_of_a_labelled_step_are_steps(g, c, steps):
    recipe = RECIPE.replace(generator_labels=g, critic_labels=c, critic_steps=1, objective="least-squares")
    with standing_in():
        there = trainer_of(recipe, device="cuda")
        replay = Replay(there.work)
        replay.made = WARMUP
        with replay.session():
            for _ in range(steps):
                replay.advance(1)
        got = arrays(there)
    assert replay.recordings
    with fg.use_kernels(False):
        here = trainer_of(recipe)
        for _ in range(steps):
            here.step()
        wanted = arrays(here)
    for name, array in wanted.items():
        assert np.allclose(got[name], array, rtol=1e-4, atol=1e-5), name
