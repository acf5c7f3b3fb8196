"""Steps of the convolutional recipes as a GPU would make them, counted: one graph, no array code's products, how much.

The values are checked in the simulator (tests/simulator/test_steps.py).
"""

import warnings

import numpy as np
import pytest

import fastgan as fg
from fastgan.benchmarks.training import is_dense
from fastgan.data import Dataset
from fastgan.gan.replay import WARMUP, Replay
from fastgan.launches import count, data_shape, floor
from fastgan.standin import counting, standing_in

pytestmark = pytest.mark.slow

CONV = [name for name, recipe in fg.recipes.items() if not is_dense(recipe.generator)]


def trainer_of(name, **changes):
    recipe = fg.recipes[name].replace(batch=4, warmup_critic_steps=0, **changes)
    shape = data_shape(recipe)
    rows = np.random.default_rng(0).integers(0, 256, (40, *shape), np.uint8)
    if not recipe.classes:
        return fg.Trainer(recipe, rows, device="cuda", seed=2)
    labels = np.arange(40) % recipe.classes
    return fg.Trainer(recipe, Dataset("rows", rows, labels), device="cuda", seed=2)


@pytest.mark.parametrize("name", CONV)
def test_a_step_is_recorded_whole_and_replayed(name):
    """cuBLAS cannot be captured, nor what reads from the device; a replay launches what the step would."""
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(name)
        trainer.step()
        with counting() as eager:
            trainer.step()
        replay = Replay(trainer.work)
        replay.made = WARMUP
        with replay.session(), warnings.catch_warnings():
            warnings.simplefilter("error")
            replay.advance(1)
            with counting() as replayed:
                replay.advance(1)
    assert replay.possible
    assert [x.name for x in replayed] == [x.name for x in eager]
    assert eager.transfers == replayed.transfers == []


@pytest.mark.parametrize("name", CONV)
def test_no_product_and_no_window_is_left_to_array_code(name):
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        trainer = trainer_of(name)
        with counting() as launches:
            trainer.step()
    assert not {x.name for x in launches} & {"gemm", "pad"}


@pytest.mark.parametrize(
    ("name", "launches", "times"), [("cs231n-dcgan", 265, 4.5), ("igul-mnist-wgan-gp", 720, 8.5)]
)
def test_the_budget(name, launches, times):
    """Launches of a step, and how many times the fewest bytes it moves: windows are copied and read again."""
    recipe = fg.recipes[name]
    rows = count(recipe)
    assert sum(row.launches for row in rows) <= launches
    assert sum(row.read + row.written for row in rows) <= times * floor(recipe)
