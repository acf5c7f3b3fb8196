"""Whole training steps as `Work`: fastgan's as its users run them, by `fit`, and a peer's, called again and again.

One idea: all columns train on the same images, from the same start, for a few steps before anything is timed, and what
they made of them is compared (`peers.disagreement`), so that nobody is timed who does less or something else.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgan as fg
from fastgan.benchmarks import peers
from fastgan.benchmarks.cases import Results
from fastgan.benchmarks.columns import Clock, Column
from fastgan.benchmarks.turns import Chunk, turn
from fastgan.data import Dataset
from fastgan.device import to_host
from fastgan.gan.source import data_shape
from fastgan.nn import Net

FIRST = 12  # steps before the timing, whose losses are compared: they compile and capture
SLOW, LOOKED = 0.05, 3  # seconds of a step, from which on so many must do
MANY = 10**9  # steps, none of which but the first few are made
IMAGES = 10_000


def random_images(n: int, shape: tuple[int, ...] = (28, 28, 1)) -> NDArray[np.uint8]:
    """Random images (n, h, w, c): timing does not depend on what they show."""
    return np.random.Generator(np.random.Philox(0)).integers(0, 256, (n, *shape), np.uint8)


def images_for(recipe: fg.Recipe, count: int = IMAGES) -> NDArray[np.uint8] | Dataset | None:
    """Random images of the size that the recipe learns, labelled for a conditional one; None where it has own data.

    Of pictures a sixth as many, which are 20 MB.
    """
    if recipe.data not in ("mnist", ""):
        return None
    images = random_images(count if recipe.data else count // 6, data_shape(recipe))
    if not recipe.classes:
        return images
    return Dataset("random images", images, np.arange(len(images)) % recipe.classes, low=0.0, high=255.0)


def same_image(count: int = IMAGES) -> NDArray[np.uint8]:
    """One random image of MNIST's size again and again: then every batch is alike, and the first steps can be compared.

    One pixel of the last is another, by a grey level: fastgan refuses data without any variety. The rows lie apart in
    memory, so gathering a batch costs what it costs anywhere.
    """
    images = np.repeat(random_images(1), count, axis=0)
    images[-1, 0, 0, 0] ^= 1
    return images


def floats(images: NDArray[np.uint8], low: float) -> NDArray[np.float32]:
    """Images (n, ...) as the peers want them: float32 (n, h w c) from `low`, which is black, to 1."""
    return images.reshape(len(images), -1) * np.float32((1 - low) / 255) + np.float32(low)


def is_dense(network: Net) -> bool:
    """Whether a network has no convolutions."""
    return not any(line.startswith("conv") for line in network.layers)


def hidden(network: Net) -> tuple[int, ...]:
    """The widths of a dense network's hidden layers."""
    words = [line.split() for line in network.layers if line.startswith(("linear", "maxout"))]
    return tuple(int(size) for _, size, *_ in words if size != "o")


def narrow(network: Net) -> Net:
    """8 features per hidden layer; where there are convolutions, a sixteenth of the channels.

    Sizes of 1, and those that stand for the data's, stay.
    """

    def smaller(match: re.Match[str]) -> str:
        return f"{match[1]}{8 if is_dense(network) else max(2, int(match[2]) // 16)}"

    sizes = re.compile(r"^((?:linear|maxout|conv|conv_transpose) |reshape \d+x\d+x)(\d{2,})")
    return replace(network, layers=tuple(sizes.sub(smaller, line) for line in network.layers))


def peer(setting: peers.Setting, images: NDArray[np.uint8], column: Column, **more: Any) -> peers.Peer:
    """A recipe as a column's module of `fastgan.benchmarks.peers` runs it, on the column's device."""
    module = importlib.import_module(f"fastgan.benchmarks.peers.{column.module}")
    made: peers.Peer = module.make(setting, floats(images, setting.low), device=column.where(), **more)
    return made


class Fit:
    """fastgan's trainer as its users run it, by `fit`: threads, batches and, on a GPU, graphs are as they have them."""

    def __init__(self, recipe: fg.Recipe, images: Any, column: Column, seed: int = 0) -> None:
        settings: dict[str, Any] = {"capture": column.capture} if column.where() == "cuda" else {}
        self.column, self.clock = column, column.clock()
        with column.switched():
            self.trainer = fg.Trainer(recipe, images, device=column.where(), seed=seed, **settings)

    def first(self) -> Results:
        """The losses of the first steps, (FIRST, 2): critic, generator. The last are made as those that are timed, on a
        GPU by graphs of several steps; where nothing is captured, slow ones make LOOKED.
        """
        trainer = self.trainer
        done = trainer.steps_done
        with self.column.switched():
            trainer.fit(1)  # which compiles
            start = self.clock.now()
            trainer.fit(LOOKED - 1)
            if self.column.capture or self.clock.now() - start < (LOOKED - 1) * SLOW:
                trainer.fit(FIRST - LOOKED)
        losses = to_host(trainer.work.ring.array)
        return [losses[np.arange(done, trainer.steps_done) % len(losses)]]

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        """Chunks of at least `count` steps; the losses that `fit` reads at each logging interval are in these times."""
        watch = Watch(self.clock, count, seconds)
        with self.column.switched():
            self.trainer.fit(MANY, [watch])
        return watch.chunks


class Watch(fg.Callback):
    """Times a fit as `turns.turn` times steps, but for chunks of at least `count`: several steps may come at once."""

    def __init__(self, clock: Clock, count: int, seconds: float) -> None:
        self.clock, self.count, self.left = clock, count, seconds
        self.chunks: list[Chunk] = []
        self.begun: tuple[int, float, Any] | None = (
            None  # steps done, time and mark at the start of the chunk
        )

    def on_start(self, trainer: fg.Trainer) -> None:
        self.settled = trainer.steps_done + self.count // 5 + 1

    def on_step(self, trainer: fg.Trainer) -> None:
        done, asked, last = trainer.steps_done, self.clock.now(), self.clock.mark()
        if done < (self.begun[0] + self.count if self.begun else self.settled):
            return
        self.clock.wait()
        if self.begun:
            before, start, first = self.begun
            steps, total = done - before, self.clock.now() - start
            device = self.clock.between(first, last)
            self.chunks.append(((asked - start) / steps, total / steps, device / steps))
            self.left -= total
        self.begun = done, self.clock.now(), self.clock.mark()
        trainer.stop_wanted = bool(self.chunks) and self.left <= 0


class PeerClock(Clock):
    """A column's clock that waits as the peer says: for its own arrays, which JAX's alone are quicker than all."""

    def __init__(self, column: Clock, sync: Callable[[], None]) -> None:
        self.column, self.sync = column, sync

    def wait(self) -> None:
        self.sync()

    def mark(self) -> Any:
        return self.column.mark()

    def between(self, start: Any, end: Any) -> float:
        return self.column.between(start, end)


class Stepped:
    """A peer's step, called again and again."""

    def __init__(self, made: peers.Peer, column: Column) -> None:
        self.peer, self.clock = made, PeerClock(column.clock(), made.sync)

    def first(self) -> Results:
        """The losses after the first steps, (critic, generator)."""
        for _ in range(FIRST):
            self.peer.step()
        self.peer.sync()
        return [np.array(self.peer.losses())]

    def turn(self, count: int, seconds: float) -> list[Chunk]:
        """Chunks of `count` steps."""
        return turn(self.peer.step, self.clock, steps=count, seconds=seconds)
