"""Every kind of run, the same promises: it trains, repeats, goes on after a load, and is the same on a device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import same
from fakes.cuda import standing_in
from tables.runs import RUNS
from tiny import SIDES, arrays

import fastgan as fg
from fastgan.gan.batches import UNROLL
from fastgan.gan.replay import WARMUP

each = pytest.mark.parametrize("name", RUNS)


def trainer_of(name: str, changes: dict[str, Any] | None = None, **settings: Any) -> fg.Trainer:
    recipe, data = RUNS[name]
    return fg.Trainer(recipe.replace(**changes or {}), data, **{"device": "cpu", "seed": 3, **settings})


class Seen(fg.Callback):
    """The steps at which callbacks are called, and what was logged."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.logs: list[dict[str, Any]] = []

    def on_step(self, trainer: fg.Trainer) -> None:
        self.steps.append(trainer.steps_done)

    def on_log(self, trainer: fg.Trainer, metrics: dict[str, Any]) -> None:
        self.logs.append(metrics)


@each
def test_it_trains_and_says_what_its_objective_measures(name: str) -> None:
    trainer, seen = trainer_of(name, {"log_every": 2}), Seen()
    before, recipe = arrays(trainer), trainer.recipe
    after = arrays(trainer.fit(4, [seen]))
    assert [m["step"] for m in seen.logs] == ([1, 3, 4] if recipe.log_first else [2, 4])
    assert all(np.isfinite(list(m.values())).all() for m in seen.logs)
    weights = [k for k in after if k.startswith(SIDES) and k.endswith("weight")]
    assert [k for k in weights if (after[k] == before[k]).all()] == []
    wasserstein, logged = recipe.objective.startswith("wasserstein"), seen.logs[0]
    assert ("wasserstein" in logged, "penalty" in logged) == (
        wasserstein,
        recipe.objective == "wasserstein-gp",
    )
    assert "accuracy" not in logged or not wasserstein
    assert trainer.sample(3).shape == (3, *trainer.form.shape)


class StopAt(Seen):
    """Ends a run early; its schedule is that of the whole run."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_step(self, trainer: fg.Trainer) -> None:
        trainer.stop_wanted = trainer.steps_done == self.step


# within and around warm-up steps too: those are the first two, the 11th and so on
STOPS = [(name, 2, 3) for name in RUNS] + [
    (n, k, 13) for n in RUNS if n.startswith("warm") for k in (1, 10, 11)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stop", "steps"), STOPS)
def test_a_resumed_run_has_the_bits_of_one_that_was_not_stopped(
    name: str, stop: int, steps: int, tmp_path: Path
) -> None:
    whole = trainer_of(name, {"steps": steps}).fit()
    half = trainer_of(name, {"steps": steps}).fit(callbacks=[StopAt(stop)])
    half.save(tmp_path / "a.safetensors")
    again = fg.load(tmp_path / "a.safetensors", RUNS[name][1], device="cpu")
    assert (again.recipe, again.steps_done) == (half.recipe, stop)
    assert again.sample(4).tobytes() == half.sample(4).tobytes()
    assert same(arrays(again.fit()), arrays(whole))
    assert again.sample(4).tobytes() == whole.sample(4).tobytes()
    assert trainer_of(name, seed=4).sample(4).tobytes() != trainer_of(name).sample(4).tobytes()


@pytest.mark.slow
@each
def test_on_device_arrays_array_code_gives_the_bits_of_the_cpu(name: str) -> None:
    with fg.use_kernels(False):
        here = trainer_of(name).fit(2)
        with standing_in():
            import cupy

            there = trainer_of(name, device="cuda", capture=False).fit(2)
            got = arrays(there)
            assert isinstance(there.generator.parameters()[0].data, cupy.ndarray)
            assert isinstance(there.batches.rows, cupy.ndarray)
            assert (there.sample(4, seed=9) == here.sample(4, seed=9)).all()
    assert same(got, arrays(here))


@pytest.mark.slow
@each
def test_a_captured_run_keeps_the_counters_and_logs_of_an_eager_one(name: str) -> None:
    """Nothing of it is read on the host, every operand is one that kernels take; several steps go at once."""
    runs, around_warm_ups = [], 1 + (RUNS[name][0].warmup_critic_steps > 0)
    steps = WARMUP + around_warm_ups * UNROLL + 4
    changes = {"log_every": 11, "sample_every": 30, "checkpoint_every": 1000}
    with standing_in(kernels_compute=False), np.errstate(all="ignore"):
        for capture in (True, False):
            trainer, seen = trainer_of(name, changes, device="cuda", capture=capture), Seen()
            trainer.fit(steps, [seen])
            counted = trainer.critic_optimizer.steps, trainer.generator_optimizer.steps
            runs.append((counted, trainer.steps_done, [m["step"] for m in seen.logs]))
            if capture:
                assert trainer.replay.possible
                constant = trainer.recipe.optimizer.schedule == "constant"
                assert set(trainer.replay.recordings) <= {1, UNROLL}
                assert max(np.diff([0, *seen.steps])) == (UNROLL if constant else 1)
                assert {m["step"] for m in seen.logs} <= set(seen.steps)
    assert runs[0] == runs[1]
    assert runs[0][1] == steps
