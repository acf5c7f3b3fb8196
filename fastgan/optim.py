"""Optimizers over flat buffers: an update is one pass over parameters, gradient and state, in array code or a kernel.

An optimizer's class only keeps state. Use with any network:

    optimizer = Adam(network, lr=2e-4, betas=(0.5, 0.999))
    grad(loss, network.parameters(), out=optimizer.gradients)
    optimizer.step()
"""

from collections.abc import Sequence
from typing import Any

from fastgan.clock import Count, Rate
from fastgan.device import Array, array_module
from fastgan.dispatch import Fusable
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import Flat, Module, flatten
from fastgan.ranges import check_ranges
from fastgan.tape import Places, Tensor


@Fusable
def adam_update(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    t: int,
    b1: float,
    b2: float,
    eps: float,
    decay: float = 0.0,
    clip: float = 0.0,
    average: Array | None = None,
    follow: float = 0.0,
) -> None:
    """Step `t` (from 1) of Adam, in place on p, m and v (Kingma and Ba 2015, algorithm 1).

    `decay` is AdamW's decoupled weight decay, `clip` > 0 keeps the weights in [-clip, clip]; `average` moves by the
    share `follow` towards the new weights. `lr` and `t` may be known to the device alone (see clock.Count).
    """
    xp = array_module(p)
    lr, t = float(lr), int(t)
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (g * g - v)
    if decay:
        p *= 1 - lr * decay
    p -= lr / (1 - b1**t) * m / (xp.sqrt(v) * (1 - b2**t) ** -0.5 + eps)
    _finish(p, clip, average, follow)


@Fusable
def rmsprop_update(
    p: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    alpha: float,
    eps: float,
    clip: float = 0.0,
    average: Array | None = None,
    follow: float = 0.0,
) -> None:
    """One RMSProp step in place on p and v (Tieleman and Hinton 2012, lecture 6.5); the rest as in `adam_update`."""
    v += (1 - alpha) * (g * g - v)
    p -= float(lr) * g / (array_module(p).sqrt(v) + eps)
    _finish(p, clip, average, follow)


@Fusable
def sgd_update(
    p: Array,
    g: Array,
    m: Array,
    *,
    lr: float,
    momentum: float,
    clip: float = 0.0,
    average: Array | None = None,
    follow: float = 0.0,
) -> None:
    """Gradient descent with momentum (Polyak's heavy ball), in place on p and m; the rest as in `adam_update`."""
    m *= momentum
    m += g
    p -= float(lr) * m
    _finish(p, clip, average, follow)


def _finish(p: Array, clip: float, average: Array | None, follow: float) -> None:
    """What may follow an update: weight clipping, and an average that moves towards the new weights."""
    clip_weights(p, clip)
    if average is not None:
        average += follow * (p - average)


OPTIMIZERS: dict[str, type["Optimizer"]] = {}  # by the names that recipes use


class Optimizer:
    """State of one network's optimizer: flat arrays by name, and how many steps were made.

    A class of this module is an optimizer that recipes know by its name in lower case.
    """

    slots: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        if cls.__module__ == __name__:
            OPTIMIZERS[cls.__name__.lower()] = cls

    def __init__(
        self,
        network: Module | Sequence[Tensor] | Flat,
        *,
        lr: float,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        check_ranges(type(self).__name__, {"lr": lr, "clip": clip, "max_norm": max_norm})
        self.flat = network if isinstance(network, Flat) else flatten(network)
        if not self.flat.parameters:
            raise UsageError(
                f"{type(self).__name__}: got a {type(network).__name__} without parameters, wanted some to train: "
                "Tensors with requires_grad, or layers that have them"
            )
        self.lr: float | Rate = lr
        self.clip, self.max_norm = clip, max_norm
        self.steps = 0
        self.count: Count | None = None  # the step's number where the device keeps count
        self.average: Ema | None = None  # moves with every update, in the same pass
        self.state = {name: self.flat.like() for name in self.slots}

    @property
    def gradients(self) -> Places:
        """One array per parameter, views of the flat gradient: pass them to `grad` as `out`."""
        return self.flat.gradients

    def step(self, gradients: Sequence[Tensor | Array] | None = None) -> None:
        """Update the parameters from the flat gradient, or from Tensors or arrays that are copied into it first.

        Without `gradients`, `grad(..., out=optimizer.gradients)` must have written new ones since the last step
        (UsageError); where you have written them yourself, say so with `step(optimizer.gradients)`. Parameters change
        in place: what was computed from the old ones cannot be differentiated after this.
        """
        if gradients is None and not self.gradients.written:
            raise UsageError(
                "step: got no new gradients: call grad(loss, parameters, out=optimizer.gradients) before each step, "
                "or give step() the gradients"
            )
        if gradients is not None and gradients is not self.gradients:
            self._take(gradients)
        self.gradients.written = False
        self.flat.mark_changed()
        if self.max_norm:
            clip_norm(self.flat.gradient, self.max_norm)
        self.steps += 1
        self.update()

    def _take(self, gradients: Sequence[Tensor | Array]) -> None:
        """Copy gradients into the flat one, but those that are there. ShapeError."""
        if len(gradients) != len(self.gradients):
            raise ShapeError(f"step: got {len(gradients)} gradients, wanted {len(self.gradients)}")
        arrays = [g.data if isinstance(g, Tensor) else g for g in gradients]
        for place, g in zip(self.gradients, arrays, strict=True):
            if place.shape != g.shape or place.dtype != g.dtype:
                raise ShapeError(
                    f"step: got a gradient of shape {g.shape} and {g.dtype}, wanted {place.shape} and {place.dtype}"
                )
        for place, g in zip(self.gradients, arrays, strict=True):
            if place is not g:
                place[...] = g

    def update(self) -> None:
        """The rule itself; `steps` counts this step already."""
        raise NotImplementedError

    def _ending(self) -> dict[str, Any]:
        """The settings that every rule shares: the rate, and what follows the update."""
        ema = self.average
        also = {} if ema is None else {"average": ema.average, "follow": 1 - ema.decay}
        return {"lr": self.lr, "clip": self.clip, **also}


class SGD(Optimizer):
    """Gradient descent with momentum."""

    slots = ("m",)

    def __init__(
        self,
        network: Module | Sequence[Tensor] | Flat,
        *,
        lr: float,
        momentum: float = 0.0,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        check_ranges("SGD", {"momentum": momentum})
        super().__init__(network, lr=lr, clip=clip, max_norm=max_norm)
        self.momentum = momentum

    def update(self) -> None:
        """One step."""
        sgd_update(
            self.flat.buffer,
            self.flat.gradient,
            self.state["m"],
            momentum=self.momentum,
            **self._ending(),
        )


class Adam(Optimizer):
    """Adam; with `weight_decay` the decoupled one of AdamW (Loshchilov and Hutter 2019)."""

    slots = ("m", "v")

    def __init__(
        self,
        network: Module | Sequence[Tensor] | Flat,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay}
        check_ranges(type(self).__name__, settings)
        super().__init__(network, lr=lr, clip=clip, max_norm=max_norm)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self) -> None:
        """One step."""
        b1, b2 = self.betas
        t = self.steps if self.count is None else self.count
        adam_update(
            self.flat.buffer,
            self.flat.gradient,
            self.state["m"],
            self.state["v"],
            t=t,
            b1=b1,
            b2=b2,
            eps=self.eps,
            decay=self.weight_decay,
            **self._ending(),
        )


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    def __init__(
        self,
        network: Module | Sequence[Tensor] | Flat,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        super().__init__(
            network, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip, max_norm=max_norm
        )


class RMSProp(Optimizer):
    """RMSProp; `alpha` is the share of the old mean square that stays, as in PyTorch."""

    slots = ("v",)

    def __init__(
        self,
        network: Module | Sequence[Tensor] | Flat,
        *,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> None:
        check_ranges("RMSProp", {"alpha": alpha, "eps": eps})
        super().__init__(network, lr=lr, clip=clip, max_norm=max_norm)
        self.alpha, self.eps = alpha, eps

    def update(self) -> None:
        """One step."""
        rmsprop_update(
            self.flat.buffer,
            self.flat.gradient,
            self.state["v"],
            alpha=self.alpha,
            eps=self.eps,
            **self._ending(),
        )


def clip_weights(p: Array, clip: float) -> None:
    """Keep the weights in [-clip, clip], in place, if clip > 0."""
    if clip:
        array_module(p).clip(p, -clip, clip, out=p)


def clip_norm(gradient: Array, max_norm: float) -> None:
    """Scale a flat gradient down, in place, to a Euclidean norm of at most `max_norm`; no host sync."""
    xp = array_module(gradient)
    norm = xp.sqrt((gradient * gradient).sum())
    gradient *= xp.minimum(1, max_norm / (norm + 1e-6))


class Ema:
    """An exponential moving average of a network's parameters: average += (1 - decay) (parameters - average)."""

    def __init__(self, network: Module | Sequence[Tensor] | Flat, *, decay: float) -> None:
        check_ranges("Ema", {"decay": decay})
        self.flat = network if isinstance(network, Flat) else flatten(network)
        self.decay = decay
        self.average = self.flat.like()
        self.average[...] = self.flat.buffer

    def update(self) -> None:
        """Move the average towards the parameters."""
        self.average += (1 - self.decay) * (self.flat.buffer - self.average)

    def swap(self) -> None:
        """Exchange parameters and average: call before sampling and again after."""
        self.flat.mark_changed()
        keep = self.flat.buffer.copy()
        self.flat.buffer[...] = self.average
        self.average[...] = keep


def schedule(text: str, step: int, steps: int) -> float:
    """The factor on the learning rate at a step (from 0) of `steps`, for a schedule written as text.

    "constant"; "linear" or "linear:0.1" (to 0 or that factor at the end); "exponential:0.999" (per step);
    "drop:0.01@1,41" (times 0.01 from step 1 on and again from step 41 on: Seo's "high first"). A schedule never
    raises the rate: UsageError for a factor outside 0 to 1, or for any other text.
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "constant" and not rest:
            return 1.0
        if kind == "linear":
            return 1 + (_factor(rest or "0") - 1) * min(1.0, step / max(1, steps))
        if kind == "exponential":
            return float(_factor(rest) ** step)
        if kind == "drop":
            number, _, at = rest.partition("@")
            drops = [int(x) for x in at.split(",")]
            if min(drops) >= 0:
                return float(_factor(number) ** sum(step >= drop for drop in drops))
    except ValueError:
        pass
    raise UsageError(
        f"got schedule {text!r}, wanted constant, linear[:END], exponential:RATE or drop:FACTOR@STEP,STEP, "
        "with numbers from 0 to 1 for END, RATE and FACTOR"
    )


def _factor(text: str) -> float:
    """A number from 0 to 1; ValueError for anything else."""
    if 0 <= (number := float(text)) <= 1:
        return number
    raise ValueError(text)
