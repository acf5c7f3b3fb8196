"""Result files: written whole or not at all, read only where they are what they say, one line for each that is not."""

import errno
import json
import os

import bench_files
import numpy as np
import pytest
from bench_files import row

from fastgan.benchmarks import plots, readme, report, result_types, results
from fastgan.errors import DataError, FastganError, OutputError, UsageError

STEP = "steps/keras-mlp/keras-mlp"


def one(**more):
    return bench_files.results(row(STEP, "cpu-kernels", (0.1, 0.2, 0.3)), **more)


def saved(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def complaint(kind, path):
    """The one line that loading ends with."""
    with pytest.raises(FastganError) as caught:
        results.load(path)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_what_is_written_is_read(tmp_path):
    content = one(notes=["µ, a line\nend and a ]"])
    results.write(content, tmp_path / "a.json")
    assert results.load(tmp_path / "a.json") == content
    results.write(results.load(tmp_path / "a.json"), tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_numbers_of_numpy_and_numbers_that_json_lacks_can_be_written(tmp_path):
    extra = {
        "loss": np.float32(0.5),
        "steps": np.int64(3),
        "nan": np.nan,
        "inf": [float("inf"), (1,)],
        7: True,
    }
    results.write(one(extra=extra, array=np.arange(2)), tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    found = results.load(tmp_path / "a.json")
    assert found["extra"] == {"loss": 0.5, "steps": 3, "nan": None, "inf": [None, [1]], "7": True}
    assert found["array"] == [0, 1]


def test_a_row_is_a_line(tmp_path):
    results.write(bench_files.results(*[row(STEP, "numpy", (1.0,))] * 5), tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert sum(line.startswith('{"suite"') for line in text.splitlines()) == 5


def test_no_row_at_all_can_be_written_and_read(tmp_path):
    results.write(bench_files.results(), tmp_path / "a.json")
    assert results.load(tmp_path / "a.json")["rows"] == []


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    results.write(one(), path)
    before = path.read_bytes()

    def full(handle, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            results.write(one(notes=["later"]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_said(tmp_path):
    with pytest.raises(OutputError, match="it is a folder, wanted a file"):
        results.write(one(), tmp_path)


def test_no_file_and_a_folder(tmp_path):
    assert "no file" in complaint(UsageError, tmp_path / "none.json")
    assert "directory" in complaint(UsageError, tmp_path)


@pytest.mark.parametrize("content", ["", "PK\x03\x04", "hello", "{]}", "[" * 100_000, '{"a": 1} x {}'])
def test_what_is_not_json_is_said(tmp_path, content):
    assert "is not JSON" in complaint(DataError, saved(tmp_path / "a.json", content))


def test_bytes_that_are_no_text_are_said(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\x80\xff\x00")
    assert "is not JSON" in complaint(DataError, tmp_path / "a.json")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_is_said(tmp_path, part):
    path = tmp_path / "a.json"
    results.write(one(), path)
    text = path.read_text(encoding="utf-8")
    message = complaint(DataError, saved(path, text[: int(len(text) * part)]))
    assert "ends in the middle" in message
    assert "copy it again" in message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"machine_info": {}, "commit_info": {}, "benchmarks": [], "version": "5"}, "pytest-benchmark"),
        ({"versions": {}, "rows": []}, "something else"),
        ({}, "something else"),
        ([1], "something else"),
        ("{}", "something else"),
        ({"format": "fastgan-checkpoint", "version": 1}, "something else"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, content, kind):
    message = complaint(UsageError, saved(tmp_path / "a.json", content))
    assert kind in message
    assert "wanted a file that `fastgan bench` wrote" in message


@pytest.mark.parametrize("version", [0, None, "1", 0.9])
def test_an_older_version_is_said(tmp_path, version):
    message = complaint(UsageError, saved(tmp_path / "a.json", one(version=version)))
    assert (
        f"was written by an older fastgan (result version {version}, wanted 1); run `fastgan bench` again"
        in message
    )


def test_a_newer_version_is_said(tmp_path):
    message = complaint(UsageError, saved(tmp_path / "a.json", one(version=2)))
    assert "a newer fastgan (result version 2, wanted 1); update fastgan" in message


@pytest.mark.parametrize("key", result_types.HEAD)
def test_a_head_without_something_is_said(tmp_path, key):
    content = one()
    del content[key]
    assert f"no usable {key};" in complaint(DataError, saved(tmp_path / "a.json", content))
    assert f"no usable {key};" in complaint(DataError, saved(tmp_path / "a.json", one(**{key: None})))


@pytest.mark.parametrize("key", result_types.ROW)
def test_a_row_without_something_is_said(tmp_path, key):
    content = bench_files.results(row(STEP, "numpy", (1.0,)), row(STEP, "cpu-kernels", (1.0,)))
    del content["rows"][1][key]
    message = complaint(DataError, saved(tmp_path / "a.json", content))
    assert "row 2/" in message
    assert f"has no usable {key};" in message


DAMAGED = [
    ({"seconds": 1.0}, "seconds"),
    ({"seconds": {"median": 1.0}}, "low, high, fastest, asking, device, blocks in seconds"),
    ({"seconds": bench_files.seconds(1.0) | {"blocks": []}}, "seconds: they are not all numbers above 0"),
    (
        {"seconds": bench_files.seconds(1.0) | {"blocks": [1.0, None]}},
        "seconds: they are not all numbers above 0",
    ),
    ({"seconds": bench_files.seconds(1.0) | {"blocks": 3}}, "blocks in seconds"),
    ({"seconds": bench_files.seconds(1.0) | {"low": 0.0}}, "seconds: they are not all numbers above 0"),
    ({"seconds": bench_files.seconds(1.0) | {"median": "1"}}, "median in seconds"),
    ({"seconds": bench_files.seconds(1.0) | {"asking": None}}, "asking in seconds"),
    ({"seconds": bench_files.seconds(1.0) | {"device": "1"}}, "device in seconds"),
    ({"group": 3}, "group"),
    ({"shape": [1]}, "shape"),
    ({"shape": {"batch": "64"}}, "batch in shape"),
    ({"suite": "crossover", "shape": {"batch": 64}}, "batch and width in shape"),
    ({"extra": None}, "extra"),
    ({"extra": {"reached": [1.0, 2.0]}}, "reached in extra"),
    ({"extra": {"curve": [[1.0]]}}, "curve in extra"),
    ({"extra": {"memory": "much"}}, "memory in extra"),
    ({"error": 7}, "error"),
    ({"launches": "many"}, "launches"),
    ({"percent": "half"}, "percent"),
    ({"bytes": None}, "bytes"),
]


@pytest.mark.parametrize(("change", "reason"), DAMAGED)
def test_a_row_that_holds_nonsense_is_said(tmp_path, change, reason):
    content = bench_files.results(row(STEP, "numpy", (1.0,)) | change)
    assert f" has no usable {reason};" in complaint(DataError, saved(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"notes": [3]}, "notes"),
        ({"problems": [None]}, "problems"),
        ({"columns": {"numpy": None}}, "columns"),
        ({"absent": {"jax": 3}}, "absent"),
        ({"ceilings": {"cpu": 3}}, "ceilings"),
        ({"ceilings": {"cpu": {"copy": "fast"}}}, "copy in ceilings"),
        ({"machine": {"memory_bytes": "8 GB"}}, "memory_bytes in machine"),
        ({"threads": {"environment": [1]}}, "environment in threads"),
        ({"selftest": {"lines": None}}, "lines in selftest"),
    ],
)
def test_a_head_that_holds_nonsense_is_said(tmp_path, change, reason):
    content = bench_files.results(row(STEP, "numpy", (1.0,))) | change
    assert f"no usable {reason};" in complaint(DataError, saved(tmp_path / "a.json", content))


def test_whatever_is_lost_of_a_file_is_a_line_or_does_no_harm(tmp_path, monkeypatch):
    """Each value of a file in turn becomes null, a word or a list: it is refused, or all that reads it can."""
    monkeypatch.setattr(plots, "svg", lambda figure, name, title: "<svg></svg>")  # drawn, but not written
    extra = {"reached": 1.0, "threshold": 2.0, "floor": 1.0, "score_name": "score", "curve": [[1.0, 2.0]]}
    whole = bench_files.results(
        row(STEP, "cpu-kernels", (1.0,) * 3),
        row("quality-time/digits/seed 1", "torch", extra=extra),
        row("scaling/width/width 8", "torch", (1.0,), shape={"width": 8}, extra={"memory": 7}),
    )
    whole["ceilings"]["cpu"] = {"copy": 1e10, "gemm": 1e11}
    spots = [(whole, key) for key in whole]
    spots += [
        (whole[key], name) for key in ("machine", "threads", "selftest", "ceilings") for name in whole[key]
    ]
    spots += [(whole["ceilings"]["cpu"], name) for name in whole["ceilings"]["cpu"]]
    for found in whole["rows"]:
        spots += [(part, key) for part in (found, found["seconds"] or {}, found["extra"]) for key in part]
    refused = 0
    for holder, key in spots:
        good = holder[key]
        for bad in (None, "x", [1]):
            holder[key] = bad
            path = saved(tmp_path / "a.json", whole)
            try:
                content = results.load(path)
            except FastganError as error:
                refused += "\n" not in str(error)
                continue
            readme.block({"a.json": content})
            report.made(content | {"rows": content["rows"][1:]})
        holder[key] = good
    assert refused > 150


def test_a_row_that_is_no_row_is_said(tmp_path):
    assert "no usable rows;" in complaint(DataError, saved(tmp_path / "a.json", bench_files.results(3)))


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
        ((1.7, 2.2, 2.3), "1.10 (0.95 - 1.13)", "same"),
        ((1.0,) * 4, "0.50 (0.50 - 0.50)", "unsure"),
        ((1.0,) * 5, "0.50 (0.50 - 0.50)", "faster"),
        ((1.0, 1.0, 1.0, 1.0, 2.1), "0.50 (0.50 - 0.61)", "unsure"),  # equal engines do that often
        ((1.0,) * 8 + (2.1,), "0.50 (0.50 - 0.50)", "faster"),
        ((1.0,) * 8 + (2.1, 2.1), "0.50 (0.50 - 0.61)", "unsure"),
        ((2.002,) * 9, "1.00 (1.00 - 1.00)", "same"),
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
