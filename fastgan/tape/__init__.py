"""The tape: Tensors, ops, and the gradient of what was computed. Start reading in engine.py."""

from fastgan.tape import arithmetic  # noqa: F401 (Tensor's operators)
from fastgan.tape.engine import Op, Places, Thunk, mark_changed, no_grad, op, recording
from fastgan.tape.gradient import grad, vjp_of
from fastgan.tape.tensor import Tensor, tensor

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
