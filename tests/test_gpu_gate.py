"""The GPU gate, as far as it goes without a GPU: the dry run, its messages, its tests and wheels, and what it keeps.

The dry run's workers are real processes. What needs a device (captures, events) is tried by running the gate on one.
"""

import io
import json
import os
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from fastgan import device
from fastgan.benchmarks import bench, gpu_gate, machine, table
from fastgan.benchmarks.columns import COLUMNS
from fastgan.errors import OutputError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_gate.sh"


def gate(*arguments):
    """The script as a user starts it, with this Python as python3."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PATH": path},
        cwd="/",  # it must find its checkout by itself
    )


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """A dry run of our own columns, without ceilings and self-test: what it printed, and its JSON."""
    out, printed = tmp_path_factory.mktemp("dry"), io.StringIO()
    words = ("--tiny", "--columns", "numpy", "cpu-kernels", "cuda-graph", "--commit", "abc", str(out))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(bench.ceilings, "measured", lambda device, seconds: {})
        patch.setattr(bench.selftest, "run", lambda *_: {"passed": True, "lines": []})
        status = gpu_gate.main(list(words))
    (file,) = out.iterdir()
    found = json.loads(file.read_text())
    assert (status, found["problems"]) == (0, [])
    return printed.getvalue(), found


def test_dry_run_writes_what_a_result_must_say(dry):
    _, written = dry
    assert (written["commit"], written["finished"], written["size"]) == ("abc", True, "tiny")
    assert "TF32 off" in written["arithmetic"]
    assert list(written["columns"]) == ["numpy", "cpu-kernels"]
    assert written["absent"]["cuda-graph"].startswith("no GPU")
    assert "tests" not in written


def test_dry_run_measures_the_columns(dry):
    _, written = dry
    timed = [row for row in written["rows"] if row["seconds"]]
    assert [(row["case"], row["column"]) for row in timed] == [
        ("toy-mlp", "numpy"),
        ("toy-mlp", "cpu-kernels"),
    ]
    for row in timed:
        assert 0 < row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"] < 10
        assert 0 < row["seconds"]["asking"] <= row["seconds"]["high"]


def test_dry_run_prints_the_table_last(dry):
    printed, written = dry
    lines = printed.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split() == ["numpy", "cpu-kern", "ours/peer"])
    row = lines[head + 1].split()
    assert row[0] == "toy-mlp"
    timed = next(row for row in written["rows"] if row["seconds"])
    assert float(row[1]) == pytest.approx(timed["seconds"]["median"] * 1e3, abs=1e-3)
    assert lines[head + 2].startswith("tests: none")
    assert lines[-1].startswith("written to ")


def full_results():
    def row(column, median, **more):
        seconds = median and {"median": median, "blocks": [median * x for x in (1, 1, 2, 0.5, 1)]}
        place = {"suite": "steps", "group": "cs231n-vanilla", "case": "cs231n-vanilla", "column": column}
        return place | {"device": "cuda", "seconds": seconds, "launches": None} | more

    medians = {"cupy": 0.0123, "cuda-kernels": None, "cuda-graph": 0.0001, "torch": 0.004, "jax": 0.0003}
    on_cpu = {"cpu-kernels": 0.00001, "autograd": 0.00002}
    return {
        "device": "NVIDIA H200 with a long name",
        "commit": "0123456789abcdef+",
        "arithmetic": machine.facts("x", "y")["arithmetic"],
        "columns": dict.fromkeys(COLUMNS, "about"),
        "rows": [
            *(row(name, median) for name, median in medians.items()),
            *(row(name, median, device="cpu") for name, median in on_cpu.items()),
        ],
        "selftest": {"passed": False},
        "tests": {"summary": "9 passed"},
        "notes": ["digits, torch-compiled: " + "it failed " * 30],
        "problems": ["tests: 1 failed"],
    }


def test_the_table_fits_and_says_what_failed():
    lines = table.text(full_results()).splitlines()
    assert max(map(len, lines)) <= 100
    assert "commit 0123456789ab+" in lines[0]  # with changes
    assert "self-test failed" in lines[0]
    assert lines[2].split() == ["cpu-kern", "cupy", "graph", "torch", "jax", "autograd", "ours/peer"]
    times = ["0.0100", "12.3000", "0.1000", "4.0000", "0.3000", "0.0200"]
    assert lines[3].split() == ["cs231n-vanilla", *times, "0.33"]  # of the GPU: 0.1 over 0.3
    assert len(lines[2]) == len(lines[3])
    for part in ("tests: 9 passed", "note: digits", "problem: tests: 1"):
        assert part in "\n".join(lines)


def test_the_tables_ratio_is_of_the_turns_of_one_round_on_one_device():
    rows = {row["column"]: row for row in full_results()["rows"]}
    rows["jax"]["seconds"]["blocks"] = [0.0001] * 5  # in most rounds jax was as quick
    assert table.line(rows, ["jax"]).split()[-1] == "1.00"
    rows["cuda-graph"]["seconds"] = rows["cupy"]["seconds"] = None
    assert (
        table.line(rows, ["jax"]).split()[-1] == "0.50"
    )  # of the CPU: never a GPU's peer beside a CPU's kernels
    rows["autograd"]["seconds"]["blocks"].pop()  # not measured in the same rounds
    assert table.line(rows, ["jax"]).split() == ["cs231n-vanilla", "0.3000"]


def test_a_line_while_the_run_goes_on():
    row = full_results()["rows"][0]
    assert table.short(row) == "cs231n-vanilla, cupy: 12.3000 ms"
    assert table.short(row | {"error": "gone " * 50}).startswith("cs231n-vanilla, cupy: gone gone")
    assert len(table.short(row | {"error": "gone " * 50})) <= 100
    assert table.short(row | {"seconds": None, "launches": 26}).endswith("26 launches")


@pytest.mark.skipif(device.cuda_problem() is None, reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(tmp_path):
    done = gate("--out", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu_gate: no GPU: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--suites", "dcgan"], "invalid choice: 'dcgan'"),
        (["--columns", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_unknown_options_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        gpu_gate.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_results_go_where_either_spelling_says(tmp_path):
    assert gpu_gate.parsed(["--out", str(tmp_path)]).out == tmp_path
    assert gpu_gate.parsed([str(tmp_path)]).out == tmp_path
    assert gpu_gate.parsed([]).out == Path("bench", "gate")  # never among the committed results


def test_what_cannot_be_done_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_gate.Bench, "run", lambda bench: None)
    out, file = tmp_path / "a" / "b", tmp_path / "file"
    assert gpu_gate.main(["--tiny", "--out", str(out)]) == 0
    (out / "dry-run.json").write_text("kept")
    file.touch()
    for folder, said in (
        (out, "dry-run.json exists already; give another --out, or remove it\n"),
        (file / "c", "Not a directory; give another --out\n"),
    ):
        capsys.readouterr()
        assert gpu_gate.main(["--tiny", "--out", str(folder)]) == OutputError.exit_code
        written = capsys.readouterr()
        assert written.err.startswith("gpu_gate: ")
        assert written.err.endswith(said)
        assert written.err.count("\n") == 1
    assert (out / "dry-run.json").read_text() == "kept"


def test_a_case_that_does_not_exist_is_one_line(tmp_path, capsys):
    assert gpu_gate.main(["--tiny", "--only", "no such case", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("gpu_gate: no case has 'no such case' in its name")


GPU_TESTS = """import pytest

pytestmark = pytest.mark.gpu

def test_right():
    pass

def test_wrong():
    assert 0
"""


@pytest.mark.parametrize(
    ("seconds", "status", "summary"), [(60.0, 1, "1 failed, 1 passed"), (0.01, -1, "not finished")]
)
def test_gpu_tests_run_first_and_their_end_is_kept(tmp_path, capsys, monkeypatch, seconds, status, summary):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # importing Hypothesis takes a second
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["gpu: x"]\n')
    (tmp_path / "tests" / "test_a.py").write_text(GPU_TESTS)
    (tmp_path / "tests" / "test_b.py").write_text("import no_such_package\n")  # another machine's business
    found = gpu_gate.tests(tmp_path, tmp_path / "log", seconds)
    assert found["status"] == status
    assert found["summary"].startswith(summary)
    assert found["files"] == 1
    assert summary in capsys.readouterr().out or status < 0


def test_wheels_are_put_on_the_path_and_a_broken_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "before")
    monkeypatch.setattr(gpu_gate.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "target"))
    with zipfile.ZipFile(tmp_path / "planted_package-1.0-py3-none-any.whl", "w") as wheel:
        info = "planted_package-1.0.dist-info"
        wheel.writestr("planted_package.py", "found = True\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: planted-package\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    (problem,) = gpu_gate.put_on_path(tmp_path)
    assert problem.startswith("broken-1.0-py3-none-any.whl does not install: ")
    assert (tmp_path / "target" / "planted_package.py").is_file()
    assert sys.path[0] == str(tmp_path / "target")
    assert os.environ["PYTHONPATH"] == os.pathsep.join([sys.path[0], "before"])
    (empty,) = gpu_gate.put_on_path(tmp_path / "target")
    assert empty.endswith("holds no wheels")
