"""The GPU gate: every test marked gpu, then the step of every recipe and every kernel against peers, on one machine.

One idea: time on such a machine is short and may end at any moment, so the gate is one command with one deadline: tests
first, then `bench` with the suites that count, which keeps what it has. The table comes last. `--tiny` runs the same
code on the CPU, to try it. `gpu_gate.sh` starts it, from anywhere.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastgan.benchmarks import machine, table
from fastgan.benchmarks.bench import Bench
from fastgan.benchmarks.columns import COLUMNS
from fastgan.device import cuda_problem
from fastgan.errors import FastganError, OutputError, UsageError

LIMIT = 525.0  # seconds for everything: under nine minutes
TESTS_LIMIT = 210.0
FOLDER = Path("bench", "gate")


def main(arguments: list[str] | None = None) -> int:
    """0 when the tests passed and all our own columns were measured and make sense, 1 otherwise; a `FastganError` is a
    line, and its exit code.
    """
    start, options = time.perf_counter(), parsed(arguments)
    try:
        return gated(options, start)
    except FastganError as error:
        print(f"gpu_gate: {error}", file=sys.stderr)
        return error.exit_code


def gated(options: argparse.Namespace, start: float) -> int:
    """Tests, then the run; the exit code. UsageError without a GPU, OutputError."""
    if not options.tiny and (problem := cuda_problem()):
        raise UsageError(f"no GPU: {problem}; --tiny tries the gate out on the CPU")
    path = new_file(options.out, "dry-run" if options.tiny else machine.slug(machine.gpu()[0]))
    failed = put_on_path(options.wheels) if options.wheels else []
    tested = None if options.tiny else tests(machine.CHECKOUT, path.with_name("gpu_tests.log"), TESTS_LIMIT)
    bench = made(options, path, LIMIT - (time.perf_counter() - start))
    for line in failed:
        bench.problem(line)
    if tested:
        bench.results["tests"] = tested
        if tested["status"] != 0:
            bench.problem(f"tests: {tested['summary']}")
    try:
        bench.run()
    finally:
        print(table.text(bench.results))
        print(f"written to {bench.path}")
    return 1 if bench.results["problems"] else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options; an unknown one ends the program with a message."""
    parser = argparse.ArgumentParser(
        prog="gpu_gate.sh", description="GPU tests, then step and kernel times against peers"
    )
    parser.add_argument("folder", nargs="?", type=Path, help=f"where results go (default: {FOLDER})")
    parser.add_argument("--out", type=Path, help="the same")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels to put on the path, such as nvmath-python"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="cases with this in their names"
    )
    parser.add_argument(
        "--columns", nargs="+", choices=COLUMNS, metavar="NAME", help="default: all but numpy and autograd"
    )
    parser.add_argument("--suites", nargs="+", choices=("steps", "kernels"), default=["steps", "kernels"])
    parser.add_argument("--commit", help="the commit measured, where git cannot say")
    parser.add_argument(
        "--tiny", action="store_true", help="a dry run on the CPU: one recipe, few steps, no tests"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or options.folder or FOLDER
    options.only = options.only or (["steps/toy-mlp"] if options.tiny else [])
    options.suites = ["steps"] if options.tiny else options.suites
    # array code on the CPU and autograd would take the time that the GPU is lent for
    options.columns = options.columns or [
        name for name in COLUMNS if options.tiny or name not in ("numpy", "autograd")
    ]
    return options


def new_file(folder: Path, name: str) -> Path:
    """Where the results go, in a folder that is made; OutputError where there are others, or no folder can be."""
    path = folder / f"{name}.json"
    if path.exists():
        raise OutputError(f"{path} exists already; give another --out, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; give another --out") from error
    return path


def made(options: argparse.Namespace, path: Path, seconds: float) -> Bench:
    """The run."""
    return Bench(
        path,
        size="tiny" if options.tiny else "full",
        suites=options.suites,
        columns=options.columns,
        only=options.only,
        command="benchmarks/gpu_gate.sh",
        commit=options.commit,
        limit=seconds,
        said=lambda line: print(line, flush=True),
        shown=lambda row: print(table.short(row), flush=True),
    )


def put_on_path(wheels: Path) -> list[str]:
    """Install each wheel of a folder into a temporary one, for this process and its children; a line per failure."""
    target, failed = tempfile.mkdtemp(prefix="gpu_gate_"), []
    options = ("--quiet", "--no-index", "--no-deps", "--target", target)
    found = sorted(wheels.glob("*.whl"))
    for wheel in found:
        install = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(f"{wheel.name} does not install: {last_line(done.stderr)}")
    sys.path.insert(0, target)
    os.environ["PYTHONPATH"] = os.pathsep.join([target, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return failed if found else [f"{wheels} holds no wheels"]


def tests(root: Path, log: Path, seconds: float) -> dict[str, Any]:
    """Run the tests marked gpu of a checkout: exit status, pytest's last line, seconds; the output goes to `log`.

    Only files that speak of a gpu are collected, so that a test of something else may import what is not installed.
    """
    found = sorted(root.glob("tests/**/test_*.py"))
    files = [str(p) for p in found if "gpu" in p.read_text(encoding="utf-8")]
    options = ("-m", "gpu", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, *files]
    start = time.perf_counter()
    with log.open("w+", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                command, cwd=root, stdout=output, stderr=output, timeout=seconds, check=False
            ).returncode
            output.seek(0)
            summary = last_line(output.read())
        except subprocess.TimeoutExpired:
            status, summary = -1, f"not finished after {seconds:.0f} s"
    text = log.read_text(encoding="utf-8")
    print(text[-6000:] if status else summary, flush=True)
    return {"status": status, "summary": summary, "seconds": time.perf_counter() - start, "files": len(files)}


def last_line(text: str) -> str:
    """The last line that says something."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no output"])[-1]


if __name__ == "__main__":
    sys.exit(main())
