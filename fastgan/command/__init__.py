"""The command `fastgan` from its first moment: Ctrl-C while Python still imports ends it without a traceback.

Installed as `fastgan_command`, beside the package and not in it, as importing the package is what takes the time.
"""

import os
import signal

INTERRUPTED = 130


def main() -> int:
    """Import the command line and run it; the exit code."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else ignored, and it stays so
    if heard:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from fastgan.cli import main as command

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()
