"""The options that choose a recipe's values, made from the Recipe itself: a new field is an option at once.

`optimizer.beta1` is --optimizer-beta1; lists are given as 256,512. Each option's help ends with the value that the
recipe has.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import click

from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.conditional import CRITIC_JOINS, GENERATOR_JOINS
from fastgan.gan.objectives import OBJECTIVES
from fastgan.gan.recipe import KINDS, NOISE, SAMPLING
from fastgan.nn import INITIALIZERS
from fastgan.nn.mlp import ACTIVATIONS
from fastgan.nn.text import NAMES

SHOWN = "fastgan.recipe"  # key of the recipe whose values the help shows
LEFT_OUT = (
    "name",
    "source",
    "data",
    "split",
    "note",
    "published",
)  # no options, or not a recipe's alone
SHORT = {"optimizer.lr": "--lr"}
GROUPS = {"generator": "Generator", "critic": "Critic", "optimizer": "Optimizer (of both networks)"}

HELP = {
    "points": "learn points (n, d) rather than images",
    "low": "what black becomes",
    "high": "what white becomes",
    "picture_size": "what a folder's pictures are cut square and resized to without --image-size; 0: as they are",
    "border": "black pixels added on each side of an image",
    "first": "use only the first so many samples; 0: all",
    "objective": "the losses",
    "penalty": "weight of the gradient penalty, instead of the objective's own",
    "clip": "keep the critic's weights within this, instead of the objective's own",
    "latent": "numbers that the generator starts from",
    "noise": "how latents are distributed",
    "batch": "samples per update",
    "steps": "steps of the whole run; a step is one generator update (--generator-steps) with its critic updates",
    "critic_steps": "critic updates per step",
    "warmup_critic_steps": "critic updates in a warm-up step; 0: there are no such steps",
    "warmup_steps": "the first so many steps are warm-up steps",
    "warmup_every": "and so is every step whose number this divides",
    "generator_steps": "generator updates per step, on the same latents",
    "shared_latents": "those of the step's last critic update too",
    "sampling": "how batches are chosen: at random, in shuffled epochs, or in order",
    "split_updates": "one critic update for real samples and one for fake ones",
    "halved_loss": "log half the critic's loss, the mean for real and fake samples; updates stay as they are",
    "inference_fakes": "make the critic's fakes in inference mode",
    "simultaneous": "take both networks' gradients before either is updated",
    "generator_lr": "a learning rate of its own for the generator",
    "classes": "classes of labelled data that the networks are told of; 0: they are not",
    "label_features": "numbers that a label is embedded in",
    "generator_labels": "how the generator is told: beside the latents, or multiplied with them",
    "critic_labels": "how the critic is told: at its last layer, or as one more channel",
    "ema": "decay of the generator's average that samples are drawn from; 0: none",
    "held_out": "also log the critic's loss on samples after the first so many",
    "line": "what a line of the log is like: a format such as '{step} {critic_loss:.4}', or a recipe whose line to use",
    "log_first": "lines of the log after the steps 1, k + 1, 2k + 1 ...",
    "log_every": "steps between lines of the log",
    "sample_every": "steps between sample pictures",
    "checkpoint_every": "steps between checkpoints",
    "bias": "biases in layers that do not say themselves",
    "layers": f"layers as text, separated by semicolons: {', '.join(NAMES)}",
    "hidden": "widths of the hidden layers",
    "activation": f"one for all hidden layers, or one each: {', '.join(ACTIVATIONS)}",
    "slope": "slope of leaky_relu below 0",
    "output": "activation of the last layer",
    "init": f"first weights: {', '.join(INITIALIZERS)}",
    "init_scale": "factor on the first weights",
    "batch_norm": "share by which running statistics move per batch; 0: no batch norm",
    "norm_first": "batch norm before the activation",
    "norm_eps": "batch norm's epsilon",
    "norm_correction": "the running variance moves to the batch's times n / (n - this); 1: unbiased",
    "hidden_bias": "biases in hidden layers",
    "pieces": "linear maps per maxout unit",
    "dropout": "share of hidden values set to 0",
    "kind": "the update rule",
    "lr": "learning rate",
    "beta1": "Adam: share of the old mean that stays",
    "beta2": "Adam: share of the old mean square that stays",
    "eps": "epsilon under the root",
    "alpha": "RMSProp: share of the old mean square that stays",
    "momentum": "SGD: momentum",
    "weight_decay": "AdamW: decoupled weight decay",
    "max_norm": "clip the gradient's norm; 0: no clipping",
    "schedule": "factor on the rate: constant, linear[:END], exponential:RATE or drop:FACTOR@STEP,STEP",
}
CHOICES: dict[str, tuple[str, ...]] = {
    "objective": tuple(OBJECTIVES),
    "noise": NOISE,
    "sampling": SAMPLING,
    "generator_labels": GENERATOR_JOINS,
    "critic_labels": CRITIC_JOINS,
    "output": tuple(name for name in ACTIVATIONS if name != "maxout"),
    "init": tuple(INITIALIZERS),
    "kind": KINDS,
}


class Widths(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """256,512 as (256, 512)."""

    name = "N,N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The widths; a usage error for anything but whole numbers of at least 1."""
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdecimal() and len(part) < 100 and int(part) > 0 for part in parts):
            self.fail(f"got {value!r}, wanted widths such as 256 or 256,512", param, ctx)
        return tuple(map(int, parts))


class Names(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """One name, or one for each layer: relu,tanh."""

    name = "NAME[,NAME]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | tuple[str, ...]:
        """The name or names; a usage error for one that is unknown."""
        names = tuple(part.strip() for part in str(value).split(","))
        for name in names:
            if name not in ACTIVATIONS:
                self.fail(f"got {name!r}, wanted {', '.join(ACTIVATIONS)}", param, ctx)
        return names[0] if len(names) == 1 else names


class Layers(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """linear 256; relu; linear o as ("linear 256", "relu", "linear o")."""

    name = "LAYER;LAYER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The lines; what they say is checked when the network is built."""
        return tuple(" ".join(line.split()) for line in str(value).split(";") if line.strip())


class Line(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A format for the log's lines, or the name of a recipe that has one."""

    name = "FORMAT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The format, which the recipe checks; a usage error for another name."""
        if value and value not in RECIPES and "{" not in value:
            self.fail(
                f"got {value!r}, wanted a recipe's name, or text with numbers such as {{step}}", param, ctx
            )
        return RECIPES[value].line if value in RECIPES else str(value)


class RecipeOption(click.Option):
    """An option for one value of the recipe; `path` is its field names, `group` its heading in the help."""

    def __init__(self, path: tuple[str, ...], annotation: Any) -> None:
        self.path, self.group = path, GROUPS.get(path[0], "Training")
        flag = "--" + "-".join(path).replace("_", "-")
        flags = f"{flag}/--no-{flag[2:]}" if annotation is bool else flag
        short = SHORT.get(".".join(path))
        super().__init__(
            [*([short] if short else []), flags, parameter(path)],
            type=None if annotation is bool else _type(path[-1], annotation),
            default=None,
            metavar="NAME" if path[-1] in ("init", "output") else None,
            help=HELP[path[-1]],
        )

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help, ending with the recipe's value."""
        record = super().get_help_record(ctx)
        recipe = ctx.meta.get(SHOWN, RECIPES[DEFAULT])
        shown = _shown(value_at(recipe, self.path))
        return record and (record[0], f"{record[1]}  [{recipe.name}: {shown}]")


class RecipeCommand(click.Command):
    """A command with an argument RECIPE, whose help shows that recipe's values in groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As usual; the recipe is looked for first, since --help ends the parsing."""
        ctx.meta[SHOWN] = RECIPES[next((arg for arg in args if arg in RECIPES), DEFAULT)]
        args = [
            arg.replace("--optimiser-", "--optimizer-", 1) for arg in args
        ]  # as it was spelt until version 0.1
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings."""
        groups: dict[str, list[tuple[str, str]]] = {
            "Run": [],
            "Training": [],
        }  # in this order, the others as they come
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record:
                groups.setdefault(getattr(param, "group", "Run"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def recipe_options() -> list[click.Parameter]:
    """One option per value of a Recipe."""
    return [RecipeOption(path, annotation) for path, annotation in leaves(Recipe)]


def leaves(kind: type, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(field names, type) of every value in a dataclass and the dataclasses inside, but those left out."""
    seen = set()
    for field in fields(kind):
        if not prefix and field.name in LEFT_OUT:
            continue
        inner = [x for x in (field.type, *get_args(field.type)) if isinstance(x, type) and is_dataclass(x)]
        for part in inner:  # a network may be of one kind or another
            for path, annotation in leaves(part, (*prefix, field.name)):
                if path not in seen:
                    seen.add(path)
                    yield path, annotation
        if not inner:
            yield (*prefix, field.name), field.type


def parameter(path: tuple[str, ...]) -> str:
    """The name under which click hands an option's value over."""
    return "__".join(path)


def nested(flags: dict[str, Any]) -> dict[str, Any]:
    """Values by `parameter` as the nested dict that from_dict takes; those that were not given are left out."""
    out: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            *outer, last = name.split("__")
            place = out
            for part in outer:
                place = place.setdefault(part, {})
            place[last] = value
    return out


def value_at(recipe: Recipe, path: tuple[str, ...]) -> Any:
    """The value that a recipe has at a path; None where its network has no such field."""
    value: Any = recipe
    for name in path:
        value = getattr(value, name, None)
    return value


def _type(name: str, annotation: Any) -> Any:
    if name in CHOICES:
        return click.Choice(CHOICES[name])
    kinds = get_args(annotation) or (annotation,)
    if annotation == tuple[int, ...]:
        return Widths()
    if annotation == tuple[str, ...]:
        return Layers()
    if name == "line":
        return Line()
    if str in kinds:
        return Names() if len(kinds) > 1 else click.STRING
    return click.FLOAT if float in kinds else click.INT


def _shown(value: Any) -> str:
    if value is None:
        return "none of its own"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ("; " if any(" " in str(part) for part in value) else ",").join(map(str, value))
    return f"{value}"
