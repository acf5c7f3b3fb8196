"""The ladder from the tutorial's code to fastgan's: all rungs make the same steps, and each lacks what is above it."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.cuda import counting, ndarray, standing_in

import fastgan as fg
from fastgan import dispatch, optim
from fastgan.benchmarks import article
from fastgan.benchmarks.cases import summary
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import find, ideas
from fastgan.benchmarks.training import FIRST
from fastgan.gan.networks import build

pytestmark = pytest.mark.slow

LADDER = ("plain", "tape", "fused", "flat Adam")
ON_CPU = [
    ("plain", "numpy"),
    ("tape", "numpy"),
    *[(n, "cpu-kernels") for n in ("fused", "flat Adam", "as trained")],
]


def work_of(network, name, column, size="tiny"):
    case = find(f"ideas/{network}/{name}", size)
    assert column in case.columns
    return case, case.make(COLUMNS[column])


def wrong(network="toy-mlp", name="plain", column="numpy"):
    """Why the results of a rung would not be timed, or ""."""
    case, work = work_of(network, name, column)
    return case.wrong({column: summary(work.first())}).get(column, "")


# --- all rungs make the same steps


@pytest.mark.parametrize("network", ideas.NETWORKS)
@pytest.mark.parametrize(("name", "column"), ON_CPU)
def test_every_rung_gives_the_costs_of_float64(network, name, column):
    assert wrong(network, name, column) == ""


@pytest.mark.parametrize(("name", "column"), ON_CPU)
def test_every_rung_can_be_timed_and_goes_on_training(name, column):
    _, work = work_of("toy-mlp", name, column)
    work.first()
    chunks = work.turn(2, 0.0)
    assert len(chunks) == 1
    assert all(seconds > 0 for seconds in chunks[0][:2])


@pytest.mark.parametrize("name", ["fused", "flat Adam", "as trained"])
def test_a_mistake_in_fastgan_is_not_timed(name, monkeypatch):
    ideas.reference("toy-mlp", "tiny")
    right = optim.adam_update

    def half(*arrays, lr, **settings):
        right(*arrays, lr=0.5 * lr, **settings)

    monkeypatch.setattr(optim, "adam_update", half)
    assert wrong("toy-mlp", name, "cpu-kernels")


# --- what each rung has and has not


def spied(name, column, monkeypatch, network="toy-mlp"):
    """Sizes of the arrays that Adam is called with in one step, and whether kernels are on there."""
    _, work = work_of(network, name, column)
    calls = []
    right = optim.adam_update

    def spy(p, *arrays, **settings):
        calls.append((p.size, dispatch._kernels_wanted.get()))
        right(p, *arrays, **settings)

    monkeypatch.setattr(optim, "adam_update", spy)
    work.call()
    return calls


def sizes():
    generator, critic = build(ideas.recipe_of("toy-mlp", "tiny"), ideas.SHAPE, ideas.SEED)
    return [[p.size for p in network.parameters()] for network in (critic, generator)]


@pytest.mark.parametrize(("name", "column"), [("tape", "numpy"), ("fused", "cpu-kernels")])
def test_adam_is_called_for_each_parameter_below_flat_adam(name, column, monkeypatch):
    calls = spied(name, column, monkeypatch)
    assert [size for size, _ in calls] == [*sizes()[0], *sizes()[1]]
    assert {kernels for _, kernels in calls} == {column != "numpy"}


def test_flat_adam_is_called_once_for_each_network(monkeypatch):
    calls = spied("flat Adam", "cpu-kernels", monkeypatch)
    whole = [sum(-(-size // 32) * 32 for size in network) for network in sizes()]
    assert calls == [(size, True) for size in whole]


def test_one_adam_for_each_parameter_is_the_same_update():
    recipe = ideas.recipe_of("toy-mlp", "tiny")
    whole, pieces = (recipe.optimizer.build(build(recipe, ideas.SHAPE, 0)[0]) for _ in range(2))
    pieces = ideas.in_pieces(pieces)
    assert pieces.lr == whole.lr
    for optimizer in (whole, pieces):
        rng = np.random.default_rng(3)
        for _ in range(3):
            for g in optimizer.gradients:
                g[...] = rng.normal(0, 1, g.shape)
            optimizer.step(optimizer.gradients)
    np.testing.assert_array_equal(whole.flat.buffer, pieces.flat.buffer)


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in for CuPy, with a generator of random numbers whose arrays are on the device."""
    with standing_in():
        import cupy

        monkeypatch.setattr(cupy, "random", SimpleNamespace(default_rng=Random), raising=False)
        yield cupy


class Random:
    """cupy.random's generator, on NumPy's."""

    def __init__(self, seed):
        self.host = np.random.default_rng(seed)

    def __getattr__(self, name):
        return lambda *args, **kwargs: ndarray(getattr(self.host, name)(*args, **kwargs))


@pytest.mark.parametrize("network", ideas.NETWORKS)
@pytest.mark.parametrize("name", ["plain", "tape"])
def test_array_code_runs_on_device_arrays_and_reads_two_costs(name, network, cupy):
    case, work = work_of(network, name, "cupy")
    assert case.wrong({"cupy": summary(work.results())}) == {}
    with counting() as launches:
        work.call()
    assert [t.name for t in launches.transfers] == ["to the host"] * 2


@pytest.mark.parametrize(("name", "reads"), [("fused", 2), ("flat Adam", 0)])
def test_kernels_are_launched_and_costs_read_where_the_rung_says(name, reads, cupy):
    _, work = work_of("toy-mlp", name, "cuda-kernels")
    work.results()
    with counting() as launches:
        work.call()
    assert [t.name for t in launches.transfers] == ["to the host"] * reads
    assert "true_divide" not in {launch.name for launch in launches}


def test_each_idea_takes_launches_away(cupy):
    counts = []
    for name, column in zip(LADDER, ("cupy", "cupy", "cuda-kernels", "cuda-kernels"), strict=True):
        _, work = work_of("toy-mlp", name, column)
        work.call()  # shuffles an epoch
        with counting() as launches:
            work.call()
        counts.append(len(launches))
    assert counts[2] < 0.3 * min(counts[:2])
    assert counts[3] == counts[2] - 10  # twelve parameters become two buffers


def test_the_last_rung_on_a_gpu_replays_what_it_captured(cupy):
    case, work = work_of("toy-mlp", "captured", "cuda-graph")
    found = work.first()
    assert found[0].shape == (FIRST, 2)
    assert sorted(work.trainer.replay.recordings) == [1, 8]
    assert case.wrong({"cuda-graph": summary(found)})  # nothing was computed there


# --- the suite


def test_the_ladder_has_the_names_of_the_report():
    for size, networks in (("full", 2), ("quick", 1), ("tiny", 2)):
        found = ideas.cases(size)
        assert len({case.key for case in found}) == len(found) == 6 * networks
        for case in found:
            assert case.suite == "ideas"
            assert {COLUMNS[name].device for name in case.columns} <= {"cpu", "cuda"}
    names = [case.name for case in ideas.cases("quick")]
    assert names == [*LADDER, "captured", "as trained"]


def test_rungs_are_timed_together_by_network_and_device():
    asked = []
    columns = {name: COLUMNS[name] for name in ("numpy", "cpu-kernels", "cupy", "cuda-kernels", "cuda-graph")}
    bench = SimpleNamespace(size="tiny", columns=columns, together=lambda pairs: asked.append(pairs) or pairs)
    rows = list(ideas.rows(bench))
    assert len(rows) == 20
    for pairs, (network, device) in zip(
        asked, [(n, d) for n in ideas.NETWORKS for d in ("cpu", "cuda")], strict=True
    ):
        assert {case.group for case, _ in pairs} == {network}
        assert {COLUMNS[name].device for _, name in pairs} == {device}
        assert [case.name for case, _ in pairs] == [*LADDER, "as trained" if device == "cpu" else "captured"]


def test_without_a_gpu_the_rows_are_the_cpus():
    asked = []
    columns = {name: COLUMNS[name] for name in ("numpy", "cpu-kernels", "torch")}
    bench = SimpleNamespace(
        size="quick", columns=columns, together=lambda pairs: asked.append(pairs) or pairs
    )
    assert [(case.name, name) for case, name in ideas.rows(bench)] == ON_CPU


def test_flops_are_those_counted_by_hand():
    n, z = 8, 4
    generator, critic = (z, 8, 8, 784), (784, 8, 8, 1)
    g, d = (sum(i * o for i, o in pairwise(widths)) for widths in (generator, critic))
    g_inner, d_inner = (
        g - z * 8,
        d - 784 * 8,
    )  # what a gradient goes back through on its way to the first layer
    by_hand = (
        n * g  # fakes
        + 2 * n * (d + d + d_inner)  # real and fake: forward, weights, back
        + n * (g + d)  # forward
        + n * (d + g_inner + g)  # back to the fakes, through the generator, weights
    )
    assert ideas.cases("tiny")[0].costs()[1] == 2 * by_hand


def test_a_step_moves_at_least_weights_moments_and_the_batch():
    case = ideas.cases("full")[0]
    parameters = sum(
        p.size for network in build(fg.recipes["toy-mlp"], ideas.SHAPE, 0) for p in network.parameters()
    )
    assert parameters == 267_009 + 283_920
    assert case.costs()[0] >= 28 * parameters + 100 * 784


@pytest.mark.parametrize(("network", "uniform"), [("toy-mlp", False), ("seo-numpy", True)])
def test_what_is_timed_draws_the_noise_of_the_recipe(network, uniform, monkeypatch):
    asked = []
    monkeypatch.setattr(
        article.Draws, "__init__", lambda self, *args, **settings: asked.append((args, settings))
    )
    work_of(network, "plain", "numpy")
    ((images, batch, latent), settings), *_ = asked
    recipe = fg.recipes[network]
    assert (images.shape, batch, latent, settings["uniform"]) == ((200, 784), 8, 4, uniform)
    assert (images.min(), images.max(), images.dtype) == (recipe.low, 1, np.float32)
