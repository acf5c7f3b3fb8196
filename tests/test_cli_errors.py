"""Every mistake in the words or the data is one line and exit code 2, and leaves the folder as it was."""

import struct
from pathlib import Path

import click
import numpy as np
import pytest
from cli_helpers import TINY, Canary, refused

from fastgan.cli import app, main

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("trian", "did you mean train?"),
        ("xyz", "wanted train, resume, sample"),
        ("--nope", "--nope"),
        ("train digitz", "did you mean digits?"),
        ("train qqqqq", "`fastgan recipes` lists them"),
        ("train --stpes 3", "'--steps'"),
        ("train --steps x", "'--steps'"),
        ("train --steps 0", "got steps 0"),
        ("train --steps", "--steps"),
        ("train a b", "unexpected extra argument"),
        ("train --data mnits", "did you mean 'mnist'?"),
        ("train --data ./nothing.npy", "no file or folder './nothing.npy'"),
        ("train --data ring", "wanted images (try --data digits)"),
        ("train ring-gan --data digits", "wanted points (try --data ring)"),
        ("train --objective hing", "hinge"),
        ("train --noise gauss", "uniform"),
        ("train --sampling never", "sequential"),
        ("train --optimiser-kind adamm", "rmsprop"),
        ("train --optimiser-schedule linear:x", "wanted constant, linear"),
        ("train --generator-hidden 3,x", "wanted widths such as"),
        ("train --generator-hidden 0", "wanted widths such as"),
        ("train --generator-activation relu,tanh,relu", "3 activations for 2 hidden layers"),
        ("train --generator-activation rleu", "wanted leaky_relu"),
        ("train --critic-batch-norm 0.1", "BatchNorm"),
        ("train --batch 5000", "at least a batch of 5000"),
        ("train --seed -1", "got seed -1"),
        ("train --ema 1", "got ema 1.0"),
        ("train --lr -1", "got optimiser.lr -1.0"),
        ("train --image-size 9", "for folders of pictures"),
        ("train --split best", "'train', 'test'"),
        ("resume", "Missing argument"),
        ("resume nowhere", "no checkpoint at 'nowhere'"),
        ("resume .", "no checkpoint in '.'"),
        ("sample nowhere", "no checkpoint at 'nowhere'"),
        ("summary nope", "`fastgan recipes` lists them"),
        ("summary --size 8x", "wanted height x width"),
        ("summary --size 8 --data mnist", "not both"),
        ("recipes more", "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line(capsys, words, part):
    assert part in refused(capsys, 2, *words.split())


def idx(shape, payload, magic=0x08):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, magic, len(shape), *shape) + payload


BAD_DATA = {
    "truncated-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16 - 1)),
    "magic-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16), magic=0x0D),
    "text-idx3-ubyte": b"<html>gone</html>",
    "labels-idx1-ubyte": idx((30,), bytes(30)),
    "constant-idx3-ubyte": idx((30, 4, 4), bytes(30 * 16)),
    "empty-idx3-ubyte": b"",
    "data.bin": b"12345",
}


BAD_ARRAYS = {
    "nan.npy": (np.full((30, 4, 4), np.nan, np.float32), "480 of 480 values are not finite"),
    "constant.npy": (np.ones((30, 4, 4), np.float32), "nothing to learn"),
    "one.npy": (np.zeros((1, 4, 4), np.float32), "give more data"),
    "range.npy": (np.linspace(-900, 900, 480).reshape(30, 4, 4), "rescale"),
    "text.npy": (np.array(["a", "b"]), "text.npy"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_a_bad_file_is_one_line(capsys, name):
    Path(name).write_bytes(BAD_DATA[name])
    assert name in refused(capsys, 2, "train", "--data", name, *TINY)


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_one_line(capsys, name):
    array, part = BAD_ARRAYS[name]
    np.save(name, array)
    err = refused(capsys, 2, "train", "--data", f"./{name}", *TINY)
    assert part in err
    assert name in err


def test_an_array_with_objects_is_not_unpickled(capsys):
    np.save("object.npy", np.array([Canary()], object), allow_pickle=True)
    refused(capsys, 2, "train", "--data", "object.npy", *TINY)
    assert not Path("canary").exists()


def test_cuda_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr("fastgan.backend.cuda_problem", lambda: "no GPU here; buy one")
    err = refused(capsys, 2, "train", "--device", "cuda")
    assert "no GPU here" in err
    assert "--device cpu" in err


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "digitz", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("fastgan: error: got recipe 'digitz'")


def test_suggestions_do_not_need_a_new_click():
    with pytest.raises(click.UsageError, match="did you mean doctor"):
        app.cli.resolve_command(click.Context(app.cli), ["docter"])
