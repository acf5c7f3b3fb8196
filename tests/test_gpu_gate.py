"""The GPU gate, as far as it goes without a GPU: the dry run, its messages, its tests and wheels, and what it keeps.

The dry run starts real processes. What needs a device (captures, events) is tried by running the gate on one.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks import gpu_gate, peers, turns
from fastgan import backend

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
    """A dry run of our own columns: what it printed, and its JSON."""
    out = tmp_path_factory.mktemp("dry")
    done = gate("--tiny", "--columns", "CuPy", "kernels", "captured", "--commit", "abc", out)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = out.iterdir()
    return done.stdout, json.loads(file.read_text())


def test_dry_run_writes_what_a_result_must_say(dry):
    _, written = dry
    assert {"device", "driver", "versions", "arithmetic", "data", "when", "seconds"} < set(written)
    assert (written["commit"], written["problems"], written["notes"]) == ("abc", [], [])
    assert "TF32 off" in written["arithmetic"]
    assert list(written["columns"]) == ["CuPy", "kernels", "captured"]


def test_dry_run_measures_the_columns(dry):
    _, written = dry
    row = written["recipes"]["toy-mlp"]
    for name in ("CuPy", "kernels"):
        assert 0 < row[name]["low"] <= row[name]["median"] <= row[name]["high"] < 10
        assert 0 < row[name]["asking"] <= row[name]["median"]
        assert row[name]["chunks"] == 2
        assert row[name]["parameters"] == [283_920, 267_009]
    # not the same code: NumPy's sums and the kernels' are rounded in other places, or a kernel is exact
    assert row["kernels"]["losses"] == pytest.approx(row["CuPy"]["losses"], rel=1e-3)
    assert row["captured"] == {"error": "needs a GPU"}


def test_dry_run_prints_the_table_last(dry):
    printed, written = dry
    head, row, tests, path = printed.splitlines()[-4:]
    assert head.split() == ["CuPy", "kernels", "captured", "peer/ours"]
    assert float(row.split()[1]) == pytest.approx(
        written["recipes"]["toy-mlp"]["CuPy"]["median"] * 1e3, abs=1e-3
    )
    assert row.split()[0::3] == ["toy-mlp", "-"]
    assert tests.startswith("tests: none")
    assert path.startswith("written to ")


@pytest.mark.skipif(backend.cuda_problem() is None, reason="there is a GPU")
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
        (["--recipes", "dcgan"], "invalid choice: 'dcgan'"),
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
    assert gpu_gate.parsed([]).out == ROOT / "benchmarks" / "results"


def test_recipes_with_peers_come_first_and_none_is_missing():
    import fastgan as fg

    chosen = gpu_gate.parsed([]).recipes
    assert chosen[:6] == list(peers.ALL)
    assert sorted(chosen) == sorted(fg.recipes)


def gpu_tests_in(folder, body, seconds=60.0):
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["gpu: x"]\n')
    (folder / "tests" / "test_a.py").write_text(
        f"import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    {body}\n"
    )
    (folder / "tests" / "test_b.py").write_text("import no_such_package\n")  # another machine's business
    return gpu_gate.tests(folder, folder / "log", seconds)


@pytest.mark.parametrize(
    ("body", "status", "summary"),
    [
        ("pass", 0, "1 passed"),
        ("assert 0", 1, "1 failed"),
        ("__import__('time').sleep(60)", -1, "not finished"),
    ],
)
def test_gpu_tests_run_first_and_their_end_is_kept(tmp_path, capsys, body, status, summary):
    found = gpu_tests_in(tmp_path, body, seconds=60.0 if status >= 0 else 3.0)
    assert found["status"] == status
    assert found["summary"].startswith(summary)
    assert found["files"] == 1
    assert status >= 0 or found["seconds"] < 30
    assert summary[2:] in capsys.readouterr().out or status < 0


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


def test_a_failing_column_is_a_problem_only_if_it_is_ours(tmp_path, monkeypatch):
    options = gpu_gate.parsed(["--tiny", "--columns", "kernels", "torch", "--out", str(tmp_path)])
    one = gpu_gate.Gate(options)
    monkeypatch.setattr(gpu_gate.importlib.util, "find_spec", lambda package: package)

    class Failing:
        def ask(self, *request):
            pass

        def answer(self, seconds):
            raise turns.LostError("planted")

    one.workers = {"kernels": Failing(), "torch": Failing()}
    row = one.recipe("toy-mlp")
    assert row == {name: {"error": "preparation: planted"} for name in ("kernels", "torch")}
    assert one.results["problems"] == ["toy-mlp, kernels: preparation: planted"]
    assert one.results["notes"] == ["toy-mlp, torch: preparation: planted"]


def test_what_was_measured_is_kept_when_the_gate_is_interrupted(tmp_path, monkeypatch):
    rows = iter([{"kernels": {"median": 1.0}}])
    monkeypatch.setattr(
        gpu_gate.Gate, "recipe", lambda self, recipe: next(rows)
    )  # the second recipe never ends well
    with pytest.raises(StopIteration):
        gpu_gate.main(
            ["--tiny", "--columns", "kernels", "--recipes", "toy-mlp", "digits", "--out", str(tmp_path)]
        )
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["recipes"] == {"toy-mlp": {"kernels": {"median": 1.0}}}
