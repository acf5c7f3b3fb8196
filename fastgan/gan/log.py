"""A line of the log in the words of a recipe's article: a format string over what a row of the log says.

A part between two | that needs what a run has not (an accuracy, where scores are no classification) is left out, so
that a format serves every objective. Losses are the means of the interval; most articles print those of the last batch.
"""

import re
from collections.abc import Mapping
from typing import Any

from fastgan.errors import UsageError

_FIELD = re.compile(r"\{(\w+)(?::[^{}]{0,6})?\}")  # no width that would fill the memory
_COUNTS = ("step", "index", "epoch", "epochs", "batch", "done", "batches")
_METRICS = (
    *("critic_loss", "generator_loss", "one_minus_critic_loss", "one_minus_generator_loss"),
    *("d_real", "d_fake", "accuracy", "wasserstein", "penalty", "critic_loss_held_out", "seconds"),
)


def check_line(where: str, line: str) -> None:
    """UsageError for a line that cannot be written."""
    known = dict.fromkeys(_COUNTS, 1) | dict.fromkeys(_METRICS, 1.0)
    names = _FIELD.findall(line)
    try:
        if not names or not {*names} <= known.keys() or {*"{}"} & {*_FIELD.sub("", line)}:
            raise ValueError
        line.format_map(known)
    except ValueError as error:
        raise UsageError(
            f"{where}: got line {line!r}, wanted text with numbers such as {{step}} or {{critic_loss:.4}}; known are "
            f"{', '.join(known)}"
        ) from error


def written(line: str, metrics: Mapping[str, float], *, batches: int, steps: int) -> str:
    """The line of one row; an epoch has so many batches, the run so many steps.

    `index`, `epoch` and `batch` (of the epoch) count from 0, `step` and `done` (in the epoch) from 1.
    """
    index = int(metrics["step"]) - 1
    epoch, batch = divmod(index, batches)
    values: dict[str, Any] = {
        **metrics,
        "one_minus_critic_loss": 1 - metrics["critic_loss"],
        "one_minus_generator_loss": 1 - metrics["generator_loss"],
        "index": index,
        "epoch": epoch,
        "epochs": -(-steps // batches),
        "batch": batch,
        "done": batch + 1,
        "batches": batches,
    }
    if "steps_per_second" in metrics:
        values["seconds"] = 1 / metrics["steps_per_second"]
    return "".join(
        part.format_map(values) for part in line.split("|") if values.keys() >= {*_FIELD.findall(part)}
    )
