"""Single kernels: what a training step is made of, each against array code and against what peers' users write.

One idea: a table of sizes that recipes have; `..._operations` beside this package say what is done. Each case
knows the least bytes and operations it can need, which its time is held against.

    operation                    bytes                        operations
    linear, forward (n, i, o)    4 (ni + io + o + no)         2 nio
    linear, backward             4 (2 ni + 2 io + o + no)     4 nio      gradients for input, weight and bias
    Adam, RMSProp (p)            28 p, 20 p                   13 p, 9 p
    batch norm, forward (n, f)   8 nf                         6 nf       each number read once: the cache may hold it
    batch norm, backward         12 nf                        10 nf
    normal numbers (p)           4 p                          5 p        Box-Muller, a logarithm or a sine counted as 1
    a batch of bytes (n, f)      5 nf                         2 nf       bytes in, floats out
    convolution (images x, y)    4 (x + w + y)                2 y kh kw c
    maximum pooling, k x k       4 (x + y)                    y (k k - 1)
    loss of scores (n)           8 n                          10 n
    gradient penalty (n, f)      8 nf                         4 nf

On the CPU fastgan's columns have the threads that its training gives such layers, peers and autograd their defaults.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from fastgan.benchmarks import image_operations as image
from fastgan.benchmarks import kernel_operations as kernel
from fastgan.benchmarks import state_operations as state
from fastgan.benchmarks.cases import Case
from fastgan.benchmarks.operations import Operation

# batch, features in, features out: layers of keras-mlp, toy-mlp, cs231n-vanilla, and the widest of all
GRID = [(n, i, o) for n, (i, o) in product((32, 128, 1024), ((784, 256), (1024, 1024)))] + [(128, 100, 256)]
# name, image (n, h, w, c), kernel (k, o), stride, pad: critics', and a generator's upsampling, which is the gradient
# for the image; cs231n-dcgan's critic sees real and fake samples together
CRITICS = [
    ("cs231n-dcgan-1", (256, 28, 28, 1), (5, 32), (1, 1), (0, 0, 0, 0)),
    ("cs231n-dcgan-2", (256, 12, 12, 32), (5, 64), (1, 1), (0, 0, 0, 0)),
    ("igul-mnist-2", (100, 14, 14, 64), (5, 128), (2, 2), (1, 2, 1, 2)),
]
UPSAMPLING = ("cs231n-dcgan-up", (128, 14, 14, 64), (4, 128), (2, 2), (1, 1, 1, 1))
SMALL = [
    ("plain", (2, 6, 6, 3), (3, 4), (1, 1), (0, 0, 0, 0)),
    ("same", (2, 6, 6, 3), (3, 4), (2, 2), (0, 1, 0, 1)),
]
SIZES: Mapping[str, Mapping[str, list[tuple[Any, ...]]]] = {
    "full": {
        "linear": GRID,
        "adam": [(10**4,), (10**5,), (10**6,), (10**7,), (10**8,)],
        "rmsprop": [(10**6,)],
        "norm": [(32, 1024), (128, 1024)],
        "images": [(128, 14, 14, 64)],
        "noise": [(10**5,), (10**7,)],
        "batch": [(128, 784, 0)],
        "conv": CRITICS,
        "data": [*CRITICS[1:], UPSAMPLING],
        "pool": [(256, 24, 24, 32)],
        "scores": [(256,)],
        "penalty": [(64, 784)],
    },
    "quick": {
        "linear": [(128, 784, 256)],
        "adam": [(10**6,)],
        "norm": [(128, 1024)],
        "noise": [(10**5,)],
        "batch": [(128, 784, 0)],
        "conv": [CRITICS[1]],
        "data": [UPSAMPLING],
    },
    "tiny": {
        "linear": [(4, 6, 5)],
        "adam": [(50,)],
        "rmsprop": [(50,)],
        "norm": [(8, 5)],
        "images": [(4, 3, 3, 5)],
        "noise": [(1000,)],
        "batch": [(6, 20, 50)],
        "conv": SMALL,
        "data": SMALL,
        "pool": [(2, 4, 4, 3)],
        "scores": [(8,)],
        "penalty": [(6, 7)],
    },
}


def cases(size: str) -> list[Case]:
    """All of them."""
    return [operation.case("kernels", size) for operation in operations(size)]


def keys(size: str) -> Iterator[str]:
    """What kernels and layers are called."""
    from fastgan.benchmarks.suites import layers

    return (case.key for case in (*cases(size), *layers.cases(size)))


def rows(bench: Any) -> Iterator[dict[str, Any]]:
    """Every kernel, then every layer, in all columns."""
    from fastgan.benchmarks.suites import layers

    yield from bench.each([*cases(bench.size), *layers.cases(bench.size)])


def operations(size: str) -> list[Operation]:
    """The operations of a size, by group."""
    sizes = SIZES[size]

    def each(kind: str, *makers: Callable[..., Operation]) -> list[Operation]:
        return [make(*shape) for make in makers for shape in sizes.get(kind, ())]

    return [
        *each("linear", kernel.linear, kernel.linear_backward),
        *each("adam", state.adam),
        *each("rmsprop", state.rmsprop),
        *each("norm", kernel.norm, kernel.norm_backward),
        *each("images", image.norm),
        *each("noise", state.noise),
        *each("batch", state.batch),
        *each("conv", image.convolution, image.weight_gradient),
        *each("data", image.data_gradient),
        *each("pool", image.pool),
        *each("scores", kernel.scores),
        *each("penalty", kernel.penalty),
    ]
