"""What users of PyTorch and NumPy try in the first hour: it works, or one line says why not. Each was wrong once."""

import copy
import gc
import operator
import weakref

import numpy as np
import pytest
from gradcheck import check_gradient

import fastgan as fg
from fastgan import nn, ops
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.optim import SGD, Adam, AdamW
from fastgan.random import Stream, fill_uniform, uniform


def ones(*shape, grad=False):
    return fg.tensor(np.ones(shape, np.float32), requires_grad=grad)


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1), seed=1)


def step(network, optimizer):
    fg.grad((network(ones(2, 3)) ** 2).mean(), network.parameters(), out=optimizer.gradients)
    optimizer.step()


def moved(network, optimizer):
    before = [p.data.copy() for p in network.parameters()]
    step(network, optimizer)
    return [bool((p.data != old).any()) for p, old in zip(network.parameters(), before, strict=True)]


def test_a_copy_is_independent_and_trains():
    first = net()
    step(first, Adam(first))
    second = copy.deepcopy(first)
    wanted = second(ones(2, 3)).data.copy()
    for p in first.parameters():
        p.data[...] = 0
    assert (second(ones(2, 3)).data == wanted).all()
    assert all(moved(second, SGD(second, lr=0.1)))


def test_layers_can_be_changed_and_added():
    network = net()
    before = network(ones(2, 3)).data
    network[1].slope = 0.9
    assert (network(ones(2, 3)).data != before).any()
    Adam(network)
    setattr(network, "3", nn.Linear(1, 5))
    assert network(ones(2, 3)).shape == (2, 5)
    assert len(network) == 4
    assert all(moved(network, SGD(network, lr=0.1)))


def test_loose_tensors_can_be_optimized():
    w = ones(3, 1, grad=True)
    optimizer = Adam([w], lr=0.1)
    fg.grad((ones(2, 3) @ w).mean(), [w], out=optimizer.gradients)
    optimizer.step()
    assert w.data == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (42 * [1.0], "list of Tensors"),
        *((x, r"Adam: .*without parameters") for x in (nn.Module(), nn.Sequential(nn.Tanh()), [])),
    ],
)
def test_nothing_to_train_is_refused(wrong, match):
    with pytest.raises(UsageError, match=match):
        Adam(wrong)


def test_adamw_clips_too():
    network = net()
    optimizer = AdamW(network, lr=1.0, clip=0.01)
    step(network, optimizer)
    assert abs(optimizer.flat.buffer).max() == np.float32(0.01)


def test_wrong_gradients_are_refused():
    network = net()
    optimizer = Adam(network)
    bias = network[0].bias
    with pytest.raises(ShapeError, match=r"gradient of shape \(4,\).*wanted \(3, 4\)"):
        optimizer.step([bias, bias, bias, bias])
    x = ones(4, 3, grad=True)
    with pytest.raises(ShapeError, match="as out"):
        fg.grad(x.sum(), [x], out=[np.zeros((2, 4, 3), np.float32)])


def test_buffers_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        network = net()
        flat = weakref.ref(Adam(network).flat)
        del network
        assert flat() is None
    finally:
        gc.enable()


def test_dropout_of_two_networks_and_of_late_calls_differs_and_a_rate_is_refused():
    """Calls beyond those that the stream's number has room for."""
    generator, critic = nn.Sequential(nn.Dropout(0.5)), nn.Sequential(nn.Dropout(0.5))
    generator.begin(1, 2)
    critic.begin(1, 2, first=2)
    first = generator(ones(64)).data
    generator[0].calls_done = 2**16
    for other in (critic, generator):
        assert (other(ones(64)).data != first).any()
    with pytest.raises(ShapeError, match="wanted a mask"):
        ops.dropout(ones(2, 2), 0.5)


def test_targets_may_be_numbers_of_any_kind():
    scores = fg.tensor(np.array([[0.5], [0.2]], np.float32))
    for loss in (ops.mse, ops.bce_with_logits):
        assert loss(scores, np.float64(0.9)).item() == loss(scores, 0.9).item()
        assert loss(scores, fg.tensor(0.9)).item() == pytest.approx(loss(scores, 0.9).item())


def test_batch_norm_of_another_width_is_refused_and_leaves_the_statistics():
    layer = nn.BatchNorm(8)
    for training in (True, False):
        with pytest.raises(ShapeError, match=r"wanted \(\.\.\., 8\)"):
            layer.train(training)(ones(5, 1))
    assert not layer.mean.any()


def test_sigmoid_keeps_its_tail():
    x = np.array([-80, -30, -17, 0, 17, 80], np.float32)
    wanted = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert ops.sigmoid(fg.tensor(x)).data == pytest.approx(wanted, rel=3e-7)


def test_relu_kernel_of_minus_infinity_is_zero():
    x = fg.tensor(np.array([[-np.inf]], np.float32))
    y = ops.linear_leaky_relu(x, np.ones((1, 1), np.float32), np.zeros(1, np.float32), slope=0.0)
    assert y.item() == 0


@pytest.mark.parametrize("scalar", [np.int64(3), np.float64(0.5), np.float32(2), np.bool_(True)])
def test_numpy_scalars_keep_float32(scalar):
    assert (ones(2) * scalar).dtype == (scalar - ones(2)).dtype == np.float32


def test_rows_by_any_kind_of_number():
    x = fg.tensor(np.arange(600, dtype=np.float32).reshape(300, 2), requires_grad=True)
    wanted = np.zeros((300, 2), np.float32)
    np.add.at(wanted, [3, 3, 200], 1)
    for key in ([3, 3, 200], np.array([3, 3, 200], np.uint8), fg.tensor(np.array([3, 3, 200]))):
        (g,) = fg.grad(x[key].sum(), [x])
        assert (g.data == wanted).all()
    (g,) = fg.grad(x[np.int64(1)].sum(), [x])
    assert g.data.sum() == 2


def test_one_infinite_row_gradient_stays_in_its_row():
    x = ones(3, 1, grad=True)
    (g,) = fg.grad([x[[0, 1]]], [x], [fg.tensor(np.array([[np.inf], [1]], np.float32))])
    assert g.data.ravel().tolist() == [np.inf, 1, 0]


def test_weights_of_outputs_and_axes_in_any_form():
    x = ones(2, 3, grad=True)
    for weights in (ones(2, 3), [ones(2, 3)], [np.ones((2, 3), np.float32)]):
        g = fg.grad(x * 3, x, weights)[0]
        assert isinstance(g, fg.Tensor)
        assert (g.data == 3).all()
    assert fg.grad(x.sum(axis=np.int64(0)).sum(), [x])[0].shape == (2, 3)
    assert float(x.sum()) == 6


def test_streams_and_numpy_numbers_are_numbers():
    """CuPy takes no subclasses of int: the array code must hand it plain ones."""
    with fg.use_kernels(False):
        a = uniform((5,), seed=np.int64(3), stream=Stream.NOISE, step=np.int64(2))
    b = uniform((5,), seed=3, stream=1, step=2)
    assert (a == b).all()
    with pytest.raises(FastganError):
        fill_uniform(a, seed=-1, stream=1, step=0)


@pytest.mark.parametrize("how", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons_are_elementwise_on_either_side(how):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, 2.5])
    compare, x = getattr(operator, how), fg.tensor(a, requires_grad=True)
    for other, plain in [(fg.tensor(b), b), (b, b), (b.tolist(), b), (2.5, 2.5), (np.float64(2.5), 2.5)]:
        for got, wanted in ((compare(x, other), compare(a, plain)), (compare(other, x), compare(plain, a))):
            assert type(got) is np.ndarray
            assert (got.dtype, got.tolist()) == (bool, wanted.tolist())


def test_an_accuracy_is_what_it_looks_like():
    y = np.array([0, 1, 1, 0])
    found = fg.tensor(np.array([0, 1, 0, 0]))
    assert np.mean(found == y) == np.mean(y == found) == (found == y).mean() == 0.75
    assert (found == y).sum() == 3
    assert not (found == y).all()
    with pytest.raises(ShapeError, match=r"\(4,\), \(3,\)"):
        found == y[:3]  # noqa: B015


def test_a_tensor_is_itself_in_a_dict_and_no_other_thing():
    x, y = ones(2), ones(2)
    assert {x: "x", y: "y"}[x] == "x"
    assert len({x, y, x}) == 2
    assert (x == None, x != None, x == "text") == (False, True, False)  # noqa: E711
    with pytest.raises(TypeError):
        x < "text"  # noqa: B015


def test_the_truth_of_one_element_and_of_several():
    assert fg.tensor(2.0)
    assert not fg.tensor([[0.0]])
    for several in (ones(2), ones(0)):
        with pytest.raises(UsageError, match=r"truth value.*\.all\(\)"):
            bool(several)


class Holder(nn.Module):
    def __init__(self, **held):
        vars(self).update(held)

    def __call__(self, x):
        return x


HELD = {  # what a Module has as attributes, and its parameters' names
    "a list": (lambda: {"layers": [nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1)]}, "layers.0 layers.2"),
    "a tuple": (lambda: {"layers": (nn.Linear(1, 1),)}, "layers.0"),
    "a dict": (lambda: {"heads": {"cat": nn.Linear(1, 1), 7: nn.Linear(1, 1)}}, "heads.cat heads.7"),
    "nested": (lambda: {"a": [{"b": (nn.Linear(1, 1),)}], "c": nn.Linear(1, 1)}, "a.0.b.0 c"),
    "in a part": (lambda: {"inner": Holder(layers=[nn.Linear(1, 1)])}, "inner.layers.0"),
}


@pytest.mark.parametrize("case", HELD)
def test_layers_in_lists_and_dicts_are_parts(case):
    """And `values` are copies, which `load` takes back."""
    make, names = HELD[case]
    network = Holder(**make())
    wanted = [f"{name}.{kind}" for name in names.split() for kind in ("weight", "bias")]
    assert [name for name, _ in network.named_parameters()] == wanted
    before = network.values()
    kept = {name: array.copy() for name, array in before.items()}
    SGD(network, lr=1.0).step([np.ones(p.shape, np.float32) for p in network.parameters()])
    assert all((array == kept[name] - 1).all() for name, array in network.values().items())
    assert all((before[name] == kept[name]).all() for name in before)
    network.load(before)
    assert all((array == kept[name]).all() for name, array in network.values().items())
    assert not any(module.training for module in network.eval().modules())


def test_a_list_that_a_sequential_keeps_besides_is_not_run():
    class Kept(nn.Sequential):
        def __init__(self, *layers):
            super().__init__(*layers)
            self.kept = list(layers)

    layers = [nn.Linear(2, 2, seed=0), nn.Tanh()]
    plain, kept = nn.Sequential(*layers), Kept(*layers)
    assert (kept(ones(3, 2)).data == plain(ones(3, 2)).data).all()
    assert (len(kept), [*kept.values()]) == (2, [*plain.values()])
    plain.more = [nn.Linear(2, 2)]
    assert len(plain) == 2


def test_tensors_and_running_statistics_in_lists_count_too():
    network = Holder(scales=[ones(2, grad=True), ones(3), ones(4, grad=True)], norms=[nn.BatchNorm(5)])
    norm = [f"norms.0.{name}" for name in ("gamma", "beta", "mean", "variance")]
    assert [*network.values()] == ["scales.0", "scales.2", *norm]
    assert (network.count(trained_only=True), network.count()) == (16, 26)
    with pytest.raises(UsageError, match=r"a\.b\.weight"):
        Holder(**{"a.b": nn.Linear(1, 1), "a": {"b": nn.Linear(1, 1)}}).values()


def shared():
    layer, weight = nn.Linear(3, 3), ones(3, 3, grad=True)
    return {
        "a layer twice": (nn.Sequential(layer, nn.Tanh(), layer), ["0.weight", "0.bias"]),
        "under two names": (Holder(a=layer, b=layer), ["a.weight", "a.bias"]),
        "a Tensor in two": (Holder(a=Holder(w=weight), b=Holder(w=weight)), ["a.w"]),
        "a circle": (Holder(w=weight, a=Holder()), ["w"]),
    }


@pytest.mark.parametrize("case", shared())
def test_what_is_shared_has_its_parameters_once(case):
    network, names = shared()[case]
    if case == "a circle":
        network.a.back = network
    size = sum(p.size for p in network.parameters())
    assert [name for name, _ in network.named_parameters()] == [*network.values()] == names
    assert (network.count(), len(set(network.modules()))) == (size, len([*network.modules()]))
    assert nn.flatten(network).buffer.size == sum(-(-p.size // 32) * 32 for p in network.parameters())


def test_a_shared_layers_gradient_is_the_sum():
    layer = nn.Linear(3, 3)
    network = nn.Sequential(layer, nn.Tanh(), layer)

    def run(x, w, b):
        layer.weight, layer.bias = w, b
        return network(x)

    rng = np.random.default_rng(0)
    for order in (1, 2):
        check_gradient(run, [rng.normal(size=s) for s in ((4, 3), (3, 3), (3,))], order=order)


def test_a_shared_layers_gradient_has_its_norm_once():
    layer = nn.Linear(2, 2, bias=False)
    optimizer = SGD(nn.Sequential(layer, nn.Tanh(), layer), lr=1.0, max_norm=1.0)
    before = layer.weight.data.copy()
    optimizer.step([np.full((2, 2), 10, np.float32)])
    assert np.linalg.norm(layer.weight.data - before) == pytest.approx(1, rel=1e-5)
