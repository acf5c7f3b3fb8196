"""What a step of a recipe launches and moves, counted without a GPU, beside the least; and the budgets."""

import re
from itertools import pairwise

import numpy as np
import pytest
from cli_helpers import ok, refused

import fastgan as fg
from fastgan import nn
from fastgan.benchmarks.launches import by_name, count, floor, flops, products, step_launches
from fastgan.benchmarks.training import is_dense
from fastgan.gan.networks import build
from fastgan.gan.source import data_shape, within_border
from fastgan.nn import Net


@pytest.mark.slow
@pytest.mark.parametrize("name", [*fg.recipes][1::4])  # of each kind one
def test_a_step_of_array_code_moves_more_than_the_floor_and_waits_for_nothing(name):
    recipe = fg.recipes[name]
    dense = is_dense(recipe.generator) and is_dense(recipe.critic)
    if not dense:
        recipe = recipe.replace(batch=4)  # which array code computes, on the CPU
    launches = step_launches(recipe, kernels=False)
    moved = sum(x.read + x.written for x in launches)
    assert launches.transfers == []
    assert floor(recipe) < moved
    rows = by_name(launches)
    assert sum(row.launches for row in rows) == len(launches)
    assert sum(row.read + row.written for row in rows) == moved
    assert len({row.name for row in rows}) == len(rows)
    sums = [row.read + row.written for row in rows]
    assert sums == sorted(sums, reverse=True)
    gemm = next(row for row in rows if row.name == "gemm")
    generator, _ = build(recipe, within_border(recipe, data_shape(recipe)), 0)
    assert gemm.read > 4 * generator.count(trained_only=True)


def test_the_step_that_is_counted_begins_no_epoch():
    launches = step_launches(fg.recipes["wgan-mlp"], kernels=False)
    assert "argsort" not in {x.name for x in launches}
    later = by_name(step_launches(fg.recipes["wgan-mlp"].replace(sampling="sequential"), kernels=False))
    taken = 5  # batches, by the order and not as views
    assert len(launches) - sum(row.launches for row in later) == taken


G, C, UPDATE = 1_952_528, 267_009, 128 * 784  # cs231n-vanilla's parameters, and a batch's bytes
FLOORS = [  # changes of cs231n-vanilla, and its floor: Adam's 8 numbers of each parameter an update, and the batches
    ({}, 32 * (G + C) + UPDATE),
    ({"optimizer": fg.gan.OptimizerSettings(kind="rmsprop")}, 24 * (G + C) + UPDATE),
    ({"optimizer": fg.gan.OptimizerSettings(kind="sgd")}, 24 * (G + C) + UPDATE),
    ({"critic_steps": 2}, 32 * (G + 2 * C) + 2 * UPDATE),
    ({"split_updates": True}, 32 * (G + 2 * C) + UPDATE),
    ({"generator_steps": 2}, 32 * (2 * G + C) + UPDATE),
]


@pytest.mark.parametrize(("changes", "wanted"), FLOORS, ids=str)
def test_the_floor(changes, wanted):
    assert floor(fg.recipes["cs231n-vanilla"].replace(**changes)) == wanted


def test_points_lie_there_in_float32():
    assert floor(fg.recipes["ring-wgan-gp"]) == 32 * (527_874 + 5 * 527_361) + 5 * 256 * 2 * 4


def test_the_products_of_a_step():
    """Twice the weights a sample and a pass: forward, for the weights, and back to all layers but the first."""
    g, c, n = 64 * 256 + 256 * 256 + 256 * 784, 784 * 256 + 256 * 256 + 256, 100
    critic = 2 * n * (3 * c - 784 * 256)
    generator = n * (3 * g - 64 * 256 + 2 * c)
    toy = fg.recipes["toy-mlp"]
    assert flops(toy) == 2 * (n * g + critic + generator)
    penalized = toy.replace(objective="wasserstein-gp", penalty=10.0, critic_steps=5)
    assert flops(penalized) == 2 * (5 * (n * g + critic + 4 * n * c) + generator)
    together = fg.recipes["ring-gan"]
    assert flops(together) < flops(together.replace(simultaneous=False))


WIDE = Net(("maxout 6 pieces=3", "linear 5 bias=no", "relu", "batch_norm", "linear o"))


@pytest.mark.parametrize("recipe", [*fg.recipes.values(), fg.recipes["digits"].replace(critic=WIDE)])
def test_each_weight_of_a_recipe_is_found(recipe):
    """Of dense networks all are used once; those of convolutions at least so often."""
    shape = within_border(recipe, data_shape(recipe))
    sides = (recipe.latent, recipe.generator), (int(np.prod(shape)), recipe.critic)
    for network, (i, settings) in zip(build(recipe, shape, 0), sides, strict=True):
        weights = [p.size for p in network.parameters() if p.ndim in (2, 4)]
        work, first = products(network, i, *[recipe.classes] * bool(recipe.classes))
        assert work == 2 * sum(weights) if is_dense(settings) else work > 2 * sum(weights) * 0.9
        assert first >= 2 * weights[0] or recipe.classes


def test_the_products_of_convolutions():
    """A weight is used at each place of the output; of a transposed one, of the input."""
    network = nn.Sequential(
        nn.Reshape(6, 6, 2),
        nn.Conv2d(2, 5, 3),  # gives 4 x 4
        nn.ConvTranspose2d(5, 3, 2, stride=2),  # gives 8 x 8
        nn.Flatten(),
        nn.Linear(192, 1),
    )
    assert products(network, 72) == (2 * (90 * 16 + 60 * 16 + 192), 2 * 90 * 16)


def total(rows):
    return sum(row.launches for row in rows), sum(row.read + row.written for row in rows) / 1e6


BUDGETS = [  # launches of a step, and the megabytes that it moves
    ("keras-mlp", 45, 144),
    ("toy-mlp", 30, 36),
    ("wgan-gp-mlp", 90, 214),
    pytest.param("cs231n-dcgan", 258, 1850, marks=pytest.mark.slow),  # windows are copied and read again
    pytest.param("igul-mnist-wgan-gp", 720, 4920, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "launches", "megabytes"), BUDGETS)
def test_the_budget_of_a_step(name, launches, megabytes):
    made, moved = total(count(fg.recipes[name]))
    assert made <= launches
    assert moved <= megabytes


def test_the_budget_of_a_critic_update():
    recipe = fg.recipes["wgan-gp-mlp"]
    assert total(count(recipe))[0] - total(count(recipe.replace(critic_steps=4)))[0] <= 14


@pytest.mark.parametrize("options", [(), ("--no-kernels",)], ids=str)
def test_summary_counts_launches(capsys, here, options):
    out = ok(capsys, "summary", "keras-mlp", "--launches", *options).splitlines()
    plain = ok(capsys, "summary", "keras-mlp").splitlines()
    measured = [i for i, line in enumerate(plain) if "on this CPU" in line]  # a new estimate each time
    assert [x for i, x in enumerate(out[: len(plain)]) if i not in measured] == [
        x for i, x in enumerate(plain) if i not in measured
    ]
    found = re.fullmatch(r"total: (\d+) launches, (\d+\.\d) MB moved, floor (\d+\.\d) MB", out[-1])
    assert float(found[3]) == round(floor(fg.recipes["keras-mlp"]) / 1e6, 1)
    rows = [line.split() for line in out[len(plain) + 2 : -1]]
    assert sum(int(row[1]) for row in rows) == int(found[1])
    sums = [float(row[2]) + float(row[3]) for row in rows]
    assert abs(sum(sums) - float(found[2])) < 0.3
    assert all(a >= b - 0.02 for a, b in pairwise(sums))


def test_summary_refuses_what_cannot_be_counted(capsys, here):
    assert "did you mean keras-mlp" in refused(capsys, 2, "summary", "keras-mpl", "--launches")
    assert "give both" in refused(capsys, 2, "summary", "keras-mlp", "--no-kernels")
    assert "wanted points" in refused(
        capsys, 2, "summary", "ring-gan", "--data", "mnist", "--launches", "--no-kernels"
    )
