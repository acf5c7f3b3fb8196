"""What array code takes from `xp` must exist in CuPy, with the keywords it is called with: checked without a GPU."""

import ast
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastgan

PACKAGE = Path(fastgan.__file__).parent
ON_THE_HOST = {"cli", "data", "kernels"}
MODULE_CALLS = {"array_module", "module_of"}


def dotted(node: ast.expr) -> str | None:
    """ "linalg.norm" for xp.linalg.norm, array_module(x).linalg.norm and the like; None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    called = node.func if isinstance(node, ast.Call) else None
    function = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    from_module = function in MODULE_CALLS or (isinstance(node, ast.Name) and node.id == "xp")
    return ".".join(reversed(names)) if names and from_module else None


def uses(source: str) -> Iterator[tuple[int, str, list[str]]]:
    """Line, name and keywords of everything that is taken from an array module."""
    tree = ast.parse(source)
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    keywords = {
        id(n.func): [k.arg or "" for k in n.keywords] for n in ast.walk(tree) if isinstance(n, ast.Call)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner and (name := dotted(node)):
            yield node.lineno, name, keywords.get(id(node), [])


def problems(source: str, library: Any) -> list[str]:
    """What `source` uses and the library lacks."""
    found = []
    for line, name, keywords in sorted(uses(source)):
        thing: Any = library
        for step in name.split("."):
            thing = getattr(thing, step, None)
        if thing is None:
            found.append(f"line {line}: {name}")
            continue
        known = parameters(thing)
        found += [f"line {line}: {name}({k}=)" for k in keywords if known is not None and k not in known]
    return found


def parameters(thing: Any) -> set[str] | None:
    """Names that a function takes by keyword; None where it does not say (universal functions)."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    kinds = {p.kind for p in signature.parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else set(signature.parameters)


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
    assert {"stack", "where", "clip", "tanh", "concatenate", "cuda.get_current_stream"} <= names
    assert len(names) > 25


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
