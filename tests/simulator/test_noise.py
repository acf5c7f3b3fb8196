"""Noise kernels against array code, bit by bit, in the simulator; test_cuda_rounding.py shows that nothing is fused."""

import numpy as np
import pytest
from simulator.sim_helpers import off_by_four
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan import random
from fastgan.clock import Count
from fastgan.kernels.cuda import clock, noise

SIZES = [(1,), (2,), (3,), (4,), (7, 3), (515,)]
PLACES = [
    {"seed": 0, "stream": 0, "step": 0},
    {"seed": 2**64 - 1, "stream": 5, "step": 2**32 + 7},
    {"seed": 2**33 + 1, "stream": 4 | 3 << 16, "step": 2**63 + 1},
]
RANGES = [{}, {"low": -0.3, "high": 0.7}, {"low": 2**20, "high": 2**20 + 1}]


def same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_normals(shape, place):
    got, wanted = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    assert noise.fill_normal(got, **place) is None
    random.fill_normal.plain(wanted, **place)
    same_bits(got, wanted)


@pytest.mark.parametrize("limits", RANGES, ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_uniforms(shape, limits):
    got, wanted = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    assert noise.fill_uniform(got, **PLACES[1], **limits) is None
    random.fill_uniform.plain(wanted, **PLACES[1], **limits)
    same_bits(got, wanted)


@pytest.mark.parametrize("code", [noise.fill_normal, noise.fill_uniform])
def test_where_the_array_starts_does_not_matter(code, launched):  # noqa: F811
    for size in (8, 9):
        here, there = np.zeros(size, np.float32), off_by_four(np.zeros(size, np.float32))
        code(here, **PLACES[1])
        code(there, **PLACES[1])
        same_bits(here, there)
    assert [values[5] for _, values in launched] == [1, 0, 1, 0]  # whether 16 bytes are written at once


@pytest.mark.parametrize("code", [noise.fill_normal, noise.fill_uniform])
def test_nothing_beyond_the_array_is_written(code):
    for size in (1, 2, 3, 5, 6, 7):
        room = np.full(12, 99, np.float32)
        code(room[:size], **PLACES[0])
        assert (room[size:] == 99).all()
        assert (room[:size] < 6).all()


def test_the_step_follows_a_clock():
    steps = np.array([2**31 + 5])
    for times, plus in ((1, 0), (3, 2), (0, 4)):
        got, wanted = np.zeros(5, np.float32), np.zeros(5, np.float32)
        noise.fill_normal(got, seed=3, stream=1, step=Count(steps, times, plus, host=-9))
        random.fill_normal.plain(wanted, seed=3, stream=1, step=times * int(steps[0]) + plus)
        same_bits(got, wanted)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_left_to_array_code(seed):
    for code in (noise.fill_normal, noise.fill_uniform):
        assert code(np.zeros(3, np.float32), seed=seed, stream=0, step=0) is NotImplemented


@pytest.mark.parametrize("a", [0, 1, 12, 2**31 - 1, 2**31, 2**31 + 1, 2**40 + 7, 2**62])
@pytest.mark.parametrize("b", [1, 2, 7, 2**31 - 1])
def test_quotients(a, b):
    assert clock.divided(np.int64(a), np.int32(b)) == divmod(a, b)


@pytest.mark.parametrize("value", [0, 5, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_words_of_a_number(value):
    number = np.int64(clock.count(value)[2])
    assert clock.low_word(number) | clock.high_word(number) << 32 == value
