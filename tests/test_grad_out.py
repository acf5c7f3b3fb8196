"""`grad` with `out`: the gradients land in the given arrays, with the values that they have without."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan import ops
from fastgan.errors import UsageError
from fastgan.tape import Tensor, grad, tensor


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def places(xs: list[Tensor]) -> list[NDArray[Any]]:
    """Where to write gradients: full of what must not remain."""
    return [np.full(x.shape, 7.0, x.dtype) for x in xs]


def test_out_receives_the_gradients() -> None:
    x, w, b, unused = leaf(4, 3), leaf(3, 2), leaf(2), leaf(5)
    xs = [x, w, b, unused]
    y = ops.tanh(ops.linear_leaky_relu(x, w, b))
    loss = (y * y).sum() + (b * b).sum() + (x @ w).mean()
    wanted = grad(loss, xs, allow_unused=True)
    out = places(xs)
    got = grad(loss, xs, allow_unused=True, out=out)
    for g, place, plain in zip(got, out, wanted, strict=True):
        assert g.data is place
        np.testing.assert_allclose(place, plain.data, rtol=1e-12)


def test_out_accumulates_for_a_weight_used_more_than_once() -> None:
    w, b = leaf(3, 3), leaf(3)
    h = Tensor(np.random.default_rng(1).normal(size=(4, 3)))
    for _ in range(3):
        h = ops.linear_leaky_relu(h, w, b)
    wanted = grad(h.sum(), [w, b])
    out = places([w, b])
    grad(h.sum(), [w, b], out=out)
    for place, plain in zip(out, wanted, strict=True):
        np.testing.assert_allclose(place, plain.data, rtol=1e-12)


def test_out_with_an_intermediate_and_what_comes_before_it() -> None:
    x, w = leaf(3), leaf(3, seed=1)
    h = x * w
    loss = (h * h + h + x).sum()
    wanted = grad(loss, [h, x, w])
    out = places([h, x, w])
    grad(loss, [h, x, w], out=out)
    for place, plain in zip(out, wanted, strict=True):
        np.testing.assert_allclose(place, plain.data, rtol=1e-12)


def test_an_output_can_be_asked_for_itself() -> None:
    x = leaf(3)
    y = x * 2
    z = (y * y).sum()
    weights = [tensor([1.0, 2.0, 3.0]), Tensor(np.ones(()))]
    out = places([y])
    assert grad(z, [z])[0].item() == 1
    assert grad([y], [y], weights[:1], out=out)[0].data.tolist() == [1, 2, 3]
    assert out[0].tolist() == [1, 2, 3]


def test_an_output_that_others_depend_on_can_be_asked_for_itself() -> None:
    x = leaf(3)
    y = x * 2
    z = (y * y).sum()
    weights, out = [tensor([1.0, 2.0, 3.0]), Tensor(np.ones(()))], places([y])
    (wanted,) = grad([y, z], [y], weights)
    np.testing.assert_allclose(wanted.data, weights[0].data + 2 * y.data)
    grad([y, z], [y], weights, out=out)
    np.testing.assert_allclose(out[0], wanted.data)


def test_an_input_asked_for_twice_is_answered_twice() -> None:
    x = leaf(3)
    out = places([x, x])
    assert [g.data.tolist() for g in grad(x.sum(), [x, x])] == [[1, 1, 1]] * 2
    grad(x.sum(), [x, x], out=out)
    assert [place.tolist() for place in out] == [[1, 1, 1]] * 2


def test_out_does_not_go_with_create_graph() -> None:
    x = leaf(3)
    with pytest.raises(UsageError, match="both out and create_graph"):
        grad(x.sum(), [x], create_graph=True, out=places([x]))


@pytest.mark.parametrize("kernels_fit", [True, False])
def test_out_lands_in_a_flat_buffer_and_nothing_beside_it(kernels_fit: bool) -> None:
    xs = [leaf(4, 3), leaf(3, 2), leaf(2)]
    if kernels_fit:
        xs = [Tensor(x.data.astype(np.float32), requires_grad=True) for x in xs]
    flat = np.full(40, 7.0, xs[0].dtype)
    out = [flat[1:13].reshape(4, 3), flat[20:26].reshape(3, 2), flat[30:32]]
    wanted = grad(ops.linear_leaky_relu(*xs).sum(), xs)
    grad(ops.linear_leaky_relu(*xs).sum(), xs, out=out)
    for place, plain in zip(out, wanted, strict=True):
        np.testing.assert_allclose(place, plain.data, rtol=1e-6)
    flat[1:13] = flat[20:26] = flat[30:32] = 7
    assert (flat == 7).all()


def test_parts_of_a_concatenation_get_whole_arrays() -> None:
    """A GEMM's kernel takes no view."""
    a, b = leaf(3, 2), leaf(3, 4)
    for g in grad((ops.concat(a, b, axis=1) ** 2).sum(), [a, b]):
        assert g.data.flags.c_contiguous
