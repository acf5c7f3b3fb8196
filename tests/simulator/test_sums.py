"""Sums of columns against float64, in the simulator: few and many columns, one slice and several, ragged."""

import numpy as np
import pytest
from simulator.sim_helpers import draw, off_by_four
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan.kernels.cuda import sums, tall
from fastgan.kernels.cuda.sums import Layout
from fastgan.kernels.cuda.tiles import WEIGHT_TILES


def close(got, exact, n):
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-7 * n + 1e-6)


@pytest.mark.parametrize("f", [1, 2, 3, 4, 5, 8, 31, 70])
@pytest.mark.parametrize("n", [2, 3, 12, 65])
def test_sums(n, f):
    x = draw(1, n, f)
    close(sums.sum_to(x, shape=(f,)), x.astype(float).sum(axis=0), n)


@pytest.mark.parametrize(("n", "f"), [(1100, 8), (1031, 7), (4200, 3), (530, 36), (8208, 1)])
def test_several_slices(n, f, launched):  # noqa: F811
    x = draw(1, n, f)
    close(sums.sum_to(x, shape=(f,)), x.astype(float).sum(axis=0), n)
    (_, (_, parts, *_)), (_, (again, out, *_)) = launched
    assert len(parts) > 1
    assert np.shares_memory(again, parts)
    assert out.size == f


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, 3, 4, 5), (5,)),
        ((2, 3, 4), (3, 4)),
        ((7, 4), (1, 4)),
        ((3, 2), ()),
        ((5, 1), (1,)),
        ((4, 3, 1), (3, 1)),
    ],
)
def test_shapes(before, after):
    x = draw(1, *before)
    out, exact = np.full(after, np.nan, np.float32), x.astype(float).reshape(-1, *after).sum(axis=0)
    assert sums.sum_to(x, shape=after, out=out) is out
    close(out, exact.reshape(after), x.size)
    np.testing.assert_array_equal(sums.sum_to(x, shape=after), out)


def test_where_an_array_starts_does_not_matter(launched):  # noqa: F811
    x = off_by_four(draw(1, 9, 8))
    close(sums.sum_to(x, shape=(8,)), x.astype(float).sum(axis=0), 9)
    assert [name for name, _ in launched] == ["slice_sums_scalar"]


def test_what_does_not_fit_is_left_to_array_code():
    x = draw(1, 3, 4, 5)
    for shape in ((3, 1, 1), (4, 1), (3, 4, 5), (1, 4, 1), (4,), (1, 3, 4, 5)):
        assert sums.sum_to(x, shape=shape) is NotImplemented
    assert sums.sum_to(x, shape=(5,), out=np.zeros(5)) is NotImplemented
    assert sums.sum_to(x, shape=(5,), out=np.zeros(4, np.float32)) is NotImplemented


@pytest.mark.parametrize("n", [2, 3, 31, 128, 6272, 100_352])
@pytest.mark.parametrize("f", [1, 3, 8, 64, 100, 1024, 131_072])
def test_a_layout_covers_all_rows_and_columns(n, f):
    layout = Layout.of(n, f)
    assert 4 * layout.width * layout.grid[0] >= f > 4 * layout.width * (layout.grid[0] - 1)
    assert layout.span * layout.slices >= n > layout.span * (layout.slices - 1)
    assert 1 <= layout.width * layout.depth <= 256
    assert layout.depth >= min(n, 32 if f > 28 else 256 // layout.width) or layout.width <= 8
    assert layout.grid[0] * layout.slices >= 100 or layout.span < 8 * layout.depth
    assert Layout.of(n, f, most=1).slices == 1


@pytest.mark.parametrize("name", WEIGHT_TILES)
@pytest.mark.parametrize(("n", "i", "o"), [(70, 4, 36), (37, 5, 3)])
def test_a_turned_product(name, n, i, o):
    a, v = draw(1, n, i), draw(2, n, o)
    out = np.full((i, o), np.nan, np.float32)
    assert tall.turned_product(name, a, v, out) is out
    close(out, a.T.astype(float) @ v, n)


@pytest.mark.parametrize(("n", "i", "o"), [(43, 4, 8), (50, 3, 5), (64, 68, 4)])
def test_a_turned_product_in_slices(n, i, o, monkeypatch, launched):  # noqa: F811
    """The last slice is shorter, and not a multiple of the tile's depth."""
    monkeypatch.setattr(tall, "LEAST", 10)
    a, v = draw(1, n, i), draw(2, n, o)
    out = np.full((i, o), np.nan, np.float32)
    close(tall.turned_product("64x64", a, v, out), a.T.astype(float) @ v, n)
    assert launched[0][1][2].shape == (n // 10, i * o)
    assert launched[1][0].startswith("slice_sums")
