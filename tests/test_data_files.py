"""NumPy and IDX files: exactly the array that was written, or one DataError that names the file."""

import gzip
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize("array", [IMAGES, LABELS, IMAGES[:, :1, :1]], ids=["images", "labels", "pixels"])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda raw: gzip.compress(raw, 0)], ids=["raw", "gz", "stored"]
)
def test_idx_round_trip(write, monkeypatch, array, pack):
    monkeypatch.setattr(files, "PIECE", 3)
    got = files.read_idx(write(pack(idx(array))))
    assert got.dtype == np.uint8
    assert np.array_equal(got, array)
    assert got.flags.writeable
    assert idx(array).startswith(files.idx_header(array.shape))


RAW, PACKED = idx(IMAGES), gzip.compress(idx(IMAGES))
REFUSED = [  # file, content, words
    ("a-ubyte", b"", "begins with nothing"),
    ("a-ubyte", RAW[:3], "begins with 00 00 08, not"),
    ("a-ubyte", RAW[:9], "inside its header"),
    ("a-ubyte", RAW[:-1], "140 bytes, but it has 139"),
    ("a-ubyte", RAW + b"\0", "140 bytes, but it has more"),
    ("a-ubyte", b"\1" + RAW[1:], "begins with 01 00 08 03"),
    ("a-ubyte", b"<!doctype html><p>parked</p>", "begins with 3c 21"),
    ("a-ubyte", RAW[:2] + b"\x0d" + RAW[3:], "begins with 00 00 0d 03"),
    ("a-ubyte", idx(IMAGES[0]), "begins with 00 00 08 02"),
    ("a-ubyte", idx(IMAGES[None]), "begins with 00 00 08 04"),
    ("a-ubyte", idx(LABELS[:0], (0,)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (5, 0, 4)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (2**31 + 1,)), "nothing or over"),
    ("a-ubyte", idx(LABELS[:0], (2**31, 2**31, 2**31)), "nothing or over"),
    ("a-ubyte", idx(IMAGES, (7, 5, 4 + 2**30)), "nothing or over"),  # wraps to 140
    ("a-ubyte", idx(LABELS, (2**31,)), "2147483648 bytes, but it has 7"),
    ("a-ubyte", idx(LABELS), "holds 7 labels; wanted the file of the images"),
    ("a-ubyte", gzip.compress(b""), "begins with nothing"),
    ("a-ubyte", PACKED[:-9], "not a sound IDX file"),
    ("a-ubyte", PACKED[:-8], "not a sound IDX file"),
    ("a-ubyte", PACKED * 2, "but it has more"),
    ("a-ubyte", PACKED + b"tail", "not a sound IDX file"),
    ("a-ubyte", gzip.compress(RAW + bytes(500)), "but it has more"),
    ("a-ubyte", PACKED[:-4] + struct.pack("<I", 9), "not a sound IDX file"),
    ("a-ubyte", PACKED[:-8] + b"\0" + PACKED[-7:], "CRC check failed"),
    ("a-ubyte", b"\x1f\x8b\x08", "not a sound IDX file"),
    ("a.npy", npy(IMAGES)[:-1], "cannot be read as NumPy arrays"),
    ("a.npy", npy(np.array([{}, None])), "cannot be read as NumPy arrays"),
    ("a.npz", npz(x=np.array([{}, None])), "cannot be read as NumPy arrays"),
    ("a.npz", npz(a=IMAGES, b=IMAGES), "holds a, b; name the samples one of images"),
    ("a.npz", npz(labels=LABELS), "holds labels; name the samples"),
    ("a.npz", npz(), "holds no arrays"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED)
def test_damaged_files_are_named(write, name, content, words):
    path = write(content, name)
    with pytest.raises(DataError, match=words) as caught:
        data.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_claim_takes_no_memory(write):
    """Neither a header that lies, nor what lies behind a small one, in a gzip file of 64 MiB of zeros."""
    bombs = [idx(LABELS, (2**31,)), gzip.compress(idx(LABELS, (2**31,)))]
    bombs.append(gzip.compress(idx(np.zeros(64 << 20, np.uint8), (100,))))
    for bomb in bombs:
        path = write(bomb)
        tracemalloc.start()
        with pytest.raises(DataError):
            files.read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [("a-ubyte", RAW), ("a-ubyte.gz", PACKED), ("a.npy", npy(IMAGES)), ("a.npz", npz(x=IMAGES, y=LABELS))],
)
def test_mutants_give_an_array_or_an_error(write, name, content):
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(1500):
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
    assert 400 < refused < 1500


@pytest.mark.parametrize(
    ("names", "yes"),
    [
        ("train-images-idx3-ubyte train-images-idx3-ubyte.gz T10K-IMAGES.IDX3-UBYTE faces.idx faces.idx3.gz", True),
        ("faces.gz faces.npy idx", False),
    ],
)  # fmt: skip
def test_names_of_idx_files(names, yes):
    assert {files.is_idx(Path(name)) for name in names.split()} == {yes}
