"""The folder's tests run in Numba's simulator only, which must be chosen before Numba is imported.

Elsewhere their files are skipped unread: they import kernels, which need numba-cuda.
"""

import pytest

from fastgan.kernels.cuda.launching import SIMULATED

if SIMULATED:
    from fakes import blocks

    blocks.install()


class Unread(pytest.Module):
    def collect(self):
        pytest.skip("needs Numba's CUDA simulator: set NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    return None if SIMULATED else Unread.from_parent(parent, path=module_path)
