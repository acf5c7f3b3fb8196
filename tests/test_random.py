"""Random numbers bit by bit: the published generator, and array code and kernels that agree."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan import random
from fastgan.device import to_host
from fastgan.dispatch import use_kernels
from fastgan.errors import UsageError
from fastgan.kernels import noise
from fastgan.random import Draws, Stream, bits, integers, normal, permutation, philox, uniform

ONES = 0xFFFFFFFF
# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, output
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
Place = dict[str, Any]

SIZES = [*range(1, 10), 1_000_003]
PLACES: list[Place] = [
    {"seed": 0, "stream": 0, "step": 0},
    {"seed": 2**64 - 1, "stream": 5, "step": 2**32 + 7},
    {"seed": 2**33 + 1, "stream": 4 | 3 << 16, "step": 2**63 + 1},
]
AT: Place = {"seed": 42, "stream": Stream.NOISE, "step": 3}


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_known_answers(counter: Any, key: Any, wanted: Any) -> None:
    assert philox(counter, key) == wanted
    c0, c1, c2, c3 = (np.full(3, c, np.uint64) for c in counter)
    arrays = philox((c0, c1, c2, c3), key)
    assert [a.tolist() for a in arrays] == [[w] * 3 for w in wanted]
    words = noise._philox(*(np.uint32(x) for x in (*counter, *key)))
    assert tuple(int(w) for w in words) == wanted


def test_a_word_is_a_function_of_seed_stream_step_and_element() -> None:
    at: Place = {
        "seed": 0xA4093822 | 0x299F31D0 << 32,
        "stream": 0x03707344,
        "step": 0x85A308D3 | 0x13198A2E << 32,
    }
    words = bits(23, **at)
    for element in (0, 5, 22):
        block = philox((element // 4, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
        assert words[element] == block[element % 4]
    assert words.dtype == np.uint32


def test_normals_are_box_mullers_of_the_words() -> None:
    words = bits(4000, **AT).astype(np.float64).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log((words[:, 0] // 256 + 1) / 2**24))
    angle = 2 * np.pi * (words[:, 1] // 256) / 2**24 - np.pi / 4
    wanted = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    np.testing.assert_allclose(normal((4000,), **AT), wanted, atol=2e-6)


def test_uniforms_are_the_words_upper_24_bits() -> None:
    words = bits(1001, **AT)
    assert np.array_equal(uniform((1001,), **AT), (words // 256) / 2**24)
    assert np.array_equal(uniform((1001,), -1, 1, **AT), (words // 256) / 2**23 - 1)


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_kernels_and_array_code_agree_in_every_bit(size: int, place: Place) -> None:
    draws: list[Callable[[], NDArray[Any]]] = [
        lambda: normal((size,), **place),
        lambda: uniform((size,), **place),
        lambda: uniform((size,), -0.3, 0.7, **place),
        lambda: uniform((size,), 2**20, 2**20 + 1, **place),  # one in 16 would round to the upper bound
    ]
    for draw in draws:
        fast = draw()
        with use_kernels(False):
            plain = draw()
        assert fast.dtype == plain.dtype == np.float32
        assert np.array_equal(fast.view(np.uint32), plain.view(np.uint32))


def test_every_corner_of_the_words_agrees_in_every_bit() -> None:
    """The logarithm's branches start at powers of two and at 1/sqrt(2), the angle's at quarter turns."""
    edges = [0, 1, 2**11, 2**12, 2**17, 2**18, 2**20, 2**21, 2**22, 2**23, int(2**24 * 0.70710677), 2**24 - 1]
    upper = sorted({min(max(e + d, 0), 2**24 - 1) for e in edges for d in range(-3, 4)})
    a, b = (
        x.ravel()
        for x in np.meshgrid(
            np.array(upper, np.uint64) << np.uint64(8), [*(np.arange(0, 2**32, 2**29)), 2**32 - 1]
        )
    )
    b = b.astype(np.uint64)
    plain = random._box_muller(np, a, b)
    fast = [noise._box_muller(np.uint32(x), np.uint32(y)) for x, y in zip(a, b, strict=True)]
    for mine, theirs in zip(zip(*fast, strict=True), plain, strict=True):
        assert np.array_equal(np.array(mine, np.float32).view(np.uint32), theirs.view(np.uint32))
    assert np.isfinite(plain).all()
    assert np.abs(plain).max() < 5.8


def test_shape_does_not_matter_and_a_longer_draw_starts_the_same() -> None:
    flat = normal((24,), **AT)
    assert np.array_equal(normal((2, 3, 4), **AT).ravel(), flat)
    assert np.array_equal(normal((1003,), **AT)[:24], flat)
    assert (normal((0, 3), **AT).shape, normal((), **AT).shape) == ((0, 3), ())


def test_filling_in_place_works_in_any_layout_and_dtype() -> None:
    wanted = normal((6, 4), **AT)
    wide = np.zeros((6, 8), np.float32)
    random.fill_normal(wide[:, ::2], **AT)
    assert np.array_equal(wide[:, ::2], wanted)
    assert not wide[:, 1::2].any()
    double = np.zeros((6, 4))
    random.fill_normal(double, **AT)
    assert np.array_equal(double, wanted)


def test_threads_share_nothing() -> None:
    wanted, got = normal((50_001,), **AT), {}

    def draw(i: int) -> None:
        got[i] = normal((50_001,), **AT)

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [np.array_equal(x, wanted) for x in got.values()] == [True] * 4


def test_the_upper_bound_of_a_uniform_is_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest word there is, in array code: kernels have the same bits."""
    full = np.full(4, ONES, np.uint64)
    monkeypatch.setattr(random, "philox", lambda counter, key: (full[:1],) * 4)
    with use_kernels(False):
        for low, high in ((0, 1), (-1, 1), (-0.3, 0.7), (10, 11), (-1e-3, 1e-3)):
            assert uniform((4,), low, high, **AT).max() < np.float32(high)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int, kernels: bool) -> None:
    at: Place = {"seed": seed, "stream": 0, "step": 0}
    draws: list[Callable[[], Any]] = [
        lambda: normal((3,), **at),
        lambda: uniform((3,), **at),
        lambda: bits(3, **at),
        lambda: integers(3, 2, **at),
        lambda: permutation(3, **at),
        lambda: Draws(seed, 0).normal((3,)),
    ]
    for draw in draws:
        with (
            use_kernels(kernels),
            pytest.raises(UsageError, match=rf"got seed {seed}, wanted 0 <= seed < 2\*\*64"),
        ):
            draw()


def test_draws_come_one_after_the_other() -> None:
    draws = Draws(5, Stream.INIT, step=2**32)
    first, second = draws.normal((3,)), draws.uniform((3,), -1, 1)
    assert np.array_equal(first, normal((3,), seed=5, stream=0, step=2**32))
    assert np.array_equal(second, uniform((3,), -1, 1, seed=5, stream=0, step=2**32 + 1))


@pytest.mark.gpu
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_cuda_has_the_same_bits(place: Place) -> None:
    for size in SIZES:
        for kernels in (True, False):
            with use_kernels(kernels):
                for draw in (normal, uniform):
                    mine, theirs = draw((size,), **place), to_host(draw((size,), **place, device="cuda"))
                    assert np.array_equal(mine.view(np.uint32), theirs.view(np.uint32))
    assert np.array_equal(to_host(permutation(1797, **place, device="cuda")), permutation(1797, **place))
