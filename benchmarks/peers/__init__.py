"""The same training steps as users of other engines write them, to be timed against fastgan on one machine.

One idea: `settings` says what all of them do, a module per engine how it does it, and `agreement` whether it did. Peers
run on the CPU with their engine's default thread settings, or on a GPU, in float32 without TF32. A peer's module
imports its engine in `make`, so that looking at `RECIPES` costs nothing.
"""

import importlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers.agreement import disagreement, peer_facts, start_like, trainer_facts
from fastgan.benchmarks.peers.settings import (
    ALL,
    CONVOLUTIONAL,
    CRITIC_UPDATES,
    PENALTY,
    PIXELS,
    SETTINGS,
    Peer,
    Setting,
)
from fastgan.errors import DataError, UsageError

__all__ = [
    "ALL",
    "CONVOLUTIONAL",
    "CRITIC_UPDATES",
    "PENALTY",
    "PIXELS",
    "SETTINGS",
    "Peer",
    "Setting",
    "disagreement",
    "peer_facts",
    "runs",
    "setting",
    "start_like",
    "trainer_facts",
]


def setting(
    recipe: str | Setting, data: NDArray[np.float32], rows: Mapping[str, Setting] = SETTINGS
) -> Setting:
    """The row of `recipe`, or a row itself; raises `UsageError` for one not in `rows`, `DataError` unless data is
    float32 (n, 784).
    """
    if isinstance(recipe, str) and recipe not in rows:
        raise UsageError(f"this peer does not run the recipe {recipe!r}; choose one of {', '.join(rows)}")
    if data.dtype != np.float32 or data.ndim != 2 or data.shape[1] != PIXELS or not len(data):
        raise DataError(
            f"data is {data.dtype} of shape {data.shape}, wanted float32 (n, {PIXELS}); reshape and cast it first"
        )
    return rows[recipe] if isinstance(recipe, str) else recipe


def runs(module: str, recipe: str) -> bool:
    """Whether a module of this package has the recipe; imports no engine."""
    return recipe in importlib.import_module(f"fastgan.benchmarks.peers.{module}").RECIPES
