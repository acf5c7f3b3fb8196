"""Checkpoints: exact when read back, never lost to a full disk or a kill; damaged, forged or hostile ones are refused,
and nothing in them is run; the newest of a run and the pruning of old ones."""

import base64
import errno
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from checkpoint_helpers import META, arrays, assert_same, everything_in, failing, forge, one_line
from damage import mutate

import fastgan
from fastgan.errors import CheckpointError, OutputError, UsageError
from fastgan.gan import checkpoint


def refused(path, match):
    """The one line that says why a checkpoint is not read."""
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(path)
    return one_line(caught)


def test_round_trip(tmp_path):
    path = checkpoint.path_for(tmp_path, 500)
    assert path == tmp_path / "checkpoints" / "step-00000500.safetensors"
    checkpoint.save(path, arrays(), META)
    got, meta = checkpoint.load(path)
    assert_same(got, arrays())
    assert meta == META
    assert all(array.flags.writeable and array.flags.c_contiguous for array in got.values())
    assert everything_in(tmp_path) == ["checkpoints", path.name]
    content = path.read_bytes()
    for _ in range(10):  # equal contents are equal files
        checkpoint.save(path, arrays(), META)
        assert path.read_bytes() == content


def test_layout_in_memory_does_not_matter(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    odd = {"fortran": np.asfortranarray(x), "view": x[:, ::2, ::-1], "big": x.astype(">f4"), "turned": x.T}
    for values in (odd, {}):
        checkpoint.save(tmp_path / "a.safetensors", values, {})
        got, _ = checkpoint.load(tmp_path / "a.safetensors")
        assert got.keys() == values.keys()
        for name, array in values.items():
            np.testing.assert_array_equal(got[name], array)


def test_what_cannot_be_stored(tmp_path):
    for tensors, meta, word in [
        ({"x": np.array([object()])}, {}, "object"),
        ({"x": np.zeros(2, np.complex128)}, {}, "complex128"),
        ({}, {"x": np.zeros(2)}, "not JSON"),
    ]:
        with pytest.raises(UsageError, match=word) as caught:
            checkpoint.save(tmp_path / "a", tensors, meta)
        one_line(caught)
    assert everything_in(tmp_path) == []


def test_a_real_limit_of_the_system_keeps_the_previous_checkpoint(tmp_path):
    """test_files.py has all calls that may fail on the way."""
    resource = pytest.importorskip("resource", reason="no limits on file sizes here")
    path, (soft, hard) = tmp_path / "a", resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoint.save(path, arrays(), META)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OutputError, match="File too large"):
            checkpoint.save(path, {"x": np.ones(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.load(path)[1] == META
    assert everything_in(tmp_path) == ["a"]


GOLDEN = """
KAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmYXN0Z2FuIjoie1wiZm9ybWF0XCI6IDEsIFwidmVyc2lvblwiOiBcIjAuMS4wXCIs
IFwicmVjaXBlXCI6IFwid2dhbi1ncFwiLCBcInNlZWRcIjogN30iLCJzaGEyNTYiOiI2ZGQxMzlkN2NiMDdjZTIzOTU1YWY1Yjc2
MmYwYjZlNDJiMjRiM2RiYWFhMzQ2MzBhNmM2ZDdhZGYxYTU3NzJiIn0sInN0ZXAiOnsiZHR5cGUiOiJJNjQiLCJzaGFwZSI6W10s
ImRhdGFfb2Zmc2V0cyI6WzAsOF19LCJ3Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsxLDJdLCJkYXRhX29mZnNldHMiOls4LDE2
XX19IPQBAAAAAAAAAADAPwAAAMA=
"""


def test_format_1_loads_for_ever(tmp_path):
    (tmp_path / "a").write_bytes(base64.b64decode(GOLDEN))
    got, meta = checkpoint.load(tmp_path / "a")
    assert_same(got, {"w": np.array([[1.5, -2.0]], np.float32), "step": np.array(500, np.int64)})
    assert meta == {"recipe": "wgan-gp", "seed": 7}


# The checkpoints of a run


def checkpoints(run, steps, damaged=()):
    for step in steps:
        path = checkpoint.path_for(run, step)
        checkpoint.save(path, arrays(), {"step": step})
        if step in damaged:
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_newest_is_by_step(tmp_path):
    checkpoints(tmp_path, [5, 99_999_999, 100_000_000, 70])
    (tmp_path / "checkpoints" / "step-x.safetensors").touch()
    (tmp_path / "checkpoints" / ".0.tmp").touch()
    assert checkpoint.newest(tmp_path) == checkpoint.path_for(tmp_path, 100_000_000)


def test_newest_falls_back(tmp_path):
    checkpoints(tmp_path, [1, 2, 3], damaged=[3])
    with pytest.warns(RuntimeWarning, match=r"step-00000003\.safetensors' is damaged") as caught:
        assert checkpoint.newest(tmp_path) == checkpoint.path_for(tmp_path, 2)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    checkpoints(tmp_path, [1, 2], damaged=[1, 2])
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match="none of the 3 checkpoints"):
        checkpoint.newest(tmp_path)


def test_newest_does_not_fall_back_behind_a_newer_format(tmp_path):
    checkpoints(tmp_path, [1])
    newer = checkpoint.path_for(tmp_path, 2)
    forge(newer, {"format": 2, "version": "9.1"})
    refused(newer, r"made by fastgan '9\.1' .*upgrade")
    with pytest.raises(CheckpointError, match="upgrade"):
        checkpoint.newest(tmp_path)


@pytest.mark.parametrize("name", [".", "missing"])
def test_no_checkpoint_at_all(tmp_path, name):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoint.newest(tmp_path / name)


def test_prune(tmp_path, monkeypatch):
    checkpoints(tmp_path, [1, 2, 3, 4, 100_000_000])
    (tmp_path / "checkpoints" / "best.safetensors").touch()
    left = ["best.safetensors", "step-00000004.safetensors", "step-100000000.safetensors"]
    for keep in (2, 3):
        checkpoint.prune(tmp_path, keep=keep)
        assert everything_in(tmp_path / "checkpoints") == left
    failing(errno.EROFS)(monkeypatch, "unlink")
    with pytest.raises(OutputError, match=r"cannot delete .*Read-only"):
        checkpoint.prune(tmp_path, keep=1)


KILLED = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from fastgan.gan import checkpoint, files

warnings.simplefilter("error")  # a damaged checkpoint would be skipped with a warning
run, rng, last = Path(sys.argv[1]), random.Random(3), 0
checkpoint.save(checkpoint.path_for(run, 0), {"x": np.zeros(60_000)}, {"step": 0})
for _ in range(12):
    child = os.fork()
    if child == 0:
        for step in range(last + 1, last + 1_000_000):
            checkpoint.save(checkpoint.path_for(run, step), {"x": np.full(60_000, step * 1.0)}, {"step": step})
            checkpoint.prune(run, 3)
    time.sleep(rng.uniform(0.002, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in (run / "checkpoints").glob("step*"):
        checkpoint.load(path)
    arrays, meta = checkpoint.load(checkpoint.newest(run))
    assert meta["step"] >= last and (arrays["x"] == meta["step"]).all(), (meta, last)
    last = meta["step"]
    files.clean_stale(run)
assert not list(run.rglob(".*")), list(run.rglob(".*"))
print(last)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_process_that_is_killed_at_any_moment_leaves_one_to_go_on_from(tmp_path):
    here = os.environ | {"PYTHONPATH": str(Path(fastgan.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], env=here, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0  # it was killed while it wrote, not before


# Damage

FORGED = [
    *("[]", "1", '"x"', "{}", "not json", "[" * 100_000, "9" * 5000),
    *('{"format": "1", "version": 1}', '{"format": 1}'),
]


@pytest.mark.parametrize("description", FORGED, ids=lambda text: text[:12])
def test_forged_descriptions(tmp_path, description):
    forge(tmp_path / "a", description)
    refused(tmp_path / "a", "not a fastgan checkpoint")


def test_each_part_is_in_the_sum(tmp_path):
    """Files that safetensors accepts, each with one thing changed."""
    tensors = {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)}
    description = json.dumps({"format": 1, "version": "0", "step": 5})
    digest = checkpoint._digest(tensors, description)
    forge(tmp_path / "good", description, tensors, digest)
    assert checkpoint.load(tmp_path / "good")[1] == {"step": 5}
    for text, changed in (
        (description, {"a": tensors["b"], "b": tensors["a"]}),
        (description, {"a": tensors["a"], "c": tensors["b"]}),
        (description, {**tensors, "c": np.zeros(0, np.float32)}),
        (description, {**tensors, "a": tensors["a"].view(np.int32)}),
        (description, {**tensors, "a": tensors["a"][:, None]}),
        (description, {**tensors, "a": -tensors["a"]}),
        (description.replace("5", "6"), tensors),
    ):
        forge(tmp_path / "bad", text, changed, digest)
        refused(tmp_path / "bad", "is damaged: its sha256 does not fit")


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
    foreign, large = "not a fastgan checkpoint", "(?i)header ?too ?large"
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
        "header of 100 MB + 1": (struct.pack("<Q", 100_000_001) + b"{}", large),
        "header of 2^64 - 1": (struct.pack("<Q", 2**64 - 1) + b"{}", large),
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
    path = tmp_path / "suspect.safetensors"
    for name, (content, word) in hostile(tmp_path).items():
        path.write_bytes(content)
        said = refused(path, word)
        assert str(path) in said, name
        assert len(said) < 400, name
    assert not (tmp_path / "canary").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))  # the bomb is live
    assert (tmp_path / "canary").exists()


def test_what_is_not_a_file(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    monkeypatch.setattr(Path, "read_bytes", broken)
    wrong = {
        ".": "is a folder",
        "pipe": "not a regular",
        "none": "no checkpoint at",
        "file": "Input/output error",
    }
    for name, word in wrong.items():
        refused(tmp_path / name, word)


@pytest.mark.slow
def test_damaged_files_are_exact_or_refused(tmp_path):
    path, want = tmp_path / "a", arrays()
    checkpoint.save(path, want, META)
    content, random = path.read_bytes(), np.random.default_rng(20)
    every_bit = (content[:i] + bytes([x ^ 1 << i % 8]) + content[i + 1 :] for i, x in enumerate(content))
    header = 8 + struct.unpack("<Q", content[:8])[0]
    mutants = [*every_bit, *(mutate(content, random, header=header) for _ in range(1000))]
    refusals = 0
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            got, meta = checkpoint.load(path)
        except CheckpointError:
            refusals += 1
        else:
            assert_same(got, want)
            assert meta == META
    assert len(mutants) > 1500
    changed = sum(mutant != content for mutant in mutants)
    assert refusals > 0.95 * changed  # spaces at a header's end may change
