"""Labelled runs on samples whose pixels say their class, so that a label can be checked wherever a sample is."""

import numpy as np

import fastgan as fg
from fastgan.data import Dataset
from fastgan.gan import OptimizerSettings
from fastgan.nn import Net

K = 5
TINY = fg.recipes["digits"].replace(
    classes=K,
    batch=6,
    latent=4,
    label_features=3,
    log_every=4,
    generator=Net(("linear 8", "leaky_relu 0.2", "linear o")),
    critic=Net(("linear 9", "leaky_relu 0.2", "linear 7", "leaky_relu 0.2", "linear o")),
    optimizer=OptimizerSettings(beta1=0.5),
)


def labelled(dtype=np.uint8, *, shape=(3, 2, 1), low=0, high=255, n=40):
    """Samples that are alike but for their first pixel, from which the class can be read."""
    labels = np.arange(n) * 7 % K
    samples = np.full((n, *shape), low, dtype)
    samples.reshape(n, -1)[:, 0] = low + (high - low) * labels / K
    samples.reshape(n, -1)[:, 1] = np.linspace(low, high, n)
    return Dataset("labelled", samples, labels.astype(np.int64), low, high)


def points(n=40):
    labels = np.arange(n) % K
    rows = np.stack([labels * 2.0, np.linspace(-3, 3, n)], axis=1)
    return Dataset("points", rows.astype(np.float32), labels.astype(np.int64))


def trainer_of(recipe=TINY, dataset=None, **settings):
    return fg.Trainer(recipe, dataset or labelled(), **{"device": "cpu", "seed": 2, **settings})
