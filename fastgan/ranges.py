"""Which numbers a setting may have: one table by name, for optimizers, recipes and whoever sets either.

A range is closed and made of finite numbers, so that NaN and infinity are in none.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from fastgan.errors import UsageError

MOST = 1_000_000_000  # of steps, samples, intervals
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included, and how a message calls them."""

    low: float
    high: float
    text: str
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        try:
            inside = self.low <= value <= self.high  # type: ignore[operator]
        except TypeError:  # text, None
            return False
        return bool(inside) and (not self.whole or isinstance(value, Integral))


NUMBER = Range(-LARGEST, LARGEST, "a finite number")
AT_LEAST_0 = Range(0, LARGEST, "a finite number of at least 0")
SHARE = Range(0, math.nextafter(1, 0), "at least 0 and below 1")
COUNT = Range(1, MOST, f"a whole number from 1 to {MOST:,}", whole=True)
COUNT_OR_0 = Range(0, MOST, f"a whole number from 0 to {MOST:,}", whole=True)
UPDATES = Range(1, 1000, "a whole number from 1 to 1,000", whole=True)
PIXELS = Range(0, 8192, "a whole number from 0 to 8,192", whole=True)

RANGES: dict[str, Range] = {
    # optimizers
    **dict.fromkeys(("lr", "generator_lr", "eps", "weight_decay", "clip", "max_norm"), AT_LEAST_0),
    **dict.fromkeys(("beta1", "beta2", "alpha", "momentum", "decay", "ema"), SHARE),
    # networks
    "init_scale": NUMBER,
    "norm_eps": AT_LEAST_0,
    "batch_norm": Range(0, 1, "0 to 1"),
    **dict.fromkeys(("latent", "label_features"), COUNT),
    # recipes
    **dict.fromkeys(("low", "high"), NUMBER),
    "penalty": AT_LEAST_0,
    **dict.fromkeys(("batch", "steps", "warmup_every"), COUNT),
    **dict.fromkeys(("log_every", "sample_every", "checkpoint_every"), COUNT),
    **dict.fromkeys(("critic_steps", "generator_steps"), UPDATES),
    "warmup_critic_steps": Range(0, 1000, "a whole number from 0 to 1,000", whole=True),
    **dict.fromkeys(("first", "warmup_steps", "classes"), COUNT_OR_0),
    **dict.fromkeys(("picture_size", "border"), PIXELS),
}


def check_ranges(where: str, settings: Mapping[str, Any]) -> None:
    """UsageError that names the first setting outside its range; None, and names not in the table, are let through.

    Of a name with dots, such as optimizer.lr, the last part says which range; of a tuple each number must be in it.
    """
    for name, value in settings.items():
        wanted = RANGES.get(name.rpartition(".")[2])
        for one in value if isinstance(value, tuple) else (value,):
            if wanted and one is not None and one not in wanted:
                raise UsageError(f"{where}: got {name} {one}, wanted {wanted.text}")
