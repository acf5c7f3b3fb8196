"""The gradient penalty of WGAN-GP: on the tape for any critic, and in closed form for a dense, piecewise linear one.

The closed form is one op. LeakyReLU has no second derivative, so the penalty's own gradient goes back up through the
masks that the slope came down through, and both gradients of a weight are one product. Measured on two CPU cores, in
turns, a whole step on the tape takes 1.26 to 1.29 of the closed form's time for `digits`, 1.07 to 1.08 for
`wgan-gp-mlp` and 1.06 for `ring-wgan-gp`; on a GPU it would be 159 launches instead of 89 for `wgan-gp-mlp` (counted).

Shapes: `n` batch, `f` features of a sample.
"""

from collections.abc import Callable
from typing import Any

from fastgan.device import Array, array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.nn import BatchNorm, Linear, Module, Sequential
from fastgan.nn.layers import layers_of, planned
from fastgan.ops import linear, with_penalty
from fastgan.ops.dense import linear_backward, masked_forth, place, weight_gradients
from fastgan.ops.loss import head_loss, penalty
from fastgan.tape import Tensor, grad, op, recording
from fastgan.tape.gradient import times


def refuse_batch_norm(critic: object) -> None:
    """UsageError for a critic with batch norm, where a gradient penalty would be wrong."""
    if isinstance(critic, Module) and any(isinstance(m, BatchNorm) for m in critic.modules()):
        raise UsageError(
            "got a critic with BatchNorm under a gradient penalty, wanted one without: a sample's gradient "
            "would depend on the whole batch, and the penalty is on each sample's own (Gulrajani et al. 2017, 4)"
        )


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor
) -> Tensor:
    """E[(|d critic(x) / dx| - 1)^2] at x = epsilon real + (1 - epsilon) fake; (n, ...), (n, ...), (n, 1) -> ().

    `epsilon` is uniform in [0, 1), one per sample. The norm is over all of a sample's features, with 1e-12 under the
    root, so that the penalty of a constant critic is 1 and its gradient finite. Gulrajani et al. 2017. ShapeError,
    UsageError for a critic with batch norm.
    """
    refuse_batch_norm(critic)
    mixed = between(real, fake, epsilon)
    slope = slope_of(critic, mixed)
    zero = Tensor(array_module(mixed).zeros((), mixed.dtype))
    return with_penalty(zero, slope.reshape(len(slope), -1), weight=1.0)


def between(real: Tensor, fake: Tensor, epsilon: Tensor) -> Array:
    """Points epsilon real + (1 - epsilon) fake; (n, ...), (n, ...), (n, 1) -> (n, ...). ShapeError."""
    if real.shape != fake.shape or epsilon.size != real.shape[0]:
        raise ShapeError(
            f"gradient_penalty: got real {real.shape}, fake {fake.shape}, epsilon {epsilon.shape}, "
            "wanted (n, f), (n, f), (n, 1)"
        )
    e = epsilon.data.reshape(-1, *[1] * (real.ndim - 1))
    return fake.data + e * (real.data - fake.data)


def slope_of(critic: Callable[[Tensor], Tensor], x: Array) -> Tensor:
    """d critic(x) / dx at points (n, ...), of their shape, recorded so that it can be differentiated."""
    points = Tensor(x, requires_grad=True)
    with recording(True):  # the slope needs a tape even where what is made of it does not
        scores = critic(points)
    ones = Tensor(array_module(scores.data).ones_like(scores.data))
    return grad([scores], [points], [ones], create_graph=True, allow_unused=True)[0]


def piecewise_linear(critic: Module) -> tuple[list[Tensor], tuple[float, ...]] | None:
    """What `penalized_loss` takes of a critic, its parameters and slopes; None unless it is made of linear layers with
    a bias, with LeakyReLU or ReLU between them, and gives one score."""
    if type(critic) is not Sequential or not layers_of(critic):
        return None
    plan = [(layer, act, norm) for layer, act, norm in planned(critic)]
    if any(type(x) is not Linear or not x.has_bias or a[0] != "leaky" or norm for x, a, norm in plan):
        return None
    parameters = [p for layer, _, _ in plan for p in (layer.weight, layer.bias)]
    scores = plan[-1][1][1] == 1 and parameters[-1].size == 1
    same = [id(p) for p in parameters] == [id(p) for p in critic.parameters()]  # none is frozen or shared
    return (parameters, tuple(act[1] for _, act, _ in plan[:-1])) if scores and same else None


@op(keeps=True)
def penalized_loss(
    x: Array, *parameters: Array, kinds: tuple[str, str], weight: float, slopes: tuple[float, ...]
) -> tuple[Array, dict[str, Any]]:
    """Loss of a critic's scores and its gradient penalty, for x (3n, f): real, fake and mixed samples; ->().

    `parameters` are a weight and a bias per layer, `slopes` those of the LeakyReLUs between. x is overwritten.

    The slope of the scores at the mixed samples is one backward pass, v_l = (v_l+1 w_l+1^T) * mask_l down to g =
    v_1 w_1^T. The penalty's own gradient goes back up through the same masks: p_0 = dP/dg, p_l = (p_l-1 w_l) * mask_l,
    and w_l gets p_l-1^T v_l beside the loss's a_l-1^T v_l. With p in the place of the mixed samples' activations both
    are one product over all 3n rows: what is kept are those inputs and the v of each layer, and the scores (2n, 1).
    As x is overwritten there is no vjp, only the first-order rule: `gradient_penalty` has all derivatives.
    """
    ws, bs, n = parameters[::2], parameters[1::2], len(x) // 3
    mixed, inputs = slice(2 * n, None), [x]
    for w, b, slope in zip(ws, bs, slopes, strict=False):
        inputs.append(linear.forward(inputs[-1], w, b, slope=slope))
    loss, scores, d = head_loss(inputs[-1], ws[-1], bs[-1], kinds=(*kinds, "gradient"), counts=(n, n, n))
    vs = [d]
    for a, w, slope in zip(inputs[:0:-1], ws[::-1], slopes[::-1], strict=False):
        vs.insert(0, linear_backward(vs[0], a, w, slope=slope))
    g = linear_backward(vs[0][mixed], x[mixed], ws[0])
    total = penalty(g, x[mixed], loss, weight=weight)
    for p, w, a, slope in zip(inputs, ws, inputs[1:], slopes, strict=False):
        masked_forth.forward(p[mixed], w, a[mixed], slope=slope, out=a[mixed])
    return total[0], {"inputs": inputs, "vs": vs, "scores": scores[: 2 * n], "penalty": total[1]}


@penalized_loss.first_order
def _(
    g: Array,
    loss: Array,
    x: Array,
    *parameters: Array,
    kept: dict[str, Any],
    wanted: Any,
    into: Any,
    **_: Any,
) -> Any:
    if wanted[0]:
        return NotImplemented
    out: list[Array | None] = [None]
    for k, (a, v) in enumerate(zip(kept["inputs"], kept["vs"], strict=True)):
        gw = place(into[2 * k + 1], parameters[2 * k].shape, v)
        gb = place(into[2 * k + 2], parameters[2 * k + 1].shape, v)
        weight_gradients(a, times(g, v), gw=gw, gb=gb, rows=2 * len(v) // 3)
        out += [gw, gb]
    return out
