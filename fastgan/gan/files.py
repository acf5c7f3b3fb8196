"""Writing to disk. One idea: a file is either there whole or not at all.

The content goes to a temporary file beside the target (from another file system the rename would be a copy),
is forced to the disk, and takes the target's name in one step; only then is the folder forced to the disk.
What a killed process can leave behind is a hidden `.*.tmp`, which `clean_stale` removes. That a *process* may
die at any moment is tested; that the *power* may fail rests on the order write, fsync, rename, fsync alone.
Every failure of the system is an OutputError.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from fastgan.errors import OutputError

_ASK = "ask for write permission there, or write to another folder (--out)"
_NEXT_STEP = {
    errno.ENOSPC: "free some space there, or write to another disk (--out)",
    errno.EDQUOT: "free some of your quota, or write to another disk (--out)",
    errno.EROFS: "write to a folder that is not read-only (--out)",
    errno.EACCES: _ASK,
    errno.EPERM: _ASK,
    errno.ENOENT: "make the folder first, or write to another one (--out)",
    errno.ENOTDIR: "a part of the path is a file; write to another folder (--out)",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_OTHERWISE = "check the disk, or write to another folder (--out)"


@contextmanager
def doing(action: str, path: Path) -> Iterator[None]:
    """A block in which the system does an action with a path; OutputError, with what to do, where it does not."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        todo = _NEXT_STEP.get(error.errno or 0, _OTHERWISE)
        failure = OutputError(f"cannot {action} {str(path)!r}: {error.strerror or error}; {todo}")
        failure.errno = error.errno
        raise failure from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that the old file, or the new one, is there whole at every moment.

    The folder of `path` is made when only that is missing. A link keeps being a link: the file that it points to
    is replaced. OutputError also when the target is a folder or a device; on any failure the old file is intact and
    no temporary file remains.
    (When only the last step, forcing the folder to the disk, fails, the new file is already in place.)
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    with doing("write", path):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(mode := target.stat().st_mode):
                kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
                raise OutputError(
                    f"cannot write {str(path)!r}: it is {kind}, wanted a file; choose another name"
                )
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _sync_folder(target.parent.parent)
        try:
            with open(temporary, "xb", buffering=0) as file:
                _write_all(file.fileno(), content)
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:  # KeyboardInterrupt too
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def append_line(path: Path, text: str) -> None:
    """Add one line to a log; one that does not fit on the disk is taken back."""
    with doing("write", path), open(path, "a+b", buffering=0) as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - 1))
        start = b"" if log.read() in (b"", b"\n") else b"\n"  # a power cut may have torn the last line
        try:
            _write_all(log.fileno(), start + text.encode() + b"\n")
        except OSError:
            log.truncate(size)
            raise


def make_directory(path: Path) -> None:
    """Make a directory and its parents, unless it is there."""
    with doing("make", path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(f"{str(path)!r} is a file, wanted a folder: choose another --out") from error


def make_numbered(path: Path) -> Path:
    """Make a new directory, name, name-2, ..., that no other process gets as well; its path."""
    make_directory(path.parent)
    places = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    for place in places:
        with doing("make", place), suppress(FileExistsError):
            place.mkdir()
            break
    return place


def clean_stale(directory: Path) -> int:
    """Remove the `.*.tmp` of a killed process from a run directory and its folders; how many."""
    found = (*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp"))
    stale = [path for path in found if stat.S_ISREG(path.lstat().st_mode)]
    for path in stale:
        remove(path)
    return len(stale)


def remove(path: Path) -> None:
    """Delete a file, if it is there."""
    with doing("delete", path):
        path.unlink(missing_ok=True)


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]  # one call writes at most 2 GiB, and less on a nearly full disk


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # said where a folder cannot be forced
            raise
    finally:
        os.close(handle)
