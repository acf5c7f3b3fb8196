"""`fastgan doctor`: it finds what is planted, whatever a library does while it is imported, and gives nobody away."""

import json
import os

import pytest
from fakes.cuda import ndarray, standing_in

from fastgan import ops
from fastgan.cli import doctor as module
from fastgan.cli import main
from fastgan.cli.doctor import PROBES, Finding, examine
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
    "libraries": (
        {
            "PIL": "raise ImportError('libfoo.so.1')",
            "matplotlib": "import os; os._exit(7)",
            "tomli_w": "print('[]', '[0]', 'noise')",
            "pooch": "import time; time.sleep(60)",
        },
        {
            "pillow": ("error", "libfoo.so.1"),
            "matplotlib": ("error", "7"),
            "tomli-w": ("ok", ""),
            "pooch": ("error", "no answer"),
            "environment": ("info", ""),
        },
    ),
    "no numba": (
        {"numba": "raise ImportError('gone')"},
        {"numba": ("error", "gone"), "kernels": ("warning", "gone"), "training": ("ok", "")},
    ),
    "a wrong kernel": ({"sitecustomize": WRONG}, {"kernels": ("error", "differs")}),
    "no cache": ({"sitecustomize": NO_CACHE}, {"kernel cache": ("warning", ""), "kernels": ("ok", "")}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found(plant, monkeypatch, tmp_path, case):
    planted, wanted = PLANTED[case]
    (tmp_path / "here").mkdir()
    (tmp_path / "here/random.py").write_text("raise ImportError('not the real one')")  # is not taken for it
    monkeypatch.chdir(tmp_path / "here")
    plant(**planted)
    if case == "libraries":
        monkeypatch.setattr(module, "LIMIT", 4.0)
    found = {x.name: x for x in examine([*wanted])}
    assert list(found) == list(wanted)
    for name, (status, word) in wanted.items():
        assert (found[name].status, word in found[name].detail) == (status, True), found[name]
        assert found[name].fix or status in ("ok", "info")


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
    text = f"/home/jane/.cache and /home/other/x, /Users/mary/y, /data/jane/z on {host}"
    monkeypatch.setattr(module, "examine", lambda: [Finding("numpy", "ok", text, "~")])
    assert main(["doctor", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["findings"][0]["detail"]
    assert not any(word in shown for word in ("jane", "other", "mary", host))
    assert "~/.cache" in shown


def test_the_exit_code_and_what_is_to_do(monkeypatch, capsys):
    """The worst first, and each once; only what training on the CPU needs makes the exit code 2."""
    optional = Finding("pooch", "error", "gone", "now")
    found = [Finding("gpu", "info", "a", "later"), Finding("system", "warning", "b", "soon"), optional]
    assert module.to_do([*found, found[1]]) == ["pooch: now", "system: soon", "gpu (optional): later"]
    for needed, code in ((Finding("numpy", "ok", "there"), 0), (Finding("numpy", "error", "gone"), 2)):
        monkeypatch.setattr(module, "examine", lambda needed=needed: [*found, needed])
        assert main(["doctor"]) == code
        assert "pooch: now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "status"), [(0, "ok"), (1, "error"), (float("nan"), "error"), (None, "warning")]
)
def test_kernels_on_a_gpu_are_compared(monkeypatch, wrong, status):
    right = ops.linear.forward.plain

    def kernel(*operands, **settings):
        if wrong is None:
            raise building.CannotBuild("libnvvm is not found")
        return right(*operands, **settings) + wrong

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
