"""`fastgan train`: what it makes and what it says."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import TINY, ok, refused, same
from PIL import Image

from fastgan.cli import main
from fastgan.gan import load
from fastgan.gan.state import arrays

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]


def test_train_makes_a_run_and_says_where(capsys, tmp_path):
    out = ok(capsys, "train", "--steps", 40, *TINY)
    path = Path("runs/digits")
    pictures = sorted(p.name for p in (path / "samples").iterdir())
    assert pictures == [*(f"{n:06d}.png" for n in range(0, 41, 4)), "real.png"]
    for name in ("config.toml", "metrics.jsonl", "training.gif", "losses.png"):
        assert (path / name).stat().st_size > 0
    assert "digits: 1,797 images of 8x8x1" in out
    assert "log_every 4, sample_every 4" in out
    assert re.search(r"^step  4/40  critic \S+  generator \S+  D\(x\) .* steps/s, .* left$", out, re.M)
    assert re.search(r"^step 40/40  .*Wasserstein \S+  penalty \S+  \S+ steps/s$", out, re.M)
    assert re.search(r"^classes drawn: \d+ of 10 \(nearest-neighbour vote over 1000 samples\)$", out, re.M)
    assert "fastgan sample runs/digits --seed 42" in out
    assert "runs/digits-2" in ok(capsys, "train", "--steps", 1, *TINY)


def test_same_seed_same_run_and_another_seed_another(capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ok(capsys, "train", "--steps", 6, *TINY, "--seed", seed, "--out", name)
    a, b, c = (arrays(load(name, device="cpu")) for name in "abc")
    assert same(a, b)
    assert not same(a, c)


def test_quiet_says_nothing(capsys):
    assert ok(capsys, "train", "--steps", 2, *TINY, "--quiet") == ""


def test_a_mixture_is_scored(capsys):
    out = ok(capsys, "train", "ring-wgan-gp", "--steps", 2, *TINY, "--out", "ring")
    assert re.search(r"^modes found: \d of 8, \S+% of 2,500 points .*reverse KL", out, re.M)
    assert "points of 2 numbers" in out


def test_images_of_a_folder(capsys):
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(f"photos/{i}.png")
    Path("photos/broken.png").write_bytes(b"\x89PNG\r\n")
    words = ["train", "--data", "photos", "--image-size", 8, "--steps", 2, *TINY, "--out", "run"]
    assert "broken.png" in refused(capsys, 2, *words)
    assert main([*map(str, words), "--skip-bad"]) == 0
    out, err = capsys.readouterr()
    assert "photos: 20 images of 8x8x3" in out
    assert err.startswith("fastgan: warning: ")
    assert err.count("\n") == 1
    assert str(Path("photos").absolute()) == tomllib.loads(Path("run/config.toml").read_text())["data"]


def test_as_published(capsys):
    out = ok(
        capsys, "train", "toy-mlp", "--data", "digits", "--as-published", "--steps", 1, *TINY, "--out", "run"
    )
    assert "which tanh cannot reach" in out
    assert load("run", device="cpu").recipe.high == pytest.approx(2.8214, abs=1e-3)
    assert "nothing to do" in refused(capsys, 2, "train", "digits", "--as-published")


def test_module_and_metrics_are_json(capsys, run):
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["step"] <= 4


def test_a_notice_of_compiling_only_without_compiled_kernels(capsys, monkeypatch):
    assert "the first time only" not in ok(capsys, "train", "--steps", 1, *TINY)
    monkeypatch.setattr("fastgan.cli.train.cache_folder", lambda: Path("empty"))
    assert "the first time only" in ok(capsys, "train", "--steps", 1, *TINY)
