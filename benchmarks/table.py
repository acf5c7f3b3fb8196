"""The GPU gate's results as a short table, at most 100 columns wide."""

from typing import Any

from benchmarks.columns import OWN

WIDTH = 100


def text(results: dict[str, Any]) -> str:
    """Everything worth reading first; the rest is in the JSON file."""
    names = list(results["columns"])
    commit, changed = results["commit"][:12], "+" * results["commit"].endswith("+")
    lines = [
        f"{results['device']}, driver {results['driver']}, commit {commit}{changed}",
        f"{results['arithmetic']}; ms per step",
        " " * 15 + "".join(f"{name:>10}" for name in names) + "  peer/ours",
        *(line(recipe, row, names) for recipe, row in results["recipes"].items()),
        *(f"{name} {value}" for name, value in kernels(results)),
        f"tests: {results['tests']['summary']}" if "tests" in results else "tests: none were run",
        *(f"{kind.rstrip('s')}: {line}" for kind in ("notes", "problems") for line in results[kind]),
    ]
    return "\n".join(part[:WIDTH] for part in lines)


def line(recipe: str, row: dict[str, Any], names: list[str]) -> str:
    """A recipe's medians in milliseconds, and how many times longer the best peer takes than the best of ours."""
    cells = [
        f"{row[name]['median'] * 1e3:10.4f}" if "median" in row[name] else f"{'-':>10}" for name in names
    ]
    medians = {name: row[name]["median"] for name in names if "median" in row[name]}
    own = [t for name, t in medians.items() if name in OWN]
    theirs = [t for name, t in medians.items() if name not in OWN]
    return f"{recipe:15}" + "".join(cells) + (f"{min(theirs) / min(own):11.2f}" if own and theirs else "")


def kernels(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines about launches and Adam, where they were measured."""
    launches, adam, found = results.get("launches", {}), results.get("adam", {}), []
    if "ours" in launches:
        parts = ", ".join(f"{name} {row['asking'] * 1e6:.1f}" for name, row in launches.items())
        found.append(("microseconds of the host per launch:", parts))
    if adam and "error" not in adam:
        parts = ", ".join(f"{row['gigabytes_per_second']:.0f} at {name}" for name, row in adam.items())
        found.append(("Adam, GB/s:", parts))
    return found
