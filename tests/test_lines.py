"""Lines in each article's words, and the held-out loss that some of them show."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cli_helpers import same
from PIL import Image

from fastgan.cli.progress import article_line
from fastgan.errors import UsageError
from fastgan.gan import RECIPES, Callback, Trainer, load
from fastgan.gan.objectives import OBJECTIVES
from fastgan.gan.penalty import between, slope_of
from fastgan.gan.recipe import from_dict
from fastgan.gan.run import RunDirectory, read_metrics
from fastgan.gan.state import arrays
from fastgan.nn import Module, Net
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad

GAN = {
    "critic_loss": 0.660518,
    "generator_loss": 0.747342,
    "d_real": 0.61,
    "d_fake": 0.45,
    "accuracy": 0.6875,
}
WGAN = {"critic_loss": -0.25, "generator_loss": 1.5, "d_real": 0.5, "d_fake": 0.25, "wasserstein": 0.25}


def line(name, step, metrics, **changes):
    """A line of a recipe, with 60,000 samples."""
    recipe = RECIPES[name].replace(**changes)
    trainer = SimpleNamespace(
        recipe=recipe, form=SimpleNamespace(count=60_000), work=SimpleNamespace(horizon=recipe.steps)
    )
    return article_line(trainer, {"step": step, **metrics})


HS, IGUL = ("dcgan", "wgan", "wgan-gp"), ("dcgan", "wgan", "wgan-gp")
TOYS = [n for n in RECIPES if n.startswith("igul-toy")] + ["ring-wgan-gp", "grid-wgan-gp"]
TIMED = {**WGAN, "steps_per_second": 8.0}
LINES = [  # recipe, step, metrics, what its article prints
    ("keras-mlp", 1, GAN, "0 [D loss: 0.660518, acc.: 68.75%] [G loss: 0.747342]"),
    ("odog-dcgan", 501, WGAN, "500 [D loss: -0.250000] [G loss: 1.500000]"),
    ("odog-wgan", 6, WGAN, "5 [D loss: 1.250000] [G loss: -0.500000]"),
    *(
        (name, 251, {"critic_loss": 0.08071, "generator_loss": 0.52312}, "Iter: 250, D: 0.08071, G:0.5231")
        for name in ("cs231n-vanilla", "cs231n-lsgan", "cs231n-dcgan")
    ),
    (
        "toy-mlp",
        800,
        GAN,
        "Epoch [1/200], Step [200/600], d_loss: 0.6605, g_loss: 0.7473, D(x): 0.61, D(G(z)): 0.45",
    ),
    *((f"hs-{kind}", 1201, WGAN, "train:[2/0],d_loss:-0.250000,g_loss:1.500000") for kind in HS),
    ("shekkizh-wgan", 20, WGAN, "Step: 20, generator loss: 1.5, discriminator_loss: -0.25"),
    (
        "shekkizh-wgan",
        200,
        TIMED,
        "Time: 0.125/itr, Step: 200, generator loss: 1.5, discriminator_loss: -0.25",
    ),
    ("seo-numpy", 11, GAN, "Current Iter:  10  Current D cost: 0.66051800  Current G cost:  0.74734200"),
    *((name, 100, WGAN, "iter 99\tdisc cost\t-0.25") for name in TOYS),
    *((f"igul-mnist-{kind}", 100, WGAN, "iter 99\ttrain disc cost\t-0.25") for kind in IGUL),
    (
        "igul-mnist-wgan",
        100,
        {**TIMED, "critic_loss_held_out": -0.125},
        "iter 99\ttrain disc cost\t-0.25\ttime\t0.125\tdev disc cost\t-0.125",
    ),
    ("digits", 100, GAN, ""),
]


@pytest.mark.parametrize(("name", "step", "metrics", "text"), LINES)
def test_each_article_in_its_own_words(name, step, metrics, text):
    assert line(name, step, metrics) == text


FIRST = ("keras-mlp", "odog-", "cs231n-", "hs-", "seo-")  # articles that print at iterations 0, k, 2k ...


@pytest.mark.parametrize("name", RECIPES)
def test_every_line_is_checked_and_serves_every_objective(name):
    recipe = RECIPES[name]
    assert bool(recipe.line) == (name in {row[0] for row in LINES if row[3]})
    assert recipe.log_first == name.startswith(FIRST)
    for metrics in (GAN, WGAN, {"critic_loss": float("nan"), "generator_loss": 1e30}):
        text = line(name, 1, metrics)
        assert re.fullmatch(r"[^{}\n|]*\S" if recipe.line else "", text)


def test_an_epoch_is_of_the_samples_that_are_used():
    assert line("toy-mlp", 501, GAN, first=50_000).startswith("Epoch [1/240], Step [1/500], ")
    assert line("toy-mlp", 1, GAN, batch=77).startswith("Epoch [0/155], Step [1/779], ")  # the last is begun
    assert line("toy-mlp", 3, GAN, first=90_000, batch=70_000).startswith("Epoch [2/120000], Step [1/1], ")


@pytest.mark.parametrize("wrong", ["x", "{stepp}", "{step:zz}", "{step", "{step!r}", "{0}", "{step:9999999}"])
def test_a_line_is_a_format_of_what_is_known(wrong):
    with pytest.raises(UsageError, match=r"got line '.*', wanted text with numbers such as \{step\}"):
        RECIPES["digits"].replace(line=wrong)


def test_names_of_version_0_1_are_the_recipes_own_lines():
    assert from_dict({"line": "keras"}, RECIPES["keras-mlp"]) == RECIPES["keras-mlp"]


# When lines come

SHORT = RECIPES["keras-mlp"].replace(
    generator=Net(("linear 8", "leaky_relu 0.2", "linear o")),
    critic=Net(("linear 8", "leaky_relu 0.2", "linear o")),
    data="digits",
    latent=4,
    batch=8,
    steps=13,
    log_every=5,
)


class Losses(Callback):
    """Each step's losses, and the rows of the log."""

    def __init__(self):
        self.steps, self.rows = [], []

    def on_step(self, trainer):
        self.steps.append(trainer.work.ring.array[(trainer.steps_done - 1) % trainer.recipe.log_every].copy())

    def on_log(self, trainer, metrics):
        self.rows.append(metrics)


@pytest.mark.parametrize(("first", "wanted"), [(True, [1, 6, 11, 13]), (False, [5, 10, 13])])
@pytest.mark.parametrize("stop", [13, 1, 4, 6])
def test_a_row_has_the_mean_of_the_steps_since_the_last(tmp_path, first, wanted, stop):
    """Iterations 0, 5 and 10 of an article that counts from 0 are the steps 1, 6 and 11; also across a resume."""
    seen = Losses()
    trainer = Trainer(SHORT.replace(log_first=first), device="cpu").fit(stop, [seen])
    trainer.save(tmp_path / "a.safetensors")
    load(tmp_path / "a.safetensors", device="cpu").fit(13 - stop, [seen])
    rows = [row for row in seen.rows if row["step"] in wanted]
    assert [row["step"] for row in rows] == sorted({*wanted, stop} & {*wanted})
    for before, row in zip([0, *wanted], rows, strict=False):
        means = np.mean(seen.steps[before : row["step"]], axis=0)
        assert (row["critic_loss"], row["generator_loss"]) == pytest.approx(tuple(means), rel=1e-5)


def test_losses_that_a_checkpoint_lacks_are_in_no_mean(tmp_path):
    """Those of a version whose rows came after other steps."""
    trainer = Trainer(SHORT, device="cpu").fit(5)
    trainer.work.ring.begun = 5
    trainer.save(tmp_path / "a.safetensors")
    seen = Losses()
    load(tmp_path / "a.safetensors", device="cpu").fit(1, [seen])
    assert seen.rows[0]["critic_loss"] == pytest.approx(seen.steps[0][0])


# Held-out samples

TINY = RECIPES["cs231n-vanilla"].replace(
    log_first=False,
    generator=Net(("linear 12", "relu", "linear o", "tanh")),
    critic=Net(("linear 12", "leaky_relu 0.2", "linear o")),
    data="digits",
    latent=8,
    batch=16,
    steps=10,
    first=1700,
    held_out=True,
    log_every=5,
    sample_every=10,
)


def held_out_of(trainer):
    return trainer.metrics()["critic_loss_held_out"]


class Brightness(Module):
    """A critic that says how bright a sample is."""

    def __init__(self):
        self.weight = Tensor(np.ones(1, np.float32), requires_grad=True)

    def __call__(self, x):
        return x.mean(axis=1, keepdims=True) * self.weight


def images(n=60, seed=0):
    return np.random.default_rng(seed).random((n, 4, 4, 1)).astype(np.float32)


def brightness_of_fakes(trainer, n):
    with no_grad():
        z = trainer.latent(n, 2 * trainer.steps_done, stream=Stream.HELD_OUT)
        return float(trainer.generator.eval()(Tensor(z)).data.mean())


@pytest.mark.parametrize(
    ("n", "first", "batch", "used"),
    [(60, 38, 4, 20), (60, 38, 8, 16), (60, 38, 32, 22), (3000, 1000, 50, 1000)],
)
def test_it_is_of_the_samples_after_the_first(n, first, batch, used):
    """In whole batches, or of all where they are less than one, but of a thousand at most."""
    data = images(n)
    recipe = TINY.replace(objective="wasserstein", clip=0.0, first=first, batch=batch, steps=1)
    trainer = Trainer(recipe, data, device="cpu", critic=Brightness()).fit()
    real, weight = float((data[first : first + used] * 2 - 1).mean()), trainer.critic.weight.data[0]
    wanted = pytest.approx(weight * (brightness_of_fakes(trainer, used) - real), abs=1e-6)
    assert held_out_of(trainer) == wanted
    changed = data.copy()
    changed[:first] = 0.5
    assert (
        held_out_of(load_weights(Trainer(recipe, changed, device="cpu", critic=Brightness()), trainer))
        == wanted
    )


def load_weights(trainer, other):
    """A Trainer with another's networks and step."""
    trainer.generator.load(other.generator.values())
    trainer.critic.load(other.critic.values())
    trainer.begin_at(other.steps_done)
    return trainer


def own_penalty(critic, *points):
    return slope_of(critic, between(*points)).mean()


@pytest.mark.parametrize(
    ("own", "wanted"),
    [(None, lambda weight: (weight / 4 - 1) ** 2), (own_penalty, lambda weight: weight / 16)],
)
def test_the_penalty_is_in_it(own, wanted):
    """Brightness has a slope of 1/16 in each of 16 pixels everywhere: a norm of weight / 4."""
    recipe = TINY.replace(objective="wasserstein-gp", first=40, batch=4, steps=1)
    rule = replace(OBJECTIVES["wasserstein-gp"], penalty=3.0, penalty_of=own)
    trainer = Trainer(recipe, images(), device="cpu", critic=Brightness(), objective=rule).fit()
    weight = float(trainer.critic.weight.data[0])
    real = float((images()[40:60] * 2 - 1).mean())
    loss = weight * (brightness_of_fakes(trainer, 20) - real) + 3 * wanted(weight)
    assert held_out_of(trainer) == pytest.approx(loss, abs=1e-5)


def test_it_is_halved_where_the_trained_loss_is():
    whole, half = (Trainer(TINY.replace(steps=1, halved_loss=h), device="cpu").fit() for h in (False, True))
    losses = [[held_out_of(trainer), trainer.metrics()["critic_loss"]] for trainer in (whole, half)]
    assert losses[1] == pytest.approx([loss / 2 for loss in losses[0]])
    assert same(whole.critic.values(), half.critic.values())


def test_looking_changes_nothing():
    """Also with batch norm, whose running statistics a pass in training mode would move."""
    recipe = TINY.replace(
        generator=Net(("linear 12", "leaky_relu 0.2", "batch_norm", "linear o")),
        critic=Net(("linear 12", "leaky_relu 0.2", "batch_norm", "dropout 0.2", "linear o")),
    )
    with_it = Trainer(recipe, device="cpu").fit()
    without = Trainer(recipe.replace(held_out=False), device="cpu").fit()
    a, b = arrays(with_it), arrays(without)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert held_out_of(with_it) == held_out_of(with_it)
    assert with_it.critic.training


def test_a_step_has_its_own_fakes_and_a_seed_too():
    trainers = [Trainer(TINY.replace(steps=1), device="cpu", seed=seed).fit() for seed in (0, 1)]
    values = [held_out_of(load_weights(trainer, trainers[0])) for trainer in trainers]
    trainers[0].clock.steps += 1
    assert len({*values, held_out_of(trainers[0])}) == 3


def test_a_step_has_its_own_places_for_the_penalty():
    """With the same fakes, only the places between them and the real samples differ by step and seed."""
    values = []
    for seed in (0, 1):
        recipe = TINY.replace(objective="wasserstein-gp", steps=1)
        trainer = Trainer(recipe, device="cpu", seed=seed)
        trainer.latent = lambda n, *_, **__: np.ones((n, 8), np.float32)
        if not values:
            first = trainer
        load_weights(trainer, first)
        for trainer.clock.steps in (1, 2):
            values.append(held_out_of(trainer))
    assert len(set(values)) == 4


@pytest.mark.parametrize("first", [1797, 50_000])
def test_without_samples_left_there_is_none(first):
    trainer = Trainer(TINY.replace(first=first, steps=1), device="cpu").fit()
    assert "critic_loss_held_out" not in trainer.metrics()


def test_it_is_logged_drawn_and_the_same_after_a_resume(tmp_path):
    RunDirectory(tmp_path / "whole").fit(Trainer(TINY, device="cpu"))
    RunDirectory(tmp_path / "halves").fit(Trainer(TINY, device="cpu"), 5)
    RunDirectory(tmp_path / "halves", go_on=True).fit(load(tmp_path / "halves", device="cpu"), 5)
    logs = [
        [row["critic_loss_held_out"] for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "halves")
    ]
    assert logs[0] == logs[1]
    assert len(set(logs[0])) == 2
    json.loads((tmp_path / "whole/metrics.jsonl").read_text().splitlines()[0])
    with Image.open(tmp_path / "whole/losses.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (abs(pixels - (0x00, 0xA3, 0xB4)).max(axis=2) < 40).any()
