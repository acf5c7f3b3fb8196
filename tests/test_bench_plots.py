"""What the sections of the report say and draw, each from a few rows whose numbers can be checked by hand."""

from xml.etree import ElementTree

import bench_results as made
import matplotlib
import numpy as np
import pytest
from bench_page import some

from fastgan.benchmarks import (
    plots,
    plots_growth,
    plots_steps,
    report,
    report_growth,
    report_speed,
)

pytestmark = pytest.mark.slow


def test_a_number_of_the_rows_is_in_the_page():
    row = made.row("steps", "toy-mlp", "toy-mlp", "cpu-kernels", 7.891e-3, launches=4321, bytes=765_432)
    text = some(row).text
    assert "7.89 (7.50 - 8.68)" in text
    assert "4,321" in text
    assert "765,432" in text


def test_units_of_what_is_drawn():
    """Milliseconds, MiB; times of scaling and the host are drawn without numbers, so their points are looked at."""
    row = made.row("steps", "toy-mlp", "toy-mlp", "cuda-graph", 7.891e-3)
    words = some(row).words
    assert words.count("7.89") == 2  # as a bar, and beside the host's time
    assert report_growth.line_of(row)[2:] == pytest.approx((0.07 * 7.891, 0.93 * 7.891, 7.891))
    counted = made.row(
        "launches", "g", "a step", "cupy", launches=9, extra={"bytes": 3 * 2**20, "floor_bytes": 2**20}
    )
    assert {"9", "3"} <= set(some(counted).words)
    grown = [
        made.row(
            "scaling", "batch", "x", "jax", 2e-3, shape={"batch": 4}, extra={"memory": 5 * 2**20}, jitter=0
        )
    ]
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plots_growth,
            "scaling",
            lambda title, panels: drawn.append(panels) or plots.canvas(1, 1, left=0)[0],
        )
        report.made(made.results(*grown))
    assert drawn == [[("ms per step", {"jax": {4: (2, 2, 2)}}), ("memory, MiB", {"jax": {4: (5, 5, 5)}})]]


def test_ratios_and_who_is_slower():
    ours = made.row("steps", "toy-mlp", "toy-mlp", "cpu-kernels", 3e-3)
    array = made.row("steps", "toy-mlp", "toy-mlp", "numpy", 9e-3)
    peers = {"torch": 2e-3, "jax": 6e-3, "autograd": 3e-3}
    rows = [
        ours,
        array,
        *(made.row("steps", "toy-mlp", "toy-mlp", c, t, gpu=False) for c, t in peers.items()),
    ]
    for row in rows:
        row["seconds"]["blocks"] = [row["seconds"]["median"] * (1 + k / 100) for k in range(5)]
    rows[-1]["seconds"]["blocks"].reverse()
    text = some(*rows).text
    assert "slower: 1.50 (1.50 - 1.50)" in text
    assert "faster: 0.50 (0.50 - 0.50)" in text
    assert "no difference: 1.00 (0.98 - 1.02)" in text
    assert "the time of cpu-kernels over each peer's" in text
    assert "slower in 1 of 3 comparisons" in text


def test_peers_of_the_other_device_are_no_comparison():
    rows = [made.row("steps", "g", "c", c, 1e-3, jitter=0) for c in ("cuda-graph", "torch")]
    assert "no difference: 1.00 (1.00 - 1.00)" in some(*rows).text
    rows[1]["seconds"]["blocks"].append(1.0)
    assert "no ratio: too few rounds that both were in" in some(*rows).text
    assert "No peer was timed beside fastgan." in some(*rows).text
    rows[1]["seconds"]["blocks"].pop()
    rows[1]["device"] = "cpu"
    assert "no difference: 1.00" not in some(*rows).text


def test_the_picture_has_recipes_that_something_else_ran_too_unless_none_was():
    alone = made.row("steps", "digits", "digits", "cpu-kernels", 1e-3, gpu=False)
    other = made.row("steps", "toy-mlp", "toy-mlp", "cpu-kernels", 2e-3, gpu=False)
    peer = made.row("steps", "toy-mlp", "toy-mlp", "torch", 3e-3, gpu=False)
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plots, "bars", lambda blocks, *_, **__: drawn.append(blocks) or plots.canvas(1, 1, left=0)[0]
        )
        patch.setattr(report_speed, "against_peers", lambda *_: [])
        for rows in ((alone, other, peer), (alone, other), ()):
            report.made(made.results(*rows))
    assert [[name for name, _ in blocks] for blocks in drawn] == [["toy-mlp"], ["digits", "toy-mlp"]]
    ours, theirs = drawn[0][0][1]
    assert (ours.value, theirs.value, theirs.text) == (1, pytest.approx(1.5), "3")


def test_a_kernel_and_a_layer_of_one_name_can_be_told_apart():
    rows = [
        made.row(suite, "batch_norm", "128x1024", "cpu-kernels", 1e-3, ceiling="copy", percent=50.0)
        for suite in ("kernels", "layers")
    ]
    for row in rows:
        row |= {"bytes": 1000, "flops": 1000}
    words = some(*rows).words
    assert words.count("batch_norm 128x1024") == words.count("batch_norm 128x1024 (layer)") == 2


def test_ladder_and_its_factors():
    rows = {
        ("plain", "numpy"): 8e-3,
        ("fused", "cpu-kernels"): 2e-3,
        ("captured", "cuda-graph"): 1e-5,
        ("as trained", "cpu-kernels"): 4e-3,
    }
    by_case = {name: {c: made.row("ideas", "g", "x", c, t, jitter=0)} for (name, c), t in rows.items()}
    rungs = report_speed.ladder(by_case, "cpu")
    assert [(rung.name, rung.factor) for rung in rungs] == [
        ("plain", None),
        ("fused", 4.0),
        ("as trained", 0.5),
    ]
    by_case["as trained"]["cpu-kernels"]["seconds"]["blocks"] = [1e-3, 3e-3] * 3 + [1e-3]
    assert report_speed.ladder(by_case, "cpu")[-1].factor == 1.0  # from 0.67 to 2
    by_case["as trained"]["cpu-kernels"]["seconds"]["blocks"] = [1e-3] * made.ROUNDS
    assert report_speed.ladder(by_case, "cpu")[-1].whole == 8.0
    found = [made.row("ideas", "g", name, c, t, jitter=0) for (name, c), t in rows.items()]
    text = some(*found).text
    assert "g, on the CPU: 2x faster in all" in text
    assert "4x faster" in text
    assert "2x slower" in text


def test_roofline_numbers_and_its_place():
    row = made.row("kernels", "adam", "1e6", "cpu-kernels", 1e-3, bytes=4_200_000, flops=1_300_000, jitter=0)
    row |= {"ceiling": "copy", "percent": 20.0}
    text = some(row).text
    assert "Roofline on the CPU" in text
    assert "1.3 (20 %)" in text  # 1.3 Gflop/s, below 21 GB/s x 0.31 flop/byte
    assert "20 %" in text
    assert "More than 100 %" not in text
    assert "More than 100 %" in some(row | {"percent": 130.0}).text
    unknown = some(row | {"flops": 0})
    assert "Roofline on the CPU" not in unknown.text
    assert "the ceilings were not measured" in some(row, ceilings={}).text


def test_crossover_says_from_where_on():
    seconds = {
        "cpu-kernels": {(8, 32): 1, (8, 128): 2, (8, 512): 4, (64, 32): 1},
        "cuda-graph": {(8, 32): 2, (8, 128): 3, (8, 512): 1, (64, 32): 0.5},
    }
    rows = [
        made.row("crossover", "toy-mlp", f"{b}x{w}", column, t, shape={"batch": b, "width": w}, jitter=0)
        for column, places in seconds.items()
        for (b, w), t in places.items()
    ]
    text = some(*rows).text
    assert "toy-mlp: time of cpu-kernels over that of cuda-graph" in text
    assert "batch 8: cuda-graph is faster from width 512 on" in text
    assert "batch 64: cuda-graph is faster at every width" in text
    assert "4.00" in text
    assert "4000 / 1000".replace("000", ",000") in text
    assert "No two engines have times at one size." in some(rows[0]).text
    assert report_growth.where([32, 64], np.array([2.0, 0.5])) == "is not faster at the largest width"
    assert report_growth.where([32], np.array([np.nan])) == "was not timed beside the other"


def test_pairs_of_the_crossover():
    assert report_growth.pairs({"numpy": "cpu", "cpu-kernels": "cpu", "torch": "cpu"}) == [
        ("numpy", "cpu-kernels"),
        ("torch", "cpu-kernels"),
    ]
    gpu = {"cuda-graph": "cuda", "cpu-kernels": "cpu", "numpy": "cpu", "cupy": "cuda"}
    assert report_growth.pairs(gpu) == [("cpu-kernels", "cuda-graph"), ("numpy", "cupy")]
    assert report_growth.pairs({"jax": "cpu", "numpy": "cpu"}) == [("numpy", "jax")]


def test_quality_of_all_seeds():
    told = {"score_name": "distance", "threshold": 3.0, "floor": 1.5}
    rows = [
        made.row("quality-time", "digits", f"seed {seed}", column, extra=told | extra)
        for column, seed, extra in (
            ("cpu-kernels", 1, {"curve": [[1.0, 5.0], [2.0, 2.0]], "reached": 2.0, "coverage": 10}),
            ("cpu-kernels", 2, {"curve": [[1.0, 5.0, 7], [4.0, 2.0, 10]], "reached": 4.0, "coverage": 9}),
            ("cpu-kernels", 3, {"curve": [[1.0, 5.0], [3.0, 2.0]], "reached": 3.0, "coverage": 8}),
            ("torch", 1, {"curve": [[1.0, 5.0]], "reached": None, "coverage": 3}),
            ("torch", 2, {"curve": [], "reached": None}),
            ("torch", 3, {"curve": [[1.0, 2.5]], "reached": 1.0}),
        )
    ]
    text = some(*rows).text
    assert "threshold: 3" in text
    assert "real against real: 1.5" in text
    assert "cpu-kernels 3.0 (2.0 - 4.0), 3 of 3 seeds 2.0, 4.0, 3.0 10, 9, 8" in text
    assert (
        "torch not reached (1.0 - not reached), 1 of 3 seeds 3.00 (3.00 - 3.00), 1 seed not reached, not"
        in text
    )


def test_settings_of_matplotlib_are_left_alone():
    full = made.full()
    few = full | {"rows": full["rows"][:5]}
    with matplotlib.rc_context():
        matplotlib.rcParams["xtick.major.pad"] = 31
        before = dict(matplotlib.rcParams)
        changed = report.made(few)
        assert dict(matplotlib.rcParams) == before
    assert report.made(few) == changed


@pytest.mark.parametrize("values", [[3.0], [1e-7, 5e-7], [0.0, 2.0], [1.0, 1e9], [5.0, 5.0], [0.0]])
@pytest.mark.parametrize("log", [True, False])
def test_limits_hold_all_values(values, log):
    with plots.style():
        _, axes = plots.canvas(4, 2, left=0.5)
        plots.span(axes, "x", values, room=0.2, log=log)
        low, high = axes.get_xlim()
    least = [value for value in values if value > 0] if log and any(values) else [0.0]
    assert low <= min(least)
    assert high > max(values)


def test_the_line_of_the_crossover_goes_between_the_cells():
    ratio = np.array([[0.5, 0.5, 2.0], [0.5, 2.0, np.nan]])
    with plots.style():
        figure = plots_growth.crossover([8, 32], [1, 2, 3], ratio, np.ones((2, 2, 3)))
        lines = [c.get_segments()[0].tolist() for c in figure.axes[0].collections]
    assert lines == [[[1.5, -0.5], [1.5, 0.5]], [[0.5, 0.5], [0.5, 1.5]], [[0.5, 0.5], [1.5, 0.5]]]


def test_svg_alone_is_xml_without_names_of_its_own():
    with plots.style():
        figure = plots_steps.stacked([("a <b>", [1.0, 2.0]), ("$5 or $6", [1.0, 1.0])], ["import", "first"])
        root = ElementTree.fromstring(plots.svg(figure, "name", 'a "title"'))
    assert root.attrib["aria-label"] == 'a "title"'
    assert {"a <b>", "$5 or $6"} < {part.text for part in root.iter("text")}
    assert all(part.attrib["id"].startswith("name-") for part in root.iter() if "id" in part.attrib)


@pytest.mark.parametrize(("factor", "words"), [(1.002, "as fast"), (2, "2x faster"), (0.5, "2x slower")])
def test_factors_in_words(factor, words):
    assert plots_steps.faster(factor) == words


def test_curves_keep_their_points():
    with plots.style():
        curves = [plots_growth.Curve("torch", [(1.0, 4.0), (2.0, 3.0)])]
        figure = plots_growth.quality(curves, {"threshold": 3.5})
        (line, held) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[1, 4], [2, 3]]
    assert held.get_ydata() == [3.5, 3.5]
