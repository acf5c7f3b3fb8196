"""A run's log as lines: in the words of the article that a recipe comes from, or in fastgan's own.

The idea: a line is made from a row of the log and nothing else. A format is text in parts, and a part whose metrics a
run has not (an accuracy, where scores are no classification) is left out, so that a format serves every objective.
Losses are the means of the interval, as in WGAN-GP's scripts; the other articles print those of the last batch. Steps
and epochs are numbered, and lines come, where the article has them: most loops count from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgan.gan.trainer import Metrics, Trainer

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "keras": (
            "{index} [D loss: {critic_loss:f}",
            ", acc.: {accuracy:.2%}",
            "] [G loss: {generator_loss:f}]",
        ),
        "odog-wgan": ("{index} [D loss: {one_minus_critic_loss:f}] [G loss: {one_minus_generator_loss:f}]",),
        "cs231n": ("Iter: {index}, D: {critic_loss:.4}, G:{generator_loss:.4}",),
        "toy-mlp": (
            "Epoch [{epoch}/{epochs}], Step [{done}/{batches}], ",
            "d_loss: {critic_loss:.4f}, g_loss: {generator_loss:.4f}",
            ", D(x): {d_real:.2f}, D(G(z)): {d_fake:.2f}",
        ),
        "hs": ("train:[{epoch}/{batch}],d_loss:{critic_loss:f},g_loss:{generator_loss:f}",),
        "shekkizh": (
            "Time: {seconds:g}/itr, ",
            "Step: {step}, generator loss: {generator_loss:g}, discriminator_loss: {critic_loss:g}",
        ),
        "seo": (
            "Current Iter:  {index}  Current D cost: {critic_loss:.8f}  Current G cost:  {generator_loss:.8f}",
        ),
        "igul-toy": ("iter {index}\tdisc cost\t{critic_loss:.6g}",),
        "igul-mnist": (
            "iter {index}\ttrain disc cost\t{critic_loss:.6g}",
            "\ttime\t{seconds:.4g}",
            "\tdev disc cost\t{critic_loss_held_out:.6g}",
        ),
    }
)

FIRST_AT_ONCE = ("keras", "odog-wgan", "cs231n", "hs", "seo")
"""Articles that print at iterations 0, k, 2k ..., which are the steps 1, k + 1, 2k + 1 ..."""

_LABELS = {
    "critic_loss": "critic",
    "critic_loss_held_out": "held out",
    "generator_loss": "generator",
    "d_real": "D(x)",
    "d_fake": "D(G(z))",
    "wasserstein": "Wasserstein",
    "penalty": "penalty",
}


def article_line(trainer: Trainer, metrics: Metrics) -> str:
    """An interval's line as the recipe's article has it; "" for a recipe without a format of its own."""
    if not trainer.recipe.line:
        return ""
    values = _values(trainer, metrics)
    parts = FORMATS[trainer.recipe.line]
    return "".join(part.format_map(values) for part in parts if values.keys() >= _names(part))


def _names(part: str) -> set[str]:
    """The values that a part of a format needs."""
    return {name for _, name, _, _ in Formatter().parse(part) if name}


def describe(metrics: Metrics) -> str:
    """The metrics in fastgan's words: losses, scores, and the accuracy or the Wasserstein estimate."""
    parts = [f"{label} {metrics[key]:.3f}" for key, label in _LABELS.items() if key in metrics]
    if "accuracy" in metrics:
        parts.append(f"accuracy {metrics['accuracy']:.0%}")
    return "  ".join(parts)


def _values(trainer: Trainer, metrics: Metrics) -> dict[str, Any]:
    """The metrics, and what articles make of them; an epoch is as many steps as the data hold batches.

    `index`, `epoch` and `batch` (of the epoch) count from 0, `step` and `done` (in the epoch) from 1.
    """
    recipe, count = trainer.recipe, trainer.form.count
    batches = max(1, min(recipe.first or count, count) // recipe.batch)
    index = int(metrics["step"]) - 1
    epoch, batch = divmod(index, batches)
    values: dict[str, Any] = {
        **metrics,
        "one_minus_critic_loss": 1 - metrics["critic_loss"],
        "one_minus_generator_loss": 1 - metrics["generator_loss"],
        "index": index,
        "epoch": epoch,
        "epochs": -(-max(recipe.steps, trainer.work.horizon) // batches),
        "batch": batch,
        "done": batch + 1,
        "batches": batches,
    }
    if "steps_per_second" in metrics:
        values["seconds"] = 1 / metrics["steps_per_second"]
    return values
