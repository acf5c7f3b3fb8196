"""What a training run is to be: the recipe's values, then a TOML file's, then the command line's.

A run's config.toml is such a file, and a complete one. A file of your own may hold any part of it:

    recipe = "keras-mlp"
    steps = 5000
    [optimizer]
    lr = 1e-4
"""

import os
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fastgan import data
from fastgan.cli.options import nested
from fastgan.errors import UsageError
from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.old import respelt
from fastgan.gan.recipe import from_dict, leaves, suggestion
from fastgan.gan.source import Source, absolute, own_data
from fastgan.gan.values import fitting
from fastgan.random import key_of
from fastgan.version import __version__

RUN = {  # what a file may hold beside the recipe's values
    **dict.fromkeys(("recipe", "device", "data", "data_dir", "split"), str),
    **dict.fromkeys(("seed", "threads", "image_size"), int),
    **dict.fromkeys(("as_published", "skip_bad"), bool),
}
WRITTEN = {"fastgan": str, "source": str, "own_networks": bool}  # in a config.toml, for its reader
COMMAND = ("out", "config", "no_capture", "quiet", "debug")  # options that no file can stand in for
PACED = ("log_every", "sample_every")
FRAMES = 10  # pictures that a short run has at least


class Settings(NamedTuple):
    """A run, fully chosen; `paced` names the intervals that were shortened because the run is short."""

    recipe: Recipe
    source: Source
    machine: dict[str, Any]  # seed, device and threads, as Trainer takes them
    paced: tuple[str, ...]


def choose(name: str | None, file: Path | None, options: dict[str, Any]) -> Settings:
    """The settings for a recipe's name, a TOML file, and the options; None is one that was not given.

    UsageError for whatever does not fit together.
    """
    held = read(file) if file else {}
    given = {key: value for key, value in options.items() if value is not None}
    flags = nested({key: given.pop(key) for key in given.keys() - RUN})
    values = {key: value for key, value in held.items() if key not in RUN | WRITTEN}
    run = {key: value for key, value in held.items() if key in RUN} | given
    complete = "fastgan" in held
    recipe = _base(name, file, run.get("recipe"), complete=complete)
    if run.get("as_published") and not given.get("as_published"):
        recipe = recipe.as_published()
    recipe = from_dict(values, recipe, where=str(file))
    if given.get("as_published"):
        recipe = recipe.as_published()
    recipe = from_dict(flags, recipe)
    # intervals that leave a short run at least ten pictures, where none were asked for
    most = max(1, recipe.steps // FRAMES)
    told = values.keys() | flags.keys()
    paced = tuple(name for name in PACED if name not in told and getattr(recipe, name) > most)
    source = _source(run, recipe)
    if (flags | ({} if complete else values)).get("picture_size") and not os.path.isdir(source.spec):
        raise UsageError(f"picture_size (--picture-size) is for folders of pictures; {source.spec} is none")
    machine: dict[str, Any] = {"seed": 0, "device": "auto"}
    machine |= {name: run[name] for name in ("seed", "device", "threads") if name in run}
    key_of(machine["seed"])  # says so if the seed is out of range
    recipe = recipe.replace(data=source.spec, split=source.split, **dict.fromkeys(paced, most))
    return Settings(recipe, source, machine, paced)


def read(path: Path) -> dict[str, Any]:
    """A TOML file whose names are right, and of what is not the recipe's the types; UsageError for anything else."""
    try:
        if os.path.exists(path) and not path.is_file():  # a pipe would block, a device may never end
            raise OSError("not a file")
        held = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # with Notepad's mark or without
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot read {path}: {reason}; give --config a TOML file") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, not UTF-8, or int()'s, of 5000 digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    held, known = respelt(held), {"published", *(names[0] for names, _ in leaves())}
    for name, value in held.items():
        if kind := (RUN | WRITTEN).get(name):
            fitting(kind, value, f"{path}: {name}")
        elif name.replace("-", "_") in COMMAND:
            option = name.replace("_", "-")
            raise UsageError(f"{path}: got {name!r}; that is for the command line: --{option}")
        elif name not in known:
            raise UsageError(f"{path}: got {name!r}; {suggestion(name, RUN)}")
    if held.get("own_networks"):
        raise UsageError(f"{path}: that run had networks of its own, in no file; repeat it in Python")
    if (by := held.get("fastgan", __version__)) != __version__:
        text = f"{path} was made by fastgan {by}, and this is {__version__}: a value may mean something else"
        warnings.warn(text, stacklevel=2)
    return held


def _base(name: str | None, file: Path | None, in_file: str | None, *, complete: bool) -> Recipe:
    """The recipe to start from."""
    if name is not None and in_file and name != in_file:
        raise UsageError(f"got recipe {name}, but {file} is for {in_file}; leave one of them out")
    wanted = next((given for given in (name, in_file) if given is not None), DEFAULT)
    if not complete:
        return RECIPES[wanted]
    # a complete file holds every value, and None as nothing; its recipe may be one of your own
    base = RECIPES.get(wanted) or replace(RECIPES[DEFAULT], name=wanted, source="")
    return base.replace(penalty=None, clip=None, generator_lr=None)


def _source(run: dict[str, Any], recipe: Recipe) -> Source:
    """Where the data are."""
    spec = run["data"] if "data" in run else own_data(recipe)
    return Source(
        spec if spec in data.names else absolute(spec),
        data_dir=absolute(run["data_dir"]) if "data_dir" in run else None,
        split=run.get("split", recipe.split),
        image_size=run.get("image_size"),
        skip_bad=run.get("skip_bad", False),
    )
