"""What a wrong call says: one line that names the op and the shapes it got, and never a wrong answer instead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.errors import FastganError, ShapeError, UsageError
from fastgan.gan.objectives import gradient_penalty
from fastgan.gan.published import seo_sigmoid_layer
from fastgan.tape import Tensor, grad, no_grad, tensor

Shape = tuple[int, ...]
NORM = {"eps": 1e-5}

# op, the operands' shapes, settings, and the name that the message must have where it is not the op's own
WRONG: list[tuple[Callable[..., Any], tuple[Shape, ...], dict[str, Any], str]] = [
    (ops.add, ((3, 4), (3, 5)), {}, ""),
    (ops.add, ((2,), (3,)), {}, ""),
    (ops.subtract, ((3, 4), (4, 3)), {}, ""),
    (ops.multiply, ((3, 4), (3,)), {}, ""),
    (ops.divide, ((2, 3, 4), (2, 4)), {}, ""),
    (ops.matmul, ((3, 4), (3, 4)), {}, ""),
    (ops.matmul, ((4,), (4, 5)), {}, ""),
    (ops.matmul, ((3, 4), (4,)), {}, ""),
    (ops.matmul, ((2, 3, 4), (4, 5)), {}, ""),
    (ops.matmul, ((), (4, 5)), {}, ""),
    (ops.transpose, ((3, 4),), {"axes": (0, 1, 2)}, ""),
    (ops.transpose, ((3, 4),), {"axes": (0, 0)}, ""),
    (ops.transpose, ((3, 4),), {"axes": (0, 2)}, ""),
    (ops.reshape, ((3, 4),), {"shape": (5, 2)}, ""),
    (ops.reshape, ((3, 4),), {"shape": (-1, -1)}, ""),
    (ops.total, ((3, 4),), {"axis": 2}, ""),
    (ops.total, ((3, 4),), {"axis": (0, 0)}, ""),
    (ops.broadcast_to, ((3, 4),), {"shape": (3, 5)}, ""),
    (ops.broadcast_to, ((3, 4),), {"shape": (4,)}, ""),
    (ops.sum_to, ((3, 4),), {"shape": (3,)}, ""),
    (ops.sum_to, ((4,),), {"shape": (3,)}, ""),
    (ops.sum_to, ((3,),), {"shape": (2, 3)}, ""),
    (ops.index, ((3, 4),), {"key": 5}, ""),
    (ops.index, ((3, 4),), {"key": (0, 0, 0)}, ""),
    (ops.index, ((3, 4),), {"key": np.array([0, 3])}, ""),
    (ops.unindex, ((2, 3),), {"key": slice(0, 2), "shape": (4, 4)}, ""),
    (ops.unindex, ((2, 3),), {"key": np.array([0, 1, 2]), "shape": (4, 3)}, ""),
    (ops.linear, ((3, 4), (5, 2), (2,)), {}, ""),
    (ops.linear, ((3, 4), (4, 2), (3,)), {}, ""),
    (ops.linear, ((4,), (4, 2), (2,)), {}, ""),
    (ops.linear, ((3, 4), (4, 2), (1, 2)), {}, ""),
    (ops.linear_leaky_relu, ((3, 4), (5, 2), (2,)), {}, ""),
    (ops.linear_leaky_relu, ((3, 4), (4, 2), (1,)), {}, ""),
    (ops.linear_leaky_relu, ((3, 4), (4, 2), (3,)), {}, ""),
    (ops.linear_leaky_relu, ((3, 4), (4, 2), (1, 2)), {}, ""),
    (ops.linear_leaky_relu, ((3, 4), (4, 2), ()), {}, ""),
    (ops.linear_leaky_relu, ((4,), (4, 2), (2,)), {}, ""),
    (ops.linear_leaky_relu, ((2, 3, 4), (4, 2), (2,)), {}, ""),
    (ops.activation_grad, ((3, 4), (3, 5)), {"slope": 0.2}, ""),
    (ops.activation_grad, ((2, 6), (3, 4)), {"slope": 0.2}, ""),
    (ops.batch_norm, ((5, 3), (4,), (3,)), {}, ""),
    (ops.batch_norm, ((5, 3), (3,), (1,)), {}, ""),
    (ops.batch_norm_grad, ((5, 3), (4, 3), (3,)), NORM, ""),
    (ops.batch_norm_grad, ((5, 3), (5, 3), (4,)), NORM, ""),
    (ops.batch_norm_gamma_grad, ((5, 3), (5, 4)), NORM, ""),
    (ops.maximum, ((3, 4),), {"axis": 2}, ""),
    (ops.concat, ((3, 4), (3, 5)), {}, ""),
    (ops.concat, ((3, 4), (3,)), {}, ""),
    (ops.concat, ((3, 4), (3, 4)), {"axis": 2}, ""),
    (ops.dropout, ((3, 4), (3, 5)), {}, "dropout"),
    (ops.mse, ((5, 1), (4, 1)), {}, "mse"),
    (ops.bce_with_logits, ((5, 1), (4, 1)), {}, "bce_with_logits"),
    (seo_sigmoid_layer, ((3, 4), (5, 2), (2,)), {}, "linear"),
]


def named(row: Any) -> str:
    op, shapes, _, _ = row
    return f"{getattr(op, 'name', None) or op.__name__} {shapes}".replace(" ", "")


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("row", WRONG, ids=named)
def test_wrong_shapes_name_the_op_and_the_shapes_in_one_line(row: Any, kernels: bool) -> None:
    op, shapes, settings, name = row
    xs = [Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in shapes]
    with use_kernels(kernels), pytest.raises(ShapeError) as caught:
        op(*xs, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{name or getattr(op, 'name', '')}: ")
    assert [str(shape) for shape in shapes if str(shape) not in message] == []


def test_there_are_enough_wrong_shapes() -> None:
    assert len(WRONG) >= 30


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"mean: .*\(0, 3\)"):
        Tensor(np.ones((0, 3))).mean()


def leaf(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)


def scattered(key: Any) -> Any:
    wanted = np.zeros((3, 2))
    np.add.at(wanted, key, 1)
    return wanted


@pytest.mark.parametrize(
    "key",
    [
        np.array([[0, 0], [1, 1]]),
        (np.array([0, 0]), np.array([1, 1])),
        np.ones((3, 2), bool),
        np.ones(2, bool),
        0.5,
    ],
    ids=["2-d", "pair", "2-d mask", "short mask", "number"],
)
def test_other_keys_are_refused(key: Any) -> None:
    with pytest.raises(UsageError, match=r"index: got .*wanted"):
        leaf(3, 2)[key]


@pytest.mark.parametrize(
    "key",
    [
        [0, 0, 1],
        np.array([0, 0, 1]),
        np.array([], int),
        np.array([2, 1, 2], np.uint8),
        np.array([True, False, True]),
    ],
)
def test_the_gradient_of_rows(key: Any) -> None:
    x = leaf(3, 2)
    np.testing.assert_allclose(grad(x[key].sum(), [x])[0].data, scattered(key))


def test_nothing_is_joined_behind_the_tapes_back() -> None:
    """Arrays joined by NumPy would come out without a gradient, and no error to tell."""
    x = leaf(3)
    with pytest.raises((UsageError, ShapeError, TypeError)):
        ops.concat((x, x))  # NumPy's way of writing it
    with pytest.raises((UsageError, ShapeError, TypeError)):
        tensor([x, x])


def test_one_input_needs_no_list() -> None:
    x = leaf(3)
    (gx,) = grad(x.sum(), x)
    assert gx.data.tolist() == [1, 1, 1]


def test_lists_of_unequal_length_are_refused() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(FastganError):
        grad(x.sum(), [x], out=[])
    with pytest.raises(FastganError):
        grad([x.sum()], [x], [])


def test_a_penalty_without_a_tape_is_not_taken_for_that_of_a_constant_critic() -> None:
    x, epsilon = tensor([[1.0, 2.0]]), tensor([[0.5]])
    w = tensor([[3.0], [4.0]], requires_grad=True)
    with no_grad():
        value = gradient_penalty(lambda t: t @ w, x, x * 2, epsilon).item()
    assert value == pytest.approx(16)


def test_losses_do_not_pair_every_score_with_every_target() -> None:
    x, target = leaf(3).reshape(3, 1), tensor([0.0, 1.0, 0.0])
    for loss in (ops.mse, ops.bce_with_logits):
        with pytest.raises(ShapeError, match=r"\(3, 1\) and \(3,\)"):
            loss(x, target)


def test_slopes_whose_sign_would_lie_are_refused() -> None:
    x = tensor(np.ones((1, 3), np.float32))
    for kernels in (True, False):
        with use_kernels(kernels), pytest.raises(UsageError, match="slope 2"):
            ops.linear_leaky_relu(x, np.ones((3, 2), np.float32), np.zeros(2, np.float32), slope=2)
    with pytest.raises(UsageError, match="slope -1"):
        ops.leaky_relu(x, slope=-1)


def test_relu_of_infinity_is_no_nan() -> None:
    x = tensor(np.array([np.inf, -np.inf, 1.0], np.float32))
    with np.errstate(all="raise"):
        assert ops.relu(x).data.tolist() == [np.inf, 0, 1]


def test_numpy_scalars_do_not_widen() -> None:
    x = tensor(np.ones(2, np.float32))
    assert (x * np.float64(0.5)).dtype == (np.float64(2) - x).dtype == np.float32


X, W = (Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in ((2, 3), (3, 2)))
IMAGES = Tensor(np.ones((1, 4, 4, 1), np.float32))

# a call with other operands or settings than the op has, and words that the message must have
MISUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: ops.maximum(X, 0), "maximum: x, *, axis"),
    (lambda: ops.maximum(X), "maximum: axis"),
    (lambda: ops.linear(X, W), "linear: 'b' (x, w, b)"),
    (lambda: ops.linear(X, W, b=Tensor(np.ones(2, np.float32))), "linear: 'b' name (x, w, b)"),
    (lambda: ops.max_pool2d(IMAGES, 2), "max_pool2d: size, stride"),
    (lambda: ops.reshape(X, (3, 2)), "reshape: shape"),
    (lambda: ops.leaky_relu(X, slop=0.1), "leaky_relu: 'slop' mean slope"),
    (lambda: ops.linear_leaky_relu(X, W, np.ones(2, np.float32), slop=0.1), "linear_leaky_relu: mean slope"),
    (lambda: ops.concat(X, X, axes=1), "concat: 'axes' mean axis"),
    (lambda: ops.exp(), "exp: 'x' exp(x)"),
    (lambda: X**X, "power: Tensor number exp log"),
    (lambda: ops.power(X, exponent="2"), "power: str number"),
    (lambda: Tensor([1, 2, 3]), "Tensor: list fastgan.tensor"),
    (lambda: Tensor(1.5), "Tensor: float fastgan.tensor"),
    (lambda: Tensor(X), "Tensor: Tensor fastgan.tensor"),
]


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("row", MISUSED, ids=lambda row: row[1].replace(" ", ","))
def test_wrong_operands_and_settings_are_named_and_not_taken_for_shapes(row: Any, kernels: bool) -> None:
    call, words = row
    with use_kernels(kernels), pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert "operands of shape" not in message
    assert [word for word in words.split() if word not in message] == []


WIDE = Tensor(np.ones((2, 3)))  # float64
SETTINGS: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
PRODUCTS: list[tuple[str, Callable[[], Any]]] = [
    ("matmul", lambda: WIDE @ W),
    ("matmul", lambda: X @ W.numpy().astype(np.float64)),
    ("matmul", lambda: np.ones((2, 3), np.uint8) @ W),
    ("linear", lambda: ops.linear(WIDE, W, np.ones(2, np.float32))),
    ("linear", lambda: ops.linear(X, W, np.ones(2))),
    ("linear_leaky_relu", lambda: ops.linear_leaky_relu(WIDE, W, np.ones(2, np.float32))),
    ("convolve", lambda: ops.convolve(IMAGES, np.ones((2, 2, 1, 1)), **SETTINGS)),
    ("convolve", lambda: ops.convolve(IMAGES, np.ones((2, 2, 1, 1), np.float32), np.ones(1), **SETTINGS)),
    (
        "convolve_transposed",
        lambda: ops.convolve_transposed(IMAGES, np.ones((2, 2, 1, 1)), size=(5, 5), **SETTINGS),
    ),
]


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("row", PRODUCTS, ids=lambda row: row[0])
def test_a_product_of_two_dtypes_is_refused(row: Any, kernels: bool) -> None:
    """As in PyTorch: float64 data would silently make all that follows float64, and slow."""
    name, call = row
    with use_kernels(kernels), pytest.raises(UsageError, match=rf"^{name}: .*(float64|uint8).*one dtype"):
        call()


def test_an_exponent_does_not_widen() -> None:
    assert (X ** np.float64(2)).dtype == np.float32
    assert grad((X ** np.float64(3)).sum(), [X])[0].data.tolist() == [[3] * 3] * 2
