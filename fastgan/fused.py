"""The one table that joins array code to the kernels that compute the same. Nothing else names both sides.

The engine's rows are here; what stands on the engine adds its own with `install`."""

from collections.abc import Collection

from fastgan import ops, optim, random, threads
from fastgan.dispatch import Fusable
from fastgan.ops import dense, loss, norm
from fastgan.tape.arithmetic import product

Row = tuple[Fusable, str, str]

BOTH: tuple[Row, ...] = (
    # array code, module of fastgan.kernels and of fastgan.kernels.cuda, function
    (product, "dense", "matmul"),
    (ops.linear.forward, "dense", "forward"),
    (dense.linear_backward, "dense", "backward"),
    (dense.weight_gradients, "dense", "weight_gradients"),
    (dense.masked_forth.forward, "dense", "tangent"),
    (ops.activation_grad.forward, "dense", "activation_grad"),
    (ops.convolve.forward, "conv", "convolve"),
    (ops.convolve_transposed.forward, "conv", "convolve_transposed"),
    (ops.convolve_weight_grad.forward, "conv", "convolve_weight_grad"),
    (norm.norm_forward, "norm", "norm_forward"),
    (norm.norm_backward, "norm", "norm_backward"),
    (ops.max_pool2d.forward, "pooling", "max_pool2d"),
    (ops.max_pool2d_grad.forward, "pooling", "max_pool2d_grad"),
    (ops.max_pool2d_pick.forward, "pooling", "max_pool2d_pick"),
    (ops.sum_to.forward, "sums", "sum_to"),
    (ops.score_loss.forward, "loss", "score_loss"),
    (loss.head_loss, "loss", "head_loss"),
    (loss.penalty, "loss", "penalty"),
    (random.fill_normal, "noise", "fill_normal"),
    (random.fill_uniform, "noise", "fill_uniform"),
    (optim.adam_update, "update", "adam_update"),
    (optim.rmsprop_update, "update", "rmsprop_update"),
    (optim.sgd_update, "update", "sgd_update"),
)
CUDA_ONLY: tuple[Row, ...] = (  # BLAS and NumPy do these well on a CPU
    (norm.forward_norm, "dense", "forward_norm"),
    (ops.unfold.forward, "windows", "unfold"),
    (ops.fold.forward, "windows", "fold"),
)
# array code, library of the arrays, module of fastgan.kernels, function
TABLE: list[tuple[Fusable, str, str, str]] = []
threads.splitter = "fastgan.kernels.splitting"


def install(both: Collection[Row], cuda_only: Collection[Row] = ()) -> None:
    """Register kernels, those of `both` for NumPy and CuPy arrays; Numba is imported when one is first called."""
    rows = [(fusable, "numpy", module, function) for fusable, module, function in both]
    rows += [
        (fusable, "cupy", f"cuda.{module}", function) for fusable, module, function in (*both, *cuda_only)
    ]
    for fusable, library, module, function in rows:
        fusable.register(library, f"fastgan.kernels.{module}", function)
    TABLE.extend(rows)


install(BOTH, CUDA_ONLY)
