"""Folders of pictures: every mode to plain pixels of one size, the right way up; and those that cannot be read."""

import struct
import sys
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from damage import mutate
from PIL import Image

from fastgan import data
from fastgan.data import folder as folders
from fastgan.errors import DataError

RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)  # (h, w)
COLOUR = np.stack((RAMP, RAMP[::-1], 255 - RAMP), axis=-1)


def save(folder, name, pixels, mode=None, **settings):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path, **settings)
    return path


def two(folder, pixels):
    """A folder of one picture and its negative copy, the least that makes a data set."""
    save(folder, "a.png", pixels)
    save(folder, "b.png", 255 - pixels)
    return data.load(folder)


def test_grey_and_colour(tmp_path):
    grey = two(tmp_path / "grey", RAMP)
    assert (grey.sample_shape, grey.samples.dtype, grey.low, grey.high) == ((6, 8, 1), np.uint8, 0, 255)
    assert np.array_equal(grey.samples[0, :, :, 0], RAMP)
    colour = two(tmp_path / "colour", COLOUR)
    assert np.array_equal(colour.samples, [COLOUR, 255 - COLOUR])
    assert (colour.name, colour.labels) == ("colour", None)
    save(tmp_path / "grey", "c.png", COLOUR)  # then grey spreads over three channels
    wanted = [np.stack([RAMP] * 3, axis=-1), np.stack([255 - RAMP] * 3, axis=-1), COLOUR]
    assert np.array_equal(data.load(tmp_path / "grey").samples, wanted)


def test_order_recursion_suffixes_and_hidden_files(tmp_path):
    names = ["z.png", "a/b/c.BMP", "a/a.webp", "B.gif", "a.jpeg", "a/d.jpg"]
    for value, name in enumerate(names):
        save(tmp_path, name, np.full((2, 2), 40 * value, np.uint8), lossless=True)
    for hidden in ("._z.png", ".cache/z.png", "notes.txt"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    samples = data.load(tmp_path).samples
    order = sorted(names, key=lambda name: (tmp_path / name).as_posix())
    assert abs(samples[:, 0, 0, 0].astype(int) - [40 * names.index(name) for name in order]).max() <= 1
    assert samples.shape == (6, 2, 2, 3)  # webp keeps no grey


def test_loops_of_links_end(tmp_path):
    two(tmp_path / "set", RAMP)
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set", target_is_directory=True)
    (tmp_path / "set" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert data.load(tmp_path / "set").n == 2
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "set").symlink_to(tmp_path / "set", target_is_directory=True)
    assert data.load(tmp_path / "linked").n == 2


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        ("dogs/1 cats/1 cats/2 dogs/3", ("cats", "dogs"), [0, 0, 1, 1]),
        ("b/x/y/1 a/1 a/x/2 c/1", ("a", "b", "c"), [0, 0, 1, 2]),
        ("a/1 b/1 3", (), None),  # one beside the subfolders
        ("a/1 a/2", (), None),
        ("a/x/1 a/y/2", (), None),  # only folders directly below count
        ("1 2", (), None),
    ],
)
def test_subfolders_are_classes(tmp_path, names, classes, labels):
    for value, name in enumerate(names.split()):
        save(tmp_path, f"{name}.png", RAMP + np.uint8(value))
    (tmp_path / "0 empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    dataset = data.load(tmp_path)
    assert dataset.classes == classes
    assert (None if dataset.labels is None else dataset.labels.tolist()) == labels
    if labels:
        assert dataset.take(slice(1, 3)).classes == classes
        assert f"{len(classes)} classes (0 {classes[0]}, " in dataset.classes_text()


def test_a_picture_left_out_takes_its_label_along(tmp_path):
    for value, place in enumerate(("a/1", "a/2", "b/1", "c/1", "c/2")):
        save(tmp_path, f"{place}.png", RAMP + np.uint8(value))
    for place in ("a/1", "b/1"):
        (tmp_path / f"{place}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out"):
        dataset = data.load(tmp_path, skip_bad=True)
    assert (dataset.classes, dataset.labels.tolist()) == (("a", "c"), [0, 1, 1])


ALPHA = np.repeat(np.array([[0] * 4 + [255] * 4], np.uint8), 6, axis=0)  # the left half is transparent
GREY, FEW, MANY = Image.fromarray(RAMP), *(Image.fromarray(COLOUR).quantize(n) for n in (8, 48))
KEY = FEW.getpixel((0, 0))
KEYED = np.where(np.asarray(FEW)[..., None] == KEY, 255, FEW.convert("RGB"))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # shown turned by 90 degrees clockwise
MOVING = {"save_all": True, "append_images": [Image.fromarray(255 - RAMP)], "lossless": True}
PLAIN = [  # suffix, picture, settings of its file, the pixels wanted, and how near
    ("png", Image.fromarray(RAMP > 100), {}, 255 * (RAMP > 100), 0),
    ("png", MANY, {}, MANY.convert("RGB"), 0),
    ("gif", GREY, {}, RAMP, 0),
    ("png", GREY.convert("RGB").quantize(48), {}, RAMP, 0),
    ("jpg", Image.new("CMYK", (8, 6), (0, 255, 255, 0)), {}, np.full((6, 8, 3), [255, 0, 0]), 3),
    ("png", np.dstack((COLOUR, ALPHA)), {}, np.where(ALPHA[..., None], COLOUR, 255), 0),
    ("png", Image.new("RGBA", (8, 6), (0, 0, 0, 128)), {}, np.full((6, 8, 3), 127), 0),
    ("png", Image.merge("LA", (GREY, Image.fromarray(ALPHA))), {}, np.where(ALPHA, RAMP, 255), 0),
    ("png", FEW, {"transparency": KEY}, KEYED, 0),
    ("png", GREY, {"transparency": 15}, np.where(RAMP == 15, 255, RAMP), 0),
    ("png", np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16), {}, [[0, 0, 1, 1, 128, 255]], 0),
    ("png", Image.fromarray(COLOUR), {"exif": TURNED}, np.rot90(COLOUR, -1), 0),
    ("gif", GREY, MOVING, RAMP, 0),
    ("png", GREY, MOVING, RAMP, 0),
    ("webp", GREY, MOVING, np.stack([RAMP] * 3, axis=-1), 1),
]


@pytest.mark.parametrize(("suffix", "picture", "settings", "wanted", "near"), PLAIN)
def test_any_mode_becomes_plain_pixels(tmp_path, suffix, picture, settings, wanted, near):
    pixels = folders.read_pixels(save(tmp_path, f"a.{suffix}", picture, **settings)).astype(int)
    wanted = np.asarray(wanted, int)
    wanted = wanted if wanted.ndim == 3 else wanted[..., None]
    assert pixels.shape == wanted.shape
    assert abs(pixels - wanted).max() <= near


def test_image_size_cuts_the_middle_and_resizes(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (200, 100, 50)
    save(tmp_path, "a.png", wide)
    save(tmp_path, "b.png", np.full((8, 4), 77, np.uint8))
    save(tmp_path, "c.jpg", np.full((900, 700), 120, np.uint8))
    samples = data.load(tmp_path, image_size=5).samples
    assert samples.shape == (3, 5, 5, 3)
    assert (samples[0] == (200, 100, 50)).all()
    assert (samples[1] == 77).all()
    assert abs(samples[2].astype(int) - 120).max() <= 1


def test_image_size_turns_before_it_cuts(tmp_path):
    path = save(tmp_path, "a.png", Image.fromarray(COLOUR), exif=TURNED)
    assert np.array_equal(folders.read_pixels(path, 6), np.rot90(COLOUR, -1)[1:7])


def test_several_sizes_are_an_error_that_says_the_way_out_and_are_not_kept(tmp_path):
    for name, pixels in {"a": RAMP, "b": RAMP.T, "c": RAMP[:2, :2]}.items():
        save(tmp_path, f"{name}.png", pixels)
    for i in range(20):
        save(tmp_path, f"d{i}.png", np.zeros((500, 500), np.uint8))
    tracemalloc.start()
    with pytest.raises(
        DataError, match=r"4 sizes \(a.png is 8x6, b.png is 6x8, c.png is 2x2\).*image_size=N"
    ):
        data.load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 3_000_000  # all of them are 5 million bytes
    tracemalloc.stop()
    assert data.load(tmp_path, image_size=2, skip_bad=True).sample_shape == (2, 2, 1)


def test_more_pictures_than_memory_is_an_error_before_it_is_full(tmp_path, monkeypatch):
    class Many(list):
        def __len__(self):
            return 1 << 50

    monkeypatch.setattr(folders, "image_paths", lambda _: Many([save(tmp_path, "a.png", RAMP)]))
    with pytest.raises(DataError, match=r"holds .* pictures: Unable to allocate .*image_size=N"):
        data.load(tmp_path)


def test_without_pillow_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "fastgan.data.folder")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="pip install pillow"):
        data.load(tmp_path)


# Pictures that cannot be read: each named once, none that blocks, fills the memory or ends in another error


def bomb(side):
    """A PNG that claims side x side pixels."""
    parts = [
        b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(99)),
        b"IEND",
    ]
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def spoil(folder):
    """Files that cannot be read, each in its own way, beside two good ones; the names of the bad."""
    good = save(folder, "good1.png", COLOUR).read_bytes()
    save(folder, "good2.png", 255 - COLOUR)
    jpeg = save(folder, "bad_cut.jpg", np.tile(COLOUR, (20, 20, 1))).read_bytes()
    contents = {
        "bad_bomb1.png": bomb(10_000),
        "bad_bomb2.png": bomb(60_000),
        "bad_cut.jpg": jpeg[: len(jpeg) // 2],
        "bad_cut.png": good[:60],
        "bad_empty.png": b"",
        "bad_flipped.png": good[:50] + bytes([good[50] ^ 255]) + good[51:],
        "bad_text.png": b"<html>\nnot found\n</html>",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "bad_link.png").symlink_to(folder / "nowhere.png")
    (folder / "bad_loop.png").symlink_to(folder / "bad_loop.png")
    save(folder, "bad_format.tiff", COLOUR).rename(folder / "bad_format.png")
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("bad"))


def test_bad_files_are_counted_and_the_first_few_named_or_left_out(tmp_path):
    bad = spoil(tmp_path)
    words = r"10 of 12 pictures in .* cannot be read.*and 7 more.*skip_bad"
    with pytest.raises(DataError, match=words) as refused:
        data.load(tmp_path)
    assert "\n" not in str(refused.value)
    assert [name for name in bad if name in str(refused.value)] == bad[:3]
    assert "bad_bomb1.png: DecompressionBombWarning" in str(refused.value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = data.load(tmp_path, skip_bad=True)
    assert np.array_equal(dataset.samples, [COLOUR, 255 - COLOUR])
    assert [str(item.message).split()[2].rstrip(":") for item in caught] == bad
    assert {(item.category, item.filename) for item in caught} == {(UserWarning, __file__)}


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif"])
def test_damaged_pictures_raise_only_data_errors(tmp_path, kind):
    random, refused = np.random.default_rng(2), 0
    save(tmp_path, f"good.{kind}", COLOUR)
    content = save(tmp_path, f"a.{kind}", np.tile(COLOUR, (4, 4, 1))).read_bytes()
    for _ in range(60):
        (tmp_path / f"a.{kind}").write_bytes(mutate(content, random))
        try:
            data.load(tmp_path, image_size=8)
        except DataError:
            refused += 1
    assert 0 < refused < 60
