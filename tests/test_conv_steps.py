"""Steps of the convolutional recipes as a GPU would make them, counted: one graph, no array code's products, how much.

The values are checked in the simulator (tests/simulator/test_steps.py).
"""

import warnings

import numpy as np
import pytest
from fakes.cuda import counting, standing_in

import fastgan as fg
from fastgan.benchmarks.training import is_dense
from fastgan.data import Dataset
from fastgan.gan.replay import WARMUP, Replay
from fastgan.gan.source import data_shape

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
