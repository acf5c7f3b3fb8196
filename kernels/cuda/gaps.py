"""What numba-cuda 0.30 lacks: `filled` lends it for the time of a compilation, and takes it back."""

from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

OLDEST = (8, 0)  # the compute capability that code of no architecture is compiled as


@contextmanager
def filled():
    """A block that compiles: numba-cuda needs no GPU in it, and no NumPy below 2.5."""
    with _row_stack(), _without_a_device():
        yield


@contextmanager
def _row_stack():
    """numba-cuda overloads np.row_stack when it compiles for the first time, and NumPy 2.5 has removed that name."""
    if hasattr(np, "row_stack"):
        yield
        return

    def row_stack(arrays):
        return np.vstack(arrays)

    vars(np)["row_stack"] = row_stack
    try:
        yield
    finally:
        del vars(np)["row_stack"]


@contextmanager
def _without_a_device():
    """Numba asks the current GPU what to compile an inner function for, although there is nothing to know."""
    dispatcher: Any = import_module("numba.cuda.dispatcher")

    class Device:
        compute_capability = OLDEST

    asked, dispatcher.get_current_device = dispatcher.get_current_device, Device
    try:
        yield
    finally:
        dispatcher.get_current_device = asked
