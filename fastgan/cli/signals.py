"""What ends a command from outside: Ctrl-C and other signals, a closed terminal, an output that nobody reads any more.

While training, the first of them asks the Trainer to stop after its step, so that the run is saved; a second signal
ends it at once. Output that fails to be written is noticed once, told to who watches, and from then on goes nowhere,
so that neither a later print nor the interpreter's last flush fails again.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from fastgan.errors import OutputError
from fastgan.gan import Trainer

BROKEN_PIPE = 141  # exit code of a program that SIGPIPE ends
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
HANGUP = getattr(signal, "SIGHUP", None)
NOTICE = "fastgan: stopping after this step; Ctrl-C again ends at once"


class Stop:
    """Why a Trainer was asked to stop, if it was: `exit_code` is 0, or as shells have it for what came first."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.exit_code = trainer, 0
        self.unheard = ""  # why standard output cannot be written, if so

    def ask(self, exit_code: int) -> None:
        """Let the Trainer stop after its step."""
        self.exit_code = self.exit_code or exit_code
        self.trainer.stop_wanted = True

    def output_failed(self, error: OSError) -> None:
        """Ask, as standard output cannot be written."""
        self.unheard = error.strerror or str(error)
        self.ask(BROKEN_PIPE if isinstance(error, BrokenPipeError) else OutputError.exit_code)

    def handle(self, number: int, _: Any) -> None:
        """Ask at a signal. The second raises SystemExit, but hanging up comes twice, from the system and the shell."""
        if not self.exit_code:
            self.ask(128 + number)
            say(NOTICE)
        elif number != HANGUP:
            raise SystemExit(128 + number)


@contextmanager
def stopping(trainer: Trainer) -> Iterator[Stop]:
    """Handle the signals in a block, and restore the handlers after it."""
    stop = Stop(trainer)
    main = threading.current_thread() is threading.main_thread()  # only that may set handlers
    wanted = [n for n in SIGNALS if n != HANGUP or signal.getsignal(n) != signal.SIG_IGN]  # nohup ignores it
    before = {number: signal.signal(number, stop.handle) for number in wanted if main}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class Output:
    """A text stream that calls `failed` with the system's error, where it cannot be written."""

    def __init__(self, stream: Any, failed: Callable[[OSError], None]) -> None:
        self.stream, self.failed = stream, failed

    def write(self, text: str) -> int:
        """As of any text stream."""
        self.flush(lambda: self.stream.write(text))
        return len(text)

    def flush(self, call: Callable[[], object] | None = None) -> None:
        """As of any text stream."""
        try:
            (call or self.stream.flush)()
        except OSError as error:
            _silence(self.stream)
            self.failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


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
