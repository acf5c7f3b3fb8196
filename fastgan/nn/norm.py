"""Layers that normalise, how much a batch varies, and embeddings. BatchNorm is with the dense layers.

Shapes: `n` batch, `f` features or channels, always the last axis; `...` the axes between (an image's h and w).
"""

import numpy as np

from fastgan import ops
from fastgan.device import Array, array_module, device_of, to_device
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.init import initialize
from fastgan.nn.layers import Fused, Weighted, first_draws, fuses
from fastgan.nn.module import Module
from fastgan.random import Draws
from fastgan.tape import Tensor
from fastgan.tape.engine import Act


class LayerNorm(Module):
    """Normalize each sample by the mean and variance of all its numbers (Ba et al. 2016), then scale and shift.

    gamma and beta are one number per feature of the last axis: for an image one per channel, as in igul222's code and
    PyTorch's GroupNorm with one group, for (n, f) what PyTorch's LayerNorm has.
    """

    over = slice(1, None)  # the axes that statistics are taken over

    def __init__(self, f: int, *, eps: float = 1e-5) -> None:
        if not eps >= 0:
            raise UsageError(f"{type(self).__name__}: got eps {eps}, wanted 0 or more")
        self.eps = eps
        self.gamma = Tensor(np.ones(f, np.float32), requires_grad=True)
        self.beta = Tensor(np.zeros(f, np.float32), requires_grad=True)

    def initialize(self, draws: Draws) -> None:
        """Gamma 1, beta 0."""
        self.gamma.data[...], self.beta.data[...] = 1, 0

    def __call__(self, x: Tensor) -> Tensor:
        """x normalized; (n, ..., f) -> the same."""
        if x.ndim < 2 or x.shape[-1:] != self.gamma.shape:
            raise ShapeError(f"{type(self).__name__}: got x {x.shape}, wanted (n, ..., {self.gamma.size})")
        axes = tuple(range(x.ndim))[self.over]
        centred = x - x.mean(axis=axes, keepdims=True)
        variance = (centred * centred).mean(axis=axes, keepdims=True)
        return centred * (variance + self.eps) ** -0.5 * self.gamma + self.beta


class InstanceNorm(LayerNorm):
    """Normalize each channel of each sample by its own mean and variance (Ulyanov et al. 2016), then scale and shift.

    The same in training and inference.
    """

    over = slice(1, -1)  # an image's height and width

    def __call__(self, x: Tensor) -> Tensor:
        """x normalized; (n, h, w, f) -> the same."""
        if x.ndim < 3 or x.size == x.shape[0] * x.shape[-1]:
            raise ShapeError(
                f"InstanceNorm: got x {x.shape}, wanted images of two or more pixels (n, h, w, f)"
            )
        return super().__call__(x)


class SpectralNorm(Fused):
    """A layer whose weight is divided by its largest singular value, sigma (Miyato et al. 2018).

    Each pass in training mode moves the estimate of sigma's vectors `u` and `v` by one power iteration, as in PyTorch;
    the gradient takes them for constants. A convolution's weight counts as a matrix of one column per output channel.
    """

    state = ("u", "v")

    def __init__(self, layer: Module) -> None:
        if not (fuses(layer) and isinstance(layer, Weighted)):
            raise UsageError(
                f"SpectralNorm: got {type(layer).__name__}, wanted a Linear, Conv2d or ConvTranspose2d"
            )
        self.layer = layer
        self._start(first_draws(None))

    def initialize(self, draws: Draws) -> None:
        """Draw the layer's values, and v; 15 iterations bring u and v near sigma's, as in PyTorch."""
        self.layer.initialize(draws)
        self._start(draws)

    @property
    def acts(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """What the layer takes in."""
        return self.layer.acts

    def fused(self, x: Tensor, act: Act) -> Tensor:
        """The layer with its weight over sigma, and the activation after it."""
        w, axis = self.layer.weight, self.layer.out_axis
        if self.training:
            self._iterate()
        xp = array_module(w.data)
        places = xp.moveaxis(w.data, axis, -1).shape
        slope_of_sigma = xp.moveaxis((self.v[:, None] * self.u).reshape(places), -1, axis)
        return self.layer.apply(x, w / (w * Tensor(slope_of_sigma)).sum(), act)

    def _start(self, draws: Draws) -> None:
        matrix = self._matrix()
        device = device_of(matrix)
        self.u: Array = to_device(np.zeros(matrix.shape[1], np.float32), device)
        self.v: Array = to_device(draws.normal((matrix.shape[0],)), device)
        for _ in range(15):
            self._iterate()

    def _iterate(self) -> None:
        matrix = self._matrix()
        self.u[...] = _unit(self.v @ matrix)
        self.v[...] = _unit(matrix @ self.u)

    def _matrix(self) -> Array:
        """The weight as (numbers of a unit, units)."""
        w = self.layer.weight.data
        moved = array_module(w).moveaxis(w, self.layer.out_axis, -1)
        return moved.reshape(-1, moved.shape[-1])


class MinibatchStdDev(Module):
    """One more feature that says how much a group of samples varies (Karras et al. 2018, 3); (n, ..., f) -> f + 1.

    It is the standard deviation of each number over the group, averaged. Samples k, k + n / group, ... are a group, as
    in the paper's code; a batch smaller than `group` is one group.
    """

    def __init__(self, group: int = 4) -> None:
        if group < 2:
            raise UsageError(f"MinibatchStdDev: got groups of {group}, wanted at least 2")
        self.group = group

    def __call__(self, x: Tensor) -> Tensor:
        """x with the feature behind the others. ShapeError where the groups do not divide the batch."""
        n = x.shape[0]
        group = min(self.group, n)
        if x.ndim < 2 or not n or n % group:
            raise ShapeError(
                f"MinibatchStdDev: got x {x.shape}, wanted (n, ..., f) with n a multiple of {group}: "
                "choose another batch size or group"
            )
        apart = ops.reshape(x, shape=(group, n // group, x.size // n))
        centred = apart - apart.mean(axis=0)
        variance = (centred * centred).mean(axis=0)
        deviation = ops.sqrt(variance + 1e-8).mean(axis=1)  # (n / group,); Karras's 1e-8: 0 has no slope
        each = ops.broadcast_to(deviation, shape=(group, n // group)).reshape(n, *(1,) * (x.ndim - 1))
        return ops.concat(x, ops.broadcast_to(each, shape=(*x.shape[:-1], 1)), axis=-1)


class Embedding(Module):
    """A row of a table per label; whole numbers (n,) below `count` -> (n, f). First values: N(0, 1), as in PyTorch."""

    def __init__(
        self, count: int, f: int, *, init: str = "normal", init_scale: float = 1.0, seed: int | None = None
    ) -> None:
        if count < 1 or f < 1:
            raise ShapeError(f"Embedding: got {count} labels and {f} features, wanted at least 1 each")
        self.init, self.init_scale = init, init_scale
        self.weight = Tensor(np.zeros((count, f), np.float32), requires_grad=True)
        self.initialize(first_draws(seed))

    def initialize(self, draws: Draws) -> None:
        """Draw the table."""
        values = initialize(self.init, self.weight.shape, draws, scale=self.init_scale)
        self.weight.data[...] = to_device(values, device_of(self.weight.data))

    def __call__(self, labels: Tensor | Array) -> Tensor:
        """The labels' rows, of an array or a Tensor; UsageError for a label that has none.

        Of labels on a GPU, which would have to wait for the answer, such a one gives a row of NaN instead.
        """
        given = labels.data if isinstance(labels, Tensor) else labels
        given = given if hasattr(given, "dtype") else np.asarray(given)
        count = self.weight.shape[0]
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise ShapeError(
                f"Embedding: got labels {given.shape} of {given.dtype}, wanted whole numbers (n,)"
            )
        if device_of(given) == "cpu":
            for worst in (int(given.min()), int(given.max())) if given.size else ():
                if not 0 <= worst < count:
                    raise UsageError(f"Embedding: got label {worst}, wanted 0 to {count - 1}")
            return ops.index(self.weight, key=given)
        xp, given = array_module(given), given.astype(np.int64)
        there = xp.clip(given, 0, count - 1)
        known = xp.where(there == given, 1, np.nan).astype(self.weight.dtype)  # (n,)
        return ops.index(self.weight, key=there) * Tensor(known[:, None])


def _unit(x: Array) -> Array:
    """x at length 1."""
    xp = array_module(x)
    return x / xp.maximum(xp.linalg.norm(x), 1e-12)
