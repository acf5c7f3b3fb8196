"""Every case of every suite that has cases, for pytest-benchmark: see `conftest`."""

from collections.abc import Callable


def test_case(case: str, column: str, timed: Callable[[str, str], None]) -> None:
    timed(case, column)
