"""`fastgan bench`: options for the benchmark suites, and for what can be done with their results."""

import shlex
import sys
import time
from pathlib import Path

import click

from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import SUITES
from fastgan.cli.options import PATH


@click.group(invoke_without_command=True, short_help="Time everything, beside peers.")
@click.option("--quick", is_flag=True, help="Less of everything, in under two minutes on two cores.")
@click.option("--tiny", is_flag=True, hidden=True)
@click.option("--suite", type=click.Choice([*SUITES]), multiple=True, help="Only this suite.  [all]")
@click.option(
    "--column", type=click.Choice([*COLUMNS]), multiple=True, help="Only this engine.  [all that run]"
)
@click.option("--only", multiple=True, metavar="TEXT", help="Only cases with this in their name.")
@click.option("--out", type=PATH, help="A folder for the results.  [bench/DATE-TIME]")
@click.pass_context
def bench(
    ctx: click.Context, /, quick: bool, tiny: bool, out: Path | None, **chosen: tuple[str, ...]
) -> None:
    """Time kernels and whole training steps in every way fastgan can run them, and in PyTorch, JAX and autograd.

    --suite, --column and --only may be repeated. Results are compared before they are timed. The machine's ceilings
    are measured first, and the timing is tested on work of known length. OUT gets result.json, written after every
    case, and report.html. Ctrl-C keeps what there is.
    """
    if ctx.invoked_subcommand is not None:
        return
    from fastgan.benchmarks.live import run

    folder = out or Path("bench") / time.strftime("%Y-%m-%d-%H%M%S")
    code = run(
        folder / "result.json",
        size="tiny" if tiny else "quick" if quick else "full",
        suites=[name for name in SUITES if name in (chosen["suite"] or SUITES)],
        columns=[name for name in COLUMNS if name in (chosen["column"] or COLUMNS)],
        only=chosen["only"],
        command=shlex.join(["fastgan", *sys.argv[1:]]),
    )
    ctx.exit(code)


@bench.command()
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option("--across-machines", is_flag=True, help="Compare files of different machines all the same.")
@click.option("--fail-above", metavar="PERCENT", help="Exit code 1 where a case got slower by so much: 10%.")
@click.pass_context
def compare(ctx: click.Context, old: Path, new: Path, across_machines: bool, fail_above: str | None) -> None:
    """Say what became faster or slower from OLD to NEW, two files of `fastgan bench`."""
    from fastgan.benchmarks.compare import main_text

    text, failed = main_text(old, new, across_machines=across_machines, fail_above=fail_above)
    print(text)
    ctx.exit(int(failed))


@bench.command()
@click.argument("result", type=PATH)
@click.option("--out", type=PATH, help="Where to write it.  [beside RESULT]")
def report(result: Path, out: Path | None) -> None:
    """Write the report of RESULT, a file of `fastgan bench`, again."""
    from fastgan.benchmarks.report import write
    from fastgan.benchmarks.results import load

    out = out or result.with_name("report.html")
    write(load(result), out)
    print(out)
