"""Peers start from fastgan's parameters, make the same images and scores of them, and go about the same way.

What a wrong step looks like is planted, most of it as another row of facts than the recipe's: `peers` must notice.
"""

import importlib.util
import math
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import fastgan as fg
from fastgan.benchmarks import cases, peers, training
from fastgan.benchmarks.peers import agreement, autograd_numpy, jax_jit, spreads, torch_compiled, torch_eager
from fastgan.errors import UsageError

pytestmark = pytest.mark.slow

ENGINES = {
    "torch_eager": "torch",
    "torch_graph": "torch",
    "torch_compiled": "torch",
    "jax_jit": "jax",
    "autograd_numpy": "autograd",
}
ONE_IMAGE = training.same_image(300)


@pytest.fixture
def make(monkeypatch):
    """A peer on one image, by module, with seed 5; PyTorch's compiler and graphs are left out."""

    def made(module, row, data=ONE_IMAGE, **settings):
        package = ENGINES[module]
        pytest.importorskip(package, reason=f"{package} is not installed: its peer is not tested")
        monkeypatch.setattr(torch_compiled, "compiled", lambda function: function)
        monkeypatch.setattr("fastgan.benchmarks.peers.torch_graph.aside", lambda step: step())
        monkeypatch.setattr("fastgan.benchmarks.peers.torch_graph.capture", lambda step: step)
        low = peers.ALL[row].low if isinstance(row, str) else row.low
        engine = import_module(f"fastgan.benchmarks.peers.{module}")
        settings = {"seed": 5, "device": "cpu"} | settings
        return engine.make(row, training.floats(data, low), **settings)

    return made


def trainer(recipe, batch=None, seed=0):
    settings = fg.recipes[recipe].replace(batch=batch) if batch else fg.recipes[recipe]
    return fg.Trainer(settings, ONE_IMAGE, device="cpu", seed=seed)


@pytest.fixture(scope="module")
def ours():
    """What fastgan does, by recipe: its start and its facts."""
    kept = {}

    def found(recipe):
        if recipe not in kept:
            own = trainer(recipe)
            kept[recipe] = peers.start_like(own), peers.trainer_facts(own)
        return kept[recipe]

    return found


def networks_differ(peer, own):
    """Why a peer with the same start has other networks than a trainer, or ""."""
    theirs = peer.play(*agreement._inputs(peer.latent))
    sizes = agreement._sizes(own), peer.parameters
    return agreement._networks_differ(agreement._played(own), theirs, *sizes, own.recipe.name)


# Equal starts, equal steps
@pytest.mark.parametrize("recipe", peers.SETTINGS)
@pytest.mark.parametrize("module", ENGINES)
def test_a_peer_does_what_fastgan_does(module, recipe, make, ours):
    peer, own = make(module, recipe), trainer(recipe)
    start, facts = ours(recipe)
    assert "images differ" in networks_differ(peer, own)  # it has a start of its own
    peer.start(*start)
    assert networks_differ(peer, own) == ""
    assert peer.updates() == (0, 0)
    assert peers.disagreement(facts, peers.peer_facts(peer), recipe) == ""


def test_facts_may_have_travelled_as_summaries(make, ours):
    """Flat, and without the two sums behind them: as suites/steps.py has them."""
    start, facts = ours("toy-mlp")
    peer = make("autograd_numpy", "toy-mlp")
    peer.start(*start)
    theirs = peers.peer_facts(peer)
    flat = [[x[:-2] for x in cases.summary(found)] for found in (facts, theirs)]
    assert [x.size for x in flat[0]] == [x.size for x in facts]  # nothing was left out
    assert peers.disagreement(*flat, "toy-mlp") == ""
    flat[1][3] = flat[1][3] * 1.2
    assert "moved" in peers.disagreement(*flat, "toy-mlp")


@pytest.mark.parametrize("module", ENGINES)
def test_a_start_after_steps_leaves_the_optimizer_and_replaces_all_parameters(module, make):
    own, peer = trainer("keras-mlp"), make(module, "keras-mlp")
    for _ in range(5):  # a graph is captured at the fourth
        peer.step()
    before = peer.updates()
    peer.start(*peers.start_like(own))
    assert networks_differ(peer, own) == ""
    assert peer.updates() == before == (5, 10)
    peer.step()  # with what it was given, wherever its step has the parameters from
    assert peer.updates() == (6, 12)
    for network, start in zip(peer.values(), peers.start_like(own), strict=True):
        for found, given in zip(network, start, strict=True):
            moved = np.abs(np.sort(found, axis=None) - np.sort(given, axis=None)).max()
            assert 0 < moved < 0.005  # lr 2e-4


@pytest.mark.parametrize("module", ENGINES)
def test_a_start_that_does_not_fit_is_refused_and_changes_nothing(module, make):
    peer, (generator, critic) = make(module, "toy-mlp"), peers.start_like(trainer("toy-mlp"))
    before = peer.values()
    with pytest.raises(UsageError, match=r"start of the generator: got 5 parameters, wanted 6; take them"):
        peer.start(generator[:-1], critic)
    with pytest.raises(
        UsageError, match=r"the critic: got shape \(784, 255\) for its parameter 0, wanted \(784, 256\)"
    ):
        peer.start(generator, [critic[0][:, :-1], *critic[1:]])
    with pytest.raises(UsageError, match=r"got shape \(256, 64\) for its parameter 0, wanted \(64, 256\)"):
        peer.start([generator[0].T, *generator[1:]], critic)
    for old, new in zip(before, peer.values(), strict=True):
        assert all(map(np.array_equal, old, new))


@pytest.mark.parametrize("module", ENGINES)
def test_playing_and_looking_leave_no_trace(module, make):
    """Of two peers of one seed, one is played with and looked at: both train alike, running statistics too."""
    losses = []
    for look in (False, True):
        peer = make(module, "keras-mlp", training.random_images(64))
        for _ in range(3):
            if look:
                peer.play(np.ones((4, 100), np.float32), np.ones((4, 784), np.float32))
                peer.values()
            peer.step()
        losses.append(peer.losses())
    assert losses[0] == losses[1]


def test_playing_leaves_no_trace_in_a_trainer():
    z, x = np.full((4, 100), 3, np.float32), np.ones((4, 784), np.float32)
    own = trainer("keras-mlp")
    kept = {name: array.copy() for name, array in own.generator.values().items()}
    first, _ = agreement.play(own, z, x)
    np.testing.assert_array_equal(agreement.play(own, z, x)[0], first)
    for name, array in own.generator.values().items():
        np.testing.assert_array_equal(array, kept[name])


# Mistakes
@pytest.mark.parametrize(
    ("recipe", "change", "reason"),
    [
        ("keras-mlp", {"lr": 4e-4}, "loss over 5 steps is"),
        ("cs231n-vanilla", {"lr": 1.1e-3}, "moved 1.0"),
        ("keras-mlp", {"betas": (0.9, 0.999)}, "moved 0.8"),
        ("toy-mlp", {"betas": (0.5, 0.999)}, "moved 1.2"),
        ("wgan-gp-mlp", {"betas": (0.5, 0.999)}, "the critic's loss"),
        ("wgan-gp-mlp", {"critic_updates": 4}, r"made \(5, 20\) updates .*, wanted \(5, 25\)"),
        ("keras-mlp", {"critic_update": "joint"}, r"made \(5, 5\) updates"),
        ("keras-mlp", {"batch": 16}, "moved 0.9"),
        ("toy-mlp", {"batch": 50}, "moved 0.9"),
        ("wgan-gp-mlp", {"batch": 32}, "moved 0.9"),
        ("wgan-gp-mlp", {"noise": "normal"}, "loss over 5 steps"),
        ("toy-mlp", {"critic_slope": 0.1}, "scores differ"),
        ("toy-mlp", {"generator_slope": 0.1}, "images differ"),
    ],
)
def test_another_row_than_the_recipes_is_noticed(recipe, change, reason, make, ours):
    start, facts = ours(recipe)
    peer = make("autograd_numpy", replace(peers.SETTINGS[recipe], **change))
    peer.start(*start)
    assert re.search(reason, peers.disagreement(facts, peers.peer_facts(peer), recipe))


@pytest.mark.parametrize("module", ["autograd_numpy", "torch_eager"])
@pytest.mark.parametrize("penalty", [0.0, 9.0])
def test_a_forgotten_or_another_penalty_is_noticed(module, penalty, make, ours, monkeypatch):
    start, facts = ours("wgan-gp-mlp")
    peer = make(module, "wgan-gp-mlp")
    monkeypatch.setattr(import_module(f"fastgan.benchmarks.peers.{module}"), "PENALTY", penalty)
    peer.start(*start)
    assert "loss over 5 steps" in peers.disagreement(facts, peers.peer_facts(peer), "wgan-gp-mlp")


@pytest.mark.parametrize("recipe", ["keras-mlp", "toy-mlp", "cs231n-vanilla"])
@pytest.mark.parametrize("label", [0, 1])
def test_losses_that_know_one_label_are_noticed(recipe, label, make, ours, monkeypatch):
    start, facts = ours(recipe)
    right = autograd_numpy._bce
    monkeypatch.setattr(autograd_numpy, "_bce", lambda scores, _: right(scores, label))
    peer = make("autograd_numpy", recipe)
    peer.start(*start)
    assert peers.disagreement(facts, peers.peer_facts(peer), recipe)


def test_fakes_that_are_not_drawn_with_running_statistics_are_noticed(make, ours, monkeypatch):
    start, facts = ours("keras-mlp")
    draw = autograd_numpy.Gan.generate
    monkeypatch.setattr(
        autograd_numpy.Gan, "generate", lambda gan, layers, z, training: draw(gan, layers, z, training=True)
    )
    peer = make("autograd_numpy", "keras-mlp")
    peer.start(*start)
    assert "loss over 5 steps" in peers.disagreement(facts, peers.peer_facts(peer), "keras-mlp")


@pytest.mark.parametrize(
    ("number", "change", "reason"),
    [
        (0, lambda x: x + 1e-3, "images differ by"),
        (1, lambda x: x * np.nan, "scores differ by nan"),
        (2, lambda x: x * np.nan, "the critic's loss over 5 steps is nan"),
        (2, lambda x: x + np.array([0, 0.1]), "the generator's loss over 5 steps"),
        (3, lambda x: x * np.where(np.arange(12) == 4, 0, 1), "parameter 4 moved 0 times"),
        (3, lambda x: x * np.nan, "moved nan times"),
        (
            4,
            lambda x: x + np.array([1, 0, 0, 0]),
            r"trains (283921, 267009) numbers (generator, critic), wanted (283920,",
        ),
        (4, lambda x: x - np.array([0, 0, 0, 1]), "made (5, 4) updates (generator, critic), wanted (5, 5)"),
    ],
)
def test_what_is_wrong_is_named(number, change, reason, ours):
    _, facts = ours("toy-mlp")
    theirs = [*facts[:4], facts[4][:4]]
    assert peers.disagreement(facts, theirs, "toy-mlp") == ""
    theirs[number] = change(theirs[number])
    assert reason in peers.disagreement(facts, theirs, "toy-mlp")


def test_smaller_batches_have_wider_spreads(ours):
    """A quarter of the batch: twice the spread; a larger one has no narrower."""
    _, facts = ours("toy-mlp")
    wider = 1 + 1.5 * agreement.ALLOWED * math.sqrt(2) * np.maximum(spreads.SPREADS["toy-mlp"].moves, 0.002)
    theirs = [*facts[:3], facts[3] * wider, facts[4][:4]]
    for batch, fine in ((100, False), (25, True), (400, False)):
        told = [*facts[:4], np.array([*facts[4][:4], batch])]
        assert (peers.disagreement(told, theirs, "toy-mlp") == "") == fine


def test_two_runs_of_fastgan_agree_with_another_seed_and_a_small_batch():
    for recipe, batch in (("keras-mlp", 4), ("wgan-gp-mlp", 4), ("cs231n-vanilla", None)):
        found = []
        for seed in (3, 4):
            own = trainer(recipe, batch, seed)
            for network, arrays in zip(
                (own.generator, own.critic), peers.start_like(trainer(recipe, batch)), strict=True
            ):
                for p, value in zip(network.parameters(), arrays, strict=True):
                    p.data[...] = value
            found.append(peers.trainer_facts(own))
        assert not np.array_equal(found[0][2], found[1][2])
        assert peers.disagreement(found[0], [*found[1][:4], found[1][4][:4]], recipe) == ""


def test_the_table_of_spreads_fits_the_recipes_and_can_be_measured_again():
    assert spreads.SPREADS.keys() == peers.ALL.keys()
    for recipe, spread in spreads.SPREADS.items():
        start = peers.start_like(trainer(recipe))
        assert len(spread.moves) == len(start[0] + start[1])
        assert (spread.moves[-1] == spreads.NOISE) == (peers.ALL[recipe].critic_update == "penalty")
    again, table = spreads.measure("cs231n-vanilla", 4), spreads.SPREADS["cs231n-vanilla"]
    ratios = np.array([*again.losses, *again.moves]) / np.array([*table.losses, *table.moves])
    assert 0.5 < np.median(ratios) < 2


# The batch, which the first steps do not show in every recipe
@pytest.mark.parametrize("recipe", peers.SETTINGS)
def test_batches_and_noise_have_the_rows_of_the_recipe(recipe):
    row, data = peers.SETTINGS[recipe], training.floats(ONE_IMAGE, -1.0)
    drawn = [autograd_numpy.Gan(row, data, 0)]  # which imports autograd when it computes
    if importlib.util.find_spec("torch"):
        drawn += [torch_eager.Gan(row, data, 0), torch_compiled._Gan(row, data, 0, "cpu")]
    for gan in drawn:
        assert tuple(gan._batch().shape) == (row.batch, 784)
        assert tuple(gan._noise().shape) == (row.batch, row.generator[0])
    if importlib.util.find_spec("jax"):
        key = import_module("jax").random.key(0)
        assert jax_jit._batch(row, data, key).shape == (row.batch, 784)
        assert jax_jit._noise(row, key).shape == (row.batch, row.generator[0])
