"""Lines in each article's words, and the held-out loss that some of them show."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cli_helpers import same

from fastgan.cli.progress import article_line
from fastgan.errors import UsageError
from fastgan.gan import RECIPES, Callback, Trainer, load, pictures
from fastgan.gan.objectives import OBJECTIVES
from fastgan.gan.penalty import between, slope_of
from fastgan.gan.recipe import from_dict
from fastgan.gan.run import RunDirectory
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

DENSE = {
    "generator": Net(("linear 8", "leaky_relu 0.2", "linear o")),
    "critic": Net(("linear 8", "leaky_relu 0.2", "linear o")),
    "data": "digits",
    "latent": 4,
    "log_every": 5,
}
SHORT = RECIPES["keras-mlp"].replace(**DENSE, batch=8, steps=13)


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
    **DENSE, log_first=False, batch=16, steps=10, first=1700, held_out=True, sample_every=10
)


class Brightness(Module):
    """A critic that says how bright a sample is."""

    def __init__(self):
        self.weight = Tensor(np.ones(1, np.float32), requires_grad=True)

    def __call__(self, x):
        return x.mean(axis=1, keepdims=True) * self.weight


def images(n):
    return np.random.default_rng(0).random((n, 4, 4, 1)).astype(np.float32)


def one_step(data=None, *, seed=0, objective=None, **changes):
    """A Trainer after one step; of images, with a critic of their brightness."""
    critic = None if data is None else Brightness()
    recipe = TINY.replace(steps=1, **changes)
    return Trainer(recipe, data, device="cpu", seed=seed, critic=critic, objective=objective).fit()


def held_out_of(trainer):
    return trainer.metrics()["critic_loss_held_out"]


def brighter_fakes(trainer, data, n):
    """How much brighter the critic finds n fakes than as many held-out samples."""
    with no_grad():
        z = trainer.latent(n, 2 * trainer.steps_done, stream=Stream.HELD_OUT)
        fake = trainer.generator.eval()(Tensor(z)).data.mean()
    first = trainer.recipe.first
    return float(trainer.critic.weight.data[0] * (fake - (data[first : first + n] * 2 - 1).mean()))


def like(trainer, other):
    """A Trainer with another's networks and step."""
    trainer.generator.load(other.generator.values())
    trainer.critic.load(other.critic.values())
    trainer.begin_at(other.steps_done)
    return trainer


@pytest.mark.parametrize(
    ("n", "first", "batch", "used"),
    [(60, 38, 4, 20), (60, 38, 8, 16), (60, 38, 32, 22), (3000, 1000, 50, 1000)],
)
def test_it_is_of_the_samples_after_the_first(n, first, batch, used):
    """At most a thousand; whole batches are used, or all where they are less than one."""
    data, rule = (
        images(n),
        {"objective": OBJECTIVES["wasserstein"], "clip": 0.0, "first": first, "batch": batch},
    )
    trainer = one_step(data, **rule)
    wanted = pytest.approx(brighter_fakes(trainer, data, used), abs=1e-6)
    assert held_out_of(trainer) == wanted
    changed = data.copy()
    changed[:first] = 0.5
    assert held_out_of(like(one_step(changed, **rule), trainer)) == wanted


def own_penalty(critic, *points):
    return slope_of(critic, between(*points)).mean()


@pytest.mark.parametrize(
    ("own", "wanted"),
    [(None, lambda weight: (weight / 4 - 1) ** 2), (own_penalty, lambda weight: weight / 16)],
)
def test_the_penalty_is_in_it(own, wanted):
    """Brightness has a slope of 1/16 in each of 16 pixels everywhere: a norm of weight / 4."""
    rule = replace(OBJECTIVES["wasserstein-gp"], penalty=3.0, penalty_of=own)
    trainer = one_step(images(60), objective=rule, first=40, batch=4)
    loss = brighter_fakes(trainer, images(60), 20) + 3 * wanted(float(trainer.critic.weight.data[0]))
    assert held_out_of(trainer) == pytest.approx(loss, abs=1e-5)


def test_it_is_halved_where_the_trained_loss_is():
    whole, half = (one_step(halved_loss=halved) for halved in (False, True))
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
    assert same(arrays(with_it), arrays(Trainer(recipe.replace(held_out=False), device="cpu").fit()))
    assert held_out_of(with_it) == held_out_of(with_it)
    assert with_it.critic.training


@pytest.mark.parametrize("name", ["non-saturating", "wasserstein-gp"])
def test_a_step_and_a_seed_have_their_own_fakes_and_places_for_the_penalty(name):
    trainers = [one_step(objective=OBJECTIVES[name], seed=seed) for seed in (0, 1)]
    values = []
    for trainer in trainers:
        if name == "wasserstein-gp":  # with the same fakes, only the places differ
            trainer.latent = lambda n, *_, **__: np.ones((n, 4), np.float32)
        like(trainer, trainers[0])
        for trainer.clock.steps in (1, 2):
            values.append(held_out_of(trainer))
    assert len(set(values)) == 4


@pytest.mark.parametrize("first", [1797, 50_000])
def test_without_samples_left_there_is_none(first):
    assert "critic_loss_held_out" not in one_step(first=first).metrics()


def test_it_is_logged_drawn_and_the_same_after_a_resume(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "loss_curves", lambda _, rows: drawn.append(rows))
    RunDirectory(tmp_path / "whole").fit(Trainer(TINY, device="cpu"))
    RunDirectory(tmp_path / "halves").fit(Trainer(TINY, device="cpu"), 5)
    RunDirectory(tmp_path / "halves", go_on=True).fit(load(tmp_path / "halves", device="cpu"), 5)
    whole, _, halves = ([row["critic_loss_held_out"] for row in rows] for rows in drawn)
    assert whole == halves
    assert len(set(whole)) == 2
