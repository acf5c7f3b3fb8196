"""A small classifier, trained by fastgan's own engine in seconds: what generated pictures are looked at with.

One idea: the last hidden layer of a network that tells classes apart knows what matters in a picture, so two sets of
pictures are compared there (`scores.frechet`), as Heusel et al. 2017 do with a far larger network. Each feature is
divided by its spread over the training samples: a score then does not depend on the scale that training left it with.
Letters: `n` samples, `f` features, `k` classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastgan import ops, random
from fastgan.data import Dataset
from fastgan.errors import DataError
from fastgan.nn import Linear, Net, Sequential
from fastgan.optim import Adam, schedule
from fastgan.random import Stream
from fastgan.tape import Tensor, grad
from fastgan.threads import cpu_threads

FEATURES = 64  # width of the last hidden layer
FIRST = {True: 128, False: 256}  # width of the one before, by whether images are small
UPDATES = {True: 1000, False: 2000}
SMALL = 256  # pixels
HELD_OUT, MOST_HELD_OUT = 4, 10_000  # one sample in 4 is held out, at most so many
BATCH, RATE, SLOPE = 128, 3e-3, 0.2  # the rate falls to nothing
Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Classifier:
    """Weights and biases by layer, the spread of each feature, and the share of held-out samples that it gets right."""

    layers: Layers
    spread: NDArray[np.float32]
    accuracy: float

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.layers[-1][1].size

    def features(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """The last hidden layer (n, f) for images (n, ...) in [0, 1]."""
        return (_hidden(self.layers, images) / self.spread).astype(np.float64)

    def labels(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class (n,) that each image (n, ...) in [0, 1] is most likely of."""
        return _labels(self.layers, images)


def train(dataset: Dataset, *, seed: int = 0, updates: int | None = None) -> Classifier:
    """A classifier of labelled images, trained on those that are not held out; the same for a seed. DataError."""
    images, labels = dataset.scaled(0.0, 1.0), _whole(dataset)
    order = random.permutation(len(images), seed=seed, stream=Stream.HELD_OUT, step=0)
    away, kept = np.split(order, [min(len(order) // HELD_OUT, MOST_HELD_OUT)])
    small = dataset.features <= SMALL
    act = f"leaky_relu {SLOPE}"
    lines = (f"linear {FIRST[small]}", act, f"linear {FEATURES}", act, "linear o")
    network = Net(lines, init="he_normal").build(dataset.features, int(labels.max()) + 1, seed=seed)
    with cpu_threads(1):  # sums in one order, so that a seed gives one classifier
        _fit(network, images[kept], labels[kept], UPDATES[small] if updates is None else updates, seed)
        layers = _layers(network)
        spread = _hidden(layers, images[kept]).std(axis=0)
        accuracy = float((_labels(layers, images[away]) == labels[away]).mean())
    return Classifier(layers, np.where(spread > 0, spread, 1), accuracy)


def cross_entropy(logits: Tensor, chosen: Tensor) -> Tensor:
    """Mean of -log softmax(logits) at the right class, given as rows of 0 and 1; (n, k), (n, k) -> ()."""
    highest = logits.detach().data.max(axis=1, keepdims=True)  # so that nothing overflows
    shifted = logits - Tensor(highest)
    return (ops.log(ops.exp(shifted).sum(axis=1)) - (shifted * chosen).sum(axis=1)).mean()


def _whole(dataset: Dataset) -> NDArray[np.int64]:
    """The labels, 0 to k - 1."""
    labels = dataset.labels
    if labels is None or not dataset.is_images:
        got = "points" if labels is not None else "no labels"
        raise DataError(f"{dataset.name}: got {got}, wanted images with a class each: give labelled images")
    if labels.min() < 0 or len(np.unique(labels)) != labels.max() + 1 or labels.max() < 1:
        raise DataError(
            f"{dataset.name}: got labels {labels.min()} to {labels.max()}, wanted classes 0 to k - 1, each with samples"
        )
    return labels


def _fit(
    network: Sequential, images: NDArray[np.float32], labels: NDArray[np.int64], updates: int, seed: int
) -> None:
    """So many Adam updates, in place."""
    optimizer, rows = Adam(network, lr=RATE), np.eye(labels.max() + 1, dtype=np.float32)
    for update in range(updates):
        chosen = random.integers(BATCH, len(images), seed=seed, stream=Stream.BATCH, step=update)
        loss = cross_entropy(network(Tensor(images[chosen])), Tensor(rows[labels[chosen]]))
        grad(loss, network.parameters(), out=optimizer.gradients)
        optimizer.lr = RATE * schedule("linear", update, updates)
        optimizer.step()


def _layers(network: Sequential) -> Layers:
    linear = [m for m in network.modules() if isinstance(m, Linear)]
    return [(m.weight.data.copy(), m.bias.data.copy()) for m in linear]


def _hidden(layers: Layers, images: NDArray[np.float32]) -> NDArray[np.float32]:
    x = images.reshape(len(images), -1)
    for w, b in layers[:-1]:
        x = x @ w + b
        x = np.maximum(x, SLOPE * x)
    return x


def _labels(layers: Layers, images: NDArray[np.float32]) -> NDArray[np.int64]:
    w, b = layers[-1]
    found: NDArray[np.int64] = (_hidden(layers, images) @ w + b).argmax(axis=1)
    return found
