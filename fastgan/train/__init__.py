"""Training: recipes as values, the trainer that runs them, checkpoints, and the run directory."""

from fastgan.train.recipe import OptimiserSettings, Recipe
from fastgan.train.recipes import DEFAULT, RECIPES
from fastgan.train.restore import load
from fastgan.train.trainer import Callback, Trainer

__all__ = ["DEFAULT", "RECIPES", "Callback", "OptimiserSettings", "Recipe", "Trainer", "load"]
