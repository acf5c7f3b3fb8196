"""Time to quality: looks and their clock, both engines on one recipe, and races end to end."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from bench_judge import HALF
from bench_played import PlayedBench

import fastgan as fg
from fastgan.benchmarks import classifier, peers, quality_runs, turns
from fastgan.benchmarks.columns import COLUMNS, Clock
from fastgan.benchmarks.quality_runs import Course, Goal, Look, Run
from fastgan.benchmarks.results import OUT_OF_TIME
from fastgan.benchmarks.suites import quality_time
from fastgan.benchmarks.training import hidden
from fastgan.data import mnist

pytestmark = pytest.mark.slow

pytest_plugins = ("bench_judge",)  # its fixtures

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: it is not raced against"
)


@pytest.fixture
def one_thread(monkeypatch):
    """PyTorch with one thread, here and in processes: on a busy machine two wait for each other."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the clock and the looks


class PlayedClock(Clock):
    """Waiting for the device takes a second."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wait(self):
        self.time += 1.0


def test_the_clock_runs_from_idle_to_idle_and_not_while_samples_are_judged(digits, judge, images):
    run = Run("digits", COLUMNS["cpu-kernels"], 0, digits, judge, 50)
    clock = run.clock = PlayedClock()
    trained = []

    class Engine:
        def train(self, steps):
            trained.append(steps)
            clock.time += 10.0

        def sample(self, z):
            clock.time += 100.0
            assert z.shape == (HALF, 32)
            return images[:HALF]

    run.engine = Engine()
    found = run.look()
    assert found.seconds == 11.0  # waiting for what was asked for is training
    assert (found.score, found.kept) == judge.score(images[:HALF])
    assert trained == [50]


def course(*given, recipe_steps=1000, **goal):
    """What comes of slices of ten seconds with these scores and classes, until it is over."""
    one = Course(replace(Goal(2.0, 7, 5, 1000.0), **goal), 10, recipe_steps)
    for score, kept in given:
        if one.over:
            break
        one.looks.append(Look(10.0, score, kept))
    return one.told()


def test_a_course_is_told_with_its_seconds():
    found = course((9.0, 10), (1.5, 10), (2.0, 10), (1.0, 10))
    assert found["curve"] == [[10.0, 9.0], [20.0, 1.5], [30.0, 2.0]]
    assert found["slice"] == 10.0
    assert (found["reached"], found["reached_steps"], found["steps"], found["coverage"]) == (20.0, 10, 15, 10)


def test_a_look_that_is_good_by_chance_does_not_count():
    found = course((1.0, 10), (2.1, 10), (1.0, 10), (1.0, 9), (1.0, 10), (1.0, 10), (1.0, 10))
    assert (found["reached"], found["steps"]) == (50.0, 30)


def test_some_classes_may_be_missing_where_the_goal_says_so():
    nine, eight = [(1.0, 9)] * 2, [(1.0, 8)] * 2
    assert course(*nine)["reached"] is None
    assert course(*nine, missing=1)["reached"] == 10.0
    assert course(*eight, missing=1)["reached"] is None


def test_a_run_ends_at_its_limit_or_steps():
    bad = [(9.0, 3)] * 9
    late, short, done = course(*bad, limit=30.0), course(*bad, steps=10), course(*bad, recipe_steps=20)
    assert (late["reached"], late["reached_steps"], late["steps"]) == (None, None, 15)
    assert (short["reached"], short["steps"], short["coverage"]) == (None, 10, 3)
    assert done["steps"] == 20


# --- runs


def test_digits_for_pytorch_are_the_recipe():
    ours, row = fg.recipes["digits"], quality_runs.SETTINGS["digits"]
    assert row.generator == (ours.latent, *hidden(ours.generator), 64)
    assert row.critic == (64, *hidden(ours.critic), 1)
    assert (ours.generator.layers.count("relu"), row.generator_slope) == (2, 0)
    assert ours.critic.layers.count(f"leaky_relu {row.critic_slope}") == 2
    assert (row.batch, row.noise, row.low, row.critic_updates) == (
        ours.batch,
        ours.noise,
        ours.low,
        ours.critic_steps,
    )
    adam = ours.optimizer
    assert (row.lr, row.betas, row.eps) == (adam.lr, (adam.beta1, adam.beta2), adam.eps)
    assert (ours.objective, row.critic_update, row.batch_norm) == ("wasserstein-gp", "penalty", False)
    assert fg.losses.objective(ours.objective).penalty == peers.PENALTY


@needs_torch
def test_pytorch_starts_as_we_do_and_follows_schedule_and_average(digits, one_thread):
    import torch

    recipe = fg.recipes["digits"].replace(steps=10)
    gan = quality_runs.TorchGan(recipe, digits, 5, "cpu")
    trainer = fg.Trainer(recipe, digits, device="cpu", seed=5)
    z = quality_runs.latents(recipe, 40)
    np.testing.assert_allclose(gan.sample(z), trainer.sample(40, latent=z), atol=1e-5)
    weight, rates, mean = gan.gan.generator[0].weight, [], None
    for _ in range(3):
        gan.train(1)
        rates.append(gan.gan.critic_adam.param_groups[0]["lr"])
        now = weight.detach().numpy().copy()
        mean = trainer.generator.parameters()[0].data.T.copy() if mean is None else mean
        mean += 0.005 * (now - mean)
    adams = (gan.gan.generator_adam, gan.gan.critic_adam)
    assert [int(adam.state[adam.param_groups[0]["params"][0]]["step"]) for adam in adams] == [3, 6]
    assert rates == pytest.approx([1e-3 * (1 - 0.9 * k / 10) for k in range(3)])
    assert rates[-1] == gan.gan.generator_adam.param_groups[0]["lr"]
    np.testing.assert_allclose(gan.average[0].weight.detach(), mean, atol=1e-6)
    assert np.abs(now - mean).max() > 1e-4
    assert torch.is_grad_enabled()


@needs_torch
def test_both_engines_come_the_same_way(digits, judge, one_thread):
    """The first steps of one recipe from one start, on other batches."""
    runs = [Run("digits", COLUMNS[name], 1, digits, judge, 40) for name in ("cpu-kernels", "torch")]
    assert all(run.begin() > 0 for run in runs)
    ours, theirs = ([run.look() for _ in range(2)] for run in runs)
    assert [look.score for look in ours] == pytest.approx([look.score for look in theirs], rel=0.15)
    assert all(look.seconds > 0 for look in ours + theirs)


def test_slices_of_ours_are_one_run_of_the_recipe(digits, judge):
    run = Run("digits", COLUMNS["cpu-kernels"], 3, digits, judge, 7)
    run.begin()
    for _ in range(3):
        run.look()
    sliced, whole = run.engine.trainer, fg.Trainer("digits", digits, device="cpu", seed=3)
    assert (sliced.steps_done, sliced.work.horizon) == (21, whole.recipe.steps)
    assert sliced.recipe == whole.recipe.replace(sample_every=7)
    whole.fit(callbacks=[Stop(21)])
    for a, b in zip(sliced.generator.parameters(), whole.generator.parameters(), strict=True):
        assert (a.data == b.data).all()


class Stop(fg.Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_step(self, trainer):
        trainer.stop_wanted = trainer.steps_done == self.steps


@pytest.mark.parametrize("name", ["cpu-kernels", pytest.param("torch", marks=needs_torch)])
def test_tiny_rows(name, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    bench = PlayedBench(columns=("numpy", name))
    (row,) = quality_time.rows(bench)
    assert (row["suite"], row["group"], row["case"], row["column"]) == (
        "quality-time",
        "digits",
        "seed 1",
        name,
    )
    assert "error" not in row
    assert row["seconds"] is None
    assert row["first"] > 0
    extra = row["extra"]
    assert (extra["seed"], extra["threshold"], extra["n"], extra["steps"]) == (1, 0.85, HALF, 4)
    assert extra["reached"] is None
    assert 0 <= extra["coverage"] <= 10
    ((seconds, score),) = extra["curve"]
    assert seconds > 0
    assert score > extra["threshold"]
    assert extra["floor"] > 0
    assert extra["score_name"].startswith("Frechet distance of 64 features of a classifier (accuracy ")
    assert any("not reached in 4 steps" in line for line in bench.lines)


class PlayedWorker:
    """A worker whose slices of a second get better; a text among them is a loss."""

    scores = (9.0, 0.5, 0.4)

    def __init__(self, factory, *arguments):
        assert factory is Run
        self.name, self.seed, self.left = arguments[1].name, arguments[2], iter(self.scores)
        self.calls.append((arguments[0], self.seed, self.name))

    def call(self, seconds, method):
        self.calls.append((self.name, method))
        if method == "begin":
            return 0.1
        found = next(self.left) if self.name == "torch" else next(self.left, 0.3)
        if isinstance(found, str):
            raise turns.LostError(found)
        return Look(1.0, found, 10)

    def end(self):
        self.calls.append((self.name, "end"))


@pytest.fixture
def played(monkeypatch, judge, digits):
    monkeypatch.setattr(turns, "Worker", PlayedWorker)
    monkeypatch.setattr(PlayedWorker, "calls", [], raising=False)
    monkeypatch.setattr(PlayedWorker, "judged", [], raising=False)

    def judging(bench, name):
        PlayedWorker.judged.append(name)
        return digits, judge

    monkeypatch.setattr(quality_time, "_judge", judging)
    return PlayedWorker


def test_engines_take_turns_and_every_process_is_ended(played):
    bench = PlayedBench("quick", ("numpy", "cpu-kernels", "torch", "jax"))
    ours, theirs = quality_time.rows(bench)
    assert (ours["column"], theirs["column"]) == ("cpu-kernels", "torch")
    a, b = "cpu-kernels", "torch"
    assert played.calls[:4] == [("digits", 1, a), ("digits", 1, b), (a, "begin"), (b, "begin")]
    looks = [name for name, method in played.calls[4:] if method == "look"]
    assert looks == [a, b, b, a, a, b]  # who begins changes
    assert played.calls[-2:] == [(a, "end"), (b, "end")]
    assert ours["extra"]["reached"] == theirs["extra"]["reached"] == 2.0
    assert ours["first"] == 0.1
    assert bench.lines[-1] == "digits, seed 1, torch: reached in 2.0 s"


def test_one_that_is_good_waits_for_the_other(played, monkeypatch):
    slow = PlayedWorker.call
    monkeypatch.setattr(
        PlayedWorker,
        "call",
        lambda self, seconds, method: (
            Look(1.0, 9.0, 10) if (self.name, method) == ("torch", "look") else slow(self, seconds, method)
        ),
    )
    ours, theirs = quality_time.rows(PlayedBench("quick", ("cpu-kernels", "torch")))
    assert (ours["extra"]["reached"], ours["extra"]["steps"]) == (2.0, 150)
    assert (theirs["extra"]["reached"], theirs["extra"]["steps"]) == (None, 450)  # nine seconds


def test_all_recipes_are_run_where_there_is_mnist(played):
    rows = list(quality_time.rows(PlayedBench("full", ("cpu-kernels", "cuda-graph"))))
    assert [row["group"] for row in rows] == ["digits", "keras-mlp", "wgan-gp-mlp"] * 3
    assert [row["case"] for row in rows[::3]] == ["seed 1", "seed 2", "seed 3"]
    assert {row["column"] for row in rows} == {"cuda-graph"}
    assert played.judged == ["digits", "keras-mlp"]  # one for each data set


def test_a_run_that_fails_is_one_row_with_its_reason(played, monkeypatch):
    monkeypatch.setattr(PlayedWorker, "scores", (9.0, "its process ended with signal 9"))
    ours, theirs = quality_time.rows(PlayedBench("quick", ("cpu-kernels", "torch"), left=100.0))
    assert (ours["error"], theirs["error"]) == ("its process ended with signal 9",) * 2
    assert ours["extra"] == {}
    assert [method for _, method in played.calls[-2:]] == ["end", "end"]


def test_one_that_fails_does_not_end_the_other(played, monkeypatch):
    monkeypatch.setattr(PlayedWorker, "scores", (9.0, 0.5))
    good, lost = PlayedWorker.call, turns.LostError("no answer in time")

    def call(self, seconds, method):
        if self.name == "torch":
            raise lost
        return good(self, seconds, method)

    monkeypatch.setattr(PlayedWorker, "call", call)
    ours, theirs = quality_time.rows(PlayedBench("quick", ("cpu-kernels", "torch")))
    assert theirs["error"] == "no answer in time"
    assert "error" not in ours
    assert ours["extra"]["reached"] == 2.0


def test_time_that_runs_out_is_nobodys_fault(played, monkeypatch):
    bench = PlayedBench("quick", ("cpu-kernels",), left=20.0)

    def call(self, seconds, method):
        assert seconds == 20.0
        bench.seconds -= 20.0
        raise turns.LostError("no answer in time")

    monkeypatch.setattr(PlayedWorker, "call", call)
    (row,) = quality_time.rows(bench)
    assert row["error"] == OUT_OF_TIME


def test_without_engines_there_is_nothing_to_judge(played):
    assert list(quality_time.rows(PlayedBench("full", ("numpy", "jax")))) == []
    assert played.judged == []


def test_without_time_nothing_is_begun(played):
    bench = PlayedBench("quick", ("cpu-kernels", "torch"), left=2.0)
    assert [row["error"] for row in quality_time.rows(bench)] == [OUT_OF_TIME] * 2
    assert not [call for call in played.calls if call[1] == "begin"]


def test_only_some_cases_may_be_asked_for(played):
    both = ("cpu-kernels", "torch")
    assert list(quality_time.rows(PlayedBench("full", both, only=("dcgan",)))) == []
    some = list(quality_time.rows(PlayedBench("full", both, only=("digits/seed 2",))))
    assert [(row["group"], row["case"]) for row in some] == [("digits", "seed 2")] * 2


def test_without_mnist_there_is_a_line_and_no_download(played, monkeypatch, tmp_path, digits, judge):
    pytest.importorskip("pooch", reason="pooch is not installed: there is no cache to look in")
    monkeypatch.setenv("FASTGAN_DATA", str(tmp_path))
    monkeypatch.setattr(mnist, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr("pooch.create", lambda *a, **k: pytest.fail("a download was begun"))

    def found(bench, name):
        return (digits, judge) if name == "digits" else quality_time.mnist_here()

    monkeypatch.setattr(quality_time, "_judge", found)
    bench = PlayedBench("full", ("cpu-kernels",))
    assert [row["group"] for row in quality_time.rows(bench)] == ["digits"] * 3
    (line,) = bench.notes
    assert line.startswith("MNIST not found: keras-mlp and wgan-gp-mlp left out")
    assert "FASTGAN_DATA" in line
    assert "\n" not in line


def test_goals_fit_the_data():
    assert 2 * quality_time.GOALS["digits"].n <= 1797
    for name, goal in quality_time.GOALS.items():
        assert goal.n > classifier.FEATURES
        assert fg.recipes[name].name in quality_runs.SETTINGS
