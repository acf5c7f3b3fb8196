"""Normalising layers, minibatch deviation and embeddings: against PyTorch to second derivatives, and wrong use."""

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradient
from torch_oracle import channels_first, normal, same_as_torch, torch

from fastgan import nn
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.nn import Conv2d, ConvTranspose2d, Embedding, Linear, Module, Sequential, SpectralNorm
from fastgan.tape import Tensor, grad, tensor

F = torch.nn.functional

IMAGES = [(2, 4, 5, 3), (1, 2, 1, 3), (3, 1, 2, 1), (2, 7, 7, 4), (5, 3, 3, 2)]
IMAGES += [(1, 6, 5, 8), (4, 2, 2, 16), (2, 8, 3, 5), (3, 5, 5, 1), (6, 2, 4, 2)]
ROWS = [(1, 2), (2, 3), (3, 3), (4, 16), (5, 7), (2, 33), (8, 4), (3, 5), (6, 2), (7, 10)]


def affine(layer: Any) -> Any:
    """The layer as a function of its input, gamma and beta."""

    def run(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        layer.gamma, layer.beta = gamma, beta
        return layer(x)  # type: ignore[no-any-return]

    return run


def with_affine(shape: tuple[int, ...]) -> list[Any]:
    x, gamma, beta = normal(shape, shape[-1:], shape[-1:])
    return [x * 3 + 1, gamma, beta]


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_layer_norm_of_images_is_pytorchs_group_norm_with_one_group(shape: tuple[int, ...]) -> None:
    theirs = channels_first(lambda x, gamma, beta: F.group_norm(x, 1, gamma, beta, eps=1e-3))
    same_as_torch(affine(nn.LayerNorm(shape[-1], eps=1e-3)), theirs, with_affine(shape))


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_layer_norm_of_rows_is_pytorchs(shape: tuple[int, ...]) -> None:
    same_as_torch(
        affine(nn.LayerNorm(shape[-1])),
        lambda x, gamma, beta: F.layer_norm(x, shape[-1:], gamma, beta, eps=1e-5),
        with_affine(shape),
    )


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_instance_norm_is_pytorchs_group_norm_with_a_group_per_channel(shape: tuple[int, ...]) -> None:
    """Not its instance_norm, whose second derivative for a single image is wrong (PyTorch 2.13)."""
    theirs = channels_first(lambda x, gamma, beta: F.group_norm(x, shape[-1], gamma, beta, eps=1e-2))
    same_as_torch(affine(nn.InstanceNorm(shape[-1], eps=1e-2)), theirs, with_affine(shape))


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_batch_norm_of_images_is_pytorchs(shape: tuple[int, ...]) -> None:
    theirs = channels_first(
        lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-3)
    )
    same_as_torch(affine(nn.BatchNorm(shape[-1], eps=1e-3)), theirs, with_affine(shape))


def karras(x: Any, group: int) -> Any:
    """minibatch_stddev_layer of the paper's code, for the channels last."""
    group = min(group, len(x))
    y = x.reshape(group, -1, *x.shape[1:])
    y = y - y.mean(dim=0, keepdim=True)
    y = ((y**2).mean(dim=0) + 1e-8).sqrt()
    y = y.mean(dim=tuple(range(1, y.ndim)), keepdim=True)
    y = y.repeat(group, *x.shape[1:-1], 1)
    return torch.cat([x, y], dim=-1)


@pytest.mark.parametrize(
    ("shape", "group"),
    [
        ((4, 2, 3, 2), 4),
        ((8, 2, 2, 3), 4),
        ((6, 3, 1, 2), 3),
        ((6, 2, 2, 1), 2),
        ((3, 2, 2, 2), 4),  # a batch smaller than a group
        ((2, 4, 4, 1), 2),
        ((12, 1, 1, 5), 4),
        ((4, 3), 2),
        ((5, 7), 5),
        ((9, 2, 3), 3),
    ],
    ids=str,
)
def test_minibatch_deviation_is_the_papers(shape: tuple[int, ...], group: int) -> None:
    same_as_torch(nn.MinibatchStdDev(group), lambda x: karras(x, group), normal(shape))


@pytest.mark.parametrize(("count", "f"), ROWS, ids=str)
def test_embedding_is_pytorchs(count: int, f: int) -> None:
    labels = np.random.default_rng(0).integers(0, count, 6)
    layer = Embedding(count, f, seed=0)

    def run(w: Tensor) -> Tensor:
        layer.weight = w
        return layer(labels)

    same_as_torch(run, lambda w: F.embedding(torch.tensor(labels), w), normal((count, f)))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_may_be_whole_numbers_of_any_kind_and_container(kind: Any) -> None:
    layer = Embedding(3, 4, seed=0)
    labels = np.array([2, 0, 2], kind)
    for given in (labels, Tensor(labels), labels.tolist()):
        assert np.array_equal(layer(given).data, layer.weight.data[[2, 0, 2]])
    assert layer(np.array([], kind)).shape == (0, 4)


def test_an_embedding_starts_at_normal_values() -> None:
    w = Embedding(100, 200, seed=0).weight.data
    assert (w.std(), w.mean()) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02))
    assert not np.array_equal(w, Embedding(100, 200, seed=1).weight.data)
    assert Embedding(100, 200, init="glorot_uniform", init_scale=0.5).weight.data.std() < 0.1


STRIDED = {"stride": 2, "padding": 1}
# layer, its arguments and settings, the input's shape
SPECTRAL: list[tuple[str, tuple[Any, ...], dict[str, int], tuple[int, ...]]] = [
    ("Linear", (3, 5), {}, (4, 3)),
    ("Linear", (6, 1), {}, (2, 6)),
    ("Linear", (4, 4), {}, (1, 4)),
    ("Conv2d", (2, 3, 3), {}, (2, 5, 4, 2)),
    ("Conv2d", (3, 2, (1, 4)), {}, (1, 2, 6, 3)),
    ("Conv2d", (2, 4, 4), STRIDED, (2, 6, 6, 2)),
    ("Conv2d", (5, 1, 1), {}, (2, 3, 3, 5)),
    ("ConvTranspose2d", (2, 3, 3), {}, (2, 3, 4, 2)),
    ("ConvTranspose2d", (4, 2, 4), STRIDED, (1, 3, 3, 4)),
    ("ConvTranspose2d", (3, 5, (2, 1)), {}, (2, 2, 2, 3)),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "args", "settings", "shape"), SPECTRAL, ids=str)
def test_spectral_norm_is_pytorchs(
    kind: str, args: Any, settings: Any, shape: tuple[int, ...], training: bool
) -> None:
    norm = SpectralNorm(getattr(nn, kind)(*args, **settings))
    theirs = getattr(torch.nn, kind)(*args, **settings).double()
    other = torch.nn.utils.parametrizations.spectral_norm(theirs).train(training)
    norm.train(training)
    layer, state = norm.layer, other.parametrizations.weight[0]
    x, w, b = normal(shape, layer.weight.shape, layer.bias.shape)
    norm.u, norm.v = normal(norm.u.shape, norm.v.shape, seed=1)
    state._u.copy_(torch.tensor(norm.u))
    # PyTorch has a unit's numbers as (i, kh, kw)
    state._v.copy_(torch.tensor(norm.v.reshape(*w.shape[:-2], -1)).movedim(-1, 0).flatten())
    before = norm.u.copy()

    def run(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        layer.weight, layer.bias = w, b
        return norm(x)

    def check(x: Any, w: Any, b: Any) -> Any:
        w = w.T if w.ndim == 2 else w.permute(3, 2, 0, 1)
        values = {"parametrizations.weight.original": w.contiguous(), "bias": b}
        return torch.func.functional_call(other, values, x)

    same_as_torch(run, check if len(shape) == 2 else channels_first(check), [x, w, b])
    np.testing.assert_allclose(norm.u, state._u.numpy(), rtol=1e-9, atol=1e-12)
    assert np.array_equal(norm.u, before) == (not training)


@pytest.mark.parametrize(
    "layer", [Linear(6, 9), Conv2d(4, 5, 3), ConvTranspose2d(4, 5, 3)], ids=lambda x: type(x).__name__
)
def test_a_spectral_norm_brings_the_largest_singular_value_to_one(layer: Any) -> None:
    norm, axis = SpectralNorm(layer), layer.out_axis
    shape = (2, 6) if isinstance(layer, Linear) else (2, 4, 4, 4)
    layer.bias.data[...] = 0
    x = Tensor(normal(shape)[0].astype(np.float32))
    for _ in range(100):
        norm(x)
    matrix = np.moveaxis(layer.weight.data, axis, -1).reshape(-1, layer.weight.shape[axis])
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    np.testing.assert_allclose(norm(x).data, layer(x).data / largest, rtol=1e-3, atol=1e-5)


def test_spectral_norms_state_is_kept_and_its_start_is_the_seeds() -> None:
    nets = [Sequential(SpectralNorm(Conv2d(2, 3, 3)), nn.ReLU(), seed=seed) for seed in (1, 1, 2)]
    values = [net.values() for net in nets]
    assert list(values[0]) == ["0.layer.weight", "0.layer.bias", "0.u", "0.v"]
    assert all(np.array_equal(x, values[1][name]) for name, x in values[0].items())
    nets[2].load({name: x.copy() for name, x in values[0].items()})
    x = Tensor(normal((1, 4, 4, 2))[0].astype(np.float32))
    assert np.array_equal(nets[0](x).data, nets[2](x).data)


def test_a_later_pass_does_not_change_the_gradient_of_an_earlier_one() -> None:
    norm = SpectralNorm(Linear(5, 4, seed=0))
    norm.v[...] = [1, 0, 0, 0, 0]  # far from where the iteration goes
    w, start = norm.layer.weight, norm.v.copy()
    x, other = (Tensor(z.astype(np.float32)) for z in normal((3, 5), (3, 5)))
    (wanted,) = grad(norm(x).sum(), [w])
    norm.v[...] = start
    y = norm(x).sum()
    for _ in range(5):
        norm(other)
    assert np.array_equal(grad(y, [w])[0].data, wanted.data)


def test_sequential_runs_a_spectral_layer_and_its_activation_together() -> None:
    norm = SpectralNorm(Linear(5, 4, seed=0)).eval()
    x = Tensor(normal((3, 5))[0].astype(np.float32))
    y = Sequential(norm, nn.LeakyReLU(0.3))(x)
    assert y.node is not None
    assert y.node.op.name == "linear_leaky_relu"
    np.testing.assert_allclose(y.data, nn.LeakyReLU(0.3)(norm(x)).data, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm(2),
        nn.LayerNorm(2),
        nn.InstanceNorm(2),
        nn.MinibatchStdDev(2),
        SpectralNorm(Conv2d(2, 3, 3)),
        SpectralNorm(ConvTranspose2d(2, 3, 3)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_gradients_are_finite_differences(layer: Any, order: int) -> None:
    """In inference for spectral norm: its u and v are constants, and finite differences would move them."""
    owner: Module = getattr(layer, "layer", layer)
    names = [name for name, _ in owner.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        for name, p in zip(names, parameters, strict=True):
            setattr(owner, name, p)
        return layer(x)  # type: ignore[no-any-return]

    if isinstance(layer, SpectralNorm):
        layer.eval()
    check_gradient(run, normal((4, 5, 4, 2), *(p.shape for p in owner.parameters())), order=order)


def test_norms_start_as_the_identity_again() -> None:
    net = Sequential(nn.LayerNorm(3), nn.InstanceNorm(3), seed=0)
    for p in net.parameters():
        p.data[...] = 7
    fresh = Sequential(net, seed=0)
    assert [p.data.tolist() for p in fresh.parameters()] == [[1, 1, 1], [0, 0, 0]] * 2


def image(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


class Doubled(Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) * 2


WRONG: list[tuple[Any, type[FastganError], str]] = [
    (lambda: nn.LayerNorm(3)(image(2, 4, 4, 2)), ShapeError, "LayerNorm: got x .* wanted .* 3"),
    (lambda: nn.LayerNorm(3)(image(3)), ShapeError, "LayerNorm: got x"),
    (lambda: nn.InstanceNorm(3)(image(2, 4, 4, 2)), ShapeError, "InstanceNorm: got x .* wanted .* 3"),
    (lambda: nn.InstanceNorm(3)(image(2, 3)), ShapeError, "InstanceNorm: got x .* two or more pixels"),
    (lambda: nn.InstanceNorm(3)(image(2, 1, 1, 3)), ShapeError, "InstanceNorm: got x .* two or more pixels"),
    (lambda: nn.BatchNorm(3)(image(2, 4, 4, 2)), ShapeError, "BatchNorm: got x"),
    (lambda: SpectralNorm(nn.ReLU()), UsageError, "SpectralNorm: got ReLU, wanted a Linear"),
    (lambda: SpectralNorm(Doubled(2, 3)), UsageError, "SpectralNorm: got Doubled"),
    (lambda: SpectralNorm(Linear(2, 3))(image(4, 3)), ShapeError, "linear: got x"),
    (lambda: nn.MinibatchStdDev(1), UsageError, "got groups of 1"),
    (lambda: nn.MinibatchStdDev(4)(image(6, 3)), ShapeError, "got x .* multiple of 4"),
    (lambda: nn.MinibatchStdDev(4)(image(0, 3)), ShapeError, "MinibatchStdDev: got x"),
    (lambda: Embedding(0, 3), ShapeError, "Embedding: got 0 labels"),
    (lambda: Embedding(10, 3)([3, 10]), UsageError, "got label 10, wanted 0 to 9"),
    (lambda: Embedding(10, 3)(np.array([-1, 3])), UsageError, "got label -1, wanted 0 to 9"),
    (lambda: Embedding(10, 3)(tensor([1.0, 2.0])), ShapeError, "of float32, wanted whole numbers"),
    (lambda: Embedding(10, 3)([0.5]), ShapeError, "of float64, wanted whole numbers"),
    (lambda: Embedding(10, 3)(np.zeros((2, 1), int)), ShapeError, r"labels \(2, 1\)"),
    (lambda: Embedding(10, 3)(np.array([True])), ShapeError, "of bool, wanted whole numbers"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_use_is_one_clear_line(call: Any, kind: type[FastganError], message: str) -> None:
    with pytest.raises(kind, match=message) as told:
        call()
    assert "\n" not in str(told.value)
