"""Single operations in JAX, jitted, on the CPU or a GPU: see `peer_kernels`.

One idea: each way of running a function is one jitted call, with what it replaces donated. JAX does what one thread
asks for in order, so waiting for the last result is waiting for all; its own list of live arrays is long where there
are many copies of the operands, and going through it (0.4 us each) would be in the times.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.columns import Clock, Column
from fastgan.benchmarks.peer_kernels import Call


class LastClock(Clock):
    """Waits for the last result that `kept` was given."""

    def __init__(self) -> None:
        self.last: Any = ()

    def kept(self, call: Call) -> Call:
        """The call, whose results are waited for."""

        def kept() -> Any:
            self.last = call()
            return self.last

        return kept

    def wait(self) -> None:
        """Until the last result is there."""
        import jax

        jax.block_until_ready(self.last)


class Engine:
    """JAX on its default device."""

    def __init__(self, column: Column) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
        self.jax, self.clock = jax, LastClock()
        self.functions = functions()
        self.special = special(self.clock)
        self.jitted: dict[Any, Any] = {}

    def array(self, x: NDArray[Any], layout: str) -> Any:
        """An array of JAX; layouts are ours."""
        return self.jax.numpy.array(x)

    def host(self, x: Any, layout: str) -> NDArray[Any]:
        """An array of NumPy."""
        return np.asarray(x)

    def once(self, key: str, f: Callable[..., Any]) -> Any:
        """The function jitted, one for all copies of the inputs."""
        return self.jitted.setdefault(key, self.jax.jit(f))

    def forward(self, f: Callable[..., Any], inputs: list[Any]) -> Call:
        """One jitted call."""
        f = self.once("forward", f)
        return self.clock.kept(lambda: f(*inputs))

    def backward(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """What the forward pass kept goes in as a tree of arrays."""
        vjp, wanted = self.jax.vjp, [inputs[i] for i in wrt]
        pull = self.once("forward", lambda inputs, wanted: vjp(_of(f, inputs, wrt), *wanted)[1])(
            inputs, wanted
        )
        back = self.once("backward", lambda pull, seed: pull(seed))
        return self.clock.kept(lambda: back(pull, seed))

    def both(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """One jitted call for both."""

        def run(inputs: list[Any], seed: Any) -> tuple[Any, ...]:
            y, pull = self.jax.vjp(_of(f, inputs, wrt), *[inputs[i] for i in wrt])
            return y, *pull(seed)

        f_both = self.once("both", run)
        return self.clock.kept(lambda: f_both(inputs, seed))


def _of(f: Callable[..., Any], inputs: Sequence[Any], wrt: Sequence[int]) -> Callable[..., Any]:
    """f as a function of some of its inputs."""

    def of(*wanted: Any) -> Any:
        given = list(inputs)
        for i, x in zip(wrt, wanted, strict=True):
            given[i] = x
        return f(*given)

    return of


def functions() -> dict[str, Callable[..., Any]]:
    """The operations, in our layouts; batch norm keeps no running statistics, which is less work than ours."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    dimensions = ("NHWC", "HWIO", "NHWC")
    leaky = jax.nn.leaky_relu

    def batch_norm(x: Any, gamma: Any, beta: Any, *_: Any, eps: float) -> Any:
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axes), x.var(axes)
        return (x - mean) * (lax.rsqrt(variance + eps) * gamma) + beta

    def convolve(x: Any, w: Any, b: Any = None, *, stride: Any, pad: Any, slope: float = 1.0) -> Any:
        sides = (pad[:2], pad[2:])
        y = lax.conv_general_dilated(x, w, stride, sides, dimension_numbers=dimensions)
        y = y if b is None else y + b
        return y if slope == 1 else leaky(y, slope)

    def convolve_transposed(v: Any, w: Any, b: Any = None, *, stride: Any, pad: Any, size: Any) -> Any:
        """Padding is that of the convolution over v spread out by the stride."""
        sides = []
        for i in (0, 1):
            before = w.shape[i] - 1 - pad[2 * i]
            after = size[i] + w.shape[i] - 1 - before - ((v.shape[1 + i] - 1) * stride[i] + 1)
            sides.append((before, after))
        spread = {"dimension_numbers": dimensions, "transpose_kernel": True}
        y = lax.conv_transpose(v, w, stride, sides, **spread)
        return y if b is None else y + b

    def max_pool(x: Any, *, size: int) -> Any:
        window = (1, size, size, 1)
        return lax.reduce_window(x, -np.inf, lax.max, window, window, "VALID")

    def layer_norm(x: Any, gamma: Any, beta: Any, *, eps: float) -> Any:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + eps) * gamma + beta

    def score_loss(s: Any, ones: Any) -> Any:
        real, fake = s[: len(ones)], s[len(ones) :]
        return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()

    def penalty(g: Any, *, weight: float) -> Any:
        return weight * ((jnp.sqrt((g * g).sum(1) + 1e-12) - 1) ** 2).mean()

    def critic_penalty(real: Any, fake: Any, mix: Any, *layers: Any, slope: float, weight: float) -> Any:
        def score(x: Any) -> Any:
            for i in range(0, len(layers) - 2, 2):
                x = leaky(x @ layers[i] + layers[i + 1], slope)
            return (x @ layers[-2] + layers[-1]).sum()

        return penalty(jax.grad(score)(fake + mix * (real - fake)), weight=weight)

    return {
        "linear_leaky_relu": lambda x, w, b, *, slope: leaky(x @ w + b, slope),
        "leaky_relu_linear": lambda u, w, b, *, slope: leaky(u, slope) @ w + b,
        "batch_norm": batch_norm,
        "convolve": convolve,
        "convolve_transposed": convolve_transposed,
        "max_pool": max_pool,
        "layer_norm": layer_norm,
        "score_loss": score_loss,
        "penalty": penalty,
        "critic_penalty": critic_penalty,
    }


def special(clock: LastClock) -> dict[str, Callable[..., tuple[Call, Call]]]:
    """What changes state: a call, and one that runs it first and returns the results. What it replaces is donated."""
    import jax
    from jax import numpy as jnp

    def adam_step(state: Any, g: Any, lr: float, b1: float, b2: float, eps: float) -> Any:
        p, m, v = state
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        return p - lr / (1 - b1**2) * m / (jnp.sqrt(v) * (1 - b2**2) ** -0.5 + eps), m, v

    def rmsprop_step(state: Any, g: Any, lr: float, alpha: float, eps: float) -> Any:
        p, v = state
        v = alpha * v + (1 - alpha) * g * g
        return p - lr * g / (jnp.sqrt(v) + eps), v

    def update(f: Callable[..., Any]) -> Callable[..., tuple[Call, Call]]:
        step: Any = None

        def made(inputs: list[Any], **settings: float) -> tuple[Call, Call]:
            nonlocal step
            step = step or jax.jit(
                partial(f, **settings), donate_argnums=0
            )  # one for all copies of the inputs
            state, g = (inputs[0], *inputs[2:]), inputs[1]

            def call() -> Any:
                nonlocal state
                clock.last = state = step(state, g)
                return state

            return call, call

        return made

    def drawn(key: Any, out: Any) -> tuple[Any, Any]:
        key, own = jax.random.split(key)
        return key, jax.random.normal(own, out.shape)

    def gathered(key: Any, rows: Any, numbers: Any) -> tuple[Any, Any]:
        key, own = jax.random.split(key)
        return key, rows[jax.random.randint(own, numbers.shape, 0, len(rows))]

    draw, gather = jax.jit(drawn), jax.jit(gathered)

    def keyed(f: Callable[..., Any], inputs: list[Any]) -> Call:
        key = jax.random.key(0)

        def call() -> Any:
            nonlocal key
            clock.last = key, y = f(key, *inputs)
            return y

        return call

    def normal(inputs: list[Any]) -> tuple[Call, Call]:
        call = keyed(draw, inputs)
        return call, lambda: [call()]

    def batch(inputs: list[Any]) -> tuple[Call, Call]:
        call = keyed(gather, inputs)
        return call, lambda: (call(), inputs[0][inputs[1]])[1:]

    return {"adam": update(adam_step), "rmsprop": update(rmsprop_step), "normal": normal, "batch": batch}
