"""Calling the command line in this process, and looking at what it said and made."""

from pathlib import Path

import numpy as np

from fastgan.cli import main

TINY = [
    *("--generator-layers", "linear 8; relu; linear o; tanh"),
    *("--critic-layers", "linear 8; leaky_relu 0.2; linear o"),
    *("--batch", "16", "--device", "cpu"),
]


def ok(capsys, *words):
    """The output of a command that succeeds."""
    code = main(list(map(str, words)))
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def refused(capsys, code, *words):
    """The one line on stderr of a command that fails with `code`, and leaves the folder as it was."""
    before = contents()
    assert main(list(map(str, words))) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("fastgan: error: ")
    assert contents() == before
    return err


def contents():
    return {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} | {
        p: None for p in Path().rglob("*") if p.is_dir()
    }


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Canary:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("canary", "w"))
