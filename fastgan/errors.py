"""The errors that a user can cause. Each message is one line: what was got, what was wanted, what to do.

The command line prints the line and ends with the class's `exit_code`; `--debug` shows the traceback. Every class
is also a standard exception, so that `except ValueError` around a library call keeps working.
"""


class FastganError(Exception):
    """Base of every error that fastgan raises on purpose."""

    exit_code = 2


class UsageError(FastganError, ValueError):
    """An unknown name, an option out of range, or a combination that makes no sense."""


class ShapeError(FastganError, ValueError):
    """Operands whose shapes do not fit together."""


class DeviceError(FastganError, TypeError):
    """A device that cannot be used, or operands that live on different ones."""


class CaptureError(FastganError, RuntimeError):
    """A step that cannot be captured as one graph and replayed; training goes on without."""


class DataError(FastganError, ValueError):
    """A data set that is missing, damaged, or not what the recipe can learn from."""


class CheckpointError(FastganError, ValueError):
    """A checkpoint or run directory that is damaged, foreign, or made by a newer version."""


class OutputError(FastganError, OSError):
    """Something could not be written: full disk, read-only folder, or a directory that exists already."""

    exit_code = 4


class DivergedError(FastganError, ArithmeticError):
    """Training produced losses or parameters that are not finite."""

    exit_code = 3
