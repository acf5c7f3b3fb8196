"""A run directory: what a run leaves on the disk, and what it needs to go on or to be repeated.

    config.toml    metrics.jsonl    checkpoints/    samples/000500.png, real.png    training.gif    losses.png

The idea: a checkpoint says where a run stands, and everything else follows it: going on from one takes back the rows
and pictures that lie after it, so that a run that was killed and resumed reads like one that was not. Every file but
the log, which grows by lines, is written whole or not at all. A run under way has the directory to itself (lock.py).
"""

from __future__ import annotations

import json
import math
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from fastgan.errors import CheckpointError, DivergedError, FastganError, OutputError, UsageError
from fastgan.gan import checkpoint, files, pictures, quality
from fastgan.gan.lock import Lock, claim
from fastgan.gan.old import respelt
from fastgan.gan.trainer import Callback, Metrics, Trainer
from fastgan.version import __version__

POINTS = 2500  # of a scatter picture; PacGAN's number
KEEP = 3  # checkpoints
SAVE_EVERY = 300.0  # seconds
_HEAD = "# fastgan train --config FILE repeats this run; options on the command line come before what stands here.\n"


class RunDirectory(Callback):
    """Keeps a run directory while a Trainer trains; a callback, or use `fit`.

    `path` is new, and made at the first step (OutputError where it holds something), unless `go_on`: then it is the
    directory that the Trainer was loaded from. Beside the recipe's checkpoints there is one whenever the last is
    `save_every` seconds old. OutputError where another run is under way in the directory, and at any step when the disk
    is full or read-only or the directory is gone; the checkpoints made so far are then intact.
    """

    def __init__(self, path: str | Path, *, go_on: bool = False, save_every: float = SAVE_EVERY) -> None:
        self.path, self.go_on, self.save_every = Path(path), go_on, save_every
        self.metrics_file = self.path / "metrics.jsonl"
        self._saved = self._sampled = -1  # steps
        self._saved_at = 0.0  # seconds
        self._lock: Lock | None = None

    def __enter__(self) -> RunDirectory:
        """The directory, made or found, and locked."""
        if self._lock is None:
            self._lock = Lock(self.path) if self.go_on else claim(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock it; one in which nothing was begun is taken away again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            with suppress(OSError):
                self.path.rmdir()

    def fit(self, trainer: Trainer, steps: int | None = None, callbacks: Sequence[Callback] = ()) -> Trainer:
        """`trainer.fit` with this directory; a DivergedError also says where the last good checkpoint lies."""
        try:
            return trainer.fit(steps, [self, *callbacks])
        except DivergedError as error:
            with suppress(FastganError):  # what went wrong first is what to report
                self.finish()
            good = "no checkpoint was saved"
            with suppress(CheckpointError):
                good = f"the last good checkpoint is {checkpoint.newest(self.path)}"
            raise DivergedError(f"{error}; {good}") from error

    def on_start(self, trainer: Trainer) -> None:
        """A new directory with its first picture and checkpoint, or an old one put back to the Trainer's step."""
        import tomli_w

        self.__enter__()
        self._saved_at = monotonic()
        if self.go_on:
            return self._go_back(trainer)
        self.go_on = True
        files.write_atomic(self.path / "config.toml", (_HEAD + tomli_w.dumps(config(trainer))).encode())
        if trainer.dataset is not None and trainer.dataset.is_images:
            pictures.save_png(self.path / "samples" / "real.png", pictures.real_images(trainer.dataset))
        self._sample(trainer)
        self._save(trainer)

    def on_step(self, trainer: Trainer) -> None:
        """Pictures and checkpoints that are due."""
        if trainer.steps_done % trainer.recipe.sample_every == 0:
            self._sample(trainer)
        if not trainer.recipe.logs_at(trainer.steps_done):  # else on_log is next, and sees the losses first
            self._save_if_due(trainer)

    def on_log(self, trainer: Trainer, metrics: Metrics) -> None:
        """One line of metrics.jsonl; null for a value that is not finite."""
        self._refuse_lost()
        row = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        files.append_line(self.metrics_file, json.dumps(row))
        self._save_if_due(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """The last checkpoint, then the pictures."""
        self._save(trainer)
        self._sample(trainer)
        self.finish()

    def on_close(self, trainer: Trainer) -> None:
        """Unlock the directory."""
        self.__exit__()

    def finish(self) -> None:
        """training.gif and losses.png of what is there."""
        if frames := pictures.frames_of(self.path / "samples"):
            pictures.save_gif(self.path / "training.gif", frames)
        pictures.loss_curves(self.path / "losses.png", read_metrics(self.metrics_file))

    def picture_of(self, step: int) -> Path:
        """Where the picture of a step is."""
        return self.path / "samples" / f"{step:06d}.png"

    def _sample(self, trainer: Trainer) -> None:
        """The picture of the run's fixed latents, unless it is there."""
        self._refuse_lost()
        step, data = trainer.steps_done, trainer.dataset
        if self._sampled == step:
            return
        image = pictures.picture(
            trainer.sample(pictures.IMAGES if len(trainer.form.shape) == 3 else POINTS),
            columns=pictures.COLUMNS,
            real=data.samples[:POINTS] if data else None,
            modes=data.modes if data else None,
            critic=quality.critic_of(trainer) if quality.has_contours(trainer) else None,
            title=f"step {step:,}",
        )
        pictures.save_png(self.picture_of(step), image)
        self._sampled = step

    def complete(self, step: int) -> bool:
        """Whether all that the end of a run at a step draws is there."""
        drawn = (self.picture_of(step), self.path / "training.gif", self.path / "losses.png")
        return all(path.exists() for path in drawn)

    def _save_if_due(self, trainer: Trainer) -> None:
        late = monotonic() - self._saved_at >= self.save_every
        if late or trainer.steps_done % trainer.recipe.checkpoint_every == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        """A checkpoint, unless it is there; the oldest goes."""
        self._refuse_lost()
        if self._saved != trainer.steps_done:
            trainer.save(checkpoint.path_for(self.path, trainer.steps_done))
            checkpoint.prune(self.path, KEEP)
            self._saved, self._saved_at = trainer.steps_done, monotonic()

    def _refuse_lost(self) -> None:
        """OutputError where the directory is not the one any more that the run began in."""
        if self._lock is None or not self._lock.is_ours():
            raise OutputError(
                f"{str(self.path)!r} was deleted, moved or made anew while the run was under way, so the run ends here"
            )

    def _go_back(self, trainer: Trainer) -> None:
        """Take back rows and pictures after the Trainer's step; UsageError where a later checkpoint is sound."""
        step = trainer.steps_done
        newest, own = checkpoint.newest(self.path), checkpoint.path_for(self.path, step)
        if newest > own:
            raise UsageError(f"{newest} is newer than step {step}: load that one, or give another directory")
        file = self.path / "config.toml"
        if edits := edited(file, trainer):
            text = f"{file} was changed since ({edits}); resume uses the checkpoint's settings"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        self._saved = step if newest == own else -1
        self._sampled = step if self.picture_of(step).exists() else -1
        files.clean_stale(self.path)
        rows = [json.dumps(row) + "\n" for row in read_metrics(self.metrics_file) if row["step"] <= step]
        files.write_atomic(self.metrics_file, "".join(rows).encode())
        for path in self.path.glob("samples/*.png"):
            if path.stem.isdecimal() and int(path.stem) > step:
                files.remove(path)


def config(trainer: Trainer) -> dict[str, Any]:
    """Plain values that repeat a run: version, recipe by name and field by field, seed, device, data."""
    recipe, form = trainer.recipe.to_dict(), trainer.form
    source = asdict(form.source) if form.source else {"spec": f"the array {form.name!r}"}
    values = {
        "fastgan": __version__,
        "recipe": recipe.pop("name"),
        "seed": trainer.seed,
        "device": trainer.device,
        "as_published": recipe.pop("published", "") != "",
        "threads": trainer.threads.wanted,
        **recipe,
        "data": source.pop("spec"),
        **source,
        "own_networks": bool(trainer.own_networks) or None,
    }
    return {key: value for key, value in values.items() if value is not None}


def edited(path: Path, trainer: Trainer) -> str:
    """Which settings of a run's config.toml are not those that the Trainer has from a checkpoint, or "".

    Device and threads are left out, as resume reads them there, and so is a folder that may have been moved.
    """
    import tomli_w

    if not path.is_file():  # a pipe would block
        return "it is no file" if path.exists() else ""
    try:
        held = respelt(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):  # not to be read; no text, or no TOML
        return "it cannot be read"
    # as they come back from a file; the recipe's own, as data may have been moved since
    now, begun = (tomllib.loads(tomli_w.dumps(x)) for x in (config(trainer), trainer.recipe.to_dict()))
    if now.keys().isdisjoint(held):
        return "it is empty"
    free = {"fastgan", "device", "threads", "as_published", "data_dir"}
    return ", ".join(x for x in held if x not in free and held[x] not in (now.get(x), begun.get(x)))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a line that a kill or a power cut tore is left out. CheckpointError for a folder."""
    if not path.exists():
        return []
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file, wanted the log of a run; move it away")
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, Mapping) and isinstance(row.get("step"), int):
                rows.append(dict(row))
    return rows
