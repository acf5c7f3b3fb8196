"""Lines of Python by house, and their budgets (the design's): a table, and exit code 1 where one is over.

A house without a limit is only counted: benchmarks and their tests, until the issue that cuts them.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ("gan", "data", "cli", "kernels", "benchmarks")  # of fastgan/: houses of their own, or links to them


def lines(folder: str, keep=lambda path: True) -> int:
    """Lines of the Python files under a folder whose path from there is wanted."""
    base = ROOT / folder
    files = (f for f in base.rglob("*.py") if keep(f.relative_to(base)))
    return sum(f.read_text(encoding="utf-8").count("\n") for f in files)


def of_benchmarks(path: Path) -> bool:
    """Whether a file of tests/ is about benchmarks."""
    return path.name.startswith(
        ("bench_", "test_bench_", "test_benchmarks", "test_conv_peers", "test_gate", "test_gpu_gate")
    )


HOUSES = [
    ("fastgan, the engine", lines("fastgan", lambda path: path.parts[0] not in OTHERS), 4_300),
    ("fastgan/gan", lines("fastgan/gan"), 2_300),
    ("fastgan/data", lines("fastgan/data"), 700),
    ("fastgan/cli", lines("fastgan/cli"), 1_100),
    ("kernels", lines("kernels"), 4_600),
    ("benchmarks", lines("benchmarks"), None),  # 4,200
    ("tests", lines("tests", lambda path: not of_benchmarks(path)), 12_000),
    ("tests of benchmarks", lines("tests", of_benchmarks), None),
]
for name, count, limit in HOUSES:
    verdict = "" if limit is None else f"of {limit:>6,}{'  OVER' * (count > limit)}"
    print(f"{name:<20} {count:>7,}  {verdict}".rstrip())
print(f"{'all':<20} {sum(count for _, count, _ in HOUSES):>7,}")
sys.exit(any(limit is not None and count > limit for _, count, limit in HOUSES))
