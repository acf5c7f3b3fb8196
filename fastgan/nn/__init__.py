"""Networks: layers as in every other library, their weights' first values, and the flat buffer they live in."""

from fastgan.nn.conv import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Crop2d,
    Flatten,
    MaxPool2d,
    Mean,
    Pad2d,
    Reshape,
    Upsample2d,
)
from fastgan.nn.flat import Flat, flatten
from fastgan.nn.init import INITIALIZERS, initialize
from fastgan.nn.layers import (
    Activation,
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
from fastgan.nn.module import Module
from fastgan.nn.norm import Embedding, InstanceNorm, LayerNorm, MinibatchStdDev, SpectralNorm
from fastgan.nn.text import Net

__all__ = [
    "INITIALIZERS",
    "Activation",
    "Arctan",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "Crop2d",
    "Dropout",
    "Embedding",
    "Flat",
    "Flatten",
    "InstanceNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Maxout",
    "Mean",
    "MinibatchStdDev",
    "Module",
    "Net",
    "Pad2d",
    "ReLU",
    "Reshape",
    "Sequential",
    "Sigmoid",
    "SpectralNorm",
    "Tanh",
    "Upsample2d",
    "flatten",
    "initialize",
]
