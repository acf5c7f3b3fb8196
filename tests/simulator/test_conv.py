"""Convolutions' kernels against their array code, in the simulator: windows bit by bit, products within rounding."""

import numpy as np
import pytest
from simulator.sim_helpers import assert_as_good, draw, off_by_four, precise
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.kernels.cuda import conv, windows

# image, kernel, stride, pad: two axes never alike; windows apart, on one another, over every edge, rows left over
WINDOWS = [
    ((5, 6), (3, 2), (2, 1), (1, 0, 0, 1)),
    ((6, 5), (2, 4), (1, 3), (0, 2, 1, 2)),
    ((4, 7), (1, 2), (3, 3), (0, 0, 0, 0)),
    ((3, 2), (4, 5), (1, 2), (2, 1, 3, 1)),
    ((5, 4), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((3, 4), (3, 4), (1, 1), (0, 0, 0, 0)),
    ((3, 5), (3, 2), (1, 1), (0, 0, 0, 0)),
    ((2, 3), (2, 3), (1, 1), (1, 0, 0, 1)),
    ((2, 3), (3, 3), (2, 2), (1, 1, 1, 1)),
]


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code throughout, also where one op calls another."""
    with use_kernels(False):
        yield


def compare(code, op, *arrays, **settings):
    """A host function against an op's array code, and its operands left as they were."""
    copies = [x.copy() for x in arrays]
    got, plain = code(*copies, **settings), op.forward.plain
    assert got.flags.c_contiguous
    assert_as_good(got, plain(*arrays, **settings), precise(plain, *arrays, **settings))
    for before, after in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(before, after)


def outputs(size, kernel, stride, pad):
    h, w = size[0] + pad[0] + pad[1], size[1] + pad[2] + pad[3]
    return (h - kernel[0]) // stride[0] + 1, (w - kernel[1]) // stride[1] + 1


@pytest.mark.parametrize("c", [1, 3, 4, 8])
@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), WINDOWS)
def test_windows(size, kernel, stride, pad, c, launched):  # noqa: F811
    """Bit by bit: `fold` adds in the array code's order."""
    settings = {"kernel": kernel, "stride": stride, "pad": pad}
    x = draw(1, 2, *size, c)
    cols = windows.unfold(x, **settings)
    np.testing.assert_array_equal(cols, ops.unfold.forward.plain(x, **settings))
    g, settings["shape"] = draw(2, *cols.shape), x.shape
    np.testing.assert_array_equal(windows.fold(g, **settings), ops.fold.forward.plain(g, **settings))
    names = ["unfold", "fold"] if c % 4 == 0 else ["unfold_scalar", "fold_scalar"]
    assert [name for name, _ in launched] == names


def test_where_an_array_starts_does_not_matter(launched):  # noqa: F811
    settings = {"kernel": (2, 3), "stride": (1, 2), "pad": (1, 0, 0, 1)}
    x = off_by_four(draw(1, 2, 3, 4, 4))
    cols = windows.unfold(x, **settings)
    np.testing.assert_array_equal(cols, ops.unfold.forward.plain(x, **settings))
    g, b = off_by_four(draw(2, *cols.shape)), off_by_four(draw(3, 4))
    got = windows.fold(g, shape=x.shape, b=b, **settings)
    np.testing.assert_array_equal(got, ops.fold.forward.plain(g, shape=x.shape, **settings) + b)
    windows.fold(cols, shape=x.shape, b=b, **settings)
    assert [name for name, _ in launched] == ["unfold_scalar", "fold_scalar", "fold_scalar"]


@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), WINDOWS)
def test_the_three_ops(size, kernel, stride, pad):
    c, o, out = 2 + size[0] % 3, 5, outputs(size, kernel, stride, pad)
    x, w, v = draw(1, 2, *size, c), draw(2, *kernel, c, o), draw(3, 2, *out, o)
    settings = {"stride": stride, "pad": pad}
    compare(conv.convolve, ops.convolve, x, w, draw(4, o), slope=0.2, **settings)
    back = settings | {"size": size}
    compare(conv.convolve_transposed, ops.convolve_transposed, v, w, draw(5, c), slope=0.2, **back)
    compare(conv.convolve_weight_grad, ops.convolve_weight_grad, x, v, kernel=kernel, **settings)


@pytest.mark.parametrize("slope", [1.0, 0.3, 0.0])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("o", [1, 4])
def test_bias_and_slope(biased, slope, o):
    settings = {"stride": (2, 1), "pad": (1, 0, 1, 1), "slope": slope}
    x, w = draw(1, 2, 4, 3, 4), draw(2, 3, 2, 4, o)
    compare(conv.convolve, ops.convolve, x, w, *[draw(3, o)][:biased], **settings)
    v, settings["size"] = draw(1, 2, 2, 4, o), (4, 3)
    compare(conv.convolve_transposed, ops.convolve_transposed, v, w, *[draw(4, 4)][:biased], **settings)


@pytest.mark.parametrize(("kernel", "pad"), [((1, 1), (0, 0, 0, 0)), ((3, 2), (0, 0, 0, 0))])
def test_windows_that_lie_in_the_image_as_they_are_are_not_copied(kernel, pad, launched):  # noqa: F811
    settings = {"stride": (1, 1), "pad": pad}
    x, w = draw(1, 3, 3, 2, 4), draw(2, *kernel, 4, 5)
    compare(conv.convolve, ops.convolve, x, w, draw(3, 5), slope=0.2, **settings)
    v = draw(4, 3, *outputs((3, 2), kernel, (1, 1), pad), 5)
    compare(conv.convolve_transposed, ops.convolve_transposed, v, w, size=(3, 2), **settings)
    compare(conv.convolve_weight_grad, ops.convolve_weight_grad, x, v, kernel=kernel, **settings)
    assert not [name for name, _ in launched if "fold" in name]
    compare(conv.convolve_transposed, ops.convolve_transposed, v, w, draw(5, 4), size=(3, 2), **settings)
    assert "fold" in [name for name, _ in launched]


def test_large_batches_go_in_pieces(monkeypatch, launched):  # noqa: F811
    """Five samples, two at a time: the last piece is shorter."""
    settings = {"stride": (1, 2), "pad": (1, 1, 0, 1)}
    x, w, v = draw(1, 5, 3, 4, 2), draw(2, 3, 2, 2, 3), draw(3, 5, 3, 2, 3)
    monkeypatch.setattr(conv, "MOST", 2 * 6 * 12 + 3)
    compare(conv.convolve, ops.convolve, x, w, draw(4, 3), slope=0.2, **settings)
    compare(conv.convolve_transposed, ops.convolve_transposed, v, w, draw(5, 2), size=(3, 4), **settings)
    compare(conv.convolve_weight_grad, ops.convolve_weight_grad, x, v, kernel=(3, 2), **settings)
    assert [len(values[1]) for name, values in launched if name == "unfold_scalar"] == [12, 12, 6] * 2
    assert all(values[0].size <= conv.MOST for name, values in launched if "fold" in name)
    monkeypatch.setattr(conv, "MOST", 6 * 12 - 1)
    assert conv.convolve(x, w, **settings) is NotImplemented


def test_a_weight_gradient_goes_to_its_place():
    x, v, out = draw(1, 2, 4, 3, 2), draw(2, 2, 2, 3, 4), np.full((3, 1, 2, 4), np.nan, np.float32)
    settings = {"stride": (1, 1), "pad": (0, 0, 0, 0), "kernel": (3, 1)}
    got = conv.convolve_weight_grad(x, v, out=out, **settings)
    assert np.shares_memory(got, out)
    np.testing.assert_array_equal(out, conv.convolve_weight_grad(x, v, **settings))


def test_nan_stays_where_it_is_seen():
    x, w = draw(1, 1, 4, 4, 4), draw(2, 2, 2, 4, 4)
    x[0, 3, 3, 2] = np.nan
    y = conv.convolve(x, w, stride=(2, 2), pad=(0, 0, 0, 0), slope=0.2)
    assert np.isnan(y).any(axis=3).tolist() == [[[False, False], [False, True]]]
    back = conv.convolve_transposed(y, w, stride=(2, 2), pad=(0, 0, 0, 0), size=(4, 4))
    assert np.isnan(back[0, 2:, 2:]).all()
    assert np.isnan(back).sum() == 16


def test_what_does_not_fit_is_left_to_array_code():
    x, w, b, v = draw(1, 2, 4, 3, 2), draw(2, 3, 2, 2, 5), draw(3, 5), draw(4, 2, 2, 2, 5)
    settings = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
    misfits = [
        (conv.convolve, (x[0], w), {}),
        (conv.convolve, (x, w[0]), {}),
        (conv.convolve, (x[..., :1].copy(), w), {}),
        (conv.convolve, (x, w, b[:4]), {}),
        (conv.convolve, (x, w, b, b), {}),
        (conv.convolve, (x, w, b), {"slope": 1.5}),
        (conv.convolve, (x[:, :2].copy(), w), {}),
        (conv.convolve_transposed, (v, w, b), {"size": (4, 3)}),
        (conv.convolve_transposed, (x, w), {"size": (4, 3)}),
        (conv.convolve_transposed, (v, w), {"size": (5, 3)}),
        (conv.convolve_weight_grad, (x, v[:1]), {"kernel": (3, 2)}),
        (conv.convolve_weight_grad, (x, v), {"kernel": (2, 2)}),
        (conv.convolve_weight_grad, (x, v), {"kernel": (5, 2)}),
        (conv.convolve_weight_grad, (x, v), {"kernel": (3, 2), "out": b}),
    ]
    for code, operands, more in misfits:
        assert code(*operands, **settings, **more) is NotImplemented, (code, more)
    assert windows.unfold(x, kernel=(5, 1), **settings) is NotImplemented
    assert windows.fold(x[0, 0], shape=x.shape, kernel=(3, 2), **settings) is NotImplemented
