"""The operations of the suite of kernels: fastgan's function, its operands, and what a peer does instead.

One idea: each is the function that training calls (`passes` for dense layers, `ops` for convolutions), and its rival
does the same sums. See `suites/kernels.py` for the sizes, and for how bytes and operations are counted.

Float32 sums of some thousand products are off by 1e-6 of the largest, those with TF32's ten bits by over 1e-4, so
products may be off by 2e-5, which refuses TF32. Element-wise results may be off by 1e-5, some dozen roundings.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan import ops
from fastgan.benchmarks.operations import Operands, Operation
from fastgan.benchmarks.peer_kernels import Rival
from fastgan.nn.flat import aligned_zeros
from fastgan.ops import dense, loss
from fastgan.ops import norm as batch

SLOPE = 0.2
PRODUCT, ELEMENTS = 2e-5, 1e-5  # tolerances, see above
PERIOD = 1_000_003  # a prime number of random numbers, which large arrays repeat
EPS = 1e-5


def normal(shape: tuple[int, ...] | int, seed: int, scale: float = 1.0) -> NDArray[Any]:
    """Normal numbers, float32, the same each time; large arrays repeat themselves."""
    n = int(np.prod(shape))
    base = np.random.default_rng(seed).standard_normal(min(n, PERIOD), dtype=np.float32)
    base *= np.float32(scale)
    return repeated(base, n).reshape(shape)


def repeated(base: NDArray[Any], n: int) -> NDArray[Any]:
    """n numbers: those of `base`, again and again, on a boundary as `operations.placed` wants it."""
    out: NDArray[Any] = aligned_zeros(n, "cpu")
    for i in range(0, n, base.size):
        out[i : i + base.size] = base[: n - i]
    return out


def linear(n: int, i: int, o: int) -> Operation:
    """leaky_relu(x @ w + b), as chains of layers run it."""
    return Operation(
        "linear_leaky_relu_forward",
        f"{n}x{i}x{o}",
        {"batch": n, "in": i, "out": o},
        4 * (n * i + i * o + o + n * o),
        2 * n * i * o,
        lambda: [normal((n, i), 1), normal((i, o), 2, i**-0.5), normal(o, 3)],
        lambda x, w, b: [ops.linear.forward(x, w, b, slope=SLOPE)],
        PRODUCT,
        Rival(
            "linear_leaky_relu", lambda x, w, b: [x, w, b], settings={"slope": SLOPE}, layouts=("", "matrix")
        ),
        compiled=(n, i, o) == (128, 784, 256),
    )


def linear_backward(n: int, i: int, o: int) -> Operation:
    """All of a layer's backward pass, with the derivative of the activation below: a is leaky_relu(u), u the input."""

    def own(v: Any, a: Any, w: Any, gw: Any, gb: Any) -> list[Any]:
        return [dense.linear_backward(v, a, w, slope=SLOPE, gw=gw, gb=gb), gw, gb]

    def prepare(v: Any, a: Any, w: Any, gw: Any, gb: Any) -> list[Any]:
        return [np.where(a > 0, a, a / np.float32(SLOPE)), w, gb, v]

    return Operation(
        "linear_leaky_relu_backward",
        f"{n}x{i}x{o}",
        {"batch": n, "in": i, "out": o},
        4 * (2 * n * i + 2 * i * o + o + n * o),
        4 * n * i * o,
        lambda: [
            normal((n, o), 4),
            normal((n, i), 1),
            normal((i, o), 2, i**-0.5),
            np.zeros((i, o), np.float32),
            np.zeros(o, np.float32),
        ],
        own,
        PRODUCT,
        Rival("leaky_relu_linear", prepare, "backward", {"slope": SLOPE}, layouts=("", "matrix")),
    )


def norm(n: int, f: int) -> Operation:
    """Batch norm over rows with running statistics, as behind a dense layer."""
    return Operation(
        "batch_norm_forward",
        f"{n}x{f}",
        {"batch": n, "features": f},
        8 * n * f,
        6 * n * f,
        lambda: [*norm_operands((n, f)), np.zeros((2, f), np.float32)],
        lambda x, gamma, beta, mean, variance, stats: [
            batch.norm_forward(x, gamma, beta, mean, variance, eps=EPS, momentum=0.1, stats=stats)
        ],
        ELEMENTS,
        Rival("batch_norm", lambda *operands: operands[:5], settings={"eps": EPS}),
        fresh=True,
    )


def norm_operands(shape: tuple[int, ...]) -> Operands:
    """x, gamma, beta, running mean and variance; features last."""
    f = shape[-1]
    return [
        normal(shape, 1) + 1,
        1 + normal(f, 2, 0.1),
        normal(f, 3),
        np.zeros(f, np.float32),
        np.ones(f, np.float32),
    ]


def norm_backward(n: int, f: int) -> Operation:
    """The gradients of batch norm for its input, gamma and beta."""

    def operands() -> Operands:
        x, gamma, beta, *_ = norm_operands((n, f))
        wide = x.astype(np.float64)
        stats = np.stack([wide.mean(0), (wide.var(0) + EPS) ** -0.5]).astype(np.float32)
        return [normal((n, f), 5), x, gamma, stats, *np.zeros((2, f), np.float32), beta]

    def own(u: Any, x: Any, gamma: Any, stats: Any, ggamma: Any, gbeta: Any, beta: Any) -> list[Any]:
        return [
            batch.norm_backward(u, x, gamma, stats, ggamma=ggamma, gbeta=gbeta, slope=1.0),
            ggamma,
            gbeta,
        ]

    def prepare(u: Any, x: Any, gamma: Any, *rest: Any) -> list[Any]:
        zeros, ones = np.zeros(f, np.float32), np.ones(f, np.float32)
        return [x, gamma, rest[-1], zeros, ones, u]

    return Operation(
        "batch_norm_backward",
        f"{n}x{f}",
        {"batch": n, "features": f},
        12 * n * f,
        10 * n * f,
        operands,
        own,
        ELEMENTS,
        Rival("batch_norm", prepare, "backward", {"eps": EPS}, (0, 1, 2)),
        fresh=True,
    )


def scores(n: int) -> Operation:
    """The critic's loss of real and fake scores, half each, and its derivative."""
    settings = {"kinds": ("softplus(-s)", "softplus(s)"), "counts": (n // 2, n // 2)}
    return Operation(
        "score_loss",
        str(n),
        {"batch": n},
        8 * n,
        10 * n,
        lambda: [normal((n, 1), 1)],
        lambda s: ops.score_loss.forward(s, **settings),
        ELEMENTS,
        Rival("score_loss", lambda s: [s, np.ones((n // 2, 1), np.float32), np.float32(1)], "both", wrt=(0,)),
    )


def penalty(n: int, f: int) -> Operation:
    """The gradient penalty of gradients, and its derivative."""
    return Operation(
        "penalty",
        f"{n}x{f}",
        {"batch": n, "features": f},
        8 * n * f,
        4 * n * f,
        lambda: [normal((n, f), 1, 0.1), np.zeros((n, f), np.float32), np.zeros((), np.float32)],
        lambda g, q, loss_: [loss.penalty(g, q, loss_, weight=10.0)[1], q],
        ELEMENTS,
        Rival("penalty", lambda g, q, _: [g, np.float32(1)], "both", {"weight": 10.0}),
        fresh=True,
    )
