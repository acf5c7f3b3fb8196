"""Every CUDA kernel in Numba's simulator: the tiny rows of the table of fusables, and the forms that a kernel takes
only for large operands, on few numbers. What else rounding and NaN do is told
by machine code (test_cuda_compile.py).
"""

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from kernel_runs import called, faults, kernel, names, wrong
from numba import cuda, float32, uint32
from tables.fusables import TINY, Draw, row_of, rows, rows_of

from fastgan.clock import Count, Rate
from fastgan.kernels.cuda import clock, conv, dense, loss, norm, sums, update
from fastgan.kernels.cuda.launching import OUT, Kernel, Wide


@pytest.mark.parametrize("name", names("cupy"))
def test_as_accurate_as_the_array_code(name):
    each = 3 if name in ("convolve", "convolve_transposed") else 1  # made of kernels with rows of their own
    assert wrong(name, "cupy", rows(name, TINY)[::each]) == {}


class Always(dict):
    """A table of measured schedules that has one name for every shape."""

    def __init__(self, name):
        self.name = name

    def get(self, case, default=None):
        return self.name


class Blas:
    """What stands in for cuBLAS: the same signature, NumPy's product."""

    @staticmethod
    def gemm(a, b, out, ta, tb):
        np.matmul(a.T if ta else a, b.T if tb else b, out=out)


# n, i, o: beyond one tile, of several stages, not multiples of four; and for cuBLAS, what its epilogues take in turns
TILES = {
    "32x8": [(33, 12, 4), (3, 4, 132)],
    "64x8": [(65, 8, 4), (3, 68, 4), (3, 7, 5)],
    "32x32": [(33, 12, 36), (33, 36, 8), (3, 66, 4), (3, 4, 68), (3, 7, 5)],
    "64x64": [(65, 4, 36), (5, 68, 12), (5, 4, 68), (3, 36, 4), (3, 4, 18), (3, 7, 5)],
    "blas": [(5, 8, 4), (3, 7, 5), (9, 3, 130), (70, 3, 18)],
}
TILED = {
    "forward": tuple(TILES),
    "tangent": ("32x8", "32x32", "blas"),
    "forward_norm": ("64x8",),
    **dict.fromkeys(("matmul", "backward", "weight_gradients"), ("32x8", "32x32", "64x64", "blas")),
}


@pytest.mark.parametrize(("name", "tile"), [(name, tile) for name, tiles in TILED.items() for tile in tiles])
def test_tiles(name, tile, monkeypatch):
    monkeypatch.setattr(dense, "MEASURED", Always(tile))
    monkeypatch.setattr("fastgan.kernels.cuda.blas", Blas, raising=False)
    monkeypatch.setitem(sys.modules, "fastgan.kernels.cuda.blas", Blas)
    most = None if tile == "blas" else {"matmul": 3, "weight_gradients": 2}.get(name, 1)
    some = [row for shape in TILES[tile] for row in rows_of(name, *shape)[:most]]
    assert wrong(name, "cupy", some) == {}


def few_threads(patch):
    """Blocks of 64 threads, so that few rows are several turns of a block."""
    for name, make in (("HEAD_LOSS", loss._head_loss), ("PENALTY", loss._penalty)):
        few = Wide(partial(make, threads=64), getattr(loss, name).arguments, block=64, name=name)
        patch.setattr(loss, name, few)


def two_launches(patch):
    few_threads(patch)
    patch.setattr(loss, "ALONE", 0)


def two_blocks(patch):
    two_launches(patch)
    patch.setattr(loss, "blocks", lambda count, per_block: 2)


def slices(patch):
    """Of few rows, as those of images have many; and no block that owns more than 60."""
    patch.setattr(sums, "PASSES", 1)
    patch.setattr(norm, "FEW", 60)
    patch.setattr(dense, "LEAST", 10)


def pieces(patch):
    """Of two samples."""
    slices(patch)
    patch.setattr(conv, "MOST", 2 * 9 * 12 + 3)


def one_block(patch):
    patch.setattr(update, "BLOCKS", 1)


UPDATES = ("adam_update", "rmsprop_update", "sgd_update")
COLUMNS = [(71, 33), (1, 71, 1, 36), (70, 1), (90, 4)]
PIECES = [((5, 3, 5, 2, 3, 3, 2), (1, 2), (1, 1, 0, 1))]
FORMS = [
    *(
        ("penalty", form, [(1, 1), (3, 7), (9, 8), (5, 132), (2, 1030)])
        for form in (few_threads, two_launches)
    ),
    ("penalty", two_blocks, [(13, 5)]),
    ("head_loss", few_threads, [(1, 1), (1, 36), (17, 7), (33, 132)]),
    *((name, slices, COLUMNS) for name in ("norm_forward", "norm_backward", "sum_to")),
    ("sum_to", slices, [(300, 8), (130, 36), (2056, 1)]),
    ("matmul", slices, [(4, 43, 8), (3, 50, 5), (68, 64, 4)]),
    *((name, pieces, PIECES) for name in ("convolve", "convolve_transposed", "convolve_weight_grad")),
    *((name, one_block, [(2072,), (1027,)]) for name in UPDATES),
]


@pytest.mark.parametrize(("name", "form", "shapes"), FORMS)
def test_forms_of_large_operands(name, form, shapes, monkeypatch):
    form(monkeypatch)
    some = [row for shape in shapes for row in rows_of(name, *shape)]
    if name == "matmul":
        some = some[2::3]  # of which the first is turned
    assert wrong(name, "cupy", some[:12]) == {}


def same(name, row, **settings):
    """The kernel's results with a setting that the device knows are the array code's with the number."""
    got = called(lambda *xs, **given: kernel(name, "cupy")(*xs, **given | settings), row, np.copy)
    assert faults(row, got, "cupy") == []


@pytest.mark.parametrize(("times", "plus"), [(1, 0), (3, 2), (0, 4)])
@pytest.mark.parametrize(
    ("name", "setting"), [("fill_normal", "step"), ("assemble", "update"), ("adam_update", "t")]
)
def test_a_number_follows_a_clock(name, setting, times, plus):
    """What the host believes is not asked for."""
    done = 7 if name == "adam_update" else 2**31 + 5
    for row in rows_of(name, *{"assemble": (5, 8), "adam_update": (8,), "fill_normal": (5,)}[name]):
        row.settings[setting] = times * done + plus
        same(name, row, **{setting: Count(np.array([done]), times, plus, host=-9)})


@pytest.mark.parametrize("advance", [True, False])
def test_the_clock_moves_on_when_losses_are_recorded(advance):
    at, ring = np.array([8]), np.zeros((5, 2), np.float32)
    losses = np.array(1.5, np.float32), np.array(-2, np.float32)
    kernel("record", "cupy")(ring, *losses, step=Count(at, 1, 0, host=-9), advance=advance)
    assert at.tolist() == [8 + advance]
    assert ring[3].tolist() == [-2, 1.5]
    assert np.count_nonzero(ring) == 2


@pytest.mark.parametrize("name", UPDATES)
def test_the_rate_is_read_from_its_array(name):
    rate = Rate("cpu")
    rate.set(0.25)
    for given in (rate, SimpleNamespace(array=rate.array)):
        row = rows_of(name, 33)[-1]
        row.settings["lr"] = 0.25
        same(name, row, lr=given)


@pytest.mark.parametrize("a", [0, 1, 12, 2**31 - 1, 2**31, 2**31 + 1, 2**40 + 7, 2**62])
@pytest.mark.parametrize("b", [1, 2, 7, 2**31 - 1])
def test_quotients(a, b):
    assert clock.divided(np.int64(a), np.int32(b)) == divmod(a, b)


@pytest.mark.parametrize("value", [0, 5, 2**32 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_words_of_a_number(value):
    number = np.int64(clock.count(value)[2])
    assert uint32(number) | uint32(number >> 32) << 32 == value


def test_an_order_that_is_wrong_reads_nothing_outside():
    n, order = 23, np.full((1, 23), 10**12)
    pixels = np.random.default_rng(1).integers(0, 256, (n, 4), np.uint8)
    order[0, :2] = -7, n
    x = np.zeros((5, 4), np.float32)
    settings = {
        "batch": 5,
        "seed": 2**63 + 5,
        "scale": 2 / 255,
        "offset": -1.0,
        "update": 0,
        "sampling": "epochs",
    }
    kernel("assemble", "cupy")(x, rows=pixels, order=order, **settings)
    scaled = pixels * np.float32(2 / 255) - np.float32(1)
    np.testing.assert_array_equal(x, scaled[[0, n - 1, n - 1, n - 1, n - 1]])


@pytest.mark.parametrize(("barrier", "found"), [(True, 0), (False, 1)])
def test_a_barrier_that_is_missing_is_found(barrier, found):
    def turned(y):
        pool, t = cuda.shared.array(64, float32), cuda.threadIdx.x
        pool[t] = float32(t)
        if barrier:
            cuda.syncthreads()
        y[t] = pool[63 - t]

    y = np.zeros(64, np.float32)
    Kernel(turned, (OUT,), block=64)(1, y)
    assert np.isnan(y).any() == found
    assert barrier == (y.tolist() == [*range(63, -1, -1)])


def test_a_thread_that_ends_while_others_wait_is_an_error():
    def some(y):
        if cuda.threadIdx.x < 32:
            cuda.syncthreads()

    with pytest.raises(RuntimeError, match="32 threads wait"):
        Kernel(some, (OUT,), block=64)(1, np.zeros(1, np.float32))


def with_nan(name, shape, operand, at, **like):
    """What a kernel gives for a row with one number that is none."""
    row = row_of(name, *shape, **like)
    row.operands[operand][at] = np.nan
    return called(kernel(name, "cupy"), row, np.copy)


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("name", UPDATES)
def test_a_gradient_that_is_not_a_number_stays_visible(name, clip):
    row = row_of(name, 32, having=["average"])
    row.settings["clip"] = clip
    row.operands[1][3] = np.nan
    for x in called(kernel(name, "cupy"), row, np.copy):
        assert np.flatnonzero(np.isnan(x)).tolist() == [3]


def test_a_score_that_is_not_a_number_is_seen_in_the_loss():
    for row in rows_of("score_loss", 6)[:9]:
        row.operands[0][0] = np.nan
        assert np.isnan(called(kernel("score_loss", "cupy"), row, np.copy)[0])


def test_statistics_of_rows_that_differ_much():
    """The mean lies 10,000 deviations from 0, where the difference of two large sums would have no digit right."""
    row = row_of("norm_forward", 90, 4, having=["stats"])
    row.operands[0][:] += 10_000
    kernel("norm_forward", "cupy")(*row.operands, **row.settings)
    x, (mean, inverse) = row.operands[0].astype(float), row.settings["stats"]
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=3e-7)
    np.testing.assert_allclose(inverse, 1 / np.sqrt(x.var(axis=0) + 1e-3), rtol=1e-4)


def test_a_nan_stays_in_its_column():
    y, *_ = with_nan("norm_forward", (33, 9), 0, (32, 8))
    assert np.isnan(y).any(axis=0).tolist() == [False] * 8 + [True]
    assert np.isnan(y[:, 8]).all()


def test_a_nan_is_seen_where_its_window_lies():
    y, *_ = with_nan("convolve", ((1, 4, 4, 4, 4, 2, 2), (2, 2), (0, 0, 0, 0)), 0, (0, 3, 3, 2), operands=3)
    assert np.isnan(y).any(axis=3).tolist() == [[[False, False], [False, True]]]
    back = kernel("convolve_transposed", "cupy")(
        y, Draw(2)(2, 2, 4, 4), stride=(2, 2), pad=(0, 0, 0, 0), size=(4, 4)
    )
    assert np.isnan(back[0, 2:, 2:]).all()
    assert np.isnan(back).sum() == 16


def test_nan_is_the_largest_of_a_window_and_takes_no_gradient():
    for name in ("max_pool2d", "max_pool2d_grad", "max_pool2d_pick"):
        for row in rows_of(name, (3, 4, 4, 2), (2, 2), (2, 2)):
            x = row.operands[-1]
            x[0, 0, 0, 1], x[1, 3, 3, 0], x[2, 0, 3, 0] = np.nan, np.nan, -np.inf
            y, *_ = got = called(kernel(name, "cupy"), row, np.copy)
            assert name.endswith("pick") or faults(row, got, "cupy") == []
            assert np.isnan(y).sum() == (2 if name == "max_pool2d" else 0)
