"""The commands besides train: resume, sample, recipes, summary, and help."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import TINY, ok, refused
from PIL import Image

from fastgan import data
from fastgan.cli import cli
from fastgan.gan import RECIPES, checkpoint, load
from fastgan.gan.published import of

pytestmark = pytest.mark.usefixtures("here")


def test_resume_goes_on_and_says_when_there_is_nothing_to_do(capsys, run):
    out = ok(capsys, "resume", "run", "--steps", 7)
    assert "from step 4" in out
    assert "step 7/7" in out
    assert "fastgan resume run --steps 14" in out
    assert load("run", device="cpu").steps_done == 7


def test_resume_needs_the_same_data_and_finds_them_elsewhere(capsys):
    rng = np.random.default_rng(0)
    np.save("x.npy", rng.random((40, 4, 4)).astype(np.float32))
    ok(capsys, "train", "--data", "x.npy", "--steps", 2, *TINY, "--out", "run")
    os.rename("x.npy", "moved.npy")
    assert "x.npy" in refused(capsys, 2, "resume", "run", "--steps", 4, "--quiet")
    ok(capsys, "sample", "run")  # needs no data
    ok(capsys, "resume", "run", "--steps", 4, "--data", "moved.npy")
    np.save("moved.npy", rng.random((40, 4, 4)).astype(np.float32))
    assert "other data" in refused(capsys, 2, "resume", "run", "--steps", 6, "--data", "moved.npy")


def test_the_same_seed_gives_the_same_picture(capsys, run):
    assert "run/sample-seed42.png  25 samples of step 4" in ok(capsys, "sample", "run", "--seed", 42)
    first = (run / "sample-seed42.png").read_bytes()
    ok(capsys, "sample", "run/checkpoints/step-00000004.safetensors", "--seed", 42, "--out", "again.png")
    assert "run/sample-seed43.png" in ok(capsys, "sample", checkpoint.path_for(run, 4), "--seed", 43)
    assert Path("again.png").read_bytes() == first
    assert (run / "sample-seed43.png").read_bytes() != first


def test_grid_and_count(capsys, run):
    ok(capsys, "sample", "run", "--grid", "2x4", "--out", "grid.png")
    with Image.open("grid.png") as image:
        zoom = (700 - 2 * 5) // (4 * 8)
        assert image.size == (4 * (8 * zoom + 2) + 2, 2 * (8 * zoom + 2) + 2)
    assert "7 samples" in ok(capsys, "sample", "run", "--count", 7)


def test_samples_of_points(capsys):
    ok(capsys, "train", "ring-wgan-gp", "--steps", 1, *TINY, "--out", "run")
    assert "2500 samples" in ok(capsys, "sample", "run")
    assert "--grid is for images" in refused(capsys, 2, "sample", "run", "--grid", "5x5")


def test_recipes_lists_all(capsys):
    out = ok(capsys, "recipes")
    plain = " ".join(out.split())
    for recipe in RECIPES.values():
        assert re.search(rf"^{recipe.name}\b.*{recipe.data or 'your own'}.*{recipe.objective}", out, re.M)
        assert " ".join(of(recipe.name).note.split()[:6]) in plain


@pytest.mark.parametrize("columns", [26, 50, 80, 100, 120, 250])
def test_names_of_recipes_are_whole_on_every_terminal(capsys, monkeypatch, columns):
    monkeypatch.setattr("fastgan.cli.show.PIPE_WIDTH", columns)  # what a terminal's width is else
    lines = ok(capsys, "recipes").splitlines()
    first = [line.split()[0] for line in lines if line[:1].isalnum()]
    assert [name for name in first if name in RECIPES] == list(RECIPES)
    assert max(map(len, lines)) <= columns


def test_recipes_are_chosen_by_name_data_or_objective(capsys):
    def chosen(*words):
        return [row["name"] for row in json.loads(ok(capsys, "recipes", *words, "--json"))]

    assert chosen() == list(RECIPES)
    assert chosen("ring") == ["ring-gan", "ring-wgan-gp"]
    assert chosen("least-squares") == ["cs231n-lsgan"]
    assert chosen("your own") == ["shekkizh-wgan", "dcgan64"]
    assert chosen("mnist", "igul", "gp") == ["igul-mnist-wgan-gp"]
    assert ok(capsys, "recipes", "cgan").count("cgan-mnist") == 1
    assert "nothing-like-it" in refused(capsys, 2, "recipes", "mnist", "nothing-like-it")


def test_summary_counts_as_keras_does(capsys):
    """The published counts of Keras-GAN's gan.py: 1,493,520 and 533,505 parameters."""
    out = ok(capsys, "summary", "keras-mlp")
    assert "1,493,520 parameters: 1,489,936 trained, 3,584 running statistics" in out
    assert "533,505 parameters: 533,505 trained, 0 running statistics" in out
    assert re.search(r"^BatchNorm +\(n, 1024\) +4,096$", out, re.M)


@pytest.mark.parametrize("name", list(RECIPES))
def test_summary_of_every_recipe_needs_no_data(capsys, monkeypatch, name):
    monkeypatch.setattr(data, "load", None)
    out = ok(capsys, "summary", name)
    assert "both networks" in out
    assert RECIPES[name].note in out


def test_summary_of_a_size(capsys):
    assert "(n, 3072)" in ok(capsys, "summary", "digits", "--size", "32x32x3")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--data", "mnist")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--size", "28x28")


def test_version_help_and_no_command(capsys):
    import fastgan

    assert ok(capsys, "--version") == ok(capsys, "version") == f"fastgan, version {fastgan.__version__}\n"
    assert ok(capsys) == ok(capsys, "--help") == ok(capsys, "-h") == ok(capsys, "help")
    for name in cli.commands:
        assert "Usage: fastgan" in ok(capsys, name, "--help")
        assert ok(capsys, name, "--help") == ok(capsys, name, "-h") == ok(capsys, "help", name)
    assert ok(capsys, "help", "bench", "compare") == ok(capsys, "bench", "compare", "-h")
    assert "did you mean train" in refused(capsys, 2, "help", "trian")
