"""A checkpoint that is damaged, forged or hostile is refused, and nothing in it is run."""

import errno
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from checkpoint_helpers import META, arrays, assert_same, forge, one_line
from damage import mutate

from fastgan.errors import CheckpointError
from fastgan.gan import checkpoint

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "description",
    [
        "[]",
        "1",
        '"x"',
        "{}",
        "not json",
        "[" * 100_000,
        '{"format": "1", "version": 1}',
        '{"format": 1}',
        "9" * 5000,
    ],
    ids=lambda text: text[:12],
)
def test_forged_descriptions(tmp_path, description):
    forge(tmp_path / "a", description)
    with pytest.raises(CheckpointError, match="not a fastgan checkpoint") as caught:
        checkpoint.load(tmp_path / "a")
    one_line(caught)


def test_each_part_is_in_the_sum(tmp_path):
    """Files that safetensors accepts, each with one thing changed."""
    tensors = {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)}
    description = json.dumps({"format": 1, "version": "0", "step": 5})
    digest = checkpoint._digest(tensors, description)
    forge(tmp_path / "good", description, tensors, digest)
    assert checkpoint.load(tmp_path / "good")[1] == {"step": 5}
    for changed in (
        {"a": tensors["b"], "b": tensors["a"]},
        {"a": tensors["a"], "c": tensors["b"]},
        {**tensors, "c": np.zeros(0, np.float32)},
        {**tensors, "a": tensors["a"].view(np.int32)},
        {**tensors, "a": tensors["a"][:, None]},
        {**tensors, "a": -tensors["a"]},
    ):
        forge(tmp_path / "bad", description, changed, digest)
        with pytest.raises(CheckpointError, match="is damaged: its sha256 does not fit"):
            checkpoint.load(tmp_path / "bad")
    forge(tmp_path / "bad", description.replace("5", "6"), tensors, digest)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(tmp_path / "bad")


def framed(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"t": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (Path(self.canary),)


def hostile(folder):
    """What a stranger might send, by name: (content, what the message must say)."""
    bomb = Bomb(folder / "canary")
    pickles = {f"pickle{p}": (pickle.dumps(bomb, protocol=p), "checkpoint") for p in range(6)}
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(bomb))
    np.savez(folder / "npz.npz", x=np.array([bomb], object))
    np.save(folder / "npy.npy", np.array([bomb], object))
    checkpoint.save(folder / "good", arrays(), META)
    good = (folder / "good").read_bytes()
    foreign = "not a fastgan checkpoint"
    return {
        **pickles,
        "pt": ((folder / "zip").read_bytes(), foreign),
        "npz": ((folder / "npz.npz").read_bytes(), foreign),
        "npy": ((folder / "npy.npy").read_bytes(), foreign),
        "empty": (b"", foreign),
        "text": (b"hello, world\n", foreign),
        "zeros": (bytes(5000), foreign),
        "html": (b"<!DOCTYPE html><title>404</title>", foreign),
        "other program": (safetensors.numpy.save({"x": np.ones(2)}), "of another program"),
        "other metadata": (safetensors.numpy.save({"x": np.ones(2)}, {"format": "pt"}), "of another program"),
        "pickle behind": (good + pickle.dumps(bomb), "damaged"),
        "zip behind": (good + (folder / "zip").read_bytes(), "damaged"),
        "header of 100 MB + 1": (struct.pack("<Q", 100_000_001) + b"{}", "(?i)header ?too ?large"),
        "header of 2^64 - 1": (struct.pack("<Q", 2**64 - 1) + b"{}", "(?i)header ?too ?large"),
        "half a header": (good[:100], "damaged"),
        "overlap": (framed({**tensor(), "u": tensor()["t"]}, bytes(4)), foreign),
        "hole": (framed(tensor(offsets=(4, 8)), bytes(8)), foreign),
        "offsets behind the end": (framed(tensor(shape=(2**40,), offsets=(0, 2**42)), bytes(4)), foreign),
        "shape overflow": (framed(tensor(shape=(2**63, 2**63), offsets=(0, 4)), bytes(4)), foreign),
        "empty but huge": (framed(tensor(shape=(2**62, 0), offsets=(0, 0))), foreign),
        "70 dimensions": (framed(tensor("U8", (1,) * 70, (0, 1)), bytes(1)), foreign),
        "bfloat16": (framed(tensor("BF16", (2,)), bytes(4)), foreign),
        "unknown dtype": (framed(tensor("XX")), foreign),
        "two names": (framed(b'{"t":1,"t":2}'), foreign),
        "deep": (framed(b'{"t":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), foreign),
        "not UTF-8": (framed(b'{"\xff":1}'), foreign),
        "metadata of numbers": (framed({"__metadata__": {"fastgan": 1}}), foreign),
        "no metadata": (framed(b'{"__metadata__":null}'), foreign),
        "a path for a name": (framed({"../../x": tensor()["t"]}, bytes(4)), foreign),
    }


def test_hostile_files(tmp_path):
    for name, (content, word) in hostile(tmp_path).items():
        path = tmp_path / "suspect.safetensors"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=word) as caught:
            checkpoint.load(path)
        assert str(path) in one_line(caught), name
        assert len(str(caught.value)) < 400, name
    assert not (tmp_path / "canary").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))  # the bomb is live
    assert (tmp_path / "canary").exists()


def test_what_is_not_a_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for name, word in {".": "is a folder", "pipe": "not a regular file", "none": "no checkpoint at"}.items():
        with pytest.raises(CheckpointError, match=word) as caught:
            checkpoint.load(tmp_path / name)
        one_line(caught)

    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").touch()
    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(CheckpointError, match="Input/output error"):
        checkpoint.load(tmp_path / "file")


def test_damaged_files_are_exact_or_refused(tmp_path):
    path, want = tmp_path / "a", arrays()
    checkpoint.save(path, want, META)
    content, random = path.read_bytes(), np.random.default_rng(20)
    every_bit = (
        content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))
    )
    header = 8 + struct.unpack("<Q", content[:8])[0]
    mutants = [*every_bit, *(mutate(content, random, header=header) for _ in range(1500))]
    refused = 0
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            got, meta = checkpoint.load(path)
        except CheckpointError:
            refused += 1
        else:
            assert_same(got, want)
            assert meta == META
    assert len(mutants) > 2000
    assert refused > 0.95 * sum(
        mutant != content for mutant in mutants
    )  # spaces at a header's end may change
