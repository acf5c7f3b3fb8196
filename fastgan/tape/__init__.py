"""The tape: Tensors, ops, and the gradient of what was computed. Start reading in engine.py."""

from fastgan.tape.tensor import Tensor, tensor  # noqa: I001 (Tensor first: the other two modules need it)
from fastgan.tape.engine import Op, Places, Thunk, grad, mark_changed, no_grad, op, recording, vjp_of

__all__ = [
    "Op",
    "Places",
    "Tensor",
    "Thunk",
    "grad",
    "mark_changed",
    "no_grad",
    "op",
    "recording",
    "tensor",
    "vjp_of",
]
