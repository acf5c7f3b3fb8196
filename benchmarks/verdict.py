"""What a run says in words: how fast this machine trains a GAN, against what, how sure that is, and what limits it.

One idea: the sentences are a function of the rows of suite "steps" on the best device that has any, so that the
terminal, the report and the README say the same.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from fastgan.benchmarks.plots import number
from fastgan.benchmarks.results import WHERE, Ratio, Results, Row, against, case_rows, ours, title

OTHERS = {  # what fastgan is held against, as people call it
    "numpy": "array code",
    "cupy": "array code",
    "torch": "PyTorch",
    "torch-compiled": "torch.compile",
    "torch-graph": "PyTorch graph",
    "jax": "JAX",
    "autograd": "HIPS autograd",
}
LIMITS = {"gemm": "matrix products and convolutions", "copy": "memory traffic"}
WORDS = ("faster", "probably faster", "no difference", "probably slower", "slower")
NAMED = 4  # recipes whose speed is said
HOST = 0.9  # of a step's time on a GPU: who spends more on asking is limited by that


class Step(NamedTuple):
    """One recipe's step on one device: fastgan's row as it runs there, and all that have a time there, by column."""

    name: str
    own: Row
    rows: dict[str, Row]

    @property
    def ratios(self) -> dict[str, Ratio]:
        """fastgan's time over that of others, by column."""
        found = {name: against(self.own, row) for name, row in self.rows.items() if row is not self.own}
        return {name: found[name] for name in OTHERS if found.get(name)}  # type: ignore[misc]


def steps(results: Results) -> list[Step]:
    """The recipes that were timed, in the order of the file, on the GPU if any were timed there."""
    for device in WHERE:
        found = []
        for _, rows in case_rows(results, suite="steps"):
            there = {name: row for name, row in rows.items() if row["device"] == device and row["seconds"]}
            if own := ours(there, device):
                found.append(Step(title(own), own, there))
        if found:
            return found
    return []


def sentences(results: Results) -> list[str]:
    """At most four, or one that says what is missing."""
    found = steps(results)
    if not found:
        return ["No training step was timed in this run."]
    return [line for line in (pace(found), beside(found), sure(found, results), limits(found)) if line]


def pace(found: Sequence[Step]) -> str:
    """How fast."""
    rates = [f"{number(1 / s.own['seconds']['median'])} with {s.name}" for s in found[:NAMED]]
    return f"Training steps a second: {', '.join(rates)}."


def beside(found: Sequence[Step]) -> str:
    """Against what: medians over the recipes that both have."""
    ratios = {name: [step.ratios[name] for step in found if name in step.ratios] for name in OTHERS}
    said = [f"{median(r.median for r in own):.2f} of {OTHERS[name]}'s" for name, own in ratios.items() if own]
    if not said:
        return "Nothing that does the same was timed beside it."
    first, *rest = said
    more = "".join(f", {other}" for other in rest)
    return f"A training step takes {first} time{more} (medians over recipes; below 1 fastgan is faster)."


def sure(found: Sequence[Step], results: Results) -> str:
    """How sure."""
    words = Counter(ratio.verdict for step in found for ratio in step.ratios.values())
    counts = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    said = [f"How sure: of {words.total()} comparisons of one step, {counts}."] if counts else []
    if results["selftest"].get("passed") is False:
        said.append("The machine was busy: spreads are wide, and small differences mean nothing.")
    return " ".join(said)


def limits(found: Sequence[Step]) -> str:
    """What limits a step: the host of a GPU that cannot keep up, else the ceiling under it."""
    host = [
        step
        for step in found
        if step.own["device"] == "cuda"
        and step.own["seconds"]["asking"] > HOST * step.own["seconds"]["median"]
    ]
    if 2 * len(host) > len(found):
        return "What limits it: the host, which asks for work more slowly than the GPU does it."
    said = []
    for kind, words in LIMITS.items():
        if own := [s.own["percent"] for s in found if s.own["ceiling"] == kind and s.own["percent"]]:
            # more than all of it: the rate was measured while others used the machine
            rate = f", at {median(own):.0f} % of this machine's best" if median(own) <= 100 else ""
            said.append(f"{words} in {len(own)} of {len(found)} recipes{rate}")
    return f"What limits it: {'; '.join(said)}." if said else ""
