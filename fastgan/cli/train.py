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

from fastgan.cli.options import PATH, RecipeCommand
from fastgan.cli.progress import number, shown
from fastgan.cli.settings import PACED, Settings, choose
from fastgan.cli.signals import say, stopping, watched
from fastgan.data import names
from fastgan.errors import CheckpointError, UsageError
from fastgan.gan import Trainer, files, load
from fastgan.gan.lock import claim
from fastgan.gan.published import of
from fastgan.gan.quality import classes_kept, mode_scores, tally, vote
from fastgan.gan.run import POINTS, SAVE_EVERY, RunDirectory
from fastgan.gan.source import Source, absolute
from fastgan.kernels import cache_folder
from fastgan.optim import schedule
from fastgan.ranges import MOST

DEVICES = click.Choice(["auto", "cpu", "cuda"])
STEPS = click.IntRange(1, MOST)
VOTERS = 1000  # samples of which the classes are counted

DATA = f"{', '.join(names)}; or a folder of pictures (subfolders: --classes), .npy, .npz, IDX."
SIZE = "Cut a folder's pictures square, and resize; or what a file's rows are."
DATA_DIR = click.option("--data-dir", metavar="DIR", help="Where MNIST and Fashion-MNIST are looked for.")
KEEP = "Keep this number of CPU threads: bits depend on it.  [what fits, fewer while others have the cores]"
THREADS = click.option("--threads", type=int, metavar="N", help=KEEP)
CAPTURE = click.option("--no-capture", is_flag=True, help="On a GPU, launch every step anew, without graphs.")
QUIET = click.option("--quiet", is_flag=True, help="Say nothing but errors.")


@click.command(cls=RecipeCommand, short_help="Train a recipe; the first thing to try.")
@click.argument("recipe", required=False)
@click.option("--data", metavar="DATA", help=DATA)
@DATA_DIR
@click.option("--split", type=click.Choice(["train", "test"]), help="Which part of the data.")
@click.option("--image-size", type=int, metavar="PIXELS", help=SIZE)
@click.option("--skip-bad", is_flag=True, default=None, help="Leave out pictures that cannot be read.")
@click.option("--seed", type=int, help="Same seed, same run.  [0]")
@click.option("--device", type=DEVICES, help="Where to train.  [auto: CUDA where it can be used]")
@click.option("--out", type=PATH, help="A new run directory.  [runs/RECIPE]")
@click.option("--config", type=PATH, help="A TOML file, such as a run's config.toml.")
@click.option("--as-published", is_flag=True, default=None, help="With the known mistakes of the source.")
@THREADS
@CAPTURE
@QUIET
def train(recipe: str | None, out: Path | None, config: Path | None, *, quiet: bool, **given: Any) -> int:
    """Train RECIPE (default: digits); `fastgan recipes` lists them.

    Writes samples, a GIF, losses and checkpoints to a new run directory. What is given here comes before what
    --config has, and that before the recipe's own values.
    """
    capture = not given.pop("no_capture")
    chosen = choose(recipe, config, given)
    if out and os.path.exists(out):  # say so before the data are looked for
        claim(out).release()
    trainer = Trainer(chosen.recipe, chosen.source, capture=capture, **chosen.machine)
    place = out or files.make_numbered(Path("runs") / chosen.recipe.name)
    with RunDirectory(place) as directory:
        if not quiet:
            _introduce(trainer, place, chosen)
        return _fit(trainer, directory, chosen.recipe.steps, quiet=quiet)


@click.command(short_help="Go on with a run, to the same bits as without a stop.")
@click.argument("run", type=PATH)
@click.option("--steps", type=STEPS, metavar="TOTAL", help="Go on to this step.  [the run's own]")
@click.option("--device", type=DEVICES, help="Where to train.  [where the run was]")
@click.option("--data", metavar="DATA", help="Where the run's data are now, if they were moved.")
@DATA_DIR
@THREADS
@CAPTURE
@QUIET
def resume(run: Path, steps: int | None, *, no_capture: bool, quiet: bool, **given: Any) -> int:
    """Go on with RUN, a run directory, from its newest sound checkpoint, to the same bits as without a stop."""
    if not os.path.isdir(run):  # Path.is_dir raises for a name that is too long
        problem = f"{run} is no folder" if os.path.exists(run) else f"no checkpoint at {str(run)!r}"
        raise CheckpointError(f"{problem}: wanted a run directory such as runs/digits")
    with RunDirectory(run, go_on=True) as directory:
        given = {key: value for key, value in given.items() if value is not None}
        on = {"device": "auto"} | _config(run) | given
        trainer = load(run, device=str(on["device"]), threads=on.get("threads"))
        trainer.capture = not no_capture
        # moved data are compared with what the run began with, when first needed
        fields = {"data": "spec", "data_dir": "data_dir"}
        moved: dict[str, Any] = {fields[key]: absolute(given[key]) for key in fields.keys() & given.keys()}
        if moved:
            source = trainer.form.source or Source(trainer.recipe.data)
            trainer.form = replace(trainer.form, source=replace(source, **moved))
        goal = steps or trainer.work.horizon
        if goal <= trainer.steps_done:
            return _complete(trainer, directory, goal)
        if not quiet:
            _introduce(trainer, run)
            text, step = trainer.recipe.optimizer.schedule, trainer.steps_done
            if text != "constant" and goal > trainer.work.horizon:
                first, last = (number(schedule(text, at, goal)) for at in (step, goal))
                ends = f"schedule {text}, which ends at step {goal:,} now"
                print(f"rates   {ends}: times {first} at step {step:,}, {last} there")
        return _fit(trainer, directory, goal, quiet=quiet)


def _config(run: Path) -> dict[str, Any]:
    """A run's config.toml, whose device and threads give the same bits; nothing where it cannot be read."""
    path = run / "config.toml"
    with suppress(OSError, ValueError, RecursionError):  # not text, or not TOML
        if path.is_file():  # a pipe would block
            return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}


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


def _introduce(trainer: Trainer, place: Path, chosen: Settings | None = None) -> None:
    """What is going to run, on what, where."""
    recipe, form, data = trainer.recipe, trainer.form, trainer.dataset
    size = "x".join(map(str, form.shape))
    what = f"images of {size}" if len(form.shape) == 3 else f"points of {size} numbers"
    classes = f" in {data.classes_text()}" if data and data.labels is not None and data.is_images else ""
    at = f"from step {trainer.steps_done:,}, " if trainer.steps_done else ""
    every = f"a picture every {recipe.sample_every:,}, a checkpoint every {recipe.checkpoint_every:,}"
    print(f"recipe  {recipe.name}: {recipe.source}")
    if chosen and recipe.published:
        print(f"        as published: {of(recipe.published).note}")
    print(f"data    {form.name}: {form.count:,} {what}{classes}")
    print(f"device  {trainer.device} ({'NumPy, Numba kernels' if trainer.device == 'cpu' else 'CuPy'})")
    print(f"out     {place}")
    print(f"steps   {at}batches of {recipe.batch}; {every} or {SAVE_EVERY / 60:.0f} min")
    if chosen and chosen.paced:
        values = ", ".join(f"{name} {getattr(recipe, name)}" for name in PACED if name in chosen.paced)
        print(f"        the run is short, so {values} (set them with --log-every, --sample-every)")
    if trainer.device == "cpu" and not any(cache_folder().rglob("*.nbi")):  # compiled kernels
        print("        the first step compiles the kernels: a few seconds, the first time only")


def _fit(trainer: Trainer, directory: RunDirectory, goal: int, *, quiet: bool) -> int:
    """Train up to step `goal` and say what came of it; the exit code."""
    steps = None if goal == trainer.work.horizon else goal - trainer.steps_done
    with stopping(trainer) as stop, watched(stop.output_failed), shown(goal, quiet=quiet) as callbacks:
        directory.fit(trainer, steps, callbacks)
    finished = trainer.steps_done >= goal
    again = f"fastgan resume {shlex.quote(str(directory.path))}"
    stopped = f"stopped at step {trainer.steps_done}; go on with: {again}"
    with watched(stop.output_failed):
        if not quiet:
            _conclude(trainer, directory, again if finished else "")
            if not finished:
                print(stopped)
        sys.stdout.flush()
    if stop.unheard and not finished:
        say(f"fastgan: cannot write the output ({stop.unheard}); {stopped}")
    return 0 if finished and not stop.unheard else stop.exit_code


def _conclude(trainer: Trainer, directory: RunDirectory, again: str) -> None:
    """Where the pictures are; of a finished run what the generator covers, and what to type next."""
    path, step = directory.path, trainer.steps_done
    if again:  # whoever stops a run does not want to wait
        for line in verdict(trainer):
            print(line)
    print(f"pictures  {directory.picture_of(step)}  the last samples")
    print(f"          {path / 'training.gif'}  how they came to be")
    print(f"          {path / 'losses.png'}")
    if again:
        more = f" --steps {2 * step}" if step >= trainer.work.horizon else ""
        print(f"next      fastgan sample {shlex.quote(str(path))} --seed 42")
        print(f"          {again}{more}")


def verdict(trainer: Trainer) -> list[str]:
    """Lines on what the generator covers of labelled images or of a mixture; none for other data."""
    data, k = trainer.dataset, trainer.recipe.classes
    if data and data.modes is not None and data.mode_std is not None:
        scores = mode_scores(trainer.sample(POINTS), data.modes, data.mode_std)
        good = f"{scores.share:.1%} of {POINTS:,} points within 3 standard deviations of one"
        found = f"modes found: {scores.kept} of {len(data.modes)}"
        return [f"{found}, {good}, reverse KL {scores.reverse_kl:.3f}"]
    if not data or data.labels is None or not data.is_images:
        return []
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
