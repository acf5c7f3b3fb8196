"""Seconds of training until samples are good: steps per second times what a step brings, ours and PyTorch's.

One idea: both train the same recipe from the same start, and a judge outside the clock looks at samples every so many
steps: the Frechet distance of a small classifier's features (`scores`), and whether every class is there. One judge
looks at all seeds and engines. What is to be reached is fixed (`GOALS`), above the floor, which is what real samples
score. How many steps it takes differs from seed to seed, so there are three of them, and the file has each. The
engines take turns, slice by slice, so that whatever disturbs the machine disturbs both.

PyTorch is eager here, as most people run it. Compiling is in `first`, and in the clock of neither.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import fastgan as fg
from fastgan.benchmarks import classifier, turns
from fastgan.benchmarks.columns import Column
from fastgan.benchmarks.quality_runs import Course, Goal, Run
from fastgan.benchmarks.results import OUT_OF_TIME
from fastgan.benchmarks.scores import Judge, judge
from fastgan.data import Dataset, mnist
from fastgan.data.digits import digits
from fastgan.errors import DataError

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

SUITE = "quality-time"
# The digits: twice the floor (0.41), where the score begins to level off (0.4 to 0.6 after 2,500 steps); about 1,000
# steps. MNIST: 50 and 40 times the floor (0.48), where a part of the samples can be read, of keras-mlp among stray
# dots, and its rarest digit may not be there: about 1,800 and 500 steps, 14 s on two cores, where 2 to 4 times the
# floor takes minutes. Noise scores over 40, and one class alone 56 or more.
GOALS = {
    "digits": Goal(threshold=0.85, n=898, every=50, limit=25.0),
    "keras-mlp": Goal(threshold=25.0, n=2000, every=200, limit=45.0, missing=1),
    "wgan-gp-mlp": Goal(threshold=20.0, n=2000, every=50, limit=45.0),
}
# recipes, seeds, and what of a goal is otherwise; tiny: one look
SIZES: dict[str, tuple[tuple[str, ...], tuple[int, ...], dict[str, Any]]] = {
    "full": (tuple(GOALS), (1, 2, 3), {}),
    "quick": (("digits",), (1,), {"limit": 9.0}),
    "tiny": (("digits",), (1,), {"every": 4, "steps": 4, "limit": 5.0}),
}
TINY_UPDATES = 20  # of its classifier
OWN = ("cuda-graph", "cpu-kernels")  # ours is the first of these that is there
PEER = "torch"
LEAST = 3.0  # seconds, in which none can be ready
ANSWER = 120.0  # seconds after which a process is taken to hang
NO_MNIST = (
    "MNIST not found: {} left out of quality-time; set FASTGAN_DATA to a folder with its files, "
    "or run `fastgan train keras-mlp` once, which downloads them"
)


def keys(size: str) -> Iterator[str]:
    """What the races are called."""
    names, seeds, _ = SIZES[size]
    return (f"{SUITE}/{name}/seed {seed}" for name in names for seed in seeds)


def rows(bench: "Bench") -> Iterator["Row"]:
    """A row per recipe, seed and engine; where time runs out, all recipes have some seeds."""
    columns = [bench.columns[name] for name in contestants(bench.columns)]
    if not columns:
        return
    names, seeds, changes = SIZES[bench.size]
    wanted = {name: [seed for seed in seeds if bench.asked(f"{SUITE}/{name}/seed {seed}")] for name in names}
    if bench.left() < LEAST:  # a judge, who takes seconds to make, would have nothing to judge
        late = [(n, s, c.name) for n, own in wanted.items() for s in own for c in columns]
        yield from (bench.row(SUITE, n, f"seed {s}", c, error=OUT_OF_TIME) for n, s, c in late)
        return
    ready = list(judged(bench, [name for name in names if wanted[name]]))
    for seed in seeds:
        for name, dataset, looks in ready:
            if seed in wanted[name]:
                goal = replace(GOALS[name], **changes)
                yield from raced(bench, name, seed, columns, dataset, looks, goal)


def contestants(columns: Container[str]) -> list[str]:
    """Who trains: the best of ours that can run here, and PyTorch."""
    return [name for name in OWN if name in columns][:1] + [name for name in (PEER,) if name in columns]


def judged(bench: "Bench", names: list[str]) -> Iterator[tuple[str, Dataset, Judge]]:
    """The recipes with their data and the judge of these, who is made once; a note where there is no MNIST."""
    found: dict[str, tuple[Dataset, Judge]] = {}
    for name in names:
        data = fg.recipes[name].data
        try:
            dataset, looks = found[data] = found.get(data) or _judge(bench, name)
        except DataError:
            bench.note(NO_MNIST.format(" and ".join(n for n in names if fg.recipes[n].data == "mnist")))
            return
        yield name, dataset, looks


def mnist_here() -> Dataset:
    """MNIST's training images with labels; never downloaded: DataError where they are not there."""
    return mnist.load_collection("mnist", "train", None, download=False)


def score_name(looks: Judge) -> str:
    """What the score is, in words."""
    right = f"accuracy {looks.classifier.accuracy:.1%}".replace("%", " %")
    return f"Frechet distance of {looks.real.mean.size} features of a classifier ({right})"


@dataclass
class Entrant:
    """One column's training, seen from here."""

    row: "Row"
    course: Course
    worker: turns.Worker

    @property
    def on(self) -> bool:
        """Whether it goes on."""
        return "error" not in self.row and not self.course.over

    def call(self, bench: "Bench", method: str) -> Any:
        """The answer of its process, or None: then the row has the reason, and nobody waits for it any more."""
        try:
            return self.worker.call(min(ANSWER, bench.left()), method)
        except turns.LostError as reason:
            self.row["error"] = OUT_OF_TIME if bench.left() <= 0 else str(reason)
            return None


def raced(
    bench: "Bench", name: str, seed: int, columns: list[Column], dataset: Dataset, looks: Judge, goal: Goal
) -> list["Row"]:
    """The rows of one recipe and seed: a process per column, which take turns slice by slice until all are over."""
    recipe = fg.recipes[name]
    shape = {"batch": recipe.batch, "critic updates": recipe.critic_steps, "n": goal.n}
    entrants = [
        Entrant(
            bench.row(SUITE, name, f"seed {seed}", column.name, shape=shape),
            Course(goal, looks.classifier.classes, recipe.steps),
            turns.Worker(Run, name, column, seed, dataset, looks, goal.every),
        )
        for column in columns
    ]
    if bench.left() < LEAST:
        return [entrant.row | {"error": OUT_OF_TIME} for entrant in entrants]
    try:
        for entrant in entrants:
            entrant.row["first"] = entrant.call(bench, "begin")
        for number in count():
            if not (racing := [entrant for entrant in entrants if entrant.on]):
                break
            first = number % len(racing)
            for entrant in racing[first:] + racing[:first]:
                if look := entrant.call(bench, "look"):
                    entrant.course.looks.append(look)
    finally:
        for entrant in entrants:
            entrant.worker.end()
    told = {"seed": seed, "score_name": score_name(looks), "threshold": goal.threshold, "floor": looks.floor}
    told |= {"n": goal.n, "every": goal.every, "limit": goal.limit}
    return [_told(bench, entrant, told) for entrant in entrants]


def _told(bench: "Bench", entrant: Entrant, told: dict[str, Any]) -> "Row":
    """A row with what its training came to."""
    row = entrant.row
    if "error" not in row:
        row["extra"] = told | entrant.course.told()
        reached, steps = row["extra"]["reached"], entrant.course.steps
        said = f"not reached in {steps} steps" if reached is None else f"reached in {reached:.1f} s"
        bench.said(f"{row['group']}, {row['case']}, {row['column']}: {said}")
    return row


def _judge(bench: "Bench", name: str) -> tuple[Dataset, Judge]:
    dataset = digits() if fg.recipes[name].data == "digits" else mnist_here()
    trained = classifier.train(dataset, updates=TINY_UPDATES if bench.size == "tiny" else None)
    looks = judge(dataset, trained, GOALS[name].n)
    bench.said(f"{dataset.name}: {score_name(looks)}; real against real {looks.floor:.2f}")
    return dataset, looks
