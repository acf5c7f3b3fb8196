"""Conditional networks: a generator of latents and labels, generator(z, y), and a critic of samples and theirs.

Labels y are one-hot rows, (n, k) float32, so the embedding of a label, a row of a table, is a product: a linear layer
without a bias. A network of your own needs no more than a `__call__` that takes both:

    def __call__(self, z, y):
        return self.body(ops.concat(z, self.table(y), axis=1))

Letters: `n` batch, `f` numbers of pixels (or of a point), `k` classes, `z` latents, `e` numbers of an embedding.
"""

from collections.abc import Callable

from fastgan import ops
from fastgan.device import Array
from fastgan.errors import ShapeError
from fastgan.nn.layers import Linear
from fastgan.nn.module import Module
from fastgan.tape import Tensor

GENERATOR_JOINS = ("concat", "multiply")
CRITIC_JOINS = ("projection", "concat")


def told(network: Module, y: Array | None) -> Callable[[Tensor], Tensor]:
    """A network as a function of x alone, told the labels y where there are some."""
    return network if y is None else lambda x: network(x, Tensor(y))


def rows_of(y: Array | None, rows: slice) -> Array | None:
    """Some of the labels, where there are labels."""
    return None if y is None else y[rows]


class Conditional(Module):
    """What networks with labels share: a table with a row for each class, and a body that is given x and such rows."""

    table: Module
    body: Module

    def __init__(self, features: int, classes: int) -> None:
        self.features, self.classes = features, classes

    def embedded(self, x: Tensor, y: Tensor) -> Tensor:
        """The embeddings of labels, (n, k) -> (n, e). ShapeError, also for an x that is not theirs."""
        if x.shape != (len(x), self.features) or y.shape != (len(x), self.classes):
            raise ShapeError(
                f"{type(self).__name__}: got {x.shape} and labels {y.shape}, wanted (n, {self.features}) and labels "
                f"(n, {self.classes})"
            )
        return self.table(y)

    def joined(self, x: Tensor, y: Tensor) -> Tensor:
        """What the body is given."""
        return x

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Samples (n, f) or scores (n, 1), of x and its labels."""
        return self.body(self.joined(x, y))


class LabelledGenerator(Conditional):
    """A generator of the classes asked for; (n, z), (n, k) -> (n, f).

    The label's embedding stands beside z in what `body` is given ("concat", (n, z + e)), or z is multiplied by it
    ("multiply", (n, z), as in Keras-GAN's CGAN: ten times the steps on the bundled digits, as the product of z and any
    embedding has mean 0).
    """

    def __init__(
        self, body: Module, latent: int, classes: int, *, embed: int = 32, join: str = "concat"
    ) -> None:
        super().__init__(latent, classes)
        self.join = join
        if join == "multiply":
            self.table = Linear(classes, latent, bias=False, init="normal")
        else:  # rows of length 1, as one-hot ones have: beside longer ones z is soon ignored
            self.table = Linear(classes, embed, bias=False, init="normal", init_scale=embed**-0.5)
        self.body = body

    def joined(self, x: Tensor, y: Tensor) -> Tensor:
        """What the body is given."""
        e = self.embedded(x, y)
        return x * e if self.join == "multiply" else ops.concat(x, e, axis=1)


class ProjectionCritic(Conditional):
    """score = head(h) + <embedding of the label, h> with h = body(x), (n, e) (Miyato and Koyama 2018)."""

    def __init__(self, body: Module, head: Module, features: int, classes: int, *, embed: int) -> None:
        super().__init__(features, classes)
        self.body, self.head = body, head
        self.table = Linear(classes, embed, bias=False, init="glorot_uniform")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Scores (n, 1)."""
        e, h = self.embedded(x, y), self.body(x)
        return self.head(h) + (e * h).sum(axis=1, keepdims=True)


class ConcatCritic(Conditional):
    """score = body(x, embedding of the label): for images of `shape` (h, w, c) one more channel, else e numbers.

    `body` is given h w (c + 1) numbers, or those of a point and `embed` more.
    """

    def __init__(self, body: Module, shape: tuple[int, ...], classes: int, *, embed: int = 32) -> None:
        self.places, self.channels = (shape[0] * shape[1], shape[2]) if len(shape) == 3 else (1, shape[0])
        super().__init__(self.places * self.channels, classes)
        self.body = body
        self.table = Linear(classes, embed if len(shape) == 1 else self.places, bias=False, init="normal")

    def joined(self, x: Tensor, y: Tensor) -> Tensor:
        """What the body is given."""
        n, e = len(x), self.embedded(x, y)
        image = x.reshape(n, self.places, self.channels)
        return ops.concat(image, e.reshape(n, self.places, -1), axis=2).reshape(n, -1)
