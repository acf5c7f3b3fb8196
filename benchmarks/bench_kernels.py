"""Single kernels for pytest-benchmark: see `conftest` and `suites/kernels.py`."""

from collections.abc import Callable

SUITES = ("kernels",)


def test_kernel(case: str, column: str, timed: Callable[[str, str], None]) -> None:
    timed(case, column)
