"""The one table that joins array code to the kernels that compute the same. Nothing else names both sides."""

from fastgan import backend, data, ops, optim, random
from fastgan.backend import Fusable
from fastgan.ops import passes
from fastgan.tape.arithmetic import product

BOTH = (
    # array code, module of fastgan.kernels and of fastgan.kernels.cuda, function
    (product, "dense", "matmul"),
    (ops.linear.forward, "dense", "linear"),
    (ops.linear_leaky_relu.forward, "dense", "linear_leaky_relu"),
    (ops.leaky_relu_grad.forward, "dense", "leaky_relu_grad"),
    (ops.convolve.forward, "conv", "convolve"),
    (ops.convolve_transposed.forward, "conv", "convolve_transposed"),
    (ops.convolve_weight_grad.forward, "conv", "convolve_weight_grad"),
    (ops.moments, "norm", "moments"),
    (ops.batch_norm.forward, "norm", "batch_norm"),
    (ops.batch_norm_grad.forward, "norm", "batch_norm_grad"),
    (ops.batch_norm_gamma_grad.forward, "norm", "batch_norm_gamma_grad"),
    (ops.max_pool2d.forward, "pooling", "max_pool2d"),
    (ops.max_pool2d_grad.forward, "pooling", "max_pool2d_grad"),
    (ops.max_pool2d_pick.forward, "pooling", "max_pool2d_pick"),
    (ops.sum_to.forward, "sums", "sum_to"),
    (passes.forward, "dense", "forward"),
    (passes.backward, "dense", "backward"),
    (passes.weight_gradients, "dense", "weight_gradients"),
    (passes.tangent, "dense", "tangent"),
    (passes.norm_forward, "norm", "norm_forward"),
    (passes.norm_backward, "norm", "norm_backward"),
    (passes.score_loss, "loss", "score_loss"),
    (passes.head_loss, "loss", "head_loss"),
    (passes.penalty, "loss", "penalty"),
    (random.fill_normal, "noise", "fill_normal"),
    (random.fill_uniform, "noise", "fill_uniform"),
    (optim.adam_update, "update", "adam_update"),
    (optim.rmsprop_update, "update", "rmsprop_update"),
    (optim.sgd_update, "update", "sgd_update"),
    (data.assemble, "batch", "assemble"),
)
CUDA_ONLY = (  # BLAS and NumPy do these well on a CPU
    (passes.forward_norm, "dense", "forward_norm"),
    (passes.record, "batch", "record"),
    (ops.unfold.forward, "windows", "unfold"),
    (ops.fold.forward, "windows", "fold"),
)
TABLE: tuple[tuple[Fusable, str, str, str], ...] = (
    *((fusable, "numpy", module, function) for fusable, module, function in BOTH),
    *((fusable, "cupy", f"cuda.{module}", function) for fusable, module, function in (*BOTH, *CUDA_ONLY)),
)


def install() -> None:
    """Register every kernel, and what shares samples among threads; Numba is imported when one is first called."""
    for fusable, library, module, function in TABLE:
        fusable.register(library, f"fastgan.kernels.{module}", function)
    backend.splitter = "fastgan.kernels.splitting"
