"""`fastgan bench` as it is typed: what it shows and leaves behind, when it ends well, badly or by Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bench_files
import pytest
from cli_helpers import ok, refused

from fastgan.benchmarks import bench as module
from fastgan.benchmarks import columns, live, report, results
from fastgan.cli import main
from fastgan.errors import DataError, OutputError

pytestmark = pytest.mark.slow

ONE = (
    "--tiny",
    "--suite",
    "steps",
    "--only",
    "steps/ring-gan",
    "--column",
    "numpy",
    "--column",
    "cpu-kernels",
)


# `fastgan` without ceilings and self-test, which take seconds and have tests of their own
QUIET = """import sys
from fastgan.benchmarks import bench
from fastgan.cli import main
bench.ceilings.measured = lambda device, seconds: {}
bench.selftest.run = lambda *_: {"passed": True, "lines": []}
sys.exit(main())"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of one case: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("bench") / "new" / "folder"
    command = [sys.executable, "-c", QUIET, "bench", *ONE, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done


def test_a_run_leaves_results_and_a_report(run):
    folder, _ = run
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "result.json"]
    found = json.loads((folder / "result.json").read_text())
    assert found["finished"] is True
    assert found["command"].startswith("fastgan bench --tiny --suite steps")
    assert [row["column"] for row in found["rows"] if row["seconds"]] == ["numpy", "cpu-kernels"]
    assert found["problems"] == []
    assert "ring-gan" in (folder / "report.html").read_text()


def test_a_run_shows_a_line_per_case(run):
    folder, done = run
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ring-gan") and "numpy" in line]
    row = next(row for row in json.loads((folder / "result.json").read_text())["rows"] if row["seconds"])
    assert line.split()[:3] == ["ring-gan", "numpy", f"{row['seconds']['median'] * 1e3:.4g}"]
    assert "-- steps" in done.stdout.splitlines()
    *_, last = done.stdout.splitlines()
    assert f" s: {folder / 'result.json'}\n" in done.stdout
    assert last == str(folder / "report.html")
    assert "a second" in done.stdout  # the report's first sentence


def test_results_are_never_written_over(run, capsys):
    folder, _ = run
    before = (folder / "result.json").read_bytes()
    assert main(["bench", *ONE, "--out", str(folder)]) == 4
    assert "exists already; give another --out" in capsys.readouterr().err
    assert (folder / "result.json").read_bytes() == before


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch, capsys):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", refuse)
    assert main(["bench", *ONE, "--out", str(tmp_path / "a")]) == 4
    assert "a: Permission denied; give another --out" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", *ONE, "--out", str(tmp_path / "file" / "in")]) == 4
    assert "give another --out" in capsys.readouterr().err


def test_no_case_of_that_name(tmp_path, monkeypatch, capsys):
    quiet(monkeypatch)
    words = ["bench", "--tiny", "--suite", "steps", "--only", "nonsense", "--out", str(tmp_path / "a")]
    assert main(words) == 2
    assert "no case has 'nonsense' in its name" in capsys.readouterr().err


def quiet(monkeypatch):
    """No ceilings and no self-test, which take seconds."""
    monkeypatch.setattr(module.ceilings, "measured", lambda device, seconds: {})
    monkeypatch.setattr(module.selftest, "run", lambda *_: {"passed": True, "lines": []})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_it_measured(tmp_path, number, code):
    words = ("bench", "--tiny", "--suite", "steps", "--column", "cpu-kernels", "--out", str(tmp_path))
    started = subprocess.Popen(
        [sys.executable, "-c", QUIET, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # Ctrl-C reaches the workers as well
    )
    path = tmp_path / "result.json"
    until = time.monotonic() + 90
    while time.monotonic() < until and not (path.exists() and json.loads(path.read_text())["rows"]):
        time.sleep(0.1)
    os.killpg(started.pid, number) if number == signal.SIGINT else started.send_signal(number)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == code
    found = json.loads(path.read_text())
    assert found["finished"] is False
    assert len(found["rows"]) > 0
    (line,) = errors.splitlines()
    assert line == f"fastgan: interrupted; {len(found['rows'])} rows are kept in {path}"
    assert (tmp_path / "report.html").exists()


def test_a_run_is_compared_with_itself(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = run
    path = folder / "result.json"
    same = ok(capsys, "bench", "compare", str(path), str(path), "--fail-above", "10%")
    assert "0 slower, 0 faster, 2 same" in same
    assert "no share" in refused(capsys, 2, "bench", "compare", str(path), str(path), "--fail-above", "junk")
    other = json.loads(path.read_text())
    other["device"] = other["machine"]["cpu"] = "another processor"
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert "another processor" in refused(
        capsys, 2, "bench", "compare", str(path), str(tmp_path / "other.json")
    )
    ok(capsys, "bench", "compare", str(path), str(tmp_path / "other.json"), "--across-machines")


def test_a_report_is_made_again(run, tmp_path, capsys):
    folder, _ = run
    ok(capsys, "bench", "report", str(folder / "result.json"), "--out", str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == (folder / "report.html").read_bytes()


def test_peers_that_are_missing_are_said_with_the_fix(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(columns.importlib.util, "find_spec", lambda name: None)
    assert ends(monkeypatch, tmp_path, None, "--column", "torch")[0] == 0
    assert "torch left out: torch is not installed; pip install 'fastgan[peers]'" in capsys.readouterr().out


def ends(monkeypatch, tmp_path, how, *words, rows=1):
    """A run whose suites keep rows, then end with `how`: its exit code and its file."""
    quiet(monkeypatch)

    def played(self, suite):
        for _ in range(rows):
            self.keep(self.row("steps", "g", "g", "numpy"))
        if how:
            raise how

    monkeypatch.setattr(module.Bench, "go_through", played)
    return main(["bench", *ONE, *words, "--out", str(tmp_path / "a")]), tmp_path / "a" / "result.json"


@pytest.mark.parametrize(
    ("how", "code"), [(OutputError("no space"), 4), (DataError("bad"), 2), (RuntimeError("a bug"), 1)]
)
def test_an_error_says_where_the_rows_are(how, code, monkeypatch, tmp_path, capsys):
    found, path = ends(monkeypatch, tmp_path, how)
    assert found == code
    said, error = capsys.readouterr().err.splitlines()
    assert said == f"fastgan: what was measured before this is in {path}"
    assert str(how) in error
    assert len(results.load(path)["rows"]) == 1


def test_an_error_before_any_row_says_only_that(monkeypatch, tmp_path, capsys):
    assert ends(monkeypatch, tmp_path, DataError("bad"), rows=0)[0] == 2
    assert capsys.readouterr().err == "fastgan: error: bad\n"


@pytest.mark.parametrize(("how", "code"), [(KeyboardInterrupt(), 130), (OutputError("no space"), 4)])
def test_a_report_that_fails_leaves_word_of_the_rows(how, code, monkeypatch, tmp_path, capsys):
    def write(found, path):
        raise how

    monkeypatch.setattr(report, "write", write)
    found, path = ends(monkeypatch, tmp_path, None)
    assert found == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 rows in ")
    assert last.endswith(f" s: {path}")


def shown(capsys, *rows):
    """What the live table prints of these rows."""
    table = live.Table(None)
    for row in rows:
        table.row(row)
    table.end()
    return capsys.readouterr().out.splitlines()


CASE = "kernels/linear_leaky_relu_forward/128x1024x1024"


def test_cases_that_nobody_had_time_for_are_one_line(capsys):
    late = [
        bench_files.row(f"kernels/adam/{n}", c, error=results.OUT_OF_TIME)
        for n in range(9)
        for c in ("numpy", "torch")
    ]
    late += [
        bench_files.row("scaling/batch/64", "numpy", error=f"{results.OUT_OF_TIME}: not ready after 9 s")
    ]
    *lines, last = shown(capsys, bench_files.row("steps/a/a", "numpy", (1.0,)), *late)
    assert [line.split()[0] for line in lines] == ["--", "a"]
    assert last.startswith("no time left for: kernels (9 cases), scaling (1 cases)")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("its process ended with signal 11", "torch failed"),
        ("wrong result, not timed: off", "torch wrong"),
        (results.OUT_OF_TIME, "torch no time left"),
        (f"{results.ABSENT}no peer is written", ""),
    ],
)
def test_a_cell_says_what_there_is_instead_of_a_time(error, said, capsys):
    rows = (bench_files.row(CASE, "numpy", (1.0,)), bench_files.row(CASE, "torch", error=error))
    assert shown(capsys, *rows)[-1].split("numpy 1000")[1].strip() == said


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ((0.5,) * 9, "0.50 (0.50 - 0.50) of torch's time, faster"),
        ((0.5, 1.0, 1.5), "as fast as torch"),
        ((2.0,) * 9, "2.00 (2.00 - 2.00) of torch's time, slower"),
        ((2.0,) * 4, "2.00 (2.00 - 2.00) of torch's time, probably slower"),
        ((2.0, 2.0), ""),
    ],
)
def test_a_line_ends_with_the_quickest_peer(blocks, said):
    found = {
        "cpu-kernels": bench_files.row(CASE, "cpu-kernels", blocks),
        "torch": bench_files.row(CASE, "torch", (1.0,) * len(blocks)),
        "jax": bench_files.row(CASE, "jax", (3.0,) * len(blocks)),
        "numpy": bench_files.row(CASE, "numpy", (0.1,) * len(blocks)),
    }
    assert live.beside(found).strip() == said
    assert live.beside({name: found[name] for name in ("torch", "jax")}) == ""
    assert live.beside({"numpy": found["numpy"]}) == ""
