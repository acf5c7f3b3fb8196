"""What a try is, and small makers of its input: each gives a function that writes into the folder it is called in."""

import io
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cli_helpers import Canary
from PIL import Image

Make = Callable[[], object]
WORKS, USAGE, DIVERGED, OUTPUT = 0, 2, 3, 4
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 3


class Try(NamedTuple):
    """Words behind `fastgan` ("fit ..." is `train` with tiny networks), the exit code wanted, a word that the one line
    on stderr must have (of a try that works, its warning), and what makes the input."""

    words: str
    wanted: int = USAGE
    word: str = ""
    make: Make | tuple[Make, ...] = ()


def npy(name: str, array: object) -> Make:
    """An .npy file, whatever its name."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array))
    return content(name, buffer.getvalue())


def npz(name: str, **arrays: object) -> Make:
    """An .npz file."""
    return lambda: np.savez_compressed(name, **arrays)


def content(name: str, text: bytes | str) -> Make:
    """A file of these bytes, or this text."""

    def write() -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def folder(name: str) -> Make:
    """An empty folder."""
    return lambda: Path(name).mkdir(parents=True)


def fifo(name: str) -> Make:
    """A pipe that nobody writes to."""
    return lambda: os.mkfifo(name)


def link(name: str, target: str) -> Make:
    """A symbolic link."""
    return lambda: Path(name).symlink_to(target)


def pictures(
    place: str, n: int = 20, *, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "png"
) -> Make:
    """Pictures of noise in a folder."""

    def write() -> None:
        Path(place).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = RANDOM.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(f"{place}/{i}.{kind}")

    return write


def idx(name: str, shape: tuple[int, ...], payload: bytes) -> Make:
    """An IDX file."""
    return content(name, b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + payload)


def a_pickle(name: str) -> Make:
    """A pickle that makes a file named canary where it is loaded."""
    return content(name, pickle.dumps(Canary()))


MADE: list[Path] = []  # the run that test_tries makes once


def a_run() -> None:
    """A finished run of 4 steps, with checkpoints at 0, 2 and 4, as `run`."""
    shutil.copytree(MADE[0], "run")


def steps(run: str = "run") -> list[Path]:
    """Its checkpoints, oldest first."""
    return sorted(Path(run, "checkpoints").iterdir())
