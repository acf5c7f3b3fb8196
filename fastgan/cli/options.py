"""The options that choose a recipe's values, made from the Recipe itself: a new field is an option at once.

`optimizer.beta1` is --optimizer-beta1; layers are given as "linear 256; relu". Each option's help ends with the value
that the recipe has.
"""

from dataclasses import Field
from functools import reduce
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import click

from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.objectives import OBJECTIVES
from fastgan.gan.recipe import NAMED, leaves
from fastgan.nn import INITIALIZERS
from fastgan.nn.text import LAYERS
from fastgan.optim import OPTIMIZERS

PATH = click.Path(path_type=Path)
SHOWN = "fastgan.recipe"  # key of the recipe whose values the help shows
GROUPS = {"generator": "Generator", "critic": "Critic", "optimizer": "Optimizer (of both networks)"}
NETWORK = {  # help; that of the other values stands beside them in gan/recipe.py
    "layers": f"layers as text, separated by semicolons: {', '.join(LAYERS)}",
    "init": f"first weights: {', '.join(INITIALIZERS)}",
    "init_scale": "factor on the first weights",
    "batch_norm": "share by which running statistics move per batch",
    "norm_eps": "epsilon of batch norm and the other norms",
    "norm_correction": "the running variance moves to the batch's times n / (n - this); 1: unbiased",
    "bias": "biases in layers that do not say themselves",
}
CHOICES = NAMED | {"objective": (*OBJECTIVES,), "init": (*INITIALIZERS,), "kind": (*OPTIMIZERS,)}


def layers(text: str) -> tuple[str, ...]:
    """linear 256; relu; linear o as ("linear 256", "relu", "linear o")."""
    return tuple(" ".join(line.split()) for line in text.split(";") if line.strip())


def line(text: str) -> str:
    """A format for the log's lines, which the recipe checks, or that of the recipe named; a usage error otherwise."""
    if text in RECIPES:
        return RECIPES[text].line
    if text and "{" not in text:
        raise click.BadParameter(f"got {text!r}, wanted a recipe's name, or text with such as {{step}} in it")
    return text


OWN_TYPES = {"layers": (layers, "LAYER;LAYER"), "line": (line, "FORMAT")}  # and what the help calls them


class RecipeOption(click.Option):
    """An option for one value of the recipe, whose help ends with that value, under the heading `group`."""

    def __init__(self, path: tuple[str, ...], field: "Field[Any]") -> None:
        self.path, self.group, name = path, GROUPS.get(path[0], "Training"), path[-1]
        kind: Any = get_args(field.type)[0] if isinstance(field.type, UnionType) else field.type
        convert, metavar = OWN_TYPES.get(name, (kind, None))
        if name in CHOICES:
            convert, metavar = click.Choice(CHOICES[name]), "NAME" if name in NETWORK else None
        flag = "--" + "-".join(path).replace("_", "-")
        flags = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, "__".join(path)]
        short = ["--lr"] if flag == "--optimizer-lr" else []
        help_ = field.metadata.get("help") or NETWORK[name]
        super().__init__([*short, *flags], type=convert, default=None, metavar=metavar, help=help_)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help, and the recipe's value."""
        record, recipe = super().get_help_record(ctx), ctx.meta.get(SHOWN, RECIPES[DEFAULT])
        value = value_at(recipe, self.path)
        text = "; ".join(value) if isinstance(value, tuple) else "none" if value is None else value
        return record and (record[0], f"{record[1]}  [{recipe.name}: {text}]")


class RecipeCommand(click.Command):
    """A command with an argument RECIPE, and options for its values; the help shows them in groups."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += [RecipeOption(path, field) for path, field in leaves()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As usual; the recipe is looked for first, since --help ends the parsing."""
        ctx.meta[SHOWN] = RECIPES[next((arg for arg in args if arg in RECIPES), DEFAULT)]
        # as it was spelt until version 0.1
        return super().parse_args(ctx, [arg.replace("--optimiser-", "--optimizer-", 1) for arg in args])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings."""
        groups: dict[str, list[tuple[str, str]]] = {"Run": [], "Training": []}  # the others as they come
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                groups.setdefault(getattr(param, "group", "Run"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def nested(flags: dict[str, Any]) -> dict[str, Any]:
    """Options as click hands them over, such as optimizer__lr, as the nested dict that from_dict takes."""
    out: dict[str, Any] = {}
    for name, value in flags.items():
        outer, _, last = name.rpartition("__")
        (out.setdefault(outer, {}) if outer else out)[last] = value
    return out


def value_at(recipe: Recipe, path: tuple[str, ...]) -> Any:
    """The value that a recipe has at a path."""
    return reduce(getattr, path, recipe)
