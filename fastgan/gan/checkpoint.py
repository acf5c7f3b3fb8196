"""Checkpoints: named arrays and a description in one safetensors file that is believed when its sum fits.

safetensors runs no code and checks its own layout, but a flipped bit in an array, or a dtype of the same
size, loads without a word. So the file carries a sha256 of names, dtypes, shapes, bytes and description. How
that sum is made never changes between formats: a file whose sum fits is what somebody wrote, so a newer
format is told apart from damage. Nothing is ever unpickled.
"""

import hashlib
import json
import re
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from fastgan.errors import CheckpointError, UsageError
from fastgan.gan import files
from fastgan.version import __version__

FORMAT = 1
_NAME = re.compile(r"step-(\d+)\.safetensors")
_UNREADABLE = (SafetensorError, KeyError, TypeError, AttributeError, ValueError, RecursionError)


class _NewerFormatError(CheckpointError):
    """Sound, but beyond this version: unlike damage, no reason to fall back to an older checkpoint."""


def save(path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able description; the folder of `path` is made when it is missing.

    JSON turns tuples into lists and keys into strings. UsageError for a dtype that safetensors lacks or a
    description that is not JSON; OutputError when it cannot be written, the previous file then being intact.
    """
    # little-endian and in C order: safetensors copies memory as it lies, without a look at the strides
    arrays = {
        name: np.asarray(x, np.asarray(x).dtype.newbyteorder("<"), order="C") for name, x in tensors.items()
    }
    try:
        description = json.dumps({"format": FORMAT, "version": __version__, **meta})
        content = safetensors.numpy.save(arrays)
    except (SafetensorError, TypeError, ValueError) as error:
        todo = "use arrays of numbers, and in the description numbers, text, lists, dicts"
        raise UsageError(f"cannot store a run: {_one_line(error)}; {todo}") from error
    # put in here, as safetensors writes its metadata in any order: equal runs have equal files
    header, start = _header(content)
    metadata = {"fastgan": description, "sha256": _digest(arrays, description)}
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    files.write_atomic(path, b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]]))


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays (writable, the caller's own) and the description that `save` was given.

    CheckpointError, of one line, for whatever is not exactly such a file: missing, damaged, foreign or newer.
    """
    place, content = repr(str(path)), _read(path)
    problem = "is damaged, or not a fastgan checkpoint ({}); use an older checkpoint"
    try:
        arrays = safetensors.numpy.load(content)
        metadata = _header(content)[0].get("__metadata__") or {}
        problem = (
            "is not a fastgan checkpoint: it is a safetensors file of another program; "
            "give a file that `fastgan train` wrote"
        )
        description = metadata["fastgan"]
        if _digest(arrays, description) != metadata["sha256"]:
            raise CheckpointError(f"{place} is damaged: its sha256 does not fit; use an older checkpoint")
        meta = json.loads(description)  # whoever wrote a file whose sum fits may still not have been `save`
        number, version = meta.pop("format"), str(meta.pop("version"))
        newer = number > FORMAT
    except CheckpointError:
        raise
    except _UNREADABLE as error:
        raise CheckpointError(f"{place} {problem.format(_one_line(error))}") from error
    if newer:
        raise _NewerFormatError(
            f"{place} was made by fastgan {version[:20]!r} (format {number}; this is "
            f"{__version__}, format {FORMAT}): upgrade fastgan to read it"
        )
    # safetensors 0.5 to 0.8 hand out writable arrays, but promise nothing
    return {name: np.require(array, requirements="W") for name, array in arrays.items()}, meta


def newest(directory: Path) -> Path:
    """The newest checkpoint of a run directory that loads; each damaged one met before it gives a warning.

    CheckpointError when there is none, and when the newest needs a newer fastgan.
    """
    place, found = repr(str(directory)), _by_step(directory)
    if not found:
        raise CheckpointError(
            f"no checkpoint in {place}: wanted a run directory with checkpoints/; "
            "`fastgan train --out` starts a new run"
        )
    for path in reversed(found):
        try:
            load(path)
            return path
        except _NewerFormatError:
            raise
        except CheckpointError as error:
            warnings.warn(f"skipped a checkpoint: {error}", RuntimeWarning, stacklevel=2)
    raise CheckpointError(f"none of the {len(found)} checkpoints in {place} is sound; start a new run")


def path_for(directory: Path, step: int) -> Path:
    """Where a run directory keeps the checkpoint of a step."""
    return directory / "checkpoints" / f"step-{step:08d}.safetensors"


def prune(directory: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints of a run directory. OutputError."""
    for path in _by_step(directory)[:-keep]:
        files.remove(path)


def _by_step(directory: Path) -> list[Path]:
    found = ((_NAME.fullmatch(path.name), path) for path in directory.glob("checkpoints/*"))
    return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]


def _digest(arrays: Mapping[str, NDArray[Any]], description: str) -> str:
    """sha256 of a table of contents, which fixes where each array ends, then of the arrays' bytes by name."""
    names = sorted(arrays)
    contents = [[name, arrays[name].dtype.str, list(arrays[name].shape)] for name in names]
    total = hashlib.sha256(json.dumps([description, contents]).encode())
    for name in names:
        total.update(arrays[name].reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _read(path: Path) -> bytes:
    place = repr(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {place}: check the path") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {place}: {error.strerror}; check the disk") from error
    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"  # reading a pipe would wait for ever
    raise CheckpointError(f"{place} is {kind}, wanted a file such as those in checkpoints/")


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """The table at the start of a safetensors file, and where it ends."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), end


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]  # safetensors may list every dtype that it knows
