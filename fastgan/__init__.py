"""fastgan: GANs on a small autograd engine written from scratch.

    import fastgan as fg
    run = fg.Trainer(fg.recipes["digits"]).fit(steps=500)
    images = run.sample(25, seed=42)

The tape is in `fastgan.tape`, its ops in `fastgan.ops`; read `fastgan/tape/engine.py` first.
"""

from fastgan import data, nn, ops, optim, random
from fastgan.capture import Captured, capture
from fastgan.dispatch import use_kernels
from fastgan.gan import RECIPES, Callback, OptimizerSettings, Recipe, Trainer, load
from fastgan.gan import objectives as losses
from fastgan.gan.objectives import OBJECTIVES, Objective
from fastgan.tape import Tensor, grad, no_grad, op, tensor
from fastgan.version import __version__

recipes = RECIPES
objectives = OBJECTIVES

__all__ = [
    "OBJECTIVES",
    "RECIPES",
    "Callback",
    "Captured",
    "Objective",
    "OptimizerSettings",
    "Recipe",
    "Tensor",
    "Trainer",
    "__version__",
    "capture",
    "data",
    "grad",
    "load",
    "losses",
    "nn",
    "no_grad",
    "objectives",
    "op",
    "ops",
    "optim",
    "random",
    "recipes",
    "tensor",
    "use_kernels",
]
