"""The suites of `fastgan bench`: a module each, with `rows(bench)`, which measures and yields, and often `cases(size)`.

One idea: a suite is added here and nowhere else. `cases` are what pytest-benchmark runs as well, and CI in their tiny
size; whatever a suite measures beyond them (memory, launches, a first start, seconds to a quality) it does in `rows` by
itself, and the tests look at that.
"""

from importlib import import_module

from fastgan.benchmarks.cases import Case
from fastgan.errors import UsageError

# what `--suite` takes, in the order in which they run: what matters most has the time that others may lack
SUITES = {
    "steps": "whole training steps of every recipe, and where the speed comes from",
    "kernels": "single kernels and layers against array code and peers",
    "crossover": "from which batch and width on one engine beats another",
    "scaling": "time and memory as batch, width, depth and data grow",
    "quality-time": "seconds until samples are good, against PyTorch with the same recipe",
}
SIZES = ("full", "quick", "tiny")  # tiny: one round of next to nothing, to see that it runs
WITH_CASES = ("kernels", "layers", "steps", "ideas", "crossover", "scaling")  # the modules that have `cases`


def module_of(suite: str) -> str:
    """The module of a suite."""
    return f"{__name__}.{suite.replace('-', '_')}"


def cases(suite: str, size: str) -> list[Case]:
    """The cases of one module of this package."""
    found: list[Case] = import_module(module_of(suite)).cases(size)
    return found


def find(key: str, size: str) -> Case:
    """The case called suite/group/name; UsageError."""
    suite = key.partition("/")[0]
    for case in cases(suite, size):
        if case.key == key:
            return case
    raise UsageError(f"no case is called {key!r} in size {size!r}")
