"""Training: recipes as values, the trainer that runs them, checkpoints, and the run directory."""

from fastgan import fused
from fastgan.gan.batches import assemble
from fastgan.gan.recipe import OptimizerSettings, Recipe
from fastgan.gan.recipes import DEFAULT, RECIPES
from fastgan.gan.restore import load
from fastgan.gan.ring import record
from fastgan.gan.trainer import Callback, Trainer

fused.install(both=[(assemble, "batch", "assemble")], cuda_only=[(record, "batch", "record")])

__all__ = ["DEFAULT", "RECIPES", "Callback", "OptimizerSettings", "Recipe", "Trainer", "load"]
