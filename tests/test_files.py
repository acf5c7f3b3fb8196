"""Files are written whole or not at all, whatever fails; a directory has one holder, however the last one ended."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checkpoint_helpers import everything_in, failing, one_line

import fastgan
from fastgan.errors import OutputError
from fastgan.gan import files, lock
from fastgan.gan.lock import Lock, claim


def refused(call, match):
    """The OutputError of a call, which is of one line."""
    with pytest.raises(OutputError, match=match) as caught:
        call()
    one_line(caught)
    return caught.value


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
def test_a_fault_leaves_the_old_file(tmp_path, monkeypatch, code):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    for call, after in [("open", 0), ("write", 0), ("write", 3), ("fsync", 0), ("replace", 0)]:
        with monkeypatch.context() as patch:
            failing(code, after)(patch, call)
            error = refused(lambda: files.write_atomic(target, b"new content"), FAULTS[code])
        assert str(target) in str(error)
        assert error.errno == code
        assert target.read_bytes() == b"old"
        assert everything_in(tmp_path) == ["a"]
    failing(code)(monkeypatch, "mkdir")
    for make in (files.make_directory, files.make_numbered):
        refused(lambda make=make: make(tmp_path / "b"), f"cannot make .*{FAULTS[code]}")


def test_a_fault_on_the_folder_is_reported_unless_it_cannot_be_forced(tmp_path, monkeypatch):
    for code in (errno.EIO, errno.EINVAL):
        with monkeypatch.context() as patch:
            failing(code, after=1)(patch, "fsync")
            if code == errno.EIO:
                refused(lambda: files.write_atomic(tmp_path / "a", b"new"), "Input/output")
            else:
                files.write_atomic(tmp_path / "a", b"new")
        assert everything_in(tmp_path) == ["a"]  # whole, since it was forced to the disk before the rename
        assert (tmp_path / "a").read_bytes() == b"new"


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


def test_only_files_are_replaced_and_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in {"folder": "folder", "pipe": "pipe", "null": "device"}.items():
        refused(lambda name=name: files.write_atomic(tmp_path / name, b"x"), kind)
    assert everything_in(tmp_path) == ["folder", "null", "pipe"]
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_missing_folder_and_odd_names(tmp_path):
    for folder in ("no/samples", "no/two\nlines"):
        path = tmp_path / folder / "a"
        refused(
            lambda path=path: files.write_atomic(path, b"x"), "No such file or directory; make the folder"
        )
    files.write_atomic(tmp_path / "samples" / "a", b"x")
    files.write_atomic(tmp_path / ("n" * 250), b"x")  # 255 bytes is the limit of most file systems


def test_append_line_keeps_lines_whole(tmp_path, monkeypatch):
    log = tmp_path / "metrics.jsonl"
    files.append_line(log, "one")
    with monkeypatch.context() as patch:
        failing(errno.ENOSPC, after=2)(patch, "write")
        refused(lambda: files.append_line(log, "two"), "No space left")
    assert log.read_text() == "one\n"
    log.write_text("one\ntor")
    files.append_line(log, "three")
    assert log.read_text() == "one\ntor\nthree\n"


def test_make_directory(tmp_path):
    run = tmp_path / "runs" / "a"
    files.make_directory(run)
    files.make_directory(run)
    (run / "config.toml").touch()
    refused(lambda: files.make_directory(run / "config.toml"), "is a file")
    match = "Not a directory; a part of the path is a file"
    refused(lambda: files.make_directory(run / "config.toml" / "b"), match)


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


# The lock of a run directory

flock = pytest.mark.skipif(lock.fcntl is None, reason="no flock here")
HOLDER = """
import sys, time
from pathlib import Path
from fastgan.gan.lock import Lock
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@flock
def test_one_holder_at_a_time(tmp_path):
    held = Lock(tmp_path)
    refused(lambda: Lock(tmp_path), f"under way .*process {os.getpid()}")
    assert held.is_ours()
    held.release()
    assert everything_in(tmp_path) == []
    Lock(tmp_path).release()


@flock
def test_a_killed_holder_leaves_no_lock(tmp_path):
    words = [sys.executable, "-c", HOLDER, tmp_path]
    env = {**os.environ, "PYTHONPATH": str(Path(fastgan.__file__).parents[1])}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            refused(lambda: Lock(tmp_path), f"process {holder.pid}")
        finally:
            holder.send_signal(signal.SIGKILL)
    assert everything_in(tmp_path) == [lock.NAME]
    again = Lock(tmp_path)
    assert f"process {os.getpid()}" in (tmp_path / lock.NAME).read_text()
    again.release()
    assert everything_in(tmp_path) == []


@flock
def test_a_file_that_its_last_holder_deletes_is_not_what_is_locked(tmp_path, monkeypatch):
    """Between opening and locking it: two would hold a lock, one of them on a file that nobody finds."""
    real, seen = lock.fcntl.flock, []

    def late(handle, how):
        seen.append(handle)
        if len(seen) == 1:
            (tmp_path / lock.NAME).unlink()
        return real(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    held = Lock(tmp_path)
    assert held.is_ours()
    refused(lambda: Lock(tmp_path), "under way")
    held.release()


@flock
def test_a_folder_that_was_made_anew_is_another(tmp_path):
    run = tmp_path / "run"
    first = claim(run)
    (run / lock.NAME).unlink()
    run.rmdir()
    assert not first.is_ours()
    second = claim(run)
    first.release()
    assert second.is_ours()
    second.release()


def test_a_new_directory_is_empty(tmp_path):
    run = tmp_path / "a" / "run"
    claim(run).release()
    claim(run).release()
    (run / "config.toml").touch()
    refused(lambda: claim(run), "exists already: choose another --out, or `fastgan resume")
    assert everything_in(run) == ["config.toml"]


@flock
def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with pytest.warns(RuntimeWarning, match="no locks"):
        held = Lock(tmp_path)
    held.release()
    assert everything_in(tmp_path) == []
