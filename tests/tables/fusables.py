"""The one table of fusables: for each entry of fastgan.fused.TABLE its calls, and how right a kernel's answer must be.

A row is a call. Its work, the product of the numbers in its shape, says who makes it: Numba's simulator the TINY ones,
the short tests of CPU kernels the SMALL ones, a GPU and the slow tests all; who wants operands for a measurement picks
a shape. All is drawn in float32, away from kinks, so that array code in float64 gives the exact answer.

Shapes: `n` batch, `i`/`o` features in/out, `f` features on the last axis, `h w c` image.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan import fused
from fastgan.dispatch import Fusable
from fastgan.ops import SCORE_LOSSES
from fastgan.ops.conv import out_size
from fastgan.ops.elementwise import ACTIVATIONS

Array = NDArray[Any]
Settings = dict[str, Any]
TINY, SMALL, ALL = 2_600, 1_000_000, math.inf

# an entry's name is its kernel's
OF: dict[str, Fusable] = {function: fusable for fusable, _, _, function in fused.TABLE}
BOTH = ("numpy", "cupy")
# whose bits are the array code's; of others a kernel may be off by a factor of the array code's own error in float32,
# and by a share of the largest number
BITS = ("activation_grad", "unfold", "fold", "max_pool2d", "max_pool2d_pick", "fill_normal", "fill_uniform")
BITS = (*BITS, "assemble", "record")
USUAL, IN_PIECES = (2, 1e-6), (3, 3e-6)
TOLERANCE = {name: IN_PIECES for name in OF if name.startswith(("convolve", "norm_forward"))}
CANCELS = ("norm_backward",)  # to less than its terms


@dataclass(frozen=True)
class Row:
    """One call of a fusable."""

    name: str
    operands: tuple[Any, ...]
    settings: Settings
    left: tuple[str, ...] = ()  # libraries whose kernel may leave it to the array code
    bits: tuple[str, ...] = ()  # libraries whose kernel gives the array code's bits

    @property
    def fusable(self) -> Fusable:
        """The array code."""
        return OF[self.name]

    def __str__(self) -> str:
        """In a line, for a failure."""
        shapes = [getattr(x, "shape", x) for x in self.operands]
        return f"{self.name} {shapes} { {k: getattr(v, 'shape', v) for k, v in self.settings.items()} }"


class Draw:
    """float32 arrays, always the same ones."""

    def __init__(self, *key: int) -> None:
        self.rng = np.random.default_rng(key)

    def __call__(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.rng.normal(size=shape) * scale).astype(np.float32)

    def away(self, *shape: int) -> Array:
        """None near 0, where activations have their kinks."""
        x = self(*shape)
        return x + np.copysign(np.float32(0.05), x)

    def layer(self, n: int, i: int, o: int) -> tuple[Array, Array, Array]:
        """x, w and b."""
        return self.away(n, i), self(i, o, scale=i**-0.5), self(o)

    def columns(self, f: int) -> tuple[Array, Array, Array, Array]:
        """Gamma, beta, and running mean and variance."""
        return self(f), self(f), self(f), self(f) ** 2 + np.float32(0.1)


def place(*shape: int) -> Array:
    """An array to be written, all of it."""
    return np.full(shape, np.nan, np.float32)


Call = tuple[Any, ...]  # operands and settings, then who may leave it to the array code
Maker = Callable[..., Iterator[Call]]
ENTRIES: dict[str, tuple[Sequence[Any], Maker]] = {}


def entry(name: str, shapes: Sequence[Any]) -> Callable[[Maker], Maker]:
    """Register the maker of an entry's calls for each of the shapes."""

    def register(maker: Maker) -> Maker:
        ENTRIES[name] = shapes, maker
        return maker

    return register


def work_of(shape: Any) -> int:
    """Elements or multiplications; of a shape with more behind it, as strides, the first part counts."""
    return math.prod(shape[0] if isinstance(shape[0], tuple) else shape)


def rows(name: str, most: float = ALL, least: float = 0) -> list[Row]:
    """The rows of an entry, of more work than `least` and at most `most`."""
    return [
        row for shape in ENTRIES[name][0] if least < work_of(shape) <= most for row in rows_of(name, *shape)
    ]


def rows_of(name: str, *shape: Any) -> list[Row]:
    """The rows of an entry for one shape, whichever."""
    return [
        Row(name, tuple(operands), settings, *left, bits=bits(name, settings))
        for operands, settings, *left in ENTRIES[name][1](Draw(work_of(shape)), *shape)
    ]


def row_of(name: str, *shape: Any, having: Sequence[str] = (), operands: int = 0) -> Row:
    """The first row of an entry for one shape that has these settings and so many operands."""
    return next(
        r for r in rows_of(name, *shape) if {*having} <= {*r.settings} and len(r.operands) >= operands
    )


def bits(name: str, settings: Settings) -> tuple[str, ...]:
    """The libraries whose kernels have the array code's bits; a CPU adds up windows that overlap in another order."""
    if name == "max_pool2d_grad":
        apart = all(a <= b for a, b in zip(settings["size"], settings["stride"], strict=True))
        return BOTH if apart else ("cupy",)
    return BOTH if name in BITS and settings.get("act", "leaky") == "leaky" else ()


def shapes(text: str) -> list[tuple[int, ...]]:
    """Sizes as "2x3 4x5" for (2, 3) and (4, 5)."""
    return [tuple(map(int, word.split("x"))) for word in text.split()]


def lines(text: str) -> list[tuple[tuple[int, ...], ...]]:
    """Several sizes that belong together, as "2x3 1x1, 4x5 2x2"."""
    return [tuple(shapes(line)) for line in text.split(",")]


# n, i, o: ragged tiles, one output, several stages of each tile; then what the CPU splits; then the recipes' layers
DENSE = shapes(
    "1x1x1 3x7x1 5x8x1 3x4x4 3x7x5 9x140x1 67x20x1 3x132x4 37x4x12 33x12x36 65x4x36 5x68x132"
    " 33x1001x2 1001x3x17 2x3x1025 31x99x101 33x257x5 65x2x1023 257x7x250 129x256x1 130x333x66"
    " 32x100x256 64x784x512 96x512x256 128x256x128 256x1024x784 768x784x512 64x512x256 32x1024x784"
)
SLOPES = ({"slope": 0.2}, {"slope": 0.0}, {"slope": 1.0})
ACTS: tuple[Settings, ...] = (*SLOPES, *({"act": name} for name in ACTIVATIONS if name != "leaky"))


def some(choices: Sequence[Any], *shape: int, most: int = 50, turns: int = 1) -> Sequence[Any]:
    """All choices for the smallest shapes, for others a few in turn."""
    first = sum(shape) % len(choices)
    return choices if math.prod(shape) <= most else [choices[first - k] for k in range(turns)]


@entry("matmul", DENSE)
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    yield (draw(n, i), draw(i, o)), {}
    yield (draw(n, i), draw(o, i).T), {"out": place(n, o)}
    yield (draw(i, n).T, draw(i, o)), {}


@entry("forward", DENSE)
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    for act in some(ACTS, n, i, o):
        yield draw.layer(n, i, o), act
    if (n, i) == (5, 8):
        for act, large in product(ACTS[2:], (-200, 200)):  # nothing overflows
            yield (np.full((n, i), large, np.float32), np.full((i, o), 1 / i, np.float32), draw(o)), act


@entry("backward", DENSE)
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    operands = draw(n, o), draw.away(n, i), draw(i, o, scale=o**-0.5)
    acts = some(ACTS, n, i, o)
    for act in acts:
        yield operands, {**act, "gw": place(i, o), "gb": place(o)}
    if len(acts) > 1:
        yield operands, {"gw": place(i, o), "gb": place(o), "dx": False}
        yield operands, {"dx": False}
        yield operands, ACTS[0]


@entry("weight_gradients", DENSE)
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    for rows in sorted({0, 1, n // 2, n} if n * i * o <= 50 else {n // 2}):
        yield (draw(n, i), draw(n, o)), {"gw": place(i, o), "gb": place(o), "rows": rows}


@entry("tangent", DENSE)
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    for act in some(ACTS, n, i, o):
        y = draw.away(n, o)
        for own in some(({}, {"out": place(n, o)}, {"out": y}), n, i, o):
            yield (draw(n, i), draw(i, o, scale=i**-0.5), y), act | own


@entry("forward_norm", [*DENSE, *shapes("32x3x3 64x3x3 70x4x4")])
def _(draw: Draw, n: int, i: int, o: int) -> Iterator[Call]:
    """In training a block owns all rows: of more than 64 there are two launches."""
    norm = {"eps": 1e-3, "momentum": 0.1, "widening": 1.25}
    for act in some(ACTS, n, i, o):
        operands = *draw.layer(n, i, o), *draw.columns(o)
        yield operands, norm | act | {"stats": place(2, o)}, ("cupy",) if n > 64 else ()
    yield operands, norm | act | {"training": False}
    if i == 1:  # a variance of which E[x^2] - E[x]^2 would have no digit
        x = 1000 + draw(32, 1)
        yield (x, np.ones((1, o), "f4"), draw(o), *draw.columns(o)), norm | {"stats": place(2, o)}


# (..., f): one row, few and many rows and columns, columns in fours and not; sums that a CPU shares out; layers, images
COLUMNS = shapes(
    "1x1 2x3 7x8 3x2x5x4 33x9 70x2 9x37 71x33 64x16 1x71x1x36"
    " 1031x7 530x36 8208x1 129x10 3x7x5x64 4x28x28x1 65x257 64x1024 2x8259 2x33x64x33 50001x3 50x14x14x64"
    " 128x14x14x64 1200000x1 40x24x24x32 32x256 128x784 256x1024 768x512"
)
LONG = shapes("65536x2 4097x33 16x24x24x32 257x511 600000x3")
EPS = 1e-3


def stats_of(x: Array) -> Array:
    """What batch norm keeps of x: means, and 1 / sqrt(variance + eps)."""
    wide = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return np.stack([wide.mean(axis=0), 1 / np.sqrt(wide.var(axis=0) + EPS)]).astype(np.float32)


@entry("norm_forward", COLUMNS)
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    x, f, norm = draw(*shape) + 3, shape[-1], {"eps": EPS, "momentum": 0.2, "widening": 1.25}
    acts = some(ACTS, *shape, most=6)
    for act in acts:
        yield (x + 50, *draw.columns(f)), norm | act | {"stats": place(2, f)}
        yield (x, *draw.columns(f)), norm | act | {"training": False}
    if len(acts) > 1:
        yield (x, *draw.columns(f)), norm


@entry("norm_backward", COLUMNS)
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    f = shape[-1]
    for act in some(ACTS, *shape, most=6):
        x = draw.away(*shape)
        places = {"ggamma": place(f), "gbeta": place(f)}
        yield (draw(*shape), x, draw(f), stats_of(x)), act | places


@entry("sum_to", [*COLUMNS, *LONG])
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    """NumPy is as fast where numbers are few, or columns are one or many; it also sums what is no last axis."""
    x, f = draw(*shape) + 1, shape[-1]
    alike = () if x.size >= 65_536 and 1 < f < 512 else ("numpy",)
    left = BOTH if x.size == f else alike  # nothing to sum
    yield (x,), {"shape": (f,)}, left
    yield (x,), {"shape": (f,), "out": place(f)}, left
    for kept in ((1, f), (), shape[1:]):
        yield (x,), {"shape": kept}, BOTH if math.prod(kept) == x.size else ("numpy",)


NONE = (0, 0, 0, 0)
# n h w c o kh kw, stride, pad. Two axes never alike; windows apart, on one another, over every edge, of padding alone,
# pixels that no window sees, taps that no window has in the image; on both sides of what a CPU joins; then the recipes'
IMAGES = lines(
    "2x5x6x3x5x3x2 2x1 1x0x0x1, 2x6x5x4x5x2x4 1x3 0x2x1x2, 2x4x7x8x1x1x2 3x3, 1x3x2x2x4x4x5 1x2 2x1x3x1,"
    "2x5x4x4x5x1x1 1x1, 3x3x4x4x5x3x4 1x1, 5x3x5x2x3x3x2 1x2 1x1x0x1, 2x2x3x4x4x2x3 1x1 1x0x0x1,"
    "2x2x3x1x4x3x3 2x2 1x1x1x1, 1x1x1x1x1x1x1 1x1, 3x8x8x1x3x2x3 3x4, 3x2x2x1x3x5x5 1x1 4x4x4x4,"
    "2x3x3x2x2x2x2 1x1 5x5x5x5, 2x1x1x32x2x3x3 2x2 0x2x0x2, 2x5x6x3x4x1x1 2x3, 5x7x7x3x2x5x5 2x2 2x2x2x2,"
    "3x14x14x4x8x5x5 2x2 1x2x1x2, 2x12x12x1x16x12x12 1x1 5x6x5x6, 7x9x9x8x5x3x4 2x2 1x1x1x2,"
    "7x9x9x7x5x3x4 2x2 1x1x1x2, 6x6x6x16x5x4x4 1x1, 3x4x4x2x3x4x4 1x1 3x3x3x3, 2x8x8x32x2x4x4 1x1 5x5x5x5,"
    "2x8x8x3x2x4x4 1x1 5x5x5x5, 32x28x28x1x32x5x5 1x1, 32x12x12x32x64x5x5 1x1, 9x8x8x96x36x1x1 1x1,"
    "32x14x14x64x128x4x4 2x2 1x1x1x1, 16x32x32x1x16x32x32 1x1 15x16x15x16, 50x28x28x1x64x5x5 2x2 1x2x1x2,"
    "32x7x7x128x1x7x7 1x1"
)


ENDS = list(product(({}, {"slope": 0.2}, {"slope": 0.0}), (0, 1)))[:5]  # slope, and whether there is a bias


def lying(sizes: Sequence[int], stride: Any, pad: Any) -> tuple[Settings, Any]:
    """Stride and pad, and the size of what the windows give."""
    return {"stride": stride, "pad": pad}, out_size(tuple(sizes[1:3]), tuple(sizes[5:7]), stride, pad)


@entry("convolve", IMAGES)
def _(draw: Draw, sizes: Sequence[int], stride: Any, pad: Any = NONE) -> Iterator[Call]:
    (n, h, w, c, o, *kernel), (lie, _) = sizes, lying(sizes, stride, pad)
    x, weight = draw(n, h, w, c), draw(*kernel, c, o, scale=(math.prod(kernel) * c) ** -0.5)
    for slope, b in some(ENDS, *sizes, turns=3):
        yield (x, weight, *[draw(o)][:b]), lie | slope


@entry("convolve_transposed", IMAGES)
def _(draw: Draw, sizes: Sequence[int], stride: Any, pad: Any = NONE) -> Iterator[Call]:
    (n, h, w, c, o, *kernel), (lie, out) = sizes, lying(sizes, stride, pad)
    v, weight, lie = draw(n, *out, o), draw(*kernel, c, o, scale=o**-0.5), lie | {"size": (h, w)}
    for slope, b in some(ENDS, *sizes, turns=3):
        yield (v, weight, *[draw(c)][:b]), lie | slope


@entry("convolve_weight_grad", IMAGES)
def _(draw: Draw, sizes: Sequence[int], stride: Any, pad: Any = NONE) -> Iterator[Call]:
    (n, h, w, c, o, *kernel), (lie, out) = sizes, lying(sizes, stride, pad)
    for own in some(({}, {"out": place(*kernel, c, o)}), *sizes):
        yield (draw(n, h, w, c), draw(n, *out, o)), lie | {"kernel": tuple(kernel)} | own


@entry("unfold", IMAGES)
def _(draw: Draw, sizes: Sequence[int], stride: Any, pad: Any = NONE) -> Iterator[Call]:
    n, h, w, c, _, *kernel = sizes
    yield (draw(n, h, w, c),), lying(sizes, stride, pad)[0] | {"kernel": tuple(kernel)}


@entry("fold", IMAGES)
def _(draw: Draw, sizes: Sequence[int], stride: Any, pad: Any = NONE) -> Iterator[Call]:
    (n, h, w, c, _, *kernel), (lie, out) = sizes, lying(sizes, stride, pad)
    cols = draw(n * math.prod(out), math.prod(kernel) * c)
    yield (cols,), lie | {"kernel": tuple(kernel), "shape": (n, h, w, c)}


# n, h, w, c; windows; stride: side by side, rows left over, on one another, gaps between
POOLS = lines(
    "3x5x4x1 2x2 2x2, 3x5x6x3 3x2 1x2, 3x6x5x3 2x3 3x1, 3x3x4x3 1x2 2x3, 2x6x8x8 2x2 2x2, 3x7x5x33 2x2 2x2,"
    "2x9x8x16 3x3 2x2, 2x5x6x9 1x3 2x1, 1x8x9x12 2x1 3x4, 2x3x3x8 3x3 1x1,"
    "80x12x12x64 2x2 2x2, 81x11x12x64 3x3 2x2, 32x24x24x32 2x3 3x4, 32x24x24x32 2x2 2x2"
)


def pool_rows(name: str, operands: Callable[[Draw, Array, tuple[int, ...]], tuple[Array, ...]]) -> None:
    """Rows of an op of max pooling: with one largest element in most windows, and with several; a CPU's lanes are 8."""

    @entry(name, POOLS)
    def _(draw: Draw, shape: Sequence[int], size: Any, stride: Any) -> Iterator[Call]:
        n, h, w, c = shape
        out = n, *((a - k) // s + 1 for a, k, s in zip((h, w), size, stride, strict=True)), c
        for x in (draw(*shape), np.maximum(np.round(draw(*shape)), 0)):
            yield operands(draw, x, out), {"size": size, "stride": stride}, () if c >= 8 else ("numpy",)


pool_rows("max_pool2d", lambda draw, x, out: (x,))
pool_rows("max_pool2d_grad", lambda draw, x, out: (draw(*out), x))
pool_rows("max_pool2d_pick", lambda draw, x, out: (draw(*x.shape), x))


def groups(n: int, alone: Sequence[str]) -> Iterator[Settings]:
    """Losses of all rows, and of groups of rows."""
    yield from ({"kinds": (kind,), "counts": (n,)} for kind in alone)
    if n >= 3:
        a = n // 3
        yield {"kinds": ("softplus(-s)", "softplus(s)"), "counts": (a, n - a), "weight": 0.5}
        yield {"kinds": ("-s", "s", "gradient"), "counts": (a, a, n - 2 * a)}
        kinds = "max(0, 1 - s)", "-softplus(s)", "(s - 1)^2 / 2"
        yield {"kinds": kinds, "counts": (1, a, n - a - 1), "weight": 2.0}


@entry("score_loss", shapes("1 6 129 300 768 4096"))
def _(draw: Draw, n: int) -> Iterator[Call]:
    for settings in groups(n, [*SCORE_LOSSES, "gradient"][:: 1 if n in (6, 300) else 5]):
        yield (3 * draw(n, 1),), settings
    if n == 6:  # nothing overflows
        for settings in groups(n, [*SCORE_LOSSES]):
            yield (np.float32([[-300], [-90], [-1], [1], [90], [300]]),), settings


@entry("head_loss", shapes("1x1 6x7 17x36 65x4 6x33 33x132 129x256 256x512 768x512"))
def _(draw: Draw, n: int, i: int) -> Iterator[Call]:
    for settings in groups(n, ["softplus(s)"]):
        own = {name: value for name, value in settings.items() if name != "weight"}
        yield (draw(n, i), draw(i, 1, scale=i**-0.5), draw(1)), own, ("cupy",) if n * i > 1 << 17 else ()


@entry("penalty", shapes("3x7 17x8 17x3 33x132 1000x3 2x8259 64x1024 300x784 256x1024 768x784"))
def _(draw: Draw, n: int, f: int) -> Iterator[Call]:
    loss = np.array(draw.rng.normal(), np.float32)
    yield (draw(n, f), place(n, f), loss), {"weight": 10.0}
    g = draw(n, f)
    g[: n // 2] = 0  # of norm 0, where the norm has no derivative
    yield (g, place(n, f), loss), {"weight": 2.0}


@entry("record", [(5,)])
def _(draw: Draw, k: int) -> Iterator[Call]:
    first, second, third = (np.array(draw.rng.normal(), np.float32) for _ in range(3))
    for step in (0, 4, 13, 2**33 + 1):
        yield (draw(k, 2), first, second), {"step": step, "advance": True}
        yield (draw(k, 2), first, second), {"step": step, "more": third, "scale": 0.5}


FLAT = shapes("1 2 3 5 31 32 5x7 515 1023 2052 4099 3x2x5x3 25600 1605632")
DRAWS = (
    {"seed": 0, "stream": 0, "step": 0},
    {"seed": 2**64 - 1, "stream": 5, "step": 2**32 + 7},
    {"seed": 2**33 + 1, "stream": 4 | 3 << 16, "step": 2**63 + 1},
)


@entry("activation_grad", FLAT)
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    y = draw(*shape)
    y.flat[0] = 0
    for act in some(ACTS, *shape, most=5, turns=2):
        g = draw(*shape)
        for own in some(({}, {"out": place(*shape)}, {"out": g}), *shape):
            yield (g, y), act | own


@entry("fill_normal", FLAT)
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    for which in DRAWS:
        yield (place(*shape),), which


@entry("fill_uniform", FLAT)
def _(draw: Draw, *shape: int) -> Iterator[Call]:
    for limits in ({}, {"low": -0.3, "high": 0.7}, {"low": 2.0**20, "high": 2.0**20 + 1}):
        yield (place(*shape),), DRAWS[1] | limits


# batch, columns; of bytes or numbers
@entry("assemble", shapes("5x1 5x3 5x8 5x30 5x260 7x11 64x784 33x785 256x2"))
def _(draw: Draw, batch: int, f: int) -> Iterator[Call]:
    n = 4 * batch + 3
    pixels, points = draw.rng.integers(0, 256, (n, f), np.uint8), draw(n, f)
    order = np.stack([draw.rng.permutation(n) for _ in range(3)])
    orders = {"sampling": "replacement"}, {"sampling": "sequential"}, {"sampling": "epochs", "order": order}
    orders = (*orders, {"sampling": "epochs"})  # an order that was not made: the rows' own
    fake = {"fake": draw(batch, f)}
    own = {"batch": batch, "seed": 2**63 + 5, "scale": 2 / 255, "offset": -1.0}
    for rows in (pixels, points):
        settings = own | {"rows": rows, "update": 1}
        yield (place(batch, f),), settings | {"scale": 1.0, "offset": 0.0, "sampling": "sequential"}
        yield (place(2 * batch, f),), settings | fake
        yield (place(3 * batch, f),), settings | fake | {"mixed": True}
    updates = (0, 3, 4, 11, 2**31 - 1, 2**33 + 7) if f == 8 else (3,)
    for sampling in orders if f in (8, 784) else orders[:1]:
        for update in updates:
            settings = own | sampling | fake | {"rows": pixels, "update": update, "mixed": True}
            yield (place(3 * batch, f),), settings


ADAM = {"lr": 2e-3, "t": 3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 5e-3, "alpha": 0.99, "eps": 1e-8}
SGD = {"lr": 5e-3, "momentum": 0.5}


def endings(draw: Draw, *shape: int) -> Iterator[Settings]:
    """What may follow an update: clipping, an average, both."""
    yield {}
    yield {"clip": 0.3}
    yield {"average": draw(*shape), "follow": 0.1}
    yield {"clip": 0.3, "average": draw(*shape), "follow": 0.5}


def update_rows(
    name: str, rules: Settings, state: int, always: Sequence[Settings], more: Sequence[Settings]
) -> None:
    """Rows of an optimizer's update; the state's last array is a mean of squares, a CPU takes flat ones."""

    @entry(name, FLAT)
    def _(draw: Draw, *shape: int) -> Iterator[Call]:
        left = () if len(shape) == 1 else ("numpy",)
        for ending in (*endings(draw, *shape), *always):
            operands = *(draw(*shape) for _ in range(1 + state)), draw(*shape) ** 2
            yield operands, rules | ending, left
        if shape == (5,):  # from nothing, where the digits of a small step show
            empty = np.zeros((1 + state, 5), np.float32)
            for own in more:
                yield (empty[0], draw(5), *empty[1:]), rules | own
                yield (empty[0], draw(5), *(draw(5) ** 2 for _ in range(state))), rules | own


TIMES = [
    {"t": t, "b1": b1, "b2": b2}
    for t in (1, 2, 1000, 100_000, 2**40)
    for b1, b2 in ((0.5, 0.9999), (0.9999, 0.9999), (0.9, 0.999), (0.0, 0.0))
]
DECAY = {"decay": 0.5, "lr": 0.1}
update_rows("adam_update", ADAM, 2, [DECAY, DECAY | {"clip": 0.8}], TIMES)
update_rows("rmsprop_update", RMSPROP, 1, [], [{"alpha": 0.9999}, {"alpha": 0.0}])
update_rows("sgd_update", SGD, 1, [], [{"momentum": 0.0}])
