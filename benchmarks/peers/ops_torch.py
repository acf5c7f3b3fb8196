"""Single operations in PyTorch, eager or compiled, on the CPU or a GPU: see `peer_kernels`.

One idea: what the functional API has is used as it is; gradients come from `torch.autograd.grad`, on a kept graph where
the backward pass is timed alone. Compiled functions are those of eager mode, each compiled as a whole.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.peer_kernels import Call, turned, turned_back


class Engine:
    """PyTorch on the column's device."""

    def __init__(self, column: Column) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")  # PyTorch's default, said aloud: no TF32
        torch.backends.cudnn.allow_tf32 = False  # convolutions use it by default
        torch.backends.cudnn.benchmark = True  # sizes never change
        self.torch, self.device, self.clock = torch, column.where(), column.clock()
        self.compiles = column.name == "torch-compiled"
        self.made: Callable[..., Any] | None = None
        self.functions = functions()
        self.special = special(self.device, self.compiled if self.compiles else None)
        if self.compiles:  # else a compiled backward pass cannot run twice on one graph
            from torch._functorch import config

            config.donated_buffer = False

    def compiled(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """The function as the column runs it; the same for all copies of the inputs."""
        if not self.compiles:
            return f
        self.made = self.made or self.torch.compile(f, fullgraph=True, dynamic=False)
        return self.made

    def array(self, x: NDArray[Any], layout: str) -> Any:
        """A tensor; on the CPU images and kernels have channels last, as in `torch_conv`, where that is faster."""
        made = self.torch.from_numpy(np.array(turned(x, layout), copy=None)).to(self.device)
        last = self.device == "cpu" and made.ndim == 4
        return made.to(memory_format=self.torch.channels_last) if last else made

    def host(self, x: Any, layout: str) -> NDArray[Any]:
        """An array of NumPy."""
        return turned_back(x.detach().cpu().numpy(), layout)

    def forward(self, f: Callable[..., Any], inputs: list[Any]) -> Call:
        """No input wants a gradient, so nothing is recorded."""
        f = self.compiled(f)
        return lambda: f(*inputs)

    def backward(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """On a kept graph."""
        wanted = [inputs[i].requires_grad_() for i in wrt]
        grad, y = self.torch.autograd.grad, self.compiled(f)(*inputs)
        return lambda: grad(y, wanted, seed, retain_graph=True)

    def both(self, f: Callable[..., Any], inputs: list[Any], wrt: Sequence[int], seed: Any) -> Call:
        """With a new graph each time."""
        wanted = [inputs[i].requires_grad_() for i in wrt]
        grad, f = self.torch.autograd.grad, self.compiled(f)

        def call() -> tuple[Any, ...]:
            y = f(*inputs)
            return y, *grad(y, wanted, seed)

        return call


def functions() -> dict[str, Callable[..., Any]]:
    """The operations; weights are (o, i) and (o, c, kh, kw), images NCHW."""
    import torch
    from torch.nn import functional

    F: Any = functional

    def batch_norm(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, *, eps: float) -> Any:
        return F.batch_norm(x, mean, variance, gamma, beta, training=True, momentum=0.1, eps=eps)

    def padded(x: Any, pad: Sequence[int]) -> tuple[Any, Any]:
        """What a convolution takes: it pads both sides alike."""
        top, bottom, left, right = pad
        even = top == bottom and left == right
        return (x, (top, left)) if even else (F.pad(x, (left, right, top, bottom)), 0)

    def convolve(x: Any, w: Any, b: Any = None, *, stride: Any, pad: Any, slope: float = 1.0) -> Any:
        x, padding = padded(x, pad)
        y = F.conv2d(x, w, b, stride, padding)
        return y if slope == 1 else F.leaky_relu(y, slope)

    def convolve_transposed(v: Any, w: Any, b: Any = None, *, stride: Any, pad: Any, size: Any) -> Any:
        less = (min(pad[:2]), min(pad[2:]))
        reach = [
            (v.shape[2 + i] - 1) * stride[i] + w.shape[2 + i] - 2 * less[i] for i in (0, 1)
        ]  # without more at the end
        more = [max(0, size[i] - reach[i]) for i in (0, 1)]
        y = F.conv_transpose2d(v, w, b, stride, less, more)
        top, left = pad[0] - less[0], pad[2] - less[1]
        return y[:, :, top : top + size[0], left : left + size[1]]

    def layer_norm(x: Any, gamma: Any, beta: Any, *, eps: float) -> Any:
        return F.layer_norm(x, gamma.shape, gamma, beta, eps)

    def score_loss(s: Any, ones: Any) -> Any:
        real, fake = s[: len(ones)], s[len(ones) :]
        loss = F.binary_cross_entropy_with_logits
        return loss(real, ones) + loss(fake, torch.zeros_like(ones))

    def penalty(g: Any, *, weight: float) -> Any:
        return weight * (((g * g).sum(1) + 1e-12).sqrt() - 1).square().mean()

    def critic_penalty(real: Any, fake: Any, mix: Any, *layers: Any, slope: float, weight: float) -> Any:
        x = torch.lerp(fake, real, mix).requires_grad_()
        h = x
        for i in range(0, len(layers) - 2, 2):
            h = F.leaky_relu(F.linear(h, layers[i], layers[i + 1]), slope)
        scores = F.linear(h, *layers[-2:])
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return penalty(gradient, weight=weight)

    return {
        "linear_leaky_relu": lambda x, w, b, *, slope: F.leaky_relu(F.linear(x, w, b), slope),
        "leaky_relu_linear": lambda u, w, b, *, slope: F.linear(F.leaky_relu(u, slope), w, b),
        "batch_norm": batch_norm,
        "convolve": convolve,
        "convolve_transposed": convolve_transposed,
        "max_pool": lambda x, *, size: F.max_pool2d(x, size),
        "layer_norm": layer_norm,
        "score_loss": score_loss,
        "penalty": penalty,
        "critic_penalty": critic_penalty,
    }


def special(device: str, compiled: Callable[..., Any] | None) -> dict[str, Callable[..., tuple[Call, Call]]]:
    """What changes state: a call, and one that runs it first and returns the results."""
    import torch

    def adam(inputs: list[Any], *, lr: float, b1: float, b2: float, eps: float) -> tuple[Call, Call]:
        """torch.optim's at its second step, fused; compiled, a function that does the same."""
        p, g, m, v = inputs
        step = torch.optim.Adam([p], lr=lr, betas=(b1, b2), eps=eps, fused=True)
        p.grad = g
        count = torch.tensor(1.0, device=device if device == "cuda" else "cpu")
        step.state[p].update(step=count, exp_avg=m, exp_avg_sq=v)
        call = step.step
        if compiled:
            call = partial(compiled(updated), p, g, m, v, lr=lr, b1=b1, b2=b2, eps=eps)
        return call, lambda: (call(), p, m, v)[1:]

    def updated(p: Any, g: Any, m: Any, v: Any, *, lr: float, b1: float, b2: float, eps: float) -> None:
        m.lerp_(g, 1 - b1)
        v.lerp_(g * g, 1 - b2)
        p.sub_(lr / (1 - b1**2) * m / (v.sqrt() * (1 - b2**2) ** -0.5 + eps))

    def rmsprop(inputs: list[Any], *, lr: float, alpha: float, eps: float) -> tuple[Call, Call]:
        p, g, v = inputs
        step = torch.optim.RMSprop([p], lr=lr, alpha=alpha, eps=eps)
        p.grad = g
        step.state[p].update(step=torch.tensor(1.0), square_avg=v)
        return step.step, lambda: (step.step(), p, v)[1:]

    def normal(inputs: list[Any]) -> tuple[Call, Call]:
        (out,) = inputs
        call = out.normal_
        return call, lambda: [call()]

    def batch(inputs: list[Any]) -> tuple[Call, Call]:
        rows, numbers = inputs
        shape = (len(numbers),)

        def call() -> Any:
            return rows.index_select(0, torch.randint(len(rows), shape, device=device))

        return call, lambda: (call(), rows.index_select(0, numbers))[1:]

    return {"adam": adam, "rmsprop": rmsprop, "normal": normal, "batch": batch}
