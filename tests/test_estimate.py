"""How long a run takes, said before it is begun: a measured step, scaled by this machine's speed."""

import json
from pathlib import Path

import pytest
from cli_helpers import ok

from fastgan.cli import estimate
from fastgan.gan import RECIPES

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "epyc-2-cores.json"


def test_every_recipe_has_a_step_and_it_is_what_was_measured():
    """Within a fifth of the committed results, so that new ones do not leave the table behind."""
    assert estimate.STEPS.keys() == RECIPES.keys()
    rows = json.loads(RESULTS.read_text())["rows"]
    measured = {
        row["case"]: row["seconds"]["median"] * 1e3
        for row in rows
        if (row["suite"], row["column"]) == ("steps", "cpu-kernels") and row["seconds"]
    }
    compared = measured.keys() & RECIPES.keys()
    assert len(compared) > 20
    for name in compared:
        assert estimate.STEPS[name] == pytest.approx(measured[name], rel=0.2), name


def test_the_time_follows_steps_speed_and_for_convolutions_cores(monkeypatch):
    dense, conv = RECIPES["digits"], RECIPES["dcgan64"]
    monkeypatch.setattr(estimate, "cores", lambda: 2)
    assert estimate.seconds(dense, estimate.SPEED) == pytest.approx(
        dense.steps * estimate.STEPS["digits"] / 1e3
    )
    assert estimate.seconds(dense.replace(steps=2 * dense.steps), 2 * estimate.SPEED) == pytest.approx(
        estimate.seconds(dense, estimate.SPEED)
    )
    before = estimate.seconds(dense, 1e9), estimate.seconds(conv, 1e9)
    monkeypatch.setattr(estimate, "cores", lambda: 8)
    assert estimate.seconds(dense, 1e9) == before[0]
    assert estimate.seconds(conv, 1e9) == pytest.approx(before[1] / 4)
    assert estimate.seconds(dense.replace(name="mine"), 1e9) is None


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0.2, "about 1 s"),
        (47, "about 47 s"),
        (200, "about 3 min"),
        (3000, "about 50 min"),
        (2.2 * 3600, "about 2 h"),
        (13.4 * 3600, "13 h: for a GPU"),
        (28.4 * 86400, "28 days: for a GPU"),
        (812 * 86400, "810 days: for a GPU"),
    ],
)
def test_times_in_words(time, text):
    assert estimate.in_words(time) == text


def test_the_speed_is_measured_and_recipes_and_summary_say_the_time(capsys, monkeypatch):
    assert 1e8 < estimate.speed() < 1e13
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED / 1000)
    assert ok(capsys, "recipes", "digits").count("for a GPU") == 0
    (row,) = json.loads(ok(capsys, "recipes", "keras-mlp", "--json"))
    assert row["seconds_on_this_cpu"] > 100_000
    assert row["for_a_gpu"]
    assert "for a GPU" in ok(capsys, "summary", "keras-mlp")
    assert "for a GPU" in ok(capsys, "summary", "keras-mlp", "--data", "mnist")
    assert "GPU" not in ok(capsys, "summary", "keras-mlp", "--size", "32x32")
