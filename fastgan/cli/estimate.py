"""About how long a recipe's run takes on this CPU, said before it is begun.

The idea: a step of each recipe was measured once, on two cores whose speed in matrix products is known (steps.json, in
milliseconds: medians of benchmarks/results/epyc-2-cores.json, column cpu-kernels; the two for pictures, and hs-wgan,
whose rows there are of smaller batches, of single steps). Here the same products are timed for a tenth of a second of
this process's own time, and the step is scaled. That is rough, and for a machine where nothing else runs. While
training the time left is measured.
"""

import json
from pathlib import Path
from time import thread_time

import numpy as np

from fastgan.gan import Recipe
from fastgan.threads import blas_threads, cores

STEPS: dict[str, float] = json.loads(Path(__file__).with_name("steps.json").read_text())
SPEED, CORES = 100e9, 2  # multiplications and additions a second of one of those cores, as `speed` finds them
SIDE, WATCHED = 512, 0.1  # of the matrices; seconds
NIGHT = 8 * 3600.0  # seconds from which on a run is one for a GPU
UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 0))


def speed() -> float:
    """Multiplications and additions a second of one core in products of 512 x 512, whatever else runs."""
    x, count = np.ones((SIDE, SIDE), np.float32), 0
    with blas_threads(1):
        x @ x  # which loads the library
        start = thread_time()
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
    convolves = any(layer.startswith("conv") for layer in recipe.critic.layers)
    shared = cores() / CORES if convolves else 1.0
    return recipe.steps * STEPS[recipe.name] / 1e3 * SPEED / found / shared


def in_words(time: float) -> str:
    """about 20 s, about 3 h; 4 days: for a GPU."""
    return f"{rough(time)}: for a GPU" if time > NIGHT else f"about {rough(time)}"


def rough(time: float) -> str:
    """20 s, 3 min, 2 h or 28 days: one or two figures."""
    time = max(time, 1.0)
    value, unit = next((time / (n or 1), name) for name, n in UNITS if time >= 1.5 * n)
    return f"{float(f'{value:.1g}' if value < 10 else f'{value:.2g}'):.0f} {unit}"
