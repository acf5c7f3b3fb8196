"""What is refused: the class of the error, words that its one line must have, and a call.

Words are what the caller gave, what was wanted and where: an op's or setting's name, shapes, values. A message is read
without its spaces, so (3, 4) is written (3,4). The order of words and what stands between them is not looked at.
"""

import math
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
from labelled import TINY as LABELLED
from labelled import K, labelled, trainer_of
from tiny import samples, tiny

import fastgan as fg
from fastgan import data, nn, ops, random
from fastgan.data import Dataset
from fastgan.errors import DataError, DeviceError, ShapeError, UsageError
from fastgan.gan.conditional import ConcatCritic, LabelledGenerator
from fastgan.gan.objectives import gradient_penalty, objective
from fastgan.gan.recipe import from_dict
from fastgan.nn import Conv2d, ConvTranspose2d, Embedding, Linear, Module, Net, Sequential, SpectralNorm
from fastgan.optim import SGD, Adam, AdamW, Ema, RMSProp, schedule
from fastgan.tape import Tensor, grad, tensor


def image(*shape):
    return Tensor(np.zeros(shape, np.float32))


def leaf(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def raising(kind, *rows):
    """Refusals: a call, the class of its error, and words of it."""
    return [(call, kind, words) for words, call in rows]


# Shapes that do not fit, by op, and settings that do not fit shapes: the words are the op's name and all shapes

UNFIT = """
add 3x4 3x5; add 2 3; subtract 3x4 4x3; multiply 3x4 3; divide 2x3x4 2x4; dropout 3x4 3x5; concat 3x4 3x5; concat 3x4 3
matmul 3x4 3x4; matmul 4 4x5; matmul 3x4 4; matmul 2x3x4 4x5; matmul - 4x5; activation_grad 3x4 3x5
activation_grad 2x6 3x4; batch_norm 5x3 4 3; batch_norm 5x3 3 1; mse 5x1 4x1; bce_with_logits 5x1 4x1
mse 3x1 3; bce_with_logits 3x1 3
"""  # the last two: every score with every target
LINEAR = """
linear 3x4 4x2 1; linear 3x4 4x2 3; linear 3x4 4x2 1x2; linear 3x4 4x2 -; linear 3x4 5x2 2; linear 4 4x2 2
linear 2x3x4 4x2 2
"""
SETTINGS_OF = {  # each value of each setting by itself
    "transpose 3x4": {"axes": [(0, 1, 2), (0, 0), (0, 2)]},
    "reshape 3x4": {"shape": [(5, 2), (-1, -1)]},
    "total 3x4": {"axis": [2, (0, 0)]},
    "maximum 3x4": {"axis": [2]},
    "concat 3x4 3x4": {"axis": [2]},
    "broadcast_to 3x4": {"shape": [(3, 5), (4,)]},
    "sum_to 3x4": {"shape": [(3,)]},
    "sum_to 4": {"shape": [(3,)]},
    "sum_to 3": {"shape": [(2, 3)]},
    "index 3x4": {"key": [5, (0, 0, 0), np.array([0, 3])]},
}


def parts(text):
    """What a text says between its semicolons and line breaks."""
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def unfit(text, **settings):
    name, *shapes = text.split()
    shapes = [() if s == "-" else tuple(map(int, s.split("x"))) for s in shapes]
    words = f"{name}: {' '.join(str(shape).replace(' ', '') for shape in shapes)}"
    return words, lambda: getattr(ops, name)(*(leaf(*s) for s in shapes), **settings)


# Ops called with other operands, settings or dtypes than they have

X, W, B = leaf(2, 3), leaf(3, 2), leaf(2)
WIDE, WIDE_W = Tensor(np.ones((2, 3))), np.ones((2, 2, 1, 1))  # float64
NARROW_W = WIDE_W.astype("f")
SMALL, LARGE, PICTURE = image(1, 2, 4, 2), image(1, 4, 4, 2), image(1, 4, 4, 1)
PLAIN = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
PAIR = {"size": (2, 2), "stride": (2, 2)}
MOVING = {"mean": np.zeros(2, np.float32), "variance": np.ones(2, np.float32)}
KEYS = [np.eye(2, dtype=int), (np.arange(2), np.arange(2)), np.ones((3, 2), bool), np.ones(2, bool), 0.5]
OPS = raising(
    ShapeError,
    *map(unfit, parts(UNFIT + LINEAR)),
    *(unfit(text, slope=0.2) for text in parts(LINEAR)),
    *(unfit(text, **{k: v}) for text, own in SETTINGS_OF.items() for k in own for v in own[k]),
    unfit("unindex 2x3", key=slice(0, 2), shape=(4, 4)),
    unfit("unindex 2x3", key=np.arange(3), shape=(4, 3)),
    ("mean: (0,3)", lambda: Tensor(np.ones((0, 3))).mean()),
    ("max_pool2d_grad: g (1,4,4,2)", lambda: ops.max_pool2d_grad(LARGE, LARGE, **PAIR)),
    ("max_pool2d_pick: gg", lambda: ops.max_pool2d_pick(SMALL, LARGE, **PAIR)),
    ("crop2d: pads", lambda: ops.crop2d(image(1, 2, 2, 1), pads=(1, 1, 0, 0))),
    ("linear: (2,3) (4,2)", lambda: ops.linear_norm(X, leaf(4, 2), B, B, B, **MOVING)),
    ("linear_norm: gamma (3,)", lambda: ops.linear_norm(X, W, B, leaf(3), B, **MOVING)),
)
OPS += raising(
    UsageError,
    ("max_pool2d: stride", lambda: ops.max_pool2d(image(2, 4, 4, 1), size=(2, 2), stride=(0, 1))),
    ("maximum: x, *, axis", lambda: ops.maximum(X, 0)),
    ("maximum: axis", lambda: ops.maximum(X)),
    ("linear: 'b' (x,w,b,", lambda: ops.linear(X, W)),
    ("linear: 'b' name (x,w,b,", lambda: ops.linear(X, W, b=B)),
    ("max_pool2d: size, stride", lambda: ops.max_pool2d(PICTURE, 2)),
    ("reshape: shape", lambda: ops.reshape(X, (3, 2))),
    ("activation: 'slop' slope", lambda: ops.activation(X, slop=0.1)),
    ("activation 'lekay' leaky tanh sigmoid", lambda: ops.activation(X, act="lekay")),
    ("linear: 'slop' slope", lambda: ops.linear(X, W, B, slop=0.1)),
    ("slope -1", lambda: ops.leaky_relu(X, slope=-1)),
    ("slope 2", lambda: ops.linear(X, W, B, slope=2)),  # the sign of y would lie
    ("concat: 'axes' axis", lambda: ops.concat(X, X, axes=1)),
    ("list Tensors concat(a,b)", lambda: ops.concat((X, X))),  # NumPy's way: it would lose the gradient
    ("list Tensors concat(a,b)", lambda: tensor([X, X])),
    ("exp: 'x' exp(x)", lambda: ops.exp()),
    ("power: Tensor number exp log", lambda: X**X),
    ("power: str number", lambda: ops.power(X, exponent="2")),
    ("Tensor: list fastgan.tensor", lambda: Tensor([1, 2, 3])),
    ("Tensor: float fastgan.tensor", lambda: Tensor(1.5)),
    ("Tensor: Tensor fastgan.tensor", lambda: Tensor(X)),
    *(("index: wanted", partial(leaf(3, 2).__getitem__, key)) for key in KEYS),
    # two dtypes in a product, as in PyTorch: float64 would silently make all that follows float64, and slow
    ("matmul: float64 dtype", lambda: WIDE @ W),
    ("matmul: float64 dtype", lambda: X @ W.numpy().astype(np.float64)),
    ("matmul: uint8 dtype", lambda: np.ones((2, 3), np.uint8) @ W),
    ("linear: float64 dtype", lambda: ops.linear(WIDE, W, B)),
    ("linear: float64 dtype", lambda: ops.linear(X, W, np.ones(2))),
    ("linear: float64 dtype", lambda: ops.linear(WIDE, W, B, slope=0.2)),
    ("convolve: float64 dtype", lambda: ops.convolve(PICTURE, WIDE_W, **PLAIN)),
    ("convolve: float64 dtype", lambda: ops.convolve(PICTURE, NARROW_W, np.ones(1), **PLAIN)),
    ("convolve_transposed: float64", lambda: ops.convolve_transposed(PICTURE, WIDE_W, size=(5, 5), **PLAIN)),
)

# Random numbers, and arrays that come in

DRAWS = [partial(draw, (3,)) for draw in (random.normal, random.uniform)]
DRAWS += [partial(random.bits, 3), partial(random.permutation, 3), partial(random.integers, 3, 2)]
DRAWS += [lambda seed, stream, step: random.Draws(seed, stream).normal((3,))]
AT = {"stream": 0, "step": 0}
RANDOM = raising(
    UsageError,
    *((f"seed {n} 0<=seed<2**64", partial(draw, seed=n, **AT)) for draw, n in product(DRAWS, (-1, 2**64))),
    *((f"high {n} 1 2**32", partial(random.integers, 3, n, seed=0, **AT)) for n in (0, -1, 2**32 + 1)),
)
OBJECTS = [np.array(x, dtype=object) for x in ([object()], [[1], [1, 2]])]
NO_NUMBERS = [*OBJECTS, np.array(["a"]), [object()], {"a": 1}, None, "abc", ["a"], [[1], [2, 3]]]
EXCHANGE = raising(
    UsageError,
    *(("got array", partial(tensor, x)) for x in NO_NUMBERS),
    ("int64 requires_grad", lambda: tensor(np.array([1, 2]), requires_grad=True)),
)
EXCHANGE += raising(DeviceError, ("'gpu' auto cpu cuda", lambda: tensor([1.0], device="gpu")))

# The tape

PLACE = np.zeros((2, 3), np.float32)
TAPE = raising(
    UsageError,
    ("(3,2) allow_unused=True", lambda: grad(X.sum(), [X, W])),
    ("requires_grad=True", lambda: grad(tensor([1.0, 2.0]).sum(), [X])),
    ("out create_graph", lambda: grad(X.sum(), [X], create_graph=True, out=[PLACE])),
    ("0 out 1", lambda: grad(X.sum(), [X], out=[])),
    ("0 grad_outputs 1", lambda: grad([X.sum()], [X], [])),
)
TAPE += raising(
    ShapeError,
    ("(2,3) () mean() sum()", lambda: grad(X * 2, [X])),
    ("grad_outputs (2,) (2,3)", lambda: grad([X * 2], [X], [tensor([1.0, 1.0])])),
    ("float64 out", lambda: grad(X.sum(), [X], out=[PLACE.astype(float)])),
)

# Layers


class Doubled(Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) * 2


def loaded(change, without=""):
    """Values of a network, changed, back into it."""
    network = Sequential(Linear(3, 5), nn.BatchNorm(5))
    return lambda: network.load({k: x for k, x in (network.values() | change).items() if k != without})


LAYERS = raising(
    ShapeError,
    ("Linear: 0 3", lambda: Linear(0, 3)),
    ("5 6 1.mean", loaded({}, without="1.mean")),
    ("7 6 extra", loaded({"extra": np.zeros(1)})),
    ("0.bias (4,) (5,)", loaded({"0.bias": np.zeros(4)})),
    ("BatchNorm: batch 1 rows", lambda: nn.BatchNorm(3, correction=0)(image(1, 3))),
    ("BatchNorm: batch 1 rows", lambda: nn.BatchNorm(3, correction=0)(image(1, 1, 1, 3))),
    ("BatchNorm: x (2,4,4,2) 3", lambda: nn.BatchNorm(3)(image(2, 4, 4, 2))),
    ("LayerNorm: x (2,4,4,2) 3", lambda: nn.LayerNorm(3)(image(2, 4, 4, 2))),
    ("LayerNorm: x (3,)", lambda: nn.LayerNorm(3)(image(3))),
    ("InstanceNorm: x (2,4,4,2) 3", lambda: nn.InstanceNorm(3)(image(2, 4, 4, 2))),
    ("InstanceNorm: x (2,3) two pixels", lambda: nn.InstanceNorm(3)(image(2, 3))),
    ("InstanceNorm: x (2,1,1,3) two pixels", lambda: nn.InstanceNorm(3)(image(2, 1, 1, 3))),
    ("linear: x (4,3)", lambda: SpectralNorm(Linear(2, 3))(image(4, 3))),
    ("MinibatchStdDev: x (6,3) multiple 4", lambda: nn.MinibatchStdDev(4)(image(6, 3))),
    ("MinibatchStdDev: x (0,3)", lambda: nn.MinibatchStdDev(4)(image(0, 3))),
    ("Embedding: 0 labels", lambda: Embedding(0, 3)),
    ("Embedding: float32 whole", lambda: Embedding(10, 3)(tensor([1.0, 2.0]))),
    ("Embedding: float64 whole", lambda: Embedding(10, 3)([0.5])),
    ("Embedding: (2,1)", lambda: Embedding(10, 3)(np.zeros((2, 1), int))),
    ("Embedding: bool whole", lambda: Embedding(10, 3)(np.array([True]))),
    ("kernel 5x5 4x9", lambda: Conv2d(3, 4, 5)(image(2, 4, 9, 3))),
    ("convolve: (2,5,5,2)", lambda: Conv2d(3, 4, 3)(image(2, 5, 5, 2))),
    ("conv2d: x (2,75)", lambda: Conv2d(3, 4, 3)(image(2, 75))),
    ("Conv2d: weight (3,3,0,4)", lambda: Conv2d(0, 4, 3)),
    ("convolve_transposed: (2,5,5,4)", lambda: ConvTranspose2d(3, 4, 3)(image(2, 5, 5, 4))),
    ("ConvTranspose2d: weight (3,3,0,3)", lambda: ConvTranspose2d(3, 0, 3)),
    ("output_padding", lambda: ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)(image(2, 5, 5, 3))),
    ("less padding", lambda: ConvTranspose2d(3, 4, 2, padding=2)(image(2, 2, 2, 3))),
    ("max_pool2d: x (2,2,5,1) 3x3", lambda: nn.MaxPool2d(3)(image(2, 2, 5, 1))),
    ("max_pool2d: x (2,5)", lambda: nn.MaxPool2d(2)(image(2, 5))),
    ("avg_pool2d: x (2,2,5,1) 3x3", lambda: nn.AvgPool2d(3)(image(2, 2, 5, 1))),
    ("avg_pool2d: x (2,5)", lambda: nn.AvgPool2d(2)(image(2, 5))),
    ("upsample2d: x (2,5)", lambda: nn.Upsample2d(2)(image(2, 5))),
    ("pad2d: x (2,5)", lambda: nn.Pad2d(1)(image(2, 5))),
    ("Crop2d: x (2,8,6,1) 7x7", lambda: nn.Crop2d(7, 7)(image(2, 8, 6, 1))),
    ("Reshape: (47,) 48", lambda: nn.Reshape(4, 4, 3)(image(2, 47))),
)
LAYERS += raising(
    UsageError,
    ("'he_norma' he_normal", lambda: Linear(2, 2, init="he_norma")),
    ("slope 1.5", lambda: nn.LeakyReLU(1.5)),
    ("rate 1", lambda: nn.Dropout(1.0)),
    ("seed -1", lambda: Net(("linear o",)).build(2, 1, seed=-1)),
    ("BatchNorm: momentum 2", lambda: nn.BatchNorm(3, momentum=2)),
    ("BatchNorm: correction -1", lambda: nn.BatchNorm(3, correction=-1)),
    ("BatchNorm: correction nan", lambda: nn.BatchNorm(3, correction=math.nan)),
    ("BatchNorm: correction inf", lambda: nn.BatchNorm(3, correction=math.inf)),
    ("SpectralNorm: ReLU Linear", lambda: SpectralNorm(nn.ReLU())),
    ("SpectralNorm: Doubled", lambda: SpectralNorm(Doubled(2, 3))),
    ("MinibatchStdDev: 1", lambda: nn.MinibatchStdDev(1)),
    ("Embedding: label 10 0 9", lambda: Embedding(10, 3)([3, 10])),
    ("Embedding: label -1 0 9", lambda: Embedding(10, 3)(np.array([-1, 3]))),
    ("stride 0", lambda: Conv2d(3, 4, 3, stride=0)),
    ("stride (1,0)", lambda: Conv2d(3, 4, 3, stride=(1, 0))),
    ("kernel 0", lambda: Conv2d(3, 4, 0)),
    ("kernel (1,2,3)", lambda: Conv2d(3, 4, (1, 2, 3))),
    ("padding -1", lambda: Conv2d(3, 4, 3, padding=-1)),
    ("padding 'valid'", lambda: Conv2d(3, 4, 3, padding="valid")),
    ("initializer 'he'", lambda: Conv2d(3, 4, 3, init="he")),
    ("stride 0", lambda: ConvTranspose2d(3, 4, 3, stride=0)),
    ("size 0", lambda: nn.MaxPool2d(0)),
    ("stride 0", lambda: nn.MaxPool2d(2, 0)),
    ("factor 0", lambda: nn.Upsample2d(0)),
    ("padding -1", lambda: nn.Pad2d(-1)),
    ("padding 'same'", lambda: nn.Pad2d("same")),
    ("size (0,7)", lambda: nn.Crop2d(0, 7)),
    ("Reshape: shape (-1,3)", lambda: nn.Reshape(-1, 3)),
)

# Networks as text: a second line on images of 8 x 8, and what the error says of it


def built(*lines, shape=(8, 8, 1)):
    return lambda: Net(lines).build(math.prod(shape), 1, seed=3, shape=shape)


LINES = """
conv2d 4 3: 'conv2d' 'conv'; convolve-transpose 4 3: 'conv_transpose'; zzz: linear conv; : ''; pad: 0 1; conv 4: 1 2
linear 4: 8x8x1 rows flatten; conv four 3: 'four' o; conv 4 9: kernel 9x9 8x8; conv 4 0: kernel 0; conv 0 3: 1
conv 4 3 stride=0: stride 0; conv 4 3 stride=x: stride=x whole number; conv 4 3 stride=same: stride=same
conv 4 3 padding=-1: padding '-1' 'same'; conv 4 3 stride=2: stride 2 1 unread; conv 4 3 padding=same padding=1: twice
conv 4 3 stirde=2: 'stirde' stride padding; conv 4 3 init=glorot: initializer 'glorot'; conv 4 3 scale=big: scale=big
conv 4 3 scale=nan: scale nan; conv 4 3 scale=1 init_scale=1: twice; conv 4 3 bias=maybe: bias=maybe yes no
conv_transpose 4 3 output_padding=1: output_padding; conv_transpose 4 3 output_padding=x: output_padding=x
conv_transpose 4 4 padding=9: transposed; max_pool 3: stride 3 2 unread; max_pool 9: 9x9; max_pool 1 2 3: 3 1 2
crop 9x9: 9x9 pixels; crop 7: 1 2; reshape 7x7x2: 98; reshape 8x-8: '8x-8'; leaky_relu two: 'two' number
dropout 1.5: rate; dropout 0.5 rate=0.5: 'rate'; pad 1 2: 2 1; flatten 3: 1 0; layer_norm eps=-1: eps -1
batch_norm eps=inf: eps=inf; batch_norm momentum=big: momentum=big; batch_norm momentum=2: 0 1
relu spectral: SpectralNorm ReLU
"""
WRONG_NETS = [{"layers": [3]}, {"layers": "relu"}, {"hidden": ["relu"]}, {"layers": ["relu"], "slope": 1.0}]
NETS = raising(
    UsageError,
    *(
        (f"network, layer 2, '{line}':{words}", built("image", line))
        for line, _, words in (part.partition(":") for part in parts(LINES))
    ),
    ("layer 1, 'conv 4 3': 64 images", built("conv 4 3")),
    ("layer 1, 'image': 2 images", built("image", shape=(2,))),
    *(
        ("", partial(from_dict, {"critic": wrong}, fg.recipes[base]))
        for wrong, base in product(WRONG_NETS, ("digits", "cgan-mnist"))
    ),
)

# Optimizers: a setting, its wrong values, and a right one


class Mixed(Module):
    """Parameters of two dtypes."""

    def __init__(self) -> None:
        self.first, self.second = parameters("float32", "float64")


def parameters(*dtypes):
    return [Tensor(np.ones(2, dtype), requires_grad=True) for dtype in dtypes]


def optimizer(make, name, value):
    """One with a setting of this value."""
    betas = {"beta1": (value, 0.9), "beta2": (0.5, value)}
    own = {"betas": betas[name]} if name in betas else {name: value}
    return make(Linear(2, 2), **({"lr": 1.0} if make is SGD else {}) | own)


KINDS = (SGD, Adam, AdamW, RMSProp)
SETTINGS = [
    *((make, name, (-1e-9, math.nan, math.inf), 0) for make in KINDS for name in ("lr", "clip")),
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
UNTRAINABLE = [
    ("second float64 first float32", Mixed()),
    ("2 float32 0 float64", parameters("float64", "float64", "float32")),
    ("0 int64 floats", parameters("int64")),
    ("0 1 once", parameters("float32") * 2),
]
OPTIMIZERS = raising(
    UsageError,
    *(
        (f"{make.__name__}: {name} {value}", partial(optimizer, make, name, value))
        for make, name, wrong, _ in SETTINGS
        for value in wrong
    ),
    *((f"schedule '{text}' constant, linear", partial(schedule, text, 3, 10)) for text in SCHEDULES),
    *((words, partial(make, p, lr=1.0)) for make in (SGD, Adam, RMSProp) for words, p in UNTRAINABLE),
)

# Losses


def penalty(real, fake, epsilon, critic=lambda x: x):
    return lambda: gradient_penalty(critic, image(*real), image(*fake), image(*epsilon))


NORMED = Sequential(Linear(3, 4), Sequential(nn.BatchNorm(4)), Linear(4, 1))
LOSSES = raising(
    UsageError,
    ("objective 'wassertein' wasserstein", lambda: objective("wassertein")),
    ("objective 'xyz' minimax, non-saturating", lambda: objective("xyz")),
    ("critic BatchNorm gradient penalty", penalty((5, 3), (5, 3), (5, 1), NORMED)),
)
LOSSES += raising(
    ShapeError,
    ("gradient_penalty: (5,3) (4,3)", penalty((5, 3), (4, 3), (5, 1))),
    ("gradient_penalty: (5,3) (5,2)", penalty((5, 3), (5, 2), (5, 1))),
    ("gradient_penalty: (5,3)", penalty((5, 3), (5, 3), (5, 3))),
)

# Data

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
NOISE = np.random.default_rng(0).normal(size=(5, 4, 4))
GREY = {"samples": PIXELS[..., None]}
ARRAYS = [
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
    *((x, "2 samples") for x in (PIXELS[:1], PIXELS[:0], np.zeros((5, 0, 4)), np.zeros((5, 0)))),
    (np.zeros((5, 4, 4)), "5 same"),
    (np.stack([PIXELS[0]] * 3), "3 same"),
    (np.array([[1e300, 0], [0, 1]]), "1 4 finite (0,0)"),
]
LABELS = [([1, 2], "5 labels (2,)"), (np.zeros((5, 2), int), "5 labels (5,2)"), (range(6), "5 labels (6,)")]
LABELS += [(3, "5 labels ()"), (np.arange(5) / 2, "whole numbers"), (["a"] * 5, "whole numbers")]
PARTS = [{"samples": PIXELS}, {"samples": NOISE[:, 0]}, {"samples": np.zeros((0, 4, 4, 1), np.uint8)}]
PARTS += [GREY | {"low": 1.0, "high": 1.0}, GREY | {"labels": np.arange(4)}]
PARTS += [GREY | {"labels": np.arange(5, dtype="i4")}]
NEAR = {"mnits": "mnist", "MNIST": "mnist", "fashion_mnist": "fashion-mnist", "rings": "ring"}
ABSENT = ("no/such/folder", "images.npz", "a\0b.npy", "x" * 5000 + ".npy")
DATA = raising(
    DataError,
    *((f"mine: {words}", partial(data.from_array, x, name="mine")) for x, words in ARRAYS),
    *((words, partial(data.from_array, PIXELS, labels)) for labels, words in LABELS),
    *(("odd", partial(Dataset, "odd", **parts)) for parts in PARTS),
    ("empty", lambda: data.from_array(PIXELS).take(slice(9, 12))),
    *(("file folder", partial(data.load, spec)) for spec in ABSENT),
)
DATA += raising(
    UsageError,
    ("low high", lambda: data.from_array(PIXELS).scaled(1, 1)),
    ("from_array", lambda: data.load(PIXELS)),
    ("'valid' train test", lambda: data.load("digits", split="valid")),
    *((f"image_size {size}", partial(data.load, "digits", image_size=size)) for size in (0, 2.5, True)),
    ("--image-size digits 8x8x1", lambda: data.load("digits", image_size=16)),
    *((f"'{k}' '{near}' {' '.join(data.names)}", partial(data.load, k)) for k, near in NEAR.items()),
)

# Recipes and trainers


def trainer(recipe, given=None, **settings):
    """A trainer of a recipe or of its name, on the data that fits it or on others."""

    def make():
        found = samples(recipe) if given is None and isinstance(recipe, fg.Recipe) else given
        return fg.Trainer(recipe, found, device="cpu", **settings)

    return make


def latents():
    return trainer_of().sample(2, latent=np.zeros((2, 3), "f"))


def unlike():
    return ConcatCritic(Sequential(), (3, 2, 1), K)(image(2, 6), image(1, K))


def labelled_samples(label):
    return trainer_of().sample(3, label=label)


PENALIZED = Sequential(Linear(64, 8), nn.BatchNorm(8), Linear(8, 1))
UNLABELLED = replace(labelled(), labels=None)
BELOW = replace(labelled(), labels=labelled().labels - 1)
PICTURES = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 1), np.uint8)
CHANGES = {"batch": 0, "noise": "pink", "objective": "gan", "ema": 1.0, "sampling": "x", "bach": 3}
CHANGES |= {"low": 1.0, "first": -5, "generator_steps": 0, "warmup_critic_steps": -1, "warmup_every": 0}
CHANGES |= {"warmup_steps": -1, "held_out": True, "published": "digits"}
TOGETHER = {"critic_steps": 5, "generator_steps": 2, "warmup_critic_steps": 3}
LABEL = [(K, f"{K} 0 4"), (-1, "-1 0 4"), ([0, 1, 9], "9 0 4"), ([0, 1], "[0,1] whole 3"), (1.5, "1.5 whole")]
LABEL += [("7", "'7' whole"), (True, "True whole")]
TRAINERS = raising(
    UsageError,
    *((name, partial(fg.recipes["digits"].replace, **{name: value})) for name, value in CHANGES.items()),
    ("generator (784,) (256,)", trainer("cs231n-dcgan", PICTURES)),
    ("dcgan64 data --data", trainer("dcgan64")),
    ("generator (10,) (64,)", trainer("digits", generator=Sequential(Linear(32, 10)))),
    ("critic scores", trainer("digits", critic=Linear(64, 2))),
    ("BatchNorm gradient penalty", trainer("digits", critic=PENALIZED)),
    ("split updates", trainer(tiny("keras-mlp").replace(objective="wasserstein-gp"))),
    *(("simultaneous", trainer(tiny("ring-gan").replace(**{name: n}))) for name, n in TOGETHER.items()),
    ("-1 0", lambda: trainer("digits")().fit(-1)),
    ("nothing", fg.recipes["cs231n-vanilla"].as_published),
    *((f"sample: label {words}", partial(labelled_samples, label)) for label, words in LABEL),
    ("generator 'y'", trainer("digits", generator=LabelledGenerator(Linear(34, 64), 32, 10, embed=2))),
    ("critic (n,5) many", lambda: trainer_of(critic=Linear(6, 1))),
    ("label 3 classes", lambda: trainer_of(LABELLED.replace(classes=0)).sample(3, label=3)),
)
TRAINERS += raising(
    DataError,
    ("points", trainer("ring-gan", data.load("digits"))),
    ("images", trainer("digits", data.load("ring"))),
    ("images", trainer("cs231n-dcgan", data.load("ring"))),
    ("batch 64", trainer("digits", data.load("digits").take(slice(0, 20)))),
    ("labelled: without labels 5 classes", lambda: trainer_of(dataset=UNLABELLED)),
    ("labelled: 5 classes 4 --classes", lambda: trainer_of(LABELLED.replace(classes=4))),
    ("--classes 5", lambda: trainer_of(LABELLED.replace(classes=6))),
    ("label -1 sample 0", lambda: trainer_of(dataset=BELOW)),
)
TRAINERS += raising(
    ShapeError,
    ("linear: x", trainer("digits", critic=Linear(63, 1))),
    ("LabelledGenerator: (2,3) labels (2,5) (n,4) (n,5)", latents),
    ("ConcatCritic: (2,6) labels (1,5) (n,6) (n,5)", unlike),
)

WITH_AND_WITHOUT_KERNELS = [*OPS, *RANDOM, *LAYERS]
ROWS = [*OPS, *RANDOM, *EXCHANGE, *TAPE, *LAYERS, *NETS, *OPTIMIZERS, *LOSSES, *DATA, *TRAINERS]
