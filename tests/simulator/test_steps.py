"""Whole training steps through every kernel, in the simulator, against the array code on the CPU."""

import numpy as np
import pytest
from test_train import arrays

import fastgan as fg
from fastgan.nn import MLP
from fastgan.standin import counting, standing_in
from fastgan.train import OptimiserSettings

GENERATOR = MLP((9, 12), slope=0.2, batch_norm=0.2, norm_eps=1e-3, output="tanh", init="glorot_uniform")
PLAIN = MLP((9,), activation="relu", output="tanh")
CRITIC = MLP((10, 7), slope=0.2)
SMALL = {"latent": 5, "batch": 6, "log_every": 3}
KERAS = fg.recipes["keras-mlp"].replace(generator=GENERATOR, critic=CRITIC, **SMALL)
WGAN_GP = fg.recipes["wgan-gp-mlp"].replace(generator=PLAIN, critic=CRITIC, critic_steps=2, **SMALL)
RECIPES = {
    "keras-mlp": KERAS,
    "wgan-gp-mlp": WGAN_GP,
    "cs231n-lsgan": fg.recipes["cs231n-lsgan"].replace(generator=PLAIN, critic=CRITIC, **SMALL),
    "wgan-mlp": fg.recipes["wgan-mlp"].replace(generator=PLAIN, critic=CRITIC, critic_steps=2, **SMALL),
    "sgd with an average": WGAN_GP.replace(
        critic_steps=1,
        ema=0.9,
        sampling="replacement",
        optimiser=OptimiserSettings(kind="sgd", lr=0.1, momentum=0.5),
    ),
}
DATA = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 1), np.uint8)


def trained(recipe, device, steps):
    trainer = fg.Trainer(recipe, DATA, device=device, seed=2)
    for _ in range(steps):
        trainer.step()
    return trainer


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_through_the_kernels_is_the_array_codes(name):
    recipe = RECIPES[name]
    with standing_in(), counting() as launches:
        there = arrays(trained(recipe, "cuda", 2))
    with fg.use_kernels(False):
        here = arrays(trained(recipe, "cpu", 2))
    assert launches
    for key, wanted in here.items():
        assert np.allclose(there[key], wanted, rtol=2e-4, atol=2e-5), key


@pytest.mark.parametrize("name", ["keras-mlp", "wgan-gp-mlp"])
def test_nothing_but_kernels_is_launched_in_a_step(name):
    from fastgan.kernels.cuda import building

    with standing_in():
        trainer = trained(RECIPES[name], "cuda", 1)
        trainer.prepare(1)
        with counting() as launches:
            trainer.make()
    known = {kernel.name for kernel in building.kernels()}
    assert [x.name for x in launches if x.name not in known] == []
