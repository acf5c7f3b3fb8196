"""Imports point one way and never in a circle, `import fastgan` stays light, kernels know nothing of fastgan, and the
engine nothing of GANs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastgan

PACKAGE = Path(fastgan.__file__).parent
ROOT = ""  # the package itself, fastgan/__init__.py

SHARED = "fastgan.kernels.formulas"  # a leaf that both sides import
LOW = {"errors", "device", "dispatch", "clock"}
ENGINE = LOW | {"tape", "ops"}
GAN = ENGINE | {"capture", "data", "fused", "nn", "optim", "random", "ranges", "threads", "version"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "ranges": {"errors"},
    "version": set(),
    "device": {"errors"},
    "threads": set(),
    "dispatch": {"errors", "device"},
    "clock": {"errors", "device"},
    "tape": LOW,
    "random": LOW,
    "capture": LOW,
    "ops": LOW | {"tape"},
    "nn": ENGINE | {"random"},
    "optim": ENGINE | {"nn", "ranges"},
    "data": {"device", "errors", "random"},
    "fused": ENGINE | {"optim", "random", "threads"},
    "gan": GAN,
    "benchmarks": GAN | {ROOT, "gan", "kernels"},
    "cli": GAN | {ROOT, "benchmarks", "gan", "kernels"},
    "__main__": {"cli"},
    "command": {"cli"},
    "kernels": set(),
}
KERNELS_NEED = {"numpy", "numba", "cuda", "cupy", "llvmlite", "nvmath", *sys.stdlib_module_names}
HEAVY = ["cupy", "numba", "matplotlib", "PIL", "click", "rich", "pooch", "torch", "jax"]


def part_of(module: str) -> str:
    """The part that a module of ours belongs to: "fastgan.nn.flat" -> "nn"."""
    return module.partition(".")[2].partition(".")[0]


def imported(source: str, package: str) -> list[tuple[int, str]]:
    """Line and full name of everything that a file in `package` imports, wherever in the file it does so."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return found


def wrong_arrows(source: str, part: str, package: str) -> list[str]:
    """What a file of `part` imports and must not."""
    wrong = []
    for line, name in imported(source, package):
        top = name.partition(".")[0]
        target = part_of(name) if part_of(name) in ALLOWED else ROOT
        if top == "fastgan":
            if not name.startswith(SHARED) and target != part and target not in ALLOWED[part]:
                wrong.append(f"line {line}: {part} imports {name}")
        elif part == "kernels" and top not in KERNELS_NEED:
            wrong.append(f"line {line}: kernels import {name}")
    return wrong


# behind links, which rglob may not follow
LINKED = ("kernels", "kernels/cuda", "benchmarks", "benchmarks/peers", "benchmarks/suites")
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
FILES += [
    p.relative_to(PACKAGE)
    for folder in LINKED
    for p in sorted((PACKAGE / folder).glob("*.py"))
    if p.relative_to(PACKAGE) not in FILES
]


@pytest.mark.parametrize("file", [f for f in FILES if str(f) != "__init__.py"], ids=str)
def test_imports_point_downwards(file: Path) -> None:
    part = file.parts[0].removesuffix(".py")
    assert part in ALLOWED, f"{part} is new: give it a row in ALLOWED"
    package = ".".join(["fastgan", *file.parts[:-1]])
    assert wrong_arrows((PACKAGE / file).read_text(), part, package) == []


# files that import each other today: to become none
KNOWN_CIRCLES = {  # by imports within functions: what compiles a kernel looks for what was measured of it
    "kernels.cuda": "blas building dense epilogues launching measuring norm products sums tiles vector",
}


def module_of(file: Path) -> str:
    """The name by which a file is imported: nn/flat.py -> "fastgan.nn.flat"."""
    return ".".join(["fastgan", *file.with_suffix("").parts]).removesuffix(".__init__")


def in_circles(sources: dict[str, str]) -> set[str]:
    """Modules that import themselves in the end; sources by name."""
    graph = {}
    for name, source in sources.items():
        package = name if any(other.startswith(f"{name}.") for other in sources) else name.rpartition(".")[0]
        targets = {target for _, target in imported(source, package)}
        graph[name] = {next((m for m in _prefixes(t) if m in sources), name) for t in targets} - {name}
    circular = set()
    for start in graph:
        seen, ahead = set(), list(graph[start])
        while ahead:
            if (name := ahead.pop()) not in seen:
                seen.add(name)
                ahead += graph[name]
        circular |= {start} & seen
    return circular


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(len(parts), 0, -1)]


def test_no_new_circles_among_files() -> None:
    files = [f for f in FILES if f.parts[0] != "benchmarks"]  # theirs are the next issue's
    found = in_circles({module_of(f): (PACKAGE / f).read_text() for f in files})
    known = {f"fastgan.{part}.{name}" for part, names in KNOWN_CIRCLES.items() for name in names.split()}
    assert sorted(found - known) == []


def test_a_circle_is_found() -> None:
    a, b = "from fastgan.nn.b import x", "if TYPE_CHECKING:\n    from fastgan.nn import a"
    line = {"fastgan.nn": "from fastgan.nn.b import x", "fastgan.nn.c": "import numpy"}
    assert in_circles({"fastgan.nn.a": a, "fastgan.nn.b": b} | line) == {"fastgan.nn.a", "fastgan.nn.b"}
    assert in_circles({"fastgan.nn.a": a, "fastgan.nn.b": "from .c import x"} | line) == set()


GAN_WORDS = re.compile(r"\b(generators?|critics?|gans?)\b", re.IGNORECASE)
HOUSES = ("gan", "data", "cli", "kernels", "benchmarks", "command")


def test_the_engine_does_not_speak_of_gans() -> None:
    engine = [f for f in FILES if f.parts[0] not in HOUSES and str(f) != "__init__.py"]
    said = {str(f): GAN_WORDS.findall((PACKAGE / f).read_text()) for f in engine}
    assert {f: words for f, words in said.items() if words} == {}


def test_all_parts_were_looked_at() -> None:
    parts = {f.parts[0].removesuffix(".py") for f in FILES}
    assert parts - {"__init__"} == set(ALLOWED)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("tape", "from fastgan import ops"),
        ("tape", "from fastgan.nn.flat import Flat"),
        ("ops", "import fastgan.random"),
        ("nn", "from fastgan.optim import Adam"),
        ("nn", "from fastgan import Tensor"),
        ("nn", "def f():\n    from fastgan import gan"),
        ("optim", "from .gan import Trainer"),
        ("data", "if TYPE_CHECKING:\n    from fastgan.tape import Tensor"),
        ("gan", "from fastgan import cli"),
        ("gan", "from fastgan.kernels.noise import philox"),
        ("errors", "import fastgan"),
        ("kernels", "from fastgan.device import Array"),
        ("kernels", "from numba import cuda\nimport scipy"),
    ],
)
def test_a_wrong_import_is_found(part: str, source: str) -> None:
    assert len(wrong_arrows(source, part, "fastgan")) == 1


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("ops", "from fastgan.kernels.formulas import ACTIVATIONS"),
        ("ops", "from fastgan.tape import op\nfrom .device import Array\nimport numpy"),
        ("gan", "from fastgan import optim, random\nfrom .gan.objectives import objective"),
        ("kernels", "import math\nfrom numba import cuda\nimport numpy as np"),
        ("nn", "from fastgan.nn.init import initialize"),
    ],
)
def test_a_right_import_is_let_through(part: str, source: str) -> None:
    assert wrong_arrows(source, part, "fastgan") == []


def test_one_file_names_kernels_and_what_they_replace() -> None:
    """`fastgan doctor` may look at kernels as well, to say whether they compile, and benchmarks may time one."""
    naming = []
    for file in FILES:
        if file.parts[0] not in ("kernels", "cli", "benchmarks"):
            constants = [
                n.value
                for n in ast.walk(ast.parse((PACKAGE / file).read_text()))
                if isinstance(n, ast.Constant)
            ]
            naming += [str(file) for c in constants if isinstance(c, str) and c.startswith("fastgan.kernels")]
    assert set(naming) == {"fused.py"}


def test_importing_fastgan_imports_nothing_heavy() -> None:
    code = f"import sys, fastgan; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_wheel_lists_every_package() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [*PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("*/*/__init__.py")]
    there = {"fastgan", *(".".join(["fastgan", *p.parent.relative_to(PACKAGE).parts]) for p in parts)}
    beside = {"fastgan.command": "fastgan_command"}  # the entry point, which must not import the package
    assert set(project["tool"]["setuptools"]["packages"]) == {beside.get(name, name) for name in there}
