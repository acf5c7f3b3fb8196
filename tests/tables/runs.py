"""One row per kind of run: every recipe made tiny, and what no recipe shows, with the samples that it learns from."""

from labelled import TINY as LABELLED
from labelled import labelled, points
from tiny import samples, tiny

import fastgan as fg
from fastgan.data import Dataset
from fastgan.gan import OptimizerSettings, Recipe
from fastgan.gan.recipe import CRITIC_JOINS, GENERATOR_JOINS
from fastgan.nn import Net

JOINS = [(g, c) for g in GENERATOR_JOINS for c in CRITIC_JOINS]
WARM = tiny("wgan-gp-mlp").replace(
    critic_steps=2, log_every=20, sample_every=1000, warmup_critic_steps=5, warmup_steps=2, warmup_every=10
)
CONV = LABELLED.replace(
    generator=Net(("linear 12", "reshape 3x2x2", "conv_transpose c 2", "flatten")),
    critic=Net(("image", "conv 3 2", "leaky_relu 0.2", "flatten", "linear 1")),
)
STEADY = OptimizerSettings()  # a rate that does not depend on how many steps are asked for

RUNS: dict[str, tuple[Recipe, Dataset]] = {
    **{name: (tiny(name), samples(fg.recipes[name])) for name in fg.recipes},
    **{
        f"labels {g} {c} {objective}": (
            LABELLED.replace(generator_labels=g, critic_labels=c, objective=objective),
            labelled(),
        )
        for g, c in JOINS
        for objective in ("wasserstein-gp", "non-saturating")
    },
    **{
        f"{what} {g} {c}": (recipe.replace(generator_labels=g, critic_labels=c), data)
        for g, c in JOINS
        for what, recipe, data in (
            ("labelled points", LABELLED.replace(points=True), points()),
            ("labelled convolutions", CONV, labelled(shape=(4, 3, 2))),
        )
    },
    **{
        f"warm-up {sampling}": (WARM.replace(sampling=sampling, generator_steps=2, ema=0.9), samples(WARM))
        for sampling in ("replacement", "epochs")
    },
    "dropout": (
        tiny("digits").replace(
            objective="hinge",
            critic=Net(("linear 8", "leaky_relu 0.2", "dropout 0.3", "linear o")),
            penalty=None,
            optimizer=STEADY,
        ),
        samples(tiny("digits")),
    ),
}
