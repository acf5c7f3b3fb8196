"""What starting costs: fresh processes whose caches are empty, then filled; they end, whatever happens."""

import dataclasses
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench_played import PlayedBench

import fastgan as fg
from fastgan import dispatch
from fastgan.benchmarks import columns, peers, training
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.results import OUT_OF_TIME
from fastgan.benchmarks.suites import startup
from fastgan.kernels import cache_folder

pytestmark = pytest.mark.slow

TIMES = {"import", "making", "first_step", "second_step", "ten_more"}


def test_who_starts_and_how_often(monkeypatch):
    asked = []

    def fresh(code, environment, seconds):
        asked.append((code, environment, seconds))
        Path(environment["NUMBA_CACHE_DIR"]).mkdir(exist_ok=True)
        Path(environment["NUMBA_CACHE_DIR"], "kernel.nbi").touch()
        return dict.fromkeys(TIMES, 0.5)

    monkeypatch.setattr(startup, "fresh", fresh)
    monkeypatch.setattr(peers, "runs", lambda module, recipe: module != "jax_jit")
    bench = PlayedBench("full", columns=("numpy", "cpu-kernels", "torch", "torch-compiled", "jax"))
    rows = list(startup.rows(bench))
    assert [(row["column"], row["case"], row["extra"]["cache"]) for row in rows] == [
        ("numpy", "cold", "empty"),
        ("cpu-kernels", "cold", "empty"),
        ("cpu-kernels", "warm", "filled"),
        ("torch", "cold", "empty"),
    ]
    for row in rows:
        assert (row["suite"], row["group"], row["shape"]) == ("startup", "keras-mlp", {"batch": 32})
        assert row["extra"].keys() == TIMES | {"cache"}
        assert (row["making"], row["first"], row["seconds"]) == (0.5, 0.5, None)
    folders = [environment["NUMBA_CACHE_DIR"] for _, environment, _ in asked]
    assert folders[1] == folders[2]
    assert len(set(folders)) == 3
    assert not any(Path(folder).parent.exists() for folder in folders)
    assert all(len(set(environment.values())) == len(startup.CACHES) for _, environment, _ in asked)
    assert [code.splitlines()[2] for code, _, _ in asked] == ["import fastgan"] * 3 + ["import torch"]


def test_compilers_start_in_full_only(monkeypatch):
    monkeypatch.setattr(startup, "fresh", lambda *_: dict.fromkeys(TIMES, 0.5))
    for size in ("quick", "tiny"):
        rows = list(startup.rows(PlayedBench(size, columns=COLUMNS)))
        assert not {row["column"] for row in rows} & {"torch-compiled", "torch-graph", "jax"}


def test_packages_are_what_users_import():
    names = [startup.package(name) for name in ("numpy", "cuda-graph", "torch-graph", "jax", "autograd")]
    assert names == ["fastgan", "fastgan", "torch", "jax.numpy", "autograd.numpy"]


def test_without_time_nothing_starts():
    bench = PlayedBench(columns=("numpy",))
    bench.seconds = -1.0
    (row,) = startup.rows(bench)
    assert row["error"] == OUT_OF_TIME
    assert row["extra"] == {}


def test_time_that_ran_out_is_nobodys_fault(monkeypatch):
    monkeypatch.setitem(startup.LIMITS, "tiny", 0.1)
    monkeypatch.setattr(startup, "CODE", "import time; time.sleep(60)")
    (row,) = startup.rows(PlayedBench(columns=("numpy",)))
    assert row["error"].startswith(OUT_OF_TIME)


def test_a_real_start_compiles_what_the_caches_lack_and_the_second_nothing(tmp_path):
    """They lack one kernel: compiling all of them would take 15 s."""
    if cache_folder().exists():
        unfinished = shutil.ignore_patterns("*.tmp*")  # another process may be writing
        shutil.copytree(cache_folder(), tmp_path / "numba_cache_dir", ignore=unfinished)
    for file in tmp_path.rglob("*adam*"):
        file.unlink()
    kept = []
    for _ in range(2):
        row = startup.started(PlayedBench(), COLUMNS["cpu-kernels"], "ring-gan", 2, str(tmp_path))
        assert "error" not in row
        assert row["extra"].keys() == TIMES | {"cache"}
        assert min(row["extra"][name] for name in TIMES) > 0
        assert row["first"] == row["extra"]["first_step"]
        kept.append(set(tmp_path.rglob("*.nbi")))
    assert any("adam" in file.name for file in kept[0])
    assert kept[0] == kept[1]


def test_a_peer_starts(monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    made = []
    original = startup.advance

    def spy(work, count):
        made.append((type(work), count))
        original(work, count)

    monkeypatch.setattr(startup, "advance", spy)
    monkeypatch.setattr(columns, "_best", lambda package: pytest.fail("looked for a GPU, which imports CuPy"))
    found = startup.begin("torch", "cpu", "toy-mlp", 2)
    assert found.keys() == TIMES - {"import"}
    assert min(found.values()) > 0
    assert made == [(training.Stepped, 1), (training.Stepped, 1), (training.Stepped, 10)]


def test_a_peer_makes_the_steps_that_are_asked_for(monkeypatch):
    calls = []
    made = SimpleNamespace(step=lambda: calls.append("step"), sync=lambda: calls.append("sync"))
    settings = []
    monkeypatch.setattr(startup, "peer", lambda setting, images, column: settings.append(setting) or made)
    work = startup.stepped("toy-mlp", 2, None, COLUMNS["torch"])
    startup.advance(work, 3)
    assert calls == ["step", "step", "step", "sync"]
    assert settings == [dataclasses.replace(peers.ALL["toy-mlp"], batch=2)]


def test_steps_are_the_first_the_second_and_ten_more(monkeypatch):
    made = []
    monkeypatch.setattr(
        startup, "advance", lambda work, count: made.append((work.trainer.recipe.batch, count))
    )
    startup.begin("numpy", "cpu", "toy-mlp", 3)
    assert made == [(3, 1), (3, 1), (3, 10)]


def test_steps_of_ours_are_made_by_fit_with_the_column_s_kernels():
    column, seen = COLUMNS["numpy"], []
    work = training.Fit(fg.recipes["ring-gan"].replace(batch=2), None, column)
    made = work.trainer.work.step
    work.trainer.work.step = lambda: seen.append(dispatch._kernels_wanted.get()) or made()
    startup.advance(work, 3)
    assert work.trainer.steps_done == 3
    assert seen == [False] * 3


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its process ended with status -11"),
        ("print('hello')\nraise ValueError('no\\nluck')", "did not start: luck"),
        ("import nothing_like_it", "did not start: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("print('done')", "its process ended with status 0"),
        ("import time; time.sleep(60)", "did not end in 0 s"),
    ],
)
def test_a_program_that_fails_says_why_in_one_line(code, reason):
    with pytest.raises(startup.FailedError) as caught:
        startup.fresh(code, {}, 0.1 if "sleep" in code else 60)
    assert str(caught.value).endswith(reason)
    assert "\n" not in str(caught.value)


def test_a_library_may_print_before():
    assert startup.fresh(
        "import os; print('hello'); print('{\"a\": %s}' % os.environ['A'])", {"A": "2"}, 60
    ) == {"a": 2}


def test_children_of_a_program_end_with_it(tmp_path):
    """A compiler that a library left running; its own output, or reading ours would wait for it."""
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
print("{{}}")
"""
    assert startup.fresh(code, {}, 60) == {}
    wait_for_end(int((tmp_path / "pid").read_text()))


def test_ctrl_c_ends_the_program(monkeypatch):
    begun = []

    def interrupted(process, **_):
        begun.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        startup.fresh("import time; time.sleep(300)", {}, 60)
    wait_for_end(begun[0])


def wait_for_end(pid):
    """Until a process is gone, or a zombie that waits for its parent."""
    for _ in range(500):
        state = Path(f"/proc/{pid}/stat")
        try:
            os.kill(pid, 0)
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} runs on")
