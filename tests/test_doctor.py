"""`fastgan doctor`: it finds what is planted, whatever a library does while it is imported, and gives nobody away."""

import json
import os

import pytest
from fakes.cuda import ndarray, standing_in

from fastgan import ops
from fastgan.cli import doctor as module
from fastgan.cli import main
from fastgan.cli.doctor import PROBES, Finding, anonymous, examine
from fastgan.kernels.cuda import building

pytestmark = pytest.mark.slow


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Put modules in front of the installed ones, for the probes' processes."""

    def put(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_it_works_here(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {row["name"]: row for row in report["findings"]}
    assert report["usable"]
    assert list(found) == list(PROBES)
    assert all(row["status"] == "ok" for name, row in found.items() if PROBES[name].needed)


WRONG = """
import fastgan.kernels.dense as dense
right = dense.forward
dense.forward = lambda x, w, b, **settings: right(x, w, b, **settings) + 1
"""
NO_CACHE = """
import numba
real = numba.njit
def njit(*loop, cache=False, **options):
    if cache:
        raise RuntimeError("cannot cache function: no locator available")
    return real(*loop, **options)
numba.njit = njit
"""
PLANTED = {  # what is planted, and for each probe its status and a word of what is said
    "ends": ({"matplotlib": "import os; os._exit(7)"}, {"matplotlib": ("error", "7"), "tomli-w": ("ok", "")}),
    "hangs": (
        {"pooch": "import time; time.sleep(60)"},
        {"pooch": ("error", "no answer"), "tomli-w": ("ok", "")},
    ),
    "raises": (
        {"pooch": "print('[]'); raise ImportError('libfoo.so.1')"},
        {"pooch": ("error", "libfoo.so.1")},
    ),
    "talks": ({"tomli_w": "print('[0]', 'noise')"}, {"tomli-w": ("ok", "")}),
    "no numba": (
        {"numba": "raise ImportError('gone')"},
        {"numba": ("error", "gone"), "kernels": ("warning", "gone"), "training": ("ok", "")},
    ),
    "a wrong kernel": ({"sitecustomize": WRONG}, {"kernels": ("error", "differs")}),
    "no cache": ({"sitecustomize": NO_CACHE}, {"kernel cache": ("warning", ""), "kernels": ("ok", "")}),
    "a namesake here": ({"random": "raise ImportError('not the real one')"}, {"numpy": ("ok", "")}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found(plant, monkeypatch, tmp_path, case):
    planted, wanted = PLANTED[case]
    monkeypatch.chdir(tmp_path)
    if case == "a namesake here":  # in the current folder only
        (tmp_path / "random.py").write_text(planted["random"])
    else:
        plant(**planted)
    if case == "hangs":
        monkeypatch.setattr(module, "LIMIT", 4.0)
    found = {x.name: x for x in examine([*wanted])}
    assert list(found) == list(wanted)
    for name, (status, word) in wanted.items():
        assert (found[name].status, word in found[name].detail) == (status, True), found[name]
        assert found[name].fix or status == "ok"


def test_a_gpu_is_looked_at_only_behind_a_driver(monkeypatch):
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: "CuPy is not installed; pip install it")
    monkeypatch.setattr(building, "driver_version", lambda: None)
    assert module.gpu()[0] == "info"
    monkeypatch.setattr(building, "driver_version", lambda: (12, 4))
    assert module.gpu() == ("warning", "CuPy is not installed", "pip install it")
    monkeypatch.setattr("fastgan.device.cuda_problem", lambda: None)
    monkeypatch.setattr(building, "problem", lambda: "the driver is old; install a newer; or an older CuPy")
    assert module.gpu() == ("warning", "the driver is old", "install a newer; or an older CuPy")


def test_findings_come_one_by_one(plant, tmp_path):
    """The second probe ends when the first one's finding is there."""
    flag = tmp_path / "flag"
    plant(pooch=f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)")
    found = examine(["tomli-w", "pooch"])
    assert next(found).status == "ok"
    flag.touch()
    assert "no answer" not in next(found).detail


def test_nobody_is_given_away(monkeypatch, capsys):
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setenv("USER", "jane")
    host = os.uname().nodename
    text = anonymous(f"/home/jane/.cache and /home/other/x, /Users/mary/y, /data/jane/z on {host}")
    assert not any(word in text for word in ("jane", "other", "mary", host))
    assert "~/.cache" in text
    monkeypatch.setattr(module, "examine", lambda: [Finding("numpy", "ok", "in /home/jane/x", "~")])
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["detail"] == "in ~/x"


def test_the_exit_code_and_what_is_to_do(monkeypatch, capsys):
    """The worst first, and each once; only what training on the CPU needs makes the exit code 2."""
    optional = Finding("pooch", "error", "gone", "now")
    found = [Finding("gpu", "info", "a", "later"), Finding("system", "warning", "b", "soon"), optional]
    assert module.to_do([*found, found[1]]) == ["pooch: now", "system: soon", "gpu (optional): later"]
    for needed, code in ((Finding("numpy", "ok", "there"), 0), (Finding("numpy", "error", "gone"), 2)):
        monkeypatch.setattr(module, "examine", lambda needed=needed: [*found, needed])
        assert main(["doctor"]) == code
        assert "pooch: now" in capsys.readouterr().out


def test_kernels_on_a_gpu_are_compared(monkeypatch):
    right = ops.linear.forward.plain

    def missing(*operands, **settings):
        raise building.CannotBuild("libnvvm is not found")

    for kernel, status in (
        (right, "ok"),
        (lambda *operands, **settings: right(*operands, **settings) + 1, "error"),
        (lambda *operands, **settings: right(*operands, **settings) * float("nan"), "error"),
        (missing, "warning"),
    ):
        monkeypatch.setitem(ops.linear.forward.kernels, ndarray, kernel)
        monkeypatch.setattr("fastgan.dispatch._told", set())
        with standing_in():
            assert module.kernels("cuda", "pip install it")[0] == status


def test_variables_are_shown_and_little_disk_is_a_warning(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    monkeypatch.setenv("SECRET_TOKEN", "do not show")
    _, detail, _ = module.environment()
    assert "NUMBA_DISABLE_JIT=0" in detail
    assert "do not show" not in detail
    monkeypatch.setattr(module, "LITTLE", float("inf"))
    assert module.system()[0] == "warning"
