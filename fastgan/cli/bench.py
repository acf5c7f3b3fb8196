"""`fastgan bench`: the benchmark suites for people, as a live table; and what can be done with their results.

A run writes `result.json` after every case, and says where it is however the run ends; `report.html` comes at the end,
after Ctrl-C too, but not after an error.
"""

import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from fastgan.benchmarks import compare as comparing
from fastgan.benchmarks import results as files
from fastgan.benchmarks.columns import COLUMNS, OWN
from fastgan.benchmarks.suites import SUITES
from fastgan.errors import OutputError

if TYPE_CHECKING:
    from rich.status import Status

FOLDER = Path("bench")
NAME = 40  # width; longer names push the rest, for cut ones would look alike


class WithRun(click.Group):
    """A group whose options alone run the suites: `fastgan bench --quick`, but `fastgan bench compare A B`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named first."""
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"got {args[0]!r} for `fastgan bench`; wanted options, compare or report")
        return super().resolve_command(ctx, args)


@click.group(
    cls=WithRun, invoke_without_command=True, short_help="Time everything, against array code and peers."
)
@click.option("--quick", is_flag=True, help="Less of everything, in under two minutes on two cores.")
@click.option("--tiny", is_flag=True, hidden=True)
@click.option(
    "--suite",
    "suites",
    type=click.Choice(list(SUITES)),
    multiple=True,
    help="Only this; may be repeated.  [all]",
)
@click.option(
    "--column",
    "columns",
    type=click.Choice(list(COLUMNS)),
    multiple=True,
    help="Only this engine; may be repeated.  [all that can run]",
)
@click.option(
    "--only", multiple=True, metavar="TEXT", help="Only cases with this in their name; may be repeated."
)
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the results.  [bench/DATE-TIME]")
@click.pass_context
def bench(
    ctx: click.Context,
    quick: bool,
    tiny: bool,
    suites: Sequence[str],
    columns: Sequence[str],
    only: Sequence[str],
    out: Path | None,
) -> None:
    """Time kernels and whole training steps in every way fastgan can run them, and in PyTorch, JAX and autograd.

    Results are compared before they are timed. The machine's ceilings are measured first, and the timing is tested on
    work of known length. OUT gets result.json, written after every case, and report.html. Ctrl-C keeps what there is.
    """
    if ctx.invoked_subcommand is not None:
        return
    folder = out or FOLDER / time.strftime("%Y-%m-%d-%H%M%S")
    path = folder / "result.json"
    wanted = {
        "size": "tiny" if tiny else "quick" if quick else "full",
        "suites": [name for name in SUITES if not suites or name in suites],
        "columns": [name for name in COLUMNS if not columns or name in columns],
        "only": only,
    }
    ctx.exit(run(path, wanted))


def run(path: Path, wanted: dict[str, Any]) -> int:
    """Run suites, showing rows as they come; the exit code: 1 where something of fastgan's own was wrong or crashed."""
    from fastgan.benchmarks import verdict
    from fastgan.benchmarks.bench import Bench
    from fastgan.benchmarks.report import write as write_report

    make_room(path)
    start = time.perf_counter()
    code = 0
    with screen() as table, terminating():
        made = Bench(
            path,
            **wanted,
            command=shlex.join(["fastgan", *sys.argv[1:]]),
            said=table.say,
            shown=table.row,
        )
        rows = made.results["rows"]
        table.begin(made.limit, made.results)
        try:
            made.run()
        except KeyboardInterrupt:
            code = 130
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            if rows and path.exists():
                print(f"fastgan: what was measured before this is in {path}", file=sys.stderr)
            raise
        finally:
            table.end()
    if code:
        print(f"fastgan: interrupted; {len(rows)} rows are kept in {path}", file=sys.stderr)
    print(f"{len(rows)} rows in {time.perf_counter() - start:.0f} s: {path}", flush=True)
    report = path.with_name("report.html")
    write_report(made.results, report)
    print(*verdict.sentences(made.results), report, sep="\n")
    return code or int(bool(made.results["problems"]))


def make_room(path: Path) -> None:
    """Make the folder of a file that is not there yet; OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = path.exists()
    except OSError as error:
        raise OutputError(f"cannot use {path.parent}: {error.strerror}; give another --out") from error
    if taken:
        raise OutputError(f"{path} exists already; give another --out, or remove it")


@contextmanager
def terminating() -> Iterator[None]:
    """A block in which SIGTERM raises SystemExit, so that what was measured is kept."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Table:
    """Rows of the run as lines: a case a line, a column a cell; `status` is the line that moves under them."""

    def __init__(self, status: "Status | None") -> None:
        self.status, self.suite, self.case, self.headed = status, "", "", ""
        self.late: Counter[str] = Counter()  # cases that nobody had time for, by suite
        self.rows: dict[str, dict[str, Any]] = {}  # of the present case, by column
        self.start, self.limit, self.doing = time.perf_counter(), 0.0, "ceilings and self-test"

    def begin(self, limit: float, head: dict[str, Any]) -> None:
        """Say what is measured, where, and how long that may take."""
        self.limit = limit
        threads = ", ".join(f"{name}: {count}" for name, count in head["threads"].items() if count)
        self.say(f"{head['device']}; {head['arithmetic']}; threads: {threads}")
        self.say(f"milliseconds, medians (the report has their spread); at most {limit / 60:.1f} minutes")

    def say(self, line: str) -> None:
        """A line of its own."""
        self.flush()
        print(line, flush=True)
        self.show()

    def row(self, row: dict[str, Any]) -> None:
        """Add a row to the line of its case."""
        place = files.title(row)
        if (row["suite"], place) != (self.suite, self.case):
            self.flush()
            self.suite, self.case = row["suite"], place
            self.doing = f"{row['suite']}: after {place}"
        self.rows[row["column"]] = row
        self.show()

    def flush(self) -> None:
        """Print the line that is being made, unless nobody had time for the case."""
        if self.rows and all(cell(row) == files.OUT_OF_TIME for row in self.rows.values()):
            self.late[self.suite] += 1
        elif self.rows:
            if self.suite != self.headed:
                print(f"-- {self.suite}", flush=True)
                self.headed = self.suite
            cells = "  ".join(f"{name} {text}" for name, row in self.rows.items() if (text := cell(row)))
            print(f"{self.case:{NAME}} {cells}{beside(self.rows)}", flush=True)
        self.rows = {}

    def end(self) -> None:
        """Print what is left to say: the last line, and what there was no time for."""
        self.flush()
        if self.late:
            cases = ", ".join(f"{suite} ({count} cases)" for suite, count in self.late.items())
            print(f"no time left for: {cases}; --suite or --only measure them alone", flush=True)

    def show(self) -> None:
        """Move the status on."""
        if self.status:
            seconds = time.perf_counter() - self.start
            self.status.update(f"{self.doing}  {seconds:.0f} s of at most {self.limit:.0f}")


def cell(row: dict[str, Any]) -> str:
    """What a row says in a few characters."""
    if row.get("error"):
        return files.reason(row)
    if row["launches"]:
        return f"{row['launches']} launches"
    if "first_step" in row["extra"]:
        return f"{sum(row['extra'][part] for part in ('import', 'making', 'first_step')):.1f} s"
    if "reached" in row["extra"]:
        reached = row["extra"]["reached"]
        return "not reached" if reached is None else f"{reached:.1f} s"
    if row["seconds"]:
        return f"{row['seconds']['median'] * 1e3:.4g}"
    return ""


def beside(rows: dict[str, dict[str, Any]]) -> str:
    """The time of fastgan as it runs by itself over that of the quickest peer on that device, round by round."""
    own = next((own for device in files.WHERE if (own := files.ours(rows, device))), None)
    if own is None:
        return ""
    timed = [row for row in rows.values() if row["seconds"] and row["device"] == own["device"]]
    peers = [row for row in timed if row["column"] not in OWN]
    best = min(peers, key=lambda row: float(row["seconds"]["median"]), default=None)
    ratio = files.against(own, best) if best else None
    if best is None or ratio is None:
        return ""
    if ratio.verdict == "no difference":
        return f"  as fast as {best['column']}"
    return f"  {ratio} of {best['column']}'s time, {ratio.verdict}"


@contextmanager
def screen() -> Iterator[Table]:
    """A table with a moving line on a terminal, without one elsewhere."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        yield Table(None)
        return
    with console.status("") as status:
        yield Table(status)


@bench.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--across-machines", is_flag=True, help="Compare files of different machines all the same.")
@click.option(
    "--fail-above", metavar="PERCENT", help="Exit code 1 where a case became slower by more, such as 10%."
)
@click.pass_context
def compare(ctx: click.Context, old: Path, new: Path, across_machines: bool, fail_above: str | None) -> None:
    """Say what became faster or slower from OLD to NEW, two files of `fastgan bench`."""
    text, failed = comparing.main_text(old, new, across_machines=across_machines, fail_above=fail_above)
    print(text)
    ctx.exit(int(failed))


@bench.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Where to write it.  [report.html beside RESULT]"
)
def report(result: Path, out: Path | None) -> None:
    """Write the report of RESULT, a file of `fastgan bench`, again."""
    from fastgan.benchmarks.report import write as write_report

    found = files.load(result)
    out = out or result.with_name("report.html")
    write_report(found, out)
    print(out)
