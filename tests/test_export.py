"""The exported script draws what fastgan draws, with NumPy alone, and says in one line what it cannot do."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ok, refused
from PIL import Image
from tiny import samples, tiny

import fastgan as fg
from fastgan import nn
from fastgan.errors import OutputError, UsageError
from fastgan.train import Trainer, files
from fastgan.train.export import LAYERS, export, script_of
from fastgan.train.run import POINTS, picture

HERE = Path(__file__).resolve().parents[1]
# As `python -I -S sample.py`, where of all that is not the standard library only NumPy can be imported.
ALONE = """
import sys, runpy
packages, sys.argv = sys.argv[1], sys.argv[2:]
class OnlyNumPy:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy"}:
            raise ImportError(name + " was imported")
sys.meta_path.insert(0, OnlyNumPy())
sys.path.append(packages)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder, *words, given=""):
    """The script's exit code, output and errors, run in its folder."""
    packages = str(Path(np.__file__).parents[1])
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-W",
            "error",
            "-W",
            "ignore::ResourceWarning",
            "-c",
            ALONE,
            packages,
            "sample.py",
            *words,
        ],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_same_picture(trainer, folder, *words, **wanted):
    """The same pixels, but for one grey level that rounding may make."""
    code, out, err = run(folder, *words)
    assert (code, err) == (0, "")
    with Image.open(folder / out.strip()) as image:
        image.load()  # checks the sums of all parts
        assert image.format == "PNG"
        got = np.asarray(image).astype(int)
    own = np.asarray(picture(trainer.sample(25, **wanted), columns=5)).astype(int)
    assert got.shape == own.shape
    assert own.std() > 5
    assert abs(got - own).max() <= 1
    assert (got != own).mean() < 0.002  # rounding: less than one pixel in a thousand falls to the other side


def trained(name, /, **changes):
    recipe = tiny(name).replace(**changes)
    return Trainer(recipe, samples(recipe), device="cpu", seed=3).fit(3)


def of(*layers, seed=4, **changes):
    """A trainer with a generator of 6 numbers for the bundled digits, trained for some steps."""
    recipe = fg.recipes["digits"].replace(latent=6, batch=8, **changes)
    generator = nn.Sequential(*layers, seed=seed)
    return Trainer(recipe, device="cpu", seed=5, generator=generator).fit(3)


IMAGES = [name for name, recipe in fg.recipes.items() if not recipe.points]


@pytest.mark.parametrize("name", IMAGES)
def test_every_recipe_draws_alone_what_fastgan_draws(name, tmp_path):
    trainer = trained(name)
    export(trainer, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["generator.npz", "sample.py"]
    assert_same_picture(trainer, tmp_path / "out", "42", seed=42)


def test_scripts_are_short_and_clean(tmp_path):
    for name in fg.recipes:
        recipe = fg.recipes[name]
        text, _ = script_of(Trainer(tiny(name).replace(latent=recipe.latent), samples(recipe), device="cpu"))
        assert text.count("\n") < 80, name
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(text, encoding="utf-8")
    if shutil.which("ruff") is None and not (Path(sys.executable).parent / "ruff").exists():
        pytest.skip("ruff is not installed")
    ruff = shutil.which("ruff") or str(Path(sys.executable).parent / "ruff")
    for words in (["check"], ["format", "--diff"]):
        clean = subprocess.run(
            [ruff, *words, "--no-cache", "--config", HERE / "pyproject.toml", tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert clean.returncode == 0, clean.stdout + clean.stderr


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
    got, own = names["latents"](seed, 5), trainer.noise(5, 0, stream=fg.random.Stream.SAMPLE, seed=seed)
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


def test_every_layer_that_a_generator_may_have(tmp_path):
    layers = (
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
    trainer = of(*layers, noise="uniform")
    export(trainer, tmp_path / "out")
    assert_same_picture(trainer, tmp_path / "out", "7", seed=7)
    assert max(map(len, (tmp_path / "out" / "sample.py").read_text().splitlines())) <= 110
    inside = {type(m) for m in trainer.generator.modules()}
    rest = {nn.Mean, *(kind for kind in LAYERS if kind.__name__ == "SeoOutput")}
    assert set(LAYERS) == (inside & set(LAYERS)) | rest  # these two have tests of their own


def test_an_output_of_seo_as_published(tmp_path):
    trainer = trained(
        "seo-numpy", **fg.recipes["seo-numpy"].published | {"generator": nn.MLP((8,), output="seo_sigmoid")}
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
    recipe = tiny("digits").replace(low=0.0, generator=nn.MLP((8,), output="sigmoid"))
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


@pytest.mark.parametrize("words", [["x"], ["-1"], ["1.5"], [str(2**64)], ["9" * 5000], ["1", "2"], [""]])
def test_a_wrong_seed_is_one_line(words, tmp_path):
    export(trained("digits"), tmp_path / "out")
    code, out, err = run(tmp_path / "out", *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("usage: python sample.py SEED, ")
    assert not list(tmp_path.glob("out/*.png"))


def test_missing_and_broken_weights_are_one_line(tmp_path):
    export(trained("digits"), tmp_path / "out")
    weights = tmp_path / "out" / "generator.npz"
    whole = weights.read_bytes()
    broken = whole[:500] + b"?" * 9 + whole[509:]
    for content in (None, b"PK\x03\x04 no archive", b"", whole[:2000], broken):
        weights.unlink(missing_ok=True)
        if content is not None:
            weights.write_bytes(content)
        code, out, err = run(tmp_path / "out", "1")
        assert (code, out, err.count("\n")) == (1, "", 1), content and len(content)
        assert "with generator.npz beside sample.py" in err


class Strange(nn.Module):
    def __call__(self, x):
        return x * 2


@pytest.mark.parametrize("place", [nn.Sequential, lambda layer: layer])
def test_a_layer_that_has_no_line_is_refused_before_anything_is_written(place, tmp_path):
    with pytest.raises(UsageError, match=r"got layer 1(\.0)?, Strange, for which there is no line"):
        export(of(nn.Linear(6, 64), place(Strange())), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_layer_of_ones_own_that_is_nearly_a_known_one_is_refused(tmp_path):
    class Doubled(nn.Tanh):
        def __call__(self, x):
            return super().__call__(x) * 2

    with pytest.raises(UsageError, match="Doubled"):
        export(of(nn.Linear(6, 64), Doubled()), tmp_path / "out")


def test_a_generator_that_is_no_sequence_is_refused(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(6, 64)

        def __call__(self, x):
            return self.linear(x)

    recipe = tiny("digits").replace(latent=6)
    with pytest.raises(UsageError, match=r"got a generator of Own, wanted an nn\.Sequential"):
        export(Trainer(recipe, device="cpu", generator=Own()), tmp_path / "out")


def test_a_name_from_a_checkpoint_stays_text(tmp_path):
    evil = trained("digits", name='x"""\nopen("canary", "w")\n"""\\')
    export(evil, tmp_path / "out")
    assert run(tmp_path / "out", "1")[0] == 0
    assert not (tmp_path / "out" / "canary").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("kept")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(OutputError, match=r"choose another --out$"):
            export(trained("digits"), taken)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "kept"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failing", ["generator.npz", "sample.py"])
def test_nothing_is_left_where_writing_fails(there, failing, tmp_path, monkeypatch):
    real = files.write_atomic

    def full(path, content):
        if path.name == failing:
            raise OutputError("the disk is full")
        real(path, content)

    monkeypatch.setattr(files, "write_atomic", full)
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="full"):
        export(trained("digits"), tmp_path / "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["out"] * there


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
