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
_OURS = ("format", "version")  # stand beside the caller's keys in the description
_NAME = re.compile(r"step-(\d+)\.safetensors")
_FOREIGN = {
    rb"\x80[\x02-\x05][^\x00]": "a pickle, which could run code",  # [^0]: not a header of 640 to 1,408 bytes
    rb"PK\x03\x04": "a zip, .npz or PyTorch file",
    rb"\x93NUMPY": "an .npy file",
    rb"\x89HDF": "an HDF5 file",
    rb"\x1f\x8b": "a gzip file",
}


class _NewerFormatError(CheckpointError):
    """Sound, but beyond this version: unlike damage, no reason to fall back to an older checkpoint."""


def save(path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-able description; the folder of `path` is made when it is missing.

    JSON turns tuples into lists and keys into strings. UsageError for a dtype that safetensors lacks or a
    description that is not JSON; OutputError when it cannot be written, the previous file then being intact.
    """
    arrays = {name: _little_endian(name, array) for name, array in tensors.items()}
    description = _describe(meta)
    metadata = {"fastgan": description, "sha256": _digest(arrays, description)}
    try:
        content = _in_order(safetensors.numpy.save(arrays, metadata))
    except SafetensorError as error:
        raise UsageError(f"cannot store these arrays: {_one_line(error)}; convert or rename them") from error
    files.write_atomic(path, content)


def load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays (writable, the caller's own) and the description that `save` was given.

    CheckpointError, of one line, for whatever is not exactly such a file: missing, damaged, foreign or newer.
    """
    content = _read(path)
    try:
        arrays = safetensors.numpy.load(content)
        metadata = _metadata(content)
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(_unreadable(path, content, error)) from error
    if not {"fastgan", "sha256"} <= metadata.keys():
        raise CheckpointError(
            f"{_quoted(path)} is not a fastgan checkpoint: it is a safetensors file of another program; "
            "give a file that `fastgan train` wrote"
        )
    description = metadata["fastgan"]
    if _digest(arrays, description) != metadata["sha256"]:
        raise CheckpointError(f"{_quoted(path)} is damaged: its sha256 does not fit; use an older checkpoint")
    meta = _understand(path, description)
    # safetensors 0.5 to 0.8 hand out writable arrays, but promise nothing
    return {name: np.require(array, requirements="W") for name, array in arrays.items()}, meta


def newest(directory: Path) -> Path:
    """The newest checkpoint of a run directory that loads; each damaged one met before it gives a warning.

    CheckpointError when there is none, and when the newest needs a newer fastgan.
    """
    found = _by_step(directory)
    if not found:
        raise CheckpointError(
            f"no checkpoint in {_quoted(directory)}: wanted a run directory with checkpoints/; "
            "`fastgan train --out` starts a new run"
        )
    for path in reversed(found):
        try:
            load(path)
        except _NewerFormatError:
            raise
        except CheckpointError as error:
            warnings.warn(f"skipped a checkpoint: {error}", RuntimeWarning, stacklevel=2)
        else:
            return path
    raise CheckpointError(
        f"none of the {len(found)} checkpoints in {_quoted(directory)} is sound; start a new run"
    )


def path_for(directory: Path, step: int) -> Path:
    """Where a run directory keeps the checkpoint of a step."""
    return directory / "checkpoints" / f"step-{step:08d}.safetensors"


def prune(directory: Path, keep: int = 3) -> None:
    """Delete all but the newest `keep` checkpoints of a run directory. OutputError."""
    if keep < 1:
        raise UsageError(f"keep must be at least 1, got {keep}: a run without a checkpoint cannot go on")
    for path in _by_step(directory)[:-keep]:
        files.remove(path)


def _by_step(directory: Path) -> list[Path]:
    found = (
        (int(match[1]), path)
        for path in directory.glob("checkpoints/step-*.safetensors")
        if (match := _NAME.fullmatch(path.name))
    )
    return [path for _, path in sorted(found)]


def _little_endian(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """In C order: safetensors copies memory as it lies, without a look at the strides."""
    array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise UsageError(
            f"cannot store {name!r} of dtype {array.dtype}: only numbers; put the rest into meta"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _describe(meta: Mapping[str, Any]) -> str:
    if taken := [key for key in _OURS if key in meta]:
        raise UsageError(f"meta must not contain the key {taken[0]!r}: save sets it; rename it")
    try:
        return json.dumps({"format": FORMAT, "version": __version__, **meta})
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"meta is not JSON: {_one_line(error)}; use numbers, text, lists, dicts") from error


def _digest(arrays: Mapping[str, NDArray[Any]], description: str) -> str:
    """sha256 of a table of contents, which fixes where each array ends, then of the arrays' bytes by name."""
    names = sorted(arrays)
    contents = [[name, arrays[name].dtype.str, list(arrays[name].shape)] for name in names]
    total = hashlib.sha256(json.dumps([description, contents]).encode())
    for name in names:
        total.update(arrays[name].reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError(f"{_quoted(path)} is a folder, wanted a file such as those in checkpoints/")
        if not stat.S_ISREG(mode):  # reading a pipe would wait for ever
            raise CheckpointError(f"{_quoted(path)} is not a regular file, wanted a .safetensors file")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {_quoted(path)}: check the path") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {_quoted(path)}: {error.strerror}; check the disk") from error


def _metadata(content: bytes) -> dict[str, str]:
    """The text that safetensors keeps beside the arrays; it has just parsed this header without complaint."""
    return _header(content)[0].get("__metadata__") or {}


def _in_order(content: bytes) -> bytes:
    """A file with its metadata by name, as safetensors writes them in any order: equal runs have equal files."""
    header, start = _header(content)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """The table at the start of a safetensors file, and where it ends."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), end


def _unreadable(path: Path, content: bytes, error: Exception) -> str:
    for start, kind in _FOREIGN.items():
        if re.match(start, content):
            return f"{_quoted(path)} is not a fastgan checkpoint: it looks like {kind}; wanted safetensors"
    reason = _one_line(error)
    return f"{_quoted(path)} is damaged, or not a fastgan checkpoint ({reason}); use an older checkpoint"


def _understand(path: Path, description: str) -> dict[str, Any]:
    """The caller's part of a description whose sum fits; whoever wrote it may still not have been `save`."""
    try:
        meta = json.loads(description)
        number, version = meta.pop("format"), str(meta.pop("version"))
        newer = number > FORMAT
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{_quoted(path)} is not a fastgan checkpoint: no format is given") from error
    if newer:
        raise _NewerFormatError(
            f"{_quoted(path)} was made by fastgan {version[:20]!r} (format {number}; this is "
            f"{__version__}, format {FORMAT}): upgrade fastgan to read it"
        )
    return dict(meta)


def _quoted(path: Path) -> str:
    return repr(str(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]  # safetensors may list every dtype that it knows
