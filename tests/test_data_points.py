"""Point sets: centres, spread, shares, and the same points for the same seed."""

import math

import numpy as np
import pytest

from fastgan import data
from fastgan.data import points
from fastgan.errors import UsageError

MIXTURES = {  # name: modes, standard deviation, smallest and largest coordinate of the centres
    "ring": (8, 0.01, 1.0),
    "grid": (25, 0.05, 4.0),
    "8gaussians": (8, 0.02 / 1.414, 2 / 1.414),
    "25gaussians": (25, 0.05 / 2.828, 4 / 2.828),
}


def nearest(samples, modes):
    """Index of the nearest centre and the offset from it."""
    which = ((samples[:, None] - modes) ** 2).sum(axis=2).argmin(axis=1)
    return which, samples - modes[which]


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture(name):
    k, std, reach = MIXTURES[name]
    dataset = points.MAKERS[name](20_000)
    assert dataset.samples.shape == (20_000, 2)
    assert dataset.samples.dtype == np.float32
    assert dataset.modes.shape == (k, 2)
    assert dataset.mode_std == pytest.approx(std)
    assert len(np.unique(dataset.modes.round(6), axis=0)) == k
    assert dataset.modes.max() == pytest.approx(reach)
    assert dataset.modes.min() == pytest.approx(-reach)
    which, offset = nearest(dataset.samples, dataset.modes)
    assert (which == dataset.labels).all()
    assert offset.std(axis=0) == pytest.approx([std, std], rel=0.03)
    assert abs(offset.mean(axis=0)).max() < 4 * std / math.sqrt(20_000)
    shares = np.bincount(which, minlength=k) / 20_000
    assert abs(shares - 1 / k).max() < 5 * math.sqrt(1 / k / 20_000)


def test_ring_modes_are_eight_angles_without_a_double():
    modes = points.ring(10).modes
    assert modes[0].tolist() == [1, 0]
    assert modes[1] == pytest.approx([math.sqrt(0.5)] * 2)
    assert modes[7] == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)])
    assert abs(modes.sum(axis=0)).max() < 1e-12


def test_grid_modes_are_in_order():
    modes = points.grid(10).modes
    assert modes.tolist() == [[-4 + 2 * i, -4 + 2 * j] for i in range(5) for j in range(5)]


def test_equal_shares_where_the_article_has_them():
    assert (np.bincount(points.twenty_five_gaussians(100_000).labels) == 4000).all()
    assert points.twenty_five_gaussians(100).labels[:25].tolist() != list(range(25))
    assert len(set(np.bincount(points.grid(100_000).labels))) > 1


def test_high_quality_share_of_true_data():
    # 1 - exp(-4.5) of a Gaussian in the plane lies within 3 standard deviations
    dataset = points.ring(100_000)
    _, offset = nearest(dataset.samples, dataset.modes)
    near = (np.hypot(*offset.T) < 3 * dataset.mode_std).mean()
    assert near == pytest.approx(1 - math.exp(-4.5), abs=0.002)


def test_swiss_roll_lies_along_its_spiral():
    dataset = points.swiss_roll(20_000)
    assert (dataset.modes, dataset.mode_std, dataset.labels) == (None, None, None)
    x, y = dataset.samples.T.astype(float) * 7.5
    radius = np.hypot(x, y)
    # on the spiral the radius is the angle, up to whole turns; across it the noise is 0.25
    turn = (radius - np.arctan2(y, x) + np.pi) % (2 * np.pi) - np.pi
    assert turn.std() == pytest.approx(0.25, rel=0.1)
    assert np.percentile(radius, 1) == pytest.approx(1.5 * np.pi, abs=0.4)
    assert np.percentile(radius, 99) == pytest.approx(4.5 * np.pi, abs=0.4)
    assert np.median(radius) == pytest.approx(3 * np.pi, abs=0.2)


@pytest.mark.parametrize("name", points.MAKERS)
def test_points_follow_from_the_seed(name):
    maker = points.MAKERS[name]
    assert maker(100).fingerprint() == maker(100, seed=0).fingerprint()
    assert maker(100, seed=1).fingerprint() != maker(100).fingerprint()
    assert np.isfinite(maker(2).samples).all()
    with pytest.raises(UsageError, match="at least 2"):
        maker(1)


@pytest.mark.parametrize("name", points.MAKERS)
def test_load_draws_100_000_and_another_set_for_the_test(name):
    train, test = data.load(name), data.load(name, split="test")
    assert train.n == test.n == 100_000
    assert (train.name, train.low, train.high) == (name, -1, 1)
    assert train.fingerprint() == points.MAKERS[name]().fingerprint()
    assert train.fingerprint() != test.fingerprint()
    assert "arXiv" in train.source
