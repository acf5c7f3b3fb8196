"""The networks of a run: the one place where a recipe and the form of its samples become a generator and a critic."""

import math
from inspect import signature

from fastgan.device import Array
from fastgan.errors import UsageError
from fastgan.gan import published
from fastgan.gan.conditional import ConcatCritic, LabelledGenerator, ProjectionCritic, told
from fastgan.gan.recipe import Recipe
from fastgan.nn import Linear, Module, Sequential, SpectralNorm
from fastgan.random import Draws, Stream
from fastgan.tape import Tensor, no_grad


def build(recipe: Recipe, shape: tuple[int, ...], seed: int) -> tuple[Module, Module]:
    """Generator and critic for samples of `shape`, (h, w, c) or (d,), with first values from the seed.

    Where the recipe has classes, both take labels as well (see gan/conditional.py). UsageError or ShapeError where the
    networks do not fit the samples.
    """
    return build_generator(recipe, shape, seed), build_critic(recipe, shape, seed)


def build_generator(recipe: Recipe, shape: tuple[int, ...], seed: int) -> Module:
    """The generator of `build`, alone."""
    latent, classes, embed = recipe.latent, recipe.classes, recipe.label_features
    extra = embed if classes and recipe.generator_labels == "concat" else 0
    body = recipe.generator.build(latent + extra, math.prod(shape), seed=seed, shape=shape, name="generator")
    body = published.of(recipe.published).generator(body)
    if not classes:
        return body
    generator = LabelledGenerator(body, latent, classes, embed=embed, join=recipe.generator_labels)
    generator.initialize(Draws(seed, Stream.INIT))  # the values of all parts anew, together
    return generator


def build_critic(recipe: Recipe, shape: tuple[int, ...], seed: int) -> Module:
    """The critic of `build`, alone."""
    k, embed, seen = recipe.classes, recipe.label_features, shape
    joined = recipe.critic_labels == "concat"
    if k and joined:  # one more channel of an image, or more numbers of a point
        seen = *shape[:-1], shape[-1] + (1 if len(shape) == 3 else embed)
    body = recipe.critic.build(math.prod(seen), 1, seed=seed, number=1, shape=seen, name="critic")
    if not k:
        return body
    critic = (
        ConcatCritic(body, shape, k, embed=embed) if joined else _projecting(recipe, body, math.prod(shape))
    )
    critic.initialize(Draws(seed, Stream.INIT, step=1 << 32))
    return critic


def _projecting(recipe: Recipe, body: Module, features: int) -> Module:
    """A critic whose last layer's input is compared with the label's embedding."""
    *below, head = (part for _, part in body.parts())
    last = head.layer if isinstance(head, SpectralNorm) else head
    if not isinstance(last, Linear):
        raise UsageError(
            f"recipe {recipe.name}: got a critic that ends in {type(head).__name__}, wanted a linear layer to join "
            "labels by projection: use --critic-labels concat"
        )
    width = last.weight.shape[0]
    critic = ProjectionCritic(Sequential(*below), head, features, recipe.classes, embed=width)
    if last is not head:  # the label's part of the score is as steep as the rest
        critic.table = SpectralNorm(critic.table)
    return critic


def check_fit(generator: Module, critic: Module, z: Array, y: Array | None, features: int) -> None:
    """Run both networks once, on two latents and labels: networks that do not fit fail here and by name. UsageError."""
    given = (z,) if y is None else (z, y)
    for name, network in (("generator", generator), ("critic", critic)):
        try:
            signature(network).bind(*given)
        except TypeError as error:
            wanted = f"{name}(x, y), y with labels (n, {y.shape[1]})" if y is not None else f"{name}(x)"
            raise UsageError(f"the {name} does not fit ({error}), wanted {wanted}") from error
    with no_grad():
        fake = told(generator.eval(), y)(Tensor(z))
        if fake.shape != (2, features):
            raise UsageError(
                f"the generator gives shape {fake.shape[1:]} per sample, wanted ({features},) as the data have: "
                "choose other data, --image-size or --border, or other --generator-layers"
            )
        scores = told(critic.eval(), y)(fake)
        if scores.shape != (2, 1):
            raise UsageError(
                f"the critic gives scores of shape {scores.shape}, wanted (2, 1) for two samples"
            )
    generator.train()
    critic.train()
