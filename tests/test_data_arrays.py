"""NumPy files: the array that is meant, without pickle, and nothing worse than a DataError."""

import io

import numpy as np
import pytest

from fastgan import data
from fastgan.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
LABELS = np.arange(6)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def load(tmp_path):
    def _load(content, name="set.npz", **settings):
        path = tmp_path / name
        path.write_bytes(content)
        return data.load(path, **settings)

    return _load


@pytest.mark.parametrize("array", [IMAGES, np.asfortranarray(IMAGES), IMAGES.astype(">i2")])
def test_npy(load, array):
    dataset = load(npy(array), "set.npy")
    assert np.array_equal(dataset.samples[..., 0], IMAGES)
    assert type(dataset.samples) is np.ndarray
    assert (dataset.name, dataset.labels) == ("set.npy", None)
    assert "set.npy" in dataset.source


@pytest.mark.parametrize("key", ["images", "samples", "x", "X", "arr_0", "x_train", "anything"])
def test_npz_key_of_the_samples(load, key):
    assert np.array_equal(load(npz(**{key: IMAGES})).samples[..., 0], IMAGES)


@pytest.mark.parametrize("key", ["labels", "y", "y_train"])
def test_npz_labels(load, key):
    dataset = load(npz(**{key: LABELS, "only": IMAGES}))
    assert np.array_equal(dataset.labels, LABELS)
    assert np.array_equal(dataset.samples[..., 0], IMAGES)


def test_npz_named_samples_go_before_others(load):
    assert np.array_equal(
        load(npz(other=IMAGES[:2], images=IMAGES, masks=IMAGES[:3])).samples[..., 0], IMAGES
    )


def test_npz_with_two_splits(load):
    content = npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    assert load(content).n == 6
    test = load(content, split="test")
    assert (test.n, test.labels.tolist()) == (2, [0, 1])


@pytest.mark.parametrize("content", [npz(images=IMAGES, labels=LABELS), npy(IMAGES)], ids=["npz", "npy"])
def test_mutants_raise_nothing_but_data_errors(load, content):
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(1500):
        mutant = bytearray(content)
        for _ in range(random.integers(1, 4)):
            mutant[random.integers(len(mutant))] = random.integers(256)
        try:
            load(bytes(mutant[: random.integers(1, len(mutant))] if random.random() < 0.2 else mutant))
        except DataError:
            refused += 1
    assert refused > 300
