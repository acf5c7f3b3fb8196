"""Pictures that cannot be read: each named once, none that blocks, fills the memory or ends in another error."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from fastgan import data
from fastgan.data import folder as folders
from fastgan.errors import DataError

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def save(folder, name, pixels):
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def bomb(side):
    """A PNG that claims side x side pixels."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    claim = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", claim)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


def spoil(folder):
    """Ten files that cannot be read, each in its own way."""
    good = save(folder, "good1.png", COLOUR).read_bytes()
    save(folder, "good2.png", 255 - COLOUR)
    jpeg = save(folder, "bad_cut.jpg", np.tile(COLOUR, (20, 20, 1))).read_bytes()
    contents = {
        "bad_cut.jpg": jpeg[: len(jpeg) // 2],
        "bad_cut.png": good[:60],
        "bad_empty.png": b"",
        "bad_text.png": b"<html>\nnot found\n</html>",
        "bad_bomb1.png": bomb(8_001),
        "bad_bomb2.png": bomb(10_000),
        "bad_bomb3.png": bomb(60_000),
        "bad_flipped.png": good[:50] + bytes([good[50] ^ 255]) + good[51:],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "bad_link.png").symlink_to(folder / "nowhere.png")
    (folder / "bad_loop.png").symlink_to(folder / "bad_loop.png")
    Image.fromarray(COLOUR).save(folder / "bad_format.tiff")
    (folder / "bad_format.tiff").rename(folder / "bad_format.png")
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("bad"))


def test_bad_files_are_counted_and_the_first_few_named(tmp_path):
    bad = spoil(tmp_path)
    with pytest.raises(DataError, match=r"11 of 13 pictures in .* cannot be read") as caught:
        data.load(tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert [name for name in bad if name in text] == bad[:3]
    assert "and 8 more" in text
    assert "skip_bad" in text
    assert "8001x8001 is over 64 megapixels" in text


def test_skip_bad_warns_once_for_each(tmp_path):
    bad = spoil(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = data.load(tmp_path, skip_bad=True)
    assert np.array_equal(dataset.samples, [COLOUR, 255 - COLOUR])
    assert [str(item.message).split()[2].rstrip(":") for item in caught] == bad
    assert {item.category for item in caught} == {UserWarning}
    assert {item.filename for item in caught} == {__file__}


def test_a_warning_of_pillow_about_a_bomb_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LARGEST", 10**9)
    (tmp_path / "a.png").write_bytes(bomb(10_000))
    with pytest.raises(DataError, match="DecompressionBombWarning"):
        data.load(tmp_path)


def test_damaged_pictures_raise_only_data_errors(tmp_path):
    random = np.random.default_rng(2)
    originals = [
        save(tmp_path, f"a.{kind}", np.tile(COLOUR, (4, 4, 1))).read_bytes()
        for kind in ("png", "jpg", "bmp", "gif")
    ]
    refused = 0
    for i in range(400):
        content = bytearray(originals[i % 4])
        for _ in range(random.integers(1, 6)):
            content[random.integers(len(content))] = random.integers(256)
        path = tmp_path / f"a.{('png', 'jpg', 'bmp', 'gif')[i % 4]}"
        path.write_bytes(content)
        try:
            data.load(tmp_path, image_size=8)
        except DataError:
            refused += 1
        path.write_bytes(originals[i % 4])
    assert 50 < refused < 400
