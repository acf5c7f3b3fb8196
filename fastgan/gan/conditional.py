"""Conditional networks: a labelled sample is its pixels with one column per class behind them, and so is a latent.

Around any generator and critic, so that the step, the batches, the losses and the penalties need not know of labels: a
generator takes z with a one-hot row behind it and gives pixels with that row in the data's black and white behind
them; a critic takes these apart again. The class that a column says is a constant to it (the nearer of black and
white), so a gradient penalty is one over pixels, and a point between samples of two classes has the nearer one's.

Letters: `n` batch, `f` numbers of pixels (or of a point), `k` classes, `z` latents, `e` numbers of an embedding.
"""

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError
from fastgan.nn.layers import Linear
from fastgan.nn.module import Module
from fastgan.tape import Tensor, Thunk, op

GENERATOR_JOINS = ("concat", "multiply")
CRITIC_JOINS = ("projection", "concat")


@op
def beside(*xs: Array) -> Array:
    """Arrays joined along their last axis; like `concat`, but their gradients are whole arrays, as GEMMs want them."""
    return array_module(xs[0]).concatenate(xs, axis=-1)


@beside.vjp
def _(g: Tensor, y: Tensor, *xs: Tensor) -> tuple[Thunk, ...]:
    thunks: list[Thunk] = []
    start = 0
    for x in xs:
        stop = start + x.shape[-1]
        thunks.append(lambda start=start, stop=stop: columns(g, start=start, stop=stop))  # type: ignore[misc]
        start = stop
    return tuple(thunks)


@op
def columns(x: Array, *, start: int, stop: int) -> Array:
    """x[..., start:stop] as an array of its own."""
    return x[..., start:stop].copy()


@columns.vjp
def _(g: Tensor, y: Tensor, x: Tensor, *, start: int, stop: int) -> tuple[Thunk, ...]:
    def back() -> Tensor:
        zeros = array_module(g.data).zeros
        before, after = (Tensor(zeros((*x.shape[:-1], w), x.dtype)) for w in (start, x.shape[-1] - stop))
        return beside(*(part for part in (before, g, after) if part.shape[-1]))

    return (back,)


class LabelledGenerator(Module):
    """A generator of the classes asked for; (n, z + k) -> (n, f + k).

    The label's embedding stands beside z in what `body` is given ("concat", (n, z + e)), or z is multiplied by it
    ("multiply", (n, z), as in Keras-GAN's CGAN: ten times the steps on the bundled digits, as the product of z and any
    embedding has mean 0). `low` and `high` are what black and white are in the data.
    """

    def __init__(
        self,
        body: Module,
        latent: int,
        classes: int,
        *,
        embed: int = 32,
        join: str = "concat",
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        self.latent, self.classes, self.join, self.low, self.high = latent, classes, join, low, high
        if join == "multiply":
            self.table = Linear(classes, latent, bias=False, init="normal")
        else:  # rows of length 1, as one-hot ones have: beside longer ones z is soon ignored
            self.table = Linear(classes, embed, bias=False, init="normal", init_scale=embed**-0.5)
        self.body = body

    def joined(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the body is given, and the labels (n, k)."""
        _check(x, self.latent + self.classes, "LabelledGenerator")
        z = columns(x, start=0, stop=self.latent)
        y = columns(x, start=self.latent, stop=self.latent + self.classes)
        e = self.table(y)
        return z * e if self.join == "multiply" else beside(z, e), y

    def __call__(self, x: Tensor) -> Tensor:
        """Samples of latents, and behind each its label."""
        inputs, y = self.joined(x)
        return beside(self.body(inputs), y * (self.high - self.low) + self.low)


class LabelledCritic(Module):
    """What critics of labelled samples share: pixels and labels taken apart; (n, f + k)."""

    def __init__(self, features: int, classes: int, *, low: float = -1.0, high: float = 1.0) -> None:
        self.features, self.classes, self.middle = features, classes, (low + high) / 2
        self.table: Module

    def joined(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the body is given, and the labels (n, k)."""
        return self.apart(x)

    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, f), and labels (n, k) of 0 and 1, which pass no gradient on."""
        _check(x, self.features + self.classes, type(self).__name__)
        y = (x.data[:, self.features :] > self.middle).astype(x.dtype)
        return columns(x, start=0, stop=self.features), Tensor(y)


class ProjectionCritic(LabelledCritic):
    """score = head(h) + <embedding of the label, h> with h = body(pixels), (n, e) (Miyato and Koyama 2018)."""

    def __init__(
        self,
        body: Module,
        head: Module,
        features: int,
        classes: int,
        *,
        embed: int,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        super().__init__(features, classes, low=low, high=high)
        self.body, self.head = body, head
        self.table = Linear(classes, embed, bias=False, init="glorot_uniform")

    def __call__(self, x: Tensor) -> Tensor:
        """Scores (n, 1)."""
        pixels, y = self.joined(x)
        h = self.body(pixels)
        return self.head(h) + (self.table(y) * h).sum(axis=1, keepdims=True)


class ConcatCritic(LabelledCritic):
    """score = body(pixels, embedding of the label): for images of `shape` (h, w, c) one more channel, else e numbers.

    `body` is given h w (c + 1) numbers, or those of a point and `embed` more.
    """

    def __init__(
        self,
        body: Module,
        shape: tuple[int, ...],
        classes: int,
        *,
        embed: int = 32,
        low: float = -1.0,
        high: float = 1.0,
    ) -> None:
        places, channels = (shape[0] * shape[1], shape[2]) if len(shape) == 3 else (1, shape[0])
        super().__init__(places * channels, classes, low=low, high=high)
        self.places, self.channels = places, channels
        self.body = body
        self.table = Linear(classes, embed if len(shape) == 1 else places, bias=False, init="normal")

    def joined(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the body is given, and the labels (n, k)."""
        pixels, y = self.apart(x)
        n = len(pixels)
        e = self.table(y).reshape(n, self.places, -1)
        return beside(pixels.reshape(n, self.places, self.channels), e).reshape(n, -1), y

    def __call__(self, x: Tensor) -> Tensor:
        """Scores (n, 1)."""
        return self.body(self.joined(x)[0])


def _check(x: Tensor, width: int, name: str) -> None:
    if x.ndim != 2 or x.shape[1] != width:
        raise ShapeError(f"{name}: got x {x.shape}, wanted (n, {width}): label columns stand last")
