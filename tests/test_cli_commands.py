"""The commands besides train: resume, sample, recipes, summary, and help."""

import json
import re
from pathlib import Path

import pytest
from cli_helpers import ok, refused
from PIL import Image

from fastgan import data
from fastgan.cli import cli
from fastgan.gan import RECIPES, checkpoint
from fastgan.gan.published import of

pytestmark = pytest.mark.usefixtures("here")


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


def test_recipes_lists_all(capsys):
    out = ok(capsys, "recipes")
    plain = " ".join(out.split())
    for recipe in RECIPES.values():
        assert re.search(rf"^{recipe.name}\b.*{recipe.data or 'your own'}.*{recipe.objective}", out, re.M)
        assert " ".join(of(recipe.name).note.split()[:6]) in plain


@pytest.mark.parametrize("columns", [26, 50, 80, 120, 250])
def test_names_of_recipes_are_whole_on_every_terminal(capsys, monkeypatch, columns):
    monkeypatch.setattr("fastgan.cli.show.PIPE_WIDTH", columns)  # what a terminal's width is else
    lines = ok(capsys, "recipes").partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines if line[:1].isalnum()] == list(RECIPES)
    assert max(map(len, lines)) <= max(columns, 50)


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


@pytest.mark.parametrize("name", ["ring-wgan-gp", "cgan-mnist", "dcgan64", "igul-mnist-wgan-gp"])
def test_summary_of_points_labels_and_pictures_needs_no_data(capsys, monkeypatch, name):
    monkeypatch.setattr(data, "load", None)
    out = ok(capsys, "summary", name)
    assert "both networks" in out
    assert RECIPES[name].note in out


def test_summary_of_a_size(capsys):
    assert "(n, 3072)" in ok(capsys, "summary", "digits", "--size", "32x32x3")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--data", "mnist")
    assert "(n, 784)" in ok(capsys, "summary", "digits", "--size", "28x28")


def test_version_help_and_no_command(capsys):
    assert ok(capsys, "--version") == ok(capsys, "version")
    assert ok(capsys) == ok(capsys, "--help") == ok(capsys, "-h") == ok(capsys, "help")
    for name in cli.commands:
        assert ok(capsys, name, "--help") == ok(capsys, name, "-h") == ok(capsys, "help", name)
    assert ok(capsys, "help", "bench", "compare") == ok(capsys, "bench", "compare", "-h")


def test_the_shell_completes_commands_and_options(capsys, monkeypatch):
    for typed, wanted in (
        ("fastgan re", ["resume", "recipes"]),
        ("fastgan train --gen", "--generator-layers"),
    ):
        monkeypatch.setenv("_FASTGAN_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        with pytest.raises(SystemExit):
            cli.main(prog_name="fastgan")
        found = [line.partition(",")[2] for line in capsys.readouterr().out.splitlines()]
        assert found == wanted or wanted in found
