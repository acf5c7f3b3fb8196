"""The dense kernels against their array code, in the simulator: every tile, ragged shapes, both widths of access."""

import numpy as np
import pytest
from simulator.sim_helpers import assert_as_good, draw, flat_views, off_by_four, precise

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.kernels.cuda import dense, epilogues, narrow, products, tall
from fastgan.kernels.cuda.tiles import TILES, WEIGHT_TILES
from fastgan.ops.dense import linear_backward, tangent
from fastgan.ops.norm import forward_norm

PASSES = {
    "forward": ops.linear.forward,
    "backward": linear_backward,
    "activation_grad": ops.activation_grad.forward,
}
ACTS = [("leaky", 0.2), ("leaky", 0.0), ("leaky", 1.0), ("tanh", 1.0), ("sigmoid", 1.0), ("arctan", 1.0)]
# n, i, o: beyond one tile both ways, then not multiples of four
FORWARD = [
    ("32x8", (33, 8, 12)),
    ("64x8", (65, 8, 4)),
    ("32x32", (33, 12, 36)),
    ("64x64", (65, 4, 36)),
    *((name, (5, 7, 3)) for name in TILES),
]
BACKWARD = [
    ("32x8", (33, 12, 4)),
    ("32x8", (5, 36, 36)),
    ("32x32", (33, 36, 8)),
    ("64x64", (5, 68, 12)),
    *((name, (3, 7, 5)) for name in WEIGHT_TILES),
]


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code throughout, also where one pass calls another."""
    with use_kernels(False):
        yield


@pytest.fixture
def tile(monkeypatch):
    """Make every schedule a given name."""

    def choose(name):
        monkeypatch.setattr(dense, "schedule", lambda *shape: name)

    return choose


def compare(call, name, *arrays, **settings):
    """A host function that returns one array, against the pass of the same name."""
    plain = PASSES[name].plain
    operands = [x.copy() for x in arrays]
    got = call(*operands, **settings)
    assert_as_good(got, plain(*arrays, **settings), precise(plain, *arrays, **settings))
    for before, after in zip(arrays, operands, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("name", "shape"), FORWARD)
def test_forward(tile, name, shape):
    n, i, o = shape
    tile(name)
    compare(dense.forward, "forward", draw(1, n, i), draw(2, i, o), draw(3, o), slope=0.2)


@pytest.mark.parametrize(("name", "i"), [("32x8", 132), ("64x8", 68), ("32x32", 66), ("64x64", 36)])
def test_forward_of_several_stages(tile, name, i):
    tile(name)
    compare(dense.forward, "forward", draw(1, 3, i), draw(2, i, 4), draw(3, 4), slope=0.2)


@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("o", [4, 1])
def test_activations(act, slope, o):
    compare(dense.forward, "forward", draw(1, 3, 8), draw(2, 8, o), draw(3, o), act=act, slope=slope)


@pytest.mark.parametrize("o", [4, 1])
def test_sigmoid_of_large_numbers_does_not_overflow(o):
    x, w, b = (
        np.array([[-200.0], [0], [200]], np.float32),
        np.ones((1, o), np.float32),
        np.zeros(o, np.float32),
    )
    np.testing.assert_allclose(dense.forward(x, w, b, act="sigmoid")[:, 0], [0, 0.5, 1], atol=1e-30)


def test_names_of_the_op():
    x, w, b = draw(1, 3, 8), draw(2, 8, 4), draw(3, 4)
    np.testing.assert_array_equal(dense.linear(x, w, b), dense.forward(x, w, b))
    np.testing.assert_array_equal(dense.linear_leaky_relu(x, w, b), dense.forward(x, w, b, slope=0.2))


@pytest.mark.parametrize(("n", "i"), [(5, 8), (9, 140), (3, 7), (1, 1)])
def test_one_output(n, i):
    compare(dense.forward, "forward", draw(1, n, i), draw(2, i, 1), draw(3, 1), slope=0.2)


def test_unaligned_operands_take_single_accesses():
    x, w, b = off_by_four(draw(1, 5, 8)), off_by_four(draw(2, 8, 4)), draw(3, 4)
    plain = ops.linear.forward.plain(x, w, b)
    assert_as_good(dense.forward(x, w, b), plain, precise(ops.linear.forward.plain, x, w, b))


@pytest.mark.parametrize("shape", [(4, 8), (3, 5)])
def test_activation_grad(shape):
    g, y = draw(1, *shape), draw(2, *shape)
    y[0, 0] = 0
    np.testing.assert_array_equal(
        dense.activation_grad(g, y, slope=0.2), np.where(y > 0, g, g * np.float32(0.2))
    )


@pytest.mark.parametrize(("name", "shape"), [("32x8", (33, 4, 4)), ("32x32", (5, 7, 3))])
def test_tangent(tile, name, shape):
    n, i, o = shape
    tile(name)
    p, w, a = draw(1, n, i), draw(2, i, o), draw(3, n, o)
    got, plain, exact = a.copy(), a.copy(), a.astype(np.float64)
    assert dense.tangent(p, w, got, slope=0.3) is None
    tangent.plain(p, w, plain, slope=0.3)
    tangent.plain(p.astype(float), w.astype(float), exact, slope=0.3)
    assert_as_good(got, plain, exact)


def run_backward(call, v, a, w, dtype, parts, **settings):
    """(dx, gw, gb, the buffer around gw and gb) of one backward pass; `parts` names what is wanted."""
    (gw, gb), flat = flat_views((a.shape[1], v.shape[1]), (v.shape[1],))
    if dtype is not np.float32:
        gw, gb = np.empty(gw.shape), np.empty(gb.shape)
    v, a, w = (x.astype(dtype) for x in (v, a, w))
    grads = {"gw": gw, "gb": gb} if "weights" in parts else {}
    dx = call(v, a, w, dx="dx" in parts, **grads, **settings)
    return dx, gw, gb, flat


def check_backward(shape, parts=("dx", "weights"), **settings):
    n, i, o = shape
    v, a, w = draw(1, n, o), draw(2, n, i), draw(3, i, o)
    got, plain, exact = (
        run_backward(call, v, a, w, dtype, parts, **settings)
        for call, dtype in (
            (dense.backward, np.float32),
            (linear_backward.plain, np.float32),
            (linear_backward.plain, np.float64),
        )
    )
    assert (got[0] is None) == ("dx" not in parts)
    for k in range(3):
        if (k == 0) == ("dx" in parts) and (k == 0 or "weights" in parts):
            assert_as_good(got[k], plain[k], exact[k])
    np.testing.assert_array_equal(np.isnan(got[3]), np.isnan(plain[3]))  # nothing beside gw and gb is written


@pytest.mark.parametrize(("name", "shape"), BACKWARD)
def test_backward(tile, name, shape):
    tile(name)
    check_backward(shape, slope=0.2)


@pytest.mark.parametrize(("name", "o"), [("32x8", 132), ("32x32", 68), ("64x64", 18)])
def test_backward_of_several_stages(tile, name, o):
    tile(name)
    check_backward((3, 4, o), slope=0.2)


@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("o", [4, 1])
def test_derivatives_of_activations(act, slope, o):
    check_backward((5, 8, o), act=act, slope=slope)


@pytest.mark.parametrize("parts", [("dx",), ("weights",), ()])
@pytest.mark.parametrize("o", [4, 1])
def test_parts_of_backward(parts, o):
    check_backward((5, 8, o), parts, slope=0.2)


@pytest.mark.parametrize(("n", "i"), [(5, 8), (67, 20), (3, 7), (1, 1)])
def test_backward_of_one_output(n, i):
    check_backward((n, i, 1), slope=0.2)


@pytest.mark.parametrize(("name", "rows"), [("32x32", 0), ("32x32", 3), ("64x64", 33), ("64x64", 37)])
def test_weight_gradients(tile, name, rows):
    tile(name)
    check_weight_gradients(37, 4, 12, rows)


@pytest.mark.parametrize("rows", [0, 3, 5])
def test_weight_gradients_of_one_output(rows):
    check_weight_gradients(5, 8, 1, rows)


def check_weight_gradients(n, i, o, rows):
    a, v = draw(1, n, i), draw(2, n, o)
    (gw, gb), _ = flat_views((i, o), (o,))
    assert dense.weight_gradients(a, v, gw=gw, gb=gb, rows=rows) is None
    assert_as_good(gw, a.T @ v, a.T.astype(float) @ v.astype(float))
    assert_as_good(gb, v[:rows].sum(axis=0), v[:rows].astype(float).sum(axis=0))


def run_forward_norm(call, dtype, shape, training, **settings):
    n, i, o = shape
    x, w, b = (y.astype(dtype) for y in (draw(1, n, i), draw(2, i, o), draw(3, o)))
    gamma, beta, mean, variance = (draw(k, o).astype(dtype) for k in (4, 5, 6, 7))
    variance, stats = abs(variance), np.full((2, o), 9, dtype)
    keep = {"stats": stats, "momentum": 0.1, "widening": 1.25} if training else {}
    h, y = call(
        x, w, b, gamma, beta, mean, variance, slope=0.2, eps=1e-3, training=training, **keep, **settings
    )
    return h, y, mean, variance, stats


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 8, 12), (32, 3, 3), (33, 8, 4), (64, 3, 3)])
def test_forward_norm(shape, training):
    got, plain, exact = (
        run_forward_norm(call, dtype, shape, training)
        for call, dtype in (
            (dense.forward_norm, np.float32),
            (forward_norm.plain, np.float32),
            (forward_norm.plain, np.float64),
        )
    )
    for mine, theirs, true in zip(got, plain, exact, strict=True):
        assert_as_good(mine, theirs, true)


def test_inference_of_many_rows():
    got, plain, exact = (
        run_forward_norm(call, dtype, (70, 4, 4), False)
        for call, dtype in (
            (dense.forward_norm, np.float32),
            (forward_norm.plain, np.float32),
            (forward_norm.plain, np.float64),
        )
    )
    assert_as_good(got[1], plain[1], exact[1])


def test_variance_of_rows_far_from_zero():
    x = (1000 + draw(1, 32, 1)).astype(np.float32)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    stats = np.empty((2, 1), np.float32)
    dense.forward_norm(
        x, one[None], zero, one, zero, zero.copy(), one.copy(), eps=1e-5, momentum=0.1, stats=stats
    )
    exact = 1 / np.sqrt(x.astype(float).var() + 1e-5)
    assert abs(stats[1, 0] / exact - 1) < 1e-3  # E[x^2] - E[x]^2 has no digit of it


def test_fused_norm_declines_what_a_block_cannot_own():
    def call(n, stats):
        return dense.forward_norm(
            draw(1, n, 4), draw(2, 4, 4), *[draw(3, 4)] * 5, eps=1e-5, momentum=0.1, stats=stats
        )

    assert call(65, np.empty((2, 4), np.float32)) is NotImplemented
    assert call(5, None) is NotImplemented


@pytest.mark.parametrize(
    ("name", "shape"), [("32x8", (5, 8, 12)), ("32x32", (33, 7, 3)), ("64x64", (5, 4, 68))]
)
@pytest.mark.parametrize("form", ["NN", "NT", "TN"])
def test_matmul(tile, name, shape, form):
    n, i, o = shape
    tile(name)
    x = draw(1, i, n).T if form == "TN" else draw(1, n, i)
    w = draw(2, o, i).T if form == "NT" else draw(2, i, o)
    assert_as_good(dense.matmul(x, w), x @ w, x.astype(float) @ w.astype(float))


def test_matmul_declines_other_layouts():
    assert dense.matmul(draw(1, 8, 8)[::2, ::2], draw(2, 4, 4)) is NotImplemented
    assert dense.matmul(draw(1, 8, 4).T, draw(2, 4, 8).T) is NotImplemented
    assert dense.matmul(draw(1, 8, 4).astype(float), draw(2, 4, 8)) is NotImplemented


def test_shapes_that_do_not_fit_are_declined():
    x, w, b = draw(1, 3, 8), draw(2, 8, 4), draw(3, 4)
    assert dense.forward(x, w[:7], b) is NotImplemented
    assert dense.forward(x, w, b[:3]) is NotImplemented
    assert dense.forward(x, w, b, slope=1.5) is NotImplemented
    assert dense.tangent(x, w, draw(4, 3, 5), slope=0.2) is NotImplemented
    assert dense.backward(draw(4, 2, 4), x, w) is NotImplemented


def test_more_rows_than_a_grid_has_are_declined():
    """Its second axis has at most 65535 blocks."""
    x, w = np.empty((dense.TALLEST + 1, 1), np.float32), draw(2, 1, 2)
    assert all(65535 * tile.rows >= dense.TALLEST for tile in dense.TILES.values())
    assert dense.forward(x, w, draw(3, 2)) is NotImplemented
    assert (
        dense.forward_norm(x, w, *(draw(3, 2) for _ in range(5)), eps=1e-5, training=False) is NotImplemented
    )
    assert dense.tangent(x, w, np.empty((len(x), 2), np.float32), slope=0.2) is NotImplemented
    assert dense.matmul(x, w) is NotImplemented
    assert dense.activation_grad(x, w, slope=0.2) is NotImplemented


class Blas:
    """What stands in for cuBLAS: the same signature, NumPy's product."""

    @staticmethod
    def gemm(a, b, out, ta, tb):
        np.matmul(a.T if ta else a, b.T if tb else b, out=out)


@pytest.fixture
def blas(monkeypatch, tile):
    tile("blas")
    monkeypatch.setattr("fastgan.kernels.cuda.blas", Blas, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "fastgan.kernels.cuda.blas", Blas)


@pytest.mark.parametrize("shape", [(5, 8, 4), (3, 7, 5)])
def test_blas_and_what_follows(blas, shape):
    n, i, o = shape
    compare(dense.forward, "forward", draw(1, n, i), draw(2, i, o), draw(3, o), slope=0.2)
    compare(dense.forward, "forward", draw(1, n, i), draw(2, i, o), draw(3, o), act="sigmoid")
    check_backward(shape, slope=0.2)
    check_backward(shape)
    check_weight_gradients(*shape, 3)
    test_tangent(lambda name: None, "blas", shape)
    for form in ("NN", "NT", "TN"):
        test_matmul(lambda name: None, "blas", shape, form)


@pytest.mark.parametrize("o", [130, 132])
def test_bias_and_activation_of_wide_rows(blas, o):
    compare(dense.forward, "forward", draw(1, 9, 3), draw(2, 3, o), draw(3, o), slope=0.2)


def test_column_sums_of_wide_rows(blas):
    check_weight_gradients(70, 3, 18, 67)


def test_schedule():
    assert dense.schedule("forward", 32, 100, 1024) == "32x8"
    assert dense.schedule("forward", 64, 512, 1024) == "64x8"
    assert dense.schedule("forward", 1024, 512, 1024) == "64x64"
    assert dense.schedule("weight_gradients", 32, 784, 512) == "32x32"
    for form in ("forward", "forward_norm", "tangent", "NN"):
        assert {dense.schedule(form, n, 100, o) for n in (1, 33, 300) for o in (2, 999)} <= set(TILES)
    for form in ("backward", "weight_gradients", "NT", "TN"):
        assert {dense.schedule(form, n, 100, o) for n in (1, 33, 300) for o in (2, 999)} <= set(WEIGHT_TILES)


def test_measured_schedules_come_first(monkeypatch):
    monkeypatch.setitem(dense.MEASURED, ("forward", 32, 100, 1024), "blas")
    assert dense.schedule("forward", 32, 100, 1024) == "blas"
    monkeypatch.setitem(dense.MEASURED, ("forward_norm", 5, 4, 4), "apart")
    stats = np.empty((2, 4), np.float32)
    assert (
        dense.forward_norm(draw(1, 5, 4), draw(2, 4, 4), *[draw(3, 4)] * 5, eps=1e-5, stats=stats)
        is NotImplemented
    )


@pytest.mark.parametrize(
    ("o", "name"), [(64, "64x64"), (33, "64x64"), (32, "32x32"), (17, "32x32"), (16, "32x8")]
)
def test_a_narrow_result_has_a_narrow_tile(o, name):
    """Of many rows, as an image's pixels: most of a wide tile would be computed for nothing."""
    assert dense.built_in("forward", 25_088, 576, o) == name


def test_kernels_have_names_of_their_own():
    assert len({kernel.name for kernel in dense.KERNELS}) == len(dense.KERNELS)
    assert {*products.KERNELS, *narrow.KERNELS, *tall.KERNELS} == set(dense.KERNELS)
    assert set(epilogues.ACTS) == {act for act, _ in ACTS}
