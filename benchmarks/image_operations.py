"""The operations on images of the suite of kernels: convolutions and their gradients, batch norm, maximum pooling.

One idea: as in `kernel_operations`; the gradients are the ops that a convolution's backward pass consists of. A shape
is that of the convolution: image (n, h, w, c), (taps, channels out), stride, padding (top, bottom, left, right).
"""

from typing import Any

from fastgan import ops
from fastgan.benchmarks.kernel_operations import (
    ELEMENTS,
    EPS,
    PRODUCT,
    SLOPE,
    norm_operands,
    normal,
)
from fastgan.benchmarks.operations import Operands, Operation
from fastgan.benchmarks.peer_kernels import Rival
from fastgan.ops.conv import Pad, Pair, out_size

Shape = tuple[int, int, int, int]
LAYOUTS = ("image", "kernel")


class Convolution:
    """The sizes of one, and its operands."""

    def __init__(self, image: Shape, kernel: Pair, stride: Pair, pad: Pad) -> None:
        self.image, (self.taps, self.channels) = image, kernel
        self.way: dict[str, Any] = {"stride": stride, "pad": pad}
        oh, ow = out_size(image[1:3], (self.taps, self.taps), stride, pad)
        self.out: Shape = (image[0], oh, ow, self.channels)
        self.weight: Shape = (self.taps, self.taps, image[3], self.channels)

    def x(self) -> Any:
        """An image."""
        return normal(self.image, 1)

    def w(self) -> Any:
        """A kernel."""
        return normal(self.weight, 2, (self.taps**2 * self.image[3]) ** -0.5)

    def v(self) -> Any:
        """A gradient for the output."""
        return normal(self.out, 3)

    def b(self) -> Any:
        """A bias."""
        return normal(self.channels, 4)

    def facts(self, *, bias: bool = False) -> tuple[dict[str, Any], int, int]:
        """Shape, bytes, operations: the three ops move the same arrays and make the same products."""
        sizes = [size(shape) for shape in (self.image, self.weight, self.out)]
        taps, channels = f"{self.taps}x{self.taps}", f"{self.image[3]} to {self.channels}"
        image = "x".join(str(n) for n in self.image)
        shape = {"batch": self.image[0], "image": image, "kernel": taps, "channels": channels}
        flops = 2 * sizes[2] * self.taps**2 * self.image[3]
        return shape | {"stride": self.way["stride"][0]}, 4 * (sum(sizes) + bias * self.channels), flops


def size(shape: tuple[int, ...]) -> int:
    """Elements of an array."""
    n = 1
    for length in shape:
        n *= length
    return n


def convolution(name: str, *sizes: Any) -> Operation:
    """leaky_relu(x * w + b)."""
    conv = Convolution(*sizes)
    settings = conv.way | {"slope": SLOPE}
    return Operation(
        "conv_forward",
        name,
        *conv.facts(bias=True),
        lambda: [conv.x(), conv.w(), conv.b()],
        lambda x, w, b: [ops.convolve.forward(x, w, b, **settings)],
        PRODUCT,
        Rival("convolve", lambda *xs: xs, settings=settings, layouts=LAYOUTS, result="image"),
        split=True,
    )


def data_gradient(name: str, *sizes: Any) -> Operation:
    """The gradient for the image, which is a transposed convolution."""
    conv = Convolution(*sizes)
    settings = conv.way | {"size": conv.image[1:3]}
    return Operation(
        "conv_backward_data",
        name,
        *conv.facts(),
        lambda: [conv.v(), conv.w()],
        lambda v, w: [ops.convolve_transposed.forward(v, w, **settings)],
        PRODUCT,
        Rival("convolve_transposed", lambda *xs: xs, settings=settings, layouts=LAYOUTS, result="image"),
        split=True,
    )


def weight_gradient(name: str, *sizes: Any) -> Operation:
    """The gradient for the kernel."""
    conv = Convolution(*sizes)
    kernel = (conv.taps, conv.taps)
    return Operation(
        "conv_backward_weight",
        name,
        *conv.facts(),
        lambda: [conv.x(), conv.v()],
        lambda x, v: [ops.convolve_weight_grad.forward(x, v, **conv.way, kernel=kernel)],
        PRODUCT,
        Rival("convolve", lambda x, v: [x, conv.w(), v], "backward", conv.way, (1,), LAYOUTS, "image"),
        split=True,
    )


def norm(n: int, h: int, w: int, c: int) -> Operation:
    """Batch norm of images by their own statistics, as behind a convolution."""

    def own(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> list[Any]:
        return [ops.batch_norm.forward(x, gamma, beta, eps=EPS)[0]]

    return Operation(
        "batch_norm_forward",
        f"{n}x{h}x{w}x{c}",
        {"batch": n, "pixels": h * w, "features": c},
        8 * n * h * w * c,
        6 * n * h * w * c,
        lambda: norm_operands((n, h, w, c)),
        own,
        ELEMENTS,
        Rival("batch_norm", lambda *xs: xs, settings={"eps": EPS}, layouts=("image",), result="image"),
        fresh=True,
        split=True,
    )


def pool(n: int, h: int, w: int, c: int) -> Operation:
    """Maximum pooling, 2 x 2."""

    def operands() -> Operands:
        return [normal((n, h, w, c), 1)]

    return Operation(
        "max_pool",
        f"{n}x{h}x{w}x{c}",
        {"batch": n, "pixels": h * w, "features": c},
        5 * n * h * w * c,
        3 * n * h * w * c // 4,
        operands,
        lambda x: [ops.max_pool2d.forward(x, size=(2, 2), stride=(2, 2))],
        ELEMENTS,
        Rival("max_pool", lambda x: [x], settings={"size": 2}, layouts=("image",), result="image"),
        fresh=True,
        split=True,
    )
