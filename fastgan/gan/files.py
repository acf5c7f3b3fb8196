"""Writing to disk. One idea: a file is either there whole or not at all.

The content goes to a temporary file beside the target (from another file system the rename would be a copy),
is forced to the disk, and takes the target's name in one step; only then is the folder forced to the disk.
What a killed process can leave behind is a hidden `.*.tmp`, which `clean_stale` removes. That a *process* may
die at any moment is tested; that the *power* may fail rests on the order write, fsync, rename, fsync alone.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from itertools import count
from pathlib import Path

from fastgan.errors import OutputError, UsageError

_NEXT_STEP = {
    errno.ENOSPC: "free some space there, or write to another disk (--out)",
    errno.EDQUOT: "free some of your quota, or write to another disk (--out)",
    errno.EROFS: "write to a folder that is not read-only (--out)",
    errno.EACCES: "ask for write permission there, or write to another folder (--out)",
    errno.EPERM: "ask for write permission there, or write to another folder (--out)",
    errno.ENOENT: "make the folder first, or write to another one (--out)",
    errno.ENOTDIR: "a part of the path is a file; write to another folder (--out)",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_OTHERWISE = "check the disk, or write to another folder (--out)"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_MODE = 0o666  # the kernel takes the umask off: teammates can read what the user lets them read


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that the old file, or the new one, is there whole at every moment.

    The folder of `path` is made when only that is missing. A link keeps being a link: the file that it points to
    is replaced. OutputError when the target is a folder or a device, and on any failure of the system; the old
    file is then intact and no temporary file remains.
    (When only the last step, forcing the folder to the disk, fails, the new file is already in place.)
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        _refuse_special(target, path)
        ensure_folder(target.parent)
        try:
            _write_through(temporary, content)
            os.replace(temporary, target)
        except BaseException:  # KeyboardInterrupt too
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OutputError:
        raise
    except OSError as error:
        raise failure("write", path, error) from error


def append_line(path: Path, text: str) -> None:
    """Add `text` and a line end to a log; a line that does not fit on the disk is taken back. OutputError."""
    if "\n" in text:
        raise UsageError(f"append_line takes one line, got {text.count(chr(10)) + 1}: call it once for each")
    try:
        with open(path, "a+b", buffering=0) as log:
            size = log.seek(0, os.SEEK_END)
            # a power cut may have torn the last line: begin a new one
            start = b"" if _ends_with_newline(log.fileno(), size) else b"\n"
            try:
                _write_all(log.fileno(), start + text.encode() + b"\n")
            except OSError:
                log.truncate(size)
                raise
    except OSError as error:
        raise failure("write", path, error) from error


def make_directory(path: Path) -> None:
    """Make a directory and its parents, unless it is there. OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{_quoted(path)} is a file, wanted a folder: choose another --out") from error
    except OSError as error:
        raise failure("make", path, error) from error


def make_numbered(path: Path) -> Path:
    """Make a new directory, name, name-2, ..., that no other process gets as well; its path. OutputError."""
    make_directory(path.parent)
    for n in count(1):
        place = path if n == 1 else path.with_name(f"{path.name}-{n}")
        try:
            place.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise failure("make", place, error) from error
        break
    return place


def ensure_folder(path: Path) -> None:
    """Make a folder, such as one of a run directory, unless it is there; its parent must be. OutputError."""
    if path.is_dir():
        return
    try:
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise failure("make", path, error) from error


def clean_stale(directory: Path) -> int:
    """Remove the `.*.tmp` of a killed process from a run directory and its folders; how many. OutputError."""
    removed = 0
    try:
        for stale in (*directory.glob(".*.tmp"), *directory.glob("*/.*.tmp")):
            if stat.S_ISREG(stale.lstat().st_mode):
                stale.unlink()
                removed += 1
    except OSError as error:
        raise failure("clean", directory, error) from error
    return removed


def remove(path: Path) -> None:
    """Delete a file, if it is there. OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise failure("delete", path, error) from error


def _refuse_special(target: Path, path: Path) -> None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise OutputError(f"cannot write {_quoted(path)}: it is {kind}, wanted a file; choose another name")


def _write_through(path: Path, content: bytes) -> None:
    handle = os.open(path, _CREATE, _MODE)
    try:
        _write_all(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)  # a network disk may report a full quota only here


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


def _ends_with_newline(handle: int, size: int) -> bool:
    if size == 0:
        return True
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1) == b"\n"


def _quoted(path: Path) -> str:
    return repr(str(path))  # a line end in a name stays on the line


def failure(action: str, path: Path, error: OSError) -> OutputError:
    """What to raise where the system does not do an action with a path."""
    reason = error.strerror or str(error)
    failure = OutputError(
        f"cannot {action} {_quoted(path)}: {reason}; {_NEXT_STEP.get(error.errno or 0, _OTHERWISE)}"
    )
    failure.errno = error.errno
    return failure
