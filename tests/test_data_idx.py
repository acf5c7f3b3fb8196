"""IDX files: exactly the array that was written, or one DataError that names the file."""

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastgan import data
from fastgan.data import files as idx
from fastgan.errors import DataError

pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def encode(array, shape=None):
    """An IDX file, whose header may lie about the shape."""
    shape = shape or array.shape
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def forge(content, length):
    """Gzip of `content` whose trailer claims another length."""
    return gzip.compress(content)[:-4] + struct.pack("<I", length)


@pytest.fixture
def write(tmp_path):
    def _write(content, name="a-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return _write


@pytest.mark.parametrize("array", [IMAGES, LABELS, IMAGES[:, :1, :1]], ids=["images", "labels", "pixels"])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda raw: gzip.compress(raw, 0)], ids=["raw", "gz", "stored"]
)
def test_round_trip(write, array, pack):
    got = idx.read_idx(write(pack(encode(array))))
    assert got.dtype == np.uint8
    assert np.array_equal(got, array)
    assert got.shape == array.shape
    assert got.flags.writeable


def test_round_trip_over_many_pieces(write, monkeypatch):
    monkeypatch.setattr(idx, "PIECE", 7)
    monkeypatch.setattr(idx, "BURST", 3)
    assert np.array_equal(idx.read_idx(write(gzip.compress(encode(IMAGES)))), IMAGES)


def test_a_second_member_is_seen_where_a_piece_ends(write, monkeypatch):
    monkeypatch.setattr(idx, "PIECE", 1)
    with pytest.raises(DataError, match="after the end of its gzip member"):
        idx.read_idx(write(gzip.compress(RAW) * 2))


def test_header_is_the_one_that_files_have():
    assert encode(IMAGES).startswith(idx.idx_header(IMAGES.shape))
    assert len(idx.idx_header(LABELS.shape)) == 8


RAW = encode(IMAGES)
TELLING = RAW[:-4] + struct.pack("<I", len(RAW))  # pixels that look like the length in a gzip trailer
DAMAGED = {
    "empty": (b"", "it is empty"),
    "three bytes": (RAW[:3], "fewer than a header"),
    "header cut": (RAW[:9], "inside its header"),
    "truncated": (RAW[:-1], r"156 bytes, but it has 155"),
    "trailing byte": (RAW + b"\0", r"156 bytes, but it has 157"),
    "wrong magic": (b"\1" + RAW[1:], "begins with 01 00 08 03"),
    "html": (b"<!doctype html><p>parked</p>", "begins with 3c 21"),
    "float32": (RAW[:2] + b"\x0d" + RAW[3:], "begins with 00 00 0d 03"),
    "rank 2": (encode(IMAGES[0]), "begins with 00 00 08 02"),
    "rank 4": (encode(IMAGES[None]), "begins with 00 00 08 04"),
    "no items": (encode(LABELS[:0], (0,)), "nothing or over"),
    "flat image": (encode(LABELS[:0], (5, 0, 4)), "nothing or over"),
    "2 GiB and a byte": (encode(LABELS[:0], (2**31 + 1,)), "nothing or over"),
    "overflow": (encode(LABELS[:0], (2**31, 2**31, 2**31)), "nothing or over"),
    "wraps to 140": (encode(IMAGES, (7, 5, 4 + 2**30)), "nothing or over"),
    "claims 2 GiB": (encode(LABELS, (2**31,)), "2147483656 bytes, but it has 15"),
    "gz of nothing": (gzip.compress(b""), "it is empty"),
    "gz truncated": (gzip.compress(RAW)[:-9], "but it has"),
    "gz without trailer": (gzip.compress(TELLING, 0)[:-8], "trailer is cut off"),
    "gz of two": (gzip.compress(RAW) * 2, "after the end of its gzip member"),
    "gz split in two": (gzip.compress(RAW[:50]) + forge(RAW[50:], len(RAW)), "ends after"),
    "gz and a tail": (gzip.compress(RAW) + b"tail", "but it has"),
    "gz and the same tail": (
        gzip.compress(RAW) + struct.pack("<I", len(RAW)),
        "after the end of its gzip member",
    ),
    "gz of too much": (gzip.compress(RAW + b"x"), "156 bytes, but it has 157"),
    "gz of too much, forged": (forge(RAW + bytes(500), len(RAW)), "more than its header says"),
    "gz of too little, forged": (forge(RAW[:-1], len(RAW)), "incorrect length check"),
    "gz header alone": (b"\x1f\x8b\x08", "too few for gzip"),
    "gz flipped": (gzip.compress(RAW)[:-8] + b"\0" + gzip.compress(RAW)[-7:], "incorrect data check"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(write, name):
    content, message = DAMAGED[name]
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        idx.read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path, tmp_path / "none-ubyte"):
        with pytest.raises(DataError, match="is not a file"):
            idx.read_idx(path)


def peak_of(call):
    tracemalloc.start()
    with pytest.raises(DataError):
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    "kind", ["zeros", "small claim", "small claim, forged", "large claim", "huge claim", "raw"]
)
def test_a_bomb_takes_no_memory(write, kind):
    squeeze = zlib.compressobj(9, wbits=31)
    shape = {"large claim": (64 << 20,), "huge claim": (2**31,), "raw": (2**31,)}.get(kind, (100,))
    start = b"" if kind == "zeros" else encode(LABELS[:0], shape)
    bomb = (
        squeeze.compress(start)
        + b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(64))
        + squeeze.flush()
    )
    if kind in ("small claim, forged", "huge claim"):
        bomb = bomb[:-4] + struct.pack("<I", len(start) + shape[0])
    path = write(start if kind == "raw" else bomb)
    assert peak_of(lambda: idx.read_idx(path)) < 8 << 20


def test_a_claim_just_under_the_bomb_limits_grows_with_what_is_there(write):
    claim = 30 << 20
    bomb = forge(encode(LABELS, (claim,)), claim + 8)
    path = write(bomb)
    assert peak_of(lambda: idx.read_idx(path)) < 8 << 20


def mutate(content, random):
    """One damaged copy: cut, grown, doubled, or with some bytes overwritten."""
    kind = random.integers(6)
    here, there = sorted(random.integers(0, len(content) + 1, 2))
    if kind == 0:
        return content[:here]
    if kind == 1:
        return content[:here] + content[there:]
    if kind == 2:
        return content[:there] + content[here:]
    if kind == 3:
        return content[:here] + random.bytes(random.integers(1, 9)) + content[here:]
    mutant = bytearray(content)
    for _ in range(random.integers(1, 4)):
        where = random.integers(0, min(len(content), 24) if kind == 4 else len(content))  # 4: the header
        mutant[where] = random.integers(256)
    return bytes(mutant)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gz"])
def test_mutants_give_the_exact_array_or_an_error(write, pack):
    random = np.random.default_rng(5)
    original, refused = pack(RAW), 0
    for _ in range(4000):
        mutant = mutate(original, random)
        path = write(mutant)
        try:
            array = idx.read_idx(path)
        except DataError:
            refused += 1
            continue
        # plain IDX has no checksum: what is read must be just what the bytes spell
        assert np.array_equal(array, IMAGES) if pack is gzip.compress else encode(array) == mutant
    assert 2000 < refused < 4000


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("train-images-idx3-ubyte", True),
        ("train-images-idx3-ubyte.gz", True),
        ("T10K-IMAGES.IDX3-UBYTE", True),
        ("faces.idx", True),
        ("faces.idx3.gz", True),
        ("faces.gz", False),
        ("faces.npy", False),
        ("idx", False),
    ],
)
def test_names_of_idx_files(name, yes):
    assert idx.is_idx(Path(name)) is yes


def test_load_reads_images_and_refuses_labels(write):
    images = data.load(write(gzip.compress(RAW), "faces.idx3.gz"))
    assert (images.samples.shape, images.high, images.labels) == ((7, 5, 4, 1), 255, None)
    assert np.array_equal(images.samples[..., 0], IMAGES)
    with pytest.raises(DataError, match="holds 7 labels; wanted the file of the images"):
        data.load(write(encode(LABELS), "labels-ubyte"))
