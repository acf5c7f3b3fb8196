"""Imports point one way and never in a circle, `import fastgan` stays light, kernels know nothing of fastgan, and the
engine nothing of GANs."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastgan

PACKAGE = Path(fastgan.__file__).parent
ROOT = ""  # the package itself, fastgan/__init__.py

SHARED = "fastgan.kernels.formulas"  # a leaf that both sides import
NOTHING: frozenset[str] = frozenset()
CLI = frozenset({"cli"})
LOW = {"errors", "device", "dispatch", "clock"}
ENGINE = LOW | {"tape", "ops"}
GAN = ENGINE | {"capture", "data", "fused", "nn", "optim", "random", "ranges", "threads", "version"}
ALLOWED = {
    **dict.fromkeys(("errors", "version", "threads", "kernels"), NOTHING),
    "ranges": {"errors"},
    "device": {"errors"},
    "dispatch": {"errors", "device"},
    "clock": {"errors", "device"},
    **dict.fromkeys(("tape", "random", "capture"), LOW),
    "ops": LOW | {"tape"},
    "nn": ENGINE | {"random"},
    "optim": ENGINE | {"nn", "ranges"},
    "data": {"device", "errors", "random"},
    "fused": ENGINE | {"optim", "random", "threads"},
    "gan": GAN,
    "benchmarks": GAN | {ROOT, "gan", "kernels"},
    "cli": GAN | {ROOT, "benchmarks", "gan", "kernels"},
    **dict.fromkeys(("__main__", "command"), CLI),
}
KERNELS_NEED = {"numpy", "numba", "cuda", "cupy", "llvmlite", "nvmath", *sys.stdlib_module_names}
HEAVY = ["cupy", "numba", "matplotlib", "PIL", "click", "rich", "pooch", "torch", "jax"]


@cache
def parsed(source):
    kept = ast.Import | ast.ImportFrom | ast.Constant
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kept)]


def imported(source, package):
    """Line and full name of everything that a file in `package` imports, wherever in the file it does so."""
    found = []
    for node in parsed(source):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def wrong_arrows(source, part, package):
    """What a file of `part` imports and must not."""
    wrong = []
    for line, name in imported(source, package):
        top, target = name.partition(".")[0], f"{name}..".split(".")[1]
        target = target if target in ALLOWED else ROOT
        if top == "fastgan":
            if not name.startswith(SHARED) and target != part and target not in ALLOWED[part]:
                wrong.append(f"line {line}: {part} imports {name}")
        elif part == "kernels" and top not in KERNELS_NEED:
            wrong.append(f"line {line}: kernels import {name}")
    return wrong


# behind links, which rglob may not follow
LINKED = ("kernels", "kernels/cuda", "benchmarks", "benchmarks/peers", "benchmarks/suites")
THERE = {*PACKAGE.rglob("*.py"), *(path for folder in LINKED for path in (PACKAGE / folder).glob("*.py"))}
FILES = {path.relative_to(PACKAGE): path.read_text(encoding="utf-8") for path in sorted(THERE)}
INNER = {file: source for file, source in FILES.items() if str(file) != "__init__.py"}


def module_of(file):
    """The name by which a file is imported: nn/flat.py -> "fastgan.nn.flat"."""
    return ".".join(["fastgan", *file.with_suffix("").parts]).removesuffix(".__init__")


def test_imports_point_downwards():
    wrong = {}
    for file, source in INNER.items():
        part = file.parts[0].removesuffix(".py")
        assert part in ALLOWED, f"{part} is new: give it a row in ALLOWED"
        wrong[str(file)] = wrong_arrows(source, part, ".".join(["fastgan", *file.parts[:-1]]))
    assert {file: arrows for file, arrows in wrong.items() if arrows} == {}
    assert {file.parts[0].removesuffix(".py") for file in INNER} == set(ALLOWED)  # all parts were looked at


# files that import each other today, to become none: what compiles a kernel looks for what was measured of it
KNOWN = "blas building dense epilogues launching measuring norm products sums tiles vector"
KNOWN_CIRCLE = {f"fastgan.kernels.cuda.{name}" for name in KNOWN.split()}


def circle(sources, known=()):
    """Modules that import each other in a circle, of which those `known` to do so count as one; sources by name."""
    graph = {}
    for name, source in sources.items():
        package = name if any(other.startswith(f"{name}.") for other in sources) else name.rpartition(".")[0]
        names = [target.split(".") for _, target in imported(source, package)]
        above = [[".".join(parts[:k]) for k in range(len(parts), 0, -1)] for parts in names]
        found = {next((m for m in modules if m in sources), name) for modules in above}
        one = {m: "known" if m in known else m for m in (*found, name)}
        graph.setdefault(one[name], set()).update({one[m] for m in found} - {one[name]})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return set(error.args[1])
    return set()


def test_no_new_circles_among_files():
    sources = {module_of(f): s for f, s in FILES.items() if f.parts[0] != "benchmarks"}  # the next issue's
    assert circle(sources, KNOWN_CIRCLE) == set()


def test_a_circle_is_found():
    a, b = "from fastgan.nn.b import x", "if TYPE_CHECKING:\n    from fastgan.nn import a"
    line = {"fastgan.nn": "from fastgan.nn.b import x", "fastgan.nn.c": "import numpy"}
    assert circle({"fastgan.nn.a": a, "fastgan.nn.b": b} | line) == {"fastgan.nn.a", "fastgan.nn.b"}
    assert circle({"fastgan.nn.a": a, "fastgan.nn.b": "from .c import x"} | line) == set()


@pytest.mark.parametrize(
    ("wrong", "part", "source"),
    [
        (1, "tape", "from fastgan import ops"),
        (1, "tape", "from fastgan.nn.flat import Flat"),
        (1, "ops", "import fastgan.random"),
        (1, "nn", "from fastgan.optim import Adam"),
        (1, "nn", "from fastgan import Tensor"),
        (1, "nn", "def f():\n    from fastgan import gan"),
        (1, "optim", "from .gan import Trainer"),
        (1, "data", "if TYPE_CHECKING:\n    from fastgan.tape import Tensor"),
        (1, "gan", "from fastgan import cli"),
        (1, "gan", "from fastgan.kernels.noise import philox"),
        (1, "errors", "import fastgan"),
        (1, "kernels", "from fastgan.device import Array"),
        (1, "kernels", "from numba import cuda\nimport scipy"),
        (0, "ops", "from fastgan.kernels.formulas import ACTIVATIONS"),
        (0, "ops", "from fastgan.tape import op\nfrom .device import Array\nimport numpy"),
        (0, "gan", "from fastgan import optim, random\nfrom .gan.objectives import objective"),
        (0, "kernels", "import math\nfrom numba import cuda\nimport numpy as np"),
        (0, "nn", "from fastgan.nn.init import initialize"),
    ],
)
def test_a_wrong_import_is_found_and_a_right_one_let_through(wrong, part, source):
    assert len(wrong_arrows(source, part, "fastgan")) == wrong


HOUSES = ("gan", "data", "cli", "kernels", "benchmarks", "command")


def test_the_engine_does_not_speak_of_gans():
    words = re.compile(r"\b(generators?|critics?|gans?)\b", re.IGNORECASE)
    said = {str(f): words.findall(source) for f, source in INNER.items() if f.parts[0] not in HOUSES}
    assert {f: found for f, found in said.items() if found} == {}


def test_one_file_names_kernels_and_what_they_replace():
    """`fastgan doctor` may look at kernels as well, to say whether they compile, and benchmarks may time one."""
    sources = {f: s for f, s in FILES.items() if f.parts[0] not in ("kernels", "cli", "benchmarks")}
    texts = {str(f): [n.value for n in parsed(s) if isinstance(n, ast.Constant)] for f, s in sources.items()}
    naming = {f for f, values in texts.items() if any(str(v).startswith("fastgan.kernels") for v in values)}
    assert naming == {"fused.py"}


def test_importing_fastgan_imports_nothing_heavy():
    code = f"import sys, fastgan; print([m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_wheel_lists_every_package():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    there = {module_of(f) for f in FILES if f.name == "__init__.py" and len(f.parts) <= 3}
    beside = {"fastgan.command": "fastgan_command"}  # the entry point, which must not import the package
    assert set(project["tool"]["setuptools"]["packages"]) == {beside.get(name, name) for name in there}
