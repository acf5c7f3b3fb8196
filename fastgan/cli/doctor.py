"""`fastgan doctor`: what is installed, what works, and one line for each thing to fix.

Every probe runs in a process of its own with a time limit, so that a library that crashes or hangs while it is imported
is a finding like any other. Exit code 0 where training on the CPU works, whatever is said of a GPU; 2 where it does
not.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from getpass import getuser
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import fastgan
from fastgan.cli.probes import PROBES

LIMIT = 20.0  # seconds of a probe
SLOW = dict.fromkeys(
    ("kernels", "training", "cuda compiler", "gpu kernels"), 120.0
)  # these may have to compile
MARKS = {"ok": "ok", "info": "-", "warning": "!", "error": "X"}
BROKEN = 2


@dataclass(frozen=True)
class Finding:
    """What a probe says: `status` is ok, info, warning or error; `fix` is what to type or change, if anything."""

    name: str
    status: str
    detail: str
    fix: str = ""


@click.command(short_help="Say what is installed, what works, and how to mend the rest.")
@click.option("--json", "as_json", is_flag=True, help="For a bug report: no host, user or home folder in it.")
@click.option("--measure", is_flag=True, help="On a GPU: time the ways to multiply, and keep the fastest.")
def doctor(as_json: bool, measure: bool) -> int:
    """Say what is installed, what works, and how to mend what does not."""
    if measure:
        return _measure()
    findings = examine()
    usable = all(finding.status != "error" or not PROBES[finding.name].needed for finding in findings)
    if as_json:
        rows = [{key: anonymous(text) for key, text in asdict(finding).items()} for finding in findings]
        print(json.dumps({"fastgan": fastgan.__version__, "usable": usable, "findings": rows}, indent=1))
    else:
        _show(findings)
        print("\ntraining works here: fastgan train" if usable else "\ntraining does not work here yet")
    return 0 if usable else BROKEN


def _measure() -> int:
    """Time the schedules of all shapes that the recipes need, once per GPU, and say what was chosen."""
    from fastgan.backend import resolve_device
    from fastgan.launches import dense_cases
    from fastgan.train import RECIPES

    resolve_device("cuda")
    dense, measuring = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("dense", "measuring"))
    cases = sorted(set().union(*map(dense_cases, RECIPES.values())))
    print(f"timing {len(cases)} shapes, a minute or two at the first time ...", flush=True)
    table = measuring.measure(cases)
    others = sum(table[case] != dense.built_in(*case) for case in cases)
    print(f"{len(cases)} shapes known; {others} of them are faster than by the built-in choice")
    return 0


def examine(names: tuple[str, ...] = tuple(PROBES)) -> list[Finding]:
    """The findings of the probes, a few at a time, in the order of their names."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(probe, names))


def probe(name: str) -> Finding:
    """What one probe finds in its own process; never raises."""
    limit = SLOW.get(name, LIMIT)
    # -P and the path: a random.py in the current folder must not stand in for Python's
    command = [sys.executable, "-P", "-c", "import fastgan.cli.probes as p, sys; p.main(sys.argv[1])", name]
    places = (os.environ.get("PYTHONPATH"), str(Path(fastgan.__file__).parents[1]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, env=env)
    except subprocess.TimeoutExpired:
        return Finding(name, "error", f"no answer within {limit:.0f} s", PROBES[name].fix)
    except OSError as error:
        return Finding(name, "error", f"cannot start Python: {error}", PROBES[name].fix)
    answer = _answer(done.stdout)
    if answer is not None:
        return Finding(name, **answer)
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"ended with code {done.returncode}"
    return Finding(name, "error", reason, PROBES[name].fix)


def _answer(text: str) -> dict[str, Any] | None:
    """The last line of a probe's output, as a libraries may print before it."""
    try:
        answer = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) and {"status", "detail"} <= answer.keys() else None


def _show(findings: list[Finding]) -> None:
    from rich.table import Table

    from fastgan.cli.show import show

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for finding in findings:
        table.add_row(MARKS[finding.status], finding.name, finding.detail)
    show(table)
    order = ("error", "warning", "info")
    fixes = sorted((f for f in findings if f.fix and f.status in order), key=lambda f: order.index(f.status))
    if fixes:
        print("\nto do:")
    for finding in fixes:
        optional = " (optional)" if finding.status == "info" else ""
        print(f"  {finding.name}{optional}: {finding.fix}")


def anonymous(text: str) -> str:
    """The text without home folders, the user's and the machine's name."""
    home = str(Path.home())
    text = text.replace(home, "~") if len(home) > 1 else text
    text = re.sub(r"/(home|Users)/[^/\"\s]+", "~", text)
    for word in (
        _user(),
        os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", ""),
    ):
        if len(word) > 1:
            text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", "...", text)
    return text


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as containers have
        return ""
