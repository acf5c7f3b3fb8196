"""Seconds of training until samples are good: steps per second times what a step brings, ours and PyTorch's.

One idea: both train the same recipe from the same start, and a judge outside the clock looks at samples every so many
steps: the Frechet distance of a small classifier's features (`scores`), and whether every class is there. One judge
looks at all seeds and engines. What is to be reached is fixed (`GOALS`), above the floor, which is what real samples
score. How many steps it takes differs from seed to seed, so there are three of them, and the file has each.

PyTorch is eager here, as most people run it. Compiling is in `first`, and in the clock of neither.
"""

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import fastgan as fg
from fastgan.benchmarks import classifier, turns
from fastgan.benchmarks.quality_runs import Goal, Run
from fastgan.benchmarks.results import OUT_OF_TIME
from fastgan.benchmarks.scores import Judge, judge
from fastgan.data import Dataset, mnist
from fastgan.data.digits import digits
from fastgan.errors import DataError

if TYPE_CHECKING:
    from fastgan.benchmarks.bench import Bench, Row

SUITE = "quality-time"
# The digits: twice the floor (0.41), where the score begins to level off (0.4 to 0.5 after 2,500 steps); about 1,000
# steps. MNIST: 20 times the floor (0.48), for at 2 to 4 times it these networks need minutes on two cores; about 3,000
# and 600 steps, 20 s. Samples can be read there, those of keras-mlp among stray dots, and all classes are kept; at 30
# or more most cannot, noise scores over 40, and one class alone 56 or more.
GOALS = {
    "digits": Goal(threshold=0.85, n=898, every=50, limit=25.0),
    "keras-mlp": Goal(threshold=10.0, n=2000, every=200, limit=60.0),
    "wgan-gp-mlp": Goal(threshold=10.0, n=2000, every=50, limit=60.0),
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
STARTING = 100.0  # seconds that a process may need beyond its training
NO_MNIST = (
    "MNIST not found: {} left out of quality-time; set FASTGAN_DATA to a folder with its files, "
    "or run `fastgan train keras-mlp` once, which downloads them"
)


def rows(bench: "Bench") -> Iterator["Row"]:
    """A row per recipe, seed and engine; the engines begin in turn."""
    columns = [bench.columns[name] for name in contestants(bench.columns)]
    names, seeds, changes = SIZES[bench.size]
    wanted = {name: [seed for seed in seeds if _asked(bench, name, seed)] for name in names}
    for name, dataset, looks in judged(bench, [name for name in names if wanted[name]]):
        goal = replace(GOALS[name], **changes)
        for number, seed in enumerate(wanted[name]):
            for column in columns if number % 2 == 0 else columns[::-1]:
                yield measured(bench, Run(name, column, seed, dataset, looks, goal))


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
    here, parts = replace(mnist.MNIST, mirrors=()), mnist.MNIST.splits["train"]
    images, labels = (mnist._obtain(here, part, None) for part in parts)
    return Dataset("mnist", images[..., None], labels.astype(np.int64), 0.0, 255.0)


def score_name(looks: Judge) -> str:
    """What the score is, in words."""
    right = f"accuracy {looks.classifier.accuracy:.1%}".replace("%", " %")
    return f"Frechet distance of {looks.real.mean.size} features of a classifier ({right})"


def measured(bench: "Bench", run: Run) -> "Row":
    """The row of one run, made in a process of its own."""
    goal, recipe = run.goal, fg.recipes[run.name]
    shape = {"batch": recipe.batch, "critic updates": recipe.critic_steps, "n": goal.n}
    row = bench.row(SUITE, run.name, f"seed {run.seed}", run.column.name, shape=shape)
    if bench.left() < goal.limit:
        return row | {"error": OUT_OF_TIME}
    worker = turns.Worker(Run, *run.given())
    try:
        found = worker.call(min(STARTING + 2 * goal.limit, bench.left()), "train")
    except turns.LostError as reason:
        return row | {"error": str(reason)}
    finally:
        worker.end()
    told = "not reached" if found["reached"] is None else f"reached in {found['reached']:.1f} s"
    bench.say(f"{run.name}, seed {run.seed}, {run.column.name}: {told}, {found['steps']} steps made")
    extra = {"seed": run.seed, "score_name": score_name(run.judge), "threshold": goal.threshold}
    extra |= {"floor": run.judge.floor, "n": goal.n, "every": goal.every, "limit": goal.limit}
    return row | {"first": found.pop("first"), "extra": extra | found}


def _judge(bench: "Bench", name: str) -> tuple[Dataset, Judge]:
    dataset = digits() if fg.recipes[name].data == "digits" else mnist_here()
    trained = classifier.train(dataset, updates=TINY_UPDATES if bench.size == "tiny" else None)
    looks = judge(dataset, trained, GOALS[name].n)
    bench.say(f"{dataset.name}: {score_name(looks)}; real against real {looks.floor:.2f}")
    return dataset, looks


def _asked(bench: "Bench", name: str, seed: int) -> bool:
    """Whether a run is among the cases that were asked for."""
    return not bench.only or any(text in f"{SUITE}/{name}/seed {seed}" for text in bench.only)
