"""PyTorch as the oracle for layers: the same function in both, on the same float64 arrays, to second derivatives."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fastgan.tape import Tensor, grad

torch: Any = pytest.importorskip("torch")


def same_as_torch(ours: Callable[..., Tensor], theirs: Callable[..., Any], xs: Sequence[Any]) -> None:
    """AssertionError where output, gradients, or gradients of the squared gradients differ. Both see NHWC."""
    a = [Tensor(x, requires_grad=True) for x in xs]
    b = [torch.tensor(x, requires_grad=True) for x in xs]
    y, z = ours(*a), theirs(*b)
    close(y, z)
    weights = np.random.default_rng(1).normal(size=y.shape)
    first = grad((y * y * weights).sum(), a, create_graph=True)
    wanted = torch.autograd.grad((z * z * torch.tensor(weights)).sum(), b, create_graph=True)
    for g, h in zip(first, wanted, strict=True):
        close(g, h)
    second = grad(squares(first), a)
    for g, h in zip(second, torch.autograd.grad(squares(wanted), b), strict=True):
        close(g, h)


def squares(gradients: Sequence[Any]) -> Any:
    """The sum of all squares."""
    return sum((g * g).sum() for g in gradients)


def close(ours: Tensor, theirs: Any) -> None:
    """AssertionError unless shapes are equal and values nearly."""
    wanted = theirs.detach().numpy()
    assert ours.shape == wanted.shape
    np.testing.assert_allclose(ours.data, wanted, rtol=1e-9, atol=1e-9 * max(1, np.abs(wanted).max()))


def channels_first(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NCHW images, for NHWC ones."""
    return lambda x, *rest: f(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


def normal(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    """Float64 samples of N(0, 1)."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def both(value: Any) -> tuple[int, int]:
    """A setting for both directions."""
    return (value, value) if isinstance(value, int) else value
