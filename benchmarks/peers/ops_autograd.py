"""Single operations in HIPS autograd and the NumPy under it, as its users write them: see `peer_kernels`.

One idea: functions of `autograd.numpy`, differentiated by `make_vjp`; optimizers as in its own `misc.optimizers`,
without in-place operations. There are no convolutions: autograd's have no strides.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.columns import Clock, Column
from fastgan.benchmarks.peer_kernels import Call


class Engine:
    """autograd, on the CPU."""

    def __init__(self, column: Column) -> None:
        from autograd import make_vjp

        self.make_vjp, self.clock = make_vjp, Clock()
        self.functions, self.special = functions(), SPECIAL

    def array(self, x: NDArray[Any], layout: str) -> Any:
        """The array itself."""
        return x

    def host(self, x: Any, layout: str) -> NDArray[Any]:
        """The array itself."""
        return np.asarray(x)

    def forward(self, f: Callable[..., Any], inputs: list[Any]) -> Call:
        """Nothing is recorded."""
        return lambda: f(*inputs)

    def backward(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """On a kept graph."""
        pull, _ = self.make_vjp(f, tuple(wrt))(*inputs)
        return lambda: pull(seed)

    def both(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """With a new graph each time."""
        recorded = self.make_vjp(f, tuple(wrt))

        def call() -> tuple[Any, ...]:
            pull, y = recorded(*inputs)
            return y, *pull(seed)

        return call


def functions() -> dict[str, Callable[..., Any]]:
    """The operations, in our layouts; batch norm keeps no running statistics, which is less work than ours."""
    from autograd import elementwise_grad
    from autograd import numpy as anp

    def leaky(z: Any, slope: float) -> Any:
        return anp.maximum(z, z * slope)

    def batch_norm(x: Any, gamma: Any, beta: Any, *_: Any, eps: float) -> Any:
        axes = tuple(range(x.ndim - 1))
        centred = x - anp.mean(x, axis=axes)
        return centred / anp.sqrt(anp.mean(centred**2, axis=axes) + eps) * gamma + beta

    def layer_norm(x: Any, gamma: Any, beta: Any, *, eps: float) -> Any:
        centred = x - anp.mean(x, axis=-1, keepdims=True)
        return centred / anp.sqrt(anp.mean(centred**2, axis=-1, keepdims=True) + eps) * gamma + beta

    def score_loss(s: Any, ones: Any) -> Any:
        real, fake = s[: len(ones)], s[len(ones) :]
        zero = np.float32(0)
        return anp.mean(anp.logaddexp(zero, -real)) + anp.mean(anp.logaddexp(zero, fake))

    def penalty(g: Any, *, weight: float) -> Any:
        return weight * anp.mean((anp.sqrt(anp.sum(g * g, axis=1) + 1e-12) - 1) ** 2)

    def critic_penalty(real: Any, fake: Any, mix: Any, *layers: Any, slope: float, weight: float) -> Any:
        def scores(x: Any) -> Any:
            for i in range(0, len(layers) - 2, 2):
                x = leaky(anp.dot(x, layers[i]) + layers[i + 1], slope)
            return anp.dot(x, layers[-2]) + layers[-1]

        return penalty(elementwise_grad(scores)(fake + mix * (real - fake)), weight=weight)

    return {
        "linear_leaky_relu": lambda x, w, b, *, slope: leaky(anp.dot(x, w) + b, slope),
        "leaky_relu_linear": lambda u, w, b, *, slope: anp.dot(leaky(u, slope), w) + b,
        "batch_norm": batch_norm,
        "layer_norm": layer_norm,
        "score_loss": score_loss,
        "penalty": penalty,
        "critic_penalty": critic_penalty,
    }


def _adam(p: Any, g: Any, m: Any, v: Any, *, lr: float, b1: float, b2: float, eps: float) -> tuple[Any, ...]:
    """The body of the loop in autograd.misc.optimizers.adam, at its second step."""
    m = (1 - b1) * g + b1 * m
    v = (1 - b2) * (g**2) + b2 * v
    m_hat = m / (1 - b1**2)
    v_hat = v / (1 - b2**2)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def _rmsprop(p: Any, g: Any, v: Any, *, lr: float, alpha: float, eps: float) -> tuple[Any, ...]:
    v = v * alpha + g**2 * (1 - alpha)
    return p - lr * g / (np.sqrt(v) + eps), v


def _update(f: Callable[..., Any]) -> Callable[..., tuple[Call, Call]]:
    """A call that takes the place of the state, and the same for the first results."""

    def made(inputs: list[Any], **settings: float) -> tuple[Call, Call]:
        p, g, *state = inputs

        def call() -> Any:
            nonlocal p, state
            p, *state = f(p, g, *state, **settings)
            return p, *state

        return call, call

    return made


def _normal(inputs: list[Any]) -> tuple[Call, Call]:
    (out,) = inputs
    rng = np.random.default_rng(0)

    def call() -> Any:
        return rng.standard_normal(out.shape, dtype=np.float32)

    return call, lambda: [call()]


def _batch(inputs: list[Any]) -> tuple[Call, Call]:
    rows, numbers = inputs
    rng = np.random.default_rng(0)

    def call() -> Any:
        return rows[rng.integers(len(rows), size=len(numbers))]

    return call, lambda: (call(), rows[numbers])[1:]


SPECIAL = {"adam": _update(_adam), "rmsprop": _update(_rmsprop), "normal": _normal, "batch": _batch}
