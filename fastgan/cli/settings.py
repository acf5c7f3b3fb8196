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
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from fastgan import data
from fastgan.cli.options import leaves, nested
from fastgan.errors import UsageError
from fastgan.gan import DEFAULT, RECIPES, Recipe
from fastgan.gan.recipe import from_dict, respelt
from fastgan.gan.source import Source, own_data
from fastgan.random import key_of
from fastgan.version import __version__

RUN: dict[str, type] = {  # what a file may hold beside the recipe's values
    "recipe": str,
    "seed": int,
    "device": str,
    "as_published": bool,
    "threads": int,
    "data": str,
    "data_dir": str,
    "split": str,
    "image_size": int,
    "skip_bad": bool,
}
# of a config.toml, for its reader
WRITTEN: dict[str, type] = {"fastgan": str, "source": str, "own_networks": bool}
# options that no file can stand in for
COMMAND = ("out", "config", "capture", "no_capture", "quiet", "debug")
LISTS: dict[Any, str] = {
    tuple[int, ...]: "a list of whole numbers such as [256, 512]",
    tuple[str, ...]: 'a list of layers such as ["linear 256", "relu"]',
}
PACED = ("log_every", "sample_every")
FRAMES = 10  # pictures that a short run has at least


@dataclass(frozen=True)
class Settings:
    """A run, fully chosen; `paced` names the intervals that were shortened because the run is short."""

    recipe: Recipe
    source: Source
    seed: int
    device: str
    threads: int | None = None
    paced: tuple[str, ...] = ()


def choose(name: str | None, file: Path | None, run: dict[str, Any], flags: dict[str, Any]) -> Settings:
    """The settings for a recipe's name, a TOML file, and the options of run and recipe that were given.

    UsageError for whatever does not fit together.
    """
    held = read(file) if file else {}
    given = {key: value for key, value in run.items() if value is not None}
    chosen = {**{key: held.pop(key) for key in RUN if key in held}, **given}
    complete = "fastgan" in held
    recipe = _base(name, file, chosen, complete=complete)
    published_by_flag = bool(given.get("as_published"))
    if chosen.get("as_published") and not published_by_flag:
        recipe = recipe.as_published()
    values = {key: value for key, value in held.items() if key not in WRITTEN}
    recipe = from_dict(values, recipe)
    if published_by_flag:
        recipe = recipe.as_published()
    options = nested(flags)
    recipe, paced = _pace(from_dict(options, recipe), values.keys() | options.keys())
    source = _source(chosen, recipe)
    if (options | ({} if complete else values)).get("picture_size") and not os.path.isdir(source.spec):
        raise UsageError(
            f"picture_size (--picture-size) is for folders of pictures, and {source.spec} is none"
        )
    key_of(chosen.get("seed", 0))  # says so if the seed is out of range
    return Settings(
        replace(recipe, data=source.spec, split=source.split),
        source,
        seed=chosen.get("seed", 0),
        device=chosen.get("device", "auto"),
        threads=chosen.get("threads"),
        paced=paced,
    )


def read(path: Path) -> dict[str, Any]:
    """A TOML file whose names and types are right; UsageError, which says where, for anything else."""
    if os.path.exists(path) and not path.is_file():  # a pipe would block, a device may never end
        raise UsageError(f"cannot read {path}: not a file; give --config a TOML file")
    try:
        held = respelt(tomllib.loads(path.read_text(encoding="utf-8-sig")))  # with Notepad's mark or without
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give --config a TOML file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not TOML: it is not in UTF-8; save it so") from error
    except (ValueError, RecursionError) as error:  # ValueError: tomllib's own, or int()'s, of 5000 digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    _check(path, held, {**_kinds(), **{(key,): kind for key, kind in (RUN | WRITTEN).items()}})
    if held.get("own_networks"):
        raise UsageError(
            f"{path}: that run had networks of its own, which no file holds; repeat it in Python"
        )
    if (made_by := held.get("fastgan", __version__)) != __version__:
        warnings.warn(
            f"{path} was made by fastgan {made_by}, and this is {__version__}: a value may mean something else",
            stacklevel=2,
        )
    return held


def _kinds() -> dict[tuple[str, ...], Any]:
    return {**dict(leaves(Recipe)), ("published",): str}


def _check(
    path: Path, held: dict[str, Any], kinds: dict[tuple[str, ...], Any], outer: tuple[str, ...] = ()
) -> None:
    """UsageError for a name that is unknown, or a value of another type than its name's."""
    for name, value in held.items():
        here = (*outer, name)
        table = any(known[: len(here)] == here and known != here for known in kinds)
        if table and isinstance(value, dict):
            _check(path, value, kinds, here)
        elif table:
            raise UsageError(
                f"{path}: {name} is {value!r}, wanted a table: [{name}], and its values below it"
            )
        elif here in kinds:
            if not _fits(value, kinds[here]):
                raise UsageError(f"{path}: {'.'.join(here)} is {value!r}, wanted {_wanted(kinds[here])}")
        else:
            raise UsageError(f"{path}: got {'.'.join(here)!r}; {_suggestion(name, kinds)}")


def _fits(value: Any, kind: Any) -> bool:
    if kind in LISTS:
        return isinstance(value, list) and all(type(x) is get_args(kind)[0] for x in value)
    options = get_args(kind) or (kind,)
    if isinstance(value, list):
        return tuple[str, ...] in options and all(isinstance(x, str) for x in value)
    return type(value) in options or (float in options and type(value) is int)


def _wanted(kind: Any) -> str:
    if kind in LISTS:
        return LISTS[kind]
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return " or ".join(words[x] for x in get_args(kind) or (kind,) if x in words)


def _suggestion(name: str, kinds: dict[tuple[str, ...], Any]) -> str:
    """The name most like it, by its last part, as `lr` is optimizer.lr's."""
    if name.replace("-", "_") in COMMAND:
        return f"that is for the command line: --{name.replace('_', '-')}"
    last = {path[-1]: path for path in reversed(kinds)}
    near = get_close_matches(name.lower().replace("-", "_"), last, 1)
    return (
        f"did you mean {'.'.join(last[near[0]])}?"
        if near
        else "see the config.toml of a run for what is known"
    )


def _base(name: str | None, file: Path | None, chosen: dict[str, Any], *, complete: bool) -> Recipe:
    """The recipe to start from."""
    in_file = chosen.get("recipe")
    if name is not None and in_file and name != in_file:
        raise UsageError(f"got recipe {name}, but {file} is for {in_file}; leave one of them out")
    wanted = next((given for given in (name, in_file) if given is not None), DEFAULT)
    if not complete:
        return RECIPES[wanted]
    # a complete file holds every value, and None as nothing; its recipe may be one of your own
    base = RECIPES.get(wanted) or replace(RECIPES[DEFAULT], name=wanted, source="")
    return base.replace(penalty=None, clip=None, generator_lr=None)


def _pace(recipe: Recipe, chosen: set[str]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with intervals that leave a short run at least ten pictures, where none were asked for."""
    most = max(1, recipe.steps // FRAMES)
    paced = tuple(name for name in PACED if name not in chosen and getattr(recipe, name) > most)
    return recipe.replace(**dict.fromkeys(paced, most)), paced


def _source(chosen: dict[str, Any], recipe: Recipe) -> Source:
    """Where the data are; paths become absolute, so that a run can go on from another folder."""
    spec = chosen["data"] if "data" in chosen else own_data(recipe)
    data_dir = chosen.get("data_dir")
    return Source(
        spec if spec in data.names else absolute(spec),
        data_dir=data_dir if data_dir is None else absolute(data_dir),
        split=chosen.get("split", recipe.split),
        image_size=chosen.get("image_size"),
        skip_bad=chosen.get("skip_bad", False),
    )


def absolute(path: str) -> str:
    """The absolute path of what exists; anything else as it is, for the error to show it as it was typed."""
    there = os.path.expanduser(path)
    return str(Path(there).absolute()) if os.path.exists(there) else path
