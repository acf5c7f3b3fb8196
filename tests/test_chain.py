"""Chains against the tape: the same losses and gradients from the same parameters, in float64 to its last digits."""

from itertools import pairwise

import numpy as np
import pytest
from test_train import arrays
from tiny import samples, tiny

import fastgan as fg
from fastgan.benchmarks.training import is_dense
from fastgan.dispatch import use_kernels
from fastgan.gan.objectives import OBJECTIVES, gradient_penalty
from fastgan.gan.updates import ChainUpdates, TapeUpdates
from fastgan.nn import (
    Arctan,
    BatchNorm,
    Chain,
    Dropout,
    LeakyReLU,
    Linear,
    Net,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    flatten,
)
from fastgan.tape import Tensor, grad

N, F, Z = 7, 6, 5
DENSE = [name for name, recipe in fg.recipes.items() if is_dense(recipe.generator)]
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def wide(network):
    """The network with float64 parameters, drawn anew so that biases and batch norms are not trivial."""
    rng = np.random.default_rng(3)
    for p in network.parameters():
        p.data = rng.normal(size=p.shape) * 0.5 + 0.1
    for module in network.modules():
        for name in module.state:
            setattr(module, name, np.asarray(getattr(module, name), np.float64))
    return network


def places(network):
    return [np.full(p.shape, np.nan, p.dtype) for p in network.parameters()]


def critic(slope=0.2):
    return wide(Sequential(Linear(F, 9), LeakyReLU(slope), Linear(9, 4), LeakyReLU(slope), Linear(4, 1)))


GENERATORS = {
    "plain": lambda: Sequential(Linear(Z, 8), ReLU(), Linear(8, F)),
    "norm after": lambda: Sequential(
        Linear(Z, 8),
        LeakyReLU(0.2),
        BatchNorm(8),
        Linear(8, 5),
        LeakyReLU(0.3),
        BatchNorm(5),
        Linear(5, F),
        Tanh(),
    ),
    "norm alone": lambda: Sequential(Linear(Z, 8), BatchNorm(8), Linear(8, F), Sigmoid()),
    "one layer": lambda: Sequential(Linear(Z, F), Tanh()),
    "tanh inside": lambda: Sequential(
        Linear(Z, 8), Tanh(), BatchNorm(8), Linear(8, 8), Sigmoid(), Linear(8, F)
    ),
}


def check(chain_updates, tape_updates, call, network):
    """Loss and gradients of both kinds of update."""
    mine, wanted = places(network), places(network)
    with use_kernels(False):
        got, expected = call(chain_updates, mine), call(tape_updates, wanted)
    assert np.allclose(np.sum(got), np.sum(expected), **EXACT)
    for a, b in zip(mine, wanted, strict=True):
        assert np.allclose(a, b, **EXACT)


def updates(generator, critic, objective):
    tape = TapeUpdates(generator, critic, objective, seed=0)
    return ChainUpdates(Chain.of(generator), Chain.of(critic), objective), tape


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if not OBJECTIVES[n].penalty])
def test_critic_updates(name):
    generator, d = wide(GENERATORS["plain"]()), critic()
    chain, tape = updates(generator, d, OBJECTIVES[name])
    x = normal(2 * N, F)
    check(chain, tape, lambda u, out: u.critic(x, None, 0, out), d)
    assert np.allclose(chain.last["real"], tape.last["real"])
    assert np.allclose(chain.last["fake"], tape.last["fake"])
    for real in (True, False):
        check(chain, tape, lambda u, out, real=real: u.critic_part(x, real, out), d)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("name", ["non-saturating", "wasserstein"])
def test_generator_updates(make, name):
    generator, d = wide(make()), critic()
    statistics = {k: v.copy() for k, v in generator.named_state()}
    chain, tape = updates(generator, d, OBJECTIVES[name])
    check(chain, tape, lambda u, out: u.generator(normal(N, Z), out), generator)
    for key, value in generator.named_state():
        assert not np.allclose(value, statistics[key])


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("training", [True, False])
def test_fakes_and_running_statistics(make, training):
    chain, tape = (wide(make()).train(training) for _ in range(2))
    z = normal(N, Z)
    with use_kernels(False):
        got = updates(chain, critic(), OBJECTIVES["wasserstein"])[0].generate(z, training=training)
        assert np.allclose(got, tape(Tensor(z)).data, **EXACT)
    for (_, a), (_, b) in zip(chain.named_state(), tape.named_state(), strict=True):
        assert np.allclose(a, b, rtol=1e-7)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_penalty_in_closed_form(layers, slope):
    """Loss and gradient of a critic under a gradient penalty, against the tape's second derivatives."""
    widths = [F, 9, 4, 8][:layers]
    parts = [Linear(widths[0], 1)]
    if layers > 1:
        parts = [p for i, o in pairwise(widths) for p in (Linear(i, o), LeakyReLU(slope))]
        parts.append(Linear(widths[-1], 1))
    d = wide(Sequential(*parts))
    real, fake, e = normal(N, F), normal(N, F, seed=1), np.random.default_rng(2).random((N, 1))
    loss = d(Tensor(fake)).mean() - d(Tensor(real)).mean()
    penalty = gradient_penalty(d, Tensor(real), Tensor(fake), Tensor(e)) * 7.0
    wanted = grad(loss + penalty, d.parameters(), allow_unused=True)
    x = np.concatenate([real, fake, fake + e * (real - fake)])
    got = places(d)
    with use_kernels(False):
        mine, scores, extra = Chain.of(d).penalised(x, ("-s", "s"), 7.0, got)
    assert np.allclose(mine, loss.data, **EXACT)
    assert np.allclose(extra, penalty.data, **EXACT)
    assert np.allclose(scores, d(Tensor(x[: 2 * N])).data, **EXACT)
    for a, b in zip(got, wanted, strict=True):
        assert np.allclose(a, b.data, **EXACT)


@pytest.mark.parametrize("kernels", [True, False])
def test_in_float32_the_closed_form_agrees_to_five_digits(kernels):
    d = Sequential(Linear(33, 65), LeakyReLU(0.2), Linear(65, 17), LeakyReLU(0.2), Linear(17, 1), seed=1)
    real, fake = (normal(20, 33, seed=s).astype(np.float32) for s in (0, 1))
    e = np.random.default_rng(2).random((20, 1)).astype(np.float32)
    with use_kernels(kernels):
        penalty = gradient_penalty(d, Tensor(real), Tensor(fake), Tensor(e)) * 10.0
        loss = d(Tensor(fake)).mean() - d(Tensor(real)).mean() + penalty
        wanted = grad(loss, d.parameters(), allow_unused=True)
        got = places(d)
        x = np.concatenate([real, fake, fake + e * (real - fake)])
        Chain.of(d).penalised(x, ("-s", "s"), 10.0, got)
    for a, b in zip(got, wanted, strict=True):
        assert abs(a - b.data).max() <= 1e-5 * max(1, abs(b.data).max())


def test_networks_with_convolutions_are_trained_on_the_tape():
    for recipe in map(tiny, set(fg.recipes) - set(DENSE)):
        trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
        assert isinstance(trainer.updates, TapeUpdates)


@pytest.mark.parametrize("name", DENSE)
def test_a_run_by_chains_is_the_run_by_the_tape(name):
    recipe = tiny(name)
    runs = [fg.Trainer(recipe, samples(recipe), device="cpu", seed=2) for _ in range(2)]
    tape = runs[1]
    tape.updates = TapeUpdates(tape.generator, tape.critic, tape.objective, seed=2)
    with use_kernels(False):
        a, b = (arrays(run.fit(3)) for run in runs)
    assert all(np.allclose(a[key], b[key], rtol=1e-4, atol=1e-5) for key in b)
    assert isinstance(runs[0].updates, TapeUpdates if name in ("seo-numpy", "ring-gan") else ChainUpdates)


@pytest.mark.parametrize(
    "network",
    [
        Sequential(Linear(3, 4), Arctan(), Linear(4, 1)),
        Sequential(Linear(3, 4), Dropout(0.5), Linear(4, 1)),
        Sequential(Linear(3, 4, bias=False), Linear(4, 1)),
        Sequential(Linear(3, 4), BatchNorm(4), ReLU(), Linear(4, 1)),
        Sequential(Linear(3, 4), ReLU(), ReLU(), Linear(4, 1)),
        Sequential(ReLU(), Linear(4, 1)),
        Sequential(),
        Linear(3, 1),
        Net(("maxout 4", "linear o")).build(3, 1, seed=0),
    ],
)
def test_other_networks_have_no_chain(network):
    assert Chain.of(network) is None


def test_a_frozen_or_shared_layer_has_no_chain():
    frozen = Sequential(Linear(3, 4), ReLU(), Linear(4, 1))
    frozen[0].weight.wanted = False
    layer, tied = Linear(3, 3), Linear(3, 3)
    tied.weight = layer.weight
    assert Chain.of(frozen) is None
    assert Chain.of(Sequential(Linear(3, 3), layer)) is not None
    assert Chain.of(Sequential(layer, Tanh(), layer)) is Chain.of(Sequential(layer, tied)) is None

    class Own(Linear):
        pass

    assert Chain.of(Sequential(Own(3, 1))) is None


def test_gradients_go_straight_to_the_flat_buffer():
    d = Sequential(Linear(4, 8), ReLU(), Linear(8, 1), seed=0)
    flat = flatten(d)
    flat.gradient[...] = np.nan
    chain = Chain.of(d)
    _, _, v, trace = chain.head_loss(normal(6, 4).astype(np.float32), ("s",), (6,))
    chain.backward(trace, v, flat.gradients)
    assert all(np.isfinite(g).all() for g in flat.gradients)
