"""Ctrl-C and SIGTERM while training: the first asks the Trainer to stop after its step, the second ends at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastgan.train import Trainer

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"fastgan: stopping after this step; Ctrl-C again ends at once\n"


class Stop:
    """Which signal came, if any."""

    number = 0

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM, as shells have it; 0 where none came."""
        return 128 + self.number if self.number else 0


@contextmanager
def stopping(trainer: Trainer) -> Iterator[Stop]:
    """Handle the signals in a block, and restore the handlers after it. The second signal raises SystemExit."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.number:
            raise SystemExit(128 + number)
        stop.number, trainer.stop_wanted = number, True
        os.write(2, _NOTICE)  # print could re-enter

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
