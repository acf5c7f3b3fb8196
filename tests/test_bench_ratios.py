"""What rows of a result file mean: failures, ratios and their verdicts, seconds over seeds, figures."""

import bench_files
import pytest
from bench_files import row

from fastgan.benchmarks import results
from fastgan.errors import UsageError

STEP = "steps/keras-mlp/keras-mlp"


@pytest.mark.parametrize(
    ("error", "word", "failed"),
    [
        (None, "", False),
        ("", "", False),
        (f"{results.ABSENT}no peer is written", "", False),
        (results.OUT_OF_TIME, "no time left", False),
        ("wrong result, not timed: off", "wrong", True),
        ("its process ended with signal 11", "failed", True),
        ("making: it does not compile", "failed", True),
    ],
)
def test_what_an_error_is_called_and_whether_somebody_is_to_blame(error, word, failed):
    found = row(STEP, "torch", error=error)
    assert (results.reason(found), results.failed(found)) == (word, failed)
    assert not results.failed({})


def test_a_title_names_the_group_once():
    assert results.title(row("steps/dcgan64/dcgan64, batch 8", "numpy")) == "dcgan64, batch 8"
    assert results.title(row("kernels/adam/1e6", "numpy")) == "adam 1e6"


def test_fastgan_as_it_runs_is_the_last_column_with_a_time_on_the_device():
    found = {name: row(STEP, name, (1.0,)) for name in ("cpu-kernels", "numpy", "torch")}
    found |= {name: row(STEP, name, (1.0,), device="cuda") for name in ("cuda-kernels", "cupy")}
    found["cuda-graph"] = row(STEP, "cuda-graph", device="cuda", error="x")
    assert results.ours(found, "cpu")["column"] == "cpu-kernels"
    assert results.ours(found, "cuda")["column"] == "cuda-kernels"
    assert results.ours({"torch": found["torch"]}, "cpu") is None


@pytest.mark.parametrize(
    ("blocks", "said", "verdict"),
    [
        ((1.0,) * 9, "0.50 (0.50 - 0.50)", "faster"),
        ((2.2,) * 9, "1.10 (1.10 - 1.10)", "slower"),
        ((1.7, 2.2, 2.3), "1.10 (0.95 - 1.13)", "no difference"),
        ((1.0,) * 4, "0.50 (0.50 - 0.50)", "probably faster"),
        ((1.0,) * 5, "0.50 (0.50 - 0.50)", "faster"),
        ((1.0, 1.0, 1.0, 1.0, 2.1), "0.50 (0.50 - 0.61)", "probably faster"),  # equal engines do that often
        ((1.0,) * 8 + (2.1,), "0.50 (0.50 - 0.50)", "faster"),
        ((1.0,) * 8 + (2.1, 2.1), "0.50 (0.50 - 0.61)", "probably faster"),
        ((2.002,) * 9, "1.00 (1.00 - 1.00)", "no difference"),
    ],
)
def test_a_ratio_says_what_it_means(blocks, said, verdict):
    found = results.against(row(STEP, "cpu-kernels", blocks), row(STEP, "torch", (2.0,) * len(blocks)))
    assert (str(found), found.verdict) == (said, verdict)


def test_no_ratio_of_few_or_other_rounds():
    two, three = row(STEP, "cpu-kernels", (1.0, 2.0)), row(STEP, "torch", (1.0, 2.0, 3.0))
    assert results.against(two, two) is None
    assert results.against(two, three) is None
    assert results.against(three, row(STEP, "jax", error="x")) is None


def seeds(column, *reached, error=results.OUT_OF_TIME):
    """A row per seed; a string is one that has an error."""
    return {
        f"seed {n}": row(f"quality-time/digits/seed {n}", column)
        | ({"error": error} if value == "lost" else {"extra": {"reached": value}})
        for n, value in enumerate(reached, 1)
    }


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        ((12.3, 14.2, 11.0), "12.3 (11.0 - 14.2), 3 of 3 seeds"),
        ((12.3, None, 11.0), "12.3 (11.0 - not reached), 2 of 3 seeds"),
        ((None, None, 11.0), "not reached (11.0 - not reached), 1 of 3 seeds"),
        ((None, None), "not reached, 0 of 2 seeds"),
        ((7,), "7.0, 1 of 1 seeds"),
        ((12.3, "lost", 11.0), "11.7 (11.0 - 12.3), 2 of 3 seeds, 1 no time left"),
        (("lost", "lost"), "no time left"),
        ((), ""),
    ],
)
def test_seconds_over_seeds(reached, said):
    assert results.over_seeds(seeds("torch", *reached)) == said


def test_seconds_beside_a_peers_go_seed_by_seed():
    ratio, count = results.seed_by_seed(
        seeds("cpu-kernels", 1.0, 9.0, 4.0, 5.0), seeds("torch", 2.0, 3.0, 8.0, None)
    )
    assert (ratio[:3], count) == ((0.5, 0.5, 3.0), 3)
    assert results.seed_by_seed(seeds("numpy", 1.0), seeds("torch", None)) is None
    assert results.seed_by_seed({}, seeds("torch", 1.0)) is None


def test_who_was_trained_comes_by_recipe_column_and_seed():
    found = bench_files.results(
        *seeds("torch", 2.0, "lost").values(),
        *seeds("cpu-kernels", 1.0, 2.0).values(),
        row("quality-time/keras-mlp/seed 1", "torch", error=results.OUT_OF_TIME),
    )
    ((group, told, columns),) = results.trained(found)
    assert (group, told) == ("digits", {"reached": 2.0})
    assert {name: list(own) for name, own in columns.items()} == {
        "cpu-kernels": ["seed 1", "seed 2"],
        "torch": ["seed 1", "seed 2"],
    }


def test_rows_are_found_by_what_they_say():
    content = bench_files.results(
        row(STEP, "numpy", (1.0,)), row(STEP, "torch", (2.0,)), row("kernels/adam/1e6", "numpy", (3.0,))
    )
    assert [r["seconds"]["median"] for r in results.rows(content)] == [1.0, 2.0, 3.0]
    assert [r["seconds"]["median"] for r in results.rows(content, column="numpy")] == [1.0, 3.0]
    assert [r["seconds"]["median"] for r in results.rows(content, suite="steps", column="numpy")] == [1.0]
    assert [r["seconds"]["median"] for r in results.rows(content, group="adam")] == [3.0]


def test_cases_come_with_their_rows_by_column_in_the_order_of_the_file():
    content = bench_files.results(
        row("steps/b/b", "numpy", (1.0,)),
        row("steps/a/a", "numpy", (2.0,)),
        row("steps/b/b", "torch", (3.0,)),
        row("kernels/b/b", "numpy", (4.0,)),
    )
    found = dict(results.case_rows(content))
    assert list(found) == [("steps", "b", "b"), ("steps", "a", "a"), ("kernels", "b", "b")]
    assert {name: r["seconds"]["median"] for name, r in found["steps", "b", "b"].items()} == {
        "numpy": 1.0,
        "torch": 3.0,
    }
    assert list(dict(results.case_rows(content, suite="kernels"))) == [("kernels", "b", "b")]


def test_a_ratio_is_taken_round_by_round():
    ours, theirs = row(STEP, "cpu-kernels", (1.0, 9.0, 4.0)), row(STEP, "torch", (2.0, 3.0, 8.0))
    assert results.paired(ours, theirs) == pytest.approx((0.5, 0.5, 2.0))  # 4/3 were it of the medians
    assert results.paired(theirs, ours) == pytest.approx((0.3333333 + 0.4 * 1.6666667, 2.0, 2.0))


def test_a_ratio_needs_two_times_of_the_same_rounds():
    timed = row(STEP, "cpu-kernels", (1.0, 2.0))
    with pytest.raises(UsageError, match="steps/keras-mlp/keras-mlp/torch has no time: it crashed"):
        results.paired(timed, row(STEP, "torch", error="it crashed"))
    with pytest.raises(UsageError, match="2 and 1 rounds"):
        results.paired(timed, row(STEP, "torch", (1.0,)))


@pytest.mark.parametrize(
    ("spread", "unit", "text"),
    [
        ((0.0068, 0.007217, 0.0092), 1e-3, "7.22 (6.80 - 9.20)"),
        ((0.172, 0.174, 0.1764), 1e-3, "174 (172 - 176)"),
        ((1.23, 1.2345, 1.24), 1e-3, "1234 (1230 - 1240)"),
        ((1.2e-6, 1.23e-6, 1.3e-6), 1e-3, "0.00123 (0.00120 - 0.00130)"),
        ((0.5, 1.0, 2.0), 1.0, "1.00 (0.50 - 2.00)"),
    ],
)
def test_a_figure_has_three_digits_and_its_spread(spread, unit, text):
    assert results.shown(spread, unit) == text
