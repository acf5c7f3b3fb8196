"""What an export and its script cannot do they say in one line; nothing half-written is left."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import ok, refused
from export_helpers import of, run, trained
from PIL import Image

import fastgan as fg
from fastgan import nn
from fastgan.errors import OutputError, UsageError
from fastgan.gan import files
from fastgan.gan.export import export

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("words", [["x"], ["-1"], ["1.5"], [str(2**64)], ["9" * 5000], ["1", "2"], [""]])
def test_a_wrong_seed_is_one_line(words, tmp_path):
    export(trained("digits"), tmp_path / "out")
    code, out, err = run(tmp_path / "out", *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("usage: python sample.py SEED, ")
    assert not list(tmp_path.glob("out/*.png"))


def test_missing_and_broken_weights_are_one_line(tmp_path):
    export(trained("digits"), tmp_path / "out")
    weights = tmp_path / "out" / "generator.npz"
    whole = weights.read_bytes()
    broken = whole[:500] + b"?" * 9 + whole[509:]
    for content in (None, b"PK\x03\x04 no archive", b"", whole[:2000], broken):
        weights.unlink(missing_ok=True)
        if content is not None:
            weights.write_bytes(content)
        code, out, err = run(tmp_path / "out", "1")
        assert (code, out, err.count("\n")) == (1, "", 1), content and len(content)
        assert "with generator.npz beside sample.py" in err


@fg.op
def strange(x):
    """2 x, by an op of one's own."""
    return 2 * x


@strange.vjp
def _(g, y, x):
    return (lambda: 2 * g,)


class Layer(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


REFUSED = [  # what a layer does, and what is said of it
    (strange, "got op strange, for which there is no line of NumPy .*known are activation"),
    (lambda x: x * fg.Tensor(np.sign(x.data)), "samples the script does not draw"),  # beside the tape
    (lambda x: x - x.mean(axis=0), "samples the script does not draw"),  # of other samples
]


@pytest.mark.parametrize(("layer", "said"), REFUSED, ids=["an op", "beside the tape", "of a batch"])
def test_what_has_no_line_is_refused_before_anything_is_written(layer, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        export(of(nn.Linear(6, 64), Layer(layer), nn.Tanh()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_from_a_checkpoint_stays_text(tmp_path):
    evil = trained("digits", name='x"""\nopen("canary", "w")\n"""\\')
    export(evil, tmp_path / "out")
    assert run(tmp_path / "out", "1")[0] == 0
    assert not (tmp_path / "out" / "canary").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("kept")
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(OutputError, match=r"choose another --out$"):
            export(trained("digits"), taken)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "kept"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("failing", ["generator.npz", "sample.py"])
def test_nothing_is_left_where_writing_fails(there, failing, tmp_path, monkeypatch):
    real = files.write_atomic

    def full(path, content):
        if path.name == failing:
            raise OutputError("the disk is full")
        real(path, content)

    monkeypatch.setattr(files, "write_atomic", full)
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="full"):
        export(trained("digits"), tmp_path / "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["out"] * there


@pytest.fixture
def run_made(request):
    """conftest's small finished run; `run` is the function above."""
    return request.getfixturevalue("run")


def test_the_command(run_made, capsys):
    said = ok(capsys, "export", "run", "--out", "demo")
    assert said.count("\n") == 1
    assert "python demo/sample.py 42" in said
    ok(capsys, "sample", "run", "--seed", 42)
    assert run(Path("demo"), "42") == (0, "sample-seed42.png\n", "")
    got, own = (np.asarray(Image.open(f"{x}/sample-seed42.png")).astype(int) for x in ("demo", "run"))
    assert abs(got - own).max() <= 1
    ok(capsys, "export", "run")
    ok(capsys, "export", "run/checkpoints/step-00000002.safetensors")
    for made in ("run-export", "run/checkpoints/step-00000002-export"):
        assert (Path(made) / "sample.py").exists()
    assert "choose another --out" in refused(capsys, 4, "export", "run")
    refused(capsys, 2, "export", "nothing")
    refused(capsys, 2, "export", "demo")
    refused(capsys, 2, "export", "demo/generator.npz")


def test_the_command_in_the_run_itself(run_made, capsys, monkeypatch):
    monkeypatch.chdir("run")
    ok(capsys, "export", ".")
    assert Path("../run-export/sample.py").exists()
