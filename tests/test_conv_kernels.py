"""CPU kernels of convolutions: right for every way that windows lie, whatever the pieces and the threads.

A kernel's tolerance is the array code's own error, both measured against it in float64.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import samples, tiny

import fastgan as fg
from fastgan import ops, threads
from fastgan.gan import state
from fastgan.kernels import conv, splitting, windows
from fastgan.ops.conv import out_size, same_pads

Case = tuple[Any, tuple[NDArray[Any], ...], dict[str, Any]]

KERNELS = (ops.convolve.forward, ops.convolve_transposed.forward, ops.convolve_weight_grad.forward)
FORMS = [  # n, (h, w), c, o, kernel, stride, pad
    (3, (14, 14), 4, 8, (5, 5), (2, 2), "same"),  # cut at the edges: nine blocks
    (5, (7, 7), 3, 2, (5, 5), (2, 2), "same"),
    (4, (7, 6), 3, 2, (3, 2), (2, 1), (1, 2, 0, 1)),
    (3, (4, 4), 2, 3, (4, 4), (1, 1), (3, 3, 3, 3)),
    (2, (5, 6), 3, 4, (1, 1), (1, 1), (0, 0, 0, 0)),  # the image itself
    (2, (5, 6), 3, 4, (1, 1), (2, 3), (0, 0, 0, 0)),
    (3, (8, 8), 1, 3, (2, 3), (3, 4), (0, 0, 0, 0)),  # pixels that no window sees
    (3, (2, 2), 1, 3, (5, 5), (1, 1), (4, 4, 4, 4)),
    (2, (3, 3), 2, 2, (2, 2), (1, 1), (5, 5, 5, 5)),  # windows of padding alone
    (2, (12, 12), 1, 16, (12, 12), (1, 1), "same"),  # more stretches than blocks
    (7, (9, 9), 8, 5, (3, 4), (2, 2), "same"),  # rows of taps at the border of short and long: 32 floats
    (7, (9, 9), 7, 5, (3, 4), (2, 2), "same"),
    (6, (6, 6), 16, 5, (4, 4), (1, 1), (0, 0, 0, 0)),  # and of narrow and wide: 64
    (1, (5, 5), 2, 3, (5, 5), (1, 1), (0, 0, 0, 0)),
    (2, (8, 8), 32, 2, (4, 4), (1, 1), (5, 5, 5, 5)),  # windows beside the image, in a stretch with others
    (2, (8, 8), 3, 2, (4, 4), (1, 1), (5, 5, 5, 5)),
    (2, (1, 1), 32, 2, (3, 3), (2, 2), (0, 2, 0, 2)),  # taps that no window has in the image
]


def normal(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def cases_of(form: Any) -> list[Case]:
    """The three kernels, with and without a bias and a slope."""
    n, size, c, o, kernel, stride, pad = form
    pad = same_pads(size, kernel, stride) if pad == "same" else pad
    x, w = normal(n, *size, c), normal(*kernel, c, o, seed=1)
    v = normal(n, *out_size(size, kernel, stride, pad), o, seed=2)
    lie: dict[str, Any] = {"stride": stride, "pad": pad}
    fused = {"slope": 0.2}
    forward, back, weight = KERNELS
    return [
        (forward, (x, w), lie),
        (forward, (x, w), lie | fused),
        (forward, (x, w, normal(o, seed=3)), lie | fused),
        (back, (v, w), lie | {"size": size}),
        (back, (v, w), lie | {"size": size, "slope": 0.0}),
        (back, (v, w, normal(c, seed=4)), lie | {"size": size}),
        (back, (v, w, normal(c, seed=4)), lie | {"size": size} | fused),
        (weight, (x, v), lie | {"kernel": kernel}),
    ]


CASES = [case for form in FORMS for case in cases_of(form)]
RUN = dict(zip(KERNELS, (conv.convolve, conv.convolve_transposed, conv.convolve_weight_grad), strict=True))


def case_name(case: Case) -> str:
    return f"{case[0].plain.__name__} {'x'.join(map(str, case[1][0].shape))} {case[2]}".replace(" ", "")


def assert_right(case: Case, got: NDArray[Any]) -> None:
    fusable, xs, settings = case
    plain = fusable.plain(*xs, **settings)
    exact = fusable.plain(*(x.astype(np.float64) for x in xs), **settings)
    assert (got.shape, got.dtype) == (exact.shape, np.float32)
    assert got.flags.c_contiguous
    error, usual = abs(got - exact).max(), abs(plain - exact).max()
    assert error <= 3 * usual + 3e-6 * abs(exact).max()


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize(("threads", "chunk"), [(1, 1 << 19), (2, 1 << 19), (3, 40)])
def test_as_the_array_code(case: Case, threads: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "LEAST", 0)
    monkeypatch.setattr(conv, "CHUNK", chunk)
    monkeypatch.setattr(splitting, "_own", type(splitting._own)())
    with splitting.over(threads), monkeypatch.context() as patch:
        patch.setattr(np, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))  # all of it is written
        got = [RUN[case[0]](*case[1], **case[2]) for _ in range(2)]
    assert_right(case, got[0])
    assert got[0].tobytes() == got[1].tobytes()


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


@pytest.mark.parametrize(
    ("operands", "settings"),
    [
        ([(2, 5, 5, 3), (3, 3, 2, 4)], {}),
        ([(2, 5, 5, 3), (6, 3, 3, 4)], {}),
        ([(2, 5, 5, 3), (3, 3, 3, 4), (3,)], {}),
        ([(5, 5, 3), (3, 3, 3, 4)], {}),
        ([(2, 5, 5, 3), (3, 3, 3, 4)], {"slope": 1.5}),
        ([(2, 5, 5, 3), (3, 3, 3, 4)], {"stride": (0, 1)}),
    ],
)
def test_misfits_are_left_to_the_array_code(operands: Any, settings: dict[str, Any]) -> None:
    lie: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0, 0, 0)} | settings
    assert conv.convolve(*(normal(*s) for s in operands), **lie) is NotImplemented


def test_others_decline_what_no_convolution_gives() -> None:
    lie: dict[str, Any] = {"stride": (2, 2), "pad": (0, 0, 0, 0)}
    assert (
        conv.convolve_transposed(normal(2, 3, 3, 4), normal(3, 3, 2, 4), size=(9, 9), **lie) is NotImplemented
    )
    assert (
        conv.convolve_weight_grad(normal(2, 9, 9, 4), normal(2, 3, 3, 2), kernel=(3, 3), **lie)
        is NotImplemented
    )


def test_calls_do_not_leak_into_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers are used again: a larger convolution in between changes nothing, and they stop growing."""
    monkeypatch.setattr(conv, "LEAST", 0)
    monkeypatch.setattr(splitting, "_own", type(splitting._own)())
    small, large = (cases_of(form) for form in (FORMS[1], FORMS[0]))
    with splitting.over(2):
        before = [RUN[f](*xs, **s).tobytes() for f, xs, s in small]
        sizes = []
        for _ in range(50):
            after = []
            for (f, xs, s), (g, ys, t) in zip(small, large, strict=True):
                RUN[g](*ys, **t)
                after.append(RUN[f](*xs, **s).tobytes())
            sizes.append(sum(buffer.size for buffer in vars(splitting._own).values()))
        assert after == before
    assert len(set(sizes)) == 1


def test_windows_of_a_large_batch_are_copied_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "CHUNK", 5000)
    for f, xs, s in cases_of((60, (9, 9), 8, 5, (3, 4), (2, 2), "same")):
        monkeypatch.setattr(splitting, "_own", type(splitting._own)())
        RUN[f](*xs, **s)
        # at once they would be 60 * 25 * 96
        assert sum(buffer.size for buffer in vars(splitting._own).values()) < 2 * 5000


def test_threads_get_no_less_than_is_worth_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(conv, "split", lambda work, n, *, least: asked.append(least) or work(0, n))
    monkeypatch.setattr(conv, "LEAST", 10_000)
    for form, wanted in (((7, (4, 4), 2, 3, (1, 1), (1, 1), (0,) * 4), 105), ((2, *FORMS[0][1:]), 1)):
        asked.clear()
        for f, xs, s in cases_of(form):
            RUN[f](*xs, **s)
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

    def run(seed: int) -> bytes:
        trainer = fg.Trainer(recipe, data, device="cpu", seed=seed).fit(3)
        return state.arrays(trainer)["generator.0.weight"].tobytes()

    alone = [run(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, (1, 2))) == alone
    assert splitting.edges(100) == [0, 100]
