"""Random numbers bit by bit, as published and alike in array code and kernels; and by their distributions.

Seeds are fixed, so every statistic is one number and a test passes always or never; the bounds are what a good
generator exceeds once in some thousands of seeds.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastgan import random
from fastgan.device import to_host
from fastgan.dispatch import use_kernels
from fastgan.kernels import noise
from fastgan.random import Draws, Stream, bits, integers, normal, permutation, philox, uniform

ONES = 0xFFFFFFFF
# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, output
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
SIZES = [*range(1, 10), 100_003]
PLACES = [
    {"seed": 0, "stream": 0, "step": 0},
    {"seed": 2**64 - 1, "stream": 5, "step": 2**32 + 7},
    {"seed": 2**33 + 1, "stream": 4 | 3 << 16, "step": 2**63 + 1},
]
SOMEWHERE = pytest.mark.parametrize("place", PLACES, ids=str)
AT = {"seed": 42, "stream": Stream.NOISE, "step": 3}
EPOCH = {"seed": 3, "stream": Stream.EPOCH, "step": 4}


def same_bits(x, y):
    assert x.dtype == y.dtype == np.float32
    assert np.array_equal(x.view(np.uint32), y.view(np.uint32))


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_known_answers(counter, key, wanted):
    assert philox(counter, key) == wanted
    arrays = philox(tuple(np.full(3, c, np.uint64) for c in counter), key)
    assert [a.tolist() for a in arrays] == [[w] * 3 for w in wanted]
    assert tuple(map(int, noise._philox(*(np.uint32(x) for x in (*counter, *key))))) == wanted


def test_a_word_is_a_function_of_seed_stream_step_and_element():
    seed, step = 0xA4093822 | 0x299F31D0 << 32, PI[1] | PI[2] << 32
    words = bits(23, seed=seed, stream=PI[3], step=step)
    for element in (0, 5, 22):
        assert words[element] == philox((element // 4, *PI[1:]), KNOWN[2][1])[element % 4]
    assert words.dtype == np.uint32


def test_normals_are_box_mullers_of_the_words():
    words = bits(4000, **AT).astype(np.float64).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log((words[:, 0] // 256 + 1) / 2**24))
    angle = 2 * np.pi * (words[:, 1] // 256) / 2**24 - np.pi / 4
    wanted = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    np.testing.assert_allclose(normal((4000,), **AT), wanted, atol=2e-6)


@SOMEWHERE
def test_kernels_and_array_code_agree_in_every_bit(place):
    bounds = (0, 1), (-0.3, 0.7), (2**20, 2**20 + 1)  # the last: one in 16 would round to the upper bound
    for size in SIZES:
        with use_kernels(False):
            plain = [normal((size,), **place), *(uniform((size,), *b, **place) for b in bounds)]
        fast = [normal((size,), **place), *(uniform((size,), *b, **place) for b in bounds)]
        for x, y in zip(fast, plain, strict=True):
            same_bits(x, y)


def test_every_corner_of_the_words_agrees_in_every_bit():
    """The logarithm's branches start at powers of two and at 1/sqrt(2), the angle's at quarter turns."""
    edges = [0, 1, 2**11, 2**12, 2**17, 2**18, 2**20, 2**21, 2**22, 2**23, int(2**24 * 0.70710677), 2**24 - 1]
    upper = sorted({min(max(e + d, 0), 2**24 - 1) << 8 for e in edges for d in range(-3, 4)})
    turns = [*range(0, 2**32, 2**29), 2**32 - 1]
    a, b = (x.ravel() for x in np.meshgrid(np.array(upper, np.uint64), np.array(turns, np.uint64)))
    plain = random._box_muller(np, a, b)
    fast = [noise._box_muller(np.uint32(x), np.uint32(y)) for x, y in zip(a, b, strict=True)]
    for mine, theirs in zip(zip(*fast, strict=True), plain, strict=True):
        same_bits(np.array(mine, np.float32), theirs)
    assert np.isfinite(plain).all()
    assert np.abs(plain).max() < 5.8


def test_shape_layout_and_dtype_do_not_matter_and_a_longer_draw_starts_the_same():
    flat = normal((24,), **AT)
    assert np.array_equal(normal((2, 3, 4), **AT).ravel(), flat)
    assert np.array_equal(normal((1003,), **AT)[:24], flat)
    assert (normal((0, 3), **AT).shape, normal((), **AT).shape) == ((0, 3), ())
    wide, double = np.zeros((6, 8), np.float32), np.zeros((6, 4))
    for out in (wide[:, ::2], double):
        random.fill_normal(out, **AT)
        assert np.array_equal(out.ravel(), flat)
    assert not wide[:, 1::2].any()


def test_threads_share_nothing():
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: normal((50_001,), **AT), range(4)))
    assert [np.array_equal(x, normal((50_001,), **AT)) for x in got] == [True] * 4


def test_the_upper_bound_of_a_uniform_is_never_reached(monkeypatch):
    """The largest word there is, in array code: kernels have the same bits."""
    monkeypatch.setattr(random, "philox", lambda counter, key: (np.full(1, ONES, np.uint64),) * 4)
    with use_kernels(False):
        for low, high in ((0, 1), (-1, 1), (-0.3, 0.7), (10, 11), (-1e-3, 1e-3)):
            assert uniform((4,), low, high, **AT).max() < np.float32(high)


def test_draws_come_one_after_the_other():
    draws = Draws(5, Stream.INIT, step=2**32)
    first, second = draws.normal((3,)), draws.uniform((3,), -1, 1)
    assert np.array_equal(first, normal((3,), seed=5, stream=0, step=2**32))
    assert np.array_equal(second, uniform((3,), -1, 1, seed=5, stream=0, step=2**32 + 1))


@pytest.mark.gpu
@SOMEWHERE
def test_cuda_has_the_same_bits(place):
    for size in (*SIZES, 1_000_003):
        for kernels in (True, False):
            with use_kernels(kernels):
                for draw in (normal, uniform):
                    same_bits(draw((size,), **place), to_host(draw((size,), **place, device="cuda")))
    assert np.array_equal(to_host(permutation(1797, **place, device="cuda")), permutation(1797, **place))


# Distributions


def distance(sample, cdf):
    """Kolmogorov's statistic times sqrt(n); over 1.95 once in a thousand."""
    steps = np.arange(len(sample) + 1) / len(sample)
    return max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()) * math.sqrt(len(sample))


@SOMEWHERE
def test_normals_are_normal_and_uniforms_uniform(place):
    n = 1_000_000
    x = normal((n,), **place).astype(np.float64)
    # each moment in units of its standard error: sqrt(1, 2, 15, 96) / sqrt(n)
    moments = [x.mean(), (x**2).mean() - 1, (x**3).mean(), (x**4).mean() - 3]
    assert (np.abs(moments) / np.sqrt(np.array([1, 2, 15, 96]) / n)).max() < 3.5
    sample = np.sort(x[:50_000])
    assert distance(sample, np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in sample])) < 1.8
    for limit, share in ((3, 2.69980e-3), (4, 6.33425e-5)):
        assert abs((np.abs(x) > limit).sum() - n * share) < 3.5 * math.sqrt(n * share)
    assert 4.5 < np.abs(x).max() < 5.8
    x = np.sort(uniform((n,), **place).astype(np.float64))
    assert 0 <= x[0] < 1e-5
    assert 1 - 1e-5 < x[-1] < 1
    assert abs(x.mean() - 0.5) < 3.5 / math.sqrt(12 * n)
    assert distance(x, x) < 1.8
    y = uniform((n,), -3, 5, **place)
    assert -3 <= y.min() < y.max() < 5


def test_the_two_normals_of_a_block_are_independent():
    x = normal((1_000_000,), **AT).astype(np.float64).reshape(-1, 4)
    for values in (x, x**2, np.abs(x)):
        correlations = np.corrcoef(values, rowvar=False)[np.triu_indices(4, 1)]
        assert np.abs(correlations).max() < 3.5 / math.sqrt(len(x))
        assert abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 3.5 / math.sqrt(len(x))


def test_no_two_places_share_a_word():
    base = {"seed": 7, "stream": 1, "step": 1}
    changes = [{"seed": 8}, {"seed": 7 + 2**32}, {"step": 2}, {"step": 1 + 2**32}, {"stream": 2}]
    changes += [{"stream": 1 + 2**16}, {"seed": 1, "stream": 7}, {"step": 7, "seed": 1}]
    places = [base, *(base | change for change in changes)]
    words = [bits(4000, **place) for place in places]
    for i, a in enumerate(words):
        for b in words[:i]:
            assert not (a == b).any()
            assert len(np.intersect1d(a, b)) <= 1  # of 16 million pairs 0.004 are equal by chance
    values = [normal((100_000,), **place).astype(np.float64) for place in places]
    assert np.abs(np.corrcoef(values)[np.triu_indices(len(values), 1)]).max() < 4.5 / math.sqrt(100_000)
    assert len(set(Stream)) == len(Stream) >= 7
    assert max(Stream) < 16  # the dropout layer puts its number above these bits


@pytest.mark.parametrize("high", [1, 2, 10, 1797, 60_000, 2**32])
def test_integers_stay_in_range(high):
    x = integers(100_000, high, **AT)
    assert x.dtype == np.int64
    assert 0 <= x.min() <= x.max() < high
    assert x.max() > 0.999 * (high - 1) - 1
    if high <= 1797:
        counts, expected = np.bincount(x, minlength=high), len(x) / high
        chi = ((counts - expected) ** 2 / expected).sum()
        assert chi <= (high - 1) + 3.5 * math.sqrt(2 * (high - 1))
        assert counts.min() > 0


def test_integers_have_no_modulo_bias():
    x = integers(90_000, 3 * 2**30, **AT)
    thirds = np.bincount(x // 2**30, minlength=3)  # a remainder would give the first third twice its share
    assert np.abs(thirds - 30_000).max() < 3.5 * math.sqrt(20_000)


def test_a_permutation_is_one_sorted_by_whole_words_and_all_are_equally_likely():
    for n in (0, 1, 2, 5, 100_000, 1797):
        x = permutation(n, **EPOCH)
        assert x.dtype == np.int64
        assert np.array_equal(np.sort(x), np.arange(n))
        assert np.array_equal(x, np.argsort(bits(n, **EPOCH), kind="stable"))
    others = [permutation(1797, **EPOCH | change) for change in ({"step": 5}, {"seed": 2})]
    assert all((x == y).sum() < 10 for y in (np.arange(1797), *others))
    orders = [tuple(permutation(3, seed=0, stream=Stream.EPOCH, step=step)) for step in range(1200)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < 20.5  # chi squared, 5 degrees: once in a thousand
