"""`fastgan doctor`: it finds what is planted, whatever a library does while it is imported, and gives nobody away."""

import getpass
import json
import os
import re
from pathlib import Path

import pytest
from fakes.cuda import ndarray, standing_in

from fastgan import ops
from fastgan.cli import doctor as module
from fastgan.cli import gpu_probes, main, probes
from fastgan.cli.doctor import Finding, anonymous, examine
from fastgan.cli.probes import PROBES
from fastgan.kernels.cuda import blas, building

pytestmark = pytest.mark.slow


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Put a module in front of the installed one, for the probes' processes."""

    def put(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def probe(name):
    """What one probe finds in a process of its own."""
    (found,) = examine([name])
    return found


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


def test_what_ends_a_process_takes_nothing_with_it(plant):
    """The probes after it are run by another, and what one before it said is not the reason."""
    plant("pooch", "import sys; print('a warning', file=sys.stderr)")
    plant("matplotlib", "import os; os._exit(7)")
    plant("tomli_w", "raise ImportError('gone')")
    found = list(examine(["pooch", "matplotlib", "tomli-w", "digits"]))
    assert [x.name for x in found] == ["pooch", "matplotlib", "tomli-w", "digits"]
    assert [x.detail for x in found[1:3]] == ["ended with code 7", "ImportError: gone"]
    assert found[3].status == "ok"


def test_findings_come_one_by_one(plant, tmp_path, monkeypatch, capsys):
    """The second probe ends when the first one's finding is there."""
    flag = tmp_path / "flag"
    plant("pooch", f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)")
    found = examine(["tomli-w", "pooch"])
    assert next(found).status == "ok"
    flag.touch()
    assert "no answer" not in next(found).detail

    def one_by_one():
        yield Finding("numpy", "ok", "the first")
        assert "the first" in capsys.readouterr().out
        yield Finding("numba", "ok", "the second")

    monkeypatch.setattr(module, "examine", one_by_one)
    assert main(["doctor"]) == 0


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
    with standing_in(), monkeypatch.context() as inside:
        inside.setattr("fastgan.device._driver_found", lambda: False)
        status, detail, fix = probes.cuda()
    assert (status, detail) == ("info", "no GPU in use: no NVIDIA driver on this machine")
    assert fix
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: "CuPy is not installed; pip install it")
    assert probes.cuda() == ("info", "no GPU in use: CuPy is not installed", "pip install it")


def test_the_cuda_compiler_is_tried(monkeypatch):
    pytest.importorskip("cuda.bindings.nvjitlink", reason="numba-cuda is not installed", exc_type=ImportError)
    monkeypatch.setattr(building, "compiler_problem", lambda: f"libnvvm is not found; {building.INSTALL}")
    status, detail, fix = probes.compiler()
    assert (status, detail) == ("warning", "libnvvm is not found: only array code on a GPU, which is slower")
    assert fix.startswith("pip install")
    monkeypatch.setattr(building, "compiler_problem", lambda: None)
    monkeypatch.setattr(building, "linker_problem", lambda: None)
    assert re.match(r"libnvvm and nvJitLink \d+\.\d+ make machine code", probes.compiler()[1])
    monkeypatch.setattr(gpu_probes, "numba_cuda", lambda: ("info", "not installed", ""))
    assert probes.compiler() == ("info", "not tried: numba-cuda is not installed", "")


def test_a_driver_that_is_too_old(monkeypatch):
    monkeypatch.setattr(gpu_probes, "numba_cuda", lambda: ("ok", "0.30", ""))
    monkeypatch.setattr(building, "driver_version", lambda: (12, 4))
    monkeypatch.setattr(building, "driver_problem", lambda: None)
    assert probes.driver() == ("ok", "for CUDA 12.4", "")
    said = 'the driver is for CUDA 12.4, the toolkit is 13.0; install a newer driver, or pip install "fastgan[cu12]"'
    monkeypatch.setattr(building, "driver_problem", lambda: said)
    wanted = ("warning", *said.split("; "))
    assert probes.driver() == wanted
    monkeypatch.setattr(building, "driver_version", lambda: None)
    assert probes.driver() == ("info", "none: needed for a GPU only", "")


def test_nvmath_is_optional(monkeypatch):
    def missing(name):
        raise gpu_probes.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(blas, "available", lambda: f"nvmath-python is not installed; {blas.INSTALL}")
    monkeypatch.setattr(gpu_probes.metadata, "version", missing)
    assert probes.nvmath() == (
        "info",
        "not installed: cuBLAS for large products on a GPU only",
        'pip install "nvmath-python[cu13]" or "nvmath-python[cu12]"',
    )
    monkeypatch.setattr(gpu_probes.metadata, "version", lambda name: "1.0.0")
    monkeypatch.setattr(building, "driver_version", lambda: (13, 0))
    monkeypatch.setattr(blas, "available", lambda: "cuBLAS does not load (no libcublas); pip install it")
    assert probes.nvmath() == ("warning", "1.0.0, cuBLAS does not load (no libcublas)", "pip install it")
    monkeypatch.setattr(blas, "available", lambda: None)
    assert probes.nvmath() == ("ok", "1.0.0, cuBLAS can be called", "")


def test_kernels_on_a_gpu_are_compared(monkeypatch):
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: "no driver")
    assert probes.gpu_kernels() == ("info", "not tried: no GPU in use", "")
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: None)

    def found(kernel):
        """What is said where `kernel` is the one for the GPU's arrays."""
        monkeypatch.setitem(ops.linear_leaky_relu.forward.kernels, ndarray, kernel)
        monkeypatch.setattr("fastgan.dispatch._told", set())
        with standing_in():
            return probes.gpu_kernels()

    right = ops.linear_leaky_relu.forward.plain
    assert found(right)[1].startswith("right; the first took")
    status, detail, fix = found(lambda *operands, slope: right(*operands, slope=slope) + 1)
    assert (status, detail) == ("error", "a kernel differs from the array code by 1")
    assert fix == "report it, with --json's output"
    assert found(lambda *operands, slope: right(*operands, slope=slope) * float("nan"))[0] == "error"

    def missing(*operands, slope):
        raise building.CannotBuild("libnvvm is not found")

    status, detail, fix = found(missing)
    assert status == "warning"
    assert detail.startswith("no kernels: libnvvm is not found")
    assert fix.startswith("pip install")


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
        (Finding("mnist", "info", "not here", "fetch it"), 0, "mnist (optional): fetch it"),
        (Finding("system", "warning", "disk full", "free some"), 0, "system: free some"),
    ],
)
def test_exit_code_and_fix(monkeypatch, capsys, found, code, part):
    got, out = findings(monkeypatch, capsys, found)
    assert got == code
    assert part in out
    assert found.detail in out


@pytest.mark.parametrize(
    ("driver", "lines"),
    [
        (Finding("driver", "info", "none"), ["cupy: uninstall"]),
        (
            Finding("driver", "ok", "13.0"),
            ["cupy: uninstall", "for an NVIDIA GPU: newer", "for an NVIDIA GPU: install"],
        ),
        (
            Finding("driver", "warning", "too old", "update"),
            [
                "cupy: uninstall",
                "for an NVIDIA GPU: newer",
                "for an NVIDIA GPU: update",
                "for an NVIDIA GPU: install",
            ],
        ),
    ],
)
def test_what_a_gpu_needs_is_said_once_and_only_where_there_is_one(driver, lines):
    found = [
        Finding("numba-cuda", "info", "not installed", "install"),
        Finding("cuda", "info", "no CuPy", "install"),
        Finding("cuda compiler", "warning", "old", "newer"),
        driver,
        Finding("cupy", "error", "two of them", "uninstall"),
    ]
    assert module.to_do(found) == lines


def test_the_worst_comes_first_and_each_fix_is_one_line(monkeypatch, capsys):
    found = (
        Finding("mnist", "info", "a", "later"),
        Finding("numpy", "ok", "b"),
        Finding("numba", "error", "c", "now"),
    )
    _, out = findings(monkeypatch, capsys, *found)
    todo = out.partition("to do:\n")[2].splitlines()
    assert todo[:2] == ["  numba: now", "  mnist (optional): later"]
