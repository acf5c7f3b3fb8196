"""`fastgan doctor`: it finds what is planted, whatever a library does while it is imported, and gives nobody away."""

import getpass
import json
import os
import re
from pathlib import Path

import fake_cupy
import pytest

from fastgan.cli import doctor as module
from fastgan.cli import main, probes
from fastgan.cli.doctor import Finding, anonymous, probe
from fastgan.cli.probes import PROBES


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Put a module in front of the installed one, for the probes' processes."""

    def put(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def findings(monkeypatch, capsys, *found, words=("doctor",)):
    """Exit code and output with given findings in place of the probes'."""
    monkeypatch.setattr(module, "examine", lambda: list(found))
    code = main(list(words))
    return code, capsys.readouterr().out


def test_it_works_here(capsys):
    """Every probe, in its own process."""
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {row["name"]: row for row in report["findings"]}
    assert list(found) == list(PROBES)
    assert report["usable"]
    for name, row in found.items():
        assert row["status"] == "ok" or not PROBES[name].needed, row
    assert re.match(r"\d+\.\d+.*threads: \d+", found["numpy"]["detail"])
    assert "1,797" in found["digits"]["detail"]
    assert "right" in found["kernels"]["detail"]


def test_nobody_is_given_away(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setattr(getpass, "getuser", lambda: "jane")
    monkeypatch.setattr(module, "getuser", lambda: "jane")
    host = os.uname().nodename
    text = anonymous(f"/home/jane/.cache and /home/other/x, /Users/mary/y, /data/jane/z on {host}")
    for word in ("jane", "other", "mary", host):
        assert word not in text
    assert "~/.cache" in text
    monkeypatch.setenv("HOME", "/")
    assert anonymous("/usr/lib") == "/usr/lib"


def test_json_is_made_anonymous(monkeypatch, capsys):
    home = str(Path.home())
    code, out = findings(
        monkeypatch, capsys, Finding("mnist", "ok", f"in {home}/x", f"{home}/y"), words=("doctor", "--json")
    )
    assert code == 0
    assert json.loads(out)["findings"] == [
        {"name": "mnist", "status": "ok", "detail": "in ~/x", "fix": "~/y"}
    ]


def test_a_library_that_ends_the_process_is_a_finding(plant):
    plant("matplotlib", "import os; os._exit(7)")
    found = probe("matplotlib")
    assert (found.status, found.detail) == ("error", "ended with code 7")
    assert "pip install" in found.fix


def test_a_library_that_hangs_is_a_finding(plant, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 1.0)
    plant("pooch", "import time; time.sleep(60)")
    found = probe("pooch")
    assert (found.status, found.detail) == ("error", "no answer within 1 s")


def test_a_library_that_raises_or_talks_is_a_finding(plant):
    plant("pooch", "print('hello'); raise ImportError('libfoo.so.1: cannot open')")
    found = probe("pooch")
    assert found.status == "error"
    assert found.detail == "ImportError: libfoo.so.1: cannot open"
    plant("tomli_w", "print('{}'); print('noise')")
    assert probe("tomli-w").status == "ok"


def test_two_cupy_wheels_are_an_error(plant, tmp_path):
    for name in ("cupy_cuda12x", "cupy_cuda13x"):
        folder = tmp_path / f"{name}-99.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 99.0\n"
        )
    plant("unused", "")
    found = probe("cupy")
    assert found.status == "error"
    assert "cupy-cuda12x" in found.detail
    assert "cupy-cuda13x" in found.detail
    assert found.fix.startswith("pip uninstall cupy-cuda12x cupy-cuda13x")


def test_a_wrong_kernel_is_found(plant):
    """A kernel that computes something else than the array code: the probe compares."""
    plant(
        "sitecustomize",
        "import fastgan.kernels.dense as dense\n"
        "right = dense.linear_leaky_relu\n"
        "dense.linear_leaky_relu = lambda x, w, b, *, slope=0.2: right(x, w, b, slope=slope) + 1\n",
    )
    found = probe("kernels")
    assert found.status == "error", found
    assert "differs from the array code by 1" in found.detail


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_library(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise ImportError('not the real one')")
    monkeypatch.chdir(tmp_path)
    assert probe("numpy").status == "ok"


def test_where_kernels_are_cached(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert str(tmp_path) in probe("kernel cache").detail


def test_no_place_to_cache_kernels_is_a_warning(plant):
    plant(
        "sitecustomize",
        "import numba\n"
        "real = numba.njit\n"
        "def njit(*loop, cache=False, **options):\n"
        "    if cache:\n"
        "        raise RuntimeError('cannot cache function: no locator available')\n"
        "    return real(*loop, **options)\n"
        "numba.njit = njit\n",
    )
    found = probe("kernel cache")
    assert found.status == "warning", found
    assert "NUMBA_CACHE_DIR" in found.fix
    assert probe("kernels").status == "ok"


def test_without_numba_array_code_runs_and_the_doctor_says_so(plant):
    plant("numba", "raise ImportError('no numba here')")
    found = probe("kernels")
    assert (found.status, found.fix) == ("warning", "pip install --force-reinstall numba llvmlite")
    assert probe("numba").detail == "ImportError: no numba here"
    assert probe("training").status == "ok"


def test_mnist_is_found_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    monkeypatch.setattr("fastgan.data.mnist.cache_folder", lambda: tmp_path / "nothing")
    status, _, fix = probes.mnist()
    assert status == "info"
    assert "FASTGAN_DATA" in fix
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train-images-idx3-ubyte.gz").write_bytes(b"")
    assert probes.mnist()[0] == "ok"


def test_cuda_without_a_driver(monkeypatch):
    fake_cupy.install(monkeypatch)
    monkeypatch.setattr("fastgan.backend._driver_found", lambda: False)
    status, detail, fix = probes.cuda()
    assert (status, detail) == ("info", "no GPU in use: no NVIDIA driver on this machine")
    assert fix
    monkeypatch.setattr("fastgan.backend.cuda_problem", lambda: "CuPy is not installed; pip install it")
    assert probes.cuda() == ("info", "no GPU in use: CuPy is not installed", "pip install it")


def test_variables_are_shown(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    monkeypatch.setenv("SECRET_TOKEN", "do not show")
    _, detail, _ = probes.environment()
    assert "NUMBA_DISABLE_JIT=0" in detail
    assert "do not show" not in detail


def test_little_disk_is_a_warning(monkeypatch):
    monkeypatch.setattr(probes.shutil, "disk_usage", lambda _: probes.shutil._ntuple_diskusage(10, 9, 2**20))
    status, detail, fix = probes.system()
    assert status == "warning"
    assert "0.0 GiB free" in detail
    assert "--out" in fix


@pytest.mark.parametrize(
    ("found", "code", "part"),
    [
        (Finding("numpy", "error", "ImportError: gone", "pip install numpy"), 2, "does not work here yet"),
        (Finding("cupy", "error", "two of them", "pip uninstall both"), 0, "training works here"),
        (Finding("cuda", "info", "no GPU", "buy one"), 0, "cuda (optional): buy one"),
        (Finding("system", "warning", "disk full", "free some"), 0, "system: free some"),
    ],
)
def test_exit_code_and_fix(monkeypatch, capsys, found, code, part):
    got, out = findings(monkeypatch, capsys, found)
    assert got == code
    assert part in out
    assert found.detail in out


def test_the_worst_comes_first_and_each_fix_is_one_line(monkeypatch, capsys):
    found = (
        Finding("mnist", "info", "a", "later"),
        Finding("numpy", "ok", "b"),
        Finding("numba", "error", "c", "now"),
    )
    _, out = findings(monkeypatch, capsys, *found)
    todo = out.partition("to do:\n")[2].splitlines()
    assert todo[:2] == ["  numba: now", "  mnist (optional): later"]
