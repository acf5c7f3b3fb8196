"""A process that is killed at any moment leaves a checkpoint to go on from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgan

pytestmark = pytest.mark.slow

KILLED = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from fastgan.gan import checkpoint, files

warnings.simplefilter("error")  # a damaged checkpoint would be skipped with a warning
run, rng, last, stale = Path(sys.argv[1]), random.Random(3), 0, 0
checkpoint.save(checkpoint.path_for(run, 0), {"x": np.zeros(60_000)}, {"step": 0})
for _ in range(20):
    child = os.fork()
    if child == 0:
        for step in range(last + 1, last + 1_000_000):
            checkpoint.save(checkpoint.path_for(run, step), {"x": np.full(60_000, step * 1.0)}, {"step": step})
            checkpoint.prune(run, 3)
    time.sleep(rng.uniform(0.002, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in (run / "checkpoints").glob("step*"):
        checkpoint.load(path)
    arrays, meta = checkpoint.load(checkpoint.newest(run))
    assert meta["step"] >= last and (arrays["x"] == meta["step"]).all(), (meta, last)
    last = meta["step"]
    stale += files.clean_stale(run)
assert not list(run.rglob(".*")), list(run.rglob(".*"))
print(last, stale)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_moment(tmp_path):
    here = os.environ | {"PYTHONPATH": str(Path(fastgan.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], env=here, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    last, _ = map(int, done.stdout.split())
    assert last > 0  # it was killed while it wrote, not before
