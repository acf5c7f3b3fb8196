"""Conditional runs: labels are drawn with their samples, and both networks are told the right ones."""

import re
from dataclasses import replace

import numpy as np
import pytest
from gradcheck import check_gradient
from labelled import TINY, K, labelled, points, trainer_of
from tables.layers import put
from tables.runs import JOINS

import fastgan as fg
from fastgan import data, ops
from fastgan.cli.train import verdict
from fastgan.errors import UsageError
from fastgan.gan.batches import Batches
from fastgan.gan.conditional import ConcatCritic, LabelledGenerator, ProjectionCritic
from fastgan.gan.networks import build
from fastgan.gan.quality import nearest
from fastgan.gan.recipe import CRITIC_JOINS, GENERATOR_JOINS
from fastgan.nn import LeakyReLU, Linear, Module, Net, Sequential, SpectralNorm
from fastgan.tape import Tensor

pytestmark = pytest.mark.slow


def classes_of(rows, low, high):
    """The class that the pixels of batches of `labelled` say."""
    return np.rint((rows[:, 0] - low) / (high - low) * K).astype(int)


def one_hot(labels, k=K):
    return np.eye(k, dtype=np.float32)[labels]


def spied(monkeypatch, kind, name):
    """The arrays that a method of a class is given from now on, call by call."""
    seen, method = [], getattr(kind, name)

    def spy(self, x, y):
        seen.append((x.data, y.data))
        return method(self, x, y)

    monkeypatch.setattr(kind, name, spy)
    return seen


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(np.uint8, 0, 255), (np.uint8, 0, 16), (np.float32, -1, 1)]
)
def test_labels_are_drawn_with_their_samples(dtype, low, high):
    dataset = labelled(dtype, low=low, high=high)
    batches = Batches(dataset, TINY, seed=1, device="cpu")
    fake = one_hot(np.arange(6) % K)
    for update in range(3):
        x, y = batches.draw(update), batches.labels(update, fake)
        assert (x.shape, y.dtype) == ((6, dataset.features), np.float32)
        said = classes_of(x, -1, 1) if high > 16 else np.rint((x[:, 0] + 1) / 2 * K)
        assert (y == np.concatenate([one_hot(said.astype(int)), fake])).all()


def test_labels_of_points_and_of_the_first_samples():
    recipe = TINY.replace(points=True, first=12)
    batches = Batches(points(), recipe, seed=1, device="cpu")
    assert (batches.labels(0) == one_hot((batches.draw(0)[:, 0] / 2).astype(int))).all()


def test_without_classes_there_are_no_labels():
    recipe = TINY.replace(classes=0)
    assert Batches(labelled(), recipe, seed=1, device="cpu").labels(0) is None
    assert trainer_of(recipe).labels(2, 0) is None


STEPS = [
    {},
    {"critic_labels": "concat"},
    {"objective": "wasserstein-gp"},
    {"split_updates": True},
    {"simultaneous": True, "critic_steps": 1},
    {"critic": Net(("linear 9", "batch_norm", "linear 7", "linear o"))},  # real and fake samples apart
    {"generator": Net(("linear 8", "batch_norm", "linear o"))},
]


@pytest.mark.parametrize("change", STEPS, ids=str)
def test_the_critic_is_told_the_class_of_real_and_fake(monkeypatch, change):
    """Over a step of two critic updates: the real samples' own, the fakes' as asked of the generator."""
    trainer = trainer_of(TINY.replace(**{"objective": "non-saturating", "critic_steps": 2, **change}))
    asked = spied(monkeypatch, LabelledGenerator, "joined")
    told = spied(monkeypatch, type(trainer.critic), "embedded")
    real = np.concatenate([trainer.batches.draw(k) for k in range(trainer.recipe.critic_steps)])
    trainer.step()
    asked_for = np.concatenate([y for _, y in asked]).reshape(-1, 6, K)  # by batch, the generator's own last
    if trainer.objective.penalty:  # points between real and fake samples have the real ones' labels
        for update in (1, 0):
            assert (told.pop(2 * update + 1)[1] == told[2 * update][1][:6]).all()
    fakes = []
    for x, y in told:
        is_real = (x[:, None] == real).all(axis=2).any(axis=1)
        assert (y[is_real] == one_hot(classes_of(x[is_real], -1, 1))).all()
        fakes += [y[~is_real]] * (not is_real.all())
    if trainer.recipe.simultaneous:
        assert len(fakes) == 2
        assert (fakes[0] == fakes[1]).all()
        fakes = fakes[1:]
    assert (np.array(fakes) == asked_for).all()
    assert sum(len(y) for _, y in told) == 6 * trainer.recipe.critic_steps + 6 * (
        2 if "simultaneous" in change else 3
    )
    assert len(np.unique(asked_for.argmax(axis=2))) > 2


def test_labels_of_fakes_are_even_and_a_function_of_seed_and_step():
    trainer, other = trainer_of(), trainer_of(seed=3)
    y = trainer.labels(5000, 7)
    assert set(np.unique(y)) == {0, 1}
    assert (y.sum(axis=1) == 1).all()
    assert abs(y.mean(axis=0) - 1 / K).max() < 0.02  # 3.5 standard deviations
    assert (trainer.labels(5000, 7) == y).all()
    for others in (trainer.labels(5000, 8), other.labels(5000, 7), trainer.labels(5000, 7, stream=5)):
        assert 0.1 < (others == y).all(axis=1).mean() < 0.3


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["concat", "multiply", "projection", "channel", "point"])
def test_gradients_of_both_joins(kind, order):
    shape, rng = (2, 2, 2) if kind == "channel" else (3,), np.random.default_rng(0)
    f = int(np.prod(shape))
    if kind in GENERATOR_JOINS:
        body = Sequential(Linear(4 if kind == "multiply" else 6, 5), LeakyReLU(0.3), Linear(5, f))
        network = LabelledGenerator(body, 4, K, embed=2, join=kind)
    elif kind == "projection":
        body, head = Sequential(Linear(f, 5), LeakyReLU(0.3)), Linear(5, 1)
        network = ProjectionCritic(body, head, f, K, embed=5)
    else:
        body = Sequential(Linear(12 if kind == "channel" else 5, 5), LeakyReLU(0.3), Linear(5, 1))
        network = ConcatCritic(body, shape, K, embed=2)
    x, y = rng.normal(size=(6, network.features)), rng.normal(size=(6, K))
    assert "table.weight" in dict(network.named_parameters())
    values = [rng.normal(size=p.shape) for p in network.parameters()]
    check_gradient(lambda x, y, *ps: put(network, ps) or network(x, y), [x, y, *values], order=order)


@pytest.mark.parametrize("join", CRITIC_JOINS)
def test_scores_are_those_of_the_papers(join):
    """Written out once more, with the table's rows taken by number."""
    recipe = TINY.replace(critic_labels=join, critic=Net(("linear 9", "leaky_relu 0.2", "linear o")))
    _, critic = build(recipe, (3, 2, 1), 0)
    rng, labels = np.random.default_rng(0), np.arange(6) % K
    pixels = rng.normal(size=(6, 6)).astype(np.float32)
    scores = critic(Tensor(pixels), Tensor(one_hot(labels))).data
    e = critic.table.weight.data[labels]
    if join == "projection":
        h = critic.body(Tensor(pixels)).data
        wanted = h @ critic.head.weight.data + critic.head.bias.data + (e * h).sum(axis=1, keepdims=True)
    else:
        image = np.stack([pixels.reshape(6, 3, 2), e.reshape(6, 3, 2)], axis=3)
        wanted = critic.body(Tensor(image.reshape(6, -1))).data
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-6)
    other = critic(Tensor(pixels), Tensor(one_hot((labels + 1) % K))).data
    assert (abs(other - scores) > 1e-4).all()


@pytest.mark.parametrize("join", GENERATOR_JOINS)
def test_the_generators_body_is_given_z_and_the_labels_embedding(join):
    generator, _ = build(TINY.replace(generator_labels=join), (3, 2, 1), 0)
    z = np.random.default_rng(0).normal(size=(K, 4)).astype(np.float32)
    got = generator(Tensor(z), Tensor(one_hot(np.arange(K)))).data
    e = generator.table.weight.data
    wanted = generator.body(Tensor(z * e if join == "multiply" else np.concatenate([z, e], axis=1))).data
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    same = generator(Tensor(np.ones((K, 4), np.float32)), Tensor(one_hot(np.arange(K)))).data
    assert (abs(np.diff(same, axis=0)).max(axis=1) > 1e-3).all()


class Simple(Module):
    """What a user writes: a layer of all that there is."""

    def __init__(self, i, o):
        self.layer = Linear(i + K, o)

    def __call__(self, x, y):
        return self.layer(ops.concat(x, y, axis=1))


@pytest.mark.parametrize("objective", ["non-saturating", "wasserstein-gp"])
def test_networks_of_ones_own_are_given_labels(objective, tmp_path):
    networks = {"generator": Simple(4, 6), "critic": Simple(6, 1)}
    before = [network.layer.weight.data.copy() for network in networks.values()]
    trainer = trainer_of(TINY.replace(objective=objective), **networks).fit(2)
    for old, network in zip(before, networks.values(), strict=True):
        assert (network.layer.weight.data != old).any(axis=1).all()
    assert not np.allclose(*(trainer.sample(3, label=label) for label in (0, 1)))
    trainer.save(tmp_path / "x.safetensors")
    again = fg.load(tmp_path / "x.safetensors", device="cpu", generator=Simple(4, 6), critic=Simple(6, 1))
    assert (again.sample(3, label=1) == trainer.sample(3, label=1)).all()


@pytest.mark.parametrize(("g", "c"), JOINS)
def test_networks_are_built_from_the_recipe(g, c):
    recipe = TINY.replace(generator_labels=g, critic_labels=c)
    (generator, critic), again, other = (build(recipe, (3, 2, 1), seed) for seed in (0, 0, 1))
    first = 7 if g == "concat" else 4
    assert generator.count() == K * (3 if g == "concat" else 4) + (first * 8 + 8) + (8 * 6 + 6)
    channels = 1 if c == "projection" else 2
    assert critic.count() == K * (7 if channels == 1 else 6) + (6 * channels * 9 + 9) + (9 * 7 + 7) + 8
    for one, two, three in zip((generator, critic), again, other, strict=True):
        assert all((x == two.values()[name]).all() for name, x in one.values().items())
        assert (one.table.weight.data != three.table.weight.data).all()


def test_no_two_arrays_begin_with_the_same_numbers():
    normal = {
        "generator": Net(("linear 8", "leaky_relu 0.2", "linear o"), init="normal"),
        "critic": Net(
            ("linear 9", "leaky_relu 0.2", "linear 7", "leaky_relu 0.2", "linear o"), init="normal"
        ),
    }
    networks = build(TINY.replace(critic_labels="concat", **normal), (3, 2, 1), 0)
    weights = [p.data.ravel() for network in networks for p in network.parameters() if p.ndim == 2]
    values = np.concatenate(weights)
    assert len(weights) == 7
    assert len(np.unique(values)) > 0.99 * len(values)


def test_networks_of_an_unconditional_run_are_the_recipes_own():
    recipe = TINY.replace(classes=0)
    generator, critic = build(recipe, (3, 2, 1), 4)
    for network, own in (
        (generator, recipe.generator.build(4, 6, seed=4)),
        (critic, recipe.critic.build(6, 1, seed=4, number=1)),
    ):
        assert all((x == own.values()[name]).all() for name, x in network.values().items())


def test_a_spectral_critic_keeps_the_labels_part_as_steep(monkeypatch):
    def spectral(*args, **settings):
        return Sequential(Linear(6, 7), LeakyReLU(0.2), SpectralNorm(Linear(7, 1)))

    monkeypatch.setattr(Net, "build", spectral)
    _, critic = build(replace(TINY), (3, 2, 1), 0)
    labels = Tensor(one_hot(np.arange(K)))
    for _ in range(30):
        rows = critic.table(labels).data
    assert np.linalg.norm(rows, 2) == pytest.approx(1, abs=1e-3)


def test_a_critic_without_a_linear_end_cannot_project(monkeypatch):
    monkeypatch.setattr(Net, "build", lambda *args, **settings: Sequential(Linear(6, 1), LeakyReLU(0.2)))
    with pytest.raises(
        UsageError, match=r"ends in LeakyReLU, wanted a linear layer .*: use --critic-labels concat"
    ):
        build(TINY, (3, 2, 1), 0)


def test_samples_of_a_label():
    trainer = trainer_of()
    z = trainer.latent(7, 0, stream=fg.random.Stream.SAMPLE, seed=5)
    turn = trainer.sample(7, seed=5)
    assert turn.shape == (7, 3, 2, 1)
    assert (trainer.sample(7, seed=5, label=np.arange(7) % K) == turn).all()
    assert (trainer.sample(7, latent=z) == turn).all()
    threes = trainer.sample(7, seed=5, label=3)
    assert [bool((threes[i] == turn[i]).all()) for i in range(7)] == [i % K == 3 for i in range(7)]
    assert (trainer.sample(7, latent=z, label=[3] * 7) == threes).all()
    assert 0 <= turn.min() <= turn.max() <= 1


@pytest.mark.parametrize("join", CRITIC_JOINS)
def test_a_run_on_digits_draws_the_digit_that_is_asked_for(join):
    """300 steps, a second; by chance a tenth of the samples would be right. And no digit has one picture only."""
    digits = data.load("digits")
    recipe = fg.recipes["digits"].replace(classes=10, critic_labels=join, ema=0.98)
    trainer = fg.Trainer(recipe, digits, device="cpu").fit(300)
    labels = np.arange(200) % 10
    samples = trainer.sample(200, seed=1, label=labels).reshape(200, -1).astype(np.float32)
    found, _ = nearest(samples, digits)
    assert (digits.labels[found] == labels).mean() > 0.65  # measured 0.78 to 0.88 with other seeds
    for k in range(10):
        of_real = digits.scaled(0, 1)[digits.labels == k].std(axis=0).mean()
        assert samples[labels == k].std(axis=0).mean() > 0.5 * of_real
    _, heeded = verdict(trainer)
    assert re.fullmatch(r"labels heeded: [6-9]\d\d of 1000 samples are voted the class asked for", heeded)
