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

pytestmark = pytest.mark.slow

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
    assert "is not a file" in complaint(UsageError, tmp_path)


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
        for bad in (bad for bad in (None, "x", [1]) if not isinstance(good, type(bad))):
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
