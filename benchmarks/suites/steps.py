"""Whole training steps: every recipe in every column, from equal starts; what a step launches, and the first call.

A step is the recipe's critic updates and its generator update(s), on images that lie on the device. Columns of fastgan
train by `fit`, as its users do, and must agree with array code over their first steps, the last of which are made like
those that are timed. A peer starts from fastgan's own parameters and must make the same images, the same scores, and
about the same way in its first steps (`peers.disagreement`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import fastgan as fg
from fastgan.benchmarks import launches, peers
from fastgan.benchmarks.cases import AbsentError, Case, Results, Work
from fastgan.benchmarks.columns import OWN, Column
from fastgan.benchmarks.results import OUT_OF_TIME, reason
from fastgan.benchmarks.training import Fit, Stepped, images_for, is_dense, narrow, peer, same_image

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

QUICK = ("keras-mlp", "toy-mlp", "wgan-gp-mlp", "cs231n-dcgan")
PEERS_IN_QUICK = ("cpu-kernels", "cuda-graph", "numpy", "torch", "torch-graph", "jax")
# batches for the CPU, where a step of the recipe's own takes 4, 9 and 26 s; measured last
SMALL = {"hs-wgan": 16, "dcgan64": 8, "shekkizh-wgan": 4}
TINY_BATCH = 4
AGREE = 0.05  # relative and absolute, of our own columns' losses over the first steps: sums in another order
ARRAY_CODE = ("numpy",)
CPU = ("numpy", "cpu-kernels")


def cases(size: str) -> list[Case]:
    """A case per recipe, those with peers first; large recipes have one of a smaller batch for the CPU."""
    names = sorted(fg.recipes, key=lambda name: (name not in peers.ALL, name in SMALL))
    out = []
    for name in QUICK if size == "quick" else names:
        if name in SMALL and size != "tiny":
            out.append(
                case(name, fg.recipes[name].replace(batch=SMALL[name]), f"{name}, batch {SMALL[name]}", CPU)
            )
            out.append(case(name, fg.recipes[name], name, tuple(c for c in OWN if c not in CPU)))
            continue
        recipe = tiny(name) if size == "tiny" else fg.recipes[name]
        columns = () if name in peers.ALL else tuple(OWN)  # nobody else is asked for what no peer has
        out.append(case(name, recipe, name, PEERS_IN_QUICK if size == "quick" else columns))
    return out


def tiny(name: str) -> fg.Recipe:
    """A recipe for a few samples; with narrow networks where no peer has to have the same."""
    recipe = fg.recipes[name].replace(batch=TINY_BATCH)
    if name in peers.ALL:
        return recipe
    few = {"warmup_critic_steps": 3, "warmup_steps": 1} if recipe.warmup_critic_steps else {}
    return recipe.replace(generator=narrow(recipe.generator), critic=narrow(recipe.critic), **few)


def case(name: str, recipe: fg.Recipe, title: str, columns: tuple[str, ...]) -> Case:
    """The step of one recipe, which peers know as `name`."""
    return Case(
        suite="steps",
        group=name,
        name=title,
        make=lambda column: made(name, recipe, column),
        wrong=lambda found: wrong(name, found),
        shape={"batch": recipe.batch, "critic updates": recipe.critic_steps},
        columns=columns,
        counted=lambda: (launches.floor(recipe), launches.flops(recipe)),
    )


def made(name: str, recipe: fg.Recipe, column: Column) -> Work:
    """The recipe in one column."""
    if column.own:
        slow = not is_dense(recipe.critic) and recipe.critic == fg.recipes[name].critic
        if slow and column.name in ARRAY_CODE:
            raise AbsentError("array code takes seconds for a step with convolutions")
        return Started(recipe, column) if name in peers.ALL else Fit(recipe, images_for(recipe), column)
    if not peers.runs(column.module, name):
        raise AbsentError("no peer is written for this recipe")
    return StartedPeer(name, recipe, column)


class Started(Fit):
    """fastgan's step where there are peers: what they are held against is taken from its first steps."""

    def __init__(self, recipe: fg.Recipe, column: Column) -> None:
        super().__init__(recipe, same_image(), column)

    def first(self) -> Results:
        """What `peers.trainer_facts` says, then the losses of more steps of `fit`."""
        with self.column.switched():
            facts = peers.trainer_facts(self.trainer)
        return [*facts, *super().first()]


class StartedPeer(Stepped):
    """A peer's step, from the parameters that fastgan starts with."""

    def __init__(self, name: str, recipe: fg.Recipe, column: Column) -> None:
        setting = replace(peers.ALL[name], batch=recipe.batch)
        super().__init__(peer(setting, same_image(), column), column)
        self.peer.start(*peers.start_like(fg.Trainer(recipe, same_image(recipe.batch), device="cpu")))

    def first(self) -> Results:
        """What `peers.peer_facts` says."""
        return [*peers.peer_facts(self.peer), *super().first()]


def wrong(name: str, found: Mapping[str, Results], *, resized: bool = False) -> dict[str, str]:
    """Columns that do not agree with the first one of fastgan, which is array code where that runs.

    `resized`: the networks are the recipe's in another size.
    """
    reasons: dict[str, str] = {}
    own = [column for column in found if column in OWN]
    if not own:
        return reasons
    reference = found[own[0]]
    for column, results in found.items():
        if reason := _not_finite(results):
            reasons[column] = reason
        elif column in OWN and (reason := _losses_differ(results[-1][:-2], reference[-1][:-2])):
            reasons[column] = f"{reason}, those of {own[0]}"
        elif name in peers.ALL and (reason := _facts_differ(reference, results, name, resized)):
            reasons[column] = reason
    return reasons


def _losses_differ(losses: Any, wanted: Any) -> str:
    """Why the losses (2 n,) of the first steps are others, or ""; one column may have made fewer of them."""
    n = min(len(losses), len(wanted))
    gaps = np.abs(losses[:n] - wanted[:n]) / (1 + np.abs(wanted[:n]))
    step = int(gaps.argmax()) // 2
    place = slice(2 * step, 2 * step + 2)
    return "" if gaps.max() <= AGREE else f"losses {losses[place]} in step {step}, wanted {wanted[place]}"


def _facts_differ(reference: Results, results: Results, name: str, resized: bool) -> str:
    facts = _facts(results)
    facts[4] = facts[4][:4]  # without the batch, which peers do not tell
    return peers.disagreement(_facts(reference), facts, name, resized=resized)


def _facts(results: Results) -> Results:
    """Without the losses of `first`, and without the sums that `cases.summary` adds."""
    return [x[:-2] for x in results[:-1]]


def _not_finite(results: Results) -> str:
    bad = [i for i, x in enumerate(results) if not np.isfinite(x).all()]
    return f"results {bad} are not finite" if bad else ""


def rows(bench: "Bench") -> Iterator["Row"]:
    """Steps that peers have too, where the speed comes from, the first two minutes, what is launched, other steps."""
    from fastgan.benchmarks.suites import ideas, startup

    found = cases(bench.size)
    beside = [case for case in found if case.group in peers.ALL]
    with bench.within(0.4 if len(beside) < len(found) else 0.8):  # a ratio needs more rounds than a time
        yield from against_peers(bench, beside)
    with bench.within(0.25):
        yield from ideas.rows(bench)
    if bench.asked(f"startup/{startup.RECIPES[bench.size]}"):
        with bench.within(0.45):
            yield from startup.rows(bench)
    for case in found:
        wanted = bench.wants(case) or bench.asked(f"launches/{case.group}/a step")
        if case.name == case.group and wanted and bench.left() > 0:
            yield from counted(bench, case.group)
    yield from bench.each(case for case in found if case.group not in peers.ALL)


def against_peers(bench: "Bench", found: list[Case]) -> Iterator["Row"]:
    """Cases in all columns; in size "quick" before that in fastgan's, for a busy machine may never have peers ready."""
    if bench.size == "quick":
        own = [replace(case, columns=tuple(c for c in case.columns if c in OWN)) for case in found]
        yield from bench.each(own)
        if set(bench.columns) <= set(OWN):
            return
    for row in bench.each(found):
        if bench.size != "quick" or row["column"] not in OWN or reason(row) != OUT_OF_TIME:
            yield row  # of a column the last row counts


def keys(size: str) -> Iterator[str]:
    """What steps, rungs of the ladder and starts are called."""
    from fastgan.benchmarks.suites import ideas, startup

    yield from ideas.keys(size)
    yield f"startup/{startup.RECIPES[size]}"
    for case in cases(size):
        yield from (case.key, f"launches/{case.group}/a step")


def counted(bench: "Bench", name: str) -> Iterator["Row"]:
    """What a step launches on a GPU with array code and with kernels, and how many bytes go through; needs no GPU."""
    recipe = fg.recipes[name]
    if bench.size == "quick" and not is_dense(recipe.critic):
        return  # takes seconds
    for column, kernels in (("cupy", False), ("cuda-kernels", True)):
        if column not in bench.named or (not kernels and not is_dense(recipe.critic)):
            continue  # with convolutions the stand-in for array code would compute all of them
        rows = launches.count(recipe, kernels=kernels)
        moved = sum(row.read + row.written for row in rows)
        extra = {"bytes": moved, "floor_bytes": launches.floor(recipe), "how": "counted without a GPU"}
        many = sum(row.launches for row in rows)
        yield bench.row("launches", name, "a step", column, launches=many, extra=extra)
