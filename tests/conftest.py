"""Tests marked `gpu` are skipped, with the reason, where CUDA cannot be used."""

import pytest

from fastgan.backend import cuda_problem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = cuda_problem() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
