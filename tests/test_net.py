"""Networks as text: a line makes the layer that it says, and sizes follow the data. Mistakes: tables/refusals.py."""

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
    return Net(layers, **settings).build(int(np.prod(shape)), o, seed=3, shape=shape)


def run(network, shape=GREY):
    """The shape of a sample behind the network."""
    x = np.random.default_rng(0).standard_normal((2, int(np.prod(shape)))).astype(np.float32)
    return network.eval()(Tensor(x)).shape[1:]


LINES = {  # on images of 8 x 8 with 2 channels: the layer, and what comes out; without: the same shape
    "conv 3 5": (nn.Conv2d, 4, 4, 3),
    "conv 3 4 stride=2 padding=1": (nn.Conv2d, 4, 4, 3),
    "conv 3 5 stride=3 padding=same": (nn.Conv2d, 3, 3, 3),
    "conv c 3 padding=1": (nn.Conv2d,),
    "conv_transpose 3 4 stride=2 padding=1": (nn.ConvTranspose2d, 16, 16, 3),
    "conv_transpose c 5 stride=2 padding=same": (nn.ConvTranspose2d, 16, 16, 2),
    "conv_transpose 3 3 stride=2 padding=1 output_padding=1": (nn.ConvTranspose2d, 16, 16, 3),
    "conv 3 3 spectral": (nn.SpectralNorm, 6, 6, 3),
    "max_pool 2": (nn.MaxPool2d, 4, 4, 2),
    "max_pool 2 1": (nn.MaxPool2d, 7, 7, 2),
    "avg_pool 4": (nn.AvgPool2d, 2, 2, 2),
    "upsample 3": (nn.Upsample2d, 24, 24, 2),
    "pad 1": (nn.Pad2d, 10, 10, 2),
    "pad 0 1 2 4": (nn.Pad2d, 9, 14, 2),
    "crop 7x3": (nn.Crop2d, 7, 3, 2),
    "reshape 4x16xc": (nn.Reshape, 4, 16, 2),
    "flatten": (nn.Flatten, 128),
    "mean": (nn.Mean, 1),
    "instance_norm": (nn.InstanceNorm,),
    "minibatch_stddev": (nn.MinibatchStdDev, 8, 8, 3),
    "minibatch_stddev 2": (nn.MinibatchStdDev, 8, 8, 3),
}
SAME = [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Arctan, nn.BatchNorm, nn.LayerNorm, nn.Dropout]
NAMES = "relu;leaky_relu;tanh;sigmoid;arctan;batch_norm;layer_norm;dropout 0.25"
LINES |= {name: (kind,) for name, kind in zip(NAMES.split(";"), SAME, strict=True)}


@pytest.mark.parametrize("line", LINES)
def test_each_line_is_its_layer(line):
    kind, *shape = LINES[line]
    network = build("image", line, shape=(8, 8, 2))
    assert type(network[1]) is kind
    assert run(network, (8, 8, 2)) == (tuple(shape) or (8, 8, 2))


def test_every_name_is_in_use_or_tested():
    assert {"image", "linear", "maxout"} | {line.split()[0] for line in LINES} == set(LAYERS)
    for name in {*ops.ACTIVATIONS} - {
        "leaky",
        "arctan",
    }:  # arctan's layer knows its input: a more exact derivative
        assert build(name)[0].act == name


def test_the_same_as_layers_by_hand():
    lines = ("image", "conv 4 3", "leaky_relu 0.2", "flatten", "linear 1")
    layers = nn.Reshape(8, 8, 1), nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(144, 1)
    x = Tensor(np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32))
    assert (build(*lines)(x).data == nn.Sequential(*layers, seed=3)(x).data).all()


def test_first_values_are_the_seeds_alone():
    """Not those of the layers that a program made before, nor of how shapes are worked out."""
    lines = ("image", "conv 4 3 spectral", "batch_norm", "flatten", "linear 1")
    one, other = build(*lines).train(), build(*lines)
    assert all((a == other.values()[name]).all() for name, a in one.values().items())
    assert not one[2].mean.any()
    assert (one[2].variance == 1).all()
    assert all(layer.training for layer in other.modules())
    second = Net(lines).build(64, 1, seed=3, number=1, shape=GREY)
    assert (second[4].weight.data != one[4].weight.data).any()


def test_sizes_are_worked_out_without_kernels(monkeypatch):
    """Which would be compiled for shapes that no step has."""
    kernels = ops.convolve.forward.kernels
    monkeypatch.setitem(kernels, np.ndarray, lambda *x, **settings: pytest.fail("called"))
    build("image", "conv 4 3")


SETTINGS = [  # lines, settings of the network, and what its layers have: number, attribute, value
    (["pad 0 1 2 4", "pad 3"], {}, [(1, "pads", (0, 1, 2, 4)), (2, "pads", (3, 3, 3, 3))]),
    (["batch_norm", "layer_norm"], {"norm_eps": 1e-3}, [(1, "eps", 1e-3), (2, "eps", 1e-3)]),
    (["instance_norm"], {"norm_eps": 1e-3}, [(1, "eps", 1e-3)]),
    (["batch_norm"], {"batch_norm": 0.25}, [(1, "momentum", 0.25)]),
    (["batch_norm"], {"norm_correction": 0.5}, [(1, "correction", 0.5)]),
    (["batch_norm momentum=0.5 eps=0.01"], {}, [(1, "momentum", 0.5), (1, "eps", 0.01)]),
    (["batch_norm correction=0", "layer_norm eps=0.02"], {}, [(1, "correction", 0), (2, "eps", 0.02)]),
    (["leaky_relu 0.3", "dropout 0.75"], {}, [(1, "slope", 0.3), (2, "rate", 0.75)]),
    (["leaky_relu", "dropout"], {}, [(1, "slope", 0.01), (2, "rate", 0.5)]),  # as PyTorch's
    (["conv 4 3", "conv 4 3 bias=yes"], {"bias": False}, [(1, "has_bias", False), (2, "has_bias", True)]),
]


@pytest.mark.parametrize(("lines", "settings", "wanted"), SETTINGS)
def test_settings_of_the_network_and_of_a_line(lines, settings, wanted):
    network = build("image", *lines, **settings)
    assert [getattr(network[k], name) for k, name, _ in wanted] == [value for *_, value in wanted]


def test_first_values_by_the_network_and_by_a_line():
    lines = "linear 2000", "linear 30 init=zeros", "linear o scale=3"
    first, zeros, last = (layer.weight.data for layer in build(*lines, o=40, init="normal", init_scale=0.02))
    assert (first.std(), last.std()) == (pytest.approx(0.02, rel=0.02), pytest.approx(3, rel=0.1))
    maxout = build("maxout 3 pieces=4", "maxout o init=zeros", init="normal", o=2)
    assert [(layer.pieces, layer.linear.weight.shape) for layer in maxout] == [(4, (64, 12)), (5, (3, 10))]
    assert [x.any() for x in (zeros, *(layer.linear.weight.data for layer in maxout))] == [False, True, False]


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
    given = "--generator-layers", "linear 9;relu ;  linear  o; tanh;", "--critic-layers", "linear 4; linear o"
    ok(capsys, "train", *given, "--steps", 2, "--out", "a", "--batch", 8)
    assert fg.load("a", device="cpu").recipe.generator.layers == ("linear 9", "relu", "linear o", "tanh")
    ok(capsys, "train", "--config", "a/config.toml", "--out", "b")
    one, other = (fg.load(name, device="cpu").sample(2).tobytes() for name in "ab")
    assert one == other
    wrong = "--generator-layers", "linear 9; rely"
    assert "layer 2, 'rely'" in refused(capsys, 2, "train", *wrong, "--out", "c")
