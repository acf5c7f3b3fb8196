"""One run in a directory at a time. One idea: the system keeps the lock, and gives it back however its holder ends.

The lock is flock's on a file `.lock`, so that none is left behind by a kill or a power cut, the number of a process
that is gone may be another's by now, and of two that come at once one gets it, from another host of a network disk
too. What the file says is for the message to whoever comes second.
"""

import errno
import os
import socket
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

from fastgan.errors import OutputError
from fastgan.gan import files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """The lock of a run directory, from now until `release` or the end of the process.

    OutputError where a run is under way there, or the file cannot be made. Where the disk has no locks, a warning.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self._handle = self._take()
        while not self.is_ours():  # the last holder deleted the file between our opening and locking it
            os.close(self._handle)
            self._handle = self._take()

    def is_ours(self) -> bool:
        """Whether the directory is still the one that was locked: neither deleted, moved nor made anew."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._handle), self.path.stat())
        return False

    def release(self) -> None:
        """Give the lock back, and delete its file."""
        with suppress(OSError):
            if self.is_ours():
                self.path.unlink()
        os.close(self._handle)

    def _take(self) -> int:
        """The file, open and locked."""
        with files.doing("lock", self.path), ExitStack() as stack:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, handle)
            if not self._locked(handle):
                who = os.read(handle, 300).decode(errors="replace") or "one that has just begun"
                raise OutputError(
                    f"a run is under way in {str(self.folder)!r} ({who}): wait for its end, or stop it first"
                )
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
            stack.pop_all()
        return handle

    def _locked(self, handle: int) -> bool:
        """Whether nobody else has the lock; a warning, and no lock, where the disk has none."""
        try:
            if fcntl:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        text = f"no locks on the disk of {str(self.folder)!r}: see to it that only one run writes there"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return True


def claim(folder: Path) -> Lock:
    """The lock of a new run directory, made with its parents or found empty; OutputError where it holds something."""
    files.make_directory(folder)
    lock = Lock(folder)
    if any(path.name != NAME for path in folder.iterdir()):
        lock.release()
        raise OutputError(
            f"{str(folder)!r} exists already: choose another --out, or `fastgan resume {folder}` to go on"
        )
    return lock
