"""What users type by mistake, and odd things that must work: tables in tests/tries, and the one way to try them all.

Whatever the try, nothing is printed but lines of our own, nothing half-written is left, and what was there before a
refused command is there after it, byte for byte.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_helpers import TINY, contents
from tries import configs, data, making, options, runs
from tries.making import WORKS, Try

from fastgan.cli import main

TABLES = {"options": options.TRIES, "data": data.TRIES, "configs": configs.TRIES, "runs": runs.TRIES}
ROWS = [pytest.param(row, id=f"{name}: {row.words[:60]}") for name, table in TABLES.items() for row in table]
PATIENCE = 120  # seconds, on however busy a machine
FIT = ["train", *TINY, "--steps", "1", "--quiet"]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The run that tries of runs get a copy of."""
    place = tmp_path_factory.mktemp("made") / "run"
    assert main([*FIT, "--steps", "4", "--checkpoint-every", "2", "--out", str(place)]) == 0
    making.MADE[:] = [place]


@pytest.fixture
def alarm():
    """A try that waits for ever ends, as a failure."""

    def hangs(*_):
        pytest.fail("hangs")  # not an Exception, which the command line would put into words

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.usefixtures("made", "here", "alarm")
def test_a_try(row: Try, capsys):
    for make in row.make if isinstance(row.make, tuple) else (row.make,):
        make()
    first, *rest = shlex.split(row.words)
    before = contents()
    capsys.readouterr()
    code = main([*FIT, *rest] if first == "fit" else [first, *rest])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code == row.wanted, err
    assert row.word in err
    assert "Traceback" not in out + err
    assert "internal error" not in err
    assert not list(Path().rglob(".*.tmp"))
    assert not Path("canary").exists()
    kinds = {"fastgan: warning: "} if code == WORKS else {"fastgan: warning: ", "fastgan: error: "}
    assert all(any(line.startswith(kind) for kind in kinds) for line in lines), err
    assert sum(line.startswith("fastgan: error: ") for line in lines) == (code != WORKS)
    if code in (making.USAGE, making.OUTPUT):
        assert contents() == before
    else:
        assert {path for path in before if "checkpoints" not in path.parts} <= contents().keys()


ODD = {
    "LANG": "C",
    "LC_ALL": "C",
    "TERM": "dumb",
    "COLUMNS": "3",
    "FASTGAN_DATA": "/no/such",
    "TMPDIR": "/no/such",
}
ENVIRONMENTS = [  # exit code, a word of stderr, and what is set
    (2, "NUMBA_NUM_THREADS", {"NUMBA_NUM_THREADS": "0"}),
    (0, "NUMBA_NUM_THREADS", {"NUMBA_NUM_THREADS": "many", "OMP_NUM_THREADS": "0", "COLUMNS": "x"}),
    (0, "NUMBA_OPT", {"NUMBA_OPT": "most", **ODD}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "word", "environment"), ENVIRONMENTS, ids=lambda x: str(x)[:40])
@pytest.mark.usefixtures("here")
def test_an_environment(code, word, environment):
    """In a process of its own, as libraries read these when they are imported."""
    words = [sys.executable, "-m", "fastgan", *FIT]
    done = subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.count("\n") == bool(word)
    assert Path("runs").exists() == (code == 0)
