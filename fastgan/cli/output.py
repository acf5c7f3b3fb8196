"""Standard output and error where nobody reads them any more: `| head`, a full disk, a terminal that was closed.

One idea: what fails to be written is noticed once, told to who watches, and from then on goes nowhere, so that neither
a later print nor the interpreter's last flush fails again.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

BROKEN_PIPE = 141  # exit code of a program that SIGPIPE ends


class Output:
    """A text stream that calls `failed` with the system's error, where it cannot be written."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]) -> None:
        self.stream, self.failed = stream, failed

    def write(self, text: str) -> int:
        """As of any text stream."""
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        """As of any text stream."""
        self._try(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, call: Callable[..., Any], *operands: Any) -> None:
        try:
            call(*operands)
        except OSError as error:
            _silence(self.stream)
            self.failed(error)


@contextmanager
def watched(failed: Callable[[OSError], None]) -> Iterator[None]:
    """A block in which `failed` is told where standard output cannot be written; it may raise."""
    stream = sys.stdout.stream if isinstance(sys.stdout, Output) else sys.stdout
    with redirect_stdout(Output(stream, failed)):
        yield


def say(text: str) -> None:
    """A line on standard error, as far as somebody reads it; may be called by a signal's handler."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)
    except RuntimeError:  # the signal came while a line was being written
        pass


def _silence(stream: Any) -> None:
    """Send what is still to be written nowhere."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
