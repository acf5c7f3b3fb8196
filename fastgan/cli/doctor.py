"""`fastgan doctor`: what is installed, what works, and one line for each thing to fix.

A table of probes. One process runs them and says what each finds; one that ends or hangs the process, as libraries do
while they are imported, is a finding like any other, and the probes after it are run by the next process. Exit code 0
where training on the CPU works, whatever is said of a GPU; 2 where it does not.
"""

import faulthandler
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import NamedTuple

import click

import fastgan

LIMIT = 120.0  # seconds of a probe, which may have to compile
READ = re.compile("(NUMBA|CUPY|OPENBLAS|MKL|OMP|CUDA|FASTGAN)_|LD_LIBRARY_PATH")  # by libraries
LITTLE = 1.0  # GiB of free disk below which a run's checkpoints may not fit
AGAIN = "pip install --force-reinstall"
REPORT = "report it, with --json's output"
MARKS = {"ok": "ok", "info": "-", "warning": "!", "error": "X"}
BROKEN = 2

Found = tuple[str, str, str]  # status (ok, info, warning or error), detail, what to type or change


class Probe(NamedTuple):
    """A check, which may raise, crash or hang; without one that is `needed` there is no training on the CPU."""

    run: Callable[[], Found]
    needed: bool = False
    fix: str = REPORT  # where it fails without a word


class Finding(NamedTuple):
    """What a probe says."""

    name: str
    status: str
    detail: str
    fix: str = ""


def system() -> Found:
    """Versions of fastgan, Python and the system; cores, disk."""
    from fastgan.threads import cores

    free = shutil.disk_usage(".").free / 2**30
    versions = f"fastgan {fastgan.__version__}, Python {platform.python_version()}, {platform.platform()}"
    detail = f"{versions}, {cores()} cores, {free:,.1f} GiB free on this disk"
    little = "free some space, or write to another disk with --out"
    return ("ok", detail, "") if free >= LITTLE else ("warning", detail, little)


def library(module: str, distribution: str) -> Found:
    """A package imported, and its version."""
    import_module(module)
    return "ok", metadata.version(distribution), ""


def kernels(device: str, fix: str) -> Found:
    """One kernel compiled, or taken from the disk, and compared with the array code it replaces."""
    import numpy as np

    from fastgan import ops, tensor, use_kernels
    from fastgan.device import to_host

    rng = np.random.default_rng(0)
    shapes = (17, 33), (33, 5), (5,)
    operands = [tensor(rng.standard_normal(s).astype(np.float32), device=device) for s in shapes]
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fast = to_host(ops.linear_leaky_relu(*operands, slope=0.2).data)
    seconds = time.perf_counter() - start
    with use_kernels(False):
        difference = abs(fast - to_host(ops.linear_leaky_relu(*operands, slope=0.2).data)).max()
    for text in (str(warning.message) for warning in told):
        if text.startswith("no kernels"):
            return "warning", text, fix
    if not difference <= 1e-4:
        return "error", f"a kernel differs from the array code by {difference:g}", REPORT
    return "ok", f"right; the first took {seconds:.1f} s", ""


def cache() -> Found:
    """Whether Numba can keep compiled kernels on the disk."""
    dense = import_module("fastgan.kernels.dense")
    places = (getattr(getattr(x, "stats", None), "cache_path", None) for x in vars(dense).values())
    place = next(filter(None, places), None)
    with suppress(OSError):
        if place:
            os.makedirs(place, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return "ok", f"kernels are kept in {place}", ""
    fix = "set NUMBA_CACHE_DIR to a folder that can be written"
    return "warning", f"kernels cannot be kept in {place}: each program compiles them anew, for seconds", fix


def training() -> Found:
    """A few steps of a small run, and a checkpoint there and back, in a temporary folder."""
    from fastgan.nn import Net

    nets = {"generator": ("linear 16", "relu", "linear o", "tanh"), "critic": ("linear 16", "linear o")}
    recipe = fastgan.recipes["digits"].replace(steps=3, **{side: Net(x) for side, x in nets.items()})
    trainer = fastgan.Trainer(recipe, device="cpu").fit()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        trainer.save(path)
        if (fastgan.load(path, device="cpu").sample(4, seed=0) != trainer.sample(4, seed=0)).any():
            return "error", "a checkpoint does not come back as it was", REPORT
    return "ok", "3 steps with the bundled digits, and a checkpoint there and back", ""


def environment() -> Found:
    """Variables that change what the libraries do."""
    found = [f"{name}={value}" for name, value in sorted(os.environ.items()) if READ.match(name)]
    return "info", ", ".join(found) or "nothing set", ""


def gpu() -> Found:
    """Which GPU can be used, and whether kernels run right on it; without a driver no library of it is tried."""
    from fastgan.device import cuda_problem

    building, blas = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("building", "blas"))
    if building.driver_version() is None:
        return "info", "no NVIDIA driver: training on the CPU", ""
    if problem := cuda_problem() or building.problem():
        reason, _, fix = problem.partition("; ")
        return "warning", reason, fix
    runtime = import_module("cupy").cuda.runtime
    found = runtime.getDeviceProperties(0)
    free, total = (x / 2**30 for x in runtime.memGetInfo())
    name = f"{found['name'].decode()}, compute capability {found['major']}.{found['minor']}"
    status, detail, fix = kernels("cuda", building.INSTALL)
    cublas = blas.available() or "can be called"
    return status, f"{name}, {free:,.1f} of {total:,.1f} GiB free, kernels: {detail}, cuBLAS: {cublas}", fix


def _library(name: str, module: str = "", *, needed: bool = True) -> Probe:
    return Probe(partial(library, module or name, name), needed, f"{AGAIN} {name}")


NUMBA = f"{AGAIN} numba llvmlite"
PROBES = {
    "system": Probe(system),
    "numpy": _library("numpy"),
    "numba": _library("numba", needed=False),
    "safetensors": _library("safetensors", "safetensors.numpy"),
    "pillow": _library("pillow", "PIL.Image"),
    "matplotlib": _library("matplotlib", "matplotlib.figure"),
    "tomli-w": _library("tomli-w", "tomli_w"),
    "pooch": _library("pooch", needed=False),
    "kernels": Probe(partial(kernels, "cpu", NUMBA), True, NUMBA),
    "kernel cache": Probe(cache),
    "training": Probe(training, True),
    "environment": Probe(environment),
    "gpu": Probe(gpu),
}


@click.command(short_help="Say what is installed, what works, and how to mend the rest.")
@click.option("--json", "as_json", is_flag=True, help="For a bug report: no host, user or home folder in it.")
@click.option("--measure", is_flag=True, help="On a GPU: time the ways to multiply, and keep the fastest.")
def doctor(as_json: bool, measure: bool) -> int:
    """Say what is installed, what works, and how to mend what does not."""
    if measure:
        return _measure()
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            print(f"{MARKS[finding.status]:3}{finding.name:15}{' '.join(finding.detail.split())}", flush=True)
    usable = all(finding.status != "error" or not PROBES[finding.name].needed for finding in findings)
    if as_json:
        rows = [{key: anonymous(text) for key, text in finding._asdict().items()} for finding in findings]
        print(json.dumps({"fastgan": fastgan.__version__, "usable": usable, "findings": rows}, indent=1))
    else:
        if fixes := to_do(findings):
            print("\nto do:", *fixes, sep="\n  ")
        print("\ntraining works here: fastgan train" if usable else "\ntraining does not work here yet")
    return 0 if usable else BROKEN


def _measure() -> int:
    """Time the schedules of all shapes that the recipes need, once per GPU, and say what was chosen."""
    from fastgan.benchmarks.launches import dense_cases
    from fastgan.device import resolve_device

    resolve_device("cuda")
    dense, measuring = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("dense", "measuring"))
    cases = sorted(set().union(*map(dense_cases, fastgan.recipes.values())))
    print(f"timing {len(cases)} shapes, a minute or two at the first time ...", flush=True)
    table = measuring.measure(cases)
    others = sum(table[case] != dense.built_in(*case) for case in cases)
    print(f"{len(cases)} shapes known; {others} of them are faster than by the built-in choice")
    return 0


def examine(names: Sequence[str] = tuple(PROBES)) -> Iterator[Finding]:
    """What the probes of these names find, as it comes; never raises."""
    left = list(names)
    # -P and the path: a random.py in the current folder must not stand in for Python's
    code = "from fastgan.cli.doctor import probe; import sys; probe(float(sys.argv[1]), sys.argv[2:])"
    places = (os.environ.get("PYTHONPATH"), str(Path(fastgan.__file__).parents[1]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    while left:
        words, late = [sys.executable, "-P", "-c", code, str(LIMIT), *left], False
        with Popen(words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, text=True, env=env) as process:
            try:
                for line in process.stdout or ():
                    late = late or line.startswith("Timeout (")  # as faulthandler has it
                    with suppress(ValueError):  # libraries may print as well
                        answer = json.loads(line)
                        if left and isinstance(answer, list) and answer[:1] == left[:1]:
                            yield Finding(left.pop(0), *answer[1:])
            finally:
                process.kill()
        if left:
            reason = f"no answer within {LIMIT:.0f} s" if late else f"ended with code {process.returncode}"
            yield Finding(left[0], "error", reason, PROBES[left.pop(0)].fix)


def probe(limit: float, names: list[str]) -> None:
    """What that process does: print what each of these probes finds as a line of JSON; end where one hangs."""
    for name in names:
        faulthandler.dump_traceback_later(limit, exit=True, file=1)
        try:
            found = PROBES[name].run()
        except Exception as error:
            found = "error", f"{type(error).__name__}: {error}", PROBES[name].fix
        print(json.dumps([name, *found]), flush=True)
    os._exit(0)


def to_do(findings: list[Finding]) -> list[str]:
    """A line for each thing to mend, the worst first, and each once."""
    first: dict[str, Finding] = {}  # by what is to be done
    for finding in sorted(findings, key=lambda finding: [*MARKS].index(finding.status), reverse=True):
        if finding.fix:
            first.setdefault(finding.fix, finding)
    return [f"{x.name}{' (optional)' if x.status == 'info' else ''}: {x.fix}" for x in first.values()]


def anonymous(text: str) -> str:
    """The text without home folders, the user's and the machine's name."""
    home = str(Path.home())
    text = re.sub(r"/(home|Users)/[^/\"\s]+", "~", text.replace(home, "~") if len(home) > 1 else text)
    for word in filter(None, (os.environ.get("USER"), os.environ.get("USERNAME"), platform.node())):
        text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", "...", text)
    return text
