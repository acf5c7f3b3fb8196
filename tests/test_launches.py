"""What a step of a recipe launches and moves, counted without a GPU, beside the fewest bytes; and the budgets."""

import re
from itertools import pairwise

import numpy as np
import pytest
from cli_helpers import ok, refused

import fastgan as fg
from fastgan import nn
from fastgan.benchmarks.training import hidden, is_dense
from fastgan.gan.networks import build
from fastgan.launches import by_name, count, data_shape, floor, flops, sizes, step_launches, within_border
from fastgan.nn import Net


@pytest.mark.slow
@pytest.mark.parametrize("name", fg.recipes)
def test_a_step_of_array_code_moves_more_than_the_floor_and_waits_for_nothing(name):
    recipe = fg.recipes[name]
    dense = is_dense(recipe.generator) and is_dense(recipe.critic)
    if not dense:
        recipe = recipe.replace(batch=4)  # which array code computes, on the CPU
    launches = step_launches(recipe, kernels=False)
    moved = sum(x.read + x.written for x in launches)
    assert launches.transfers == []
    assert floor(recipe) < moved < (12 if dense else 60) * floor(recipe)  # windows are copies
    rows = by_name(launches)
    assert sum(row.launches for row in rows) == len(launches)
    assert sum(row.read + row.written for row in rows) == moved
    assert len({row.name for row in rows}) == len(rows)
    sums = [row.read + row.written for row in rows]
    assert sums == sorted(sums, reverse=True)
    gemm = next(row for row in rows if row.name == "gemm")
    assert gemm.read > 4 * found(recipe)[0].parameters


def found(recipe):
    """The sizes of a recipe's networks."""
    k, features = recipe.classes, int(np.prod(seen(recipe)))
    generator, critic = build(recipe, seen(recipe), 0)
    return sizes(generator, recipe.latent + k), sizes(critic, features + k)


def seen(recipe):
    """The form of the samples that a recipe's networks see."""
    return within_border(recipe, data_shape(recipe))


def test_the_step_that_is_counted_begins_no_epoch():
    launches = step_launches(fg.recipes["wgan-mlp"], kernels=False)
    assert "argsort" not in {x.name for x in launches}
    later = by_name(step_launches(fg.recipes["wgan-mlp"].replace(sampling="sequential"), kernels=False))
    taken = 5  # batches, by the order and not as views
    assert len(launches) - sum(row.launches for row in later) == taken


WIDE = Net(("maxout 6 pieces=3", "linear 5 bias=no", "relu", "batch_norm", "linear o"))


@pytest.mark.parametrize("recipe", [*fg.recipes.values(), fg.recipes["digits"].replace(critic=WIDE)])
def test_sizes_are_the_networks(recipe):
    networks = build(recipe, seen(recipe), 0)
    for settings, network, own in zip(
        (recipe.generator, recipe.critic), networks, found(recipe), strict=True
    ):
        matrices = [p.size for p in network.parameters() if p.ndim in (2, 4)]
        assert own.parameters == network.count(trained_only=True)
        assert own.running == network.count() - own.parameters
        assert (own.first, own.last, own.weights) == (matrices[0], matrices[-1], sum(matrices))
        assert own.inner == sum(matrices[1:])
        if is_dense(settings):
            assert own.hidden == sum(hidden(settings))
            assert own.mixes == bool(
                {"batch_norm", "dropout"} & {line.split()[0] for line in settings.layers}
            )


def test_sizes_of_convolutions():
    """Between layers counts the smaller side: of a pooling, of an upsampling, of a border."""
    network = nn.Sequential(
        nn.Reshape(6, 6, 2),
        nn.Conv2d(2, 5, 3, padding=1),  # gives 6 x 6 x 5, of which 3 x 3 are left
        nn.MaxPool2d(2),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(
            5, 4, 2, stride=1, bias=False
        ),  # 4 x 4 x 4, of which 2 x 2 are read twice each way
        nn.AvgPool2d(2),
        nn.Upsample2d(2),
        nn.Pad2d(1),
        nn.Conv2d(4, 3, 1),  # 6 x 6 x 3
        nn.BatchNorm(3),
        nn.Flatten(),
        nn.Linear(108, 1),
    )
    own = sizes(network, 72)
    assert own.hidden == 3 * 3 * 5 + 4 * 4 * 4 + 6 * 6 * 3
    assert (own.first, own.last, own.weights) == (90, 108, 90 + 80 + 12 + 108)
    assert own.parameters == 90 + 5 + 80 + 12 + 3 + 6 + 109
    assert (own.running, own.mixes) == (6, True)


def test_the_floor_of_keras_mlp():
    """Its step written out: 784-512-256-1 twice, 100-256-512-1024-784 once for fakes and once for its update."""
    g, c, n = 1_489_936, 533_505, 32
    fakes = g + 3_584 + n * 784
    critic = 2 * c + 2 * (512 * 256 + 256) + 2 * (1 + 7) * c
    critic_rows = n * 784 + 2 * n * 768 + 2 * n * (784 + 768)
    inner = 256 * 512 + 512 * 1024 + 1024 * 784
    generator = g + 2 * 3_584 + c + (784 * 512 + 512 * 256 + 256) + inner + (1 + 7) * g
    generator_rows = n * (1_792 + 784) + 2 * n * 768 + n * (100 + 1_792 + 784)
    numbers = 2 * n * 100 + fakes + critic + critic_rows + generator + generator_rows
    assert floor(fg.recipes["keras-mlp"]) == 4 * numbers + n * 784


def test_the_products_of_a_step():
    """Twice the weights a sample and a pass: forward, for the weights, and back to all layers but the first."""
    g, c, n = 64 * 256 + 256 * 256 + 256 * 784, 784 * 256 + 256 * 256 + 256, 100
    critic = 2 * n * (3 * c - 784 * 256)
    generator = n * (3 * g - 64 * 256 + 2 * c)
    toy = fg.recipes["toy-mlp"]
    assert flops(toy) == 2 * (n * g + critic + generator)
    penalised = toy.replace(objective="wasserstein-gp", penalty=10.0, critic_steps=5)
    assert flops(penalised) == 2 * (5 * (n * g + critic + 4 * n * c) + generator)
    together = fg.recipes["ring-gan"]
    assert flops(together) < flops(together.replace(simultaneous=False))


def test_the_products_of_convolutions():
    """A weight is used at each place of the output; of a transposed one, of the input."""
    network = nn.Sequential(
        nn.Reshape(6, 6, 2),
        nn.Conv2d(2, 5, 3),  # gives 4 x 4
        nn.ConvTranspose2d(5, 3, 2, stride=2),  # gives 8 x 8
        nn.Flatten(),
        nn.Linear(192, 1),
    )
    own = sizes(network, 72)
    assert own.first_flops == 2 * 90 * 16
    assert own.flops == 2 * (90 * 16 + 60 * 16 + 192)


def test_the_floor_of_a_penalty():
    """64 more rows of 784-256-256-1 through five passes, and the weights once more on both ways."""
    recipe = fg.recipes["wgan-gp-mlp"]
    more = floor(recipe) - floor(recipe.replace(penalty=0.0))
    assert more == 5 * 4 * (64 * (5 * 784 + 7 * 512) + 784 * 256 + (784 * 256 + 256 * 256))


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"ema": 0.9}, lambda g, c: 2 * g),
        ({"optimizer": fg.gan.OptimizerSettings(max_norm=1.0)}, lambda g, c: g + c),
        ({"optimizer": fg.gan.OptimizerSettings(kind="sgd")}, lambda g, c: -2 * (g + c)),
        ({"optimizer": fg.gan.OptimizerSettings(kind="rmsprop")}, lambda g, c: -2 * (g + c)),
        ({"inference_fakes": True}, lambda g, c: 0),
        ({"split_updates": True}, lambda g, c: 9 * c + 256 * 256 + 256),
        ({"critic_steps": 2}, lambda g, c: 9 * c + 256 * 256 + 256 + 128 * (96 + 784) + CRITIC_ROWS),
        ({"simultaneous": True}, lambda g, c: -g - c - 128 * (784 + 96 + 512)),
    ],
    ids=str,
)
def test_what_changes_the_floor(changes, more):
    recipe = fg.recipes["cs231n-vanilla"]
    g, c = (own.parameters for own in found(recipe))
    gathered = 128 * 784 if "critic_steps" in changes else 0
    assert floor(recipe.replace(**changes)) - floor(recipe) == 4 * more(g, c) + gathered


CRITIC_ROWS = 128 * (784 + 2 * 512 + 2 * (784 + 512))


def moved(rows):
    return sum(row.read + row.written for row in rows)


def test_the_budget_of_keras_mlp():
    recipe = fg.recipes["keras-mlp"]
    rows = count(recipe)
    assert sum(row.launches for row in rows) <= 40
    assert moved(rows) <= 1.3 * floor(recipe)


def test_the_budget_of_wgan_gp_mlp():
    recipe = fg.recipes["wgan-gp-mlp"]
    rows, fewer = count(recipe), count(recipe.replace(critic_steps=4))
    assert sum(row.launches for row in rows) - sum(row.launches for row in fewer) <= 14
    assert moved(rows) <= 1.3 * floor(recipe)


@pytest.mark.parametrize("options", [(), ("--no-kernels",)], ids=str)
def test_summary_counts_launches(capsys, here, options):
    out = ok(capsys, "summary", "keras-mlp", "--launches", *options).splitlines()
    plain = ok(capsys, "summary", "keras-mlp").splitlines()
    measured = [i for i, line in enumerate(plain) if "on this CPU" in line]  # a new estimate each time
    assert [x for i, x in enumerate(out[: len(plain)]) if i not in measured] == [
        x for i, x in enumerate(plain) if i not in measured
    ]
    total = re.fullmatch(r"total: (\d+) launches, (\d+\.\d) MB moved, floor (\d+\.\d) MB", out[-1])
    assert float(total[3]) == round(floor(fg.recipes["keras-mlp"]) / 1e6, 1)
    assert re.fullmatch(r"one step on a GPU +launches +MB read +MB written", out[len(plain) + 1])
    rows = [line.split() for line in out[len(plain) + 2 : -1]]
    assert sum(int(row[1]) for row in rows) == int(total[1])
    sums = [float(row[2]) + float(row[3]) for row in rows]
    assert abs(sum(sums) - float(total[2])) < 0.3
    assert all(a >= b - 0.02 for a, b in pairwise(sums))


def test_summary_refuses_what_cannot_be_counted(capsys, here):
    assert "did you mean keras-mlp" in refused(capsys, 2, "summary", "keras-mpl", "--launches")
    assert "give both" in refused(capsys, 2, "summary", "keras-mlp", "--no-kernels")
    assert "wanted points" in refused(
        capsys, 2, "summary", "ring-gan", "--data", "mnist", "--launches", "--no-kernels"
    )
