"""Which kernels a host function launches: in the simulator a wide access is right anywhere, on a GPU it is not."""

import pytest

from fastgan.kernels.cuda.launching import Kernel


@pytest.fixture
def launched(monkeypatch):
    """(name, values) of every launch."""
    found, call = [], Kernel.__call__

    def noted(self, grid, *values, **settings):
        found.append((self.name, values))
        return call(self, grid, *values, **settings)

    monkeypatch.setattr(Kernel, "__call__", noted)
    return found
