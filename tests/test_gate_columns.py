"""The GPU gate's columns, on the CPU: how they train and are timed, what is wrong with a result, the table, facts."""

import math
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from benchmarks import columns, kernel_times, machine, peers, table
from fastgan import backend

ROOT = Path(__file__).parents[1]


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
