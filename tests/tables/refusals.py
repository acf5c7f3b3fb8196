"""What is refused: a call, the class of its error, and words that the one line must have.

Words are what the caller gave, what was wanted and where: an op's or setting's name, shapes, values. A message is read
without its spaces, so (3, 4) is written (3,4). The order of words and what stands between them is not looked at.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from labelled import TINY as LABELLED
from labelled import K, labelled, trainer_of
from tiny import samples, tiny

import fastgan as fg
from fastgan import data, nn, ops
from fastgan.data import Dataset
from fastgan.errors import DataError, FastganError, ShapeError, UsageError
from fastgan.gan.conditional import ConcatCritic, LabelledGenerator
from fastgan.gan.objectives import gradient_penalty, objective
from fastgan.gan.recipe import from_dict
from fastgan.nn import Conv2d, ConvTranspose2d, Embedding, Linear, Module, Net, Sequential, SpectralNorm
from fastgan.optim import SGD, Adam, AdamW, Ema, RMSProp, schedule
from fastgan.tape import Tensor, grad, tensor

Refusal = tuple[Callable[[], Any], type[FastganError], str]
Shape = tuple[int, ...]


def image(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


def leaf(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


# Shapes that do not fit, by op, and settings that do not fit shapes: the words are the op's name and all shapes

UNFIT: dict[str, list[tuple[Shape, ...]]] = {
    "add": [((3, 4), (3, 5)), ((2,), (3,))],
    "subtract": [((3, 4), (4, 3))],
    "multiply": [((3, 4), (3,))],
    "divide": [((2, 3, 4), (2, 4))],
    "matmul": [((3, 4), (3, 4)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((), (4, 5))],
    "activation_grad": [((3, 4), (3, 5)), ((2, 6), (3, 4))],
    "batch_norm": [((5, 3), (4,), (3,)), ((5, 3), (3,), (1,))],
    "concat": [((3, 4), (3, 5)), ((3, 4), (3,))],
    "dropout": [((3, 4), (3, 5))],
    "mse": [((5, 1), (4, 1)), ((3, 1), (3,))],  # the second: every score with every target
    "bce_with_logits": [((5, 1), (4, 1)), ((3, 1), (3,))],
}
LINEAR: list[tuple[Shape, ...]] = [
    *(((3, 4), (4, 2), b) for b in [(1,), (3,), (1, 2), ()]),
    *((x, w, (2,)) for x, w in [((3, 4), (5, 2)), ((4,), (4, 2)), ((2, 3, 4), (4, 2))]),
]
UNSET: list[tuple[str, tuple[Shape, ...], list[dict[str, Any]]]] = [
    *(("linear", shapes, [{}, {"act": "leaky", "slope": 0.2}]) for shapes in LINEAR),
    ("transpose", ((3, 4),), [{"axes": axes} for axes in [(0, 1, 2), (0, 0), (0, 2)]]),
    ("reshape", ((3, 4),), [{"shape": (5, 2)}, {"shape": (-1, -1)}]),
    ("total", ((3, 4),), [{"axis": 2}, {"axis": (0, 0)}]),
    ("maximum", ((3, 4),), [{"axis": 2}]),
    ("broadcast_to", ((3, 4),), [{"shape": (3, 5)}, {"shape": (4,)}]),
    ("sum_to", ((3, 4),), [{"shape": (3,)}]),
    ("sum_to", ((4,),), [{"shape": (3,)}]),
    ("sum_to", ((3,),), [{"shape": (2, 3)}]),
    ("index", ((3, 4),), [{"key": key} for key in (5, (0, 0, 0), np.array([0, 3]))]),
    ("unindex", ((2, 3),), [{"key": slice(0, 2), "shape": (4, 4)}, {"key": np.arange(3), "shape": (4, 3)}]),
    ("concat", ((3, 4), (3, 4)), [{"axis": 2}]),
]


def unfit(name: str, shapes: tuple[Shape, ...], settings: dict[str, Any]) -> Refusal:
    call = lambda: getattr(ops, name)(*(leaf(*s) for s in shapes), **settings)  # noqa: E731
    return call, ShapeError, f"{name}: {' '.join(str(shape).replace(' ', '') for shape in shapes)}"


MOVING = {"mean": np.zeros(2, np.float32), "variance": np.ones(2, np.float32)}

# Ops called with other operands, settings or dtypes than they have

X, W, B = leaf(2, 3), leaf(3, 2), leaf(2)
PICTURE = Tensor(np.ones((1, 4, 4, 1), np.float32))
WIDE, WIDE_W = Tensor(np.ones((2, 3))), np.ones((2, 2, 1, 1))  # float64
PLAIN: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
PAIR: dict[str, Any] = {"size": (2, 2), "stride": (2, 2)}
OPS: list[Refusal] = [
    *(unfit(name, shapes, {}) for name, rows in UNFIT.items() for shapes in rows),
    *(unfit(name, shapes, settings) for name, shapes, wrong in UNSET for settings in wrong),
    (lambda: Tensor(np.ones((0, 3))).mean(), ShapeError, "mean: (0,3)"),
    (
        lambda: ops.max_pool2d_grad(image(1, 4, 4, 2), image(1, 4, 4, 2), **PAIR),
        ShapeError,
        "max_pool2d_grad: g (1,4,4,2)",
    ),
    (
        lambda: ops.max_pool2d_pick(image(1, 2, 4, 2), image(1, 4, 4, 2), **PAIR),
        ShapeError,
        "max_pool2d_pick: gg",
    ),
    (lambda: ops.max_pool2d(image(2, 4, 4, 1), size=(2, 2), stride=(0, 1)), UsageError, "max_pool2d: stride"),
    (lambda: ops.crop2d(image(1, 2, 2, 1), pads=(1, 1, 0, 0)), ShapeError, "crop2d: pads"),
    (lambda: ops.maximum(X, 0), UsageError, "maximum: x, *, axis"),
    (lambda: ops.maximum(X), UsageError, "maximum: axis"),
    (lambda: ops.linear(X, W), UsageError, "linear: 'b' (x,w,b,"),
    (lambda: ops.linear(X, W, b=B), UsageError, "linear: 'b' name (x,w,b,"),
    (lambda: ops.max_pool2d(PICTURE, 2), UsageError, "max_pool2d: size, stride"),
    (lambda: ops.reshape(X, (3, 2)), UsageError, "reshape: shape"),
    (lambda: ops.activation(X, slop=0.1), UsageError, "activation: 'slop' slope"),
    (lambda: ops.activation(X, act="lekay"), UsageError, "activation 'lekay' leaky tanh sigmoid"),
    (lambda: ops.linear(X, W, B, slop=0.1), UsageError, "linear: 'slop' slope"),
    (lambda: ops.linear_norm(X, leaf(4, 2), B, B, B, **MOVING), ShapeError, "linear: (2,3) (4,2)"),
    (lambda: ops.linear_norm(X, W, B, leaf(3), B, **MOVING), ShapeError, "linear_norm: gamma (3,)"),
    (lambda: ops.leaky_relu(X, slope=-1), UsageError, "slope -1"),
    (lambda: ops.linear(X, W, B, slope=2), UsageError, "slope 2"),  # the sign of y would lie
    (lambda: ops.concat(X, X, axes=1), UsageError, "concat: 'axes' axis"),
    (
        lambda: ops.concat((X, X)),
        UsageError,
        "list Tensors concat(a,b)",
    ),  # NumPy's way: it would lose the gradient
    (lambda: tensor([X, X]), UsageError, "list Tensors concat(a,b)"),
    (lambda: ops.exp(), UsageError, "exp: 'x' exp(x)"),
    (lambda: X**X, UsageError, "power: Tensor number exp log"),
    (lambda: ops.power(X, exponent="2"), UsageError, "power: str number"),
    (lambda: Tensor([1, 2, 3]), UsageError, "Tensor: list fastgan.tensor"),
    (lambda: Tensor(1.5), UsageError, "Tensor: float fastgan.tensor"),
    (lambda: Tensor(X), UsageError, "Tensor: Tensor fastgan.tensor"),
    *(
        (lambda key=key: leaf(3, 2)[key], UsageError, "index: wanted")
        for key in (
            np.array([[0, 0], [1, 1]]),
            (np.array([0, 0]), np.array([1, 1])),
            np.ones((3, 2), bool),
            np.ones(2, bool),
            0.5,
        )
    ),
    # two dtypes in a product, as in PyTorch: float64 would silently make all that follows float64, and slow
    (lambda: WIDE @ W, UsageError, "matmul: float64 dtype"),
    (lambda: X @ W.numpy().astype(np.float64), UsageError, "matmul: float64 dtype"),
    (lambda: np.ones((2, 3), np.uint8) @ W, UsageError, "matmul: uint8 dtype"),
    (lambda: ops.linear(WIDE, W, B), UsageError, "linear: float64 dtype"),
    (lambda: ops.linear(X, W, np.ones(2)), UsageError, "linear: float64 dtype"),
    (lambda: ops.linear(WIDE, W, B, slope=0.2), UsageError, "linear: float64 dtype"),
    (lambda: ops.convolve(PICTURE, WIDE_W, **PLAIN), UsageError, "convolve: float64 dtype"),
    (
        lambda: ops.convolve(PICTURE, WIDE_W.astype("f"), np.ones(1), **PLAIN),
        UsageError,
        "convolve: float64 dtype",
    ),
    (
        lambda: ops.convolve_transposed(PICTURE, WIDE_W, size=(5, 5), **PLAIN),
        UsageError,
        "convolve_transposed: float64",
    ),
]

# The tape

TAPE: list[Refusal] = [
    (lambda: grad(X.sum(), [X, W]), UsageError, "(3,2) allow_unused=True"),
    (lambda: grad(tensor([1.0, 2.0]).sum(), [X]), UsageError, "requires_grad=True"),
    (lambda: grad(X * 2, [X]), ShapeError, "(2,3) () mean() sum()"),
    (lambda: grad([X * 2], [X], [tensor([1.0, 1.0])]), ShapeError, "grad_outputs (2,) (2,3)"),
    (lambda: grad(X.sum(), [X], out=[]), UsageError, ""),
    (lambda: grad([X.sum()], [X], []), UsageError, ""),
    (lambda: grad(X.sum(), [X], out=[np.zeros((2, 3))]), ShapeError, "float64 out"),
]

# Layers


class Doubled(Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) * 2


def loaded(change: dict[str, Any], *, without: str = "") -> Callable[[], None]:
    """Values of a network, changed, back into it."""
    network = Sequential(Linear(3, 5), nn.BatchNorm(5))
    return lambda: network.load({k: x for k, x in (network.values() | change).items() if k != without})


LAYERS: list[Refusal] = [
    (lambda: Linear(0, 3), ShapeError, "Linear: 0 3"),
    (lambda: Linear(2, 2, init="he_norma"), UsageError, "'he_norma' he_normal"),
    (lambda: nn.LeakyReLU(1.5), UsageError, "slope 1.5"),
    (lambda: nn.Dropout(1.0), UsageError, "rate 1"),
    (lambda: Net(("linear o",)).build(2, 1, seed=-1), UsageError, "seed -1"),
    (loaded({}, without="1.mean"), ShapeError, "5 6 1.mean"),
    (loaded({"extra": np.zeros(1)}), ShapeError, "7 6 extra"),
    (loaded({"0.bias": np.zeros(4)}), ShapeError, "0.bias (4,) (5,)"),
    # norms
    (lambda: nn.BatchNorm(3, momentum=2), UsageError, "BatchNorm: momentum 2"),
    *(
        (lambda c=c: nn.BatchNorm(3, correction=c), UsageError, f"BatchNorm: correction {c}")
        for c in (-1, math.nan, math.inf)
    ),
    *(
        (
            lambda shape=shape: nn.BatchNorm(3, correction=0)(image(*shape)),
            ShapeError,
            "BatchNorm: batch 1 rows",
        )
        for shape in ((1, 3), (1, 1, 1, 3))
    ),
    (lambda: nn.BatchNorm(3)(image(2, 4, 4, 2)), ShapeError, "BatchNorm: x (2,4,4,2) 3"),
    (lambda: nn.LayerNorm(3)(image(2, 4, 4, 2)), ShapeError, "LayerNorm: x (2,4,4,2) 3"),
    (lambda: nn.LayerNorm(3)(image(3)), ShapeError, "LayerNorm: x (3,)"),
    (lambda: nn.InstanceNorm(3)(image(2, 4, 4, 2)), ShapeError, "InstanceNorm: x (2,4,4,2) 3"),
    (lambda: nn.InstanceNorm(3)(image(2, 3)), ShapeError, "InstanceNorm: x (2,3) two pixels"),
    (lambda: nn.InstanceNorm(3)(image(2, 1, 1, 3)), ShapeError, "InstanceNorm: x (2,1,1,3) two pixels"),
    (lambda: SpectralNorm(nn.ReLU()), UsageError, "SpectralNorm: ReLU Linear"),
    (lambda: SpectralNorm(Doubled(2, 3)), UsageError, "SpectralNorm: Doubled"),
    (lambda: SpectralNorm(Linear(2, 3))(image(4, 3)), ShapeError, "linear: x (4,3)"),
    (lambda: nn.MinibatchStdDev(1), UsageError, "MinibatchStdDev: 1"),
    (lambda: nn.MinibatchStdDev(4)(image(6, 3)), ShapeError, "MinibatchStdDev: x (6,3) multiple 4"),
    (lambda: nn.MinibatchStdDev(4)(image(0, 3)), ShapeError, "MinibatchStdDev: x (0,3)"),
    (lambda: Embedding(0, 3), ShapeError, "Embedding: 0 labels"),
    (lambda: Embedding(10, 3)([3, 10]), UsageError, "Embedding: label 10 0 9"),
    (lambda: Embedding(10, 3)(np.array([-1, 3])), UsageError, "Embedding: label -1 0 9"),
    (lambda: Embedding(10, 3)(tensor([1.0, 2.0])), ShapeError, "Embedding: float32 whole"),
    (lambda: Embedding(10, 3)([0.5]), ShapeError, "Embedding: float64 whole"),
    (lambda: Embedding(10, 3)(np.zeros((2, 1), int)), ShapeError, "Embedding: (2,1)"),
    (lambda: Embedding(10, 3)(np.array([True])), ShapeError, "Embedding: bool whole"),
    # images
    (lambda: Conv2d(3, 4, 5)(image(2, 4, 9, 3)), ShapeError, "kernel 5x5 4x9"),
    (lambda: Conv2d(3, 4, 3)(image(2, 5, 5, 2)), ShapeError, "convolve: (2,5,5,2)"),
    (lambda: Conv2d(3, 4, 3)(image(2, 75)), ShapeError, "conv2d: x (2,75)"),
    (lambda: Conv2d(3, 4, 3, stride=0), UsageError, "stride 0"),
    (lambda: Conv2d(3, 4, 3, stride=(1, 0)), UsageError, "stride (1,0)"),
    (lambda: Conv2d(3, 4, 0), UsageError, "kernel 0"),
    (lambda: Conv2d(3, 4, (1, 2, 3)), UsageError, "kernel (1,2,3)"),
    (lambda: Conv2d(0, 4, 3), ShapeError, "Conv2d: weight (3,3,0,4)"),
    (lambda: Conv2d(3, 4, 3, padding=-1), UsageError, "padding -1"),
    (lambda: Conv2d(3, 4, 3, padding="valid"), UsageError, "padding 'valid'"),
    (lambda: Conv2d(3, 4, 3, init="he"), UsageError, "initializer 'he'"),
    (lambda: ConvTranspose2d(3, 4, 3)(image(2, 5, 5, 4)), ShapeError, "convolve_transposed: (2,5,5,4)"),
    (lambda: ConvTranspose2d(3, 4, 3, stride=0), UsageError, "stride 0"),
    (lambda: ConvTranspose2d(3, 0, 3), ShapeError, "ConvTranspose2d: weight (3,3,0,3)"),
    (
        lambda: ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)(image(2, 5, 5, 3)),
        ShapeError,
        "output_padding",
    ),
    (lambda: ConvTranspose2d(3, 4, 2, padding=2)(image(2, 2, 2, 3)), ShapeError, "less padding"),
    (lambda: nn.MaxPool2d(3)(image(2, 2, 5, 1)), ShapeError, "max_pool2d: x (2,2,5,1) 3x3"),
    (lambda: nn.MaxPool2d(2)(image(2, 5)), ShapeError, "max_pool2d: x (2,5)"),
    (lambda: nn.MaxPool2d(0), UsageError, "size 0"),
    (lambda: nn.MaxPool2d(2, 0), UsageError, "stride 0"),
    (lambda: nn.AvgPool2d(3)(image(2, 2, 5, 1)), ShapeError, "avg_pool2d: x (2,2,5,1) 3x3"),
    (lambda: nn.AvgPool2d(2)(image(2, 5)), ShapeError, "avg_pool2d: x (2,5)"),
    (lambda: nn.Upsample2d(0), UsageError, "factor 0"),
    (lambda: nn.Upsample2d(2)(image(2, 5)), ShapeError, "upsample2d: x (2,5)"),
    (lambda: nn.Pad2d(-1), UsageError, "padding -1"),
    (lambda: nn.Pad2d("same"), UsageError, "padding 'same'"),
    (lambda: nn.Pad2d(1)(image(2, 5)), ShapeError, "pad2d: x (2,5)"),
    (lambda: nn.Crop2d(7, 7)(image(2, 8, 6, 1)), ShapeError, "Crop2d: x (2,8,6,1) 7x7"),
    (lambda: nn.Crop2d(0, 7), UsageError, "size (0,7)"),
    (lambda: nn.Reshape(4, 4, 3)(image(2, 47)), ShapeError, "Reshape: (47,) 48"),
    (lambda: nn.Reshape(-1, 3), UsageError, "Reshape: shape (-1,3)"),
]


# Networks as text: a second line on images of 8 x 8, and what the error says of it


def built(*lines: str, shape: Shape = (8, 8, 1)) -> Callable[[], Any]:
    return lambda: Net(lines).build(math.prod(shape), 1, seed=3, shape=shape)


LINES = [
    ("conv2d 4 3", "'conv2d' 'conv'"),
    ("convolve-transpose 4 3", "'conv_transpose'"),
    ("zzz", "linear conv"),
    ("", "''"),
    ("linear 4", "8x8x1 rows flatten"),
    ("conv 4", "1 2"),
    ("pad", "0 1"),
    ("conv four 3", "'four' o"),
    ("conv 4 9", "kernel 9x9 8x8"),
    ("conv 4 0", "kernel 0"),
    ("conv 0 3", "1"),
    ("conv 4 3 stride=0", "stride 0"),
    ("conv 4 3 stride=x", "stride=x whole number"),
    ("conv 4 3 stride=same", "stride=same"),
    ("conv 4 3 padding=-1", "padding '-1' 'same'"),
    ("conv 4 3 stride=2", "stride 2 1 unread"),
    ("conv 4 3 stirde=2", "'stirde' stride padding"),
    ("conv 4 3 init=glorot", "initializer 'glorot'"),
    ("conv 4 3 scale=big", "scale=big"),
    ("conv 4 3 scale=nan", "scale nan"),
    ("conv 4 3 padding=same padding=1", "twice"),
    ("conv 4 3 bias=maybe", "bias=maybe yes no"),
    ("conv_transpose 4 3 output_padding=1", "output_padding"),
    ("conv_transpose 4 3 output_padding=x", "output_padding=x"),
    ("conv_transpose 4 4 padding=9", "transposed"),
    ("max_pool 3", "stride 3 2 unread"),
    ("max_pool 9", "9x9"),
    ("crop 9x9", "9x9 pixels"),
    ("crop 7", "1 2"),
    ("reshape 7x7x2", "98"),
    ("reshape 8x-8", "'8x-8'"),
    ("leaky_relu two", "'two' number"),
    ("dropout 1.5", "rate"),
    ("pad 1 2", "2 1"),
    ("max_pool 1 2 3", "3 1 2"),
    ("flatten 3", "1 0"),
    ("layer_norm eps=-1", "eps -1"),
    ("batch_norm eps=inf", "eps=inf"),
    ("conv 4 3 scale=1 init_scale=1", "twice"),
    ("batch_norm momentum=big", "momentum=big"),
    ("batch_norm momentum=2", "0 1"),
    ("dropout 0.5 rate=0.5", "'rate'"),
    ("relu spectral", "SpectralNorm ReLU"),
]
NETS: list[Refusal] = [
    *((built("image", line), UsageError, f"network, layer 2, '{line}': {words}") for line, words in LINES),
    (built("conv 4 3"), UsageError, "layer 1, 'conv 4 3': 64 images"),
    (built("image", shape=(2,)), UsageError, "layer 1, 'image': 2 images"),
    *(
        (lambda wrong=wrong, base=base: from_dict({"critic": wrong}, fg.recipes[base]), UsageError, "")
        for wrong in (
            {"layers": [3]},
            {"layers": "relu"},
            {"hidden": ["relu"]},
            {"layers": ["relu"], "slope": 1.0},
        )
        for base in ("digits", "cgan-mnist")
    ),
]


# Optimizers: a setting, its wrong values, and a right one


class Mixed(Module):
    """Parameters of two dtypes."""

    def __init__(self) -> None:
        self.first, self.second = parameters("float32", "float64")


def parameters(*dtypes: str) -> list[Tensor]:
    return [Tensor(np.ones(2, dtype), requires_grad=True) for dtype in dtypes]


def optimizer(make: Any, name: str, value: Any) -> Any:
    """One with a setting of this value."""
    betas = {"beta1": (value, 0.9), "beta2": (0.5, value)}
    own = {"betas": betas[name]} if name in betas else {name: value}
    return make(Linear(2, 2), **({"lr": 1.0} if make is SGD else {}) | own)


SETTINGS: list[tuple[Any, str, tuple[Any, ...], float]] = [
    *(
        (make, name, (-1e-9, math.nan, math.inf), 0)
        for make in (SGD, Adam, AdamW, RMSProp)
        for name in ("lr", "clip")
    ),
    (SGD, "max_norm", (-1, math.nan, -math.inf), 1),
    (SGD, "momentum", (-0.1, 1, 2, math.nan), 0.999),
    (RMSProp, "alpha", (-0.1, 1, math.nan), 0),
    (RMSProp, "eps", (-1, math.nan, math.inf, "1"), 0),
    (Adam, "eps", (-1, math.nan, math.inf), 1e-3),
    (Adam, "weight_decay", (-1, math.nan, math.inf), 0),
    (AdamW, "weight_decay", (-1, math.nan), 2),
    (Adam, "beta1", (-0.1, 1, math.nan), 0),
    (Adam, "beta2", (-0.1, 1, math.inf), 0.9),
    (Ema, "decay", (-0.1, 1, math.nan), 0),
]
SCHEDULES = ["", "cosine", "constant:1", "linear:x", "exponential", "exponential:", "drop:0.1", "drop:0.1@"]
SCHEDULES += ["drop:x@1", "drop:0.1@-1", "drop:2@1", "drop:nan@1", "exponential:2000", "exponential:1e300"]
SCHEDULES += ["exponential:-0.5", "linear:nan", "linear:-1", "linear:inf", "Linear"]
OPTIMIZERS: list[Refusal] = [
    *(
        (lambda row=(make, name, value): optimizer(*row), UsageError, f"{make.__name__}: {name} {value}")
        for make, name, wrong, _ in SETTINGS
        for value in wrong
    ),
    *((lambda s=s: schedule(s, 3, 10), UsageError, f"schedule '{s}' constant, linear") for s in SCHEDULES),
    *(
        (lambda make=make, p=p: make(p, lr=1.0), UsageError, words)
        for make in (SGD, Adam, RMSProp)
        for p, words in [
            (Mixed(), "second float64 first float32"),
            (parameters("float64", "float64", "float32"), "2 float32 0 float64"),
            (parameters("int64"), "0 int64 floats"),
            (parameters("float32") * 2, "0 1 once"),
        ]
    ),
]

# Losses


def penalty(real: Shape, fake: Shape, epsilon: Shape, critic: Any = lambda x: x) -> Callable[[], Any]:
    return lambda: gradient_penalty(critic, image(*real), image(*fake), image(*epsilon))


NORMED = Sequential(Linear(3, 4), Sequential(nn.BatchNorm(4)), Linear(4, 1))
LOSSES: list[Refusal] = [
    (lambda: objective("wassertein"), UsageError, "objective 'wassertein' wasserstein"),
    (lambda: objective("xyz"), UsageError, "objective 'xyz' minimax, non-saturating"),
    (penalty((5, 3), (4, 3), (5, 1)), ShapeError, "gradient_penalty: (5,3) (4,3)"),
    (penalty((5, 3), (5, 2), (5, 1)), ShapeError, "gradient_penalty: (5,3) (5,2)"),
    (penalty((5, 3), (5, 3), (5, 3)), ShapeError, "gradient_penalty: (5,3)"),
    (penalty((5, 3), (5, 3), (5, 1), NORMED), UsageError, "critic BatchNorm gradient penalty"),
]

# Data

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
NOISE = np.random.default_rng(0).normal(size=(5, 4, 4))
ARRAYS: list[tuple[Any, str]] = [
    (np.zeros((5, 3, 8, 8)), "(5,3,8,8) 8 channels NHWC transpose(0,2,3,1)"),
    (np.zeros((5, 8, 8, 2)), "2 channels NHWC"),
    (np.zeros(5), "(5,) images"),
    (np.zeros((2, 2, 2, 2, 2)), "(2,2,2,2,2) images"),
    (PIXELS * 1j, "complex128"),
    (np.array(["a", "b"]), "<U1"),
    (np.array([None, {}], dtype=object), "object"),
    ([[1, 2], [3]], "array"),
    (PIXELS.astype(int) * 9, "0 531 0..255"),
    (PIXELS.astype(int) - 1, "-1 58"),
    (NOISE * 9, "rescale"),
    (PIXELS.astype(float) * 9, "0 531"),
    (PIXELS[:1], "2 samples"),
    (PIXELS[:0], "2 samples"),
    (np.zeros((5, 0, 4)), "2 samples"),
    (np.zeros((5, 0)), "2 samples"),
    (np.zeros((5, 4, 4)), "5 same"),
    (np.stack([PIXELS[0]] * 3), "3 same"),
    (np.array([[1e300, 0], [0, 1]]), "1 4 finite (0,0)"),
]
GREY = PIXELS[..., None]
DATA: list[Refusal] = [
    *((lambda x=x: data.from_array(x, name="mine"), DataError, f"mine: {words}") for x, words in ARRAYS),
    *(
        (lambda labels=labels: data.from_array(PIXELS, labels), DataError, words)
        for labels, words in [
            ([1, 2], "5 labels (2,)"),
            (np.zeros((5, 2), int), "5 labels (5,2)"),
            (range(6), "5 labels (6,)"),
            (3, "5 labels ()"),
            (np.arange(5) / 2, "whole numbers"),
            (["a"] * 5, "whole numbers"),
        ]
    ),
    *(
        (lambda parts=parts: Dataset("odd", **parts), DataError, "odd")
        for parts in (
            {"samples": PIXELS},
            {"samples": NOISE[:, 0]},
            {"samples": np.zeros((0, 4, 4, 1), np.uint8)},
            {"samples": GREY, "low": 1.0, "high": 1.0},
            {"samples": GREY, "labels": np.arange(4)},
            {"samples": GREY, "labels": np.arange(5, dtype=np.int32)},
        )
    ),
    (lambda: data.from_array(PIXELS).scaled(1, 1), UsageError, "low high"),
    (lambda: data.from_array(PIXELS).take(slice(9, 12)), DataError, "empty"),
    (lambda: data.load(PIXELS), UsageError, "from_array"),
    (lambda: data.load("digits", split="valid"), UsageError, "'valid' train test"),
    *((lambda s=s: data.load("digits", image_size=s), UsageError, f"image_size {s}") for s in (0, 2.5, True)),
    (lambda: data.load("digits", image_size=16), UsageError, "--image-size digits 8x8x1"),
    *(
        (lambda spec=spec: data.load(spec), UsageError, f"'{spec}' '{near}' {' '.join(data.names)}")
        for spec, near in [
            ("mnits", "mnist"),
            ("MNIST", "mnist"),
            ("fashion_mnist", "fashion-mnist"),
            ("rings", "ring"),
        ]
    ),
    *(
        (lambda spec=spec: data.load(spec), DataError, "file folder")
        for spec in ("no/such/folder", "images.npz", "a\0b.npy", "x" * 5000 + ".npy")
    ),
]

# Recipes and trainers


def trainer(recipe: Any, given: Any = None, **settings: Any) -> Callable[[], Any]:
    """A trainer of a recipe or of its name, on the data that fits it or on others."""

    def make() -> Any:
        found = samples(recipe) if given is None and isinstance(recipe, fg.Recipe) else given
        return fg.Trainer(recipe, found, device="cpu", **settings)

    return make


def pictures(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 1), np.uint8)


PENALIZED = Sequential(Linear(64, 8), nn.BatchNorm(8), Linear(8, 1))
UNLABELLED = replace(labelled(), labels=None)
BELOW = replace(labelled(), labels=labelled().labels - 1)
TRAINERS: list[Refusal] = [
    *(
        (lambda change=change: fg.recipes["digits"].replace(**change), UsageError, next(iter(change)))
        for change in (
            {"batch": 0},
            {"noise": "pink"},
            {"objective": "gan"},
            {"ema": 1.0},
            {"sampling": "x"},
            {"bach": 3},
            {"low": 1.0},
            {"first": -5},
            {"held_out": True},
            {"published": "digits"},
            {"generator_steps": 0},
            {"warmup_critic_steps": -1},
            {"warmup_every": 0},
            {"warmup_steps": -1},
        )
    ),
    (trainer("ring-gan", data.load("digits")), DataError, "points"),
    (trainer("digits", data.load("ring")), DataError, "images"),
    (trainer("cs231n-dcgan", data.load("ring")), DataError, "images"),
    (trainer("digits", data.load("digits").take(slice(0, 20))), DataError, "batch 64"),
    (trainer("cs231n-dcgan", pictures(200, 16)), UsageError, "generator (784,) (256,)"),
    (trainer("dcgan64"), UsageError, "dcgan64 data --data"),
    (trainer("digits", generator=Sequential(Linear(32, 10))), UsageError, "generator (10,) (64,)"),
    (trainer("digits", critic=Linear(64, 2)), UsageError, "critic scores"),
    (trainer("digits", critic=Linear(63, 1)), ShapeError, "linear: x"),
    (trainer("digits", critic=PENALIZED), UsageError, "BatchNorm gradient penalty"),
    (trainer(tiny("keras-mlp").replace(objective="wasserstein-gp")), UsageError, "split updates"),
    *(
        (trainer(tiny("ring-gan").replace(**change)), UsageError, "simultaneous")
        for change in ({"critic_steps": 5}, {"generator_steps": 2}, {"warmup_critic_steps": 3})
    ),
    (lambda: trainer("digits")().fit(-1), UsageError, "-1 0"),
    (fg.recipes["cs231n-vanilla"].as_published, UsageError, "nothing"),
    # with labels
    *(
        (lambda label=label: trainer_of().sample(3, label=label), UsageError, f"sample: label {words}")
        for label, words in [
            (K, f"{K} 0 4"),
            (-1, "-1 0 4"),
            ([0, 1, 9], "9 0 4"),
            ([0, 1], "[0,1] whole 3"),
            (1.5, "1.5 whole"),
            ("7", "'7' whole"),
            (True, "True whole"),
        ]
    ),
    (lambda: trainer_of(LABELLED.replace(classes=0)).sample(3, label=3), UsageError, "label 3 classes"),
    (
        lambda: trainer_of().sample(2, latent=np.zeros((2, 3), "f")),
        ShapeError,
        "LabelledGenerator: (2,3) labels (2,5) (n,4) (n,5)",
    ),
    (
        trainer("digits", generator=LabelledGenerator(Linear(34, 64), 32, 10, embed=2)),
        UsageError,
        "generator 'y'",
    ),
    (lambda: trainer_of(critic=Linear(6, 1)), UsageError, "critic (n,5) many"),
    (lambda: trainer_of(dataset=UNLABELLED), DataError, "labelled: without labels 5 classes"),
    (lambda: trainer_of(LABELLED.replace(classes=4)), DataError, "labelled: 5 classes 4 --classes"),
    (lambda: trainer_of(LABELLED.replace(classes=6)), DataError, "--classes 5"),
    (lambda: trainer_of(dataset=BELOW), DataError, "label -1 sample 0"),
    (
        lambda: ConcatCritic(Sequential(), (3, 2, 1), K)(image(2, 6), image(1, K)),
        ShapeError,
        "ConcatCritic: (2,6) labels (1,5) (n,6) (n,5)",
    ),
]

WITH_AND_WITHOUT_KERNELS = [*OPS, *LAYERS]
ROWS = [*OPS, *TAPE, *LAYERS, *NETS, *OPTIMIZERS, *LOSSES, *DATA, *TRAINERS]
