"""Checkpoints: exact when read back, never lost to a full disk; the newest of a run and the pruning of old ones."""

import base64
import errno

import numpy as np
import pytest
from checkpoint_helpers import META, arrays, assert_same, everything_in, failing, forge, one_line

from fastgan.errors import CheckpointError, OutputError, UsageError
from fastgan.gan import checkpoint


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
    checkpoint.save(tmp_path / "a.safetensors", {}, {})
    assert checkpoint.load(tmp_path / "a.safetensors") == ({}, {})


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


def test_newer_format_says_upgrade(tmp_path):
    forge(tmp_path / "a", {"format": 2, "version": "9.1"})
    with pytest.raises(CheckpointError, match=r"made by fastgan '9\.1' .*upgrade") as caught:
        checkpoint.load(tmp_path / "a")
    one_line(caught)


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
    checkpoint.prune(tmp_path, keep=3)
    assert everything_in(tmp_path / "checkpoints") == left
    failing(errno.EROFS)(monkeypatch, "unlink")
    with pytest.raises(OutputError, match=r"cannot delete .*Read-only"):
        checkpoint.prune(tmp_path, keep=1)


def test_equal_contents_are_equal_files(tmp_path):
    for k in range(20):
        checkpoint.save(tmp_path / str(k), arrays(), META)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
