"""Networks as text: a line makes the layer that it says, sizes follow the data, and a mistake is told by its line."""

import numpy as np
import pytest
from cli_helpers import ok, refused

import fastgan as fg
from fastgan import nn, ops
from fastgan.gan.recipe import from_dict
from fastgan.nn import Net
from fastgan.nn.text import LAYERS
from fastgan.tape import Tensor

GREY = (8, 8, 1)


def build(*layers, shape=GREY, o=1, **settings):
    """The network of some lines on samples of a shape."""
    net = Net(layers, **settings)
    return net.build(int(np.prod(shape)), o, seed=3, shape=shape)


def run(network, shape=GREY):
    """The shape of a sample behind the network."""
    x = np.random.default_rng(0).standard_normal((2, int(np.prod(shape)))).astype(np.float32)
    return network.eval()(Tensor(x)).shape[1:]


@pytest.mark.parametrize(
    ("line", "kind", "shape"),
    [
        ("conv 3 5", nn.Conv2d, (4, 4, 3)),
        ("conv 3 4 stride=2 padding=1", nn.Conv2d, (4, 4, 3)),
        ("conv 3 5 stride=3 padding=same", nn.Conv2d, (3, 3, 3)),
        ("conv c 3 padding=1", nn.Conv2d, (8, 8, 2)),
        ("conv_transpose 3 4 stride=2 padding=1", nn.ConvTranspose2d, (16, 16, 3)),
        ("conv_transpose c 5 stride=2 padding=same", nn.ConvTranspose2d, (16, 16, 2)),
        ("conv_transpose 3 3 stride=2 padding=1 output_padding=1", nn.ConvTranspose2d, (16, 16, 3)),
        ("max_pool 2", nn.MaxPool2d, (4, 4, 2)),
        ("max_pool 2 1", nn.MaxPool2d, (7, 7, 2)),
        ("avg_pool 4", nn.AvgPool2d, (2, 2, 2)),
        ("upsample 3", nn.Upsample2d, (24, 24, 2)),
        ("pad 1", nn.Pad2d, (10, 10, 2)),
        ("pad 0 1 2 4", nn.Pad2d, (9, 14, 2)),
        ("crop 7x3", nn.Crop2d, (7, 3, 2)),
        ("reshape 4x16xc", nn.Reshape, (4, 16, 2)),
        ("flatten", nn.Flatten, (128,)),
        ("mean", nn.Mean, (1,)),
        ("relu", nn.ReLU, (8, 8, 2)),
        ("leaky_relu", nn.LeakyReLU, (8, 8, 2)),
        ("tanh", nn.Tanh, (8, 8, 2)),
        ("sigmoid", nn.Sigmoid, (8, 8, 2)),
        ("arctan", nn.Arctan, (8, 8, 2)),
        ("dropout 0.25", nn.Dropout, (8, 8, 2)),
        ("batch_norm", nn.BatchNorm, (8, 8, 2)),
        ("layer_norm", nn.LayerNorm, (8, 8, 2)),
        ("instance_norm", nn.InstanceNorm, (8, 8, 2)),
        ("minibatch_stddev", nn.MinibatchStdDev, (8, 8, 3)),
        ("minibatch_stddev 2", nn.MinibatchStdDev, (8, 8, 3)),
        ("conv 3 3 spectral", nn.SpectralNorm, (6, 6, 3)),
    ],
)
def test_each_line_is_its_layer(line, kind, shape):
    network = build("image", line, shape=(8, 8, 2))
    assert type(network[1]) is kind
    assert run(network, (8, 8, 2)) == shape


def test_pads_are_top_bottom_left_right():
    assert build("image", "pad 0 1 2 4")[1].pads == (0, 1, 2, 4)
    assert build("image", "pad 3")[1].pads == (3, 3, 3, 3)


def test_every_name_is_in_use_or_tested():
    known = {"image", "linear", "maxout"} | {
        mark[0].split()[0]
        for mark in next(m for m in test_each_line_is_its_layer.pytestmark if m.name == "parametrize").args[1]
    }
    assert known == set(LAYERS)


def test_the_same_as_layers_by_hand():
    lines = ("image", "conv 4 3", "leaky_relu 0.2", "flatten", "linear 1")
    by_hand = nn.Sequential(
        nn.Reshape(8, 8, 1), nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(144, 1), seed=3
    )
    x = Tensor(np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32))
    assert (build(*lines)(x).data == by_hand(x).data).all()


def test_first_values_are_the_seeds_alone():
    """Not those of the layers that a program made before, nor of how shapes are worked out."""
    lines = ("image", "conv 4 3 spectral", "batch_norm", "flatten", "linear 1")
    one, other = build(*lines), build(*lines)
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert (a.data == b.data).all(), name
    assert (one[1].u == other[1].u).all()
    assert not one[2].mean.any()
    assert (one[2].variance == 1).all()
    assert all(layer.training for layer in one.modules())
    second = Net(lines).build(64, 1, seed=3, number=1, shape=GREY)
    assert (second[4].weight.data != one[4].weight.data).any()


def test_sizes_are_worked_out_without_kernels(monkeypatch):
    """Which would be compiled for shapes that no step has."""
    monkeypatch.setitem(
        ops.convolve.forward.kernels, np.ndarray, lambda *x, **settings: pytest.fail("called")
    )
    build("image", "conv 4 3")


def test_settings_of_the_network_and_of_a_line():
    network = build(
        *("linear 2000", "linear 30 init=zeros bias=yes", "batch_norm", "linear o scale=3"),
        o=40,
        init="normal",
        init_scale=0.02,
        batch_norm=0.25,
        norm_eps=1e-3,
        norm_correction=0.5,
        bias=False,
    )
    assert network[0].weight.data.std() == pytest.approx(0.02, rel=0.02)
    assert [network[k].has_bias for k in (0, 1, 3)] == [False, True, False]
    assert not network[1].weight.data.any()
    assert (network[2].momentum, network[2].eps, network[2].correction) == (0.25, 1e-3, 0.5)
    assert network[3].weight.data.std() == pytest.approx(3, rel=0.1)
    own = build("batch_norm momentum=0.5 eps=0.01 correction=0", "layer_norm eps=0.02")
    assert (own[0].momentum, own[0].eps, own[0].correction, own[1].eps) == (0.5, 0.01, 0, 0.02)
    maxout = build("maxout 3 pieces=4", "maxout o init=zeros", init="normal", o=2)
    assert [(layer.pieces, layer.linear.weight.shape) for layer in maxout] == [(4, (64, 12)), (5, (3, 10))]
    assert maxout[0].linear.weight.data.any()
    assert not maxout[1].linear.weight.data.any()
    norms = build("image", "layer_norm", "instance_norm", norm_eps=1e-3)
    assert [norms[k].eps for k in (1, 2)] == [1e-3] * 2
    assert build("leaky_relu 0.3", "dropout 0.75")[0].slope == 0.3
    assert build("dropout 0.75")[0].rate == 0.75
    assert (build("leaky_relu")[0].slope, build("dropout")[0].rate) == (0.01, 0.5)  # as PyTorch's


def test_a_layer_of_your_own_is_one_more_row(monkeypatch):
    """Its line takes what its signature asks for: sizes, settings of the network, and words in its types."""

    class Mine(nn.Module):
        def __init__(self, i: int, o: int, share: float = 1, *, loud: bool = False, eps: float = 0.0):
            self.given = (i, o, share, loud, eps)

        def __call__(self, x):
            return x

    monkeypatch.setitem(LAYERS, "mine", Mine)
    assert build("mine o 0.5 loud=yes", o=7, norm_eps=0.25)[0].given == (64, 7, 0.5, True, 0.25)
    assert build("mine 3 eps=1")[0].given == (64, 3, 1, False, 1)


def test_a_row_of_activations_is_a_line():
    for name in ops.ACTIVATIONS:
        if name not in ("leaky", "arctan"):  # arctan's layer knows its input: a more exact derivative
            assert build(name)[0].act == name


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_need_no_other_text(channels):
    shape = (8, 8, channels)
    critic = build("image", "conv 4 4 stride=2 padding=1", "flatten", "linear 1", shape=shape)
    assert run(critic, shape) == (1,)
    generator = Net(("linear 32", "reshape 4x4x2", "conv_transpose c 4 stride=2 padding=1", "flatten"))
    assert generator.build(5, 64 * channels, seed=0, shape=shape)[2].weight.shape == (4, 4, channels, 2)


def test_a_files_layers_replace_a_recipes():
    dense, layers = fg.recipes["digits"], fg.recipes["cgan-mnist"]
    lines = ["linear 9", "relu", "linear o", "tanh"]
    changed = from_dict({"generator": {"layers": lines, "init": "normal"}}, dense)
    assert changed.generator == Net(tuple(lines), init="normal")
    assert changed.critic == dense.critic
    assert from_dict({"critic": {"bias": False}}, layers).critic.layers == layers.critic.layers


@pytest.mark.usefixtures("here")
def test_layers_on_the_command_line_and_in_its_file(capsys):
    layers = (
        "--generator-layers",
        "linear 9;relu ;  linear  o; tanh;",
        "--critic-layers",
        "linear 4; linear o",
    )
    ok(capsys, "train", *layers, "--steps", 2, "--out", "a", "--batch", 8)
    generator = fg.load("a", device="cpu").recipe.generator
    assert generator.layers == ("linear 9", "relu", "linear o", "tanh")
    ok(capsys, "train", "--config", "a/config.toml", "--out", "b")
    one, other = (fg.load(name, device="cpu").sample(2).tobytes() for name in "ab")
    assert one == other
    err = refused(capsys, 2, "train", "--generator-layers", "linear 9; rely", "--out", "c")
    assert "layer 2, 'rely': got 'rely'; did you mean 'relu'?" in err
