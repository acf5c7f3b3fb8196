"""Random numbers by their distributions.

Seeds are fixed, so every statistic is one number and a test passes always or never; the bounds are what a good
generator exceeds once in some thousands of seeds.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan.errors import UsageError
from fastgan.random import Stream, bits, integers, normal, permutation, uniform

Place = dict[str, Any]

PLACES: list[Place] = [
    {"seed": 0, "stream": 0, "step": 0},
    {"seed": 2**64 - 1, "stream": 5, "step": 2**32 + 7},
    {"seed": 2**33 + 1, "stream": 4 | 3 << 16, "step": 2**63 + 1},
]
AT: Place = {"seed": 42, "stream": Stream.NOISE, "step": 3}
CHANGES: list[Place] = [
    {"seed": 8},
    {"seed": 7 + 2**32},
    {"step": 2},
    {"step": 1 + 2**32},
    {"stream": 2},
    {"stream": 1 + 2**16},
    {"seed": 1, "stream": 7},
    {"step": 7, "seed": 1},
]


def distance(sample: NDArray[Any], cdf: NDArray[Any]) -> float:
    """Kolmogorov's statistic times sqrt(n); over 1.95 once in a thousand."""
    n = len(sample)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()) * math.sqrt(n))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_normals_are_normal(place: Place) -> None:
    n = 1_000_000
    x = normal((n,), **place).astype(np.float64)
    # each moment in units of its standard error: sqrt(1, 2, 15, 96) / sqrt(n)
    moments = [x.mean(), (x**2).mean() - 1, (x**3).mean(), (x**4).mean() - 3]
    errors = np.sqrt(np.array([1, 2, 15, 96]) / n)
    assert (np.abs(moments) / errors).max() < 3.5
    sample = np.sort(x[:200_000])
    assert distance(sample, np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in sample])) < 1.8
    for limit, share in ((3, 2.69980e-3), (4, 6.33425e-5)):
        count = int((np.abs(x) > limit).sum())
        assert abs(count - n * share) < 3.5 * math.sqrt(n * share)
    assert 4.5 < np.abs(x).max() < 5.8


def test_the_two_normals_of_a_block_are_independent() -> None:
    x = normal((1_000_000,), **AT).astype(np.float64).reshape(-1, 4)
    for values in (x, x**2, np.abs(x)):
        correlations = np.corrcoef(values, rowvar=False)[np.triu_indices(4, 1)]
        assert np.abs(correlations).max() < 3.5 / math.sqrt(len(x))
        assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 3.5 / math.sqrt(len(x))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_uniforms_are_uniform(place: Place) -> None:
    n = 1_000_000
    x = uniform((n,), **place).astype(np.float64)
    assert 0 <= x.min() < 1e-5
    assert 1 - 1e-5 < x.max() < 1
    assert abs(x.mean() - 0.5) < 3.5 / math.sqrt(12 * n)
    sample = np.sort(x)
    assert distance(sample, sample) < 1.8
    y = uniform((n,), -3, 5, **place)
    assert -3 <= y.min() < y.max() < 5


def test_no_two_places_share_a_word() -> None:
    base: Place = {"seed": 7, "stream": 1, "step": 1}
    places = [base | change for change in CHANGES]
    words = [bits(4000, **place) for place in [base, *places]]
    for i, a in enumerate(words):
        for b in words[:i]:
            assert not (a == b).any()
            assert len(np.intersect1d(a, b)) <= 1  # of 16 million pairs 0.004 are equal by chance
    values = [normal((100_000,), **place).astype(np.float64) for place in [base, *places]]
    correlations = np.corrcoef(values)[np.triu_indices(len(values), 1)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(100_000)


def test_streams_have_names_of_their_own() -> None:
    assert len(set(Stream)) == len(Stream) >= 7
    assert max(Stream) < 16  # the dropout layer puts its number above these bits


@pytest.mark.parametrize("high", [1, 2, 10, 1797, 60_000, 2**32])
def test_integers_stay_in_range(high: int) -> None:
    x = integers(100_000, high, **AT)
    assert x.dtype == np.int64
    assert 0 <= x.min() <= x.max() < high
    if high <= 1797:
        counts = np.bincount(x, minlength=high)
        expected = len(x) / high
        chi = ((counts - expected) ** 2 / expected).sum()
        assert chi <= (high - 1) + 3.5 * math.sqrt(2 * (high - 1))
        assert counts.min() > 0
    else:
        assert x.max() > 0.999 * high


def test_integers_have_no_modulo_bias() -> None:
    x = integers(90_000, 3 * 2**30, **AT)
    thirds = np.bincount(x // 2**30, minlength=3)  # a remainder would give the first third twice its share
    assert np.abs(thirds - 30_000).max() < 3.5 * math.sqrt(20_000)


@pytest.mark.parametrize("high", [0, -1, 2**32 + 1])
def test_integers_out_of_range_are_refused(high: int) -> None:
    with pytest.raises(UsageError, match=rf"got high {high}, wanted 1 to 2\*\*32"):
        integers(3, high, **AT)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 1797])
def test_a_permutation_is_one(n: int) -> None:
    x = permutation(n, seed=1, stream=Stream.EPOCH, step=0)
    assert np.array_equal(np.sort(x), np.arange(n))
    assert x.dtype == np.int64
    assert np.array_equal(x, permutation(n, seed=1, stream=Stream.EPOCH, step=0))
    if n == 1797:
        other = [
            permutation(n, seed=1, stream=Stream.EPOCH, step=1),
            permutation(n, seed=2, stream=Stream.EPOCH, step=0),
        ]
        assert all((x == y).sum() < 10 for y in [np.arange(n), *other])


def test_a_permutation_sorts_by_whole_words() -> None:
    words = bits(1797, seed=3, stream=Stream.EPOCH, step=4)
    assert np.array_equal(
        permutation(1797, seed=3, stream=Stream.EPOCH, step=4), np.argsort(words, kind="stable")
    )


def test_permutations_are_equally_likely() -> None:
    orders = [tuple(permutation(3, seed=0, stream=Stream.EPOCH, step=step)) for step in range(1200)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < 20.5  # chi squared, 5 degrees: once in a thousand
