"""The operations of the suite of kernels that change state: optimisers, random numbers, and batches drawn from data.

One idea: as in `kernel_operations`, but each is held to what it leaves behind: the step that parameters made, the rows
that were drawn, and of random numbers of peers, whose bits are their own, that they are normal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastgan import data, optim, random
from fastgan.backend import Count
from fastgan.benchmarks.cases import Results, differs, summary
from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.kernel_operations import ELEMENTS, PERIOD, normal
from fastgan.benchmarks.operations import GRAPH_CALLS, Operands, Operation, largest_cache
from fastgan.benchmarks.peer_kernels import Rival
from fastgan.random import Stream

ADAM = {"lr": 1e-2, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 1e-2, "alpha": 0.9, "eps": 1e-8}
PIXELS = {"scale": 2 / 255, "offset": -1.0}
DRAW: dict[str, Any] = {"seed": 1, "stream": int(Stream.NOISE), "step": 0}


def count(p: int) -> str:
    """A number for a name: 1e6."""
    exponent = len(str(p)) - 1
    return f"1e{exponent}" if p == 10**exponent else str(p)


def moved(found: Sequence[Any], first: Operands) -> list[Any]:
    """The step that parameters made, which is small beside them, and the state."""
    return [np.asarray(found[0]) - first[0], *found[1:]]


def adam(p: int) -> Operation:
    """The second step of Adam, on parameters such as networks have."""

    def own(p: Any, g: Any, m: Any, v: Any) -> list[Any]:
        optim.adam_update(p, g, m, v, t=2, **ADAM)
        return [p, m, v]

    return Operation(
        "adam",
        count(p),
        {"parameters": p},
        28 * p,
        13 * p,
        lambda: [normal(p, 1, 0.02), normal(p, 2, 0.1), normal(p, 3, 0.1), 0.01 + normal(p, 4, 0.1) ** 2],
        own,
        ELEMENTS,
        Rival("adam", lambda *operands: operands, "special", ADAM),
        fresh=True,
        elementwise=True,
        compiled=p == 10**6,
        finished=moved,
    )


def rmsprop(p: int) -> Operation:
    """A step of RMSProp."""

    def own(p: Any, g: Any, v: Any) -> list[Any]:
        optim.rmsprop_update(p, g, v, **RMSPROP)
        return [p, v]

    return Operation(
        "rmsprop",
        count(p),
        {"parameters": p},
        20 * p,
        9 * p,
        lambda: [normal(p, 1, 0.02), normal(p, 2, 0.1), 0.01 + normal(p, 4, 0.1) ** 2],
        own,
        ELEMENTS,
        Rival("rmsprop", lambda *operands: operands, "special", RMSPROP),
        fresh=True,
        elementwise=True,
        finished=moved,
    )


def noise(p: int) -> Operation:
    """Normal numbers in place. Ours are compared number by number, a peer's by mean, size and variance."""

    def own(out: Any) -> list[Any]:
        random.fill_normal(out, **DRAW)
        return [out]

    def wrong(found: Mapping[str, Results]) -> dict[str, str]:
        wanted = summary([random.normal((p,), **DRAW)])
        reasons = {
            name: differs(results, wanted, ELEMENTS) if name in OWN else not_normal(results, p)
            for name, results in found.items()
        }
        return {name: reason for name, reason in reasons.items() if reason}

    return Operation(
        "noise",
        count(p),
        {"numbers": p},
        4 * p,
        5 * p,
        lambda: [np.zeros(p, np.float32)],
        own,
        ELEMENTS,
        Rival("normal", lambda out: [out], "special"),
        fresh=True,
        wrong=wrong,
    )


def not_normal(found: Results, n: int) -> str:
    """Why a summary is not that of n numbers of N(0, 1), or ""; six standard deviations are allowed."""
    if len(found) != 1:
        return f"got {len(found)} results, wanted 1"
    sample, mean, size = found[0][:-2], found[0][-2] / n, found[0][-1] / n
    for what, value, wanted, deviation in (
        ("mean", mean, 0, n**-0.5),
        ("mean size", size, (2 / np.pi) ** 0.5, 0.61 * n**-0.5),
        ("variance", sample.var(), 1, (2 / len(sample)) ** 0.5),
    ):
        if not abs(value - wanted) <= 6 * deviation:
            return f"its {what} is {value:.4f}, wanted {wanted:.4f} +- {6 * deviation:.4f}"
    return ""


def batch(n: int, f: int, samples: int) -> Operation:
    """Random rows of a data set of bytes, as floats; `samples` 0: more than the cache holds.

    Each call draws other rows. Peers have the data as floats, as their users do, and draw anew as well; compared are
    the rows that fastgan drew first.
    """
    many = samples or 2 * largest_cache() // f + 1

    def operands() -> Operands:
        rows = np.resize(np.random.default_rng(1).integers(0, 256, PERIOD, np.uint8), (many, f))
        return [rows, np.zeros((n, f), np.float32), np.zeros(1, np.int64)]

    def own(rows: Any, x: Any, clock: Any, call: int = 0) -> list[Any]:
        place = call % GRAPH_CALLS
        update = Count(clock, 1, place, call - place)
        data.assemble(x, rows=rows, batch=n, seed=1, update=update, **PIXELS)
        if place == GRAPH_CALLS - 1:
            clock += GRAPH_CALLS  # the device counts by itself where a graph is replayed
        return [x]

    def prepare(rows: Any, x: Any, clock: Any) -> list[Any]:
        floats = rows * np.float32(PIXELS["scale"]) + np.float32(PIXELS["offset"])
        return [floats, random.integers(n, many, seed=1, stream=Stream.BATCH, step=0)]

    def wrong(found: Mapping[str, Results]) -> dict[str, str]:
        """A graph's calls write to one place, where the last is seen."""
        reasons = {}
        for name, results in found.items():
            call = GRAPH_CALLS - 1 if name == "cuda-graph" else 0
            rows, x, clock = operands()
            right = own(rows, x, clock, call)
            reasons[name] = differs(results, summary(right), ELEMENTS)
        return {name: reason for name, reason in reasons.items() if reason}

    return Operation(
        "batch_sampling",
        f"{n}x{f}",
        {"batch": n, "features": f, "samples": many},
        5 * n * f,
        2 * n * f,
        operands,
        own,
        ELEMENTS,
        Rival("batch", prepare, "special"),
        counted=True,
        inputs="fresh",
        wrong=wrong,
    )
