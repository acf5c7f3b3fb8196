"""What a source takes from `xp`, and which of it, keywords included, a library lacks."""

import ast
import inspect
from collections.abc import Iterator
from typing import Any

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
