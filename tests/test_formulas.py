"""One table of activations and one of score losses: each row by central differences, and a row that is added to a copy.

The copy's new rows then work in every kernel, on the CPU and in Numba's simulator of a GPU, with no other edit, and
what was compiled of the old ones before is not taken for them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastgan
from fastgan import ops, tensor
from fastgan.kernels.formulas import ACTIVATIONS, KINDS, SCORES, arrays

X = np.array([-9, -2.5, -1.25, -0.5, 0.375, 0.75, 1.5, 3, 20])
H = 1e-6


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_derivative_is_the_activations_own(name: str) -> None:
    row, m = ACTIVATIONS[name], arrays(np)
    for slope in (0.0, 0.2, 1.0):
        wanted = (row.value(m, X + H, slope) - row.value(m, X - H, slope)) / (2 * H)
        got = row.masked(m, np.full_like(X, 3), row.value(m, X, slope), slope)
        np.testing.assert_allclose(got, 3 * wanted, rtol=1e-6, atol=1e-7)
        assert row.masked(m, np.float32(X), np.float32(X), slope).dtype == np.float32
        assert row.value(m, np.float32(X), slope).dtype == np.float32


@pytest.mark.parametrize("kind", SCORES)
def test_a_slope_is_the_scores_own(kind: str) -> None:
    row, m = SCORES[kind], arrays(np)
    wanted = (row.formula(m, X + H) - row.formula(m, X - H)) / (2 * H)
    np.testing.assert_allclose(np.zeros_like(X) + row.slope(m, X), wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(row.formula(ops, tensor(X)).data, row.formula(m, X))
    assert KINDS.index(kind) == list(SCORES).index(kind)


ROWS = """
ACTIVATIONS["softsign"] = Activation(
    lambda m, z, slope: {factor} * z / (one + m.absolute(z)),
    lambda m, g, y, slope: g * {factor} * (one - m.absolute(y / {factor})) * (one - m.absolute(y / {factor})),
)
SCORES["s^3"] = Score(lambda m, s: s * s * s * half, lambda m, s: s * s * (one + half))
KINDS = (*SCORES, GRADIENT)
"""
PROGRAM = """
import importlib, sys
import numpy as np
from fastgan import ops
from fastgan.ops import dense, norm

def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)

def copied(x):
    return x.copy() if isinstance(x, np.ndarray) else x

def check(module, name, fusable, *operands, **settings):
    results = []
    for code in (getattr(importlib.import_module(sys.argv[1] + module), name), fusable.plain):
        xs, given = [x.copy() for x in operands], {k: copied(x) for k, x in settings.items()}
        y = code(*xs, **given)
        assert y is not NotImplemented
        written = [x for x in given.values() if isinstance(x, np.ndarray)]
        results.append([*(y if isinstance(y, tuple) else [y]), *xs, *written])
    for got, wanted in zip(*results):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)

soft, n, i, o = {"act": "softsign"}, 5, 6, 7
check("dense", "forward", ops.linear.forward, draw(n, i), draw(i, o), draw(o), **soft)
places = {"gw": draw(i, o), "gb": draw(o)}
check("dense", "backward", dense.linear_backward, draw(n, o), draw(n, i), draw(i, o), **places, **soft)
rows = [draw(i) for _ in range(3)]
settings = {"eps": 1e-3, "momentum": 0.5, "stats": draw(2, i)}
check("norm", "norm_forward", norm.norm_forward, draw(2, n, i), *rows, draw(i) ** 2, **settings, **soft)
places = {"ggamma": draw(i), "gbeta": draw(i)}
operands = draw(2, n, i), draw(2, n, i), draw(i), draw(2, i) ** 2
check("norm", "norm_backward", norm.norm_backward, *operands, **places, **soft)
check("loss", "score_loss", ops.score_loss.forward, draw(4, 1), kinds=("s^3", "gradient"), counts=(3, 1))
if sys.argv[1].endswith("cuda."):
    rows = [draw(o) ** 2 for _ in range(5)]
    settings = {"eps": 1e-3, "stats": draw(2, o)}
    check("dense", "forward_norm", norm.forward_norm, draw(n, i), draw(i, o), *rows, **settings, **soft)
"""
FORWARD = """
import numpy as np
from fastgan import ops

one = np.ones((1, 1), np.float32)
print(ops.linear.forward(one, one, one[0] * 0, act="softsign").item())
"""


EDITS = {  # one place for each: file of the copy, what is there, and what is put before it
    "kernels/formulas.py": ("\nLAST = ", ROWS.format(factor="one")),
    "nn/text.py": (
        "OF_ROWS = ",
        '\nclass Doubled(Module):\n    def __call__(self, x):\n        return x * 2\n\n\nLAYERS["doubled"] = Doubled\n',
    ),
    "optim.py": (
        "\ndef clip_weights",
        """
@Fusable
def sign_update(p, g, m, *, lr, clip=0.0, average=None, follow=0.0):
    p -= float(lr) * array_module(p).sign(g)
    _finish(p, clip, average, follow)


class Sign(Optimizer):
    slots = ("m",)

    def update(self):
        sign_update(self.flat.buffer, self.flat.gradient, self.state["m"], **self._ending())

""",
    ),
}
TRAIN = """
from dataclasses import replace
import numpy as np
import fastgan as fg
from fastgan.gan.objectives import ScoreLoss
lines = ("linear 8", "softsign", "doubled", "linear o")
recipe = fg.recipes["digits"].replace(
    steps=6, batch=8, latent=4, generator=fg.nn.Net(lines), critic=fg.nn.Net(lines), ema=0.5,
    objective="minimax", penalty=None, optimizer=fg.OptimizerSettings(kind="sign", lr=0.01),
)
objective = replace(fg.objectives["minimax"], real=ScoreLoss("s^3"))
trainer = fg.Trainer(recipe, device="cpu", objective=objective)
before = trainer.generator.values()
trainer.fit()
moved = [abs(x - before[name]).max() for name, x in trainer.generator.values().items()]
assert trainer.steps_done == 6 and all(0 < m <= 0.07 for m in moved), moved
print(fg.nn.Net(("softsign", "linear o")).build(3, 1, seed=0)[0].act, *sorted(trainer.metrics()))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the edits, beside a cache of its own."""
    root, code = tmp_path_factory.mktemp("copy"), Path(fastgan.__file__).parent
    shutil.copytree(code, root / "fastgan", ignore=shutil.ignore_patterns("benchmarks", "__pycache__"))
    for name, (there, added) in EDITS.items():
        path = root / "fastgan" / name
        text = path.read_text()
        assert text.count(there) == 1, name
        path.write_text(text.replace(there, added + there))
    return root


def run(copy: Path, program: str, package: str = "fastgan.kernels.", **environment: str) -> str:
    """What a program says of the copy."""
    path = os.pathsep.join([str(copy), str(Path(__file__).parent)])
    own = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(copy / "cache")} | environment
    command = [sys.executable, "-c", program, package]
    done = subprocess.run(command, env=own, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_is_added_in_one_place_and_trained_with(copy: Path) -> None:
    """An activation, a score loss, an optimizer and a layer, as CONTRIBUTING says; every kernel then has them."""
    trained, halved = run(copy, TRAIN + PROGRAM + FORWARD).splitlines()
    assert trained.startswith("softsign accuracy critic_loss")
    assert halved == "0.5"


def test_a_row_is_all_that_it_takes_on_a_gpu(copy: Path) -> None:
    pytest.importorskip("numba.cuda")
    run(
        copy,
        "from fakes import blocks; blocks.install()\n" + PROGRAM,
        "fastgan.kernels.cuda.",
        NUMBA_ENABLE_CUDASIM="1",
    )


def test_a_formula_that_was_edited_is_compiled_anew(copy: Path) -> None:
    """Numba looks at the age of a loop's file only, and the formula is in another."""
    path = copy / "fastgan" / "kernels" / "formulas.py"
    path.write_text(path.read_text().replace(ROWS.format(factor="one"), ROWS.format(factor="float32(4)")))
    assert run(copy, FORWARD) == "2.0\n"
