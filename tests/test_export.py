"""The exported script draws what fastgan draws, with NumPy alone; what it or an export cannot do is said in one line,
and nothing half-written is left."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ok, refused
from export_helpers import alone, assert_same_picture, of, run, trained
from PIL import Image
from tiny import samples, tiny

import fastgan as fg
from fastgan import nn
from fastgan.errors import OutputError, UsageError
from fastgan.gan import Trainer, files
from fastgan.gan.conditional import told
from fastgan.gan.export import LINES, export, recorded, script_of
from fastgan.gan.run import POINTS

pytestmark = pytest.mark.slow

IMAGES = [name for name, recipe in fg.recipes.items() if not recipe.points]


@pytest.fixture
def out(tmp_path):
    """Where to export to."""
    return tmp_path / "out"


@pytest.mark.parametrize("name", IMAGES)
def test_every_recipe_draws_alone_what_fastgan_draws(name, out):
    """Where there is only NumPy: a dense, a convolutional and a labelled one; the others here."""
    trainer = trained(name)
    export(trainer, out)
    assert sorted(p.name for p in out.iterdir()) == ["generator.npz", "sample.py"]
    only_numpy = name in ("digits", "cs231n-dcgan", "cgan-mnist")
    assert_same_picture(trainer, out, "42", run=alone if only_numpy else run, seed=42)


def test_the_same_seed_gives_the_same_file_and_another_seed_another_one(out):
    export(trained("digits"), out)
    first, other = (out / run(out, seed)[1].strip() for seed in ("3", "4"))
    kept = first.read_bytes()
    run(out, "3")
    assert first.read_bytes() == kept != other.read_bytes()


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


def test_the_average_is_what_is_exported_and_the_run_goes_on_as_before(out):
    """Its weights, its running statistics and its mode."""
    trainer = trained("keras-mlp", ema=0.9)
    before = trainer.generator.values()
    export(trainer, out)
    assert all((trainer.generator.values()[name] == x).all() for name, x in before.items())
    assert all(module.training for module in trainer.generator.modules())
    with np.load(out / "generator.npz", allow_pickle=False) as kept:
        assert (kept["0.weight"] != before["0.weight"]).any()
    assert_same_picture(trainer, out, "1", seed=1)


@pytest.mark.parametrize("name", ["ring-gan", "igul-toy-swiss-wgan-gp"])
def test_points_become_a_table_and_the_npz_has_the_weights_by_name_and_the_recipe(name, out):
    trainer = trained(name)
    export(trainer, out)
    assert_same_points(trainer, out, 5)
    with np.load(out / "generator.npz", allow_pickle=False) as kept:
        assert json.loads(str(kept["recipe"]))["latent"] == trainer.recipe.latent
        assert set(kept) - {"recipe"} == trainer.generator.values().keys()
        for weight, array in trainer.generator.values().items():
            np.testing.assert_array_equal(kept[weight], array)


def assert_same_points(trainer, folder, seed):
    assert run(folder, str(seed)) == (0, f"sample-seed{seed}.csv\n", "")
    got = np.loadtxt(folder / f"sample-seed{seed}.csv", delimiter=",")
    np.testing.assert_allclose(got, trainer.sample(POINTS, seed=seed), rtol=1e-4, atol=1e-5)


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


SEO = nn.Net(("linear 8", "relu", "linear o", "sigmoid"))
ON_WHITE = nn.Net(("linear 8", "leaky_relu 0.2", "linear o", "sigmoid"))


def colors(channels):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 6, 9, channels), np.uint8)
    return Trainer(tiny("digits").replace(low=0.0, generator=ON_WHITE), pixels, device="cpu").fit(2)


OTHERS = {
    "every layer that a generator may have": lambda: of(*every_layer(), noise="uniform"),
    "ops in any shape": lambda: of(Own()),
    "Seo's output as published": lambda: trained("seo-numpy", generator=SEO, published="seo-numpy"),
    "colors": lambda: colors(3),
    "pixels that one sees through": lambda: colors(4),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_generators(name, out):
    trainer = OTHERS[name]()
    export(trainer, out)
    assert_same_picture(trainer, out, "7", seed=7)


def test_every_op_that_has_a_line_is_exported_somewhere():
    """In the tests of this file, whose networks are looked at again."""
    trainers = [of(*every_layer(), noise="uniform"), of(Own()), *map(trained, ("seo-numpy", "cgan-mnist"))]
    used = set()
    for trainer in (*trainers, trained("seo-numpy", published="seo-numpy")):
        z = fg.Tensor(trainer.latent(3, 0), requires_grad=True)
        used |= {node.op.name for node in recorded(told(trainer.generator.eval(), trainer.labels(3, 0))(z))}
    assert set(LINES) - used <= {"alias", "cast"}


def test_a_mean_as_the_last_layer(out):
    recipe = tiny("ring-gan").replace(latent=6)
    generator = nn.Sequential(nn.Reshape(2, 3, 1), nn.Mean(), nn.Linear(1, 2), seed=1)
    trainer = Trainer(recipe, samples(recipe), device="cpu", generator=generator)
    export(trainer, out)
    assert_same_points(trainer, out, 9)


@pytest.mark.parametrize("join", ["concat", "multiply"])
def test_labels_in_turn_or_the_one_asked_for(join, out):
    trainer = trained("digits", classes=10, generator_labels=join)
    export(trainer, out)
    assert_same_picture(trainer, out, "1", seed=1)
    assert_same_picture(trainer, out, "1", "7", seed=1, label=7)
    assert (out / "sample-seed1-label7.png").exists()
    assert run(out, given="2 0\n")[1] == "a number: sample-seed2-label0.png\n"
    for words in (["1", "10"], ["1", "-1"], ["1", "2", "3"], ["1", "x"]):
        assert_usage(run(out, *words), "SEED [LABEL]")


# What cannot be done


def assert_usage(result, words="SEED"):
    code, said, err = result
    assert (code, said.removeprefix("a number: "), err.count("\n")) == (1, "", 1)
    assert err.startswith(f"usage: python sample.py {words}, with generator.npz beside sample.py")


def test_a_wrong_seed_is_one_line_and_one_is_asked_for_where_none_is_given(out):
    export(trained("digits"), out)
    for words in (["x"], ["-1"], ["1.5"], [str(2**64)], ["9" * 5000], ["1", "2"], [""]):
        assert_usage(run(out, *words))
    assert_usage(alone(out))  # no answer
    assert not list(out.glob("*.png"))
    assert run(out, given="11\n") == (0, "a number: sample-seed11.png\n", "")


def test_missing_and_broken_weights_are_one_line(out):
    export(trained("digits"), out)
    weights = out / "generator.npz"
    whole = weights.read_bytes()
    broken = whole[:500] + b"?" * 9 + whole[509:]
    for content in (None, b"PK\x03\x04 no archive", b"", whole[:2000], broken):
        weights.unlink(missing_ok=True)
        if content is not None:
            weights.write_bytes(content)
        assert_usage(alone(out, "1"))


@fg.op
def strange(x):
    """2 x, by an op of one's own."""
    return 2 * x


@strange.vjp
def _(g, y, x):
    return (lambda: 2 * g,)


class Layer(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


REFUSED = [  # what a layer does, and what is said of it
    (strange, "got op strange, for which there is no line of NumPy .*known are activation"),
    (lambda x: x * fg.Tensor(np.sign(x.data)), "samples the script does not draw"),  # beside the tape
    (lambda x: x - x.mean(axis=0), "samples the script does not draw"),  # of other samples
]


@pytest.mark.parametrize(("layer", "said"), REFUSED, ids=["an op", "beside the tape", "of a batch"])
def test_what_has_no_line_is_refused_before_anything_is_written(layer, said, out):
    with pytest.raises(UsageError, match=said):
        export(of(nn.Linear(6, 64), Layer(layer), nn.Tanh()), out)
    assert not (out).exists()


def test_a_name_from_a_checkpoint_stays_text(out):
    evil = trained("digits", name='x"""\nopen("canary", "w")\n"""\\')
    export(evil, out)
    assert run(out, "1")[0] == 0
    assert not (out / "canary").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("kept")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(OutputError, match=r"choose another --out$"):
            export(trained("digits"), taken)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "kept"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failing", ["generator.npz", "sample.py"])
def test_nothing_is_left_where_writing_fails(there, failing, out, monkeypatch):
    real = files.write_atomic

    def full(path, content):
        if path.name == failing:
            raise OutputError("the disk is full")
        real(path, content)

    monkeypatch.setattr(files, "write_atomic", full)
    if there:
        out.mkdir()
    with pytest.raises(OutputError, match="full"):
        export(trained("digits"), out)
    assert [p.name for p in out.parent.rglob("*")] == ["out"] * there


@pytest.fixture
def run_made(request):
    """conftest's small finished run; `run` is the function above."""
    return request.getfixturevalue("run")


def test_the_command(run_made, capsys):
    said = ok(capsys, "export", "run", "--out", "demo")
    assert said.count("\n") == 1
    assert "python demo/sample.py 42" in said
    ok(capsys, "sample", "run", "--seed", 42)
    assert run(Path("demo"), "42") == (0, "sample-seed42.png\n", "")
    got, own = (np.asarray(Image.open(f"{x}/sample-seed42.png")).astype(int) for x in ("demo", "run"))
    assert abs(got - own).max() <= 1
    ok(capsys, "export", "run")
    ok(capsys, "export", "run/checkpoints/step-00000002.safetensors")
    for made in ("run-export", "run/checkpoints/step-00000002-export"):
        assert (Path(made) / "sample.py").exists()
    assert "choose another --out" in refused(capsys, 4, "export", "run")
    refused(capsys, 2, "export", "nothing")
    refused(capsys, 2, "export", "demo")
    refused(capsys, 2, "export", "demo/generator.npz")


def test_the_command_in_the_run_itself(run_made, capsys, monkeypatch):
    monkeypatch.chdir("run")
    ok(capsys, "export", ".")
    assert Path("../run-export/sample.py").exists()
