"""Runs, checkpoints and where things are written: resume, sample, export; and the commands themselves."""

import shutil
from pathlib import Path

import numpy as np
import safetensors.numpy
from tries.making import OUTPUT, WORKS, Make, Try, a_pickle, a_run, content, fifo, folder, link, steps

from fastgan.gan import files

LONG = "x" * 300
HUGE = "99999999999999999999"
CONFIG, LOG = "run/config.toml", "run/metrics.jsonl"
READERS = ("resume", "sample")  # export reads as sample does


def of_run(words: str, word: str = "", wanted: int = 2, *spoilt: Make) -> Try:
    """A command on a small finished run, which may be spoilt first."""
    return Try(words, wanted, word, (a_run, *spoilt))


def good(words: str, *spoilt: Make, word: str = "") -> Try:
    """A command that works on it."""
    return of_run(words, word, WORKS, *spoilt)


def instead(path: str, make: Make) -> Make:
    """Something else at a path of the run."""

    def replace() -> None:
        place = Path(path)
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        make()

    return replace


def cut(which: int, length: int = 100) -> Make:
    """A checkpoint, or all, cut off."""

    def write() -> None:
        for path in steps()[which:]:
            path.write_bytes(path.read_bytes()[:length])

    return write


def flip(which: int = -1) -> Make:
    """A checkpoint with one bit changed."""

    def write() -> None:
        data = bytearray(steps()[which].read_bytes())
        data[-5] ^= 1
        steps()[which].write_bytes(data)

    return write


def foreign(name: str) -> Make:
    """A safetensors file of another program."""
    return lambda: Path(name).write_bytes(safetensors.numpy.save({"x": np.ones(2)}))


def no_checkpoints() -> None:
    for path in steps():
        files.remove(path)


NOT_A_RUN = {  # path: a word of what is said of it, and how it is made
    "nowhere": ("no checkpoint at 'nowhere'",),
    ".": ("no checkpoint in '.'",),
    "''": ("no checkpoint",),
    LONG: (LONG,),
    "/dev/zero": ("/dev/zero",),
    "fifo": ("fifo", fifo("fifo")),
    "loop": ("loop", link("loop", "loop")),
    "evil": ("evil", a_pickle("evil")),
    "other": ("other", foreign("other")),
    "empty": ("empty", content("empty", "")),
}
RUN_PATHS = [
    *(Try(f"{reader} {at}", 2, word, tuple(make)) for reader in READERS for at, (word, *make) in NOT_A_RUN.items()),
    *(Try(command, word="Missing argument") for command in (*READERS, "export")),
    *(of_run(f"{command} run", "no checkpoint in 'run'", 2, no_checkpoints) for command in READERS),
    *(of_run(f"{command} run", "none of the 3 checkpoints", 2, cut(0)) for command in (*READERS, "export")),
    *(of_run(f"{command} run/config.toml", "config.toml") for command in (*READERS, "export")),
    of_run("resume run/checkpoints/step-00000004.safetensors", "wanted a run directory"),
]  # fmt: skip

RESUME = "resume run --steps 5 --quiet"
RUNS = [
    good("resume run/ --steps 6 --quiet --data digits", content("run/notes.txt", "mine")),
    good(RESUME, cut(-1), word="skipped a checkpoint"),
    good(RESUME, flip(), word="skipped a checkpoint"),
    good(RESUME, content(LOG, "")),
    good(RESUME, content(LOG, b'{"step": 1\n\xff\n[]\n{"step": "x"}\n{}\n')),
    good(RESUME, instead(LOG, lambda: None), instead("run/samples", lambda: None)),
    good(RESUME, content("run/samples/000002.png", "x")),
    of_run(RESUME, LOG, 2, instead(LOG, folder(LOG))),
    of_run(RESUME, LOG, 2, instead(LOG, fifo(LOG))),
    good(RESUME, instead(CONFIG, fifo(CONFIG))),
    good(RESUME, instead(CONFIG, folder(CONFIG))),
    good(RESUME, content(CONFIG, "[" * 5000)),
    good(RESUME, content(CONFIG, b"\xff = 1")),
    good("sample run/checkpoints/step-00000002.safetensors"),
    good("sample run --seed 18446744073709551615 --count 3 --out new/x.PNG"),
    good("sample run --grid 1x1 --out x.png"),
    good("sample run --interpolate 2 --count 1 --gif --out x.png"),
    good("sample run", flip(), word="skipped a checkpoint"),
    of_run("sample run/checkpoints/step-00000004.safetensors", "damaged", 2, flip()),
    good("export run --out demo", folder("demo")),
    good("export run"),
]  # fmt: skip

WRONG = {  # words behind a command, and a word of what is said
    "resume run": {
        "--steps 3": "at step 4 of 3",
        "--steps 4": "--steps above 4",
        "--steps 0": "--steps",
        f"--steps {HUGE}": "--steps",
        "--steps 6 --device gpu": "--device",
        "--steps 6 --data '' --quiet": "no name for the data",
        "--steps 6 --data nothing.npy --quiet": "nothing.npy",
        "--steps 6 --data ring --quiet": "wanted (8, 8, 1)",
        "--steps 6 --data-dir /no/such --quiet": "/no/such",
        "--nope": "--nope",
        "run": "unexpected",
    },
    "sample run": {
        "--seed -1": "seed -1",
        "--seed 18446744073709551616": "seed",
        "--label 3": "label 3",
        "--count 0": "--count",
        f"--count {HUGE}": "--count",
        **dict.fromkeys(("--grid 5", "--grid 0x5", "--grid ''"), "rows x columns"),
        "--grid 9999x9999": "--grid",
        "--grid 5x5 --count 3": "not both",
        "--grid 5x5 --interpolate 3": "not both",
        **dict.fromkeys((f"--interpolate {n}" for n in ("1", "two", "1001")), "--interpolate"),
        "--interpolate 3 --contour": "points in the plane",
        "--interpolate 3 --gif --label 3": "without classes",
        "--interpolate 3 --out a.gif": "ends in .png",
        "--gif": "--interpolate",
        "--contour": "points in the plane",
        "--device cuda:9": "--device",
        "--out run/config.toml": "ends in .png",
        "--out ''": "--out",
    },
}
UNWRITABLE = {  # the same of what cannot be written, and what stands there
    "sample run --out": {
        "folder.png": ("it is a folder", folder("folder.png")),
        "fifo.png": ("pipe", fifo("fifo.png")),
        "null.png": ("device", link("null.png", "/dev/null")),
        f"{LONG}.png": ("too long",),
        "run/config.toml/x.png": ("part of the path is a file",),
        "no/such/x.png": ("make the folder first",),
        "/proc/x.png": ("/proc/x.png",),
    },
    "export run --out": {
        "run": ("choose another --out",),
        "run/config.toml": ("is a file",),
        "run/config.toml/x": ("part of the path is a file",),
        LONG: ("too long",),
        "fifo": ("fifo", fifo("fifo")),
        "/proc/x": ("/proc/x",),
    },
}
RUNS += [of_run(f"{command} {more}", word) for command, rows in WRONG.items() for more, word in rows.items()]
RUNS += [
    of_run(f"{command} {place}", word, OUTPUT, *make)
    for command, rows in UNWRITABLE.items()
    for place, (word, *make) in rows.items()
]

PLACES = [
    Try("fit --out 'my runs/día 1'", WORKS),
    Try("fit --out a/b/c/d", WORKS),
    Try("fit --out -x", WORKS),
    Try("fit --out empty", WORKS, make=folder("empty")),
    Try("fit --out place", WORKS, make=(folder("there"), link("place", "there"))),
    Try("fit", WORKS, make=content("runs/digits/mine", "x")),
    Try("fit --out full", OUTPUT, "exists already", content("full/mine", "x")),
    Try("fit --out file", OUTPUT, "is a file", content("file", "x")),
    Try("fit --out file/run", OUTPUT, "part of the path is a file", content("file", "x")),
    Try("fit", OUTPUT, "is a file", content("runs", "x")),
    Try("fit --out ''", OUTPUT, "exists already", folder("x")),
    Try(f"fit --out {LONG}", OUTPUT, "too long"),
    Try("fit --out fifo", OUTPUT, "fifo", fifo("fifo")),
    Try("fit --out /dev/null", OUTPUT, "/dev/null"),
    Try("fit --out /proc/x", OUTPUT, "/proc/x"),
    Try("fit --out loop", OUTPUT, "loop", link("loop", "loop")),
    Try("fit --out lost", OUTPUT, "lost", link("lost", "no/such")),
    Try("fit --out run", OUTPUT, "fastgan resume run", a_run),
]

WORDS = [
    *(Try(words, WORKS) for words in ("--version", "--help", "train --help", "recipes", "summary")),
    *(Try(words, WORKS) for words in ("summary digits --size 16x16", "summary ring-gan --size 2")),
    *(Try(f"summary --size {size}", word="height x width") for size in ("8x", "0x8", "''", "8x8x8x8", HUGE)),
    *(Try("bench compare x.json x.json", 2, "x.json", content("x.json", text)) for text in ("{}", "[" * 5000)),
    Try("bench compare x.json x.json", word="x.json", make=fifo("x.json")),
    Try("bench compare zero zero", word="zero", make=link("zero", "/dev/zero")),
    *(
        Try(words, word=word)
        for words, word in {
            "trian": "'train'",
            "help trian": "'train'",
            "xyz": "fastgan --help",
            "''": "''",
            "--nope": "--nope",
            "TRAIN": "TRAIN",
                "summary nope": "`fastgan recipes` lists them",
            "summary ''": "recipe",
            "summary --size 8 --data mnist": "not both",
            "summary --data nope": "--data",
            "summary --no-kernels": "--launches",
            "summary cs231n-dcgan --size 99x99": "critic",
            "bench compare nothing.json nothing.json": "nothing.json",
            "bench compare a.json": "'NEW'",
            "bench report a.json": "no file 'a.json'",
            "bench --suite nope": "--suite",
            "bench --column abacus": "--column",
            "bench abacus": "'abacus'",
        }.items()
    ),
]  # fmt: skip

TRIES = [*RUN_PATHS, *RUNS, *PLACES, *WORDS]
