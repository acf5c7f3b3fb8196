"""How a Trainer is made from a checkpoint, or only what draws from its generator; state.py says what that holds."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastgan.device import resolve_device, to_device
from fastgan.errors import CheckpointError
from fastgan.gan import checkpoint, state
from fastgan.gan.networks import build_generator
from fastgan.gan.objectives import Objective
from fastgan.gan.recipe import Recipe, from_dict
from fastgan.gan.recipes import RECIPES
from fastgan.gan.sampling import Sampler
from fastgan.gan.source import Form, absolute, find
from fastgan.gan.trainer import Trainer
from fastgan.nn import Module, flatten


def load(
    path: str | Path,
    data: Any = None,
    *,
    device: str = "auto",
    generator: Module | None = None,
    critic: Module | None = None,
    objective: Objective | None = None,
    threads: int | None = None,
) -> Trainer:
    """A Trainer from a checkpoint file, or from the newest sound one of a run directory.

    It can sample at once. To train on it needs the run's data, which are looked for when the first step is made, or
    `data` where they were an array. A run with networks of your own needs those again, untrained. `threads` as for a
    Trainer. CheckpointError for anything else.
    """
    given: dict[str, Any] = {"generator": generator, "critic": critic, "objective": objective}
    with _opened(path, given) as (recipe, form, values, meta):
        if isinstance(data, str | Path) and form.source:
            data = replace(form.source, spec=absolute(data))
        if data is not None:
            data, found = find(data, recipe)
            form.check(data)
            form = replace(form, source=found.source)
        trainer = Trainer(recipe, form, device=device, seed=meta["seed"], threads=threads, **given)
        trainer.dataset = data
        state.fill(trainer, values, meta)
        return trainer


def load_sampler(path: str | Path, *, device: str = "auto") -> Sampler:
    """What draws from the generator of a checkpoint file, or of the newest sound one of a run directory.

    Without a critic, an optimizer or data, so it is the cheaper way to samples. CheckpointError as for `load`.
    """
    device = resolve_device(device)
    with _opened(path, {"critic": True, "objective": True}) as (recipe, form, values, meta):
        generator = build_generator(recipe, form.shape, meta["seed"])
        generator.load(state.part(values, "generator"))
        flat = flatten(generator, device)
        if recipe.ema:
            flat.buffer[...] = to_device(values["generator_average"], device)
        run = {"seed": meta["seed"], "steps_done": meta["steps_done"]}
        return Sampler(recipe, form, generator, device=device, **run)


@contextmanager
def _opened(
    path: str | Path, given: dict[str, Any]
) -> Iterator[tuple[Recipe, Form, dict[str, Any], dict[str, Any]]]:
    """A checkpoint's recipe, data's form, arrays and description; `given` are the networks of the user's own.

    CheckpointError, also for what is found to be missing in the block.
    """
    path = Path(path)
    if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        path = checkpoint.newest(path)
    values, meta = checkpoint.load(path)
    try:
        if missing := [name for name in meta["own_networks"] if given.get(name) is None]:
            raise CheckpointError(f"{path}: the run had a {missing[0]} of its own; pass it to load() again")
        base = RECIPES.get(meta["recipe"]["name"], next(iter(RECIPES.values())))
        blank = base.replace(penalty=None, clip=None, generator_lr=None)  # None is written as nothing
        recipe = from_dict(meta["recipe"], blank)
        yield recipe, Form.from_dict(meta["data"]).with_image_size(recipe.border), values, meta
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{path}: lacks {error}; it was not written by fastgan train") from error
