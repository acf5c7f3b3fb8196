"""`fastgan doctor`: what is installed, what works, and one line for each thing to fix.

One process runs the probes and says what each finds, within a time limit; one that ends or hangs the process, as
libraries do while they are imported, is a finding like any other, and the probes after it are run by the next process.
Exit code 0 where training on the CPU works, whatever is said of a GPU; 2 where it does not.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from platform import node
from subprocess import DEVNULL, PIPE, Popen
from threading import Timer
from time import perf_counter
from typing import Any, NamedTuple

import click

import fastgan
from fastgan.cli.probes import PROBES

LIMIT = 20.0  # seconds of a probe
SLOW = dict.fromkeys(("kernels", "training", "gpu libraries", "gpu"), 120.0)  # these may have to compile
MARKS = {"ok": "ok", "info": "-", "warning": "!", "error": "X"}
BROKEN = 2


class Finding(NamedTuple):
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
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            print(f"{MARKS[finding.status]:3}{finding.name:15}{' '.join(finding.detail.split())}", flush=True)
    usable = all(finding.status != "error" or not PROBES[finding.name].needed for finding in findings)
    if as_json:
        rows = [{key: anonymous(text) for key, text in finding._asdict().items()} for finding in findings]
        print(json.dumps({"fastgan": fastgan.__version__, "usable": usable, "findings": rows}, indent=1))
        return 0 if usable else BROKEN
    if fixes := to_do(findings):
        print("\nto do:", *fixes, sep="\n  ")
    print("\ntraining works here: fastgan train" if usable else "\ntraining does not work here yet")
    return 0 if usable else BROKEN


def _measure() -> int:
    """Time the schedules of all shapes that the recipes need, once per GPU, and say what was chosen."""
    from fastgan.device import resolve_device
    from fastgan.gan import RECIPES
    from fastgan.launches import dense_cases

    resolve_device("cuda")
    dense, measuring = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("dense", "measuring"))
    cases = sorted(set().union(*map(dense_cases, RECIPES.values())))
    print(f"timing {len(cases)} shapes, a minute or two at the first time ...", flush=True)
    table = measuring.measure(cases)
    others = sum(table[case] != dense.built_in(*case) for case in cases)
    print(f"{len(cases)} shapes known; {others} of them are faster than by the built-in choice")
    return 0


def examine(names: Sequence[str] = tuple(PROBES)) -> Iterator[Finding]:
    """What the probes of these names find, as it comes, those for a GPU only behind a driver; never raises."""
    left = list(names)
    while left:
        for finding in _visit(left):
            yield finding
            left.remove(finding.name)
            if (finding.name, finding.status) == ("driver", "info"):  # there is none
                left = [name for name in left if not PROBES[name].gpu]
                break


def _visit(names: Sequence[str]) -> Iterator[Finding]:
    """What one process finds, up to the first probe that ends it."""
    # -P and the path: a random.py in the current folder must not stand in for Python's
    code = "import fastgan.cli.probes as p, sys; p.main(sys.argv[1:])"
    places = (os.environ.get("PYTHONPATH"), str(Path(fastgan.__file__).parents[1]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    pipes: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": DEVNULL}
    with Popen([sys.executable, "-P", "-c", code, *names], **pipes, text=True, env=env) as process:
        try:
            for name in [*names]:
                yield _answer(process, name, SLOW.get(name, LIMIT))
                if process.poll() is not None:
                    return
        finally:
            process.kill()


def _answer(process: "Popen[str]", name: str, limit: float) -> Finding:
    """What a process says of one probe, while libraries may print as well; an error where it ends or hangs instead."""
    assert process.stdout is not None
    late, start = Timer(limit, process.kill), perf_counter()
    late.start()
    try:
        for line in process.stdout:
            with suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, list) and answer[:1] == [name]:
                    return Finding(*answer)
        code = process.wait()
    finally:
        late.cancel()
    in_time = perf_counter() - start < limit
    reason = f"ended with code {code}" if in_time else f"no answer within {limit:.0f} s"
    return Finding(name, "error", reason, PROBES[name].fix)


def to_do(findings: list[Finding]) -> list[str]:
    """A line for each thing to mend, the worst first, and each once."""
    first: dict[str, Finding] = {}  # by what is to be done
    for status in ("error", "warning", "info"):
        for finding in findings:
            if finding.fix and finding.status == status:
                first.setdefault(finding.fix, finding)
    return [f"{x.name}{' (optional)' if x.status == 'info' else ''}: {x.fix}" for x in first.values()]


def anonymous(text: str) -> str:
    """The text without home folders, the user's and the machine's name."""
    text = re.sub(r"/(home|Users)/[^/\"\s]+", "~", text.replace(str(Path.home()), "~"))
    for word in (os.environ.get("USER") or os.environ.get("USERNAME"), node()):
        text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", "...", text) if word else text
    return text
