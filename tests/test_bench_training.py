"""Whole steps as they are timed: fastgan's by `fit`, in chunks of what came at once; who answers wrongly is named."""

import math
from dataclasses import replace

import numpy as np
import pytest

import fastgan as fg
from fastgan import dispatch
from fastgan.benchmarks import launches, peers, training
from fastgan.benchmarks.cases import AbsentError
from fastgan.benchmarks.columns import COLUMNS, Clock
from fastgan.benchmarks.suites import steps
from fastgan.benchmarks.training import hidden
from fastgan.gan.step import Step


class PlayedClock(Clock):
    """Waits take two seconds."""

    def __init__(self, trainer):
        self.time, self.trainer, self.waits = 0.0, trainer, []

    def now(self):
        return self.time

    def wait(self):
        self.time += 2.0
        self.waits.append(self.trainer.steps_done)

    def mark(self):
        return self.time

    def between(self, start, end):
        return (end - start) / 10


def test_a_fit_is_timed_in_chunks_of_what_came_at_once():
    """Steps of a quarter second come three at a time: chunks of 12 for 10 steps."""

    class Trainer:
        steps_done, stop_wanted = 100, False

    trainer = Trainer()
    clock = PlayedClock(trainer)
    watch = training.Watch(clock, 10, 6.0)
    watch.on_start(trainer)
    while not trainer.stop_wanted:
        clock.time += 0.75
        trainer.steps_done += 3
        watch.on_step(trainer)
    assert clock.waits == [103, 115, 127]
    assert watch.chunks == [(0.25, pytest.approx(5 / 12), pytest.approx(0.025))] * 2


@pytest.mark.parametrize("name", ["numpy", "cpu-kernels"])
def test_our_columns_train_by_fit(name, monkeypatch):
    made, step = [], Step.step

    def spy(work):
        made.append(dispatch._kernels_wanted.get())
        step(work)

    monkeypatch.setattr(Step, "step", spy)
    monkeypatch.setattr(training, "SLOW", math.inf)  # a busy machine's steps are not
    recipe = fg.recipes["toy-mlp"].replace(batch=4)
    images = training.images_for(recipe, 50)
    work = training.Fit(recipe, images, COLUMNS[name])
    (losses,) = work.first()
    assert len(work.turn(2, 0)) == 1
    assert work.trainer.steps_done == training.FIRST + 1 + 2
    monkeypatch.undo()
    assert made == [name == "cpu-kernels"] * (training.FIRST + 3)
    fresh = fg.Trainer(recipe, images, device="cpu").fit(training.FIRST)
    assert losses.shape == (training.FIRST, 2)
    np.testing.assert_allclose(losses, fresh.work.ring.array[: training.FIRST], rtol=1e-3)


def test_slow_steps_have_few_first_ones():
    recipe = fg.recipes["toy-mlp"].replace(batch=4)
    work = training.Fit(recipe, training.images_for(recipe, 50), COLUMNS["numpy"])
    times = iter([0.0, training.SLOW * (training.LOOKED - 1)])
    work.clock.now = lambda: next(times)
    assert work.first()[0].shape == (training.LOOKED, 2)
    assert work.trainer.steps_done == training.LOOKED
    work.column, times = replace(work.column, capture=True), iter([0.0, 100.0])
    assert work.first()[0].shape == (training.FIRST, 2)  # else no replay would be looked at


def test_a_peer_is_waited_for_once_per_chunk():
    class Peer:
        log = ""

        def step(self):
            self.log += "s"

        def sync(self):
            self.log += "|"

        def losses(self):
            return (float(len(self.log)), 0.0)

    peer = Peer()
    work = training.Stepped(peer, COLUMNS["autograd"])
    assert work.first()[0].tolist() == [training.FIRST + 1, 0]
    peer.log = ""
    assert len(work.turn(3, 0.0)) == 1
    assert peer.log == "s|sss|"


def test_jax_is_waited_for_on_a_cpu_too():
    if reason := COLUMNS["jax"].absent():
        pytest.skip(reason)
    assert type(COLUMNS["jax"].clock()) is not Clock


def test_images_are_given_to_recipes_that_have_none_of_their_own():
    def images(name, count):
        return training.images_for(fg.recipes[name], count)

    assert images("toy-mlp", 7).shape == (7, 28, 28, 1)
    assert images("toy-mlp", 7).dtype == np.uint8
    assert images("digits", 7) is None
    assert images("ring-gan", 7) is None
    assert images("dcgan64", 12).shape == (2, 64, 64, 3)
    assert images("cgan-mnist", 12).labels.tolist() == [*range(10), 0, 1]
    same = training.same_image(5)
    assert (same[:-1] == same[0]).all()
    assert np.abs(same[-1].astype(int) - same[0]).sum() == 1
    assert same.std() > 0


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_peers_get_floats_from_black_to_white(low):
    values = training.floats(np.array([0, 255], np.uint8).reshape(1, 2), low)
    assert values.dtype == np.float32
    assert values[0].tolist() == pytest.approx([low, 1.0])


def test_recipes_of_the_peers_are_ours_with_the_same_numbers():
    for name, theirs in peers.SETTINGS.items():
        ours = fg.recipes[name]
        assert (theirs.batch, theirs.lr, theirs.noise) == (ours.batch, ours.optimizer.lr, ours.noise)
        assert theirs.betas == (ours.optimizer.beta1, ours.optimizer.beta2)
        assert theirs.eps == ours.optimizer.eps
        assert theirs.generator == (ours.latent, *hidden(ours.generator), 784)
        assert theirs.critic == (784, *hidden(ours.critic), 1)
        assert f"leaky_relu {theirs.critic_slope}" in ours.critic.layers
        slope = f"leaky_relu {theirs.generator_slope}" if theirs.generator_slope else "relu"
        assert slope in ours.generator.layers


def test_every_recipe_has_a_case_and_those_with_peers_come_first():
    full = steps.cases("full")
    assert list(dict.fromkeys(case.group for case in full))[: len(peers.ALL)] == list(peers.ALL)
    assert {case.group for case in full} == set(fg.recipes)
    assert {case.group for case in steps.cases("tiny")} == set(fg.recipes)
    assert full[0].costs() == (
        launches.floor(fg.recipes[full[0].group]),
        launches.flops(fg.recipes[full[0].group]),
    )
    assert {case.group for case in steps.cases("quick")} < set(fg.recipes)
    large = [case for case in full if case.group == "dcgan64"]
    assert [(case.name, "numpy" in case.columns) for case in large] == [
        ("dcgan64, batch 8", True),
        ("dcgan64", False),
    ]


def test_columns_that_have_nothing_to_say_about_a_recipe():
    with pytest.raises(AbsentError, match="no peer is written"):
        steps.made("ring-gan", fg.recipes["ring-gan"], COLUMNS["torch"])
    with pytest.raises(AbsentError, match="takes seconds"):
        steps.made("hs-wgan", fg.recipes["hs-wgan"], COLUMNS["numpy"])


def summed(*arrays):
    """As `cases.summary` gives them, with two sums behind the elements."""
    return [np.array([*array, 0.0, 0.0]) for array in arrays]


def test_own_columns_are_held_against_array_code(monkeypatch):
    monkeypatch.setattr(
        steps,
        "_facts_differ",
        lambda ours, theirs, name, resized: "" if len(ours) == len(theirs) else "short",
    )
    found = {"numpy": summed([3.0], [1.0, 0.7]), "cpu-kernels": summed([3.0], [1.02, 0.7])}
    assert steps.wrong("toy-mlp", found) == {}
    found["cuda-graph"] = summed([3.0], [1.2, 0.7])
    found["jax"] = summed([3.0], [1.2, math.nan])
    found["torch"] = summed([3.0], [2.0, 2.0])  # other random numbers
    assert steps.wrong("toy-mlp", found) == {
        "cuda-graph": "losses [1.2 0.7] in step 0, wanted [1.  0.7], those of numpy",
        "jax": "results [1] are not finite",
    }
    assert steps.wrong("toy-mlp", {"torch": summed([1.0])}) == {}
    few, many = summed([3.0], [1.0, 0.7]), summed([3.0], [1.0, 0.7, 1.0, 0.7])
    assert steps.wrong("toy-mlp", {"numpy": few, "cpu-kernels": many}) == {}
    late = summed([3.0], [1.0, 0.7, 1.0, 0.9])  # a graph of several steps that forgets an update, say
    assert list(steps.wrong("toy-mlp", {"numpy": many, "cuda-graph": late})) == ["cuda-graph"]
    short = summed([1.0, 0.7, 1.0, 0.7])
    assert steps.wrong("toy-mlp", {"numpy": many, "cuda-graph": short}) == {"cuda-graph": "short"}


@pytest.mark.parametrize("column", ["torch", "jax", "autograd"])
def test_a_peer_starts_as_fastgan_and_agrees_with_it(column):
    if reason := COLUMNS[column].absent():
        pytest.skip(reason)
    case = next(case for case in steps.cases("tiny") if case.group == "toy-mlp")
    found = {name: steps_summary(case.make(COLUMNS[name])) for name in ("cpu-kernels", column)}
    assert case.wrong(found) == {}
    found[column][0] = found[column][0] * 1.01
    assert list(case.wrong(found)) == [column]


def test_own_columns_make_the_same_updates_as_array_code():
    case = next(case for case in steps.cases("tiny") if case.group == "toy-mlp")
    found = {name: steps_summary(case.make(COLUMNS[name])) for name in ("numpy", "cpu-kernels")}
    assert case.wrong(found) == {}
    found["cpu-kernels"][3] = found["cpu-kernels"][3] * 0.8  # how far parameters moved
    assert "moved 0.8 times as far" in case.wrong(found)["cpu-kernels"]


def steps_summary(work):
    from fastgan.benchmarks.cases import summary

    return summary(work.first())
