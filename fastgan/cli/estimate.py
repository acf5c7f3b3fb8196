"""About how long a recipe's run takes on this CPU, said before it is begun.

The idea: a step of each recipe was measured once, on two cores whose speed in matrix products is known; here the same
products are timed for a tenth of a second of this process's own time, and the step is scaled. That is rough, and for a
machine where nothing else runs. While training the time left is measured.
"""

from time import thread_time

import numpy as np

from fastgan.gan import Recipe
from fastgan.threads import blas_threads, cores

# Milliseconds of a step: medians of benchmarks/results/epyc-2-cores.json, column cpu-kernels; the two for pictures, and
# hs-wgan, whose rows there are of smaller batches, of single steps.
STEPS = {
    "digits": 2.24,
    "keras-mlp": 8.42,
    "toy-mlp": 5.71,
    "cs231n-vanilla": 23.1,
    "cs231n-lsgan": 20.3,
    "seo-numpy": 9.64,
    "wgan-mlp": 10.6,
    "wgan-gp-mlp": 28.0,
    "ring-gan": 14.2,
    "ring-wgan-gp": 134,
    "grid-wgan-gp": 119,
    "igul-toy-8-wgan": 72.6,
    "igul-toy-8-wgan-gp": 136,
    "igul-toy-25-wgan": 78.9,
    "igul-toy-25-wgan-gp": 134,
    "igul-toy-swiss-wgan": 76.0,
    "igul-toy-swiss-wgan-gp": 123,
    "cs231n-dcgan": 196,
    "odog-dcgan": 227,
    "odog-wgan": 835,
    "hs-dcgan": 790,
    "hs-wgan": 4000,
    "hs-wgan-gp": 1075,
    "igul-mnist-dcgan": 186,
    "igul-mnist-wgan": 760,
    "igul-mnist-wgan-gp": 915,
    "cgan-mnist": 115,
    "shekkizh-wgan": 26000,
    "dcgan64": 9000,
}
SPEED = 100e9  # multiplications and additions a second of one of those cores, as `speed` finds them
CORES = 2
SIDE, WATCHED = 512, 0.1  # of the matrices; seconds
NIGHT = 8 * 3600.0  # seconds from which on a run is one for a GPU


def speed() -> float:
    """Multiplications and additions a second of one core in products of 512 x 512, whatever else runs."""
    x = np.ones((SIDE, SIDE), np.float32)
    with blas_threads(1):
        x @ x  # which loads the library
        count, start = 0, thread_time()
        while (spent := thread_time() - start) < WATCHED:
            x @ x
            count += 1
    return 2 * SIDE**3 * count / spent


def seconds(recipe: Recipe, found: float) -> float | None:
    """Seconds of the recipe's whole run on this CPU, whose `speed` was found; None for a recipe that is not built in.

    Convolutions share samples among all cores; of dense networks no more than two are thought to help.
    """
    if recipe.name not in STEPS:
        return None
    convolves = any(line.startswith("conv") for line in recipe.critic.layers)
    shared = cores() / CORES if convolves else 1.0
    return recipe.steps * STEPS[recipe.name] / 1e3 * SPEED / found / shared


def in_words(time: float) -> str:
    """about 20 s, about 3 h; 4 days: for a GPU."""
    time = max(time, 1.0)
    value, unit = next(
        (
            (time / length, name)
            for name, length in (("days", 86400), ("h", 3600), ("min", 60))
            if time >= 1.5 * length
        ),
        (time, "s"),
    )
    text = f"{float(f'{value:.1g}' if value < 10 else f'{value:.2g}'):.0f} {unit}"
    return f"{text}: for a GPU" if time > NIGHT else f"about {text}"
