"""NumPy and IDX files: exactly the array that was written, or one DataError that names the file."""

import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Canary
from damage import mutate

from fastgan import data
from fastgan.data import files
from fastgan.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def idx(array, shape=None):
    """An IDX file, whose header may lie about the shape."""
    shape = shape or array.shape
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


@pytest.fixture
def write(tmp_path):
    def _write(content, name="a-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return _write


TWO = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
READ = [  # file, content, split, images, labels
    *(
        ("a.npy", npy(x), "train", IMAGES, None)
        for x in (IMAGES, np.asfortranarray(IMAGES), IMAGES.astype(">i2"))
    ),
    *(
        ("a.npz", npz(**{key: IMAGES}), "train", IMAGES, None)
        for key in ("images", "samples", "x", "X", "arr_0", "x_train", "anything")
    ),
    *(
        ("a.npz", npz(**{key: LABELS, "only": IMAGES}), "train", IMAGES, LABELS)
        for key in ("labels", "y", "y_train")
    ),
    ("a.npz", npz(other=IMAGES[:2], images=IMAGES, masks=IMAGES[:3]), "train", IMAGES, None),
    ("a.npz", npz(**TWO), "train", IMAGES, LABELS),
    ("a.npz", npz(**TWO), "test", IMAGES[:2], LABELS[:2]),
    ("a-ubyte", idx(IMAGES), "train", IMAGES, None),
    ("a.idx3.gz", gzip.compress(idx(IMAGES)), "train", IMAGES, None),
]


@pytest.mark.parametrize(("name", "content", "split", "images", "labels"), READ)
def test_arrays_are_found_and_exact(write, name, content, split, images, labels):
    dataset = data.load(write(content, name), split=split)
    assert type(dataset.samples) is np.ndarray
    assert np.array_equal(dataset.samples[..., 0], images)
    assert (dataset.labels is None) == (labels is None)
    assert labels is None or np.array_equal(dataset.labels, labels)
    assert (dataset.name, dataset.high) == (name, 255)
    assert name in dataset.source


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda raw: gzip.compress(raw, 0)], ids=["raw", "gz", "stored"]
)
def test_idx_round_trip(write, monkeypatch, pack):
    monkeypatch.setattr(files, "PIECE", 3)
    for array in (IMAGES, LABELS, IMAGES[:, :1, :1]):
        got = files.read_idx(write(pack(idx(array))))
        assert got.dtype == np.uint8
        assert np.array_equal(got, array)
        assert got.flags.writeable
        assert idx(array).startswith(files.idx_header(array.shape))


def claiming(shape, descr="|u1"):
    """An .npy whose header claims a shape, and 64 bytes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def zipped(content, name="x.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


RAW, PACKED = idx(IMAGES), gzip.compress(idx(IMAGES))
OBJECTS = np.array([Canary()] * 7, object)
NOT_READ, UNSOUND = "cannot be read as NumPy arrays", "not a sound IDX file"
REFUSED = [  # file, content, words
    ("a-ubyte", b"", "begins with nothing"),
    ("a-ubyte", RAW[:3], "begins with 00 00 08, not"),
    ("a-ubyte", RAW[:9], UNSOUND),
    ("a-ubyte", RAW[:-1], "140 bytes, but it has 139"),
    ("a-ubyte", RAW + b"\0", "140 bytes, but it has more"),
    ("a-ubyte", b"\1" + RAW[1:], "begins with 01 00 08 03"),
    ("a-ubyte", b"<!doctype html><p>parked</p>", "begins with 3c 21"),
    ("a-ubyte", RAW[:2] + b"\x0d" + RAW[3:], "begins with 00 00 0d 03"),
    ("a-ubyte", idx(IMAGES[0]), "begins with 00 00 08 02"),
    ("a-ubyte", idx(LABELS[:0], (0,)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (5, 0, 4)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (2**31 + 1,)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (2**31, 2**31, 2**31)), "nothing or over"),
    ("a-ubyte", idx(IMAGES, (7, 5, 4 + 2**30)), "nothing or over"),  # wraps to 140
    ("a-ubyte", idx(LABELS, (2**31,)), "2147483648 bytes, but it has 7"),
    ("a-ubyte", idx(LABELS), r"shape \(7,\); wanted images"),
    ("a-ubyte", idx(0 * IMAGES), "nothing to learn"),
    ("a-ubyte", gzip.compress(b""), "begins with nothing"),
    ("a-ubyte", PACKED[:-9], UNSOUND),
    ("a-ubyte", PACKED[:-8], UNSOUND),
    ("a-ubyte", PACKED * 2, "but it has more"),
    ("a-ubyte", PACKED + b"tail", UNSOUND),
    ("a-ubyte", gzip.compress(RAW + bytes(500)), "but it has more"),
    ("a-ubyte", PACKED[:-4] + struct.pack("<I", 9), UNSOUND),
    ("a-ubyte", PACKED[:-8] + b"\0" + PACKED[-7:], "CRC check failed"),
    ("a-ubyte.gz", b"\x1f\x8b\x08", UNSOUND),
    ("a-ubyte", pickle.dumps(Canary()), "begins with 80"),
    ("a.npy", b"", NOT_READ),
    ("a.npy", b"hello", NOT_READ),
    ("a.npy", pickle.dumps(Canary()), NOT_READ),
    ("a.npy", npy(IMAGES)[:-1], NOT_READ),
    ("a.npy", npy(IMAGES)[:50], NOT_READ),
    ("a.npy", npy(OBJECTS), NOT_READ),
    ("a.npy", npy(np.float64(3)), r"shape \(\)"),
    ("a.npy", npy(np.zeros(7, "i4,f4")), "values are"),
    ("a.npy", npy(np.zeros((7, 4, 4), "M8[s]")), "datetime"),
    ("a.npy", claiming((2**40, 28, 28)), NOT_READ),
    ("a.npy", claiming((2**62, 2**62)), NOT_READ),
    ("a.npy", claiming((-2, -32)), NOT_READ),
    ("a.npy", claiming((8, 8), "|O"), NOT_READ),
    ("a.npy", claiming("open('canary', 'w')"), NOT_READ),
    ("a.npz", b"", NOT_READ),
    ("a.npz", b"PK\5\6" + bytes(18), "holds no arrays"),
    ("a.npz", pickle.dumps(Canary()), NOT_READ),
    ("a.npz", npz(x=IMAGES)[:-30], NOT_READ),
    ("a.npz", npz(x=OBJECTS), NOT_READ),
    ("a.npz", npz(x=IMAGES, y=OBJECTS), NOT_READ),
    ("a.npz", zipped(claiming((2**40, 28, 28))), NOT_READ),
    ("a.npz", zipped(claiming((2**30, 8, 8))), NOT_READ),
    ("a.npz", zipped(claiming((-2, -32))), NOT_READ),
    ("a.npz", zipped(b"hello", "x.txt"), "a.npz"),
    ("a.npz", npz(a=IMAGES, b=IMAGES), "holds a, b; name the samples one of images"),
    ("a.npz", npz(labels=LABELS), "holds labels; name the samples"),
    ("a.npz", npz(), "holds no arrays"),
    ("a.npz", npz(x=IMAGES, y=LABELS[:3]), "7 samples but labels of shape"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED)
def test_damaged_files_are_named(write, monkeypatch, name, content, words):
    path = write(content, name)
    monkeypatch.chdir(path.parent)
    tracemalloc.start()
    with pytest.raises(DataError, match=words) as caught:
        data.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 8 << 20 or name == "a.npz"  # a claim takes no memory; of an .npz only addresses
    assert not Path("canary").exists()


def test_a_bomb_takes_no_memory(write):
    """64 MiB of zeros behind a small header, in a gzip file of 64 KiB."""
    path = write(gzip.compress(idx(np.zeros(64 << 20, np.uint8), (100,))))
    tracemalloc.start()
    with pytest.raises(DataError):
        files.read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [("a-ubyte", RAW), ("a-ubyte.gz", PACKED), ("a.npy", npy(IMAGES)), ("a.npz", npz(x=IMAGES, y=LABELS))],
)
def test_mutants_give_an_array_or_an_error(write, name, content):
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        mutant = mutate(content, random)
        path = write(mutant, name)
        try:
            array = data.load(path).samples[..., 0]
        except DataError:
            refused += 1
            continue
        if name == "a-ubyte":  # plain IDX has no checksum: what is read must be just what the bytes spell
            assert idx(array) == mutant
        if name == "a-ubyte.gz":
            assert np.array_equal(array, IMAGES)
    assert 100 < refused < 400


def test_names_of_idx_files():
    names = (
        "train-images-idx3-ubyte train-images-idx3-ubyte.gz T10K-IMAGES.IDX3-UBYTE faces.idx faces.idx3.gz"
    )
    assert all(files.is_idx(Path(name)) for name in names.split())
    assert not any(files.is_idx(Path(name)) for name in ("faces.gz", "faces.npy", "idx"))
