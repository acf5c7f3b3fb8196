"""How time and memory grow: the axes, the exponents, what rows hold, and that variants are one recipe."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from bench_played import PlayedBench

import fastgan as fg
from fastgan.benchmarks import launches, memory, peers, suites, turns, variants
from fastgan.benchmarks.cases import AbsentError
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import scaling
from fastgan.benchmarks.training import hidden

SMALL = {"batch": 2, "width": 8, "depth": 1, "data": 100}


# --- variants


def test_a_variant_of_no_other_size_is_the_recipe_itself():
    assert variants.recipe_of() == fg.recipes["toy-mlp"]
    assert variants.setting_of(variants.recipe_of()) == peers.SETTINGS["toy-mlp"]


def test_peers_get_the_sizes_of_the_recipe():
    recipe = variants.recipe_of(batch=5, width=7, depth=3)
    setting = variants.setting_of(recipe)
    assert (recipe.batch, hidden(recipe.generator), hidden(recipe.critic)) == (5, (7, 7, 7), (7, 7, 7))
    assert (setting.batch, setting.generator, setting.critic) == (5, (64, 7, 7, 7, 784), (784, 7, 7, 7, 1))


def test_a_setting_itself_is_a_row():
    data = np.zeros((3, 784), np.float32)
    own = variants.setting_of(variants.recipe_of(width=8))
    assert peers.setting(own, data) is own
    assert peers.setting("toy-mlp", data) == peers.SETTINGS["toy-mlp"]


def test_a_variant_trains_on_as_many_images_as_it_is_told():
    work = variants.made(variants.recipe_of(batch=2, width=8), 50, COLUMNS["numpy"])
    assert work.trainer.dataset.n == 50
    assert work.turn(1, 0.0)[0][1] > 0


def test_a_peer_starts_as_fastgan_does_and_has_the_sizes(monkeypatch):
    if reason := COLUMNS["torch"].absent():
        pytest.skip(reason)
    started, made = [], []
    own = SimpleNamespace(start=lambda *parameters: started.append(parameters), sync=lambda: None)
    monkeypatch.setattr(
        variants, "peer", lambda setting, images, column: made.append((setting, images)) or own
    )
    monkeypatch.setattr(peers, "start_like", lambda trainer: [trainer.recipe], raising=False)
    recipe = variants.recipe_of(batch=150, width=8)
    work = variants.made(recipe, 60, COLUMNS["torch"])
    assert work.peer is own
    assert started == [(recipe,)]
    assert [(setting, len(images)) for setting, images in made] == [(variants.setting_of(recipe), 60)]
    monkeypatch.setattr(peers, "runs", lambda module, name: False)
    with pytest.raises(AbsentError, match="no peer is written"):
        variants.made(recipe, 60, COLUMNS["torch"])


# --- the axes


@pytest.mark.parametrize("size", suites.SIZES)
def test_each_case_is_found_by_its_key(size):
    found = scaling.cases(size)
    assert len({case.key for case in found}) == len(found)
    assert list(dict.fromkeys(case.group for case in found)) == ["batch", "width", "depth", "data"]
    assert all(list(case.shape) == [case.group] for case in found)
    assert suites.find(found[-1].key, size).shape == found[-1].shape


def test_one_size_grows_and_the_others_stay(monkeypatch):
    made = []
    monkeypatch.setattr(scaling, "cores", lambda: 2)
    monkeypatch.setattr(variants, "made", lambda recipe, images, column: made.append((recipe, images)))
    for case in scaling.cases("full"):
        case.make(COLUMNS["numpy"])
    toy = fg.recipes["toy-mlp"]
    sizes = [(r.batch, set(hidden(r.generator)), len(hidden(r.critic)), images) for r, images in made]
    assert [s for s in sizes if s[0] != toy.batch] == [(n, {256}, 2, 10_000) for n in (16, 128, 1024)]
    assert [s for s in sizes if s[1] != {256}] == [(100, {n}, 2, 10_000) for n in (64, 512, 1024)]
    assert [s for s in sizes if s[2] != 2] == [(100, {256}, n, 10_000) for n in (4, 8)]
    assert [s for s in sizes if s[3] != 10_000] == [(100, {256}, 2, n) for n in (1_000, 60_000)]


def test_columns_with_and_without_a_gpu(monkeypatch):
    monkeypatch.setattr(scaling, "cuda_problem", lambda: "no driver")
    assert {case.group for case in scaling.cases("full") if "numpy" in case.columns} == {"width"}
    assert all(case.columns[:2] == ("cpu-kernels", "torch") for case in scaling.cases("full"))
    monkeypatch.setattr(scaling, "cuda_problem", lambda: None)
    assert all("cuda-graph" in case.columns for case in scaling.cases("full"))


def test_many_cores_grow_more(monkeypatch):
    monkeypatch.setattr(scaling, "cores", lambda: 8)
    shapes = [dict(case.shape) for case in scaling.cases("full")]
    assert {"width": 2048} in shapes
    assert shapes[-1] == {"data": 300_000}


# --- exponents


@pytest.mark.parametrize("power", [0.0, 1.0, 1.6, -2.0])
def test_exact_powers(power):
    sizes = (16, 64, 100, 1024)
    assert scaling.exponent(sizes, [3e-4 * n**power for n in sizes]) == pytest.approx(power, abs=1e-12)


def test_the_exponent_is_of_the_last_three_points():
    def row(column, width, seconds, memory=None, error=""):
        extra = {} if memory is None else {"memory": memory}
        return {
            "column": column,
            "shape": {"width": width},
            "seconds": {"median": seconds},
            "extra": extra,
            "error": error,
        }

    measured = [row("torch", n, max(n, 32) ** 2.0, n**1.5) for n in (2, 32, 64, 128)]
    measured += [row("numpy", 2, 1.0), row("numpy", 4, 1.0, error="failed")]
    assert scaling.growth("width", measured) == (
        "growth: time of torch as width^2.0 from 32 on, memory of torch as width^1.5 from 32 on"
    )
    assert scaling.growth("width", measured[-2:]) == ""


# --- rows


@pytest.fixture
def measured(monkeypatch):
    """Memory that is 1000 bytes for each image of a batch; what was asked is kept."""
    asked = []

    def added(columns, sizes, seconds):
        asked.append(([column.name for column in columns], sizes, seconds))
        return {column.name: 1000 * sizes["batch"] for column in columns}

    monkeypatch.setattr(memory, "added", added)
    monkeypatch.setattr(scaling, "cuda_problem", lambda: "no driver")
    return asked


def test_rows_have_costs_and_those_that_are_asked_have_memory(measured):
    bench = PlayedBench("quick", cost=lambda row: float(next(iter(row["shape"].values()))))
    rows = list(scaling.rows(bench))
    assert [(row["group"], row["shape"]) for row in rows if row["column"] == "torch"] == [
        (case.group, dict(case.shape)) for case in scaling.cases("quick")
    ]
    remembered = [(row["case"], row["column"]) for row in rows if "memory" in row["extra"]]
    assert remembered == [("batch 512", "cpu-kernels"), ("batch 512", "torch")]
    wide = variants.recipe_of(width=512)
    (row,) = [row for row in rows if row["case"] == "width 512" and row["column"] == "torch"]
    assert (row["bytes"], row["flops"]) == (launches.floor(wide), launches.flops(wide))
    assert bench.notes[0] == (
        "growth: time of cpu-kernels as batch^1.0 from 64 on, time of torch as batch^1.0 from 64 on"
    )
    assert len(bench.notes) == 4


def test_full_remembers_the_last_points_of_every_axis(measured, monkeypatch):
    monkeypatch.setattr(memory, "added", lambda columns, sizes, seconds: dict.fromkeys(columns, 1))
    monkeypatch.setattr(scaling, "cores", lambda: 2)
    rows = list(scaling.rows(PlayedBench("full")))
    remembered = [row["case"] for row in rows if "memory" in row["extra"] and row["column"] == "torch"]
    last = {axis: values[-3:] for axis, values in scaling.AXES["full"].items()}
    assert remembered == [f"{axis} {value}" for axis, values in last.items() for value in values]


def test_tiny_asks_for_the_sizes_that_were_timed(measured):
    assert all(row["seconds"] for row in scaling.rows(PlayedBench("tiny")))
    assert measured == [(["cpu-kernels", "torch"], SMALL, scaling.MEMORY_LIMIT)]


def test_no_memory_of_what_failed_or_when_time_is_up(measured):
    list(scaling.rows(PlayedBench(cost=lambda row: None if row["column"] == "torch" else 1.0)))
    assert [names for names, *_ in measured] == [["cpu-kernels"]]
    late = PlayedBench()
    late.until = -math.inf
    list(scaling.rows(late))
    assert len(measured) == 1


def test_a_memory_that_cannot_be_measured_is_a_note(measured, monkeypatch):
    lost = {"cpu-kernels": 7, "torch": turns.LostError("no answer in time")}
    monkeypatch.setattr(memory, "added", lambda columns, sizes, seconds: lost)
    bench = PlayedBench(columns=("torch", "cpu-kernels"))
    ours, theirs = (row for row in scaling.rows(bench) if row["group"] == "batch")
    assert theirs["seconds"]
    assert (ours["extra"], theirs["extra"]) == ({"memory": 7}, {})
    assert bench.notes == ["memory of batch 2, torch: no answer in time"]
