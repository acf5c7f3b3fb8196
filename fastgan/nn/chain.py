"""A dense network as a chain of passes, and its gradient written out: what training runs where the network allows.

A chain is read off a `Sequential` of Linear layers with their activations and batch norms. It gives the same numbers as
the network on the tape (a test), from the same parameters, but each layer's pass in either direction is one call of
fastgan/ops/passes.py and so, on a GPU, one kernel; and it knows the gradient penalty in closed form.

Shapes: `n` batch, `f` features of a sample, `i`/`o` features in/out of a layer; `v` is a gradient for what a layer's
linear map gives, before its activation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastgan.device import Array, array_module
from fastgan.nn.layers import BatchNorm, LeakyReLU, Linear, ReLU, Sequential, Sigmoid, Tanh, layers_of
from fastgan.nn.module import Module
from fastgan.ops import passes


@dataclass
class Layer:
    """A linear map, its activation (see passes.py), the batch norm behind it, and where its gradients go in a list."""

    linear: Linear
    place: int
    act: str = "leaky"
    slope: float = 1.0
    norm: BatchNorm | None = None

    @property
    def below(self) -> tuple[str, float]:
        """The activation whose derivative the layer above multiplies by; none where batch norm lies between."""
        return (self.act, self.slope) if self.norm is None else ("leaky", 1.0)


@dataclass
class Trace:
    """What a forward pass leaves for the backward one: each layer's input, and what batch norm saw."""

    inputs: list[Array] = field(default_factory=list)
    hidden: dict[int, Array] = field(default_factory=dict)  # by layer: batch norm's input (n, o)
    stats: dict[int, Array] = field(default_factory=dict)  # and the moments that it used (2, o)


class Chain:
    """The passes of one network. Gradients are written to arrays in the order of `network.parameters()`."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    @staticmethod
    def of(network: Module) -> "Chain | None":
        """The chain of a network, or None where it has a layer that a chain has no pass for."""
        if type(network) is not Sequential:
            return None
        layers: list[Layer] = []
        place = 0
        closed = True  # whether the last layer can take no activation any more
        for part in layers_of(network):
            if type(part) is Linear and part.has_bias:
                layers.append(Layer(part, place))
                place, closed = place + 2, False
            elif layers and layers[-1].norm is None and type(part) is BatchNorm:
                layers[-1].norm = part
                place, closed = place + 2, True
            elif not closed and (act := _activation(part)):
                layers[-1].act, layers[-1].slope = act
                closed = True
            else:
                return None
        return (
            Chain(layers) if layers and _parameters(layers) == [id(p) for p in network.parameters()] else None
        )

    @property
    def has_norm(self) -> bool:
        """Whether a layer takes statistics over the batch."""
        return any(layer.norm for layer in self.layers)

    @property
    def ends_in_scores(self) -> bool:
        """Whether the last layer gives one plain number per sample, as a critic's does."""
        last = self.layers[-1]
        return last.linear.weight.shape[1] == 1 and (last.act, last.slope, last.norm) == ("leaky", 1.0, None)

    @property
    def leaky(self) -> bool:
        """Whether all activations are piecewise linear and nothing else lies between: what `penalised` needs."""
        return not self.has_norm and all(layer.act == "leaky" for layer in self.layers)

    def forward(self, x: Array, *, training: bool = True, layers: int | None = None) -> tuple[Array, Trace]:
        """The output (n, o) for a batch (n, i), of all layers or the first few, and the trace for `backward`."""
        trace = Trace()
        for number, layer in enumerate(self.layers[:layers]):
            trace.inputs.append(x)
            w, b = layer.linear.weight.data, layer.linear.bias.data
            if layer.norm is None:
                x = passes.forward(x, w, b, act=layer.act, slope=layer.slope)
                continue
            norm, stats = layer.norm, array_module(x).empty((2, w.shape[1]), x.dtype)
            trace.hidden[number], x = passes.forward_norm(
                x,
                w,
                b,
                norm.gamma.data,
                norm.beta.data,
                norm.mean,
                norm.variance,
                act=layer.act,
                slope=layer.slope,
                eps=norm.eps,
                momentum=norm.momentum,
                widening=norm.widening((len(x), w.shape[1])) if training else 1.0,
                training=training,
                stats=stats,
            )
            trace.stats[number] = stats
        return x, trace

    def backward(
        self,
        trace: Trace,
        v: Array,
        gradients: Sequence[Array] | None,
        *,
        below: tuple[str, float] | None = None,
    ) -> Array | None:
        """From v (n, o) of the last layer down: gradients are written, where a list is given.

        With `below`, the activation that made the network's input, returns the v of what lies under the network.
        """
        for number in reversed(range(len(self.layers))):
            layer, under = self.layers[number], self.layers[number - 1] if number else None
            act, slope = under.below if under else below or ("leaky", 1.0)
            gw, gb = (None, None) if gradients is None else gradients[layer.place : layer.place + 2]
            u = passes.backward(
                v,
                trace.inputs[number],
                layer.linear.weight.data,
                act=act,
                slope=slope,
                gw=gw,
                gb=gb,
                dx=under is not None or below is not None,
            )
            if under and under.norm:
                u = self._through_norm(under, u, trace.hidden[number - 1], trace.stats[number - 1], gradients)
            v = u
        return v

    @staticmethod
    def _through_norm(
        layer: Layer, u: Array, hidden: Array, stats: Array, gradients: Sequence[Array] | None
    ) -> Array:
        assert layer.norm
        gamma = layer.norm.gamma.data
        if gradients is None:
            ggamma, gbeta = array_module(u).empty((2, *gamma.shape), u.dtype)
        else:
            ggamma, gbeta = gradients[layer.place + 2 : layer.place + 4]
        return passes.norm_backward(
            u, hidden, gamma, stats, ggamma=ggamma, gbeta=gbeta, act=layer.act, slope=layer.slope
        )

    def head_loss(
        self, x: Array, kinds: tuple[str, ...], counts: tuple[int, ...]
    ) -> tuple[Array, Array, Array, Trace]:
        """The loss of a critic's scores for x, those scores (n, 1), the loss's derivative for them, and the trace."""
        hidden, trace = self.forward(x, layers=-1)
        trace.inputs.append(hidden)
        head = self.layers[-1].linear
        loss, scores, d = passes.head_loss(
            hidden, head.weight.data, head.bias.data, kinds=kinds, counts=counts
        )
        return loss, scores, d, trace

    def penalised(
        self, x: Array, kinds: tuple[str, str], weight: float, gradients: Sequence[Array]
    ) -> tuple[Array, Array, Array]:
        """Loss and gradient of a critic under a gradient penalty; x (3n, f): real, fake and mixed samples, overwritten.

        The slope of the scores at the mixed samples is one backward pass, v_l = (v_l+1 w_l+1^T) * mask_l down to g =
        v_1 w_1^T. LeakyReLU has no second derivative, so the penalty's own gradient goes back up through the same
        masks: p_0 = dP/dg, p_l = (p_l-1 w_l) * mask_l, and w_l gets p_l-1^T v_l beside the loss's a_l-1^T v_l. With p
        in the place of the mixed samples' activations both are one product over all 3n rows. Returns the loss without
        the penalty, the scores of real and fake (2n, 1), and the weighted penalty.
        """
        n = len(x) // 3
        mixed = slice(2 * n, None)
        loss, scores, d, trace = self.head_loss(x, (*kinds, "gradient"), (n, n, n))
        vs = self._slopes(trace, d)
        g = passes.backward(vs[0][mixed], x[mixed], self.layers[0].linear.weight.data)
        penalty = passes.penalty(g, x[mixed], weight=weight)
        for number, layer in enumerate(self.layers[:-1]):
            a = trace.inputs[number + 1][mixed]
            passes.tangent(trace.inputs[number][mixed], layer.linear.weight.data, a, slope=layer.slope)
        for layer, a, v in zip(self.layers, trace.inputs, vs, strict=True):
            gw, gb = gradients[layer.place : layer.place + 2]
            passes.weight_gradients(a, v, gw=gw, gb=gb, rows=2 * n)
        return loss, scores[: 2 * n], penalty

    def _slopes(self, trace: Trace, d: Array) -> list[Array]:
        """v of each layer, first layer first, from the derivative d for the scores."""
        vs = [d]
        for number in range(len(self.layers) - 1, 0, -1):
            under = self.layers[number - 1]
            w = self.layers[number].linear.weight.data
            v = passes.backward(vs[0], trace.inputs[number], w, act=under.act, slope=under.slope)
            vs.insert(0, v)
        return vs


def _parameters(layers: list[Layer]) -> list[int]:
    """The parameters in the order that `place` counts them: not the network's where one of them is frozen or shared."""
    tensors = []
    for layer in layers:
        tensors += [layer.linear.weight, layer.linear.bias]
        tensors += [layer.norm.gamma, layer.norm.beta] if layer.norm else []
    return [id(x) for x in tensors]


def _activation(part: Module) -> tuple[str, float] | None:
    """The name and slope of an activation that a chain knows."""
    if type(part) in (LeakyReLU, ReLU):
        return "leaky", part.slope  # type: ignore[attr-defined]
    return {Tanh: ("tanh", 1.0), Sigmoid: ("sigmoid", 1.0)}.get(type(part))
