"""Layers for images: convolutions, pooling, changes of size, and the ways between flat samples and images.

Samples are flat everywhere else: a convolutional network begins with a Reshape, and one that makes images ends with
Flatten.
Shapes: `n` batch, `h`/`w` height and width, `c` channels, NHWC; `i`/`o` channels in/out, `kh`/`kw` a kernel's size.
A setting that is one number holds for both directions, else it is a pair (down, right).
"""

import math

from fastgan import ops
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.layers import Weighted
from fastgan.nn.module import Module
from fastgan.ops.conv import Padding, Pair, pads, pair, stride_pair
from fastgan.tape import Tensor
from fastgan.tape.engine import Act


class Conv2d(Weighted):
    """Cross-correlation with a (kh, kw, i, o) weight, plus bias; (n, h, w, i) -> (n, oh, ow, o). See ops.conv2d.

    `padding` is a number, (vertical, horizontal), (top, bottom, left, right), or "same" as in TensorFlow.
    """

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding = 0,
        bias: bool = True,
        init: str = "torch",
        init_scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.stride, self.padding = stride_pair(stride), padding if padding == "same" else pads(padding)
        self.strides = math.prod(self.stride)
        super().__init__(
            (*pair(kernel, "kernel", 1), i, o), bias=bias, init=init, init_scale=init_scale, seed=seed
        )

    def apply(self, x: Tensor, w: Tensor, act: Act) -> Tensor:
        """leaky_relu(conv2d(x, w))."""
        return ops.conv2d(x, w, self.biases, stride=self.stride, padding=self.padding, slope=act[1])


class ConvTranspose2d(Weighted):
    """The transpose of a convolution with a (kh, kw, o, i) weight, plus bias; (n, h, w, i) -> (n, oh, ow, o).

    `padding` as in Conv2d takes rows away from the output, "same" makes it h * stride; `output_padding` adds some at
    its bottom and right. See ops.conv_transpose2d.
    """

    out_axis = -2

    def __init__(
        self,
        i: int,
        o: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding = 0,
        output_padding: int | Pair = 0,
        bias: bool = True,
        init: str = "torch",
        init_scale: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.stride, self.padding = stride_pair(stride), padding if padding == "same" else pads(padding)
        self.output_padding = pair(output_padding, "output_padding", 0)
        self.strides = math.prod(self.stride)
        super().__init__(
            (*pair(kernel, "kernel", 1), o, i), bias=bias, init=init, init_scale=init_scale, seed=seed
        )

    def apply(self, x: Tensor, w: Tensor, act: Act) -> Tensor:
        """leaky_relu(conv_transpose2d(x, w))."""
        return ops.conv_transpose2d(
            x,
            w,
            self.biases,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            slope=act[1],
        )


class MaxPool2d(Module):
    """The largest element of each window; (n, h, w, c) -> (n, oh, ow, c). Windows lie side by side by default."""

    def __init__(self, size: int | Pair, stride: int | Pair | None = None) -> None:
        self.size = pair(size, "size", 1)
        self.stride = self.size if stride is None else stride_pair(stride)

    def __call__(self, x: Tensor) -> Tensor:
        """max_pool2d(x)."""
        return ops.max_pool2d(x, size=self.size, stride=self.stride)


class AvgPool2d(MaxPool2d):
    """The mean of each window; (n, h, w, c) -> (n, oh, ow, c). Windows lie side by side by default."""

    def __call__(self, x: Tensor) -> Tensor:
        """avg_pool2d(x)."""
        return ops.avg_pool2d(x, size=self.size, stride=self.stride)


class Upsample2d(Module):
    """Each pixel repeated `factor` times down and right; (n, h, w, c) -> (n, factor h, factor w, c)."""

    def __init__(self, factor: int | Pair) -> None:
        self.factor = pair(factor, "factor", 1)

    def __call__(self, x: Tensor) -> Tensor:
        """upsample2d(x)."""
        return ops.upsample2d(x, factor=self.factor)


class Pad2d(Module):
    """A border of `value` around each image; `pads` as Conv2d's padding, but "same"."""

    def __init__(self, padding: Padding, value: float = 0.0) -> None:
        self.pads, self.value = pads(padding), float(value)

    def __call__(self, x: Tensor) -> Tensor:
        """pad2d(x)."""
        return ops.pad2d(x, pads=self.pads, value=self.value)


class Crop2d(Module):
    """The top left h x w of each image."""

    def __init__(self, h: int, w: int) -> None:
        self.size = pair((h, w), "size", 1)

    def __call__(self, x: Tensor) -> Tensor:
        """x[:, :h, :w]."""
        h, w = self.size
        if x.ndim != 4 or x.shape[1] < h or x.shape[2] < w:
            raise ShapeError(f"Crop2d: got x {x.shape}, wanted (n, h, w, c) with at least {h}x{w} pixels")
        return ops.crop2d(x, pads=(0, x.shape[1] - h, 0, x.shape[2] - w))


class Reshape(Module):
    """Each sample in another shape; (n, ...) -> (n, *shape)."""

    def __init__(self, *shape: int) -> None:
        if not all(isinstance(s, int) and s > 0 for s in shape):
            raise UsageError(f"Reshape: got shape {shape}, wanted whole numbers of at least 1")
        self.shape = shape

    def __call__(self, x: Tensor) -> Tensor:
        """The samples of x in the shape."""
        if math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ShapeError(
                f"Reshape: got samples of shape {x.shape[1:]}, wanted {math.prod(self.shape)} numbers for {self.shape}"
            )
        return ops.reshape(x, shape=(x.shape[0], *self.shape))


class Flatten(Module):
    """Each sample as one row; (n, ...) -> (n, f)."""

    def __call__(self, x: Tensor) -> Tensor:
        """The samples of x as rows."""
        return ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


class Mean(Module):
    """The mean of each sample's numbers; (n, ...) -> (n, 1)."""

    def __call__(self, x: Tensor) -> Tensor:
        """The samples' means."""
        return Flatten()(x).mean(axis=1, keepdims=True)
