"""`pytest benchmarks`: the suites' cases for pytest-benchmark, a test per case and column; wrong answers fail untimed.

One idea: a test times what `fastgan bench` times, by the same turns, so warm-up and waiting for the device are alike;
pytest-benchmark is given a clock that shows the seconds per call that the turns found, and does with them all that its
users know (`--benchmark-json`, `--benchmark-compare`, `--benchmark-compare-fail=median:10%`). Unlike there, columns
are timed one after the other in one process: ratios of them are better taken from `fastgan bench`.
"""

from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import pytest

from fastgan.benchmarks import ceilings, machine, suites
from fastgan.benchmarks.bench import facts
from fastgan.benchmarks.cases import AbsentError, Case, Results, Station, summary
from fastgan.benchmarks.columns import COLUMNS, OWN, Column
from fastgan.benchmarks.paces import PACES

REFERENCE = "cpu-kernels"
ROUNDS = {"full": 20, "quick": 5, "tiny": 1}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--size`."""
    about = f"size of the cases: {', '.join(suites.SIZES)}; only full ones have torch.compile"
    parser.addoption("--size", choices=suites.SIZES, default="quick", help=about)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test per case and column; both are names, which the JSON file has as parameters."""
    size = metafunc.config.getoption("size")
    known.update((case.key, case) for suite in suites.WITH_CASES for case in suites.cases(suite, size))
    pairs = [
        pytest.param(key, name, id=f"{key}-{name}", marks=marks(case, name))
        for key, case in known.items()
        for name in case.columns or COLUMNS
    ]
    metafunc.parametrize(("case", "column"), pairs)


def marks(case: Case, column: str) -> list[pytest.MarkDecorator]:
    """The group of columns that are compared, and the clock that turns move on; no warnings of what is not ours."""
    quiet = ["ignore:Benchmark fixture was not used"]  # in a test that failed
    quiet += [] if COLUMNS[column].own else ["ignore::DeprecationWarning", "ignore::FutureWarning"]
    return [pytest.mark.benchmark(group=case.key, timer=shown), pytest.mark.filterwarnings(*quiet)]


class Shown:
    """The sum of the seconds per call that turns found."""

    __name__ = "seconds_of_turns"  # as the JSON file has it
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


shown = Shown()
known: dict[str, Case] = {}
# results by case and column: some cases compare columns with each other
found: dict[str, dict[str, Results]] = {}


@pytest.fixture
def timed(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[str, str], None]:
    """`measure` for names, at the size that was asked for."""
    size = request.config.getoption("size")
    return lambda case, column: measure(known[case], COLUMNS[column], size, benchmark)


def measure(case: Case, column: Column, size: str, benchmark: Any) -> None:
    """Make a case in a column, compare its results, and time it; a test is skipped with the reason why it has none."""
    if missing := why_not(column, size):
        pytest.skip(missing)
    station = Station(column)
    try:
        station.work = work = case.make(column)
    except AbsentError as absent:
        pytest.skip(str(absent))
    results = found.setdefault(case.key, {})
    if not column.own and not set(results) & set(OWN):  # as with -k torch: steps are held against fastgan's
        results[REFERENCE] = summary(case.make(COLUMNS[REFERENCE]).first())
    results[column.name] = summary(work.first())
    reason = case.wrong(results).get(column.name)
    assert not reason, f"{case.key}, {column.name}, is wrong and not timed: {reason}"
    count = 1 if size == "tiny" else station.count()

    def turn() -> None:
        shown.seconds += median(total for _, total, _ in work.turn(count, PACES[size].turn))

    about = facts(case)
    benchmark.extra_info.update(about, column=column.name, on=column.where(), **of_machine())
    benchmark.pedantic(turn, rounds=ROUNDS[size], iterations=1)
    if benchmark.stats and size != "tiny":
        seconds = benchmark.stats.stats.median
        limits = ceilings.measured(column.where())
        ceiling, percent = ceilings.share(seconds, about["bytes"], about["flops"], limits)
        benchmark.extra_info.update(ceiling=ceiling, percent=percent)


def why_not(column: Column, size: str) -> str:
    """Why a column is not timed here, or ""."""
    if column.name == "torch-compiled" and size != "full":
        return "torch.compile takes seconds for each case: --size full"
    return column.absent()


@cache
def of_machine() -> dict[str, Any]:
    """The machine, versions and threads; torch's are those of its default."""
    known = machine.facts("pytest benchmarks")
    return {name: known[name] for name in ("device", "versions", "threads", "arithmetic")}
