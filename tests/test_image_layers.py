"""Pooling and changes of size against PyTorch to second derivatives, and the wrong use of all layers for images."""

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from numpy.typing import NDArray
from torch_oracle import both, channels_first, normal, same_as_torch, torch

from fastgan import nn, ops
from fastgan.dispatch import use_kernels
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.nn import Conv2d, ConvTranspose2d, Module
from fastgan.tape import Tensor, grad

F = torch.nn.functional

# input, size, stride
POOLS: list[tuple[tuple[int, ...], Any, Any]] = [
    ((2, 4, 6, 3), 2, None),
    ((2, 24, 24, 4), 2, None),  # cs231n's
    ((2, 5, 7, 3), 2, None),  # a row and a column left out
    ((2, 6, 6, 2), (3, 2), None),
    ((2, 6, 7, 2), 3, 1),
    ((2, 7, 7, 2), 3, 2),
    ((1, 9, 8, 2), (2, 3), (4, 5)),  # gaps between windows
    ((3, 4, 5, 1), (4, 5), None),
    ((2, 3, 3, 2), 1, None),
    ((2, 5, 6, 2), (1, 3), (2, 1)),
]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS, ids=str)
def test_max_pooling_is_pytorchs(shape: tuple[int, ...], size: Any, stride: Any, ties: bool) -> None:
    """With ties the first largest element of a window gets the gradient."""
    x = np.random.default_rng(0).integers(1, 4, shape).astype(np.float64) if ties else normal(shape)[0]
    theirs = channels_first(lambda x: F.max_pool2d(x, both(size), stride and both(stride)))
    same_as_torch(nn.MaxPool2d(size, stride), theirs, [x])


@pytest.mark.parametrize(("shape", "size", "stride"), POOLS, ids=str)
def test_average_pooling_is_pytorchs(shape: tuple[int, ...], size: Any, stride: Any) -> None:
    theirs = channels_first(lambda x: F.avg_pool2d(x, both(size), stride and both(stride)))
    same_as_torch(nn.AvgPool2d(size, stride), theirs, normal(shape))


def test_where_the_largest_are_equal_the_first_row_by_row_gets_the_gradient() -> None:
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 1, 0], x[0, 0, 3], x[0, 3, 2:] = 1, 2, 3
    x[0, 1, 2] = 2
    image = Tensor(x, requires_grad=True)
    (g,) = grad(ops.max_pool2d(image, size=(2, 2), stride=(2, 2)).sum(), [image])
    assert g.data[0, :, :, 0].tolist() == [[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("kernels", [True, False])
def test_a_window_with_a_nan_gives_nan_and_has_no_largest_element(kernels: bool) -> None:
    x: NDArray[Any] = np.ones((1, 4, 2, 1), np.float32)
    x[0, 1, 0] = np.nan
    pair = {"size": (2, 2), "stride": (2, 2)}
    with use_kernels(kernels):
        y = ops.max_pool2d(x, **pair).data.ravel()
        g = ops.max_pool2d_grad(np.ones((1, 2, 1, 1), np.float32), x, **pair).data.ravel()
        picked = ops.max_pool2d_pick(np.full_like(x, 7), x, **pair).data.ravel()
    np.testing.assert_array_equal(y, [np.nan, 1])
    assert (g.tolist(), picked.tolist()) == ([0, 0, 0, 0, 1, 0, 0, 0], [0, 7])


SIZES = [(1, 1, 1, 1), (2, 3, 4, 1), (1, 7, 7, 3), (3, 2, 5, 2), (2, 1, 6, 4)]


@pytest.mark.parametrize("factor", [2, (1, 3)], ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_upsampling_is_pytorchs(shape: tuple[int, ...], factor: Any) -> None:
    theirs = channels_first(lambda x: F.interpolate(x, scale_factor=both(factor), mode="nearest"))
    same_as_torch(nn.Upsample2d(factor), theirs, normal(shape))


@pytest.mark.parametrize("value", [0.0, -1.0])
@pytest.mark.parametrize(
    ("pads", "around"), [(2, (2, 2, 2, 2)), ((1, 0), (0, 0, 1, 1)), ((0, 1, 2, 3), (2, 3, 0, 1))], ids=str
)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_padding_is_pytorchs(shape: tuple[int, ...], pads: Any, around: Any, value: float) -> None:
    theirs = channels_first(lambda x: F.pad(x, around, value=value))
    same_as_torch(nn.Pad2d(pads, value), theirs, normal(shape))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 8, 8, 3), (7, 7)), ((2, 8, 8, 3), (8, 8)), ((1, 3, 5, 2), (1, 4)), ((3, 2, 2, 1), (2, 1))],
    ids=str,
)
def test_a_crop_keeps_the_top_left(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    same_as_torch(nn.Crop2d(*size), lambda x: x[:, : size[0], : size[1]], normal(shape))


def test_samples_change_shape_one_by_one() -> None:
    same_as_torch(nn.Reshape(2, 3, 4), lambda x: x.unflatten(1, (2, 3, 4)), normal((5, 24)))
    same_as_torch(nn.Flatten(), lambda x: x.flatten(1), normal((5, 2, 3, 4)))
    same_as_torch(nn.Mean(), lambda x: x.flatten(1).mean(1, keepdim=True), normal((5, 2, 3, 4)))
    same_as_torch(nn.Mean(), lambda x: x, normal((5, 1)))
    empty = Tensor(np.zeros((0, 24), np.float32))
    assert nn.Flatten()(nn.Reshape(2, 3, 4)(empty)).shape == (0, 24)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(2, 3, 3, stride=2, padding="same"),
        ConvTranspose2d(2, 3, 4, stride=2, padding=1),
        nn.MaxPool2d(3, 2),
        nn.AvgPool2d(2),
        nn.Upsample2d(2),
        nn.Pad2d(1, -1.0),
        nn.Crop2d(4, 3),
        nn.Mean(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_gradients_are_finite_differences(layer: Module, order: int) -> None:
    for p in layer.parameters():
        p.data = p.data.astype(np.float64)
    check_gradient(layer, normal((2, 5, 6, 2)), order=order)


def test_crops_and_gradients_of_padding_are_whole_arrays() -> None:
    """A kernel takes nothing else: a view would leave what follows to array code."""
    x = Tensor(np.zeros((2, 8, 8, 3), np.float32), requires_grad=True)
    (g,) = grad(nn.Pad2d(1)(x).sum(), [x])
    pooled = nn.MaxPool2d(2)(x)
    assert all(y.data.flags.c_contiguous for y in (nn.Crop2d(7, 7)(x), g, pooled))


def image(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


WRONG: list[tuple[Any, type[FastganError], str]] = [
    (lambda: Conv2d(3, 4, 5)(image(2, 4, 9, 3)), ShapeError, "kernel of 5x5 for an input of 4x9"),
    (lambda: Conv2d(3, 4, 3)(image(2, 5, 5, 2)), ShapeError, r"convolve: got shapes \(2, 5, 5, 2\)"),
    (lambda: Conv2d(3, 4, 3)(image(2, 75)), ShapeError, r"conv2d: got x \(2, 75\)"),
    (lambda: Conv2d(3, 4, 3, stride=0), UsageError, "got stride 0"),
    (lambda: Conv2d(3, 4, 3, stride=(1, 0)), UsageError, r"got stride \(1, 0\)"),
    (lambda: Conv2d(3, 4, 0), UsageError, "got kernel 0"),
    (lambda: Conv2d(3, 4, (1, 2, 3)), UsageError, r"got kernel \(1, 2, 3\)"),
    (lambda: Conv2d(0, 4, 3), ShapeError, r"Conv2d: got a weight of shape \(3, 3, 0, 4\)"),
    (lambda: Conv2d(3, 4, 3, padding=-1), UsageError, "got padding -1"),
    (lambda: Conv2d(3, 4, 3, padding="valid"), UsageError, "got padding 'valid'"),
    (lambda: Conv2d(3, 4, 3, init="he"), UsageError, "got initializer 'he'"),
    (lambda: ConvTranspose2d(3, 4, 3)(image(2, 5, 5, 4)), ShapeError, "convolve_transposed: got shapes"),
    (lambda: ConvTranspose2d(3, 4, 3, stride=0), UsageError, "got stride 0"),
    (lambda: ConvTranspose2d(3, 0, 3), ShapeError, r"ConvTranspose2d: got a weight of shape \(3, 3, 0, 3\)"),
    (
        lambda: ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)(image(2, 5, 5, 3)),
        ShapeError,
        "output_padding",
    ),
    (lambda: ConvTranspose2d(3, 4, 2, padding=2)(image(2, 2, 2, 3)), ShapeError, "wanted less padding"),
    (lambda: nn.MaxPool2d(3)(image(2, 2, 5, 1)), ShapeError, "max_pool2d: got x .* windows of 3x3"),
    (lambda: nn.MaxPool2d(2)(image(2, 5)), ShapeError, "max_pool2d: got x"),
    (lambda: nn.MaxPool2d(0), UsageError, "got size 0"),
    (lambda: nn.MaxPool2d(2, 0), UsageError, "got stride 0"),
    (lambda: ops.max_pool2d(image(2, 4, 4, 1), size=(2, 2), stride=(0, 1)), UsageError, "max_pool2d: got"),
    (lambda: nn.AvgPool2d(3)(image(2, 2, 5, 1)), ShapeError, "avg_pool2d: got x .* windows of 3x3"),
    (lambda: nn.AvgPool2d(2)(image(2, 5)), ShapeError, "avg_pool2d: got x"),
    (lambda: nn.Upsample2d(0), UsageError, "got factor 0"),
    (lambda: nn.Upsample2d(2)(image(2, 5)), ShapeError, "upsample2d: got x"),
    (lambda: nn.Pad2d(-1), UsageError, "got padding -1"),
    (lambda: nn.Pad2d("same"), UsageError, "got padding 'same'"),
    (lambda: nn.Pad2d(1)(image(2, 5)), ShapeError, "pad2d: got x"),
    (lambda: nn.Crop2d(7, 7)(image(2, 8, 6, 1)), ShapeError, "Crop2d: got x .* at least 7x7"),
    (lambda: nn.Crop2d(0, 7), UsageError, "got size"),
    (lambda: ops.crop2d(image(1, 2, 2, 1), pads=(1, 1, 0, 0)), ShapeError, "crop2d: got pads"),
    (lambda: nn.Reshape(4, 4, 3)(image(2, 47)), ShapeError, r"got samples of shape \(47,\), wanted 48"),
    (lambda: nn.Reshape(-1, 3), UsageError, "Reshape: got shape"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_use_is_one_clear_line(call: Any, kind: type[FastganError], message: str) -> None:
    with pytest.raises(kind, match=message) as told:
        call()
    assert "\n" not in str(told.value)


def test_gradients_of_pooling_want_shapes_that_fit() -> None:
    x: NDArray[Any] = np.zeros((1, 4, 4, 2), np.float32)
    pair = {"size": (2, 2), "stride": (2, 2)}
    with pytest.raises(ShapeError, match=r"max_pool2d_grad: got g \(1, 4, 4, 2\)"):
        ops.max_pool2d_grad(x, x, **pair)
    with pytest.raises(ShapeError, match="max_pool2d_pick: got gg"):
        ops.max_pool2d_pick(x[:, :2], x, **pair)
