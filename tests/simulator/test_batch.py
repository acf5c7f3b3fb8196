"""Batches put together by one kernel, bit by bit as array code does, and losses written to their ring."""

import numpy as np
import pytest
from simulator.sim_helpers import draw, off_by_four
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan import random
from fastgan.clock import Count
from fastgan.dispatch import use_kernels
from fastgan.gan.batches import assemble
from fastgan.gan.ring import record
from fastgan.kernels.cuda import batch

N, BATCH = 23, 5
SETTINGS = {"batch": BATCH, "seed": 2**63 + 5, "scale": 2 / 255, "offset": -1.0}
RNG = np.random.default_rng(0)
ORDER = np.stack([RNG.permutation(N) for _ in range(3)])
SAMPLINGS = [
    {"sampling": "replacement"},
    {"sampling": "sequential"},
    {"sampling": "epochs", "order": ORDER},
    {"sampling": "epochs"},  # an order that was not made: the rows' own
]
WIDTHS = [1, 3, 8, 30, 260]


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code, also where it draws numbers."""
    with use_kernels(False):
        yield


def samples(dtype, f):
    rng = np.random.default_rng(1)
    if dtype == "uint8":
        return rng.integers(0, 256, (N, f), np.uint8)
    return rng.normal(size=(N, f)).astype(np.float32)


def filled(code, parts, f, **settings):
    x = np.full((parts * settings["batch"], f), np.nan, np.float32)
    assert code(x, **settings) is None
    return x


def check(parts, f, **settings):
    """The kernel and array code fill the same bits."""
    if parts > 1:
        settings["fake"] = draw(2, settings["batch"], f)
    settings["mixed"] = parts > 2
    got, wanted = (filled(code, parts, f, **settings) for code in (batch.assemble, assemble.plain))
    assert not np.isnan(got).any()
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("f", WIDTHS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_parts(dtype, f, parts):
    check(parts, f, rows=samples(dtype, f), update=3, **SETTINGS)


@pytest.mark.parametrize("update", [0, 3, 4, 11, 2**31 - 1, 2**33 + 7])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_samplings(sampling, update):
    check(3, 4, rows=samples("uint8", 4), update=update, **SETTINGS, **sampling)


def test_unscaled_samples_stay_as_they_are():
    rows = samples("float32", 8)
    settings = SETTINGS | {"scale": 1.0, "offset": 0.0}
    x = filled(batch.assemble, 1, 8, rows=rows, update=1, sampling="sequential", **settings)
    np.testing.assert_array_equal(x, rows[BATCH : 2 * BATCH])


def test_every_row_is_a_row_of_the_data():
    """With replacement, from few: all are seen, and which is as `random.integers` says."""
    rows = np.arange(3, dtype=np.float32).reshape(3, 1)
    settings = SETTINGS | {"scale": 1.0, "offset": 0.0, "batch": 40}
    x = filled(batch.assemble, 1, 1, rows=rows, update=9, **settings)
    assert set(x[:, 0]) == {0, 1, 2}
    wanted = random.integers(40, 3, seed=SETTINGS["seed"], stream=2, step=9)
    np.testing.assert_array_equal(x[:, 0], wanted)


def test_an_order_that_is_wrong_reads_nothing_outside():
    rows, order = samples("uint8", 4), np.full((1, N), 10**12)
    order[0, :2] = -7, N
    x = filled(batch.assemble, 1, 4, rows=rows, update=0, sampling="epochs", order=order, **SETTINGS)
    scaled = rows * np.float32(2 / 255) - np.float32(1)
    np.testing.assert_array_equal(x, scaled[[0, N - 1, N - 1, N - 1, N - 1]])


@pytest.mark.parametrize("off", ["x", "rows", "fake"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_where_an_array_starts_does_not_matter(dtype, off, launched):  # noqa: F811
    rows, fake, x = samples(dtype, 8), draw(2, BATCH, 8), np.zeros((3 * BATCH, 8), np.float32)
    if dtype == "uint8" and off == "rows":
        room = np.zeros(rows.size + 1, np.uint8)
        room[1:] = rows.ravel()
        rows = room[1:].reshape(rows.shape)
    moved = {"x": x, "rows": rows, "fake": fake}
    if moved[off].dtype == np.float32:
        moved[off] = off_by_four(moved[off])
    there = moved.pop("x")
    settings = SETTINGS | {"update": 2, "mixed": True}
    batch.assemble(there, **settings, **moved)
    assemble.plain(x, **settings, rows=rows, fake=fake)
    np.testing.assert_array_equal(there, x)
    assert [name for name, _ in launched] == [f"assemble_{dtype}_scalar"]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_aligned_rows_take_wide_accesses(dtype, launched):  # noqa: F811
    for f in (8, 6):
        filled(batch.assemble, 1, f, rows=aligned(samples(dtype, f)), update=0, **SETTINGS)
    assert [name for name, _ in launched] == [f"assemble_{dtype}", f"assemble_{dtype}_scalar"]


def aligned(x):
    """A copy of x that starts on 16 bytes, as a GPU's arrays do; NumPy's own do too, by habit."""
    room = np.empty(x.nbytes + 16, np.uint8)
    start = -room.ctypes.data % 16
    copy = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_update_follows_a_clock(sampling):
    clock, rows = np.array([6]), samples("uint8", 4)
    fixed = {"rows": rows, **SETTINGS, **sampling}
    got = filled(batch.assemble, 1, 4, update=Count(clock, 5, 2, host=-9), **fixed)
    np.testing.assert_array_equal(got, filled(assemble.plain, 1, 4, update=32, **fixed))


def test_what_does_not_fit_is_left_to_array_code():
    rows, x, fake = samples("uint8", 4), np.zeros((BATCH, 4), np.float32), draw(2, BATCH, 4)
    good = {"rows": rows, "update": 1, **SETTINGS}
    double = np.zeros((2 * BATCH, 4), np.float32)

    def declines(x, **changes):
        return batch.assemble(x, **good | changes) is NotImplemented

    assert not declines(x)
    assert declines(x, rows=rows.astype(np.int64))
    assert declines(x, rows=rows.astype(np.float64))
    assert declines(x, rows=np.asfortranarray(rows))
    assert declines(x, rows=rows[:, :3].copy())
    assert declines(x, seed=2**64)
    assert declines(x, fake=fake)
    assert declines(double)
    assert declines(double, fake=fake.astype(np.float64))
    assert declines(double, fake=fake[:4])
    assert declines(x, sampling="epochs", order=ORDER.astype(np.int32))
    assert declines(x, sampling="epochs", order=ORDER[:, :9].copy())
    assert declines(np.zeros((24, 4), np.float32), batch=24, sampling="sequential")


@pytest.mark.parametrize("more", [None, np.array(0.25, np.float32)], ids=["one term", "two"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("step", [0, 4, 13, 2**33 + 1])
def test_losses_are_recorded(step, scale, more):
    losses = np.array(1.5, np.float32), np.array(-2, np.float32)
    rings = np.full((2, 5, 2), 7, np.float32)
    for ring, code in zip(rings, (batch.record, record.plain), strict=True):
        code(ring, *losses, step=step, scale=scale, more=more, advance=True)
    np.testing.assert_array_equal(*rings)


@pytest.mark.parametrize("advance", [True, False])
def test_the_clock_moves_on_when_losses_are_recorded(advance):
    clock, ring = np.array([8]), np.zeros((5, 2), np.float32)
    losses = np.array(1.5, np.float32), np.array(-2, np.float32)
    batch.record(ring, *losses, step=Count(clock, 1, 0, host=-9), advance=advance)
    assert clock.tolist() == [8 + advance]
    assert ring[3].tolist() == [-2, 1.5]
    assert np.count_nonzero(ring) == 2


def test_rings_that_do_not_fit_are_left_to_array_code():
    loss, two = np.array(1, np.float32), np.ones(2, np.float32)
    ring = np.zeros((5, 2), np.float32)
    assert batch.record(ring.ravel(), loss, loss, step=0) is NotImplemented
    assert batch.record(ring, two, loss, step=0) is NotImplemented
    assert batch.record(ring, loss, loss, step=0, more=np.array(1.0)) is NotImplemented
