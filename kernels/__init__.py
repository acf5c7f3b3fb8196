"""Kernels: another way to run array code that exists. Raw arrays in, raw arrays out; nothing of ours is imported.

One module per family, named by what it computes (dense, noise, update). `formulas` holds what both sides need:
activations, score losses, constants. The loops are serial and release the GIL: OpenBLAS owns the threads (two pools
that spin against each other cost more than both bring), or where a run has convolutions `splitting.py` does, and BLAS
has one for each of its own.
`fastgan/fused.py` is the one table that joins kernels to the array code they replace.
"""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Where compiled kernels are kept: $NUMBA_CACHE_DIR, or fastgan's folder in the user's cache.

    Not beside the sources, where Numba would put them: pip does not remove files that it did not install, and what is
    left of a package's folder hides a later editable install of it.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return Path(os.environ["NUMBA_CACHE_DIR"])
    home = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(home) or os.path.expanduser("~/.cache")) / "fastgan" / "kernels"
