"""MNIST and Fashion-MNIST: found, recognised by content, and downloaded past mirrors that fail (on loopback only)."""

import gzip
import hashlib
import os
import shutil
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from mirrors import BROKEN, serving

from fastgan import data
from fastgan.data import mnist
from fastgan.errors import DataError

N = 6
IMAGES = np.random.default_rng(1).integers(0, 256, (N, 3, 3), dtype=np.uint8)
LABELS = np.arange(N, dtype=np.uint8)


def encode(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


FILES = {
    f"{split}-{what}": gzip.compress(encode(array + np.uint8(shift)), mtime=0)
    for split, shift in (("train", 0), ("t10k", 1))
    for what, array in (("images-idx3-ubyte", IMAGES), ("labels-idx1-ubyte", LABELS))
}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(FILES) as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own, no FASTGAN_DATA, and collections whose only mirror is a closed port."""
    monkeypatch.delenv("FASTGAN_DATA", raising=False)
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def use(monkeypatch):
    """Small sets behind these mirrors; the sums of their plain bytes are known or not."""
    monkeypatch.setattr(mnist, "SHAPES", {name: (N, 3, 3) if "images" in name else (N,) for name in FILES})
    monkeypatch.setattr(mnist, "SUMS", {})

    def _use(*mirrors, name="mnist", raw=True):
        monkeypatch.setitem(mnist.MIRRORS, name, mirrors)
        for file, packed in FILES.items():
            mnist.SUMS[f"{name}/{file}.gz"] = sha256(packed)
            if raw:
                mnist.SUMS[f"{name}/{file}"] = sha256(gzip.decompress(packed))

    return _use


def put(folder, *names, content=None, suffix=".gz", spelt=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        packed = FILES[name] if content is None else content
        (folder / f"{spelt or name}{suffix}").write_bytes(packed if suffix else gzip.decompress(packed))


TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def is_right(dataset, shift=0):
    images = np.array_equal(dataset.samples[..., 0], IMAGES + np.uint8(shift))
    return images and dataset.labels.tolist() == (LABELS + shift).tolist()


def test_broken_mirrors_are_passed_over(server, use, cache, monkeypatch):
    monkeypatch.setattr(mnist, "TIMEOUT", 0.3)
    with serving(FILES) as gone:
        closed = gone.base
    use(f"{closed}/closed/", *(f"{server.base}/{how}/" for how in (*BROKEN, "good")))
    assert is_right(data.load("mnist"))
    asked = [how for how, file in server.asked if file == f"{TRAIN[0]}.gz"]
    assert list(dict.fromkeys(asked)) == [*BROKEN, "good"]
    assert sorted(os.listdir(cache / "mnist")) == sorted(f"{name}.gz" for name in TRAIN)


def test_all_mirrors_failed_says_what_to_do(server, use, cache, monkeypatch):
    monkeypatch.setattr(mnist, "TIMEOUT", 0.2)
    use(*(f"{server.base}/{how}/" for how in BROKEN))
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    text = str(caught.value)
    assert "\n" not in text
    for word in (f"{TRAIN[0]}.gz", str(cache / "mnist"), "digits", "answer 503"):
        assert word in text
    assert len({how for how, _ in server.asked}) == len(BROKEN)
    assert os.listdir(cache / "mnist") == []


def test_a_download_is_whole_when_several_ask_at_once_and_is_not_asked_for_again(server, use, cache):
    use(f"{server.base}/good/")
    with ThreadPoolExecutor(6) as pool:
        outcomes = [*pool.map(lambda _: is_right(data.load("mnist", split="test"), shift=1), range(6))]
    assert outcomes == [True] * 6
    assert len(os.listdir(cache / "mnist")) == 2
    server.asked.clear()
    assert is_right(data.load("mnist", split="test"), shift=1)
    assert server.asked == []


def test_a_damaged_file_in_the_cache_is_replaced(server, use, cache):
    use(f"{server.base}/good/")
    put(cache / "mnist", TRAIN[0], content=FILES[TRAIN[0]][:40])
    with pytest.warns(UserWarning, match=r"passed over .*train-images-idx3-ubyte.gz is not a sound IDX file"):
        assert is_right(data.load("mnist"))
    assert is_right(data.load("mnist"))


@pytest.mark.parametrize("where", ["data_dir", "environment", "cache"])
def test_files_put_in_place_by_hand(use, tmp_path, cache, monkeypatch, where):
    """Below the set's name or not, packed in any way or not at all, spelt as some archives do."""
    use()
    for i, (below, suffix, dash) in enumerate(product(("", "mnist"), ("", ".gz"), "-.")):
        base = cache if where == "cache" else tmp_path / f"{where}{i}"
        shutil.rmtree(cache, ignore_errors=True)
        for name in TRAIN:
            packed = gzip.compress(gzip.decompress(FILES[name]), 1)
            spelt = name.replace("-idx", f"{dash}idx")
            put(base / below, name, content=packed, suffix=suffix, spelt=spelt)
        if where == "environment":
            monkeypatch.setenv("FASTGAN_DATA", str(base))
        assert is_right(data.load("mnist", data_dir=base if where == "data_dir" else None))


def test_data_dir_goes_before_the_environment(use, tmp_path, monkeypatch):
    use(raw=False)
    put(tmp_path / "one", *TRAIN)
    put(tmp_path / "two", TRAIN[0], content=gzip.compress(encode(IMAGES[::-1])))
    put(tmp_path / "two", TRAIN[1])
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path / "two"))
    assert is_right(data.load("mnist", data_dir=tmp_path / "one"))
    assert not is_right(data.load("mnist"))


@pytest.mark.parametrize(
    ("raw", "images", "words"),
    [
        (True, IMAGES[::-1], r"besides, .*train-images.*other content than the public file"),
        (False, IMAGES[:4], r"holds shape \(4, 3, 3\), wanted \(6, 3, 3\)"),
        (False, 0 * IMAGES, "mnist: all 6 samples are the same"),
    ],
)
def test_what_is_unfit_is_named(use, tmp_path, raw, images, words):
    use(raw=raw)
    put(tmp_path, TRAIN[0], content=gzip.compress(encode(images)))
    put(tmp_path, TRAIN[1])
    with pytest.raises(DataError, match=words):
        data.load("mnist", data_dir=tmp_path)


def test_unfit_files_in_front_of_fit_ones_warn_once_each(use, tmp_path):
    use()
    put(tmp_path / "mnist", TRAIN[0], content=b"<html>")
    put(tmp_path, *TRAIN)
    with pytest.warns(UserWarning, match="passed over") as caught:
        assert is_right(data.load("mnist", data_dir=tmp_path))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_the_files_of_mnist_are_not_taken_for_fashion(use, tmp_path):
    use()
    use(name="fashion-mnist", raw=False)
    put(tmp_path, *TRAIN)
    assert is_right(data.load("mnist", data_dir=tmp_path))
    with pytest.raises(DataError, match="could not be downloaded"):
        data.load("fashion-mnist", data_dir=tmp_path)
    put(tmp_path / "fashion-mnist", TRAIN[0], content=gzip.compress(encode(IMAGES + np.uint8(7))))
    put(tmp_path / "fashion-mnist", TRAIN[1], content=gzip.compress(encode(LABELS[::-1])))
    fashion = data.load("fashion-mnist", data_dir=tmp_path)
    assert np.array_equal(fashion.samples[..., 0], IMAGES + np.uint8(7))


def test_without_a_download_only_what_is_there_counts(server, use, tmp_path):
    use(f"{server.base}/good/")
    with pytest.raises(DataError, match="could not be downloaded"):
        mnist.load_collection("mnist", "train", tmp_path, download=False)
    assert server.asked == []


def test_the_pinned_tables_are_complete():
    assert list(mnist.SHAPES) == list(FILES)
    assert list(mnist.SHAPES.values()) == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    wanted = [f"{name}/{file}.gz" for name in mnist.MIRRORS for file in FILES]
    assert set(mnist.SUMS) == {*wanted, *(f"mnist/{file}" for file in FILES)}
    assert len(set(mnist.SUMS.values())) == 12
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in mnist.SUMS.values())
    mirrors = [mirror for some in mnist.MIRRORS.values() for mirror in some]
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in mirrors)


PLACES = [os.environ.get("FASTGAN_DATA"), Path(__file__).resolve().parents[2] / "shared/data"]
FOUND = [file for place in filter(None, PLACES) for file in Path(place).glob(f"**/{TRAIN[0]}*")]
REAL = [file.parent for file in FOUND if "fashion" not in str(file)]  # where this machine has the real files


@pytest.mark.skipif(not REAL, reason="no MNIST in FASTGAN_DATA or ../shared/data")
@pytest.mark.parametrize(
    ("split", "n", "total", "first", "counts"),
    [
        ("train", 60000, 27525, [5, 0, 4, 1], [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", 10000, 18454, [7, 2, 1, 0], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_the_real_mnist(split, n, total, first, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = data.load("mnist", split=split, data_dir=REAL[0])
    assert (dataset.n, dataset.sample_shape, dataset.samples.dtype) == (n, (28, 28, 1), np.uint8)
    assert (dataset.low, dataset.high) == (0, 255)
    assert int(dataset.samples[0].sum()) == total
    assert dataset.labels[:4].tolist() == first
    assert np.bincount(dataset.labels).tolist() == counts
