"""The operations of the suite of kernels that change state: optimizers, random numbers, and batches drawn from data.

One idea: as in `kernel_operations`, but each is held to what it leaves behind: the step that parameters made, the rows
that were drawn, and of random numbers of peers, whose bits are their own, that they are normal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgan import optim, random
from fastgan.benchmarks.cases import Results, against, differs, summary
from fastgan.benchmarks.columns import OWN
from fastgan.benchmarks.kernel_operations import ELEMENTS, PERIOD, normal, repeated
from fastgan.benchmarks.operations import GRAPH_CALLS, Operands, Operation, Wrong, largest_cache, reference
from fastgan.benchmarks.peer_kernels import Rival
from fastgan.clock import Count
from fastgan.device import cuda_problem
from fastgan.dispatch import use_kernels
from fastgan.gan import batches
from fastgan.random import Stream

ADAM = {"lr": 1e-2, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 1e-2, "alpha": 0.9, "eps": 1e-8}
PIXELS = {"scale": 2 / 255, "offset": -1.0}
DRAW: dict[str, Any] = {"seed": 1, "stream": int(Stream.NOISE), "step": 0}


def count(p: int) -> str:
    """A number for a name: 1e6."""
    exponent = len(str(p)) - 1
    return f"1e{exponent}" if p == 10**exponent else str(p)


def parameters(p: int) -> NDArray[Any]:
    """Such as networks have."""
    return normal(p, 1, 0.02)


def squares(p: int) -> NDArray[Any]:
    """Means of squared gradients."""
    return repeated(np.float32(0.01) + normal(min(p, PERIOD), 4, 0.1) ** 2, p)


def moved(found: Sequence[Any]) -> list[Any]:
    """The step that `parameters` made, which is small beside them, and the state."""
    step = np.array(found[0])
    start = parameters(min(step.size, PERIOD))
    for i in range(0, step.size, PERIOD):
        step[i : i + PERIOD] -= start[: step.size - i]
    return [step, *found[1:]]


def by_period(make: Callable[[int], Operation], p: int) -> Wrong | None:
    """Holds results of large operands, which repeat themselves as those do, against the results of one period."""

    def right() -> list[Any]:
        return [repeated(x, p) for x in reference(make(PERIOD))]

    return against(right, ELEMENTS) if p > PERIOD else None


def adam(p: int) -> Operation:
    """The second step of Adam. Of the largest, columns with gigabytes of temporary arrays are left out on a CPU: to get
    that memory from the system takes seconds a call, and 1e7 tells the same.
    """

    def own(p: Any, g: Any, m: Any, v: Any) -> list[Any]:
        optim.adam_update(p, g, m, v, t=2, **ADAM)
        return [p, m, v]

    return Operation(
        "adam",
        count(p),
        {"parameters": p},
        28 * p,
        13 * p,
        lambda: [parameters(p), normal(p, 2, 0.1), normal(p, 3, 0.1), squares(p)],
        own,
        ELEMENTS,
        Rival("adam", lambda *operands: operands, "special", ADAM),
        fresh=True,
        compiled=p == 10**6,
        finished=moved,
        without=("numpy", "autograd", *["jax"] * bool(cuda_problem())) if p >= 10**8 else (),
        wrong=by_period(adam, p),
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
        lambda: [parameters(p), normal(p, 2, 0.1), squares(p)],
        own,
        ELEMENTS,
        Rival("rmsprop", lambda *operands: operands, "special", RMSPROP),
        fresh=True,
        finished=moved,
        wrong=by_period(rmsprop, p),
    )


def noise(p: int) -> Operation:
    """Normal numbers in place. Ours are compared number by number, a peer's by mean, size and variance."""

    def own(out: Any) -> list[Any]:
        random.fill_normal(out, **DRAW)
        return [out]

    def wrong(found: Mapping[str, Results]) -> dict[str, str]:
        with use_kernels(False):
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
        without=("numpy",) if p >= 10**7 else (),  # half a second a call
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
        batches.assemble(x, rows=rows, batch=n, seed=1, update=update, **PIXELS)
        if place == GRAPH_CALLS - 1:
            clock += GRAPH_CALLS  # the device counts by itself where a graph is replayed
        return [x]

    def prepare(rows: Any, x: Any, clock: Any) -> list[Any]:
        floats = rows * np.float32(PIXELS["scale"]) + np.float32(PIXELS["offset"])
        return [floats, random.integers(n, many, seed=1, stream=Stream.BATCH, step=0)]

    def wrong(found: Mapping[str, Results]) -> dict[str, str]:
        """A graph's calls write to one place, where the last is seen."""
        reasons, first = {}, operands()
        for name, results in found.items():
            call = GRAPH_CALLS - 1 if name == "cuda-graph" else 0
            with use_kernels(False):
                right = own(first[0], first[1], first[2].copy(), call)
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
