"""toy-mlp in other sizes: the one family of networks that crossover and scaling measure, for fastgan and for peers.

One idea: a point of a plot is a recipe value. Peers get the same value as a `Setting`, start from fastgan's own
parameters and are held against it as in suite "steps", so that a point means the same work in every column.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import fastgan as fg
from fastgan.benchmarks import launches, peers
from fastgan.benchmarks.cases import AbsentError, Case, Work
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.suites import steps
from fastgan.benchmarks.training import IMAGES, Fit, Stepped, hidden, peer, same_image
from fastgan.gan.recipes_dense import dense

NAME = "toy-mlp"
BASE = fg.recipes[NAME]


def recipe_of(*, batch: int = BASE.batch, width: int = 256, depth: int = 2) -> fg.Recipe:
    """toy-mlp with another batch, and `depth` hidden layers of `width` in both networks."""
    widths = (width,) * depth
    return BASE.replace(
        batch=batch,
        generator=replace(BASE.generator, layers=dense(widths, "relu", end=("tanh",))),
        critic=replace(BASE.critic, layers=dense(widths, "leaky_relu 0.2")),
    )


def setting_of(recipe: fg.Recipe) -> peers.Setting:
    """A variant as peers know it."""
    return replace(
        peers.SETTINGS[NAME],
        batch=recipe.batch,
        generator=(recipe.latent, *hidden(recipe.generator), peers.PIXELS),
        critic=(peers.PIXELS, *hidden(recipe.critic), 1),
    )


def step_case(
    suite: str, group: str, name: str, shape: Mapping[str, Any], columns: tuple[str, ...], **sizes: int
) -> Case:
    """A training step with the `recipe_of` these sizes, on `data` images if that is one of them."""
    images = sizes.pop("data", IMAGES)
    recipe = recipe_of(**sizes)

    def make(column: Column) -> Work:
        return made(recipe, images, column)

    def counted() -> tuple[int, int]:
        return launches.floor(recipe), launches.flops(recipe)

    return Case(suite, group, name, make, wrong, shape, columns=columns, counted=counted)


def made(recipe: fg.Recipe, images: int, column: Column) -> Work:
    """A variant in one column; AbsentError where no peer runs it."""
    if column.own:
        return Own(recipe, images, column)
    if not peers.runs(column.module, NAME):
        raise AbsentError("no peer is written for this recipe")
    return Theirs(recipe, images, column)


def wrong(found: Mapping[str, Any]) -> dict[str, str]:
    """As for the recipe itself, in another size."""
    return steps.wrong(NAME, found, resized=True)


class Own(steps.Started):
    """fastgan's step on so many images."""

    def __init__(self, recipe: fg.Recipe, images: int, column: Column) -> None:
        Fit.__init__(self, recipe, same_image(images), column)


class Theirs(steps.StartedPeer):
    """A peer's step on so many images, from the parameters that fastgan starts with."""

    def __init__(self, recipe: fg.Recipe, images: int, column: Column) -> None:
        Stepped.__init__(self, peer(setting_of(recipe), same_image(images), column), column)
        self.peer.start(*peers.start_like(fg.Trainer(recipe, same_image(recipe.batch), device="cpu")))
