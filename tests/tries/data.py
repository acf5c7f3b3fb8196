"""Data of one's own: names and paths, arrays, IDX files, pictures and folders of classes."""

import gzip
import io
import zipfile

import numpy as np
from cli_helpers import Canary
from PIL import Image
from tries.making import (
    IMAGES,
    LABELS,
    WORKS,
    Make,
    Try,
    a_pickle,
    content,
    fifo,
    folder,
    idx,
    link,
    npy,
    npz,
    pictures,
)

LONG = "x" * 300


def data(name: str, word: str = "", *make: Make, more: str = "") -> Try:
    """A file or folder that is refused, by name where nothing else is said."""
    return Try(f"fit --data {name} {more}", word=word or name.rpartition("/")[2], make=make)


def good(name: str, *make: Make, more: str = "", word: str = "") -> Try:
    """A file or folder that is learnt from."""
    return Try(f"fit --data {name} {more}", WORKS, word, make)


def png_claiming(side: int) -> bytes:
    """The start of a PNG of side x side pixels."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + side.to_bytes(4, "big") * 2 + b"\x08\2\0\0\0" + bytes(40)


def npy_claiming(shape: str, descr: str = "|u1") -> bytes:
    """An .npy whose header claims a shape, and 64 bytes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


def zipped(name: str, text: bytes) -> bytes:
    """A zip archive of one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def saved(array: np.ndarray) -> bytes:
    """An .npy as bytes."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def picture(name: str, kind: str = "png") -> Make:
    """One picture's bytes under any name."""

    def write() -> None:
        buffer = io.BytesIO()
        Image.fromarray(IMAGES[0]).save(buffer, kind)
        content(name, buffer.getvalue())()

    return write


CLASSES = (pictures("pets/cats"), pictures("pets/dogs"))
PATHS = [
    data("mnits", "did you mean 'mnist'?"),
    data("MNIST", "did you mean 'mnist'?"),
    data("zebra", "built in: digits"),
    data("''", "no name for the data"),
    data("' '", "unknown data set ' '"),
    data("./nothing.npy", "no file or folder './nothing.npy'"),
    data("no/such/folder", "no file or folder"),
    data("'~nobody/x'", "no file or folder"),
    data(LONG, "unknown data set"),
    data(f"./{LONG}", "no file or folder"),
    data("a/" * 3000, "no file or folder"),
    data("/dev/null", "device"),
    data("/dev/zero", "device"),
    data("zero.npy", "device", link("zero.npy", "/dev/zero")),
    data("fifo.npy", "fifo.npy", fifo("fifo.npy")),
    data("fifo.npz", "fifo.npz", fifo("fifo.npz")),
    data("fifo-ubyte", "fifo-ubyte", fifo("fifo-ubyte")),
    data("fifo-ubyte.gz", "fifo-ubyte.gz", fifo("fifo-ubyte.gz")),
    data("fifo", "pipe", fifo("fifo")),
    data("link.npy", "link.npy", link("link.npy", "nowhere.npy")),
    data("loop.npy", "loop.npy", link("loop.npy", "loop.npy")),
    data("folder.npy", "holds no pictures", folder("folder.npy")),
    data("notes.txt", "cannot tell what", content("notes.txt", "hello")),
    data("one.png", "give the folder", picture("one.png")),
    data("data.bin", "cannot tell what", content("data.bin", b"12345")),
    data("x.safetensors", "cannot tell what", a_pickle("x.safetensors")),
    good("'my data.npy'", npy("my data.npy", lambda: IMAGES)),
    good("données-数.npy", npy("données-数.npy", lambda: IMAGES)),
    good("x.npy/", npy("x.npy", lambda: IMAGES)),
    good("./-x.npy", npy("-x.npy", lambda: IMAGES)),
    good("X.NPY", content("X.NPY", saved(IMAGES))),
    good("link.npy", npy("x.npy", lambda: IMAGES), link("link.npy", "x.npy")),
    good("digits", folder("digits")),
    data("./digits", "holds no pictures", folder("digits")),
    data("ring", "wanted images"),
    data("digits", "--batch 1797", more="--batch 1798"),
    data("digits", "no folder '/no/such'", more="--data-dir /no/such"),
    data("mnist", "no folder '/no/such'", more="--data-dir /no/such"),
    data("mnist", "no folder ''", more="--data-dir ''"),
    data("mnist", "/file' for the data", content("file", ""), more="--data-dir file"),
    good("digits", more="--data-dir ."),
    good("digits", more="--image-size 8"),
    good("digits", more="--skip-bad"),
]

ARRAYS = [
    good("x.npy", npy("x.npy", lambda: IMAGES)),
    good("x.npy", npy("x.npy", lambda: IMAGES / 255)),
    good("x.npy", npy("x.npy", lambda: IMAGES / 127.5 - 1)),
    good("x.npy", npy("x.npy", lambda: IMAGES.astype(">i8"))),
    good("x.npy", npy("x.npy", lambda: np.asfortranarray(IMAGES))),
    good("x.npy", npy("x.npy", lambda: IMAGES > 99)),
    good("x.npy", npy("x.npy", lambda: IMAGES.reshape(40, 64)), more="--image-size 8"),
    good("x.npy", npy("x.npy", lambda: IMAGES.reshape(40, 64) / 255), more="--points"),
    good("x.npz", npz("x.npz", images=IMAGES.reshape(40, 64))),
    data("x.npy", "give --image-size 8", npy("x.npy", lambda: IMAGES.reshape(40, 64))),
    data("x.npy", "rows of 63 numbers from x.npy, wanted images", npy("x.npy", lambda: IMAGES.reshape(40, 64)[:, 1:])),
    data("x.npy", "samples of 64", npy("x.npy", lambda: IMAGES.reshape(40, 64)), more="--image-size 7"),
    good("x.npy", npy("x.npy", lambda: np.stack([IMAGES] * 3, -1))),
    good("x.npy", npy("x.npy", lambda: np.stack([IMAGES] * 4, -1))),
    good("x.npy", npy("x.npy", lambda: np.where(IMAGES > 99, 1e-40, 1).astype(np.float32))),
    good("x.npy", npy("x.npy", lambda: IMAGES[:, 0, :2] / 9), more="--points"),
    good("x.npz", npz("x.npz", images=IMAGES)),
    good("x.npz", npz("x.npz", other=IMAGES)),
    good("x.npz", npz("x.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:20], y_test=LABELS[:20])),
    good("x.npz", npz("x.npz", x_train=IMAGES, x_test=IMAGES[:20]), more="--split test"),
    good("x.npz", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 3"),
    data("x.npz", "--classes 3", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 2"),
    data("x.npz", "--classes 3", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 4"),
    data("x.npz", "without labels", npz("x.npz", x=IMAGES), more="--classes 3"),
    data("x.npz", "label -1", npz("x.npz", x=IMAGES, y=LABELS - 1), more="--classes 3"),
    data("x.npz", "whole numbers", npz("x.npz", x=IMAGES, y=LABELS / 2)),
    data("x.npz", "labels of shape", npz("x.npz", x=IMAGES, y=LABELS[:9])),
    data("x.npz", "labels of shape", npz("x.npz", x=IMAGES, y=np.eye(3)[LABELS].astype(int))),
    data("x.npy", "--batch 40", npy("x.npy", lambda: IMAGES), more="--batch 41"),
    data("x.npz", "--batch 40", npz("x.npz", x=IMAGES), more="--batch 41"),
    data("x.npy", "--batch 12", npy("x.npy", lambda: IMAGES[:12])),
    data("x.npy", "--image-size", npy("x.npy", lambda: IMAGES), more="--image-size 16"),
    data("x.npy", "--picture-size", npy("x.npy", lambda: IMAGES), more="--picture-size 16"),
    data("x.npy", "give more data", npy("x.npy", lambda: IMAGES[:1])),
    data("x.npy", "x.npy", npy("x.npy", lambda: IMAGES[:0])),
    data("x.npy", "1 of 80 values", npy("x.npy", lambda: np.where(np.arange(80).reshape(40, 2), 0.5, np.nan))),
    data("x.npy", "not finite", npy("x.npy", lambda: np.full((40, 8, 8), np.inf))),
    data("x.npy", "nothing to learn", npy("x.npy", lambda: np.ones((40, 8, 8)))),
    data("x.npy", "rescale", npy("x.npy", lambda: IMAGES * 9.0)),
    data("x.npy", "rescale", npy("x.npy", lambda: IMAGES.astype(int) * 9)),
    data("x.npy", "rescale", npy("x.npy", lambda: IMAGES.astype(int) - 9)),
    data("x.npy", "wanted NHWC", npy("x.npy", lambda: np.zeros((40, 3, 8, 8)))),
    data("x.npy", "wanted NHWC", npy("x.npy", lambda: np.zeros((40, 8, 8, 2)))),
    data("x.npy", "wanted images", npy("x.npy", lambda: np.zeros(40))),
    data("x.npy", "x.npy", npy("x.npy", lambda: np.float64(3))),
    data("x.npy", "wanted images", npy("x.npy", lambda: np.zeros((40, 2, 2, 2, 2)))),
    data("x.npy", "x.npy", npy("x.npy", lambda: np.zeros((40, 0, 8)))),
    data("x.npy", "wanted images (", npy("x.npy", lambda: IMAGES[:, 0, :2] / 9)),
    data("x.npy", "<U1", npy("x.npy", lambda: ["a"] * 40)),
    data("x.npy", "complex", npy("x.npy", lambda: IMAGES * 1j)),
    data("x.npy", "datetime", npy("x.npy", lambda: np.zeros((40, 4, 4), "M8[s]"))),
    data("x.npy", "x.npy", npy("x.npy", lambda: np.zeros(40, "i4,f4"))),
    data("x.npy", "x.npy", npy("x.npy", lambda: np.array([Canary()] * 40, object))),
    data("x.npz", "x.npz", npz("x.npz", x=np.array([Canary()] * 40, object))),
    data("x.npz", "x.npz", npz("x.npz", x=IMAGES, y=np.array([Canary()] * 40, object))),
    data("x.npy", "x.npy", a_pickle("x.npy")),
    data("x.npz", "x.npz", a_pickle("x.npz")),
    data("x.npy", "x.npy", content("x.npy", b"")),
    data("x.npy", "x.npy", content("x.npy", "hello")),
    data("x.npy", "x.npy", content("x.npy", saved(IMAGES)[:-1])),
    data("x.npy", "x.npy", content("x.npy", saved(IMAGES)[:50])),
    data("x.npy", "x.npy", content("x.npy", npy_claiming("(1099511627776, 28, 28)"))),
    data("x.npy", "x.npy", content("x.npy", npy_claiming("(4611686018427387904, 4611686018427387904)"))),
    data("x.npy", "x.npy", content("x.npy", npy_claiming("(-2, -32)"))),
    data("x.npy", "x.npy", content("x.npy", npy_claiming("(8, 8)", "|O"))),
    data("x.npy", "x.npy", content("x.npy", npy_claiming("__import__('os').mkdir('canary')"))),
    data("x.npz", "x.npz", content("x.npz", b"")),
    data("x.npz", "holds no arrays", content("x.npz", b"PK\5\6" + bytes(18))),
    data("x.npz", "claims", content("x.npz", zipped("x.npy", npy_claiming("(1099511627776, 28, 28)")))),
    data("x.npz", "x.npz", content("x.npz", zipped("x.txt", b"hello"))),
    data("x.npz", "x.npz", content("x.npz", zipped("x.npy", saved(IMAGES))[:-30])),
    data("x.npz", "name the samples", npz("x.npz", a=IMAGES, b=IMAGES)),
    data("x.npz", "name the samples", npz("x.npz", labels=LABELS)),
    data("x.npz", "holds no arrays", npz("x.npz")),
]  # fmt: skip

RAW = np.ascontiguousarray(IMAGES).tobytes()
IDX = [
    good("a-ubyte", idx("a-ubyte", (40, 8, 8), RAW)),
    good("a.idx", idx("a.idx", (40, 8, 8), RAW)),
    good(
        "a-ubyte.gz", content("a-ubyte.gz", gzip.compress(b"\0\0\x08\3\0\0\0\x28\0\0\0\x08\0\0\0\x08" + RAW))
    ),
    data("a-ubyte", "--batch 40", idx("a-ubyte", (40, 8, 8), RAW), more="--batch 41"),
    data("a-ubyte", "", idx("a-ubyte", (40, 8, 8), RAW[:-1])),
    data("a-ubyte", "", idx("a-ubyte", (40, 8, 8), RAW + b"x")),
    data("a-ubyte", "", idx("a-ubyte", (40, 8, 8), RAW, b"\0\0\x0d")),
    data("a-ubyte", "", idx("a-ubyte", (40, 8, 8), RAW, b"\1\0\x08")),
    data("a-ubyte", "labels", idx("a-ubyte", (40,), 40)),
    data("a-ubyte", "", idx("a-ubyte", (40, 64), RAW)),
    data("a-ubyte", "", idx("a-ubyte", (0, 8, 8), b"")),
    data("a-ubyte", "", idx("a-ubyte", (2**31, 2**31, 2**31), RAW)),
    data("a-ubyte", "nothing to learn", idx("a-ubyte", (40, 8, 8), bytes(2560))),
    data("a-ubyte", "", content("a-ubyte", b"")),
    data("a-ubyte", "", content("a-ubyte", b"\0\0\x08")),
    data("a-ubyte", "", content("a-ubyte", "<html>gone</html>")),
    data("a-ubyte", "", content("a-ubyte", gzip.compress(RAW)[:-9])),
    data("a-ubyte.gz", "", content("a-ubyte.gz", b"\x1f\x8b\x08")),
    data("a-ubyte.gz", "", content("a-ubyte.gz", gzip.compress(bytes(1 << 22)))),
    data("a-ubyte", "", a_pickle("a-ubyte")),
]

PICTURES = [
    good("p", pictures("p")),
    good("p", pictures("p", mode="L")),
    good("p", pictures("p", mode="1")),
    good("p", pictures("p", mode="P")),
    good("p", pictures("p", mode="RGBA")),
    good("p", pictures("p", mode="CMYK", kind="jpg")),
    good("p", pictures("p", kind="webp"), pictures("p", kind="bmp")),
    good("p", pictures("p", mode="L"), pictures("p", kind="gif")),
    good("p", pictures("p/a/b/c")),
    good("p", pictures("p", size=(20, 9)), pictures("p/q", size=(9, 20)), more="--image-size 8"),
    good("p", pictures("p", size=(20, 9)), pictures("p/q"), more="--picture-size 8"),
    good("p", pictures("p"), content("p/bad.png", "x"), more="--skip-bad", word="left out bad.png"),
    good("p", pictures("p"), content("p/notes.txt", "x"), content("p/.hidden.png", "x")),
    good("p", pictures("p"), link("p/loop", "../p")),
    data("p", "holds no pictures", folder("p")),
    data("p", "holds no pictures", content("p/notes.txt", "x")),
    data("p", "--batch 9", pictures("p", 9)),
    data("p", "--batch 9", pictures("p", 7), content("p/bad.png", "x"), content("p/bad.jpg", "x")),
    data("p", "give more data", pictures("p", 1)),
    data("p", "--image-size N", pictures("p"), pictures("p/q", size=(9, 8))),
    data("p", "0.png", *[content(f"p/{i}.png", "x") for i in range(16)]),
    data("p", "none of the 16", *[content(f"p/{i}.png", "x") for i in range(16)], more="--skip-bad"),
    data("p", "bad.png", pictures("p"), content("p/bad.png", "")),
    data("p", "bad.png", pictures("p"), content("p/bad.png", "<html>gone</html>")),
    data("p", "bad.png", pictures("p"), content("p/bad.png", png_claiming(8_001))),
    data("p", "bad.png", pictures("p"), content("p/bad.png", png_claiming(2**31 - 1))),
    data("p", "bad.png", pictures("p"), picture("p/bad.png", "tiff")),
    data("p", "bad.png", pictures("p"), a_pickle("p/bad.png")),
    data("p", "bad.png", pictures("p"), fifo("bad"), link("p/bad.png", "../bad")),
    data("p", "bad.png", pictures("p"), link("p/bad.png", "/dev/zero")),
    data("p", "bad.png", pictures("p"), link("p/bad.png", "nowhere.png")),
    data("p", "image_size is 0", pictures("p"), more="--image-size 0"),
    data("p", "image_size is 9999", pictures("p"), more="--image-size 9999"),
    data("p", "picture_size 9999", pictures("p"), more="--picture-size 9999"),
    good("pets", *CLASSES),
    good("pets", *CLASSES, more="--classes 2"),
    good("pets", *CLASSES, folder("pets/birds"), more="--classes 2"),
    good(
        "pets",
        pictures("pets/cats/old"),
        pictures("pets/cats/new"),
        pictures("pets/dogs"),
        more="--classes 2",
    ),
    good("pets", *CLASSES, content("pets/notes.txt", "x"), more="--classes 2"),
    good("pets", *CLASSES, content("pets/dogs/bad.png", "x"), more="--classes 2 --skip-bad", word="bad.png"),
    good("pets", *CLASSES, pictures("pets")),
    data("pets", "--classes 2", *CLASSES, more="--classes 3"),
    data("pets", "0 cats, 1 dogs", *CLASSES, more="--classes 1"),
    data("pets", "two or more subfolders", *CLASSES, pictures("pets", 1), more="--classes 2"),
    data("pets", "two or more subfolders", pictures("pets/cats"), more="--classes 1"),
    data("pets", "--batch 40", *CLASSES, more="--batch 41"),
]

TRIES = [*PATHS, *ARRAYS, *IDX, *PICTURES]
