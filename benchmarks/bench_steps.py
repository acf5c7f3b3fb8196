"""Whole training steps, and what each idea brought, for pytest-benchmark: see `conftest`, `suites/steps.py`."""

from collections.abc import Callable

SUITES = ("steps", "ideas")


def test_step(case: str, column: str, timed: Callable[[str, str], None]) -> None:
    timed(case, column)
