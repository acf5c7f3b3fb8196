"""How far fastgan's own first steps differ between seeds, from one start and on one image: what peers are held to.

    python -m fastgan.benchmarks.peers.spreads [RECIPE ...]

measures and prints the table again (24 seeds; minutes where there are convolutions).
"""

import math
from typing import NamedTuple

NOISE = math.inf  # the bias of a Wasserstein score cancels in both losses, so that rounding alone moves it
SEEDS = 24


class Spread(NamedTuple):
    """Standard deviations between seeds, over the first steps: of the mean losses (critic, generator), and of how far
    each parameter moved (the generator's, then the critic's), relative to the mean."""

    losses: tuple[float, float]
    moves: tuple[float, ...]


SPREADS = {
    "keras-mlp": Spread(
        losses=(0.0041, 0.0146),
        moves=(
            *(0.004, 0.03, 0.033, 0.047, 0.003, 0.019, 0.021, 0.037),
            *(0.003, 0.021, 0.023, 0.005, 0.003, 0.005),
            *(0.01, 0.005, 0.005, 0.007, 0.01, 0.006),
        ),
    ),
    "toy-mlp": Spread(
        losses=(0.0002, 0.0002),
        moves=(0.005, 0.005, 0.003, 0.004, 0.002, 0.002, 0.001, 0.004, 0.001, 0.003, 0.001, 0.001),
    ),
    "cs231n-vanilla": Spread(
        losses=(0.0045, 0.0036),
        moves=(0.007, 0.012, 0.006, 0.007, 0.005, 0.004, 0.008, 0.012, 0.009, 0.005, 0.011, 0.001),
    ),
    "wgan-gp-mlp": Spread(
        losses=(0.012, 0.0021),
        moves=(0.005, 0.004, 0.003, 0.004, 0.002, 0.003, 0.005, 0.008, 0.008, 0.006, 0.003, NOISE),
    ),
    "cs231n-dcgan": Spread(
        losses=(0.0275, 0.0603),
        moves=(
            *(0.005, 0.018, 0.018, 0.02, 0.003, 0.007, 0.008, 0.015),
            *(0.005, 0.065, 0.037, 0.205, 0.018, 0.334),
            *(0.01, 0.055, 0.016, 0.037, 0.008, 0.024, 0.008, 0.096),
        ),
    ),
    "igul-mnist-wgan-gp": Spread(
        losses=(0.0089, 0.007),
        moves=(
            *(0.003, 0.002, 0.003, 0.01, 0.003, 0.01, 0.004, 0.001),
            *(0.001, 0.003, 0.002, 0.003, 0.001, 0.004, 0.002, NOISE),
        ),
    ),
}


def measure(recipe: str, seeds: int = SEEDS) -> Spread:
    """From runs on the CPU."""
    import numpy as np

    import fastgan as fg
    from fastgan.benchmarks.peers.agreement import start_like, trainer_facts
    from fastgan.benchmarks.training import same_image

    first = start_like(fg.Trainer(recipe, same_image(300), device="cpu"))
    runs = []
    for seed in range(seeds):
        trainer = fg.Trainer(recipe, same_image(300), device="cpu", seed=seed)
        for network, arrays in zip((trainer.generator, trainer.critic), first, strict=True):
            for p, value in zip(network.parameters(), arrays, strict=True):
                p.data[...] = value
        facts = trainer_facts(trainer)
        runs.append(np.concatenate([facts[2].mean(axis=0, dtype=np.float64), facts[3]]))
    mean, (critic, generator, *moves) = np.mean(runs, axis=0), np.std(runs, axis=0, ddof=1)
    relative = [round(float(width / average), 3) for width, average in zip(moves, mean[2:], strict=True)]
    if trainer.objective.boundary is None:
        relative[-1] = NOISE
    return Spread((round(float(critic), 4), round(float(generator), 4)), tuple(relative))


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:] or SPREADS:
        print(f'    "{name}": {measure(name)},'.replace("inf", "NOISE"), flush=True)
