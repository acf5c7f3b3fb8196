"""Cubins kept on disk: a file's name says everything that went into it, so nothing that is found is out of date.

A file is a line of JSON with the sha256 of what follows, then the cubin, or a table of `measuring`. A damaged file
counts as none, and where nothing can be written nothing is kept.
"""

import hashlib
import json
import os
import re
import tempfile


def digest(parts):
    """The name of what was made from `parts`, which are told apart by their repr."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def identity(x):
    """A body and whatever it closes over: kernels that one factory made share a source, and may share a name."""
    x = getattr(x, "py_func", x)
    if hasattr(x, "__code__"):
        code = x.__code__
        plain = [c for c in code.co_consts if not hasattr(c, "co_code")]
        cells = [identity(cell.cell_contents) for cell in x.__closure__ or ()]
        return x.__module__, x.__qualname__, code.co_code, code.co_names, plain, cells
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(x))


def read(path):
    """A cubin and the facts kept with it; None where there is none, or a damaged one."""
    try:
        head, _, cubin = path.read_bytes().partition(b"\n")
        facts = json.loads(head)
        return (cubin, facts) if facts.pop("sha256") == hashlib.sha256(cubin).hexdigest() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(path, cubin, facts):
    """Keep a cubin with JSON facts; beside its place first, so that nobody reads half of it."""
    head = json.dumps({**facts, "sha256": hashlib.sha256(cubin).hexdigest()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(head.encode() + b"\n" + cubin)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
    except OSError:
        pass  # a full disk, or a folder that is not ours: the next program builds it anew
