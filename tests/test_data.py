"""The data set itself, arrays from memory, what a name or a path means, and the point sets."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgan import data
from fastgan.data import points
from fastgan.data.dataset import check_samples
from fastgan.errors import DataError, UsageError

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


def test_digits_are_the_published_ones():
    digits = data.load("digits")
    assert (digits.n, digits.sample_shape, digits.features, digits.is_images) == (1797, (8, 8, 1), 64, True)
    assert (digits.low, digits.high, digits.samples.dtype) == (0, 16, np.uint8)
    assert (digits.samples.min(), digits.samples.max(), int(digits.samples.sum())) == (0, 16, 561718)
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.samples[0, 0, :, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert digits.fingerprint() == "37d1610da92ad92a"
    assert "10.24432/C50P49" in digits.source
    assert "CC BY 4.0" in digits.source


@pytest.mark.parametrize(
    ("array", "low", "high", "wanted"),
    [
        (np.array([0, 255, 51], np.uint8).reshape(3, 1, 1), -1, 1, [-1, 1, -0.6]),
        (np.array([0, 255, 51], np.uint8).reshape(3, 1, 1), 0, 1, [0, 1, 0.2]),
        (np.array([-1.0, 0, 1]).reshape(3, 1, 1), 0, 10, [0, 5, 10]),
        (np.array([[-7.0, 9], [0, 1]]), 0, 1, [-7, 9, 0, 1]),  # points keep their units
    ],
)
def test_scaled(array, low, high, wanted):
    dataset = data.from_array(array)
    scaled = dataset.scaled(low, high)
    assert scaled.dtype == np.float32
    assert scaled.shape == (dataset.n, dataset.features)
    assert scaled.ravel().tolist() == [pytest.approx(x, abs=0 if x == int(x) else 1e-6) for x in wanted]
    assert (dataset.samples.ravel() == array.ravel()).all()


def test_fingerprint_tells_values_shape_dtype_and_labels_apart(monkeypatch):
    base = data.from_array(IMAGES)
    others = [
        data.from_array(IMAGES + 1),
        data.from_array(IMAGES.reshape(5, 3, 4)),
        data.from_array(IMAGES.astype(np.float32)),
        data.from_array(IMAGES, labels=range(5)),
    ]
    assert len({item.fingerprint() for item in [base, *others]}) == 5
    assert data.from_array(np.asfortranarray(IMAGES)).fingerprint() == base.fingerprint()
    monkeypatch.setattr("fastgan.data.dataset.hashlib", None)  # each is made once
    assert others[0].fingerprint() != base.fingerprint()


def test_take_keeps_labels_beside_their_samples():
    dataset = data.from_array(IMAGES, labels=[0, 1, 2, 3, 4], name="five")
    few = dataset.take(slice(1, 4, 2))
    assert few.labels.tolist() == [1, 3]
    assert (few.samples == dataset.samples[[1, 3]]).all()
    assert (few.name, few.high) == ("five", 255)
    assert dataset.take(np.array([4, 0])).labels.tolist() == [4, 0]


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "low", "high"),
    [
        (IMAGES, (5, 4, 3, 1), "uint8", 0, 255),
        (np.stack([IMAGES] * 3, axis=-1), (5, 4, 3, 3), "uint8", 0, 255),
        (IMAGES.astype(">i8"), (5, 4, 3, 1), "uint8", 0, 255),
        (IMAGES.astype(float), (5, 4, 3, 1), "float32", 0, 255),
        (IMAGES / 59, (5, 4, 3, 1), "float32", 0, 1),
        (IMAGES / 30 - 1, (5, 4, 3, 1), "float32", -1, 1),
        ((IMAGES / 59).astype(np.float16), (5, 4, 3, 1), "float32", 0, 1),
        (IMAGES > 30, (5, 4, 3, 1), "uint8", 0, 1),
        (np.arange(128, dtype=np.uint8).reshape(2, 64), (2, 64), "float32", 0, 255),
        (noise(7, 2), (7, 2), "float32", -1, 1),
        (np.array([[-300, 5], [2, 900]]), (2, 2), "float32", -1, 1),
        (np.array([[3, 5], [2, 9]], np.uint8), (2, 2), "float32", -1, 1),
        (noise(7, 1200), (7, 1200), "float32", -1, 1),
        (np.arange(24, dtype=np.uint8).reshape(2, 12), (2, 12), "float32", 0, 255),
        ([[0.5, 1.0], [0.25, 3.0]], (2, 2), "float32", -1, 1),
    ],
)
def test_from_array_finds_the_form(array, shape, dtype, low, high):
    dataset = data.from_array(array)
    assert (dataset.samples.shape, str(dataset.samples.dtype)) == (shape, dtype)
    assert (dataset.low, dataset.high) == (low, high)
    assert dataset.samples.flags.c_contiguous
    assert np.allclose(dataset.samples.ravel(), np.asarray(array, float).ravel(), rtol=1e-6)


def test_what_fits_is_not_copied_and_labels_become_int64():
    dataset = data.from_array(IMAGES, np.arange(5, dtype=np.uint8)[:, None])
    assert np.shares_memory(dataset.samples, IMAGES)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4]


def test_values_that_are_not_finite_are_counted():
    values = noise(9, 5).astype(np.float32)
    assert check_samples(values, "v") == (values.min(), values.max())
    values[[8, 3, 3], [0, 4, 2]] = np.inf, np.nan, -np.inf
    with pytest.raises(DataError, match=r"3 of 45 values are not finite, the first at index \(3, 2\)"):
        check_samples(values, "v")


def test_two_samples_that_differ_in_one_value_are_enough():
    values = np.zeros((2, 3, 3), np.uint8)
    values[1, 2, 2] = 1
    assert data.from_array(values).n == 2


def test_a_path_object_is_never_a_built_in_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert data.load("digits", image_size=8).n == 1797
    with pytest.raises(DataError, match="holds no pictures"):
        data.load(Path("digits"))


def test_importing_is_light():
    heavy = ["PIL", "pooch", "requests", "matplotlib", "rich", "click", "sklearn"]
    code = f"import sys, fastgan.data; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# Point sets

MIXTURES = {  # name: modes, standard deviation, largest coordinate of the centres
    "ring": (8, 0.01, 1.0),
    "grid": (25, 0.05, 4.0),
    "8gaussians": (8, 0.02 / 1.414, 2 / 1.414),
    "25gaussians": (25, 0.05 / 2.828, 4 / 2.828),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture(name):
    k, std, reach = MIXTURES[name]
    n = 20_000
    dataset = points.draw(name, n)
    assert dataset.samples.shape == (n, 2)
    assert dataset.samples.dtype == np.float32
    assert dataset.modes.shape == (k, 2)
    assert dataset.mode_std == pytest.approx(std)
    assert len(np.unique(dataset.modes.round(6), axis=0)) == k
    assert (dataset.modes.max(), dataset.modes.min()) == pytest.approx((reach, -reach))
    which = ((dataset.samples[:, None] - dataset.modes) ** 2).sum(axis=2).argmin(axis=1)
    offset = dataset.samples - dataset.modes[which]
    assert (which == dataset.labels).all()
    assert offset.std(axis=0) == pytest.approx([std, std], rel=0.03)
    assert abs(offset.mean(axis=0)).max() < 4 * std / math.sqrt(n)
    shares = np.bincount(which, minlength=k) / n
    assert abs(shares - 1 / k).max() < 5 * math.sqrt(1 / k / n)
    assert (shares == 1 / k).all() == (name == "25gaussians")  # equal shares where the article has them
    assert dataset.labels[:k].tolist() != list(range(k))


def test_modes_are_where_the_articles_have_them():
    ring, grid = (points.draw(name, 10).modes for name in ("ring", "grid"))
    assert ring[[0, 1, 7]] == pytest.approx(np.array([[1, 0], [0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)]]))
    assert abs(ring.sum(axis=0)).max() < 1e-12
    assert grid.tolist() == [[-4 + 2 * i, -4 + 2 * j] for i in range(5) for j in range(5)]


def test_swiss_roll_lies_on_its_spiral():
    x, y = points.draw("swiss-roll", 20_000).samples.T.astype(float) * 7.5
    radius = np.hypot(x, y)
    # on the spiral the radius is the angle, up to whole turns; across it the noise is 0.25
    turn = (radius - np.arctan2(y, x) + np.pi) % (2 * np.pi) - np.pi
    assert turn.std() == pytest.approx(0.25, rel=0.1)
    assert np.percentile(radius, [1, 99]) == pytest.approx([1.5 * np.pi, 4.5 * np.pi], abs=0.4)
    assert np.median(radius) == pytest.approx(3 * np.pi, abs=0.2)


@pytest.mark.parametrize("name", points.NAMES)
def test_points_follow_from_the_seed(name):
    train, test = data.load(name), data.load(name, split="test")
    assert (train.n, test.n, train.name, train.low, train.high) == (100_000, 100_000, name, -1, 1)
    assert name in data.names
    assert train.fingerprint() == points.draw(name).fingerprint()
    assert test.fingerprint() == points.draw(name, seed=1).fingerprint() != train.fingerprint()
    assert "arXiv" in train.source
    assert np.isfinite(points.draw(name, 2).samples).all()
    with pytest.raises(UsageError, match="at least 2"):
        points.draw(name, 1)
