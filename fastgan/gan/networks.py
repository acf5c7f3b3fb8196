"""The networks of a run: the one place where a recipe and the form of its samples become a generator and a critic."""

import math

from fastgan.device import Array
from fastgan.errors import UsageError
from fastgan.gan import published
from fastgan.gan.conditional import ConcatCritic, LabelledGenerator, ProjectionCritic
from fastgan.gan.recipe import Recipe
from fastgan.nn import Linear, Module, Sequential, SpectralNorm
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, no_grad


def build(recipe: Recipe, shape: tuple[int, ...], seed: int) -> tuple[Module, Module]:
    """Generator and critic for samples of `shape`, (h, w, c) or (d,), with first values from the seed.

    Where the recipe has classes, both take and give label columns as well (see gan/conditional.py). UsageError or
    ShapeError where the networks do not fit the samples.
    """
    features = math.prod(shape)
    if recipe.classes:
        return _labelled(recipe, shape, seed)
    generator = recipe.generator.build(recipe.latent, features, seed=seed, shape=shape, name="generator")
    generator = published.of(recipe.published).generator(generator)
    return generator, recipe.critic.build(features, 1, seed=seed, number=1, shape=shape, name="critic")


def _labelled(recipe: Recipe, shape: tuple[int, ...], seed: int) -> tuple[Module, Module]:
    """Both networks with labels, all of their values drawn together."""
    latent, classes, embed = recipe.latent, recipe.classes, recipe.label_features
    extra = embed if recipe.generator_labels == "concat" else 0
    body = recipe.generator.build(latent + extra, math.prod(shape), seed=seed, shape=shape, name="generator")
    body = published.of(recipe.published).generator(body)
    generator = LabelledGenerator(
        body, latent, classes, embed=embed, join=recipe.generator_labels, low=recipe.low, high=recipe.high
    )
    critic = (_projecting if recipe.critic_labels == "projection" else _joining)(recipe, shape, seed)
    for number, network in enumerate((generator, critic)):
        network.initialize(Draws(seed, Stream.INIT, step=number << 32))
    return generator, critic


def _projecting(recipe: Recipe, shape: tuple[int, ...], seed: int) -> Module:
    """A critic whose last layer's input is compared with the label's embedding."""
    features = math.prod(shape)
    *below, head = (
        part
        for _, part in recipe.critic.build(
            features, 1, seed=seed, number=1, shape=shape, name="critic"
        ).parts()
    )
    last = head.layer if isinstance(head, SpectralNorm) else head
    if not isinstance(last, Linear):
        raise UsageError(
            f"recipe {recipe.name}: got a critic that ends in {type(head).__name__}, wanted a linear layer to join "
            "labels by projection: use --critic-labels concat"
        )
    width, k = last.weight.shape[0], recipe.classes
    critic = ProjectionCritic(
        Sequential(*below), head, features, k, embed=width, low=recipe.low, high=recipe.high
    )
    if last is not head:  # the label's part of the score is as steep as the rest
        critic.table = SpectralNorm(critic.table)
    return critic


def _joining(recipe: Recipe, shape: tuple[int, ...], seed: int) -> Module:
    """A critic that sees the label's embedding as one more channel of an image, or as more numbers of a point."""
    extra = 1 if len(shape) == 3 else recipe.label_features
    larger = (*shape[:-1], shape[-1] + extra)
    body = recipe.critic.build(math.prod(larger), 1, seed=seed, number=1, shape=larger, name="critic")
    return ConcatCritic(
        body, shape, recipe.classes, embed=recipe.label_features, low=recipe.low, high=recipe.high
    )


def check_fit(generator: Module, critic: Module, z: Array, features: int) -> None:
    """Run both networks once, on latents z (2, .): networks that do not fit fail here and by name. UsageError."""
    with no_grad():
        fake = generator.eval()(Tensor(z))
        if fake.shape != (2, features):
            raise UsageError(
                f"the generator gives shape {fake.shape[1:]} per sample, wanted ({features},) as the data have: "
                "choose other data, --image-size or --border, or other --generator-layers"
            )
        scores = critic.eval()(fake)
        if scores.shape != (2, 1):
            raise UsageError(
                f"the critic gives scores of shape {scores.shape}, wanted (2, 1) for two samples"
            )
    generator.train()
    critic.train()
