"""What a checkpoint holds of a Trainer, and how it comes back.

Arrays: every parameter and running statistic by name ("generator.0.weight"), the optimizers' flat state, the average
of the generator, the losses since the last line of the log. Description: recipe, seed, steps done, BLAS and its
threads, the data's shape, range and fingerprint. Random numbers are functions of seed and step, so nothing else is
needed for a run to go on with the same bits.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fastgan.device import to_device, to_host
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
    for side in NETWORKS:
        parts = {
            side: getattr(trainer, side).named_arrays(),
            f"{side}_{STATE}": _optimizer(trainer, side).state,
        }
        out |= {f"{part}.{name}": to_host(x) for part, held in parts.items() for name, x in held.items()}
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
        f"{STATE}_steps": [_optimizer(trainer, side).steps for side in NETWORKS],
        "own_networks": trainer.own_networks,
        "arithmetic": trainer.arithmetic,
        "data": asdict(trainer.form),
    }


def fill(trainer: Trainer, values: dict[str, Any], meta: dict[str, Any]) -> None:
    """Put the arrays and the description of a checkpoint into a fresh Trainer; KeyError for what is not there."""
    for side, steps in zip(NETWORKS, meta[f"{STATE}_steps"], strict=True):
        getattr(trainer, side).load(part(values, side))
        optimizer = _optimizer(trainer, side)
        optimizer.steps = steps
        for name, array in part(values, f"{side}_{STATE}").items():
            optimizer.state[name][...] = to_device(array, trainer.device)
    if trainer.ema:
        trainer.ema.average[...] = to_device(values["generator_average"], trainer.device)
    trainer.begin_at(meta["steps_done"], values["losses"])
    trainer.work.horizon = meta["horizon"]
    trainer.arithmetic = meta.get("arithmetic", "")  # older files do not say


def part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(f"{prefix}."): x for name, x in values.items() if name.startswith(f"{prefix}.")}


def _optimizer(trainer: Trainer, side: str) -> Any:
    return getattr(trainer, f"{side}_optimizer")
