"""From which size on a column beats another: the grid, and what the note says of rows that are made up."""

import pytest
from bench_played import PlayedBench

from fastgan.benchmarks import launches, suites, variants
from fastgan.benchmarks.suites import crossover


@pytest.mark.parametrize(
    ("points", "where"),
    [
        ([(8, True), (16, True), (32, True)], 8),
        ([(8, False), (16, True), (32, True)], 16),
        ([(8, True), (16, False), (32, True)], 32),  # what is won before a loss does not count
        ([(8, True), (16, True), (32, False)], None),
        ([(8, False)], None),
        ([(32, True), (16, True), (16, False), (8, False)], 32),  # both shapes of a size must be won
        ([(16, True), (8, True), (32, True), (8, False)], 16),
    ],
)
def test_the_least_size_from_which_on_all_are_won(points, where):
    assert crossover.crossing(points) == where
    assert crossover.crossing(points[::-1]) == where


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(8, True), (16, True)], "b beats a everywhere from batch x width = 8 on, at all 2 points"),
        ([(8, False), (16, True)], "b beats a from batch x width = 16 on, at 1 of 2 points in all"),
        (
            [(8, True), (16, False)],
            "b does not beat a at the largest batch x width = 16, but at 1 of 2 points",
        ),
        ([(8, False), (16, False)], "b beats a nowhere: at 0 of 2 points up to batch x width = 16"),
    ],
)
def test_the_sentence(points, said):
    assert crossover.sentence("a", "b", points) == said


def row(column, *blocks, batch=2, width=4, error=""):
    seconds = {"median": blocks[0], "blocks": list(blocks)} if blocks else None
    return {"column": column, "shape": {"batch": batch, "width": width}, "seconds": seconds, "error": error}


def test_points_are_where_both_columns_have_times_and_won_by_the_median_of_the_rounds():
    measured = [
        row("a", 1.0, 1.0, 9.0),
        row("b", 2.0, 0.5, 0.5),  # slower in the first round only
        row("a", 1.0, 1.0, 1.0, width=8),
        row("b", 0.5, 1.1, 1.1, width=8),
        row("a", 1.0, width=16),
        row("b", 0.5, width=16, error="failed"),
        row("b", 0.5, width=32),
    ]
    assert crossover.compared(measured, "a", "b") == [(8, True), (16, False)]
    assert crossover.compared(measured, "a", "c") == []


@pytest.mark.parametrize(("gpu", "count"), [(True, 4), (False, 3)])
def test_the_grid(gpu, count, monkeypatch):
    monkeypatch.setattr(crossover, "cuda_problem", lambda: None if gpu else "no driver")
    monkeypatch.setattr(crossover, "cores", lambda: 2)
    found = crossover.cases("full")
    sizes = [case.shape["batch"] * case.shape["width"] for case in found]
    assert sizes == sorted(sizes)
    assert (len(found), sizes[-1]) == (14, 2**18)
    assert {len(case.columns) for case in found} == {count}
    monkeypatch.setattr(crossover, "cores", lambda: 8)
    assert len(crossover.cases("full")) == 16
    assert [len(crossover.cases(size)) for size in ("quick", "tiny")] == [4, 1]


@pytest.mark.parametrize("size", suites.SIZES)
def test_each_case_is_found_by_its_key(size):
    found = crossover.cases(size)
    assert len({case.key for case in found}) == len(found)
    assert suites.find(found[-1].key, size).shape == found[-1].shape


def test_without_a_gpu_kernels_are_held_against_array_code_and_that_is_said(monkeypatch):
    """Kernels that cost 256 and little more win on all steps of more than 512."""
    monkeypatch.setattr(crossover, "cuda_problem", lambda: "no driver")

    def cost(row):
        work = row["shape"]["batch"] * row["shape"]["width"]
        return (
            256 + work / 2 if row["column"] == "cpu-kernels" else work if row["column"] == "numpy" else None
        )

    bench = PlayedBench("quick", cost=cost)
    rows = list(crossover.rows(bench))
    assert [row["column"] for row in rows] == ["numpy", "cpu-kernels", "torch"] * 4
    assert bench.notes == [
        crossover.NO_GPU,
        "cpu-kernels beats numpy from batch x width = 4096 on, at 3 of 4 points in all",
    ]
    large = variants.recipe_of(batch=128, width=512)
    assert rows[-1]["shape"] == {"batch": 128, "width": 512}
    assert (rows[-1]["bytes"], rows[-1]["flops"]) == (launches.floor(large), launches.flops(large))


def test_with_a_gpu_the_best_columns_come_first(monkeypatch):
    monkeypatch.setattr(crossover, "cuda_problem", lambda: None)
    bench = PlayedBench(
        "quick",
        columns=("numpy", "cpu-kernels", "cupy", "cuda-graph"),
        cost=lambda row: 1.0 if row["column"] == "cuda-graph" else 3.0 if row["column"] == "cupy" else 2.0,
    )
    columns = [row["column"] for row in crossover.rows(bench)]
    assert columns == ["cpu-kernels", "cuda-graph"] * 4 + ["numpy", "cupy"] * 4
    assert bench.notes == [
        "cuda-graph beats cpu-kernels everywhere from batch x width = 256 on, at all 4 points",
        "cupy beats numpy nowhere: at 0 of 4 points up to batch x width = 65536",
    ]
