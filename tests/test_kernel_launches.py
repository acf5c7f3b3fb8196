"""CUDA kernels' host functions on the stand-in for CuPy, which computes nothing: what they launch, on which arrays they
use 16-byte accesses, and what they leave to the array code. Their numbers are the simulator's and a GPU's business.
"""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes.cuda import standing_in
from kernel_runs import Rooms, kernel, moved, names
from tables.fusables import Row, row_of, rows, rows_of
from tables.misfits import MISFITS

from fastgan.benchmarks.fake_cupy import Launches, counting, ndarray
from fastgan.kernels.cuda import building, conv, dense, loss, sums
from fastgan.kernels.cuda.sums import Layout
from fastgan.kernels.cuda.tiles import TILES, WEIGHT_TILES

CUDA = names("cupy")


@pytest.fixture(autouse=True)
def _standing_in():
    with standing_in(kernels_compute=False):
        yield


def launches(code: Any, row: Row, off: dict[Any, int] | None = None) -> tuple[Any, Launches]:
    """What a call gives and launches, with some arrays `off` elements past where 16-byte accesses fit."""
    aligned, shifted = Rooms(), Rooms(1)
    operands, settings = moved(row, lambda x: ndarray(aligned(x)))
    for key in off or ():
        if isinstance(key, int):
            operands[key] = ndarray(shifted(row.operands[key]))
        else:
            settings[key] = ndarray(shifted(row.settings[key]))
    with counting() as found, np.errstate(all="ignore"):
        result = code(*operands, **settings)
    return result, found


LAUNCHES = {  # at most, of others one: long sums go in slices, windows are copied
    **dict.fromkeys(
        ("matmul", "sum_to", "penalty", "convolve_transposed", "norm_forward", "norm_backward"), 2
    ),
    **{"convolve": 3, "convolve_weight_grad": 3},
}


@pytest.mark.parametrize("name", CUDA)
def test_a_kernel_is_few_launches_over_each_array_once(name):
    """At real sizes too, and nothing waits for the host; it leaves to the array code only what the table says."""
    for row in rows(name):
        result, found = launches(kernel(name, "cupy"), row)
        if result is NotImplemented:
            assert ("cupy" in row.left, found) == (True, []), str(row)
            continue
        returned = [x for x in (result if isinstance(result, tuple) else [result]) if x is not None]
        arrays = [x for x in (*row.operands, *row.settings.values(), *returned) if hasattr(x, "nbytes")]
        assert len(found) <= LAUNCHES.get(name, 1), str(row)
        assert found.transfers == []
        assert sum(x.written for x in found) >= sum(x.nbytes for x in returned), str(row)
        if name not in LAUNCHES:
            assert sum(x.read + x.written for x in found) <= 2 * sum(x.nbytes for x in arrays), str(row)


@pytest.mark.parametrize("row", [row for row in MISFITS if "cupy" in row.left], ids=str)
def test_misfits_are_left_to_the_array_code(row):
    operands, settings = moved(row, ndarray)
    with counting() as found:
        assert kernel(row.name, "cupy")(*operands, **settings) is NotImplemented
    assert found == []


WINDOWS = (2, 5, 4, 4, 5, 2, 2), (1, 1), (0, 0, 0, 0)
WIDE = [  # an entry, a shape that takes 16-byte accesses, the kernel, and arrays each of which alone rules them out
    ("matmul", (5, 8, 4), "linear_32x8", (0, 1)),
    ("forward", (5, 8, 4), "linear_32x8", (0, 1)),
    ("forward", (5, 8, 1), "score", (0, 1)),
    ("backward", (5, 8, 4), "backward_32x8", (0, 1, 2)),
    ("backward", (5, 8, 1), "head", (1, 2)),
    ("weight_gradients", (5, 8, 4), "backward_32x8", (0, 1)),
    ("tangent", (5, 8, 4), "linear_32x8", (0, 1)),
    ("forward_norm", (5, 8, 4), "linear_norm_32x8", (0, 1)),
    ("activation_grad", (5, 8), "mask", (0, 1)),
    ("norm_forward", (5, 8), "norm_forward", (0, 1, 2, 3, 4, "stats")),
    ("norm_backward", (5, 8), "norm_backward", (0, 1, 2, 3, "ggamma", "gbeta")),
    ("norm_forward", (600, 8), "slice_moments", (0,)),
    ("norm_backward", (600, 8), "slice_products", (0, 1, 3)),
    ("sum_to", (5, 8), "slice_sums", (0,)),
    ("convolve_weight_grad", WINDOWS, "unfold", (0,)),
    ("unfold", WINDOWS, "unfold", (0,)),
    ("fold", WINDOWS, "fold", (0,)),
    ("head_loss", (5, 8), "head_loss", (0, 1)),
    ("penalty", (5, 8), "penalty", (0, 1)),
    ("assemble", (5, 8), "assemble_uint8", (0, "rows", "fake")),
    ("assemble", (5, 30), "assemble_uint8_scalar", ()),
    ("adam_update", (32,), "adam", (0, 1, 2, 3, "average")),
    ("rmsprop_update", (32,), "rmsprop", (0, 1, 2, "average")),
    ("sgd_update", (32,), "sgd", (0, 1, 2, "average")),
    ("sgd_update", (31,), "sgd_scalar", ()),
    ("fill_normal", (8,), "normal", (0,)),
    ("fill_uniform", (8,), "uniform", (0,)),
    ("fill_uniform", (31,), "uniform_scalar", ()),
]


@pytest.mark.parametrize(("name", "shape", "wide", "arrays"), WIDE)
def test_wide_accesses_are_for_arrays_that_start_on_16_bytes(name, shape, wide, arrays):
    """The simulator reads from anywhere, a GPU does not: so the kernel's name is asked for."""
    code = kernel(name, "cupy")
    row = row_of(name, *shape, having=[k for k in arrays if isinstance(k, str)])
    assert wide in {x.name for x in launches(code, row)[1]}
    for k in arrays:
        found = {x.name for x in launches(code, row, {k: 1})[1]}
        assert f"{wide}_scalar" in found, k
        assert wide not in found, k


def test_every_kernel_with_wide_accesses_is_asked():
    """But for those that are given arrays of their host function's own making, and cuBLAS's."""

    def family(name):
        return re.sub(r"_(\d+x\d+|uint8|float32)", "", name)

    every = {kernel.name for kernel in building.kernels()}
    asked = {family(wide) for *_, wide, arrays in WIDE if arrays}
    own = {"tall", "finish"}
    assert {family(name) for name in every if f"{name}_scalar" in every} == asked | own


LIE = (1, 1), (0, 0, 0, 0)


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 2)])
def test_windows_that_lie_in_the_image_as_they_are_are_not_copied(kernel_size):
    shape = (3, 3, 2, 4, 5, *kernel_size), *LIE
    for name, more in (
        ("convolve", {}),
        ("convolve_transposed", {"slope": 1.0}),
        ("convolve_weight_grad", {}),
    ):
        row = row_of(name, *shape)
        row = replace(row, operands=row.operands[:2], settings=row.settings | more)
        assert not [x.name for x in launches(kernel(name, "cupy"), row)[1] if "fold" in x.name]
    biased = row_of("convolve_transposed", *shape, operands=3)
    assert "fold" in [x.name for x in launches(conv.convolve_transposed, biased)[1]]


def test_large_batches_go_in_pieces(monkeypatch):
    """Five samples, two at a time: the last piece is shorter."""
    monkeypatch.setattr(conv, "MOST", 2 * 9 * 12 + 3)
    shape = (5, 3, 5, 2, 3, 3, 2), (1, 2), (1, 1, 0, 1)
    for name in ("convolve", "convolve_weight_grad"):
        _, found = launches(kernel(name, "cupy"), rows_of(name, *shape)[0])
        assert [x.written for x in found if x.name == "unfold_scalar"] == [4 * n * 9 * 12 for n in (2, 2, 1)]
    monkeypatch.setattr(conv, "MOST", 9 * 12 - 1)
    assert launches(conv.convolve, rows_of("convolve", *shape)[0])[0] is NotImplemented


def test_one_block_or_two_launches(monkeypatch):
    row = rows_of("penalty", 5, 8)[0]
    for most, wanted in ((40, 1), (39, 2)):
        monkeypatch.setattr(loss, "ALONE", most)
        assert len(launches(loss.penalty, row)[1]) == wanted


@pytest.mark.parametrize(("n", "f"), [(1100, 8), (1031, 7), (4200, 3), (530, 36), (8208, 1)])
def test_long_columns_are_summed_in_slices(n, f):
    _, (first, second) = launches(sums.sum_to, rows_of("sum_to", n, f)[0])
    assert second.read == first.written > 4 * f
    assert second.written == 4 * f


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


def test_the_built_in_schedules():
    assert dense.schedule("forward", 32, 100, 1024) == "32x8"
    assert dense.schedule("forward", 64, 512, 1024) == "64x8"
    assert dense.schedule("forward", 1024, 512, 1024) == "64x64"
    assert dense.schedule("weight_gradients", 32, 784, 512) == "32x32"
    for form in ("forward", "forward_norm", "tangent", "NN"):
        assert {dense.schedule(form, n, 100, o) for n in (1, 33, 300) for o in (2, 999)} <= set(TILES)
    for form in ("backward", "weight_gradients", "NT", "TN"):
        assert {dense.schedule(form, n, 100, o) for n in (1, 33, 300) for o in (2, 999)} <= set(WEIGHT_TILES)
    assert all(65535 * tile.rows >= dense.TALLEST for tile in TILES.values())


def test_measured_schedules_come_first(monkeypatch):
    monkeypatch.setitem(dense.MEASURED, ("forward", 32, 100, 1024), "blas")
    assert dense.schedule("forward", 32, 100, 1024) == "blas"
    row = row_of("forward_norm", 5, 4, 4, having=["stats"])
    assert launches(dense.forward_norm, row)[0] is not NotImplemented
    monkeypatch.setitem(dense.MEASURED, ("forward_norm", 5, 4, 4), "apart")
    assert launches(dense.forward_norm, row)[0] is NotImplemented


@pytest.mark.parametrize(
    ("o", "name"), [(64, "64x64"), (33, "64x64"), (32, "32x32"), (17, "32x32"), (16, "32x8")]
)
def test_a_narrow_result_has_a_narrow_tile(o, name):
    """Of many rows, as an image's pixels: most of a wide tile would be computed for nothing."""
    assert dense.built_in("forward", 25_088, 576, o) == name


def test_a_weight_gradient_goes_to_its_place():
    row = rows_of("convolve_weight_grad", (2, 4, 3, 2, 4, 3, 1), *LIE)[0]
    out = ndarray(np.zeros((3, 1, 2, 4), np.float32))
    operands, settings = moved(row, ndarray)
    got = conv.convolve_weight_grad(*operands, **settings | {"out": out})
    assert np.shares_memory(got.host, out.host)
    x = ndarray(np.zeros((3, 4), np.float32))
    out = ndarray(np.zeros(4, np.float32))
    assert sums.sum_to(x, shape=(4,), out=out) is out
