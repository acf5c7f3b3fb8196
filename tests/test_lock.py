"""A run directory's lock: one holder, however the last one ended."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_helpers import everything_in, one_line

import fastgan
from fastgan.errors import OutputError
from fastgan.gan import lock
from fastgan.gan.lock import Lock, claim

ROOT = Path(fastgan.__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from fastgan.gan.lock import Lock
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.skipif(lock.fcntl is None, reason="no flock here")


def test_one_holder_at_a_time(tmp_path):
    held = Lock(tmp_path)
    with pytest.raises(OutputError, match=f"under way .*process {os.getpid()}") as caught:
        Lock(tmp_path)
    one_line(caught)
    assert held.is_ours()
    held.release()
    assert everything_in(tmp_path) == []
    Lock(tmp_path).release()


def test_a_killed_holder_leaves_no_lock(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], env=env, stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(OutputError, match=f"process {holder.pid}"):
                Lock(tmp_path)
        finally:
            holder.send_signal(signal.SIGKILL)
    assert everything_in(tmp_path) == [lock.NAME]
    again = Lock(tmp_path)
    assert f"process {os.getpid()}" in (tmp_path / lock.NAME).read_text()
    again.release()
    assert everything_in(tmp_path) == []


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
    with pytest.raises(OutputError, match="under way"):
        Lock(tmp_path)
    held.release()


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
    with pytest.raises(
        OutputError, match="exists already: choose another --out, or `fastgan resume"
    ) as caught:
        claim(run)
    one_line(caught)
    assert everything_in(run) == ["config.toml"]


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with pytest.warns(RuntimeWarning, match="no locks"):
        held = Lock(tmp_path)
    held.release()
    assert everything_in(tmp_path) == []
