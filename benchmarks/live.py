"""A run of the suites as people see it: a line per case as it comes, and a line that moves under them on a terminal.

A run writes `result.json` after every case, and says where it is however the run ends; `report.html` comes at the end,
after Ctrl-C too, but not after an error.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgan.benchmarks import report, verdict
from fastgan.benchmarks import results as files
from fastgan.benchmarks.bench import Bench
from fastgan.benchmarks.columns import OWN
from fastgan.errors import OutputError

if TYPE_CHECKING:
    from rich.status import Status

NAME = 40  # width; longer names push the rest, for cut ones would look alike


def run(path: Path, **wanted: Any) -> int:
    """Run suites, showing rows as they come; the exit code: 1 where something of fastgan's own was wrong or crashed."""
    make_room(path)
    start, code = time.perf_counter(), 0
    with screen() as table, terminating():
        made = Bench(path, **wanted, said=table.say, shown=table.row)
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
    page = path.with_name("report.html")
    report.write(made.results, page)
    print(*verdict.sentences(made.results), page, sep="\n")
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

    def handle(number: int, _: Any) -> None:
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
