"""Peak memory of training, fastgan against PyTorch eager: a fresh process each, on the same images and threads.

    python -m benchmarks.memory [RECIPE ...] [--steps 10] [--threads N]

What counts is what training adds: the most memory that was resident until the last step, less what was resident when
libraries were imported and the images made. Kernels are compiled before, by a process whose memory nobody looks at, as
a user has them from the second run on. Where the kernel does not give away a process's own peak (/proc on Linux),
getrusage does, which also counts peaks of the imports.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fastgan as fg
from benchmarks import peers, steps

ENGINES = ("fastgan", "PyTorch eager")
IMAGES = 1000  # few, because each engine keeps a copy of its own kind
POOLS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
MIB = 2**20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(arguments: list[str] | None = None) -> None:
    """Print a line per recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(peers.ALL)}")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    recipes = options.recipes or list(peers.ALL)
    if unknown := set(recipes) - set(peers.ALL):
        parser.error(f"no peer runs {', '.join(sorted(unknown))}; choose of {', '.join(peers.ALL)}")
    print(f"MiB that {options.steps} steps add, with {options.threads} threads (before them)")
    print(f"{'':20}" + "".join(f"{name:>20}" for name in ENGINES) + "   fastgan / PyTorch")
    for recipe in recipes:
        found = [fresh(engine, recipe, options.steps, options.threads) for engine in ENGINES]
        cells = "".join(f"{added / MIB:11.1f} ({before / MIB:6.1f})" for before, added in found)
        print(f"{recipe:20}{cells}{found[0][1] / found[1][1]:20.2f}", flush=True)


def fresh(engine: str, recipe: str, count: int, threads: int) -> tuple[int, int]:
    """What `measured` says in a process of its own, (before, added) in bytes; RuntimeError where that fails."""
    environment = os.environ | {f"{pool}_NUM_THREADS": str(threads) for pool in POOLS}
    for number in (1, count) if engine == "fastgan" else (count,):
        code = f"import json, benchmarks.memory as m; print(json.dumps(m.measured({engine!r}, {recipe!r}, {number})))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=Path(__file__).parents[1],
        )
        if done.returncode:
            why = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"]
            raise RuntimeError(f"{engine} does not run {recipe}: {why[-1]}")
    before, added = json.loads(done.stdout)
    return before, added


def measured(engine: str, recipe: str, count: int) -> tuple[int, int]:
    """Bytes resident before the networks are made, and how many more at the peak of `count` steps."""
    make = prepared(engine, recipe)
    before = baseline()
    step = make()
    for _ in range(count):
        step()
    return before, peak() - before


def prepared(engine: str, recipe: str) -> Callable[[], Callable[[], None]]:
    """Import all of the engine and make the images; what makes the networks, and gives their step.

    Both import much of themselves when something is first used: Numba for a kernel, torch._dynamo for an optimiser.
    """
    images = steps.images(IMAGES)
    if engine == "fastgan":
        fg.Trainer(fg.recipes["ring-gan"].replace(batch=2), device="cpu").step()
        return lambda: steps.ours(recipe, images)[0]
    import torch

    from benchmarks.peers import torch_eager

    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    floats = steps.floats(recipe, images)
    return lambda: torch_eager.make(recipe, floats).step


def baseline() -> int:
    """Bytes resident now; from here on `peak` knows of no earlier peak, where the system can forget it."""
    try:
        RESET.write_text("5", encoding="ascii")
    except OSError:
        return peak()
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes that were resident so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or usage * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int:
    """A size of this process in bytes, 0 where /proc does not have it.

    Unlike ru_maxrss it does not begin at the size of the process that started this one.
    """
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


if __name__ == "__main__":
    main()
