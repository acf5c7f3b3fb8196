"""How CPU kernels of convolutions share their work: blocks of windows, pieces of samples, threads and their buffers.

Their numbers, for every way that windows lie, are test_kernels.py's.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from kernel_runs import kernel
from tables.fusables import Row, lines, rows_of
from tiny import samples, tiny

import fastgan as fg
from fastgan import threads
from fastgan.gan import state
from fastgan.kernels import conv, splitting, windows

SMALL, LARGE, BATCH = lines(
    "5x7x7x3x2x5x5 2x2 2x2x2x2, 3x14x14x4x8x5x5 2x2 1x2x1x2, 60x9x9x8x5x3x4 2x2 1x1x1x2"
)


def calls(*shape: Any) -> list[Row]:
    """All calls of the three convolutions for a shape."""
    names = "convolve", "convolve_transposed", "convolve_weight_grad"
    return [row for name in names for row in rows_of(name, *shape)]


def run(row: Row) -> bytes:
    """The bytes of a call's result."""
    y: bytes = kernel(row.name)(*row.operands, **row.settings).tobytes()
    return y


def scratch() -> int:
    """Elements of this thread's buffers."""
    return sum(buffer.size for buffer in vars(splitting._own).values())


def test_blocks_are_all_outputs_once_and_see_all_taps_that_lie_in_the_image() -> None:
    for size, k, step, before, after in product((1, 2, 7, 12), (1, 3, 5), (1, 2, 3), (0, 2, 5), (0, 1, 5)):
        plan = windows.plan_of((size, size), (k, k), (step, step), (before, after, before, after))
        if size + before + after < k:
            assert plan is None
            continue
        assert len(plan.blocks) <= windows.MOST**2
        seen = np.zeros((*plan.out, k, k), int)
        for block in plan.blocks:
            (y0, y1, a, b), (x0, x1, c, d) = block
            seen[y0:y1, x0:x1, a:b, c:d] += 1
        place = np.arange(plan.out[0])[:, None] * step + np.arange(k) - before
        inside = (place >= 0) & (place < size)
        assert (seen.max(), seen.min()) in ((1, 0), (1, 1), (0, 0))
        assert (seen >= (inside[:, None, :, None] & inside[None, :, None, :])).all()
        for row in plan.rows:
            assert inside[:, row.low].tolist() == [row.first <= y < row.last for y in range(plan.out[0])]


def test_calls_do_not_leak_into_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers are used again: a larger convolution in between changes nothing, and they stop growing."""
    monkeypatch.setattr(conv, "LEAST", 0)
    monkeypatch.setattr(splitting, "_own", type(splitting._own)())
    small, large = calls(*SMALL), calls(*LARGE)
    with splitting.over(2):
        before, sizes = [run(row) for row in small], []
        for _ in range(50):
            after = [(run(other), run(row))[1] for row, other in zip(small, large, strict=True)]
            sizes.append(scratch())
    assert after == before
    assert len(set(sizes)) == 1


def test_windows_of_a_large_batch_are_copied_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "CHUNK", 5000)
    for row in calls(*BATCH):
        monkeypatch.setattr(splitting, "_own", type(splitting._own)())
        run(row)
        assert scratch() < 2 * 5000  # at once they would be 60 * 25 * 96


def test_threads_get_no_less_than_is_worth_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(conv, "split", lambda work, n, *, least: asked.append(least) or work(0, n))
    monkeypatch.setattr(conv, "LEAST", 10_000)
    for shape, wanted in ((((7, 4, 4, 2, 3, 1, 1), (1, 1), (0,) * 4), 105), (LARGE, 1)):
        asked.clear()
        for row in calls(*shape):
            run(row)
        assert set(asked) == {wanted}  # 4 * 4 places by 6 weights, and 7 * 7 by 800


def test_pieces_are_consecutive_and_an_error_in_one_is_raised() -> None:
    for many, n, least in product((1, 2, 3), (1, 2, 5, 100), (1, 3, 1000)):
        done: list[tuple[int, int]] = []
        with splitting.over(many):
            splitting.split(lambda a, b, done=done: done.append((a, b)), n, least=least)  # type: ignore[misc]
            bounds = splitting.edges(n, least=least)
        assert sorted(done) == list(pairwise(bounds))
        assert (bounds[0], bounds[-1]) == (0, n)
        assert len(done) == max(1, min(many, n // least))

    def fails(first: int, last: int) -> None:
        if first:
            raise RuntimeError("a piece")

    with splitting.over(2), pytest.raises(RuntimeError, match="a piece"):
        splitting.split(fails, 2)


def test_numpy_s_error_state_holds_in_every_piece() -> None:
    def overflow(first: int, last: int) -> None:
        np.float32(3e38) * np.float32(first + 10)

    with splitting.over(2), np.errstate(over="raise"), pytest.raises(FloatingPointError):
        splitting.split(overflow, 2)
    with splitting.over(2), np.errstate(over="ignore"):
        splitting.split(overflow, 2)


def test_off_again_after_the_block() -> None:
    with splitting.over(3):
        assert len(splitting.edges(100)) == 4
    assert splitting.edges(100) == [0, 100]


def test_two_runs_in_two_threads_are_each_what_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a pool of its own, and none is left when both are done."""
    monkeypatch.setattr(conv, "LEAST", 0)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    recipe = tiny("igul-mnist-dcgan")
    data = samples(recipe)

    def trained(seed: int) -> bytes:
        trainer = fg.Trainer(recipe, data, device="cpu", seed=seed).fit(3)
        return state.arrays(trainer)["generator.0.weight"].tobytes()

    alone = [trained(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(trained, (1, 2))) == alone
    assert splitting.edges(100) == [0, 100]
