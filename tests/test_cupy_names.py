"""What array code takes from `xp` must exist in CuPy, with the keywords it is called with: checked without a GPU."""

import warnings
from pathlib import Path
from types import ModuleType

import pytest
from cupy_names import problems, uses

import fastgan
from fastgan.kernels.formulas import arrays

PACKAGE = Path(fastgan.__file__).parent
ON_THE_HOST = {"cli", "data", "kernels"}


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.relative_to(PACKAGE).parts[0] not in ON_THE_HOST]


@pytest.fixture(scope="module")
def cupy() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # about drivers and duplicate installations: none of this test's business
        return pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)  # type: ignore[no-any-return]


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_name_exists_in_cupy(file: Path, cupy: ModuleType) -> None:
    assert problems(file.read_text(), cupy) == []


def test_names_are_found_at_all() -> None:
    names = {name for file in FILES for _, name, _ in uses(file.read_text())}
    assert {"stack", "where", "clip", "concatenate", "cuda.get_current_stream"} <= names
    assert len(names) > 25


def test_formulas_find_their_names(cupy: ModuleType) -> None:
    assert callable(arrays(cupy).tanh)


def test_a_name_that_cupy_lacks_is_found(cupy: ModuleType) -> None:
    source = """
xp.nanstd2(x)
array_module(x).linalg.nothing(x)
device.module_of(device).nowhere
xp.stack([x], dtype_of=1)
xp.zeros(3).anything; other.nanstd2
"""
    assert problems(source, cupy) == [
        "line 2: nanstd2",
        "line 3: linalg.nothing",
        "line 4: nowhere",
        "line 5: stack(dtype_of=)",
    ]
