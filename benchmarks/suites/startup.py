"""What the first two minutes cost: importing, building, the first step and the second, in a fresh process per column.

One idea: nothing of this is hidden in a warm-up. What fastgan compiles is kept on disk, so it starts twice: with empty
caches ("cold", the first run on a machine) and with those that the first start filled ("warm", every other run). Peers
start once, with empty caches of their own. Packages lie in the system's file cache in either case; on a machine that
was just switched on, imports take longer.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastgan as fg
from fastgan.benchmarks import peers
from fastgan.benchmarks.columns import COLUMNS, Column
from fastgan.benchmarks.results import OUT_OF_TIME
from fastgan.benchmarks.training import Fit, Stepped, images_for, peer

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

RECIPES = {"full": "keras-mlp", "quick": "keras-mlp", "tiny": "toy-mlp"}
STARTED = {
    # cuda-kernels compiles what cuda-graph compiles, and torch.compile takes a minute
    "full": tuple(name for name in COLUMNS if name not in ("cuda-kernels", "torch-compiled")),
    "quick": ("cpu-kernels", "cuda-graph", "torch"),
    "tiny": ("numpy", "cpu-kernels", "torch"),
}
KEEPING = ("cpu-kernels", "cupy", "cuda-graph")  # they find on disk what they compiled
IMPORTED = {"jax": "jax.numpy", "autograd": "autograd.numpy"}  # what a user's first line imports
# where libraries keep what they compile
CACHES = (
    *("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH"),
    *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
)
LIMITS = {"full": 150.0, "quick": 40.0, "tiny": 150.0}  # seconds of a process
IMAGES = 1000
CODE = """import time
begun = time.perf_counter()
import {package}
imported = time.perf_counter() - begun
import json
from fastgan.benchmarks.suites import startup
print(json.dumps({{"import": imported}} | startup.begin({column!r}, {device!r}, {recipe!r}, {batch})))"""


class FailedError(Exception):
    """A process did not say how long it took; the text says why, in one line."""


def rows(bench: "Bench") -> Iterator["Row"]:
    """A row per column and state of its caches."""
    recipe = RECIPES[bench.size]
    batch = 2 if bench.size == "tiny" else fg.recipes[recipe].batch
    for name in STARTED[bench.size]:
        column = bench.columns.get(name)
        if column is None or not (column.own or peers.runs(column.module, recipe)):
            continue
        with tempfile.TemporaryDirectory(prefix="fastgan-startup-", ignore_cleanup_errors=True) as folder:
            for state in ("cold", "warm") if name in KEEPING else ("cold",):
                row = bench.row("startup", recipe, state, name, shape={"batch": batch})
                yield row | started(bench, column, recipe, batch, folder)


def started(bench: "Bench", column: Column, recipe: str, batch: int, folder: str) -> dict[str, Any]:
    """What a row says of one start with caches in `folder`, or its error."""
    filled = any(Path(folder).rglob("*.*"))
    at = {"package": package(column.name), "column": column.name, "device": column.where()}
    code = CODE.format(**at, recipe=recipe, batch=batch)
    try:
        caches = {name: str(Path(folder, name.lower())) for name in CACHES}
        found = fresh(code, caches, min(LIMITS[bench.size], bench.left()))
    except FailedError as reason:
        return {"error": str(reason)}
    extra = found | {"cache": "filled" if filled else "empty"}
    return {"making": found["making"], "first": found["first_step"], "extra": extra}


def package(column: str) -> str:
    """What a column's user imports."""
    name = COLUMNS[column].package or "fastgan"
    return IMPORTED.get(name, name)


def fresh(code: str, environment: Mapping[str, str], seconds: float) -> dict[str, float]:
    """The JSON that a Python program prints last; `FailedError`. The process ends, and all that it started."""
    if seconds <= 0:
        raise FailedError(OUT_OF_TIME)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        cwd=Path(str(fg.__file__)).resolve().parents[1],
        start_new_session=True,  # compilers are processes of its own, which must end with it
    )
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise FailedError(f"{OUT_OF_TIME}: did not end in {seconds:.0f} s") from None
        finally:
            end(process)
    try:
        found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        how = (err.strip().splitlines() or [f"its process ended with status {process.returncode}"])[-1]
        raise FailedError(f"did not start: {how[:200]}") from None
    return found


def end(process: "subprocess.Popen[str]") -> None:
    """Kill what is left of a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def begin(name: str, device: str, recipe: str, batch: int) -> dict[str, float]:
    """In the fresh process: seconds to build a column's trainer or peer, and of its first steps.

    On a GPU fastgan captures its graph in one of the ten steps after the second. The device is told, for to find it out
    imports CuPy, which a peer's user would not.
    """
    column, variant = replace(COLUMNS[name], device=device), fg.recipes[recipe].replace(batch=batch)
    images = images_for(variant, IMAGES)
    marks = [time.perf_counter()]
    work = Fit(variant, images, column) if column.own else stepped(recipe, batch, images, column)
    work.clock.wait()
    marks.append(time.perf_counter())
    for count in (1, 1, 10):
        advance(work, count)
        work.clock.wait()
        marks.append(time.perf_counter())
    names = ("making", "first_step", "second_step", "ten_more")
    return {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}


def stepped(recipe: str, batch: int, images: Any, column: Column) -> Stepped:
    """A peer with the same batch."""
    return Stepped(peer(replace(peers.ALL[recipe], batch=batch), images, column), column)


def advance(work: Fit | Stepped, count: int) -> None:
    """Make so many steps."""
    if isinstance(work, Fit):
        with work.column.switched():
            work.trainer.fit(count)
        return
    for _ in range(count):
        work.peer.step()
    work.peer.sync()
