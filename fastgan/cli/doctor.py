"""`fastgan doctor`: what is installed, what works, and one line for each thing to fix.

One process runs the probes and says what each finds, within a time limit; one that ends or hangs the process, as
libraries do while they are imported, is a finding like any other, and the probes after it are run by the next process.
Exit code 0 where training on the CPU works, whatever is said of a GPU; 2 where it does not.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from getpass import getuser
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import IO

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
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            _show(finding)
    usable = all(finding.status != "error" or not PROBES[finding.name].needed for finding in findings)
    if as_json:
        rows = [{key: anonymous(text) for key, text in asdict(finding).items()} for finding in findings]
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
    from fastgan.gan import RECIPES

    resolve_device("cuda")
    dense, measuring = (import_module(f"fastgan.kernels.cuda.{name}") for name in ("dense", "measuring"))
    cases = sorted(set().union(*map(dense_cases, RECIPES.values())))
    print(f"timing {len(cases)} shapes, a minute or two at the first time ...", flush=True)
    table = measuring.measure(cases)
    others = sum(table[case] != dense.built_in(*case) for case in cases)
    print(f"{len(cases)} shapes known; {others} of them are faster than by the built-in choice")
    return 0


def examine(names: Sequence[str] = tuple(PROBES)) -> Iterator[Finding]:
    """What the probes find, as it comes; never raises."""
    done = 0
    while done < len(names):
        for finding in _visit(names[done:]):
            done += 1
            yield finding


def _visit(names: Sequence[str]) -> Iterator[Finding]:
    """What one process finds, up to the first probe that ends it."""
    # -P and the path: a random.py in the current folder must not stand in for Python's
    command = [
        sys.executable,
        "-P",
        "-c",
        "import fastgan.cli.probes as p, sys; p.main(sys.argv[1:])",
        *names,
    ]
    places = (os.environ.get("PYTHONPATH"), str(Path(fastgan.__file__).parents[1]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, text=True, env=env
            )
        except OSError as error:
            yield Finding(names[0], "error", f"cannot start Python: {error}", PROBES[names[0]].fix)
            return
        with process:
            try:
                for name in names:
                    before = os.fstat(said.fileno()).st_size
                    answer = _answer(process, SLOW.get(name, LIMIT))
                    if isinstance(answer, str):
                        reason = answer or _last_words(process, said, before)
                        yield Finding(name, "error", reason, PROBES[name].fix)
                        return
                    yield Finding(name, **answer)
            finally:
                process.kill()


def _answer(process: "subprocess.Popen[str]", limit: float) -> dict[str, str] | str:
    """The next finding that a process writes, while libraries may print as well; or why none came, if that is known."""
    assert process.stdout
    late = Timer(limit, process.kill)
    late.start()
    try:
        for line in process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if isinstance(answer, dict) and answer.keys() == {"status", "detail", "fix"}:
                return answer
    finally:
        in_time = late.is_alive()
        late.cancel()
    return "" if in_time else f"no answer within {limit:.0f} s"


def _last_words(process: "subprocess.Popen[str]", said: IO[bytes], before: int) -> str:
    """The last line behind a place that a process that ended wrote to stderr, as Python ends with the exception."""
    code = process.wait()
    said.seek(before)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"ended with code {code}"


def _show(finding: Finding) -> None:
    from rich.table import Table

    from fastgan.cli.show import show

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=max(map(len, PROBES)))
    table.add_row(MARKS[finding.status], finding.name, finding.detail)
    show(table)


def to_do(findings: list[Finding]) -> list[str]:
    """A line for each thing to mend, the worst first; for a GPU only where there is one, and then each once."""
    has_gpu = any(finding.name == "driver" and finding.status != "info" for finding in findings)
    lines = []
    for status in ("error", "warning", "info"):
        for finding in (x for x in findings if x.fix and x.status == status):
            if status == "error" or not PROBES[finding.name].gpu:
                optional = " (optional)" if status == "info" else ""
                lines.append(f"{finding.name}{optional}: {finding.fix}")
            elif has_gpu:
                lines.append(f"for an NVIDIA GPU: {finding.fix}")
    return list(dict.fromkeys(lines))


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
