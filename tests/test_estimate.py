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
    own = [
        row for row in rows if (row["suite"], row["column"]) == ("steps", "cpu-kernels") and row["seconds"]
    ]
    measured = {row["case"]: row["seconds"]["median"] * 1e3 for row in own if row["case"] in RECIPES}
    assert len(measured) > 20
    for name, ms in measured.items():
        assert estimate.STEPS[name] == pytest.approx(ms, rel=0.2), name


def test_the_time_follows_steps_speed_and_for_convolutions_cores(monkeypatch):
    def seconds(recipe, cores=2, found=estimate.SPEED):
        monkeypatch.setattr(estimate, "cores", lambda: cores)
        return estimate.seconds(recipe, found)

    dense, conv = RECIPES["digits"], RECIPES["dcgan64"]
    once = seconds(dense)
    assert once == pytest.approx(dense.steps * estimate.STEPS["digits"] / 1e3)
    assert seconds(dense.replace(steps=2 * dense.steps), found=2 * estimate.SPEED) == pytest.approx(once)
    assert seconds(dense, cores=8) == once
    assert seconds(conv, cores=8) == pytest.approx(seconds(conv) / 4)
    assert seconds(dense.replace(name="mine")) is None


def test_times_in_words():
    times = {0.2: "1 s", 47: "47 s", 200: "3 min", 3000: "50 min", 2.2 * 3600: "2 h", 812 * 86400: "810 days"}
    assert {time: estimate.rough(time) for time in times} == times


def test_the_speed_is_measured_and_recipes_and_summary_say_the_time(capsys, monkeypatch):
    assert 1e8 < estimate.speed() < 1e13
    monkeypatch.setattr(estimate, "speed", lambda: estimate.SPEED / 1000)
    (row,) = json.loads(ok(capsys, "recipes", "keras-mlp", "--json"))
    assert row["seconds_on_this_cpu"] > 100_000
    assert row["for_a_gpu"]
    assert "for a GPU" not in ok(capsys, "recipes", "digits")
    for words, said in (((), True), (("--data", "mnist"), True), (("--size", "32x32"), False)):
        assert ("GPU" in ok(capsys, "summary", "keras-mlp", *words)) == said
