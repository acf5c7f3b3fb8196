"""Layers for pytest-benchmark: see `conftest` and `suites/layers.py`."""

from collections.abc import Callable

SUITES = ("layers",)


def test_layer(case: str, column: str, timed: Callable[[str, str], None]) -> None:
    timed(case, column)
