"""The GPU gate, as far as it goes without a GPU: the dry run, its messages, its table, and workers that fail.

The dry run starts real processes. What needs a device (captures, events) is tried by running the gate on one.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import columns, gpu_gate, kernel_times, machine, peers, table, turns
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


# Workers
class Actor:
    """What a worker holds: good turns and the ways to fail."""

    def __init__(self, cost=0.5):
        self.cost, self.asked = cost, 0

    def count(self):
        self.asked += 1
        return self.asked

    def raises(self):
        raise ValueError("first line\nsecond line")

    def dies(self):
        os.kill(os.getpid(), 11)

    def leaves(self):
        os._exit(3)

    def hangs(self):
        time.sleep(60)

    def turn(self, steps, seconds):
        return [(self.cost, self.cost * 2)]


@pytest.fixture
def worker():
    held = turns.Worker(Actor)
    yield held
    held.end()


@pytest.mark.parametrize(
    ("method", "seconds", "reason"),
    [
        ("raises", 60, "ValueError: first line"),
        ("dies", 60, "its process ended with signal 11"),
        ("leaves", 60, "its process ended with status 3"),
        ("hangs", 2, "no answer in time"),
        ("no_such_method", 60, "AttributeError: .*"),
    ],
)
def test_a_worker_that_fails_says_why_and_starts_afresh(worker, method, seconds, reason):
    assert [worker.call(60, "count") for _ in range(2)] == [1, 2]
    with pytest.raises(turns.LostError, match=f"^{reason}$"):
        worker.call(seconds, method)
    assert worker.call(60, "count") == 1


class Played:
    """A worker without a process, which notes whose turn it is."""

    def __init__(self, name, log, fails_at=None):
        self.name, self.log, self.fails_at = name, log, fails_at

    def call(self, limit, method, steps, seconds):
        assert (method, steps, seconds) == ("turn", 50, 0.2)
        self.log.append(self.name)
        if self.log.count(self.name) == self.fails_at:
            raise turns.LostError("gone")
        return [(1.0, 2.0)]


def played(fails_at=None, until=math.inf, rounds=4):
    log = []
    workers = {name: Played(name, log, fails_at if name == "b" else None) for name in "abc"}
    clock = iter(range(100)).__next__
    result = turns.in_turn(workers, steps=50, seconds=0.2, rounds=rounds, until=until, clock=clock)
    return "".join(log), *result


def test_turns_alternate_and_everybody_begins():
    log, chunks, lost = played(rounds=3)
    assert (log, lost) == ("abcbcacab", {})
    assert chunks == {name: [(1.0, 2.0)] * 3 for name in "abc"}


def test_one_that_is_lost_does_not_stop_the_others():
    log, chunks, lost = played(fails_at=2)
    assert log == "abc" + "bca" + "ac" + "ca"
    assert lost == {"b": "gone"}
    assert set(chunks) == {"a", "c"}
    assert len(chunks["a"]) == 4


def test_turns_end_when_time_is_up():
    assert played(until=1.5)[0] == "abcbcacab"  # the clock says 0, 1, 2


def test_a_turn_waits_once_per_chunk_and_counts_the_waiting():
    now, log = [0.0], []

    def step():
        now[0] += 0.25
        log.append("s")

    def sync():
        now[0] += 2.0
        log.append("|")

    chunks = turns.turn(step, sync, steps=10, seconds=5.0, clock=lambda: now[0])
    assert "".join(log) == "sss|" + ("s" * 10 + "|") * 2
    assert chunks == [(0.25, 0.45)] * 2
    found = turns.summary([(0.1, t) for t in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)])
    assert found == pytest.approx({"median": 3.5, "low": 2.0, "high": 5.0, "asking": 0.1, "chunks": 6})


# Checks, table, tests, wheels
def prepared(**changes):
    good = {"losses": [1.0, 0.7], "parameters": [3, 4], "warnings": []}
    return {
        name: {**good, **changes.get(name.replace(".", "_"), {})} for name in ("CuPy", "captured", "torch")
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"torch": {"losses": [1.3, 0.6]}}, None),  # other random numbers
        ({"torch": {"warnings": ["careful"]}}, None),
        ({"torch": {"losses": [math.nan, 0.7]}}, "toy-mlp, torch: losses are [nan, 0.7]"),
        ({"torch": {"parameters": [3, 5]}}, "toy-mlp, torch: [3, 5] parameters, wanted [3, 4]"),
        ({"captured": {"losses": [1.1, 0.7]}}, "toy-mlp, captured: losses [1.1, 0.7]"),
        ({"captured": {"warnings": ["no kernels"]}}, "toy-mlp, captured: no kernels"),
    ],
)
def test_results_that_make_no_sense_are_problems(changes, problem):
    found = columns.problems("toy-mlp", prepared(**changes))
    assert len(found) == (problem is not None)
    assert not found or found[0].startswith(problem)


class Held:
    """What a column holds, played: it warns, and counts its first steps."""

    name, parameters = "x", (3, 4)

    def first(self):
        warnings.warn("no kernels: planted", RuntimeWarning, stacklevel=1)
        warnings.warn("for developers", DeprecationWarning, stacklevel=1)
        return 1.0, 2.0


def test_a_column_keeps_what_a_user_would_be_told(monkeypatch):
    column = columns.Column("kernels", "cpu", 10, {})
    monkeypatch.setattr(column, "make", lambda recipe: Held())
    for _ in range(2):
        found = column.prepare("toy-mlp")
        assert found.pop("preparation") > 0
        assert found == {
            "engine": "x",
            "losses": [1.0, 2.0],
            "parameters": [3, 4],
            "warnings": ["no kernels: planted"],
        }


def test_a_peer_has_finished_before_its_losses_are_read():
    log = []
    peer = peers.Peer(
        "x", lambda: log.append("s"), lambda: log.append("|"), lambda: (len(log), 0), lambda: (0, 0), (3, 4)
    )
    assert columns.Other(peer).first() == (columns.FIRST + 1, 0)
    assert log[-1] == "|"


def test_a_fit_is_timed_in_chunks_of_what_came_at_once():
    """Steps of a quarter second come three at a time, and a wait takes two seconds: chunks of 12 for 10 steps."""

    class Trainer:
        steps_done, stop_wanted = 100, False

    now, trainer, waits = [0.0], Trainer(), []

    def sync():
        now[0] += 2.0
        waits.append(trainer.steps_done)

    watch = columns.Watch(sync, 10, 6.0, clock=lambda: now[0])
    watch.on_start(trainer)
    while not trainer.stop_wanted:
        now[0] += 0.75
        trainer.steps_done += 3
        watch.on_step(trainer)
    assert waits == [103, 115, 127]
    assert watch.chunks == [(0.25, 5 / 12)] * 2


@pytest.mark.parametrize("name", ["CuPy", "kernels"])
def test_our_column_trains_by_fit(name, monkeypatch):
    import fastgan as fg

    made, step = [], fg.Trainer.step

    def spy(trainer):
        made.append(backend._kernels_wanted.get())
        step(trainer)

    monkeypatch.setattr(fg.Trainer, "step", spy)
    column = columns.Column(name, "cpu", 200, {})
    row = column.prepare("toy-mlp")
    assert (row["engine"], row["parameters"]) == ("fastgan", [283_920, 267_009])
    fresh = fg.Trainer("toy-mlp", columns.images_for("toy-mlp", 200), device="cpu").fit(columns.FIRST)
    assert row["losses"][0] == pytest.approx(fresh.metrics()["critic_loss"], rel=1e-3)
    assert len(column.turn(2, 0)) == 1
    assert column.held.trainer.steps_done == columns.FIRST + 1 + 2
    monkeypatch.undo()
    assert made == [name == "kernels"] * columns.FIRST + [True] * columns.FIRST + [name == "kernels"] * 3


def test_a_column_of_a_peer_runs_the_peer(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: its peer is not tested")
    column = columns.Column("torch", "cpu", 200, {})
    row = column.prepare("toy-mlp")
    assert (row["engine"], row["parameters"]) == ("torch eager", [283_920, 267_009])
    assert column.held.peer.updates() == (columns.FIRST,) * 2
    assert len(column.turn(1, 0)) == 1


def measured(**medians):
    return {name: {"median": m} if m else {"error": "why"} for name, m in medians.items()}


def full_results():
    row = dict.fromkeys(columns.COLUMNS, None) | {
        "CuPy": 0.0123,
        "captured": 0.0001,
        "torch": 0.004,
        "jax": 0.0003,
    }
    return {
        "device": "NVIDIA H200 with a long name",
        "driver": "580.159.04",
        "commit": "0123456789abcdef+",
        "arithmetic": machine.facts("cpu", "x", ROOT)["arithmetic"],
        "columns": dict(columns.COLUMNS),
        "recipes": {"cs231n-vanilla": measured(**row)},
        "tests": {"summary": "9 passed"},
        "launches": {"ours": {"asking": 2e-6}, "CuPy": {"asking": 4e-6}},
        "adam": {"2 M": {"gigabytes_per_second": 3000.0}},
        "dense": {},
        "notes": ["digits, t.compile: " + "it failed " * 30],
        "problems": ["tests: 1 failed"],
    }


def test_the_table_fits_and_says_what_failed():
    lines = table.text(full_results()).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].endswith("commit 0123456789ab+")  # with changes
    assert lines[2].split() == [*columns.COLUMNS, "peer/ours"]
    assert lines[3].split() == [
        "cs231n-vanilla",
        "12.3000",
        "-",
        "0.1000",
        "4.0000",
        "-",
        "-",
        "0.3000",
        "3.00",
    ]
    assert len(lines[2]) == len(lines[3])
    text = "\n".join(lines)
    for part in (
        "launch: ours 2.0, CuPy 4.0",
        "3000 at 2 M",
        "tests: 9 passed",
        "note: digits",
        "problem: tests: 1",
    ):
        assert part in text


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


# Facts
def test_commit_is_marked_where_files_were_changed(tmp_path):
    assert machine.commit_of(tmp_path / "nowhere") == "unknown"
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "m"]):
        subprocess.run([*git, *command], check=True)
    clean = machine.commit_of(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert machine.commit_of(tmp_path) == clean + "+"


def test_the_gpu_is_named_as_nvidia_smi_does(monkeypatch):
    monkeypatch.setattr(
        machine, "output", lambda *command: "NVIDIA H200, 580.159.04\nNVIDIA H200, 580.159.04"
    )
    assert machine.gpu() == ("NVIDIA H200", "580.159.04")
    assert machine.slug("NVIDIA H200") == "nvidia-h200"


def test_dense_shapes_are_those_of_the_recipes():
    shapes = kernel_times.dense_shapes()
    assert {(128, 96, 1024), (128, 1024, 784), (256, 784, 256), (256, 256, 1), (512, 2, 512)} <= set(shapes)
    assert len(shapes) == len(set(shapes)) > 20
    assert all(min(shape) > 0 for shape in shapes)


def test_images_are_given_to_recipes_that_have_none_of_their_own():
    assert columns.images_for("toy-mlp", 7).shape == (7, 28, 28, 1)
    assert columns.images_for("digits", 7) is None
    assert columns.images_for("ring-gan", 7) is None
    assert columns.images_for("dcgan64", 12).shape == (2, 64, 64, 3)
    assert columns.images_for("cgan-mnist", 12).labels.tolist() == [*range(10), 0, 1]


# The peers that are there for the gate, on the CPU: their graphs and compilers are left out
DATA = np.random.default_rng(5).uniform(0, 1, (200, 784)).astype(np.float32)


@pytest.mark.parametrize("recipe", peers.SETTINGS)
def test_compiled_torch_trains_as_eager_torch_does(recipe, monkeypatch):
    """Same initial weights and other random numbers: the losses stay close."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from benchmarks.peers import torch_compiled, torch_eager

    monkeypatch.setattr(torch_compiled, "compiled", lambda function, mode: function)
    ours = torch_compiled.make(recipe, DATA, seed=3, device="cpu")
    theirs = torch_eager.make(recipe, DATA, seed=3)
    assert ours.parameters == theirs.parameters
    assert ours.updates() == (0, 0)
    for _ in range(3):
        ours.step(), theirs.step()
        assert ours.losses() == pytest.approx(theirs.losses(), rel=0.03, abs=0.02)
    assert ours.updates() == theirs.updates()


@pytest.mark.parametrize("recipe", peers.SETTINGS)
@pytest.mark.parametrize("kind", ["graph", "compile"])
def test_torch_peers_put_everything_on_their_device(kind, recipe, monkeypatch):
    """On PyTorch's device without memory: a tensor left on the CPU does not mix with it."""
    torch = pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from benchmarks.peers import torch_compiled, torch_eager

    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda p, *, fused, capturable, **rest: adam(p, **rest))
    monkeypatch.setattr(torch_compiled, "compiled", lambda function, mode: function)
    row = peers.SETTINGS[recipe]
    if kind == "graph":
        gan = torch_eager.Gan(row, DATA, 0, device="meta", capturable=True)
    else:
        gan = torch_compiled._Gan(row, DATA, 0, "meta", "default")
    for _ in range(2):
        gan.step()
    losses = [gan.critic_loss, gan.generator_loss] if kind == "graph" else gan.losses
    assert [loss.device.type for loss in losses] == ["meta"] * 2


def test_running_statistics_of_compiled_torch(monkeypatch):
    """After one step a fifth of the way from (0, 1) to the batch's: near eager PyTorch's, whose noise differs."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from benchmarks.peers import torch_compiled, torch_eager

    monkeypatch.setattr(torch_compiled, "compiled", lambda function, mode: function)
    row = peers.SETTINGS["keras-mlp"]
    gan, eager = torch_compiled._Gan(row, DATA, 3, "cpu", "default"), torch_eager.Gan(row, DATA, 3)
    gan.step(), eager.step()
    norms = [layer for layer in eager.generator if hasattr(layer, "running_mean")]
    assert len(norms) == len(gan.running) == 3
    for (mean, variance), layer in zip(gan.running, norms, strict=True):
        assert float(mean.norm()) == pytest.approx(float(layer.running_mean.norm()), rel=0.3)
        assert float(1 - variance.mean()) == pytest.approx(float(1 - layer.running_var.mean()), rel=0.3)


@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_penalty_of_compiled_torch(norm):
    torch = pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from benchmarks.peers import torch_compiled

    real, fake, mix = torch.randn(5, 1), torch.randn(5, 1), torch.rand(5, 1)
    penalty = torch_compiled.gradient_penalty(lambda x: x * norm, real, fake, mix)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    curved = torch_compiled.gradient_penalty(
        lambda x: x * x / 2, torch.tensor([[2.0]]), torch.tensor([[6.0]]), 0.25
    )
    assert curved.item() == pytest.approx((3 - 1) ** 2, rel=1e-5)  # the slope at 2 + (6 - 2) / 4


def test_a_captured_step_is_one_step_a_call(monkeypatch):
    """Three run aside, the fourth is captured, which runs nothing, and replayed."""
    pytest.importorskip("torch", reason="torch is not installed: its peers are not tested")
    from benchmarks.peers import torch_graph

    log = []
    monkeypatch.setattr(torch_graph, "aside", lambda step: (log.append("aside"), step()))

    def capture(step):
        log.append("capture")
        return lambda: (log.append("replay"), step())

    monkeypatch.setattr(torch_graph, "capture", capture)
    peer = torch_graph.make("toy-mlp", DATA, seed=3, device="cpu")
    for done in range(1, 7):
        peer.step()
        assert peer.updates() == (done, done)
    assert log == ["aside"] * 3 + ["capture"] + ["replay"] * 3
