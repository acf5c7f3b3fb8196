"""The exported script draws what fastgan draws, with NumPy alone."""

import json

import numpy as np
import pytest
from export_helpers import assert_same_picture, of, run, trained
from tiny import samples, tiny

import fastgan as fg
from fastgan import nn
from fastgan.gan import Trainer
from fastgan.gan.conditional import told
from fastgan.gan.export import LINES, export, recorded, script_of
from fastgan.gan.run import POINTS

pytestmark = pytest.mark.slow

IMAGES = [name for name, recipe in fg.recipes.items() if not recipe.points]


@pytest.mark.parametrize("name", IMAGES)
def test_every_recipe_draws_alone_what_fastgan_draws(name, tmp_path):
    trainer = trained(name)
    export(trainer, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["generator.npz", "sample.py"]
    assert_same_picture(trainer, tmp_path / "out", "42", seed=42)


def test_the_same_seed_gives_the_same_file_and_another_seed_another_one(tmp_path):
    export(trained("digits"), tmp_path / "out")
    first, *others = (tmp_path / "out" / run(tmp_path / "out", seed)[1].strip() for seed in ("3", "4"))
    kept = first.read_bytes()
    run(tmp_path / "out", "3")
    assert first.read_bytes() == kept
    assert others[0].read_bytes() != kept


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("noise", ["normal", "uniform"])
@pytest.mark.parametrize("latent", [1, 3, 4])
def test_latents_are_those_of_fastgan(seed, noise, latent):
    trainer = Trainer(tiny("digits").replace(latent=latent, noise=noise), device="cpu")
    names = {"__name__": "sample"}
    exec(compile(script_of(trainer)[0], "sample.py", "exec"), names)
    got, own = names["latents"](seed, 5), trainer.latent(5, 0, stream=fg.random.Stream.SAMPLE, seed=seed)
    assert (got.shape, got.dtype) == (own.shape, own.dtype)
    np.testing.assert_allclose(got, own, rtol=2e-6, atol=2e-6 if noise == "normal" else 0)


def test_the_average_is_what_is_exported_and_the_run_goes_on_as_before(tmp_path):
    trainer = trained("keras-mlp", ema=0.9)
    before = {name: x.copy() for name, x in trainer.generator.values().items()}
    _, kept = script_of(trainer)
    assert all((trainer.generator.values()[name] == x).all() for name, x in before.items())
    assert all(module.training for module in trainer.generator.modules())
    assert (kept["0.weight"] != before["0.weight"]).any()
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "1", seed=1)


def test_the_npz_has_the_weights_by_name_and_the_recipe(tmp_path):
    trainer = trained("ring-gan")
    export(trainer, tmp_path / "out")
    with np.load(tmp_path / "out" / "generator.npz", allow_pickle=False) as kept:
        assert json.loads(str(kept["recipe"]))["latent"] == trainer.recipe.latent
        assert set(kept) - {"recipe"} == trainer.generator.values().keys()
        for name, array in trainer.generator.values().items():
            np.testing.assert_array_equal(kept[name], array)


def every_layer():
    return (
        nn.Linear(6, 12),
        nn.Arctan(),
        nn.BatchNorm(12),
        nn.Maxout(12, 18, pieces=3),
        nn.Dropout(0.3),
        nn.LayerNorm(18),
        nn.SpectralNorm(nn.Linear(18, 18)),
        nn.Reshape(3, 3, 2),
        nn.Pad2d((0, 0, 2, 0), 0.5),
        nn.Upsample2d((2, 3)),
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding="same"),
        nn.LeakyReLU(0.3),
        nn.BatchNorm(3),
        nn.Sequential(nn.AvgPool2d((1, 2), (1, 1)), nn.InstanceNorm(3), nn.ReLU(), nn.MaxPool2d((1, 2))),
        nn.SpectralNorm(nn.ConvTranspose2d(3, 4, (3, 4), stride=(2, 1), padding=1, output_padding=(1, 0))),
        nn.Sigmoid(),
        nn.Conv2d(4, 2, 2, stride=1, padding=(1, 3, 0, 2), bias=False),
        nn.ReLU(),
        nn.Crop2d(9, 8),
        nn.ConvTranspose2d(2, 1, 3, padding=(2, 0, 1, 1), bias=False),
        nn.Crop2d(8, 8),
        nn.Tanh(),
        nn.Flatten(),
    )


def test_every_layer_that_a_generator_may_have(tmp_path):
    trainer = of(*every_layer(), noise="uniform")
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "7", seed=7)


class Own(nn.Module):
    """Ops that no layer has, not one after the other, and with values that several need."""

    def __init__(self):
        self.first, self.back, self.last = nn.Linear(6, 8), nn.Linear(16, 8), nn.Linear(8, 64)

    def __call__(self, x):
        ops = fg.ops
        h = ops.tanh(self.first(x))
        y = ops.concat(ops.exp(h * 0.1), ops.absolute(h).reshape(len(x), -1), axis=1)
        y = ops.softplus(y - 0.5) / ops.sqrt(y * y + 1.5) + ops.log(2 - ops.sigmoid(y))
        a, b = h * (0.5 - (h + self.back(y))), h.T.T * 2
        return ops.tanh(self.last(h + a * b - h * 0.25))


def test_a_generator_of_ones_own_of_any_shape(tmp_path):
    trainer = of(Own())
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "7", seed=7)


def test_every_op_that_has_a_line_is_exported_somewhere():
    """In the tests of this file, whose networks are looked at again."""
    trainers = [of(*every_layer(), noise="uniform"), of(Own()), *map(trained, ("seo-numpy", "cgan-mnist"))]
    used = set()
    for trainer in (*trainers, trained("seo-numpy", published="seo-numpy")):
        z = fg.Tensor(trainer.latent(3, 0), requires_grad=True)
        used |= {node.op.name for node in recorded(told(trainer.generator.eval(), trainer.labels(3, 0))(z))}
    assert set(LINES) - used <= {"alias", "cast"}


def test_an_output_of_seo_as_published(tmp_path):
    trainer = trained(
        "seo-numpy", generator=nn.Net(("linear 8", "relu", "linear o", "sigmoid")), published="seo-numpy"
    )
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "7", seed=7)


def test_a_mean_as_the_last_layer(tmp_path):
    recipe = tiny("ring-gan").replace(latent=6)
    generator = nn.Sequential(nn.Reshape(2, 3, 1), nn.Mean(), nn.Linear(1, 2), seed=1)
    trainer = Trainer(recipe, samples(recipe), device="cpu", generator=generator)
    export(trainer, tmp_path / "out")
    assert_same_points(trainer, tmp_path / "out", 9)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_and_pixels_that_one_sees_through(channels, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 6, 9, channels), np.uint8)
    recipe = tiny("digits").replace(
        low=0.0, generator=nn.Net(("linear 8", "leaky_relu 0.2", "linear o", "sigmoid"))
    )
    trainer = Trainer(recipe, pixels, device="cpu").fit(2)
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "8", seed=8)


@pytest.mark.parametrize("join", ["concat", "multiply"])
def test_labels_in_turn_or_the_one_asked_for(join, tmp_path):
    trainer = trained("digits", classes=10, generator_labels=join)
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "1", seed=1)
    assert_same_picture(trainer, tmp_path / "out", "1", "7", seed=1, label=7)
    assert (tmp_path / "out" / "sample-seed1-label7.png").exists()
    assert run(tmp_path / "out", given="2 0\n")[1] == "a number: sample-seed2-label0.png\n"
    for words in (["1", "10"], ["1", "-1"], ["1", "2", "3"], ["1", "x"]):
        code, out, err = run(tmp_path / "out", *words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("usage: python sample.py SEED [LABEL]")


def assert_same_points(trainer, folder, seed):
    assert run(folder, str(seed)) == (0, f"sample-seed{seed}.csv\n", "")
    got = np.loadtxt(folder / f"sample-seed{seed}.csv", delimiter=",")
    np.testing.assert_allclose(got, trainer.sample(POINTS, seed=seed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ring-gan", "igul-toy-swiss-wgan-gp"])
def test_points_become_a_table(name, tmp_path):
    trainer = trained(name)
    export(trainer, tmp_path / "out")
    assert_same_points(trainer, tmp_path / "out", 5)


def test_the_number_is_asked_for_where_none_is_given(tmp_path):
    export(trained("digits"), tmp_path / "out")
    assert run(tmp_path / "out", given="11\n") == (0, "a number: sample-seed11.png\n", "")
    code, _, err = run(tmp_path / "out")  # no answer
    assert (code, err.count("\n")) == (1, 1)


def test_running_statistics_stay_as_they_are(tmp_path):
    trainer = trained("keras-mlp")
    before = {name: x.copy() for name, x in trainer.generator.named_state()}
    export(trainer, tmp_path / "out")
    assert before
    assert all(np.array_equal(x, before[name]) for name, x in trainer.generator.named_state())
