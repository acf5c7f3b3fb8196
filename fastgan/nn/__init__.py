"""Networks: layers as in every other library, their weights' first values, and the flat buffer they live in."""

from fastgan.nn.chain import Chain
from fastgan.nn.flat import Flat, flatten
from fastgan.nn.init import INITIALISERS, initialise
from fastgan.nn.layers import (
    Arctan,
    BatchNorm,
    Dropout,
    LeakyReLU,
    Linear,
    Maxout,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from fastgan.nn.mlp import MLP
from fastgan.nn.module import Module

__all__ = [
    "INITIALISERS",
    "MLP",
    "Arctan",
    "BatchNorm",
    "Chain",
    "Dropout",
    "Flat",
    "LeakyReLU",
    "Linear",
    "Maxout",
    "Module",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "flatten",
    "initialise",
]
