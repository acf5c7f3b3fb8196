"""The recipes with convolutions: the sizes of images from layer to layer, and what they ask of data."""

from dataclasses import replace

import numpy as np
import pytest
from cli_helpers import refused, same
from tiny import arrays, tiny

import fastgan as fg
from fastgan import data
from fastgan.gan.networks import build
from fastgan.gan.recipes import RECIPES
from fastgan.tape import Tensor

MNIST = (28, 28, 1)


@pytest.mark.parametrize(
    ("name", "generator", "critic"),
    [
        ("cs231n-dcgan", [7, 14, 28], [28, 24, 12, 8, 4]),
        ("odog-dcgan", [7, 14, 28], [28, 14, 7, 8, 4]),  # a row and a column of zeros, not 7 to 4
        ("odog-wgan", [7, 14, 28], [28, 14, 7, 8, 4]),
        ("hs-wgan-gp", [4, 8, 16, 32], [32, 16, 8, 4]),
        ("igul-mnist-wgan", [4, 8, 7, 14, 28], [28, 14, 7, 4]),
        ("shekkizh-wgan", [4, 8, 16, 32, 64], [64, 32, 16, 8, 4, 2]),  # 2 x 2 scores, averaged
        ("dcgan64", [4, 8, 16, 32, 64], [64, 32, 16, 8, 4]),
    ],
)
def test_sizes_of_images_from_layer_to_layer(name, generator, critic):
    recipe = tiny(name)
    size = max(generator)
    networks = build(recipe, (size, size, 1), 0)
    for network, width, wanted in zip(
        networks, (recipe.latent, size * size), (generator, critic), strict=True
    ):
        x, sizes = Tensor(np.zeros((2, width), np.float32)), []
        for _, layer in network.parts():
            x = layer(x)
            if x.ndim == 4 and sizes[-1:] != [x.shape[1]]:
                sizes.append(x.shape[1])
        assert sizes == wanted


def test_cs231n_begins_as_the_assignment_does():
    """Glorot's uniform for linear and transposed layers, PyTorch's own for the convolutions."""
    generator, critic = build(RECIPES["cs231n-dcgan"], MNIST, 0)
    for layer, units in (
        (generator[0], 96 + 1024),
        (generator[7], 16 * (64 + 128)),
        (critic[8], 1024 + 1024),
    ):
        bound = (6 / units) ** 0.5
        assert 0.99 * bound < abs(layer.weight.data).max() <= bound
    assert 0.99 / 5 < abs(critic[1].weight.data).max() <= 1 / 5
    assert 0 < abs(critic[1].bias.data).max() <= 1 / 5


@pytest.mark.parametrize(
    "name", ["odog-dcgan", "hs-wgan", "igul-mnist-wgan-gp", "cgan-mnist", "cs231n-dcgan"]
)
def test_the_articles_own_widths_train(name):
    """Two steps of tiny batches; the 64 x 64 recipes are seen at this width by their counts alone."""
    recipe = RECIPES[name].replace(batch=2, log_every=2)
    few = {"warmup_critic_steps": 2} if recipe.warmup_critic_steps else {}
    trainer = fg.Trainer(recipe.replace(**few), noise_images(12, 28, labels=True), device="cpu").fit(2)
    assert np.isfinite(list(trainer.metrics().values())).all()
    assert trainer.sample(2).shape == (2, *trainer.form.shape)


def noise_images(n, size, channels=1, *, labels=False):
    """Random pictures, all classes in turn."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, channels), np.uint8)
    found = data.from_array(pixels)
    return replace(found, labels=np.arange(n) % 10) if labels else found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["shekkizh-wgan", "dcgan64", "cs231n-dcgan"])
def test_grey_and_colour_pictures_both_do(name, channels):
    size = RECIPES[name].picture_size or 28
    trainer = fg.Trainer(tiny(name), noise_images(10, size, channels), device="cpu").fit(1)
    assert trainer.sample(1).shape == (1, size, size, channels)


# what a recipe asks of data


def test_a_border_of_the_datas_own_black():
    images = np.random.default_rng(0).uniform(-1, 1, (30, 28, 28, 1)).astype(np.float32)
    trainer = fg.Trainer(tiny("hs-dcgan"), images, device="cpu")
    assert trainer.form.shape == (32, 32, 1)
    drawn = trainer.batches.draw(0).reshape(-1, 32, 32)
    middle = drawn[:, 2:-2, 2:-2]
    assert (drawn == -1).sum() - (middle == -1).sum() == drawn.size - middle.size
    assert abs(middle).max() <= 1
    assert len(np.unique(middle)) > 1000


def test_a_border_is_there_again_after_a_load(tmp_path):
    np.save(tmp_path / "x.npy", noise_images(30, 28).samples)
    whole = fg.Trainer(tiny("hs-wgan"), tmp_path / "x.npy", device="cpu").fit(4)
    fg.Trainer(tiny("hs-wgan"), tmp_path / "x.npy", device="cpu").fit(2).save(tmp_path / "a.safetensors")
    again = fg.load(tmp_path / "a.safetensors", device="cpu")
    assert again.sample(2).shape == (2, 32, 32, 1)
    assert same(arrays(whole), arrays(again.fit(2)))
    other = fg.load(tmp_path / "a.safetensors", data=tmp_path / "x.npy", device="cpu")
    assert same(arrays(whole), arrays(other.fit(2)))


def pictures(folder, mode="RGB"):
    """Twelve pictures of different sizes."""
    image = pytest.importorskip("PIL.Image")
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        pixels = rng.integers(0, 256, (70 + k, 90, 3), np.uint8)
        image.fromarray(pixels).convert(mode).save(folder / f"{k}.png")
    return folder


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_pictures_get_the_size_that_the_recipe_asks_for(tmp_path, mode, channels):
    folder = pictures(tmp_path / "photos", mode)
    whole = fg.Trainer(tiny("dcgan64"), folder, device="cpu").fit(3)
    assert whole.form.shape == (64, 64, channels)
    fg.Trainer(tiny("dcgan64"), folder, device="cpu").fit(1).save(tmp_path / "a.safetensors")
    again = fg.load(tmp_path / "a.safetensors", device="cpu").fit(2)
    assert same(arrays(whole), arrays(again))


def test_a_size_of_your_own_comes_first_and_other_data_have_theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "digits")  # a built-in name goes before a folder
    source = fg.gan.source.Source(str(tmp_path / "digits"), image_size=28)
    recipe = tiny("cs231n-dcgan").replace(picture_size=64)
    assert fg.Trainer(recipe, source, device="cpu").form.shape == (28, 28, 3)
    assert fg.Trainer(recipe, noise_images(10, 28), device="cpu").form.shape == MNIST
    small = fg.recipes["digits"].replace(picture_size=64)
    assert fg.Trainer(small, device="cpu").form.shape == (8, 8, 1)
    assert fg.Trainer(small, "digits", device="cpu").form.shape == (8, 8, 1)


@pytest.mark.usefixtures("here")
def test_pictures_of_your_own_are_asked_for(capsys):
    assert "give data" in refused(capsys, 2, "train", "dcgan64", "--out", "a")
