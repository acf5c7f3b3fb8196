"""The GPU gate: every test marked gpu, then the step of every recipe and every kernel against peers, on one machine.

    benchmarks/gpu_gate.sh [--wheels DIR] [--only TEXT ...] [--columns NAME ...] [--tiny] [--out DIR | DIR]

One idea: time on such a machine is short and may end at any moment, so the gate is one command with one deadline: tests
first, then `bench` with the suites that count, which writes its result file again after each case. The table comes
last. `--tiny` runs the same code on the CPU, to try it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastgan.backend import cuda_problem
from fastgan.benchmarks import machine, table, turns
from fastgan.benchmarks.bench import Bench
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.kernel_times import KernelTimes

LIMIT = 525.0  # seconds for everything: under nine minutes
TESTS_LIMIT = 210.0
SCHEDULES_LIMIT = 30.0  # kept for the table of schedules
CHECKOUT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """0 when the tests passed and all our own columns were measured and make sense, 1 otherwise, 2 for no GPU."""
    start, options = time.perf_counter(), parsed(arguments)
    if not options.tiny and (problem := cuda_problem()):
        print(f"gpu_gate: no GPU: {problem}; --tiny tries the gate out on the CPU", file=sys.stderr)
        return 2

    options.out.mkdir(parents=True, exist_ok=True)
    failed = put_on_path(options.wheels) if options.wheels else []
    tested = None if options.tiny else tests(CHECKOUT, options.out / "gpu_tests.log", TESTS_LIMIT)
    bench = made(options, LIMIT - SCHEDULES_LIMIT - (time.perf_counter() - start))
    for line in failed:
        bench.problem(line)
    if tested:
        bench.results["tests"] = tested
        if tested["status"] != 0:
            bench.problem(f"tests: {tested['summary']}")
    try:
        bench.run()
        if not options.tiny:
            bench.results["schedules"] = schedules(bench, start + LIMIT - time.perf_counter())
            bench.write()
    finally:
        print(table.text(bench.results))
        print(f"written to {bench.path}")
    return 1 if bench.results["problems"] else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options; an unknown one ends the program with a message."""
    parser = argparse.ArgumentParser(
        prog="gpu_gate.sh", description="GPU tests, then step and kernel times against peers"
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where results go (default: benchmarks/results)")
    parser.add_argument("--out", type=Path, help="the same")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels to put on the path, such as nvmath-python"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="TEXT", help="cases with this in their names"
    )
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, metavar="NAME", help="default: all")
    parser.add_argument("--suites", nargs="+", choices=("steps", "kernels"), default=["steps", "kernels"])
    parser.add_argument("--commit", help="the commit measured, where git cannot say")
    parser.add_argument(
        "--tiny", action="store_true", help="a dry run on the CPU: one recipe, few steps, no tests"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or options.folder or CHECKOUT / "benchmarks" / "results"
    options.only = options.only or (["steps/toy-mlp"] if options.tiny else [])
    options.suites = ["steps"] if options.tiny else options.suites
    # array code on the CPU and autograd would take the time that the GPU is lent for
    options.columns = options.columns or [
        name for name in COLUMNS if options.tiny or name not in ("numpy", "autograd")
    ]
    return options


def made(options: argparse.Namespace, seconds: float) -> Bench:
    """The run, in a file that is named after the device."""
    name = machine.slug(machine.gpu()[0]) if not options.tiny else "dry-run"
    return Bench(
        options.out / f"{name}.json",
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


def schedules(bench: Bench, seconds: float) -> dict[str, Any]:
    """Device times of the dense layers' schedules, in a process of their own."""
    worker = turns.Worker(KernelTimes)
    try:
        found: dict[str, Any] = worker.call(seconds, "dense", SCHEDULES_LIMIT / 2)
    except turns.LostError as reason:
        bench.problem(f"schedules: {reason}")
        return {"error": str(reason)}
    finally:
        worker.end()
    return found


def put_on_path(wheels: Path) -> list[str]:
    """Install each wheel of a folder into a temporary one, for this process and its children; a line per failure."""
    target, failed = tempfile.mkdtemp(prefix="gpu_gate_"), []
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        target,
    ]
    found = sorted(wheels.glob("*.whl"))
    for wheel in found:
        done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(f"{wheel.name} does not install: {last_line(done.stderr)}")
    sys.path.insert(0, target)
    os.environ["PYTHONPATH"] = os.pathsep.join([target, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return failed if found else [f"{wheels} holds no wheels"]


def tests(root: Path, log: Path, seconds: float) -> dict[str, Any]:
    """Run the tests marked gpu of a checkout: exit status, pytest's last line, seconds; the output goes to `log`.

    Only files that speak of a gpu are collected, so that a test of something else may import what is not installed.
    """
    files = [
        str(p) for p in sorted(root.glob("tests/**/test_*.py")) if "gpu" in p.read_text(encoding="utf-8")
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-q",
        "-rf",
        "--tb=short",
        "-p",
        "no:cacheprovider",
    ]
    start = time.perf_counter()
    with log.open("w+", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [*command, *files], cwd=root, stdout=output, stderr=output, timeout=seconds, check=False
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
