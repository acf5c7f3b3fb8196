"""The head of a result file: what the system says, and what is said where it says nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastgan
from fastgan.benchmarks import ceilings, machine, operations, result_types
from fastgan.threads import cores

KEYS = ("device", "machine", "versions", "threads", "arithmetic", "data", "commit", "when", "command")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(machine, "cuda_problem", lambda: "none here")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(machine, "cuda_problem", lambda: None)
    monkeypatch.setattr(machine, "gpu", lambda: ("NVIDIA H200", "580.159.04"))


@pytest.fixture
def git(tmp_path):
    """A checkout with one commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "m"]):
        options = ["-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *options, *command], check=True)
    return tmp_path


# The head
def test_the_head_has_what_a_result_file_must(no_gpu, monkeypatch):
    monkeypatch.setattr(machine, "processor", lambda: "AMD EPYC")
    monkeypatch.setattr(machine, "affinity", lambda: 2)
    found = machine.facts("fastgan bench", "abc")
    assert tuple(found) == KEYS
    assert all(isinstance(found[key], result_types.HEAD[key]) for key in KEYS)
    assert (found["device"], found["commit"], found["command"]) == (
        "AMD EPYC, 2 cores",
        "abc",
        "fastgan bench",
    )
    assert set(found["machine"]) == {"cpu", "cores", "memory_bytes", "gpu", "driver", "system"}
    assert (found["machine"]["gpu"], found["machine"]["driver"]) == (None, "none")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["when"])
    assert "TF32 off" in found["arithmetic"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    monkeypatch.setattr(machine, "affinity", lambda: 1)
    assert machine.facts("")["device"] == "AMD EPYC, 1 core"


def test_a_gpu_is_the_device(gpu):
    found = machine.facts("x", "c")
    assert found["device"] == "NVIDIA H200"
    assert found["machine"]["gpu"] == "NVIDIA H200"
    assert found["machine"]["driver"] == "580.159.04"
    assert found["machine"]["cpu"]


def test_this_machine(no_gpu):
    found = machine.facts("x")
    assert found["machine"]["cores"] >= found["threads"]["cores"] == cores() >= 1
    memory = found["machine"]["memory_bytes"]
    assert memory is None or memory > 1 << 28
    assert found["versions"]["fastgan"] == fastgan.__version__
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert re.match(r"\d+\.\d+", found["versions"]["numpy"])
    assert found["commit"] == "unknown" or re.fullmatch(r"[0-9a-f]{40}\+?", found["commit"])


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    assert machine.versions()["no-such-package"] == "not installed"


@pytest.mark.parametrize("peer", ["torch", "jax", "autograd", "cupy-cuda13x", "numba-cuda", "nvmath-python"])
def test_every_library_that_matters_is_named(peer):
    assert machine.versions()[peer]


def test_no_library_is_imported_to_look_at_it():
    code = (
        "import sys; from fastgan.benchmarks import machine; machine.threads(); machine.versions();"
        "print([m for m in ('torch', 'jax', 'cupy', 'numba', 'autograd') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# Processor, threads, BLAS
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9B14  \nmodel name\t: other\n", "AMD EPYC 9B14"),
        ("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n", "AMD EPYC (family 25 model 17)"),
        ("processor\t: 0\nmodel\t\t: 17\nmodel name\t:\nBogoMIPS\t: 50.0\n", "what the platform says"),
        (None, "what the platform says"),
    ],
)
def test_the_processor_names_itself(monkeypatch, text, name):
    def read_text(self, **_):
        if text is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(machine.Path, "read_text", read_text)
    monkeypatch.setattr(machine, "libraries", lambda: [])
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine.platform, "processor", lambda: "what the platform says")
    assert machine.processor() == name


def test_two_processors_of_one_name_are_two_machines(monkeypatch, no_gpu):
    heads = []
    for core in ("Haswell", "SkylakeX"):
        monkeypatch.setattr(
            machine, "libraries", lambda core=core: [{"architecture": core, "num_threads": 2}]
        )
        heads.append(machine.facts("x", "c"))
    assert all(c in head["device"] for c, head in zip(("Haswell", "SkylakeX"), heads, strict=True))
    assert machine.same_machine(*heads).startswith("CPU ")


def test_caches_are_counted_once_and_everywhere_alike(monkeypatch, tmp_path):
    for number, shared in enumerate(("0-1", "0-1", "2-3", "2-3", "4")):
        folder = tmp_path / f"cpu{number}" / "cache" / "index3"
        folder.mkdir(parents=True)
        (folder / "size").write_text("nothing\n" if shared == "4" else "49152K\n")
        (folder / "shared_cpu_list").write_text(shared + "\n")
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path)
    monkeypatch.setattr(machine, "memory", lambda: 64 << 30)
    assert machine.cache_bytes() == 2 * 48 << 20
    assert operations.cache_bytes.__wrapped__("cpu") == 2 * 48 << 20
    assert ceilings._copy_size() == 4 * 2 * 48 << 20
    assert operations.memory.__wrapped__("cpu") == 64 << 30
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "nowhere")
    assert machine.cache_bytes() == 32 << 20
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert operations.memory.__wrapped__("cpu") == 8 << 30


def test_threads_that_would_be_used_and_what_was_set(monkeypatch):
    blas = {"internal_api": "openblas", "version": "0.3.31", "architecture": "Zen", "num_threads": 2}
    monkeypatch.setattr(machine, "libraries", lambda: [blas])
    for name in machine.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("HOME", "not said")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 7))
    assert machine.threads() == {
        "cores": 1,
        "BLAS": 2,
        "torch": 7,
        "environment": {"OPENBLAS_NUM_THREADS": "1"},
    }
    assert machine.versions()["BLAS"] == "openblas 0.3.31 (Zen)"
    monkeypatch.delitem(sys.modules, "torch")
    assert machine.threads()["torch"] == "its default"


def test_a_blas_that_says_little(monkeypatch):
    monkeypatch.setattr(machine, "libraries", lambda: [{"internal_api": "mkl", "version": None}])
    assert machine.versions()["BLAS"] == "mkl None (unknown)"
    monkeypatch.setattr(machine, "libraries", lambda: [])
    assert machine.versions()["BLAS"] == "unknown"
    assert machine.threads()["BLAS"] == "unknown"


def test_numpys_blas_is_the_one_that_counts(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    found = [
        {"user_api": "openmp", "filepath": "numpy/libgomp.so"},
        {"user_api": "blas", "filepath": "scipy.libs/libopenblas.so"},
        {"user_api": "blas", "filepath": "numpy.libs/libopenblas.so"},
    ]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: found)
    assert machine.libraries() == [found[2], found[1]]
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert machine.libraries() == []


def test_tf32_that_the_environment_asks_for_is_said(no_gpu, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    found = machine.facts("x", "c")
    assert "CUPY_TF32=1 is set" in found["arithmetic"]
    assert found["threads"]["environment"]["CUPY_TF32"] == "1"
    monkeypatch.delenv("CUPY_TF32")
    assert machine.facts("x", "c")["arithmetic"] == machine.ARITHMETIC


# The same machine, or a busy one
def head(**changes):
    given = {"cpu": "AMD EPYC", "cores": 2, "gpu": None, "driver": "none", "system": "Linux 6.1"}
    return {"device": "x", "machine": given | changes}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ""),
        ({"driver": "600.1"}, ""),
        ({"system": "Linux 6.2", "memory_bytes": 1}, ""),
        ({"cores": 4}, "cores 2 and 4"),
        ({"cpu": "Intel"}, "CPU AMD EPYC and Intel"),
        ({"gpu": "NVIDIA H200", "cores": 16}, "GPU none and NVIDIA H200, cores 2 and 16"),
    ],
)
def test_in_what_machines_differ(changes, wanted):
    assert machine.same_machine(head(), head(**changes)) == wanted


def test_a_machine_is_the_same_as_itself(no_gpu):
    assert machine.same_machine(machine.facts("a", "b"), machine.facts("c", "d")) == ""


@pytest.mark.parametrize(
    ("load", "count", "wanted"),
    [
        (3.21, 2, "load 3.2 on 2 cores: numbers will be noisy"),
        (0.5, 1, "load 0.5 on 1 core: numbers will be noisy"),
        (0.49, 2, ""),
        (2.0, 64, ""),
        (8.0, 64, "load 8.0 on 64 cores: numbers will be noisy"),
    ],
)
def test_a_load_of_others_is_said(monkeypatch, load, count, wanted):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert machine.is_busy() == wanted


def test_a_system_without_a_load_is_not_busy(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert machine.is_busy() == ""


# The commit, the GPU's name
def test_the_commit_is_marked_where_files_were_changed(git):
    clean = machine.commit_of(git)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (git / "file").write_text("two")
    assert machine.commit_of(git) == clean + "+"


def test_the_commit_of_a_project_around_is_not_ours(git, monkeypatch):
    inside = git / "site-packages"
    inside.mkdir()
    assert machine.commit_of(inside) == "unknown"
    assert machine.commit_of(git / "nowhere") == "unknown"
    monkeypatch.setenv("PATH", "")
    assert machine.commit_of(git) == "unknown"


def test_the_gpu_is_named_as_nvidia_smi_does(monkeypatch):
    two = "NVIDIA H200, 580.159.04\nNVIDIA L4, 580.159.04"
    monkeypatch.setattr(machine, "output", lambda *command: two)
    assert machine.gpu() == ("NVIDIA H200", "580.159.04")
    assert machine.slug("NVIDIA H200") == "nvidia-h200"
    assert machine.slug("AMD EPYC, 2 cores") == "amd-epyc-2-cores"


def test_the_gpu_is_named_by_cupy_where_nvidia_smi_is_missing(monkeypatch):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda number: {"name": b"NVIDIA L4"}, driverGetVersion=lambda: 12080
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    monkeypatch.setattr(machine, "output", lambda *command: "")
    assert machine.gpu() == ("NVIDIA L4", "CUDA 12080")


def test_commands_that_are_missing_fail_or_hang_say_nothing(monkeypatch):
    assert machine.output("no-such-command-anywhere") == ""
    assert machine.output(sys.executable, "-c", "print('x'); raise SystemExit(3)") == ""
    assert machine.output(sys.executable, "-c", "print(' x ')") == "x"

    def hangs(*args, timeout, **_):
        raise subprocess.TimeoutExpired(args, timeout)

    monkeypatch.setattr(machine.subprocess, "run", hangs)
    assert machine.output("sleep", "100") == ""


def test_the_checkout_is_this_one():
    assert (machine.CHECKOUT / "benchmarks" / "machine.py").samefile(Path(machine.__file__))
