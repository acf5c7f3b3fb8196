"""Data of one's own, as words of the command line; what single files and pictures are refused for, tests/test_data_*.py
know."""

import numpy as np
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


def x(array: object, more: str = "") -> Try:
    """An array that is learnt from, as x.npy."""
    return good("x.npy", npy("x.npy", array), more=more)


def wrong(array: object, word: str, more: str = "") -> Try:
    """An array that is refused, as x.npy."""
    return data("x.npy", word, npy("x.npy", array), more=more)


PATHS = [
    data("zebra", "built in: digits"),
    data("''", "no name for the data"),
    data("' '", "unknown data set ' '"),
    data("'~nobody/x'", "no file or folder"),
    data(LONG, "unknown data set"),
    data(f"./{LONG}", "no file or folder"),
    data("/dev/null", "device"),
    data("/dev/zero", "device"),
    data("zero.npy", "device", link("zero.npy", "/dev/zero")),
    *(
        data(name, name, fifo(name))
        for name in ("fifo.npy", "fifo.npz", "fifo-ubyte", "fifo-ubyte.gz", "fifo")
    ),
    data("link.npy", "link.npy", link("link.npy", "nowhere.npy")),
    data("loop.npy", "loop.npy", link("loop.npy", "loop.npy")),
    data("folder.npy", "holds no pictures", folder("folder.npy")),
    data("notes.txt", "cannot tell what", content("notes.txt", "hello")),
    data("one.png", "folder that holds", content("one.png", "x")),
    data("x.safetensors", "cannot tell what", a_pickle("x.safetensors")),
    good("'my data.npy'", npy("my data.npy", IMAGES)),
    good("données-数.npy", npy("données-数.npy", IMAGES)),
    good("x.npy/", npy("x.npy", IMAGES)),
    good("./-x.npy", npy("-x.npy", IMAGES)),
    good("X.NPY", npy("X.NPY", IMAGES)),
    good("link.npy", npy("x.npy", IMAGES), link("link.npy", "x.npy")),
    good("digits", folder("digits")),
    data("ring", "wanted images"),
    data("digits", "--batch 1797", more="--batch 1798"),
    data("digits", "no folder '/no/such'", more="--data-dir /no/such"),
    data("mnist", "no folder ''", more="--data-dir ''"),
    data("mnist", "/file' for the data", content("file", ""), more="--data-dir file"),
    good("digits", more="--data-dir . --image-size 8 --skip-bad"),
]

ROWS = IMAGES.reshape(40, 64)
ARRAYS = [
    *map(x, (IMAGES / 255, IMAGES / 127.5 - 1, IMAGES > 99, np.stack([IMAGES] * 4, -1))),
    x(np.where(IMAGES > 99, 1e-40, 1).astype(np.float32)),
    x(ROWS, "--image-size 8"),
    x(ROWS / 255, "--points"),
    x(IMAGES[:, 0, :2] / 9, "--points"),
    good("x.npz", npz("x.npz", images=ROWS)),
    good("x.npz", npz("x.npz", x_train=IMAGES, x_test=IMAGES[:20]), more="--split test"),
    good("x.npz", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 3"),
    good("a-ubyte", idx("a-ubyte", (40, 8, 8), IMAGES.tobytes())),
    wrong(ROWS, "give --image-size 8"),
    wrong(ROWS[:, 1:], "rows of 63 numbers from x.npy, wanted images"),
    wrong(ROWS, "samples of 64", "--image-size 7"),
    wrong(IMAGES, "--batch 40", "--batch 41"),
    wrong(IMAGES, "--image-size", "--image-size 16"),
    wrong(IMAGES, "--picture-size", "--picture-size 16"),
    wrong(IMAGES[:, 0, :2] / 9, "wanted images ("),
    wrong(IMAGES * 9.0, "rescale"),
    data("x.npz", "--classes 3", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 2"),
    data("x.npz", "--classes 3", npz("x.npz", x=IMAGES, y=LABELS), more="--classes 4"),
    data("x.npz", "without labels", npz("x.npz", x=IMAGES), more="--classes 3"),
    data("x.npz", "label -1", npz("x.npz", x=IMAGES, y=LABELS - 1), more="--classes 3"),
    data("x.npz", "--batch 40", npz("x.npz", x=IMAGES), more="--batch 41"),
    data("x.npz", "x.npz", a_pickle("x.npz")),
    data("a-ubyte", "--batch 40", idx("a-ubyte", (40, 8, 8), IMAGES.tobytes()), more="--batch 41"),
    data("a-ubyte", "", content("a-ubyte", "<html>gone</html>")),
]

CLASSES = (pictures("pets/cats"), pictures("pets/dogs"))
PICTURES = [
    good("p", pictures("p", mode="RGBA")),
    good("p", pictures("p", mode="L"), pictures("p/a/b", kind="gif")),
    good("p", pictures("p", size=(20, 9)), pictures("p/q", size=(9, 20)), more="--image-size 8"),
    good("p", pictures("p", size=(20, 9)), pictures("p/q"), more="--picture-size 8"),
    good("p", pictures("p"), content("p/bad.png", "x"), more="--skip-bad", word="left out bad.png"),
    good(
        "p", pictures("p"), content("p/notes.txt", "x"), content("p/.hidden.png", "x"), link("p/loop", "../p")
    ),
    data("p", "holds no pictures", content("p/notes.txt", "x")),
    data("p", "--batch 9", pictures("p", 9)),
    data("p", "give at least 2", pictures("p", 1)),
    data("p", "--image-size N", pictures("p"), pictures("p/q", size=(9, 8))),
    data("p", "0.png", *[content(f"p/{i}.png", "x") for i in range(16)]),
    data("p", "none of the 16", *[content(f"p/{i}.png", "x") for i in range(16)], more="--skip-bad"),
    data("p", "bad.png", pictures("p"), a_pickle("p/bad.png")),
    data("p", "bad.png", pictures("p"), fifo("bad"), link("p/bad.png", "../bad")),
    data("p", "bad.png", pictures("p"), link("p/bad.png", "/dev/zero")),
    data("p", "image_size is 0", pictures("p"), more="--image-size 0"),
    data("p", "image_size is 9999", pictures("p"), more="--image-size 9999"),
    data("p", "picture_size 9999", pictures("p"), more="--picture-size 9999"),
    good("pets", *CLASSES, folder("pets/birds"), content("pets/notes.txt", "x"), more="--classes 2"),
    good("pets", *CLASSES, content("pets/dogs/bad.png", "x"), more="--classes 2 --skip-bad", word="bad.png"),
    good("pets", *CLASSES, pictures("pets")),
    data("pets", "--classes 2", *CLASSES, more="--classes 3"),
    data("pets", "0 cats, 1 dogs", *CLASSES, more="--classes 1"),
    data("pets", "two or more subfolders", *CLASSES, pictures("pets", 1), more="--classes 2"),
    data("pets", "two or more subfolders", pictures("pets/cats"), more="--classes 1"),
]

TRIES = [*PATHS, *ARRAYS, *PICTURES]
