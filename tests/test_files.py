"""Files are written whole or not at all, whatever fails on the way."""

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkpoint_helpers import everything_in, failing, one_line

from fastgan.errors import OutputError, UsageError
from fastgan.gan import files


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
    files.make_directory(run)
    (run / "config.toml").touch()
    with pytest.raises(OutputError, match="is a file"):
        files.make_directory(run / "config.toml")
    with pytest.raises(OutputError, match="Not a directory; a part of the path is a file"):
        files.make_directory(run / "config.toml" / "b")


@pytest.mark.parametrize("make", [files.make_directory, files.ensure_folder, files.make_numbered])
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


def test_numbered_directories_are_never_shared(tmp_path):
    start = threading.Barrier(10)

    def make(_):
        start.wait()
        return files.make_numbered(tmp_path / "runs" / "a")

    with ThreadPoolExecutor(10) as pool:
        made = set(pool.map(make, range(10)))
    assert {path.name for path in made} == {"a", *(f"a-{n}" for n in range(2, 11))}
    assert set((tmp_path / "runs").iterdir()) == made
