"""Running an exported script where only NumPy can be imported, and small trained runs to export."""

import contextlib
import io
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import samples, tiny

import fastgan as fg
from fastgan import nn
from fastgan.gan import Trainer
from fastgan.gan.pictures import picture

# As `python -I -S sample.py`, where of all that is not the standard library only NumPy can be imported.
ALONE = """
import sys, runpy
packages, sys.argv = sys.argv[1], sys.argv[2:]
class OnlyNumPy:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"numpy"}:
            raise ImportError(name + " was imported")
sys.meta_path.insert(0, OnlyNumPy())
sys.path.append(packages)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(folder, *words, given=""):
    """The script's exit code, output and errors, run in its folder by a Python that has NumPy and nothing else."""
    packages = str(Path(np.__file__).parents[1])
    switches = ["-I", "-S", "-W", "error", "-W", "ignore::ResourceWarning", "-c", ALONE, packages]
    done = subprocess.run(
        [sys.executable, *switches, "sample.py", *words],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def run(folder, *words, given=""):
    """The same within this process, which takes a tenth of the time."""
    code, out, err = 0, io.StringIO(), ""
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sample.py", *words])
        patch.setattr(sys, "stdin", io.StringIO(given))
        try:
            runpy.run_path("sample.py", run_name="__main__")
        except SystemExit as end:
            code, err = 1, f"{end}\n"
    return code, out.getvalue(), err


def assert_same_picture(trainer, folder, *words, run=run, **wanted):
    """The same pixels, but for one grey level that rounding may make."""
    code, out, err = run(folder, *words)
    assert (code, err) == (0, "")
    with Image.open(folder / out.strip()) as image:
        image.load()  # checks the sums of all parts
        assert image.format == "PNG"
        got = np.asarray(image).astype(int)
    own = np.asarray(picture(trainer.sample(25, **wanted), columns=5)).astype(int)
    assert got.shape == own.shape
    assert own.std() > 5
    assert abs(got - own).max() <= 1
    assert (got != own).mean() < 0.002  # rounding: less than one pixel in a thousand falls to the other side


def trained(name, /, **changes):
    recipe = tiny(name).replace(**changes)
    return Trainer(recipe, samples(recipe), device="cpu", seed=3).fit(3)


def of(*layers, seed=4, **changes):
    """A trainer with a generator of 6 numbers for the bundled digits, trained for some steps."""
    recipe = fg.recipes["digits"].replace(latent=6, batch=8, **changes)
    generator = nn.Sequential(*layers, seed=seed)
    return Trainer(recipe, device="cpu", seed=5, generator=generator).fit(3)
