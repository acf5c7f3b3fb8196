"""Ways between latents and the images along them; the critic's contours; and `fastgan sample` with both."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ok, refused
from PIL import Image
from tiny import samples, tiny

from fastgan import data
from fastgan.cli import main
from fastgan.errors import UsageError
from fastgan.gan import RECIPES, Trainer, networks, pictures, quality
from fastgan.gan.interpolation import between, images_between
from fastgan.gan.restore import load_sampler
from fastgan.gan.run import RunDirectory
from fastgan.gan.sampling import Sampler
from fastgan.nn import Net
from fastgan.tape import Tensor, no_grad

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]

DIGITS = RECIPES["digits"].replace(
    generator=Net(("linear 12", "relu", "linear o", "tanh")),
    critic=Net(("linear 12", "leaky_relu 0.2", "linear o")),
    batch=16,
    steps=3,
    latent=6,
)
LABELLED = DIGITS.replace(classes=10)
BOTH = Net(("linear 12", "relu", "linear o"))
RING = RECIPES["ring-wgan-gp"].replace(generator=BOTH, critic=BOTH, batch=16, steps=2)


def latents(n, z=6, seed=0):
    return np.random.default_rng(seed).standard_normal((2, n, z)).astype(np.float32)


# Ways


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_a_way_has_both_ends(spherical, steps):
    a, b = latents(5)
    way = between(a, b, steps, spherical=spherical)
    assert (way.shape, way.dtype) == ((5, steps, 6), np.float32)
    np.testing.assert_allclose(way[:, [0, -1]], np.stack([a, b], axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("factor", "spherical"), [(None, False), *((f, True) for f in (1.0, 2.0, -1.0, 0.0))]
)
def test_a_straight_way_has_even_steps_also_between_latents_on_one_line(factor, spherical):
    a, b = latents(3)
    b = b if factor is None else factor * a
    t = np.linspace(0, 1, 5)[:, None]
    wanted = (1 - t) * a[:, None] + t * b[:, None]
    np.testing.assert_allclose(between(a, b, 5, spherical=spherical), wanted, atol=1e-5)


def test_a_great_circle_keeps_the_length_and_turns_evenly():
    a, b = latents(4)
    a, b = (3 * x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    way = between(a, b, 7, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(way, axis=2), 3, rtol=1e-5)
    turns = np.arccos((way[:, 1:] * way[:, :-1]).sum(axis=2) / 9)
    whole = np.arccos((a * b).sum(axis=1) / 9)
    np.testing.assert_allclose(turns, np.broadcast_to(whole[:, None] / 6, turns.shape), rtol=1e-3)


def test_images_begin_as_the_samples_of_the_seed():
    trainer = Trainer(DIGITS, device="cpu").fit()
    images = images_between(trainer.sampler(), 4, 3, seed=7)
    assert images.shape == (4, 3, 8, 8, 1)
    ends = np.concatenate([images[:, 0], images[:, -1]])
    np.testing.assert_allclose(ends, trainer.sample(8, seed=7), atol=1e-5)
    assert np.ptp(images[:, 1] - (images[:, 0] + images[:, 2]) / 2) > 1e-3  # not a blend of the two


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_the_noise_says_which_way(monkeypatch, noise):
    seen = []
    monkeypatch.setattr(
        Sampler, "sample", lambda self, n, **k: seen.append(k["latent"]) or np.zeros((n, 8, 8, 1))
    )
    trainer = Trainer(DIGITS.replace(noise=noise, latent=64), device="cpu")
    images_between(trainer.sampler(), 5, 3, seed=1)
    lengths = np.linalg.norm(seen[0].reshape(5, 3, 64), axis=2)
    shorter = lengths[:, 1] < 0.85 * lengths[:, ::2].mean(axis=1)  # a chord of two at right angles: 0.71
    assert shorter.all() == shorter.any() == (noise == "uniform")


def test_a_way_keeps_its_class(monkeypatch):
    seen = []
    sample = Sampler.sample
    monkeypatch.setattr(
        Sampler, "sample", lambda self, n, **k: seen.append(k["label"]) or sample(self, n, **k)
    )
    trainer = Trainer(LABELLED, device="cpu").fit()
    each = images_between(trainer.sampler(), 12, 2, seed=0)
    assert seen[0].tolist() == [c for c in [*range(10), 0, 1] for _ in range(2)]
    seventh = images_between(trainer.sampler(), 12, 2, seed=0, label=7)
    np.testing.assert_allclose(seventh[7], each[7], atol=1e-5)
    assert abs(seventh[3] - each[3]).max() > 1e-4


# Contours


def blue(image):
    """How much darker than white each pixel's red is, in the frame of the drawing."""
    return 255 - np.asarray(image.convert("RGB")).astype(int)[60:420, 70:440, 0]


def square():
    return np.array([[-1.0, -1], [1, 1], [-1, 1], [1, -1]])


@pytest.mark.parametrize(
    ("critic", "drawn"),
    [(lambda x: x[:, 0], True), *((lambda x, v=v: 0 * x[:, 0] + v, False) for v in (0, np.nan))],
)
def test_contours_where_the_critic_has_any(critic, drawn):
    shown, plain = (blue(pictures.scatter(np.zeros((0, 2)), square(), critic=c)) for c in (critic, None))
    more = shown - plain
    assert more.any() == drawn
    assert not drawn or more[:, 200:].mean() > 1.3 * more.mean() > 10  # darker where it says more


def test_scores_are_the_critics_whatever_the_block(monkeypatch):
    trainer = Trainer(RING, device="cpu").fit()
    points = latents(100, z=2)[0]
    whole = quality.critic_of(trainer)(points)
    monkeypatch.setattr(quality, "BLOCK", 7)
    np.testing.assert_allclose(quality.critic_of(trainer)(points), whole, atol=1e-6)
    assert whole.shape == (100,)
    assert trainer.critic.training


def test_the_critic_of_a_run_with_classes_is_asked_about_one():
    rng = np.random.default_rng(0)
    labelled = data.from_array(rng.standard_normal((64, 2)), rng.integers(0, 3, 64))
    trainer = Trainer(RING.replace(classes=3), labelled, device="cpu").fit()
    points = latents(9, z=2)[0]
    with pytest.raises(UsageError, match=r"no label .* 3 classes"):
        quality.critic_of(trainer)
    scores = [quality.critic_of(trainer, label)(points) for label in range(3)]
    with no_grad():
        labels = [Tensor(np.tile(row, (9, 1)).astype(np.float32)) for row in np.eye(3)]
        wanted = [trainer.critic.eval()(Tensor(points), y).data[:, 0] for y in labels]
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    assert min(abs(wanted[0] - wanted[1]).max(), abs(wanted[1] - wanted[2]).max()) > 1e-5


@pytest.mark.parametrize(("objective", "shown"), [("wasserstein-gp", True), ("non-saturating", False)])
def test_pictures_of_a_wasserstein_run_show_the_critic(monkeypatch, objective, shown):
    critics = []
    monkeypatch.setattr(pictures, "loss_curves", lambda *_: None)
    monkeypatch.setattr(
        pictures, "picture", lambda *_, **given: critics.append(given["critic"]) or Image.new("L", (9, 9))
    )
    RunDirectory("run").fit(Trainer(RING.replace(objective=objective), device="cpu"))
    assert [critic is not None for critic in critics] == [shown] * len(critics)


# The command; what it refuses stands in tries/runs.py


def size_of(path):
    with Image.open(path) as image:
        return image.size


def made(recipe, data=None, name="run"):
    RunDirectory(name).fit(Trainer(recipe.replace(steps=1), data, device="cpu"))


@pytest.mark.usefixtures("undrawn")
def test_interpolate(capsys):
    """Rows of images; with --gif also one that goes there and back."""
    made(DIGITS)
    out = ok(capsys, "sample", "run", "--interpolate", 8, "--seed", 3)
    assert out == "run/interpolation-seed3.png  8 rows of 8 steps between latents of step 1, seed 3\n"
    assert size_of("run/interpolation-seed3.png") == (8 * 82 + 2, 8 * 82 + 2)
    ok(capsys, "sample", "run", "--interpolate", 4, "--count", 2, "--out", "a.png")
    zoom = (700 - 2 * 5) // 32
    assert size_of("a.png") == (4 * (8 * zoom + 2) + 2, 2 * (8 * zoom + 2) + 2)
    out = ok(capsys, "sample", "run", "--interpolate", 2, "--gif", "--out", "a.png")
    assert out.splitlines()[1] == "a.gif  46 frames"
    with Image.open("a.gif") as gif:
        frames = []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("L")).astype(int))
            assert gif.info["duration"] == 60
    assert len(frames) == 46
    assert frames[0].shape == (2 * 170 + 2, 4 * 170 + 2)
    assert all((frames[i] == frames[46 - i]).all() for i in range(1, 23))
    assert (frames[0] != frames[23]).any()


@pytest.mark.usefixtures("undrawn")
def test_a_gif_that_cannot_be_made_leaves_no_picture(capsys, monkeypatch):
    made(DIGITS)
    monkeypatch.setattr("fastgan.cli.sample._frames", lambda *_: 1 / 0)
    assert main(["sample", "run", "--interpolate", "3", "--gif", "--out", "a.png"]) == 1
    capsys.readouterr()
    assert not Path("a.png").exists()


def test_contour(capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "loss_curves", lambda *_: None)
        np.save("x.npy", latents(40, z=2)[0])
        made(RING, "x.npy")
    for words in (["--contour"], []):
        ok(capsys, "sample", "run", "--count", 30, *words)
    with Image.open("run/contour-seed0.png") as over, Image.open("run/sample-seed0.png") as plain:
        assert blue(over).mean() > 2 * blue(plain).mean()
    Path("x.npy").unlink()
    out = ok(capsys, "sample", "run", "--contour", "--count", 30)
    assert out.startswith("run/contour-seed0.png  30 samples and the critic (no real points: ")
    assert out.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_a_class(capsys):
    made(LABELLED)
    assert "run/sample-seed0-label7.png" in ok(capsys, "sample", "run", "--label", 7)
    assert "interpolation-seed0-label7.png" in ok(capsys, "sample", "run", "--label", 7, "--interpolate", 3)
    assert "wanted 0 to 9" in refused(capsys, 2, "sample", "run", "--label", 10)
    assert "wanted 0 to 9" in refused(capsys, 2, "sample", "run", "--label", -1, "--interpolate", 3)


@pytest.mark.usefixtures("undrawn")
def test_points_have_no_images_between_them_and_long_ones_no_contours(capsys):
    for d, option in ((2, "--interpolate 8"), (5, "--contour")):
        made(RING, latents(40, z=d)[0], f"run{d}")
        said = refused(capsys, 2, "sample", f"run{d}", *option.split())
        assert f"this run learned points of {d} numbers" in said


def test_sampling_builds_no_critic_and_no_optimizer(tmp_path, monkeypatch):
    """The same pixels as the Trainer's, from the generator's average."""
    recipe = tiny("digits").replace(ema=0.5)
    trainer = Trainer(recipe, samples(recipe), device="cpu", seed=4).fit(3)
    trainer.save(tmp_path / "a.safetensors")

    def refuse(*_, **__):
        raise AssertionError("built")

    monkeypatch.setattr(networks, "build_critic", refuse)
    monkeypatch.setattr("fastgan.optim.Optimizer.__init__", refuse)
    sampler = load_sampler(tmp_path / "a.safetensors", device="cpu")
    assert sampler.steps_done == 3
    assert (sampler.sample(5, seed=1) == trainer.sample(5, seed=1)).all()
