"""The stand-in for CuPy (fastgan/standin.py) for the length of a test."""

import sys

from fastgan.standin import Module, ndarray

__all__ = ["install", "ndarray"]


def install(monkeypatch):
    """Let `import cupy` find the stand-in, and a driver; what else a test patches is undone with it."""
    monkeypatch.setattr("fastgan.device._driver_found", lambda: True)
    monkeypatch.setitem(sys.modules, "cupy", Module("cupy"))
