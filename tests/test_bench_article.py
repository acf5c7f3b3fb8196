"""The tutorial's GAN is right: held against the tape in float64, and mistakes that are planted in it are noticed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cupy_names import problems

import fastgan as fg
from fastgan import optim
from fastgan.benchmarks import article, fake_cupy
from fastgan.benchmarks.cases import summary
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import find, ideas
from fastgan.benchmarks.training import floats, random_images
from fastgan.gan.networks import build
from fastgan.tape import Tensor

ACTIVATIONS = {**article.ACTIVATIONS, "leaky": article.leaky_relu(0.2)}


def gan_and_networks(network, seed=5):
    """The tutorial's GAN and fastgan's networks, in float64 and with the same parameters, biases among them."""
    recipe = ideas.recipe_of(network, "tiny")
    gan = ideas.tutorial(recipe, np, np.float64)
    networks = build(recipe, ideas.SHAPE, ideas.SEED)
    rng = np.random.default_rng(seed)
    for own, other in zip(networks, (gan.generator, gan.discriminator), strict=True):
        for k, p in enumerate(own.parameters()):
            p.data = rng.normal(0, 0.5, p.shape)
            other.parameters[k] = p.data.copy()
    return recipe, gan, networks


def gradients_of_both(network):
    """Costs and gradients of the discriminator, then of the generator: the tutorial's, and the tape's."""
    recipe, gan, (generator, critic) = gan_and_networks(network)
    objective = fg.losses.objective(recipe.objective)
    rng = np.random.default_rng(1)
    x, z = rng.normal(0, 1, (6, 784)), rng.normal(0, 1, (6, recipe.latent))
    fakes = generator(Tensor(z)).data
    found = *gan.discriminator_gradients(x, gan.generator.forward(z)), *gan.generator_gradients(z)
    of_critic = objective.real(critic(Tensor(x))) + objective.fake(critic(Tensor(fakes)))
    of_generator = objective.generator(critic(generator(Tensor(z))))
    wanted = []
    for loss, own in ((of_critic, critic), (of_generator, generator)):
        wanted += [loss.data, [g.data for g in fg.grad(loss, own.parameters())]]
    return [[cost, *gs] for cost, gs in (found[:2], found[2:])], [
        [c, *gs] for c, gs in (wanted[:2], wanted[2:])
    ]


def right_gradients(network):
    """Whether all of them are the same to rounding in float64."""
    pairs = zip(*gradients_of_both(network), strict=True)
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for x, y in pairs for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("network", ideas.NETWORKS)
def test_the_tutorials_gradients_are_the_tapes(network):
    assert right_gradients(network)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_finite_differences(name):
    function, derivative = ACTIVATIONS[name]
    z = np.array([-7.0, -1.3, -0.2, 0.4, 2.5])
    step = 1e-6
    slope = (function(np, z + step) - function(np, z - step)) / (2 * step)
    np.testing.assert_allclose(derivative(np, z), slope, rtol=1e-6, atol=1e-9)
    half = derivative(np, z.astype(np.float32))
    assert half.dtype == function(np, z.astype(np.float32)).dtype == np.float32


def test_scores_far_from_zero_overflow_nothing():
    z = np.array([-200.0, 200.0], np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert article.sigmoid(np, z).tolist() == [0, 1]


def test_the_tutorials_adam_is_fastgans():
    rng = np.random.default_rng(0)
    p, m, v = rng.normal(0, 1, (4, 3)), np.zeros((4, 3)), np.zeros((4, 3))
    network = article.Network([p.copy()], [], np, lr=0.01, betas=(0.5, 0.99), eps=1e-3)
    for t in range(1, 6):
        g = rng.normal(0, 1, p.shape)
        network.update([g])
        optim.adam_update(p, g, m, v, lr=0.01, t=t, b1=0.5, b2=0.99, eps=1e-3)
        np.testing.assert_allclose(network.parameters[0], p, rtol=1e-12)


@pytest.mark.parametrize(("uniform", "low"), [(True, -1.0), (False, -np.inf)])
def test_draws_are_new_each_time_and_as_the_recipe_wants_them(uniform, low):
    images = floats(random_images(50, (4, 4, 1)), -1.0)
    draws = article.Draws(images, 8, 500, uniform=uniform, xp=np)
    x, z, next_z = draws()
    assert x.shape == (8, 16)
    assert all(any((row == image).all() for image in images) for row in x)
    for latents in (z, next_z):
        assert (latents.shape, latents.dtype) == ((8, 500), np.float32)
        assert abs(latents.mean()) < 0.1
        assert latents.std() == pytest.approx(3**-0.5 if uniform else 1, rel=0.05)
        assert latents.min() >= low
    assert (z != next_z).any()
    assert (draws()[0] != x).any()


def test_float32_stays_float32():
    gan = ideas.tutorial(ideas.recipe_of("seo-numpy", "tiny"), np, np.float32)
    x, z = np.zeros((3, 784), np.float32), np.zeros((3, 4), np.float32)
    gan.step(x, z, z)
    arrays = [a for n in (gan.generator, gan.discriminator) for a in (*n.parameters, *n.m, *n.v, *n.sums)]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert gan.discriminator_gradients(x, x)[0].dtype == np.float32


# what is right, what stands there instead, and what shows it: gradients, or costs (Adam hides a constant factor)
MISTAKES = {
    "sign of the fake gradient": (
        "backward(sigmoid(xp, fake) / n)",
        "backward(-sigmoid(xp, fake) / n)",
        "both",
    ),
    "no mean over real images": ("(sigmoid(xp, real) - 1) / n", "(sigmoid(xp, real) - 1)", "both"),
    "no mean of the generator's": (
        "(sigmoid(xp, score) - 1) / len(z)",
        "(sigmoid(xp, score) - 1)",
        "gradients",
    ),
    "sign of the fake cost": ("xp.logaddexp(0, fake)", "xp.logaddexp(0, -fake)", "both"),
    "Seo's bias correction of m": ("(1 - b1**self.t)", "(1 - b1)", "costs"),
    "Seo's bias correction of v": ("(1 - b2**self.t)", "(1 - b2)", "costs"),
    "weight not transposed": ("parameters[2 * k].T", "parameters[2 * k].reshape(g.shape[1], -1)", "both"),
    "activation left out": ("return g * self.activations", "return g; self.activations", "both"),
    "bias without a gradient": ("g.sum(axis=0)", "0 * g.sum(axis=0)", "both"),
    "same latents twice": ("self.generator_gradients(next_z)", "self.generator_gradients(z)", "costs"),
    "generator not updated": ("self.generator.update(gradients)", "pass", "costs"),
    "tanh without its square": ("1 - xp.tanh(z) ** 2", "1 - xp.tanh(z)", "gradients"),
}


@pytest.mark.parametrize("mistake", [*MISTAKES, ""])
def test_a_mistake_in_the_tutorials_code_is_noticed(mistake, monkeypatch):
    case = find("ideas/toy-mlp/plain", "tiny")
    ideas.reference("toy-mlp", "tiny")  # before the mistake, as if it were in this column alone
    right, instead, shown_by = MISTAKES.get(mistake, ("", "", ""))
    source = Path(article.__file__).read_text(encoding="utf-8")
    assert right in source
    changed = {"__name__": "changed"}
    exec(source.replace(right, instead) if mistake else source, changed)
    monkeypatch.setattr(ideas, "article", SimpleNamespace(**changed))
    costs = case.wrong({"numpy": summary(case.make(COLUMNS["numpy"]).first())})
    assert bool(costs) == (shown_by in ("costs", "both"))
    assert right_gradients("toy-mlp") == (shown_by not in ("gradients", "both"))


def test_the_tutorials_code_uses_what_cupy_has():
    library = pytest.importorskip("cupy")
    if isinstance(library, fake_cupy.Module):
        pytest.skip("the stand-in is no CuPy")
    assert problems(Path(article.__file__).read_text(encoding="utf-8"), library) == []
    generator = library.random.Generator
    assert all(callable(getattr(generator, name)) for name in ("integers", "random", "standard_normal"))
