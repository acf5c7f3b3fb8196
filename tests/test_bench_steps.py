"""The step benchmark: every contestant that is installed steps; what is printed and written was measured."""

import json
import sys

import numpy as np
import pytest

from benchmarks import peers, steps, timing


def test_contestants_step_and_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(steps, "PEERS", {})
    found = steps.contestants("toy-mlp", steps.images(200))
    assert list(found) == ["fastgan", "NumPy only"]
    for call, sync in found.values():
        call(), sync()


def test_recipes_of_the_peers_are_ours_with_the_same_numbers():
    import fastgan as fg

    for name, theirs in peers.SETTINGS.items():
        ours = fg.recipes[name]
        assert (theirs.batch, theirs.lr, theirs.noise) == (ours.batch, ours.optimiser.lr, ours.noise)
        assert theirs.betas == (ours.optimiser.beta1, ours.optimiser.beta2)
        assert theirs.eps == ours.optimiser.eps
        assert theirs.generator == (ours.latent, *ours.generator.hidden, 784)
        assert theirs.critic == (784, *ours.critic.hidden, 1)
        assert theirs.critic_slope == ours.critic.slope
        assert theirs.generator_slope == (0 if ours.generator.activation == "relu" else ours.generator.slope)


def test_main_prints_and_writes_what_was_measured(monkeypatch, tmp_path, capsys):
    times = {
        name: timing.Timing(m, m, m, 5, m, (m,) * 5)
        for name, m in (("fastgan", 0.002), ("NumPy only", 0.004))
    }
    monkeypatch.setattr(timing, "compare", lambda contestants, seconds: times)
    monkeypatch.setattr(steps, "PEERS", {"Nobody": ("no_such_package", "nobody")})
    monkeypatch.setattr(sys, "argv", ["steps", "toy-mlp", "--json", str(tmp_path / "a.json")])
    steps.main()
    shown = capsys.readouterr().out
    assert "Nobody is not installed" in shown
    assert "2.00 ms" in shown
    assert "fastgan / this: 0.50" in shown
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["times"]["fastgan"]["median"] == 0.002
    assert row["ratios"]["NumPy only"]["median"] == pytest.approx(0.5)


def test_images_are_bytes_of_mnists_size():
    assert steps.images(3).shape == (3, 28, 28, 1)
    assert steps.images(3).dtype == np.uint8
