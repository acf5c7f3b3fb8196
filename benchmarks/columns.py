"""What the GPU gate times: a `Column` is one engine that holds one recipe at a time, in a worker process.

One idea: all columns train the same networks on the same images for the same number of steps before anything is timed,
so that each can be asked afterwards what it made of them: `prepare` gives back losses, parameters and warnings.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastgan as fg
from benchmarks import peers, steps, turns
from fastgan.data import Dataset
from fastgan.launches import data_shape

FIRST = 30  # steps before the timing: they compile, capture and give the losses that are compared
MANY = 10**9  # steps, none of which but the first few are made
AGREE = 0.05  # relative and absolute, of our own columns' mean losses over the first steps


@dataclass(frozen=True)
class Engine:
    """How a column's steps are made: a module of `benchmarks.peers`, or fastgan with these settings."""

    about: str
    module: str = ""
    kernels: bool = True
    capture: bool = False


COLUMNS = {
    "CuPy": Engine("fastgan, array code only", kernels=False),
    "kernels": Engine("fastgan, its kernels launched one by one"),
    "captured": Engine("fastgan as it runs by default: kernels, replayed as CUDA graphs", capture=True),
    "torch": Engine("PyTorch eager", "torch_eager"),
    "t.graph": Engine("PyTorch, a whole step as one CUDA graph, fused Adam", "torch_graph"),
    "t.compile": Engine("torch.compile", "torch_compiled"),
    "jax": Engine("JAX, a whole step jitted", "jax_jit"),
}
OWN = [name for name, engine in COLUMNS.items() if not engine.module]


def images_for(recipe: str, count: int) -> np.ndarray[Any, Any] | Dataset | None:
    """Random images of the size that the recipe learns, labelled for a conditional one; None where it has own data.

    Of pictures a sixth as many, which are 100 MB.
    """
    chosen = fg.recipes[recipe]
    if chosen.data not in ("mnist", ""):
        return None
    images = steps.images(count if chosen.data else count // 6, data_shape(chosen))
    if not chosen.classes:
        return images
    return Dataset("random images", images, np.arange(len(images)) % chosen.classes, low=0.0, high=255.0)


class Own:
    """fastgan's trainer as its users run it, by `fit`: on a GPU only `fit` replays graphs."""

    name = "fastgan"

    def __init__(self, recipe: str, images: Any, *, device: str, kernels: bool, capture: bool) -> None:
        settings: dict[str, Any] = {"capture": capture} if device == "cuda" else {}
        self.kernels, self.sync = kernels, waiting(device)
        with fg.use_kernels(kernels):
            self.trainer = fg.Trainer(recipe, images, device=device, **settings)
        networks = self.trainer.generator, self.trainer.critic
        self.parameters = tuple(sum(p.size for p in network.parameters()) for network in networks)

    def first(self) -> tuple[float, float]:
        with fg.use_kernels(self.kernels):
            self.trainer.fit(FIRST)
        metrics = self.trainer.metrics()
        return metrics["critic_loss"], metrics["generator_loss"]

    def turn(self, count: int, seconds: float) -> list[turns.Chunk]:
        watch = Watch(self.sync, count, seconds)
        with fg.use_kernels(self.kernels):
            self.trainer.fit(MANY, [watch])
        return watch.chunks


class Watch(fg.Callback):
    """Times a fit as `turns.turn` times steps, but for chunks of at least `count`: several steps may come at once.

    The losses that `fit` reads at each logging interval are in these times.
    """

    def __init__(
        self,
        sync: Callable[[], None],
        count: int,
        seconds: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.sync, self.count, self.left, self.clock = sync, count, seconds, clock
        self.chunks: list[turns.Chunk] = []
        self.begun: tuple[int, float] | None = None  # steps done and time at the start of the chunk

    def on_start(self, trainer: fg.Trainer) -> None:
        self.settled = trainer.steps_done + self.count // 5 + 1

    def on_step(self, trainer: fg.Trainer) -> None:
        done, asked = trainer.steps_done, self.clock()
        if done < (self.begun[0] + self.count if self.begun else self.settled):
            return
        self.sync()
        if self.begun:
            steps, start = done - self.begun[0], self.begun[1]
            total = self.clock() - start
            self.chunks.append(((asked - start) / steps, total / steps))
            self.left -= total
        self.begun = done, self.clock()
        trainer.stop_wanted = bool(self.chunks) and self.left <= 0


class Other:
    """A peer's step, called again and again."""

    def __init__(self, peer: peers.Peer) -> None:
        self.peer, self.name, self.parameters = peer, peer.name, peer.parameters

    def first(self) -> tuple[float, float]:
        for _ in range(FIRST):
            self.peer.step()
        self.peer.sync()
        return self.peer.losses()

    def turn(self, count: int, seconds: float) -> list[turns.Chunk]:
        return turns.turn(self.peer.step, self.peer.sync, steps=count, seconds=seconds)


class Column:
    """One engine on one device ("cuda" or "cpu"), with `images` random images as data."""

    def __init__(self, name: str, device: str, images: int, settings: dict[str, Any]) -> None:
        self.engine, self.device, self.images, self.settings = COLUMNS[name], device, images, settings
        self.held: Own | Other | None = None
        self.warned: list[str] = []  # kept: a library warns once in a process

    def prepare(self, recipe: str) -> dict[str, Any]:
        """Drop the recipe before, make this one, run the first steps; what the checks need to know of it."""
        start, self.held = time.perf_counter(), None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.held = self.make(recipe)
            losses = self.held.first()
        self._note(caught)
        return {
            "engine": self.held.name,
            "losses": list(losses),
            "parameters": list(self.held.parameters),
            "warnings": self.warned,
            "preparation": time.perf_counter() - start,
        }

    def turn(self, count: int, seconds: float) -> list[turns.Chunk]:
        """Chunks of `count` steps for about `seconds`."""
        assert self.held is not None
        return self.held.turn(count, seconds)

    def make(self, recipe: str) -> Own | Other:
        """The recipe, ready to run."""
        images, engine = images_for(recipe, self.images), self.engine
        if not engine.module:
            return Own(recipe, images, device=self.device, kernels=engine.kernels, capture=engine.capture)
        assert isinstance(images, np.ndarray)
        return Other(steps.theirs(engine.module, recipe, images, device=self.device, **self.settings))

    def _note(self, caught: list[warnings.WarningMessage]) -> None:
        """Keep what a user would have been told (fastgan without kernels, say); not what is meant for developers."""
        told = [w for w in caught if issubclass(w.category, UserWarning | RuntimeWarning)]
        self.warned += sorted({str(w.message).splitlines()[0][:200] for w in told} - set(self.warned))


def waiting(device: str) -> Callable[[], None]:
    """What waits for the whole device, whichever stream the work is on."""
    if device == "cpu":
        return lambda: None
    import cupy

    synchronise: Callable[[], None] = cupy.cuda.Device().synchronize
    return synchronise


def problems(recipe: str, prepared: dict[str, dict[str, Any]]) -> list[str]:
    """What does not make sense in the columns' first steps, a line each; `prepared` is `Column.prepare` by name."""
    found = []
    for name, row in prepared.items():
        if not np.isfinite(row["losses"]).all():
            found.append(f"{recipe}, {name}: losses are {row['losses']}")
        if name in OWN:
            found += [f"{recipe}, {name}: {text}" for text in row["warnings"]]
    own = {name: row for name, row in prepared.items() if name in OWN}
    reference, *_ = own.values() or prepared.values()
    for name, row in prepared.items():
        if row["parameters"] != reference["parameters"]:
            found.append(
                f"{recipe}, {name}: {row['parameters']} parameters, wanted {reference['parameters']}"
            )
        if name in own and not np.allclose(row["losses"], reference["losses"], rtol=AGREE, atol=AGREE):
            found.append(
                f"{recipe}, {name}: losses {row['losses']}, those of array code {reference['losses']}"
            )
    return found
