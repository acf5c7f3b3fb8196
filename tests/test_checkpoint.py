"""Files and checkpoints: whole or not at all, exact or refused. Faults are injected; processes are killed."""

import base64
import errno
import json
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import fastgan
from fastgan.errors import CheckpointError, OutputError, UsageError
from fastgan.train import checkpoint, files

META = {"step": 500, "recipe": "wgan-gp", "losses": [0.25, None], "seed": 2**63, "name": "é \n"}


def arrays():
    rng = np.random.default_rng(1)
    return {
        "generator.w": rng.standard_normal((3, 4)).astype(np.float32),
        "moments": rng.standard_normal(5),
        "done": np.array([True, False]),
        "step": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float16),
    }


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert got[name].tobytes() == array.tobytes()


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) > 20
    return text


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


# --- files


@pytest.fixture
def calls(monkeypatch):
    """The system calls of a write, in order: what they did and to which kind of thing."""
    log = []

    def record(name, describe):
        real = getattr(os, name)

        def wrapper(*args):
            log.append((name, describe(*args)))
            return real(*args)

        monkeypatch.setattr(os, name, wrapper)

    def kind(handle, *_):
        return "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"

    record("write", kind)
    record("fsync", kind)
    record("replace", lambda source, target: os.path.dirname(source) == os.path.dirname(target))
    return log


def test_write_fsync_rename_fsync(tmp_path, calls):
    files.write_atomic(tmp_path / "a", b"content")
    assert calls == [("write", "file"), ("fsync", "file"), ("replace", True), ("fsync", "folder")]
    assert (tmp_path / "a").read_bytes() == b"content"


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
    files.write_atomic(tmp_path / "a", b"0123456789")
    files.append_line(tmp_path / "log", "0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert (tmp_path / "log").read_bytes() == b"0123456789\n"


FAULTS = {
    errno.ENOSPC: "No space left on device; free",
    errno.EIO: "Input/output error; check the disk",
    errno.EROFS: "Read-only file system; write to a folder",
    errno.EACCES: "Permission denied; ask",
}


def failing(code, after=0):
    """A stand-in for a system call that fails from its call number `after` on."""

    def install(monkeypatch, name):
        real, seen = getattr(os, name), []

        def wrapper(*args):
            seen.append(args)
            if len(seen) > after:
                raise OSError(code, os.strerror(code))
            return real(*args) if name != "write" else real(args[0], args[1][:1])

        monkeypatch.setattr(os, name, wrapper)

    return install


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("call", "after"), [("open", 0), ("write", 0), ("write", 3), ("fsync", 0), ("replace", 0)]
)
def test_a_fault_leaves_the_old_file(tmp_path, monkeypatch, call, after, code):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with monkeypatch.context() as patch:
        failing(code, after)(patch, call)
        with pytest.raises(OutputError) as caught:
            files.write_atomic(target, b"new content")
    assert str(target) in one_line(caught)
    assert FAULTS[code] in str(caught.value)
    assert caught.value.errno == code
    assert target.read_bytes() == b"old"
    assert everything_in(tmp_path) == ["a"]


def test_a_fault_on_the_folder_is_reported(tmp_path, monkeypatch):
    failing(errno.EIO, after=1)(monkeypatch, "fsync")
    with pytest.raises(OutputError):
        files.write_atomic(tmp_path / "a", b"new")
    assert everything_in(tmp_path) == ["a"]  # whole, since it was forced to the disk before the rename
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_folder_that_cannot_be_forced_is_no_fault(tmp_path, monkeypatch):
    failing(errno.EINVAL, after=1)(monkeypatch, "fsync")
    files.write_atomic(tmp_path / "a", b"new")


def test_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(tmp_path / "a", b"new")
    assert everything_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_umask_is_respected(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.write_atomic(tmp_path / "a", b"")
        files.append_line(tmp_path / "b", "")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}


def test_only_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in {"folder": "folder", "pipe": "pipe", "null": "device"}.items():
        with pytest.raises(OutputError, match=kind):
            files.write_atomic(tmp_path / name, b"x")
    assert everything_in(tmp_path) == ["folder", "null", "pipe"]
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_missing_folder_and_odd_names(tmp_path):
    with pytest.raises(OutputError, match="No such file or directory; make the folder"):
        files.write_atomic(tmp_path / "no" / "samples" / "a", b"x")
    files.write_atomic(tmp_path / "samples" / "a", b"x")
    with pytest.raises(OutputError) as caught:
        files.write_atomic(tmp_path / "no" / "two\nlines" / "a", b"x")
    one_line(caught)
    files.write_atomic(tmp_path / ("n" * 250), b"x")  # 255 bytes is the limit of most file systems


def test_append_line_keeps_lines_whole(tmp_path, monkeypatch):
    log = tmp_path / "metrics.jsonl"
    files.append_line(log, "one")
    with monkeypatch.context() as patch:
        failing(errno.ENOSPC, after=2)(patch, "write")
        with pytest.raises(OutputError) as caught:
            files.append_line(log, "two")
    assert "No space left" in one_line(caught)
    assert log.read_text() == "one\n"
    log.write_text("one\ntor")
    files.append_line(log, "three")
    assert log.read_text() == "one\ntor\nthree\n"
    with pytest.raises(UsageError, match="one line, got 2"):
        files.append_line(log, "a\nb")


def test_make_directory(tmp_path):
    run = tmp_path / "runs" / "a"
    files.make_directory(run)
    files.make_directory(run)  # empty still
    (run / "config.toml").touch()
    with pytest.raises(OutputError, match="exists already: choose another --out, or `fastgan resume"):
        files.make_directory(run)
    with pytest.raises(OutputError, match="is a file"):
        files.make_directory(run / "config.toml")
    with pytest.raises(OutputError, match="Not a directory; a part of the path is a file"):
        files.make_directory(run / "config.toml" / "b")


@pytest.mark.parametrize("make", [files.make_directory, files.ensure_folder])
def test_a_read_only_disk_is_named(tmp_path, monkeypatch, make):
    failing(errno.EROFS)(monkeypatch, "mkdir")
    with pytest.raises(OutputError, match=r"cannot make .*Read-only file system; write to"):
        make(tmp_path / "a")


def test_clean_stale(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / ".folder.tmp").mkdir()
    for name in (".x.tmp", "samples/.y.tmp", "config.tmp", ".hidden", "samples/000500.png"):
        (tmp_path / name).touch()
    assert files.clean_stale(tmp_path) == 2
    assert everything_in(tmp_path) == [".folder.tmp", ".hidden", "000500.png", "config.tmp", "samples"]


# --- checkpoints


def test_round_trip(tmp_path):
    path = checkpoint.path_for(tmp_path, 500)
    assert path == tmp_path / "checkpoints" / "step-00000500.safetensors"
    checkpoint.save(path, arrays(), META)
    got, meta = checkpoint.load(path)
    assert_same(got, arrays())
    assert meta == META
    assert all(array.flags.writeable and array.flags.c_contiguous for array in got.values())
    assert everything_in(tmp_path) == ["checkpoints", path.name]


def test_layout_in_memory_does_not_matter(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    odd = {"fortran": np.asfortranarray(x), "view": x[:, ::2, ::-1], "big": x.astype(">f4"), "turned": x.T}
    checkpoint.save(tmp_path / "a.safetensors", odd, {})
    got, _ = checkpoint.load(tmp_path / "a.safetensors")
    for name, array in odd.items():
        np.testing.assert_array_equal(got[name], array)


def test_nothing_to_store(tmp_path):
    checkpoint.save(tmp_path / "a", {}, {})
    assert checkpoint.load(tmp_path / "a") == ({}, {})


def test_what_cannot_be_stored(tmp_path):
    for tensors, meta, word in [
        ({"x": np.array([object()])}, {}, "object"),
        ({"x": np.zeros(2, np.complex128)}, {}, "complex128"),
        ({}, {"x": np.zeros(2)}, "not JSON"),
        ({}, {"format": 3}, "'format'"),
    ]:
        with pytest.raises(UsageError, match=word) as caught:
            checkpoint.save(tmp_path / "a", tensors, meta)
        one_line(caught)
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch, call):
    path = checkpoint.path_for(tmp_path, 1)
    checkpoint.save(path, arrays(), META)
    with monkeypatch.context() as patch:
        failing(errno.ENOSPC)(patch, call)
        with pytest.raises(OutputError, match="No space left on device"):
            checkpoint.save(path, {"x": np.ones(3)}, {})
    assert checkpoint.load(path)[1] == META
    assert everything_in(path.parent) == [path.name]


def test_a_real_limit_of_the_system(tmp_path):
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


def forge(path, description, tensors=None, digest=None):
    """A safetensors file with any description, whose sum fits unless one is given."""
    tensors = tensors or {"x": np.ones(2, np.float32)}
    text = description if isinstance(description, str) else json.dumps(description)
    digest = digest or checkpoint._digest(tensors, text)
    path.write_bytes(safetensors.numpy.save(tensors, {"fastgan": text, "sha256": digest}))


def test_newer_format_says_upgrade(tmp_path):
    forge(tmp_path / "a", {"format": 2, "version": "9.1"})
    with pytest.raises(CheckpointError, match=r"made by fastgan '9\.1' .*upgrade") as caught:
        checkpoint.load(tmp_path / "a")
    one_line(caught)


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


# --- hostile and damaged files


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
        "pt": ((folder / "zip").read_bytes(), "it looks like a zip"),
        "npz": ((folder / "npz.npz").read_bytes(), "it looks like a zip"),
        "npy": ((folder / "npy.npy").read_bytes(), "it looks like an .npy"),
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


def test_a_damaged_checkpoint_is_not_taken_for_a_pickle(tmp_path):
    def saved(pad):
        checkpoint.save(tmp_path / "a", {"x": np.ones(1)}, {"pad": "-" * pad})
        return (tmp_path / "a").read_bytes()

    content = next(content for pad in range(1000) if (content := saved(pad))[:2] == b"\x80\x02")
    (tmp_path / "a").write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(tmp_path / "a")


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


def mutate(content, rng):
    """One random damage: cut, longer, a bit, a byte, a run of bytes, a lie in the header."""
    damaged, length = bytearray(content), struct.unpack("<Q", content[:8])[0]
    at = rng.randrange(len(content))
    match rng.randrange(8):
        case 0:
            del damaged[at:]
        case 1:
            damaged += rng.randbytes(rng.randint(1, 64))
        case 2:
            damaged[at] ^= 1 << rng.randrange(8)
        case 3:
            damaged[rng.randrange(8 + length)] = rng.randrange(256)
        case 4:
            damaged[at : at + rng.randint(1, 40)] = rng.randbytes(rng.randint(0, 40))
        case 5:
            damaged[:8] = struct.pack(
                "<Q", rng.choice([0, 2, length - 8, length + 8, 2**31, rng.getrandbits(64)])
            )
        case 6:
            old, new = rng.choice([(b"F32", b"I32"), (b"F64", b"I64"), (b"3,4", b"4,3"), (b"500", b"501")])
            damaged = damaged.replace(old, new)
        case 7:
            digits = [i for i in range(8, 8 + length) if chr(damaged[i]).isdigit()]
            damaged[rng.choice(digits)] = ord(rng.choice("0123456789"))
    return bytes(damaged)


def test_damaged_files_are_exact_or_refused(tmp_path):
    path, want = tmp_path / "a", arrays()
    checkpoint.save(path, want, META)
    content, rng = path.read_bytes(), random.Random(20)
    every_bit = (
        content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))
    )
    mutants = [*every_bit, *(mutate(content, rng) for _ in range(5000))]
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
    assert len(mutants) > 5500
    assert refused > 0.95 * sum(
        mutant != content for mutant in mutants
    )  # spaces at a header's end may change


# --- a run's checkpoints


def checkpoints(run, steps):
    for step in steps:
        checkpoint.save(checkpoint.path_for(run, step), arrays(), {"step": step})


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_newest_is_by_step(tmp_path):
    checkpoints(tmp_path, [5, 99_999_999, 100_000_000, 70])
    (tmp_path / "checkpoints" / "step-x.safetensors").touch()
    (tmp_path / "checkpoints" / ".0.tmp").touch()
    assert checkpoint.newest(tmp_path) == checkpoint.path_for(tmp_path, 100_000_000)


def test_newest_falls_back(tmp_path):
    checkpoints(tmp_path, [1, 2, 3])
    flip(checkpoint.path_for(tmp_path, 3))
    with pytest.warns(RuntimeWarning, match=r"step-00000003\.safetensors' is damaged") as caught:
        assert checkpoint.newest(tmp_path) == checkpoint.path_for(tmp_path, 2)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for step in (1, 2):
        flip(checkpoint.path_for(tmp_path, step))
    with pytest.warns(RuntimeWarning), pytest.raises(CheckpointError, match="none of the 3 checkpoints"):
        checkpoint.newest(tmp_path)


def test_newest_does_not_fall_back_behind_a_newer_format(tmp_path):
    checkpoints(tmp_path, [1])
    forge(checkpoint.path_for(tmp_path, 2), {"format": 2, "version": "9.1"})
    with pytest.raises(CheckpointError, match="upgrade"):
        checkpoint.newest(tmp_path)


@pytest.mark.parametrize("name", [".", "missing"])
def test_no_checkpoint_at_all(tmp_path, name):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoint.newest(tmp_path / name)


def test_prune(tmp_path, monkeypatch):
    checkpoints(tmp_path, [1, 2, 3, 4, 100_000_000])
    (tmp_path / "checkpoints" / "best.safetensors").touch()
    checkpoint.prune(tmp_path, keep=2)
    left = ["best.safetensors", "step-00000004.safetensors", "step-100000000.safetensors"]
    assert everything_in(tmp_path / "checkpoints") == left
    checkpoint.prune(tmp_path)
    assert everything_in(tmp_path / "checkpoints") == left
    with pytest.raises(UsageError, match="at least 1"):
        checkpoint.prune(tmp_path, keep=0)
    failing(errno.EROFS)(monkeypatch, "unlink")
    with pytest.raises(OutputError, match=r"cannot delete .*Read-only"):
        checkpoint.prune(tmp_path, keep=1)


KILLED = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from fastgan.train import checkpoint, files

warnings.simplefilter("error")  # a damaged checkpoint would be skipped with a warning
run, rng, last, stale = Path(sys.argv[1]), random.Random(3), 0, 0
checkpoint.save(checkpoint.path_for(run, 0), {"x": np.zeros(60_000)}, {"step": 0})
for _ in range(20):
    child = os.fork()
    if child == 0:
        for step in range(last + 1, last + 1_000_000):
            checkpoint.save(checkpoint.path_for(run, step), {"x": np.full(60_000, step * 1.0)}, {"step": step})
            checkpoint.prune(run)
    time.sleep(rng.uniform(0.002, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in (run / "checkpoints").glob("step*"):
        checkpoint.load(path)
    arrays, meta = checkpoint.load(checkpoint.newest(run))
    assert meta["step"] >= last and (arrays["x"] == meta["step"]).all(), (meta, last)
    last = meta["step"]
    stale += files.clean_stale(run)
assert not list(run.rglob(".*")), list(run.rglob(".*"))
print(last, stale)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_moment(tmp_path):
    here = os.environ | {"PYTHONPATH": str(Path(fastgan.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], env=here, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    last, _ = map(int, done.stdout.split())
    assert last > 0  # it was killed while it wrote, not before
