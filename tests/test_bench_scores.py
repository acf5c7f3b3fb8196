"""Scores by hand, a classifier that learns, and what the judge can tell apart."""

import math
from dataclasses import replace

import numpy as np
import pytest
from bench_judge import HALF

from fastgan import data
from fastgan.benchmarks import classifier, scores
from fastgan.benchmarks.suites import quality_time
from fastgan.errors import DataError, ShapeError, UsageError
from fastgan.tape import Tensor, grad

pytestmark = pytest.mark.slow

pytest_plugins = ("bench_judge",)  # its fixtures

# --- the Frechet distance and the coverage


def exact(mean, covariance, n=400):
    """Features (n, f) with just this mean and covariance."""
    x = np.random.default_rng(0).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(np.array(covariance, float)).T + mean


def test_frechet_by_hand():
    plain = exact([0, 0], np.eye(2))
    assert scores.frechet(plain, plain) == pytest.approx(0, abs=1e-9)
    assert scores.frechet(plain, exact([3, 4], np.eye(2))) == pytest.approx(25)
    # of independent features: (mean gap)^2 + (std gap)^2 each
    assert scores.frechet(plain, exact([0, 0], np.diag([9.0, 4.0]))) == pytest.approx(2**2 + 1**2)
    assert scores.frechet(exact([1, 0], np.diag([4.0, 1.0])), exact([0, 2], np.diag([1.0, 9.0]))) == (
        pytest.approx(1 + 4 + 1 + 4)
    )


def test_frechet_of_covariances_that_do_not_commute():
    """tr (S_a S_b)^(1/2) of 2x2: the root of tr(S_a S_b) + 2 root(det S_a det S_b), Dowson and Landau 1982."""
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    between = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    wanted = np.trace(a) + np.trace(b) - 2 * between
    assert scores.frechet(exact([0, 0], a), exact([0, 0], b)) == pytest.approx(wanted)
    assert scores.frechet(exact([0, 0], b), exact([0, 0], a)) == pytest.approx(wanted)


def test_frechet_takes_features_that_never_move():
    still = np.hstack([exact([0, 0], np.eye(2)), np.zeros((400, 1))])
    assert scores.frechet(still, still + np.array([1, 0, 2])) == pytest.approx(5)


def test_frechet_needs_more_samples_than_features():
    with pytest.raises(UsageError, match="got 3 samples of 3 features, wanted at least 4"):
        scores.frechet(np.zeros((3, 3)), np.zeros((4, 3)))
    assert scores.frechet(np.zeros((4, 3)), np.zeros((4, 3))) == 0
    with pytest.raises(ShapeError, match="got 2 and 3 features"):
        scores.frechet(np.zeros((9, 2)), np.zeros((9, 3)))


def test_what_is_not_finite_is_infinitely_far():
    broken = np.zeros((9, 2))
    broken[3, 1] = np.nan
    assert scores.frechet(np.zeros((9, 2)), broken) == math.inf
    assert scores.frechet(broken, np.zeros((9, 2))) == math.inf


def test_coverage_counts_classes_with_a_tenth_of_the_fair_share():
    labels = np.repeat([0, 1, 2, 3], [500, 475, 15, 10])
    assert scores.coverage(labels, 4) == (2, 0.01)  # a tenth of a quarter of 1000 is 25
    assert scores.coverage(np.repeat([0, 1, 2, 3], [500, 450, 25, 25]), 4) == (4, 0.025)
    assert scores.coverage(np.zeros(50, np.int64), 3) == (1, 0.0)


# --- the classifier


def test_the_classifier_learns_the_digits(trained):
    assert trained.accuracy > 0.96
    assert trained.classes == 10


def test_its_accuracy_is_that_on_samples_it_has_not_seen(digits):
    """With labels by chance, those seen can be learnt by heart and the others only guessed."""
    chance = replace(digits, labels=np.random.default_rng(0).permutation(digits.labels))
    guessing = classifier.train(chance, updates=600)
    known = (guessing.labels(digits.scaled(0, 1)) == chance.labels).mean()
    assert guessing.accuracy < 0.15 < 0.25 < known


def test_a_seed_gives_one_classifier(digits):
    one, same, other = (classifier.train(digits, seed=seed, updates=20) for seed in (3, 3, 4))
    assert all(
        (a == b).all()
        for x, y in zip(one.layers, same.layers, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    assert (one.spread == same.spread).all()
    assert one.accuracy == same.accuracy
    assert (one.layers[0][0] != other.layers[0][0]).any()


def test_features_have_about_unit_variance_over_the_data(trained, images):
    found = trained.features(images)
    assert found.shape == (1797, classifier.FEATURES)
    assert found.dtype == np.float64
    assert found.std(axis=0) == pytest.approx(1, abs=0.1)


def test_images_may_be_flat_or_not(trained, images):
    assert (trained.features(images) == trained.features(images.reshape(-1, 8, 8, 1))).all()


def test_cross_entropy_is_that_of_softmax_and_does_not_overflow():
    logits = np.array([[1.0, 2.0, 0.5], [1000.0, -1000.0, 999.0]], np.float64)
    chosen = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    x = Tensor(logits, requires_grad=True)
    loss = classifier.cross_entropy(x, Tensor(chosen))
    assert loss.item() == pytest.approx(-(np.log(p[0, 1]) + np.log(p[1, 2])) / 2)
    np.testing.assert_allclose(grad(loss, x)[0].data, (p - chosen) / 2, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "no labels"),
        (np.zeros(1797, np.int64), "labels 0 to 0"),
        (np.arange(1797) % 3 * 2, "labels 0 to 4"),
    ],
)
def test_data_that_teach_no_classes_are_refused(digits, labels, reason):
    with pytest.raises(DataError, match=f"got {reason}, wanted") as error:
        classifier.train(replace(digits, labels=labels))
    assert "\n" not in str(error.value)


def test_points_are_refused():
    points = data.from_array(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2)
    with pytest.raises(DataError, match="got points, wanted images"):
        classifier.train(points)


# --- what the judge can tell apart


def test_a_generator_that_copies_reaches_the_floor(judge, images):
    copies = images[np.random.default_rng(0).integers(0, len(images), HALF)]
    score, kept = judge.score(copies)
    assert score < 1.5 * judge.floor
    assert kept == 10
    assert judge.floor * 1.5 < quality_time.GOALS["digits"].threshold < judge.floor * 4


def test_the_floor_is_of_two_halves_without_a_sample_in_both(digits, trained, judge, images):
    """Halves that overlapped would be nearer to each other than samples drawn anew can be."""
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(5):
        order = rng.permutation(len(images))
        a, b = (trained.features(images[part]) for part in (order[:HALF], order[HALF : 2 * HALF]))
        drawn.append(scores.frechet(a, b))
    assert min(drawn) * 0.7 < judge.floor < max(drawn) * 1.3
    with pytest.raises(UsageError, match="got n 899 of 1797 samples, wanted at most half"):
        scores.judge(digits, trained, 899)


def worse(images, labels):
    """By name, what a generator may do wrong."""
    rng = np.random.default_rng(0)
    few = images[rng.integers(0, len(images), HALF)]
    return {
        "noise": rng.random((HALF, 64), np.float32),
        "sparse noise": (rng.random((HALF, 64)) < 0.3).astype(np.float32),
        "pixels in disorder": rng.permuted(few, axis=1),
        "black": np.zeros((HALF, 64), np.float32),
        "one image": np.repeat(images[:1], HALF, axis=0),
        "one class": rng.choice(images[labels == 3], HALF),
        "nine classes": rng.choice(images[labels != 8], HALF),
        "two digits in one": (few + few[::-1]) / 2,
        "upside down": few[:, ::-1],
        "under noise": 0.8 * few + 0.2 * rng.random((HALF, 64), np.float32),
    }


@pytest.mark.parametrize("fault", worse(np.zeros((9, 64), np.float32), np.arange(9)))
def test_bad_generators_do_not_reach_the_threshold(judge, images, digits, fault):
    score, kept = judge.score(worse(images, digits.labels)[fault])
    threshold = quality_time.GOALS["digits"].threshold
    assert score > threshold or kept < 10
    if fault in ("one class", "one image", "black"):
        assert kept == 1
    if fault == "nine classes":
        assert kept == 9
    else:
        assert score > 4 * threshold


def test_the_judge_takes_as_many_samples_as_the_floor_is_of(judge, images):
    with pytest.raises(UsageError, match="got 5 samples, wanted 898"):
        judge.score(images[:5])


def test_samples_that_are_not_finite_are_not_good(judge, images):
    broken = images[:HALF].copy()
    broken[5, 5] = np.nan
    assert judge.score(broken) == (math.inf, 0)
