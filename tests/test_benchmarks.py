"""Peers do the work that their recipe asks for.

Nothing here is timed: they are held to facts of their recipes and to the penalty of critics whose gradient is known.
"""

import math
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fastgan.benchmarks.peers import (
    ALL,
    CONVOLUTIONAL,
    SETTINGS,
    autograd_numpy,
    jax_jit,
    jax_state,
    torch_eager,
)
from fastgan.errors import DataError, UsageError

DATA = np.random.default_rng(5).uniform(0, 1, (200, 784)).astype(np.float32)
LOG2 = math.log(2)  # cross-entropy of networks whose logits are still near 0
# Trainable parameters and updates per step, both (generator, critic); first losses, (critic, generator). The penalty
# of an untrained critic is 10 (|slope| - 1)^2, near 8.
FACTS = {
    "keras-mlp": ((1_489_936, 533_505), (1, 2), (LOG2, LOG2)),
    "toy-mlp": ((283_920, 267_009), (1, 1), (2 * LOG2, LOG2)),
    "cs231n-vanilla": ((1_952_528, 267_009), (1, 1), (2 * LOG2, LOG2)),
    "wgan-gp-mlp": ((1_952_528, 267_009), (1, 5), (8.0, 0.0)),
    "cs231n-dcgan": (
        (6_675_009, 1_102_721),
        (1, 1),
        (2 * LOG2,),
    ),  # one update of this critic finds bright noise
    "igul-mnist-wgan-gp": ((1_554_177, 1_030_145), (1, 5), (8.0, 0.0)),
}


def peer_module(engine):
    pytest.importorskip(engine, reason=f"{engine} is not installed: its peer is not tested")
    return {"torch": torch_eager, "jax": jax_jit, "autograd": autograd_numpy}[engine]


def array(engine, values):
    module = import_module({"torch": "torch", "jax": "jax.numpy", "autograd": "numpy"}[engine])
    return module.asarray(np.asarray(values, np.float32))


def test_looking_at_the_peers_imports_no_engine():
    code = (
        "import sys; from fastgan.benchmarks.peers import autograd_numpy, jax_jit, torch_eager; "
        "assert set(autograd_numpy.RECIPES) == set(jax_jit.RECIPES) < set(torch_eager.RECIPES); "
        "assert not {'torch', 'jax', 'autograd'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_unknown_recipes_and_unfit_data_are_refused():
    with pytest.raises(UsageError, match=r"'dcgan'.*keras-mlp"):
        torch_eager.make("dcgan", DATA)
    for recipe in CONVOLUTIONAL:
        for module in (jax_jit, autograd_numpy):
            with pytest.raises(
                UsageError, match=rf"does not run the recipe '{recipe}'; choose one of keras-mlp"
            ):
                module.make(recipe, DATA)
    with pytest.raises(UsageError, match="got device cuda, wanted cpu"):
        autograd_numpy.make("toy-mlp", DATA, device="cuda")
    for unfit in (DATA.astype(np.float64), DATA.reshape(-1, 28, 28), DATA[:0]):
        with pytest.raises(DataError, match="wanted float32"):
            jax_jit.make("toy-mlp", unfit)


@pytest.mark.parametrize(
    ("engine", "recipe"),
    [("torch", name) for name in ALL]
    + [(engine, name) for engine in ("jax", "autograd") for name in SETTINGS],
)
def test_two_steps_do_the_work_of_the_recipe(engine, recipe):
    parameters, updates, first = FACTS[recipe]
    peer = peer_module(engine).make(recipe, DATA, seed=3)
    assert peer.parameters == parameters
    assert peer.updates() == (0, 0)
    losses = []
    for done in (1, 2):
        peer.step()
        peer.sync()
        losses.append(peer.losses())
        assert peer.updates() == tuple(done * n for n in updates)
    assert losses[0][: len(first)] == pytest.approx(first, rel=0.25, abs=0.15)
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
    if recipe in ("keras-mlp", "toy-mlp"):  # the critic tells bright noise from fakes, and calls fakes fake
        for _ in range(15):
            peer.step()
        assert peer.losses()[0] < 0.8 * losses[0][0]
        assert peer.losses()[1] > 0.3


def test_torch_fakes_for_the_keras_critic_come_from_running_statistics():
    """The generator runs twice a step: as `predict` for the critic, in training mode for itself."""
    peer_module("torch")
    from torch import nn

    modes = []

    def note(layer, _):
        if isinstance(layer, nn.BatchNorm1d):
            modes.append(layer.training)
            assert (layer.momentum, layer.eps) == pytest.approx((0.2, 1e-3))

    peer = torch_eager.make("keras-mlp", DATA)
    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        peer.step()
    finally:
        hook.remove()
    assert modes == [False] * 3 + [True] * 3


def test_jax_fakes_for_the_keras_critic_come_from_running_statistics(monkeypatch):
    """The same, seen while the step is traced."""
    peer_module("jax")
    import jax

    modes = []
    batch_norm = jax_jit._batch_norm

    def note(*arguments, training):
        modes.append(training)
        return batch_norm(*arguments, training=training)

    monkeypatch.setattr(jax_jit, "_batch_norm", note)
    row = SETTINGS["keras-mlp"]
    jax.eval_shape(partial(jax_jit._step, row), jax_state.initial(row, 0), DATA)
    assert modes == [False] * 3 + [True] * 3


def test_jax_batch_norm_by_hand():
    """Two features of mean 2 and variance 4: normalized by the batch in training, by what was kept otherwise."""
    peer_module("jax")
    x = np.array([[0, 4], [4, 0]], np.float32)
    layer, running = {"gamma": np.float32(2), "beta": np.float32(5)}, (np.zeros(2), np.ones(2))
    y, kept = jax_jit._batch_norm(layer, running, x, training=True)
    np.testing.assert_allclose(y, 5 + 2 * (x - 2) / np.sqrt(4 + 1e-3), rtol=1e-5)
    variance = 0.8 + 0.2 * 4 * 2 / (2 - 1.001)  # 0.8 of the old, 0.2 of the batch's, corrected as in Keras
    np.testing.assert_allclose(kept, [[0.4, 0.4], [variance, variance]], rtol=1e-5)
    y, same = jax_jit._batch_norm(layer, kept, x, training=False)
    np.testing.assert_allclose(y, 5 + 2 * (x - 0.4) / np.sqrt(variance + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(same, kept)


@pytest.mark.parametrize("recipe", SETTINGS)
def test_autograd_computes_in_float32_throughout(recipe, monkeypatch):
    """Its own rules for means, maxima and choices would not."""
    peer_module("autograd")
    seen, adam = set(), autograd_numpy._adam

    def note(row, t, *arrays):
        seen.update(a.dtype for a in arrays)
        return adam(row, t, *arrays)

    monkeypatch.setattr(autograd_numpy, "_adam", note)
    peer = autograd_numpy.make(recipe, DATA)
    peer.step(), peer.step()
    z, x = np.ones((4, peer.latent), np.float32), np.ones((4, 784), np.float32)
    seen.update(a.dtype for a in [*peer.play(z, x), *peer.values()[0], *peer.values()[1]])
    assert seen == {np.dtype(np.float32)}


def test_running_statistics_of_autograd():
    """After one step a fifth of the way from (0, 1) to the batch's."""
    peer_module("autograd")
    gan = autograd_numpy.Gan(SETTINGS["keras-mlp"], DATA, 0)
    layers, z = gan.generator.layers, np.ones((32, 100), np.float32)
    gan._noise = lambda: z
    gan.step()
    for kept, batch in zip(gan.running, gan.generate(layers, z, training=True)[1], strict=True):
        wanted = 0.2 * batch[0], 0.8 + 0.2 * 32 / (32 - 1.001) * batch[1]
        np.testing.assert_allclose(kept, wanted, rtol=1e-4, atol=1e-6)
        assert {x.dtype for x in kept} == {np.dtype(np.float32)}


def penalty_and_gradient(engine, score, w, *arguments):
    """Of the critic x -> score(x, w), the gradient taken in w; both as NumPy."""
    module, w, arguments = peer_module(engine), array(engine, w), [array(engine, a) for a in arguments]

    def penalty(w):
        return module.gradient_penalty(lambda x: score(x, w), *arguments)

    if engine != "torch":
        return map(np.asarray, import_module(engine).value_and_grad(penalty)(w))
    result = penalty(w.requires_grad_())
    result.backward()
    return result.detach().numpy(), w.grad.numpy()


@pytest.mark.parametrize("engine", ["torch", "jax", "autograd"])
@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic(engine, norm):
    """Score x.w has the slope w everywhere: (|w| - 1)^2, with gradient 2 (|w| - 1) w / |w|, finite at w = 0."""
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(7, 1))
    unit /= np.linalg.norm(unit)
    real, fake, mix = rng.normal(size=(5, 7)), rng.normal(size=(5, 7)), rng.uniform(size=(5, 1))
    penalty, gradient = penalty_and_gradient(engine, lambda x, w: x @ w, norm * unit, real, fake, mix)
    assert penalty == pytest.approx((norm - 1) ** 2, abs=1e-5)
    np.testing.assert_allclose(gradient, 2 * (norm - 1) * unit * (norm > 0), atol=1e-5)


@pytest.mark.parametrize("engine", ["torch", "jax", "autograd"])
def test_penalty_is_taken_sample_by_sample_between_real_and_fake(engine):
    """Score w |x|^2 / 2 has the slope w x, so each sample's norm is w times that of its own interpolate."""
    real, fake = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[6.0, 8.0], [3.0, 4.0]])
    mix = np.array([[0.5], [0.25]])
    norms = np.linalg.norm(real + mix * (fake - real), axis=1)
    penalty, _ = penalty_and_gradient(engine, lambda x, w: w * (x * x).sum(1) / 2, 2.0, real, fake, mix)
    assert penalty == pytest.approx(np.mean((2 * norms - 1) ** 2), rel=1e-5)
