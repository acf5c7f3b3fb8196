"""The one table that joins array code to the kernels that compute the same. Nothing else names both sides."""

from fastgan import ops, optim, random
from fastgan.backend import Fusable

TABLE: tuple[tuple[Fusable, str, str, str], ...] = (
    # array code, library, module of fastgan.kernels, function
    (ops.linear_leaky_relu.forward, "numpy", "dense", "linear_leaky_relu"),
    (ops.leaky_relu_grad.forward, "numpy", "dense", "leaky_relu_grad"),
    (random.fill_normal, "numpy", "noise", "fill_normal"),
    (random.fill_uniform, "numpy", "noise", "fill_uniform"),
    (optim.adam_update, "numpy", "update", "adam_update"),
    (optim.rmsprop_update, "numpy", "update", "rmsprop_update"),
)


def install() -> None:
    """Register every kernel; Numba itself is imported when one is first called."""
    for fusable, library, module, function in TABLE:
        fusable.register(library, f"fastgan.kernels.{module}", function)
