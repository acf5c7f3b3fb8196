"""NumPy files: the array that is meant, without pickle, and nothing worse than a DataError."""

import io
import os
import pickle
import struct
import zipfile

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


class Canary:
    def __reduce__(self):
        return (os.mkdir, ("canary",))


def lying_member(shape):
    """An .npz whose array's header claims `shape` and whose data are a few bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_claiming(shape))
    return buffer.getvalue()


def npy_claiming(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


DAMAGED = {
    "nothing.npy": (b"", "nothing.npy"),
    "text.npy": (b"hello", "text.npy"),
    "cut.npy": (npy(IMAGES)[:-1], "cut.npy"),
    "empty.npy": (npy(IMAGES[:0]), "empty.npy"),
    "huge.npy": (npy_claiming((1 << 40, 28, 28)), "huge.npy"),
    "overflow.npy": (npy_claiming((1 << 62, 1 << 62, 4)), "overflow.npy"),
    "negative.npy": (npy_claiming((-2, -32, 1)), "negative.npy"),
    "records.npy": (npy(np.zeros(4, "i4,f4")), "give whole numbers"),
    "objects.npy": (npy(np.array([IMAGES, None], dtype=object)), "objects.npy"),
    "pickle.npy": (pickle.dumps(Canary()), "pickle.npy"),
    "canary.npz": (npz(images=np.array([Canary()] * 2, dtype=object)), "canary.npz"),
    "none.npz": (npz(), "holds no arrays"),
    "many.npz": (npz(a=IMAGES, b=IMAGES), "holds a, b; name the samples one of images, samples, x, X, arr_0"),
    "only_labels.npz": (npz(labels=LABELS), "name the samples one of"),
    "counts.npz": (npz(images=IMAGES, y=LABELS[:4]), r"6 samples but labels of shape \(4,\)"),
    "chw.npz": (npz(images=np.zeros((6, 3, 8, 8), np.uint8)), "wanted NHWC"),
    "nan.npz": (npz(images=np.array([[np.nan, 1], [2, 3]])), "1 of 4 values are not finite"),
    "lie.npz": (lying_member((1 << 40, 28, 28)), "claims shape"),
    "cut.npz": (npz(images=IMAGES)[:-30], "cut.npz"),
    "foreign.npz": (b"PK\5\6" + bytes(18), "holds no arrays"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_foreign_files(load, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = DAMAGED[name]
    with pytest.raises(DataError, match=message) as caught:
        load(content, name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists()


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
