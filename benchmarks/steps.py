"""Whole training steps, fastgan against what a user would pick instead, interleaved in one process.

    python -m benchmarks.steps [RECIPE ...] [--seconds 5] [--json FILE]

One step is the recipe's critic updates and one generator update, on random images of MNIST's size that lie in memory.
Every contestant runs with its default threads; array code alone is left out where there are convolutions, whose steps
take seconds. A row gives the median with its 20th and 80th percentile, and the ratio to each peer, taken round by
round. Peers that are not installed are left out and named.
"""

import argparse
import importlib
import importlib.util
import json
import platform
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import fastgan as fg
from benchmarks import peers, timing

PEERS = {"PyTorch eager": ("torch", "torch_eager"), "JAX jit": ("jax", "jax_jit")}


def images(n: int = 10_000, shape: tuple[int, ...] = (28, 28, 1)) -> np.ndarray[Any, Any]:
    """Random images (n, h, w, c) uint8: timing does not depend on what they show."""
    return np.random.Generator(np.random.Philox(0)).integers(0, 256, (n, *shape), np.uint8)


def ours(recipe: str, data: np.ndarray[Any, Any], *, kernels: bool = True) -> timing.Contestant:
    """fastgan's step on the CPU; with `kernels` off, array code only."""
    trainer = fg.Trainer(recipe, data, device="cpu")

    def step() -> None:
        with fg.use_kernels(kernels), trainer.threads() if recipe in peers.CONVOLUTIONAL else nullcontext():
            trainer.step()

    return step, lambda: None


def contestants(recipe: str, data: np.ndarray[Any, Any]) -> dict[str, timing.Contestant]:
    """Everything that can run the recipe here, by name."""
    out: dict[str, timing.Contestant] = {"fastgan": ours(recipe, data)}
    if recipe not in peers.CONVOLUTIONAL:
        out["NumPy only"] = ours(recipe, data, kernels=False)
    for name, (package, module) in PEERS.items():
        if importlib.util.find_spec(package) and peers.runs(module, recipe):
            peer = theirs(module, recipe, data)
            out[name] = (peer.step, peer.sync)
    return out


def theirs(module: str, recipe: str, data: np.ndarray[Any, Any], **settings: Any) -> peers.Peer:
    """The recipe as a module of `benchmarks.peers` runs it, on the same images."""
    make: Callable[..., peers.Peer] = importlib.import_module(f"benchmarks.peers.{module}").make
    return make(recipe, floats(recipe, data), **settings)


def floats(recipe: str, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images (n, ...) uint8 as the peers of a recipe want them: float32 (n, 784), black to white as it has them."""
    low = peers.ALL[recipe].low
    return data.reshape(len(data), -1) * np.float32((1 - low) / 255) + np.float32(low)


def row(recipe: str, seconds: float) -> dict[str, Any]:
    """Times (seconds) of every contestant for one recipe, and fastgan's ratio to each."""
    times = timing.compare(contestants(recipe, images()), seconds=seconds)
    ratios = {name: timing.ratio(times["fastgan"], t) for name, t in times.items() if name != "fastgan"}
    return {"recipe": recipe, "times": times, "ratios": ratios}


def show(result: dict[str, Any]) -> str:
    """A few lines for people; times in milliseconds."""
    lines = [result["recipe"]]
    for name, t in result["times"].items():
        line = f"  {name:14s}{t.median * 1e3:8.2f} ms  ({t.low * 1e3:.2f} - {t.high * 1e3:.2f}), n={t.count}"
        if name in result["ratios"]:
            r = result["ratios"][name]
            line += f"   fastgan / this: {r.median:.2f} ({r.low:.2f} - {r.high:.2f})"
        lines.append(line)
    return "\n".join(lines)


def versions(*more: str) -> dict[str, str]:
    """What was measured: processor and library versions, of `more` distributions too."""
    from importlib.metadata import PackageNotFoundError, version

    out = {"machine": platform.machine(), "python": platform.python_version()}
    for name in ("fastgan", "numpy", "numba", "torch", "jax", *more):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = fg.__version__ if name == "fastgan" else "not installed"
    return out


def main() -> None:
    """Measure, print as results come in, and write JSON where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=list(peers.ALL))
    parser.add_argument("--seconds", type=float, default=5.0, help="measured time per contestant")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.recipes) - set(peers.ALL):
        parser.error(f"no peer runs {', '.join(sorted(unknown))}; choose from {', '.join(peers.ALL)}")
    missing = [name for name, (package, _) in PEERS.items() if not importlib.util.find_spec(package)]
    print(*(f"{k} {v}" for k, v in versions().items()), sep=", ")
    print(
        *(f"{name} is not installed and left out: pip install 'fastgan[peers]'" for name in missing), sep="\n"
    )
    results = []
    for recipe in options.recipes:
        results.append(row(recipe, options.seconds))
        print(show(results[-1]), flush=True)
    if options.json:
        plain = json.dumps({"versions": versions(), "rows": results}, default=vars, indent=1)
        options.json.write_text(plain, encoding="utf-8")


if __name__ == "__main__":
    main()
