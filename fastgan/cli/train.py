"""`fastgan train` and `fastgan resume`: everything said and done around the steps of a run."""

import os
import shlex
import sys
import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastgan.cli.options import RecipeCommand, recipe_options
from fastgan.cli.output import say, watched
from fastgan.cli.progress import kernels_compiled, number, shown
from fastgan.cli.settings import PACED, Settings, absolute, choose
from fastgan.cli.signals import stopping
from fastgan.data import Dataset, names
from fastgan.errors import CheckpointError, UsageError
from fastgan.gan import Trainer, files, load
from fastgan.gan.lock import claim
from fastgan.gan.published import PUBLISHED
from fastgan.gan.quality import classes_kept, mode_scores, tally, vote
from fastgan.gan.run import POINTS, SAVE_EVERY, RunDirectory
from fastgan.gan.source import Source
from fastgan.optim import schedule
from fastgan.ranges import MOST

DEVICES = click.Choice(["auto", "cpu", "cuda"])
VOTERS = 1000  # samples of which the classes are counted


THREADS = (
    "Keep this number of CPU threads: bits depend on it.  [what fits, fewer while others have the cores]"
)
CLASSED = "  Where all pictures lie in two or more subfolders, these are their classes (--classes)."
NO_CAPTURE = "On a GPU, launch every step anew, without graphs."


@click.command(cls=RecipeCommand, short_help="Train a recipe; the first thing to try.")
@click.argument("recipe", required=False)
@click.option(
    "--data", metavar="DATA", help=f"{', '.join(names)}; or a folder of pictures, .npy, .npz, IDX.{CLASSED}"
)
@click.option("--data-dir", metavar="DIR", help="Where MNIST and Fashion-MNIST are looked for first.")
@click.option("--split", type=click.Choice(["train", "test"]), help="Which part of the data.")
@click.option("--image-size", type=int, metavar="PIXELS", help="Cut a folder's pictures square, and resize.")
@click.option("--skip-bad", is_flag=True, default=None, help="Leave out pictures that cannot be read.")
@click.option("--seed", type=int, help="Same seed, same run.  [0]")
@click.option("--device", type=DEVICES, help="Where to train.  [auto: CUDA where it can be used]")
@click.option("--out", type=click.Path(path_type=Path), help="A new run directory.  [runs/RECIPE]")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file, such as a run's config.toml.")
@click.option(
    "--as-published", is_flag=True, default=None, help="With the known mistakes of the recipe's source."
)
@click.option("--threads", type=int, metavar="N", help=THREADS)
@click.option("--no-capture", is_flag=True, help=NO_CAPTURE)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def train(
    recipe: str | None,
    data: str | None,
    data_dir: str | None,
    split: str | None,
    image_size: int | None,
    skip_bad: bool | None,
    seed: int | None,
    device: str | None,
    out: Path | None,
    config: Path | None,
    as_published: bool | None,
    threads: int | None,
    no_capture: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Train RECIPE (default: digits); `fastgan recipes` lists them.

    Writes samples, a GIF, losses and checkpoints to a new run directory. What is given here comes before what
    --config has, and that before the recipe's own values.
    """
    run: dict[str, Any] = {
        "data": data,
        "data_dir": data_dir,
        "split": split,
        "image_size": image_size,
        "skip_bad": skip_bad,
        "seed": seed,
        "device": device,
        "as_published": as_published,
        "threads": threads,
    }
    chosen = choose(recipe, config, run, flags)
    if out and os.path.exists(out):  # say so before the data are looked for
        claim(out).release()
    trainer = Trainer(
        chosen.recipe,
        chosen.source,
        device=chosen.device,
        seed=chosen.seed,
        capture=not no_capture,
        threads=chosen.threads,
    )
    place = out or files.make_numbered(Path("runs") / chosen.recipe.name)
    with RunDirectory(place) as directory:
        if not quiet:
            _introduce(trainer, place, chosen)
        return _fit(trainer, directory, chosen.recipe.steps, quiet=quiet)


train.params.extend(recipe_options())


@click.command(short_help="Go on with a run, to the same bits as without a stop.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--steps", type=click.IntRange(1, MOST), metavar="TOTAL", help="Go on to this step.  [the run's own]"
)
@click.option("--device", type=DEVICES, help="Where to train.  [where the run was]")
@click.option("--data", metavar="DATA", help="Where the run's data are now, if they were moved.")
@click.option("--data-dir", metavar="DIR", help="Where MNIST and Fashion-MNIST are looked for first.")
@click.option("--threads", type=int, metavar="N", help=THREADS)
@click.option("--no-capture", is_flag=True, help=NO_CAPTURE)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def resume(
    run: Path,
    steps: int | None,
    device: str | None,
    data: str | None,
    data_dir: str | None,
    threads: int | None,
    no_capture: bool,
    quiet: bool,
) -> int:
    """Go on with RUN, a run directory, from its newest sound checkpoint, to the same bits as without a stop."""
    if not os.path.isdir(run):  # Path.is_dir raises for a name that is too long
        problem = f"{run} is no folder" if os.path.exists(run) else f"no checkpoint at {str(run)!r}"
        raise CheckpointError(f"{problem}: wanted a run directory such as runs/digits")
    with RunDirectory(run, go_on=True) as directory:
        threads = _before(run, "threads") if threads is None else threads
        trainer = load(run, device=device or str(_before(run, "device", "auto")), threads=threads)
        trainer.capture = not no_capture
        goal = steps or trainer.work.horizon
        if data is not None or data_dir is not None:  # compared with what the run began with
            old = trainer.form.source or Source(trainer.recipe.data)
            place = old.data_dir if data_dir is None else absolute(data_dir)
            moved = replace(old, spec=old.spec if data is None else absolute(data), data_dir=place)
            trainer.form = replace(trainer.form, source=moved)
        if goal <= trainer.steps_done:
            return _complete(trainer, directory, goal)
        if not quiet:
            _introduce(trainer, run)
            if rates := _rates(trainer, goal):
                print(rates)
        return _fit(trainer, directory, goal, quiet=quiet)


def _complete(trainer: Trainer, directory: RunDirectory, goal: int) -> int:
    """Draw what a kill left out at the end of a run; UsageError where nothing is missing."""
    path, step = directory.path, trainer.steps_done
    more = f"give --steps above {step} to go on"
    if directory.complete(step):
        raise UsageError(f"{path} is at step {step} of {goal}; {more}")
    if not directory.picture_of(step).exists():
        trainer.batches.prepare(step, step)  # a scatter shows them
    directory.fit(trainer, 0)
    print(f"{path} is complete, with the pictures of its end that were missing; {more}")
    return 0


def _before(run: Path, name: str, default: Any = None) -> Any:
    """What config.toml says under a name, as only so a run goes on to the same bits; else the default."""
    path = run / "config.toml"
    with suppress(OSError, ValueError):  # not text, or not TOML
        return (
            tomllib.loads(path.read_text(encoding="utf-8")).get(name, default) if path.is_file() else default
        )
    return default


def _introduce(trainer: Trainer, place: Path, chosen: Settings | None = None) -> None:
    """What is going to run, on what, where."""
    recipe, form = trainer.recipe, trainer.form
    size = "x".join(map(str, form.shape))
    what = f"images of {size}" if len(form.shape) == 3 else f"points of {size} numbers"
    arrays = "NumPy, Numba kernels" if trainer.device == "cpu" else "CuPy"
    print(f"recipe  {recipe.name}: {recipe.source}")
    if chosen and recipe.published:
        print(f"        as published: {PUBLISHED[recipe.published].note}")
    data = trainer.dataset
    classes = f" in {data.classes_text()}" if data and data.labels is not None and data.is_images else ""
    print(f"data    {form.name}: {form.count:,} {what}{classes}")
    print(f"device  {trainer.device} ({arrays})")
    print(f"out     {place}")
    at = f"from step {trainer.steps_done:,}, " if trainer.steps_done else ""
    every = f"a picture every {recipe.sample_every:,}, a checkpoint every {recipe.checkpoint_every:,}"
    every += f" or {SAVE_EVERY / 60:.0f} min"
    print(f"steps   {at}batches of {recipe.batch}; {every}")
    if chosen and chosen.paced:
        values = ", ".join(f"{name} {getattr(recipe, name)}" for name in PACED if name in chosen.paced)
        print(f"        the run is short, so {values} (set them with --log-every, --sample-every)")
    if trainer.device == "cpu" and not kernels_compiled():
        print("        the first step compiles the kernels: a few seconds, the first time only")


def _rates(trainer: Trainer, goal: int) -> str:
    """A line on the learning rates where steps beyond the end of a schedule move that; else nothing."""
    text, step = trainer.recipe.optimizer.schedule, trainer.steps_done
    if text == "constant" or goal <= trainer.work.horizon:
        return ""
    first, last = (number(schedule(text, at, goal)) for at in (step, goal))
    return f"rates   schedule {text}, which ends at step {goal:,} now: times {first} at step {step:,}, {last} there"


def _fit(trainer: Trainer, directory: RunDirectory, goal: int, *, quiet: bool) -> int:
    """Train up to step `goal` and say what came of it; the exit code."""
    steps = None if goal == trainer.work.horizon else goal - trainer.steps_done
    with stopping(trainer) as stop, watched(stop.output_failed), shown(goal, quiet=quiet) as callbacks:
        directory.fit(trainer, steps, callbacks)
    finished = trainer.steps_done >= goal
    with watched(stop.output_failed):
        if not quiet:
            _conclude(trainer, directory, finished=finished)
        sys.stdout.flush()
    if stop.unheard and not finished:
        say(f"fastgan: cannot write the output ({stop.unheard}); {_stopped(trainer, directory)}")
    return 0 if finished and not stop.unheard else stop.exit_code


def _conclude(trainer: Trainer, directory: RunDirectory, *, finished: bool) -> None:
    """What the generator covers, where the pictures are, and what to type next."""
    path = directory.path
    if finished:  # whoever stops a run does not want to wait
        for line in verdict(trainer):
            print(line)
    print(f"pictures  {directory.picture_of(trainer.steps_done)}  the last samples")
    print(f"          {path / 'training.gif'}  how they came to be")
    print(f"          {path / 'losses.png'}")
    if not finished:
        print(_stopped(trainer, directory))
        return
    more = f" --steps {2 * trainer.steps_done}" if trainer.steps_done >= trainer.work.horizon else ""
    print(f"next      fastgan sample {shlex.quote(str(path))} --seed 42")
    print(f"          fastgan resume {shlex.quote(str(path))}{more}")


def _stopped(trainer: Trainer, directory: RunDirectory) -> str:
    """Where a run stopped, and what to type to go on."""
    return (
        f"stopped at step {trainer.steps_done}; go on with: fastgan resume {shlex.quote(str(directory.path))}"
    )


def verdict(trainer: Trainer) -> list[str]:
    """Lines on what the generator covers of labelled images or of a mixture; none for other data."""
    data = trainer.dataset
    if data is None:
        return []
    if data.modes is not None and data.mode_std is not None:
        scores = mode_scores(trainer.sample(POINTS), data.modes, data.mode_std)
        good = f"{scores.share:.1%} of {POINTS:,} points within 3 standard deviations of one"
        found = f"modes found: {scores.kept} of {len(data.modes)}"
        return [f"{found}, {good}, reverse KL {scores.reverse_kl:.3f}"]
    return _classes(trainer, data) if data.labels is not None and data.is_images else []


def _classes(trainer: Trainer, data: Dataset) -> list[str]:
    k = trainer.recipe.classes
    asked = np.arange(VOTERS) % k if k else None
    voted = vote(trainer.sample(VOTERS, label=asked), data)
    votes = tally(voted, data)
    how = f"nearest-neighbour vote over {VOTERS} samples"
    lines = [f"classes drawn: {classes_kept(votes, VOTERS)} of {len(votes)} ({how})"]
    if k:
        lines.append(
            f"labels heeded: {(voted == asked).sum()} of {VOTERS} samples are voted the class asked for"
        )
    return lines
