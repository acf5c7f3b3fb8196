"""The GPU gate: every test marked gpu, then the step of every recipe against its peers on one machine in one run.

    benchmarks/gpu_gate.sh [--wheels DIR] [--recipes NAME ...] [--columns NAME ...] [--tiny] [--out DIR | DIR]

One idea: time on such a machine is short and may end at any moment, so everything has a deadline, every column lives in
a process of its own (see `turns`), and the JSON file is written again after each recipe. Who is compared is in
`columns`, what single kernels take in `kernel_times`. The table comes last: milliseconds per step, the median of chunks
of 50 steps with one wait for the device after each. `--tiny` runs the same code on the CPU, to try it.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fastgan as fg
from benchmarks import columns, machine, peers, table, turns
from benchmarks.kernel_times import KernelTimes
from fastgan.backend import cuda_problem

LIMIT = 525.0  # seconds for everything: under nine minutes
TESTS_LIMIT = 210.0
PREPARE_LIMIT = 100.0
KERNELS_LIMIT = 45.0  # kept for the table of kernels
STEPS, TURN, ROUNDS = 50, 0.2, 9  # steps in a chunk, seconds in a turn, turns
TINY_STEPS = 2
CHECKOUT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    """0 when the tests passed and all our own columns were measured and make sense, 1 otherwise, 2 for no GPU."""
    options = parsed(arguments)
    if not options.tiny and (problem := cuda_problem()):
        print(f"gpu_gate: no GPU: {problem}; --tiny tries the gate out on the CPU", file=sys.stderr)
        return 2
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes most of the memory
    gate = Gate(options)
    try:
        gate.run()
    finally:
        gate.end()
    print(table.text(gate.results))
    print(f"written to {gate.path}")
    return 1 if gate.results["problems"] else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options; an unknown one ends the program with a message."""
    parser = argparse.ArgumentParser(
        prog="gpu_gate.sh", description="GPU tests, then step times against peers"
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where results go (default: benchmarks/results)")
    parser.add_argument("--out", type=Path, help="the same")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels to put on the path, such as nvmath-python"
    )
    parser.add_argument("--recipes", nargs="+", choices=fg.recipes, metavar="NAME", help="default: all")
    parser.add_argument("--columns", nargs="+", choices=columns.COLUMNS, metavar="NAME", help="default: all")
    parser.add_argument("--compile-mode", default="default", help="torch.compile's mode")
    parser.add_argument("--commit", help="the commit measured, where git cannot say")
    parser.add_argument(
        "--tiny", action="store_true", help="a dry run on the CPU: one recipe, few steps, no tests"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or options.folder or CHECKOUT / "benchmarks" / "results"
    others = [name for name in fg.recipes if name not in peers.ALL]
    options.recipes = options.recipes or (["toy-mlp"] if options.tiny else [*peers.ALL, *others])
    options.columns = options.columns or list(columns.COLUMNS)
    return options


class Gate:
    """One run: `results` is what the JSON file holds."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.start = options, time.perf_counter()
        self.device = "cpu" if options.tiny else "cuda"
        self.results: dict[str, Any] = {
            **machine.facts(self.device, options.commit, CHECKOUT),
            "columns": {name: columns.COLUMNS[name].about for name in options.columns},
            "steps_per_chunk": TINY_STEPS if options.tiny else STEPS,
            "problems": [],
            "notes": [],
            "recipes": {},
        }
        options.out.mkdir(parents=True, exist_ok=True)
        self.path: Path = options.out / f"{machine.slug(self.results['device'])}.json"
        images = 1000 if options.tiny else 60_000
        modes = {"t.compile": {"mode": options.compile_mode}}
        self.workers = {
            name: turns.Worker(columns.Column, name, self.device, images, modes.get(name, {}))
            for name in options.columns
        }

    def run(self) -> None:
        """Wheels, tests, recipes, kernels; each is written down when it is done."""
        if self.options.wheels:
            self.tell("problems", *put_on_path(self.options.wheels))
        if not self.options.tiny:
            self.results["tests"] = tests(CHECKOUT, self.options.out / "gpu_tests.log", TESTS_LIMIT)
            if self.results["tests"]["status"] != 0:
                self.tell("problems", f"tests: {self.results['tests']['summary']}")
        self.write()
        for recipe in self.options.recipes:
            if self.left() < 15:
                self.tell("problems", f"{recipe}: no time left")
                continue
            self.results["recipes"][recipe] = row = self.recipe(recipe)
            print(table.line(recipe, row, self.options.columns), flush=True)
            self.write()
        if not self.options.tiny:
            self.kernels()
            self.write()

    def left(self) -> float:
        """Seconds left for recipes."""
        return LIMIT - KERNELS_LIMIT - (time.perf_counter() - self.start)

    def recipe(self, recipe: str) -> dict[str, Any]:
        """Every column's times for one recipe, or why it has none."""
        row: dict[str, Any] = {
            name: {"error": e} for name in self.workers if (e := self.absent(name, recipe))
        }
        prepared: dict[str, dict[str, Any]] = {}
        asked = [name for name in self.workers if name not in row]
        for name in asked:  # all at once: compiling takes one core each
            self.workers[name].ask("prepare", recipe)
        until = time.perf_counter() + min(PREPARE_LIMIT, self.left())
        for name in asked:
            try:
                prepared[name] = self.workers[name].answer(until - time.perf_counter())
            except turns.LostError as reason:
                row[name] = {"error": f"preparation: {reason}"}
        if prepared:
            self.tell("problems", *columns.problems(recipe, prepared))
        chunks, lost = self.measure({name: self.workers[name] for name in prepared})
        row |= {name: {"error": reason} for name, reason in lost.items()}
        row |= {name: turns.summary(own) | prepared[name] for name, own in chunks.items()}
        for name in asked:
            if "error" in row[name]:
                self.tell(
                    "problems" if name in columns.OWN else "notes", f"{recipe}, {name}: {row[name]['error']}"
                )
        return {name: row[name] for name in self.workers}

    def measure(
        self, workers: dict[str, turns.Worker]
    ) -> tuple[dict[str, list[turns.Chunk]], dict[str, str]]:
        """Turns for as long as this recipe may take."""
        if self.options.tiny:
            return turns.in_turn(workers, steps=TINY_STEPS, seconds=0, rounds=2, until=float("inf"))
        remaining = len(self.options.recipes) - len(self.results["recipes"])
        until = time.perf_counter() + max(self.left(), 0) / remaining
        return turns.in_turn(workers, steps=STEPS, seconds=TURN, rounds=ROUNDS, until=until)

    def absent(self, name: str, recipe: str) -> str:
        """Why a column has nothing to say about a recipe, or an empty string."""
        module = columns.COLUMNS[name].module
        package = module.partition("_")[0]
        if not module:
            return "needs a GPU" if columns.COLUMNS[name].capture and self.options.tiny else ""
        if not peers.runs(module, recipe):
            return "no peer runs it"
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
        return "needs a GPU" if self.options.tiny and module == "torch_graph" else ""

    def kernels(self) -> None:
        """Times of single kernels, each table by itself."""
        worker = turns.Worker(KernelTimes)
        until = self.start + LIMIT
        for method, *arguments in (("launches",), ("adam",), ("dense", KERNELS_LIMIT / 3)):
            try:
                self.results[method] = worker.call(until - time.perf_counter(), method, *arguments)
            except turns.LostError as reason:
                self.results[method] = {"error": str(reason)}
                self.tell("problems", f"{method}: {reason}")
        worker.end()

    def tell(self, kind: str, *lines: str) -> None:
        """Keep and say what went wrong: "problems" of ours fail the gate, "notes" about peers do not."""
        self.results[kind] += lines
        for line in lines:
            print(f"{kind.rstrip('s')}: {line}", flush=True)

    def write(self) -> None:
        """Write the results so far, whole or not at all."""
        self.results["seconds"] = time.perf_counter() - self.start
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
        part.replace(self.path)

    def end(self) -> None:
        """Write what there is, and end the workers."""
        self.write()
        for worker in self.workers.values():
            worker.end()


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
