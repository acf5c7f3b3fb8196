"""What a checkpoint holds of a Trainer.

Arrays: every parameter and running statistic by name ("generator.0.weight"), the optimizers' flat state, the average
of the generator. Description: recipe, seed, steps done, BLAS and its threads, the data's shape, range and fingerprint.
Random numbers are functions of seed and step, so nothing else is needed for a run to go on with the same bits.
restore.py is the way back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastgan.device import to_host
from fastgan.errors import DivergedError
from fastgan.gan import checkpoint

Trainer = Any  # of trainer.py, which imports this file: its type would be a circle
NETWORKS = ("generator", "critic")
STATE = "optimiser"  # as format 1 spells it


def save(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint; DivergedError, and nothing written, where a parameter is not finite."""
    checkpoint.save(path, arrays(trainer), description(trainer))


def arrays(trainer: Trainer) -> dict[str, Any]:
    """All arrays of a run on the host, by name."""
    out: dict[str, Any] = {}
    for network in NETWORKS:
        for name, array in getattr(trainer, network).named_arrays().items():
            out[f"{network}.{name}"] = to_host(array)
        optimizer = getattr(trainer, f"{network}_optimizer")
        for name, array in optimizer.state.items():
            out[f"{network}_{STATE}.{name}"] = to_host(array)
    if trainer.ema:
        out["generator_average"] = to_host(trainer.ema.average)
    out["losses"] = to_host(trainer.losses_since_log())
    for name, array in out.items():
        if not np.isfinite(array).all():
            raise DivergedError(f"step {trainer.steps_done}: {name} is not finite, so nothing was saved")
    return out


def description(trainer: Trainer) -> dict[str, Any]:
    """All of a run that is not an array."""
    return {
        "recipe": trainer.recipe.to_dict(),
        "seed": trainer.seed,
        "steps_done": trainer.steps_done,
        "horizon": trainer.work.horizon,
        f"{STATE}_steps": [getattr(trainer, f"{network}_optimizer").steps for network in NETWORKS],
        "own_networks": trainer.own_networks,
        "arithmetic": trainer.arithmetic,
        "data": trainer.form.to_dict(),
    }
