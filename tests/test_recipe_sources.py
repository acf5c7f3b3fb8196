"""Each recipe's numbers against its source's."""

import pytest
from recipe_sources import OWN, SOURCES

from fastgan.gan.networks import build
from fastgan.gan.recipe import objective_of
from fastgan.gan.recipes import RECIPES
from fastgan.gan.source import data_shape, within_border
from fastgan.nn import BatchNorm, LeakyReLU

FLAGS = (
    "split_updates",
    "halved_loss",
    "inference_fakes",
    "shared_latents",
    "simultaneous",
    "held_out",
)


def one(values):
    """The value that all have; None where there are none."""
    (value,) = set(values) or {None}
    return value


def facts(recipe):
    """What the table's columns say of a recipe, from its networks as they are built."""
    networks = build(recipe, within_border(recipe, data_shape(recipe)), 0)
    norms = [m for network in networks for m in network.modules() if isinstance(m, BatchNorm)]
    slopes = [m.slope for m in networks[1].modules() if isinstance(m, LeakyReLU) and m.slope]
    rule, objective = recipe.optimizer, objective_of(recipe)
    return {
        "kind": rule.kind,
        "lr": rule.lr if recipe.generator_lr is None else (rule.lr, recipe.generator_lr),
        "betas": (rule.beta1, rule.beta2),
        "eps": rule.eps,
        "alpha": rule.alpha,
        "penalty": objective.penalty,
        "clip": objective.clip,
        "critic_steps": recipe.critic_steps,
        "generator_steps": recipe.generator_steps,
        "warmup": (recipe.warmup_critic_steps, recipe.warmup_steps, recipe.warmup_every)
        if recipe.warmup_critic_steps
        else None,
        "batch": recipe.batch,
        "latent": (recipe.latent, recipe.noise),
        "networks": tuple(network.count(trained_only=True) for network in networks),
        "slope": one(slopes),
        "norm": one((m.eps, m.momentum, m.correction) for m in norms),
        "steps": recipe.steps,
        "log": recipe.log_every,
        "pictures": recipe.sample_every,
        "samples": recipe.first,
        "sampling": recipe.sampling,
        "flags": {name for name in FLAGS if getattr(recipe, name)},
    }


@pytest.mark.parametrize("name", SOURCES)
def test_a_recipe_has_its_sources_numbers(name):
    recipe = RECIPES[name].as_published() if name == "seo-numpy" else RECIPES[name]
    found, row = facts(recipe), dict(SOURCES[name])
    if row["norm"] and row["norm"][1] is None:  # the source keeps no running statistics
        row["norm"] = row["norm"][0], found["norm"][1], row["norm"][2]
    assert {column: found[column] for column in row} == row


def test_every_recipe_has_a_row_or_is_our_own():
    assert {*SOURCES, *OWN} == set(RECIPES)


def test_counts_with_the_notebooks_noise_of_4():
    counts = {"cs231n-vanilla": (1_858_320, 267_009), "cs231n-dcgan": (6_580_801, 1_102_721)}
    for name, wanted in counts.items():
        assert facts(RECIPES[name].replace(latent=4))["networks"] == wanted
