"""What was written before version 0.1 is still read: `old_run` is a run of `digits` with an MLP for each network."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ok

from fastgan.gan import RECIPES, Trainer, checkpoint, load
from fastgan.gan.recipe import from_dict
from fastgan.gan.run import edited
from fastgan.gan.source import Source
from fastgan.gan.state import arrays
from fastgan.nn import Net

OLD = Path(__file__).parent / "old_run"
END = OLD / "checkpoints" / "step-00000004.safetensors"


def assert_the_end(trainer):
    """The weights, moments and losses that the old version had after 4 steps, but for rounding."""
    wanted, found = checkpoint.load(END)[0], arrays(trainer)
    assert wanted.keys() == found.keys()
    for name, x in found.items():
        np.testing.assert_allclose(x, wanted[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.fixture
def old(tmp_path):
    """The run, as it was after 2 steps."""
    shutil.copytree(OLD, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / END.name).unlink()
    return tmp_path / "run"


def test_a_checkpoint_goes_on_as_it_would_have(old):
    trainer = load(old, device="cpu")
    assert trainer.recipe.generator.layers[:3] == ("linear 8 bias=no", "batch_norm", "relu")
    assert edited(old / "config.toml", trainer) == ""
    assert_the_end(trainer.fit(2))


@pytest.mark.usefixtures("here")
def test_its_commands_go_on_too(old, capsys):
    ok(capsys, "resume", old, "--quiet")
    assert_the_end(load(old, device="cpu"))
    ok(capsys, "train", "--config", old / "config.toml", "--quiet", "--out", "again")
    assert_the_end(load("again", device="cpu"))


def test_flat_images_of_a_file_are_still_images(tmp_path):
    """Until version 0.1 rows of a square number of columns were images without --image-size."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (40, 64), dtype=np.uint8))
    new = Trainer(RECIPES["digits"].replace(batch=8, border=1), Source(str(path), image_size=8), device="cpu")
    new.form = replace(new.form, source=Source(str(path)))
    new.save(tmp_path / "old.safetensors")
    old = load(tmp_path / "old.safetensors", device="cpu")
    assert old.form.shape == (10, 10, 1)
    assert np.array_equal(old.fit(2).sample(3), new.fit(2).sample(3))


MLP = {
    "hidden": [4],
    "activation": "leaky_relu",
    "slope": 0.2,
    "output": "linear",
    "pieces": 5,
    "dropout": 0.0,
}
MLP |= {"init": "torch", "init_scale": 1.0, "hidden_bias": True}
MLP |= {"batch_norm": 0.0, "norm_first": False, "norm_eps": 1e-5, "norm_correction": 1.0}
NORM = {"batch_norm": 0.2, "norm_eps": 1e-3, "norm_correction": 0.0}
SCALED = {"init": "normal", "init_scale": 2.0}
WIDTHS = [  # what a file says other than MLP, the same network's layers, and its values beside them
    ({}, ("linear 4", "leaky_relu 0.2", "linear o"), {}),
    ({"hidden": []}, ("linear o",), {}),
    ({"hidden": [4, 5], "activation": ["tanh", "linear"]}, ("linear 4", "tanh", "linear 5", "linear o"), {}),
    ({"activation": "relu", "output": "tanh", **SCALED}, ("linear 4", "relu", "linear o", "tanh"), SCALED),
    (
        {"activation": "relu", "dropout": 0.5, **NORM},
        ("linear 4", "relu", "batch_norm", "dropout 0.5", "linear o"),
        NORM,
    ),
    (
        {"activation": "relu", "batch_norm": 0.1, "norm_first": True, "hidden_bias": False},
        ("linear 4 bias=no", "batch_norm", "relu", "linear o"),
        {},
    ),
    ({"activation": "maxout", "batch_norm": 0.1, "pieces": 3}, ("maxout 4 pieces=3", "linear o"), {}),
    ({"slope": 0.01, "output": "seo_sigmoid"}, ("linear 4", "leaky_relu 0.01", "linear o", "sigmoid"), {}),
]


@pytest.mark.parametrize(("changed", "layers", "values"), WIDTHS)
def test_widths_are_the_same_network_as_lines(changed, layers, values):
    assert from_dict({"generator": MLP | changed}, RECIPES["dcgan64"]).generator == Net(layers, **values)
