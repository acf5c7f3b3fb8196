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
READERS = ("resume", "sample", "export")


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


RUN_PATHS = [
    *(Try(f"{command} nowhere", word="no checkpoint at 'nowhere'") for command in READERS),
    *(Try(f"{command} .", word="no checkpoint in '.'") for command in READERS),
    *(Try(f"{command} ''", word="no checkpoint") for command in READERS),
    *(Try(command, word="Missing argument") for command in READERS),
    *(Try(f"{command} {LONG}", word=LONG) for command in READERS),
    *(Try(f"{command} fifo", word="fifo", make=fifo("fifo")) for command in READERS),
    *(Try(f"{command} /dev/zero", word="/dev/zero") for command in READERS),
    *(Try(f"{command} loop", word="loop", make=link("loop", "loop")) for command in READERS),
    *(Try(f"{command} evil", word="evil", make=a_pickle("evil")) for command in READERS),
    *(Try(f"{command} other", word="other", make=foreign("other")) for command in READERS),
    *(Try(f"{command} empty", word="empty", make=content("empty", "")) for command in READERS),
    *(of_run(f"{command} run", "no checkpoint in 'run'", 2, no_checkpoints) for command in READERS),
    *(of_run(f"{command} run", "none of the 3 checkpoints", 2, cut(0)) for command in READERS),
    *(of_run(f"{command} run/config.toml", "config.toml") for command in READERS),
    of_run("resume run/checkpoints/step-00000004.safetensors", "wanted a run directory"),
]

RUNS = [
    good("resume run --steps 6 --quiet"),
    good("resume run/ --steps 5 --quiet"),
    good("resume run --steps 5 --quiet", cut(-1), word="skipped a checkpoint"),
    good("resume run --steps 5 --quiet", flip(), word="skipped a checkpoint"),
    good("resume run --steps 5 --quiet", content("run/metrics.jsonl", "")),
    good("resume run --steps 5 --quiet", content("run/metrics.jsonl", b'{"step": 1\n\xff\n[]\n{"step": "x"}\n{}\n')),
    good("resume run --steps 5 --quiet", instead("run/metrics.jsonl", lambda: None)),
    good("resume run --steps 5 --quiet", instead("run/samples", lambda: None)),
    good("resume run --steps 5 --quiet", content("run/samples/000002.png", "x")),
    good("resume run --steps 5 --quiet", content("run/notes.txt", "mine")),
    good("resume run --steps 5 --quiet --data digits"),
    of_run("resume run --steps 5 --quiet", LOG, 2, instead(LOG, folder(LOG))),
    of_run("resume run --steps 5 --quiet", LOG, 2, instead(LOG, fifo(LOG))),
    good("resume run --steps 5 --quiet", instead(CONFIG, fifo(CONFIG))),
    good("resume run --steps 5 --quiet", instead(CONFIG, folder(CONFIG))),
    good("resume run --steps 5 --quiet", content(CONFIG, "[" * 5000)),
    good("resume run --steps 5 --quiet", content(CONFIG, b"\xff = 1")),
    of_run("resume run --steps 3", "at step 4 of 3"),
    of_run("resume run --steps 4", "--steps above 4"),
    of_run("resume run --steps 0", "--steps"),
    of_run("resume run --steps -1", "--steps"),
    of_run("resume run --steps x", "--steps"),
    of_run(f"resume run --steps {HUGE}", "--steps"),
    of_run("resume run --steps 6 --device gpu", "--device"),
    of_run("resume run --steps 6 --data '' --quiet", "no name for the data"),
    of_run("resume run --steps 6 --data nothing.npy --quiet", "nothing.npy"),
    of_run("resume run --steps 6 --data ring --quiet", "wanted (8, 8, 1)"),
    of_run("resume run --steps 6 --data-dir /no/such --quiet", "/no/such"),
    of_run("resume run --steps 6 --data-dir '' --quiet", "no folder ''"),
    of_run("resume run --nope", "--nope"),
    of_run("resume run run", "unexpected"),
    good("sample run"),
    good("sample run/checkpoints/step-00000002.safetensors"),
    good("sample run --seed 18446744073709551615 --count 3 --out x.png"),
    good("sample run --grid 1x1 --out x.png"),
    good("sample run --interpolate 2 --count 1 --gif --out x.png"),
    good("sample run --out new/x.PNG"),
    good("sample run", flip(), word="skipped a checkpoint"),
    of_run("sample run/checkpoints/step-00000004.safetensors", "damaged", 2, flip()),
    of_run("sample run --seed -1", "seed -1"),
    of_run("sample run --seed x", "--seed"),
    of_run("sample run --seed 18446744073709551616", "seed"),
    of_run("sample run --label 3", "label 3"),
    of_run("sample run --count 0", "--count"),
    of_run(f"sample run --count {HUGE}", "--count"),
    of_run("sample run --grid 5", "rows x columns"),
    of_run("sample run --grid 0x5", "rows x columns"),
    of_run("sample run --grid -1x5", "rows x columns"),
    of_run("sample run --grid ''", "rows x columns"),
    of_run("sample run --grid 9999x9999", "--grid"),
    of_run("sample run --grid 5x5 --count 3", "not both"),
    of_run("sample run --grid 5x5 --interpolate 3", "not both"),
    of_run("sample run --interpolate 0", "--interpolate"),
    of_run("sample run --interpolate 1", "--interpolate"),
    of_run("sample run --interpolate two", "--interpolate"),
    of_run("sample run --interpolate 3 --contour", "for points in the plane"),
    of_run("sample run --interpolate 3 --gif --label 3", "without classes"),
    of_run("sample run --interpolate 1001", "--interpolate"),
    of_run("sample run --gif", "--interpolate"),
    of_run("sample run --interpolate two", "--interpolate"),
    of_run("sample run --interpolate 3 --contour", "points in the plane"),
    of_run("sample run --interpolate 3 --out a.gif", "ends in .png"),
    of_run("sample run --interpolate 3 --label 3 --gif", "without classes"),
    of_run("sample run --contour", "points in the plane"),
    of_run("sample run --device cuda:9", "--device"),
    of_run("sample run --out run/config.toml", "ends in .png"),
    of_run("sample run --out ''", "--out"),
    of_run("sample run --out folder.png", "it is a folder", OUTPUT, folder("folder.png")),
    of_run("sample run --out fifo.png", "pipe", OUTPUT, fifo("fifo.png")),
    of_run("sample run --out null.png", "device", OUTPUT, link("null.png", "/dev/null")),
    of_run(f"sample run --out {LONG}.png", "too long", OUTPUT),
    of_run("sample run --out run/config.toml/x.png", "part of the path is a file", OUTPUT),
    of_run("sample run --out no/such/x.png", "make the folder first", OUTPUT),
    of_run("sample run --out /proc/x.png", "/proc/x.png", OUTPUT),
    good("export run --out demo"),
    good("export run --out demo", folder("demo")),
    good("export run"),
    of_run("export run --out run", "choose another --out", OUTPUT),
    of_run("export run --out run/config.toml", "is a file", OUTPUT),
    of_run("export run --out run/config.toml/x", "part of the path is a file", OUTPUT),
    of_run(f"export run --out {LONG}", "too long", OUTPUT),
    of_run("export run --out fifo", "fifo", OUTPUT, fifo("fifo")),
    of_run("export run --out /proc/x", "/proc/x", OUTPUT),
]  # fmt: skip

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
    Try("trian", word="'train'"),
    Try("xyz", word="fastgan --help"),
    Try("''", word="''"),
    Try("--nope", word="--nope"),
    Try("TRAIN", word="TRAIN"),
    Try("--version", WORKS),
    Try("--help", WORKS),
    Try("train --help", WORKS),
    Try("recipes", WORKS),
    Try("recipes more", word="more"),
    Try("summary", WORKS),
    Try("summary digits --size 16x16", WORKS),
    Try("summary ring-gan --size 2", WORKS),
    Try("summary nope", word="`fastgan recipes` lists them"),
    Try("summary ''", word="recipe"),
    *(Try(f"summary --size {size}", word="height x width") for size in ("8x", "0x8", "''", "-8x8", "8x8x8x8", HUGE)),
    Try("summary --size 8 --data mnist", word="not both"),
    Try("summary --data nope", word="--data"),
    Try("summary --no-kernels", word="--launches"),
    Try("summary cs231n-dcgan --size 99x99", word="critic"),
    Try("bench compare nothing.json nothing.json", word="nothing.json"),
    Try("bench compare x.json x.json", word="x.json", make=content("x.json", "{}")),
    Try("bench compare x.json x.json", word="x.json", make=content("x.json", "[" * 5000)),
    Try("bench compare x.json x.json", word="x.json", make=fifo("x.json")),
    Try("bench compare zero zero", word="zero", make=link("zero", "/dev/zero")),
    Try("bench compare a.json", word="'NEW'"),
    Try("bench report a.json", word="no file 'a.json'"),
    Try("bench --suite nope", word="--suite"),
    Try("bench --column abacus", word="--column"),
    Try("bench abacus", word="'abacus'"),
    Try("help trian", word="'train'"),
]  # fmt: skip

TRIES = [*RUN_PATHS, *RUNS, *PLACES, *WORDS]
