"""Operands that a CPU kernel would go wrong on are left to the array code, before anything is written."""

from typing import Any

import numpy as np
import pytest
from kernel_cases import ADAM, NORM, RMSPROP, SGD, Arrays, on_cpu
from numpy.typing import NDArray

from fastgan import ops, optim
from fastgan.dispatch import Fusable
from fastgan.gan import batches
from fastgan.ops.dense import linear_backward, tangent, weight_gradients
from fastgan.ops.loss import head_loss, penalty
from fastgan.ops.norm import norm_backward, norm_forward


def misfits() -> list[tuple[Fusable, Arrays, dict[str, Any]]]:
    """Operands and settings that a CPU kernel would read or write past the end of, or in another dtype or order."""

    def zeros(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    out: list[tuple[Fusable, Arrays, dict[str, Any]]] = []
    v, a, w, frozen = zeros(4, 3), zeros(4, 2), zeros(2, 3), zeros(3)
    frozen.flags.writeable = False
    fit = {"gw": zeros(2, 3), "gb": zeros(3)}
    for bad in (
        {"gb": zeros(9)},
        {"gb": zeros(3, dtype=np.float64)},
        {"gb": zeros(6)[::2]},
        {"gb": frozen},
        {"gb": None},
        {"gw": zeros(3, 2).T},
        {"gw": zeros(9, 9)},
    ):
        out.append((linear_backward, [v, a, w], fit | bad))
        out.append((weight_gradients, [a, v], fit | bad | {"rows": 4}))
    out.append((weight_gradients, [a, v], fit | {"rows": -1}))
    out.append((weight_gradients, [zeros(5, 2), v], fit | {"rows": 4}))
    out.append((tangent, [v, zeros(3, 2), zeros(3, 2)], {"slope": 0.2}))
    out += [
        (ops.linear.forward, [a, w, zeros(2)], {}),
        (ops.linear.forward, [a, w, zeros(3)], {"act": "sine"}),
    ]
    out.append((ops.linear.forward, [a, w, zeros(3)], {"slope": 1.5}))
    for k in range(1, 5):
        out.append((norm_forward, [zeros(2) if i == k else v[i % 4] for i in range(5)], NORM))
        out[-1][1][0] = v
    out.append((norm_forward, [v, *v], NORM | {"stats": zeros(3, 2)}))
    places = {"ggamma": zeros(3), "gbeta": zeros(3)}
    out.append((norm_backward, [v, v, v[0], zeros(2, 2)], places))
    out.append((norm_backward, [v, v, zeros(2), zeros(2, 3)], places))
    for name in places:
        out.append((norm_backward, [v, v, v[0], zeros(2, 3)], places | {name: zeros(2)}))
    losses = {"kinds": ("s", "-s"), "counts": (2, 2)}
    for bad in ({"counts": (2, 3)}, {"counts": (5, -1)}, {"counts": (4, 0)}, {"kinds": ("s",)}):
        out.append((ops.score_loss.forward, [zeros(4, 1)], losses | bad))
    out.append((ops.score_loss.forward, [zeros(4, 1)], losses | {"kinds": ("s", "s^3")}))
    out.append((head_loss, [v, zeros(4, 1), zeros(1)], losses))
    out.append((penalty, [v, zeros(4, 2)], {"weight": 1.0}))
    updates: list[tuple[Fusable, int, dict[str, Any]]] = [
        (optim.adam_update, 4, ADAM),
        (optim.rmsprop_update, 3, RMSPROP),
        (optim.sgd_update, 3, SGD),
    ]
    for update, n, settings in updates:
        flat = [np.ones(9, np.float32) for _ in range(n)]
        out += [(update, [zeros(8) if i == k else flat[i] for i in range(n)], settings) for k in range(n)]
        for average in (zeros(8), zeros(9, dtype=np.float64), zeros(18)[::2]):
            out.append((update, flat, settings | {"average": average, "follow": 0.1}))
    return out + [(batches.assemble, [zeros(n, 3)], batch | bad) for n, batch, bad in bad_batches()]


def bad_batches() -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Rows of the result, good settings for them, and what is wrong with one of these."""
    rows, fake = np.ones((9, 3), np.float32), np.ones((4, 3), np.float32)
    good = {"rows": rows, "batch": 4, "scale": 2.0, "offset": 0.0, "seed": 1, "update": 1}
    epochs = good | {"sampling": "epochs"}
    order = np.arange(9)[None]
    return [
        (4, good, {"rows": rows.T.copy().T}),
        (4, good, {"rows": rows.astype(np.float64)}),
        (4, good, {"rows": rows[:, :2].copy()}),
        (4, good, {"seed": 2**64}),
        (3, good, {}),
        (4, good, {"fake": fake}),
        (8, good, {"mixed": True}),
        (12, good, {"mixed": True}),
        (8, good, {"fake": fake[:3]}),
        (8, good, {"fake": fake.astype(np.float64)}),
        (12, good, {"batch": 12, "sampling": "sequential"}),
        (4, epochs, {"order": order + 5}),
        (4, epochs, {"order": order - 9}),
        (4, epochs, {"order": order[:, :8]}),
        (4, epochs, {"order": order.astype(np.float32)}),
    ]


def test_what_would_pass_the_end_of_an_array_is_left_to_the_array_code() -> None:
    for fusable, operands, settings in misfits():
        arrays = [*operands, *(x for x in settings.values() if isinstance(x, np.ndarray))]
        before = [x.copy() for x in arrays]
        assert on_cpu(fusable)(*operands, **settings) is NotImplemented
        assert all(np.array_equal(x, y) for x, y in zip(arrays, before, strict=True))


@pytest.mark.parametrize("shapes", [((3, 1), (3, 4)), ((3, 4), (3, 1)), ((4,), (3, 4)), ((2, 4), (3, 4))])
def test_unequal_shapes_give_the_array_codes_answer_or_an_error(shapes: tuple[tuple[int, ...], ...]) -> None:
    g, y = (np.random.default_rng(0).normal(size=s).astype(np.float32) for s in shapes)
    try:
        wanted = ops.activation_grad.forward.plain(g, y, slope=0.5)
    except ValueError:
        wanted = None
    if wanted is None:
        with pytest.raises(ValueError, match="activation_grad"):
            ops.activation_grad(g, y, slope=0.5)
    else:
        assert np.array_equal(ops.activation_grad(g, y, slope=0.5).data, wanted)
