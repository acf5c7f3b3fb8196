"""Max pooling's kernels against their array code, bit by bit, in the simulator: ties, NaN, gaps and overlaps."""

import numpy as np
import pytest
from simulator.sim_helpers import draw

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.kernels.cuda import pooling

# image, windows, stride: side by side with a row left over, on one another, with gaps
WINDOWS = [
    ((5, 4), (2, 2), (2, 2)),
    ((5, 6), (3, 2), (1, 2)),
    ((6, 5), (2, 3), (3, 1)),
    ((3, 4), (1, 2), (2, 3)),
]


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code throughout, also where one op calls another."""
    with use_kernels(False):
        yield


def images(size, c):
    """Few values, so that windows have their largest element several times."""
    return np.random.default_rng(0).integers(-2, 2, (3, *size, c)).astype(np.float32)


def same(code, op, *arrays, **settings):
    got, wanted = code(*arrays, **settings), op.forward.plain(*arrays, **settings)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted)
    return got


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize(("size", "window", "stride"), WINDOWS)
def test_pooling(size, window, stride, c):
    settings = {"size": window, "stride": stride}
    for x in (images(size, c), draw(1, 3, *size, c)):
        y = same(pooling.max_pool2d, ops.max_pool2d, x, **settings)
        same(pooling.max_pool2d_grad, ops.max_pool2d_grad, draw(2, *y.shape), x, **settings)
        same(pooling.max_pool2d_pick, ops.max_pool2d_pick, draw(3, *x.shape), x, **settings)


def test_nan_is_the_largest_and_takes_no_gradient():
    x, settings = images((4, 4), 2), {"size": (2, 2), "stride": (2, 2)}
    x[0, 0, 0, 1], x[1, 3, 3, 0], x[2, 0, 3, 0] = np.nan, np.nan, -np.inf
    y = same(pooling.max_pool2d, ops.max_pool2d, x, **settings)
    assert np.isnan(y).sum() == 2
    out = same(pooling.max_pool2d_grad, ops.max_pool2d_grad, draw(2, *y.shape), x, **settings)
    assert not np.isnan(out).any()
    assert (out[0, :2, :2, 1] == 0).all()
    picked = pooling.max_pool2d_pick(draw(3, *x.shape), x, **settings)
    assert np.isfinite(picked).all()


def test_grad_and_pick_are_adjoint():
    x, settings = images((5, 6), 3), {"size": (3, 2), "stride": (2, 1)}
    y = pooling.max_pool2d(x, **settings)
    g, gg = draw(1, *y.shape), draw(2, *x.shape)
    left = (pooling.max_pool2d_grad(g, x, **settings).astype(float) * gg).sum()
    assert left == pytest.approx(
        (pooling.max_pool2d_pick(gg, x, **settings).astype(float) * g).sum(), rel=1e-5
    )


def test_what_does_not_fit_is_left_to_array_code():
    x, g = draw(1, 2, 4, 3, 2), draw(2, 2, 2, 1, 2)
    settings = {"size": (2, 2), "stride": (2, 2)}
    assert pooling.max_pool2d(x[0], **settings) is NotImplemented
    assert pooling.max_pool2d(x, size=(5, 1), stride=(1, 1)) is NotImplemented
    assert pooling.max_pool2d(x, size=(2, 2), stride=(0, 1)) is NotImplemented
    assert pooling.max_pool2d_grad(g[:1], x, **settings) is NotImplemented
    assert pooling.max_pool2d_pick(g, x, **settings) is NotImplemented
