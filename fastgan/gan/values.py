"""Plain values, as TOML files and checkpoints hold them, in the types of settings."""

from types import UnionType
from typing import Any, get_args, get_origin

from fastgan.errors import UsageError

WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple[int, ...]: "a list of whole numbers such as [256, 512]",
    tuple[str, ...]: 'a list of layers such as ["linear 256", "relu"]',
}


def fitting(kind: Any, value: Any, where: str) -> Any:
    """The value in the type of a field; UsageError."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for one in kinds:
        if one is float and type(value) in (int, float):
            return float(value)
        if one in (bool, int, str) and type(value) is one:
            return value
        is_list = get_origin(one) is tuple and isinstance(value, list | tuple)
        if is_list and all(type(x) is get_args(one)[0] for x in value):
            return tuple(value)
    raise UsageError(f"{where} is {value!r}, wanted {' or '.join(WORDS[x] for x in kinds if x in WORDS)}")
