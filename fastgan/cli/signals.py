"""What ends a run from outside: Ctrl-C and other signals, a closed terminal, an output that nobody reads any more.

The first of them asks the Trainer to stop after its step, so that the run is saved; a second signal ends it at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastgan.cli.output import BROKEN_PIPE, say
from fastgan.errors import OutputError
from fastgan.gan import Trainer

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
]
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

    def handle(self, number: int, frame: FrameType | None) -> None:
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
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield stop
        return
    wanted = [n for n in SIGNALS if n != HANGUP or signal.getsignal(n) != signal.SIG_IGN]  # nohup ignores it
    before = {number: signal.signal(number, stop.handle) for number in wanted}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
