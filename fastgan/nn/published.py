"""Mistakes of the source articles that `--as-published` reproduces: ops with a wrong gradient."""

from fastgan import ops
from fastgan.device import Array
from fastgan.nn.layers import Linear
from fastgan.tape import Tensor, Thunk, op


@op
def seo_sigmoid_layer(x: Array, w: Array, b: Array) -> Array:
    """sigmoid(x @ w + b); (n, i), (i, o), (o,) -> (n, o)."""
    return ops.linear.forward.plain(x, w, b, act="sigmoid")


@seo_sigmoid_layer.vjp
def _(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Thunk, ...]:
    gz = g * y * (1 - y)
    return lambda: gz @ w.T, lambda: x.T @ (g * g), lambda: gz  # x.T @ gz would be right for w


class SeoOutput(Linear):
    """The output layer of Seo's published generator: the weight's gradient has g * g for g * sigmoid'."""

    def __call__(self, x: Tensor) -> Tensor:
        """sigmoid(x @ weight + bias)."""
        return seo_sigmoid_layer(x, self.weight, self.bias)
