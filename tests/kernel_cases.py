"""Operands and settings for every entry of the table of kernels, and what array code or a kernel makes of them."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from test_conv_kernels import CASES as CONV_CASES
from test_conv_kernels import KERNELS as CONV_KERNELS
from test_tape_kernels import CASES as TAPE_CASES
from test_tape_kernels import KERNELS as TAPE_KERNELS

from fastgan import fused, ops, optim, random
from fastgan.device import to_host
from fastgan.dispatch import Fusable
from fastgan.gan import batches
from fastgan.gan.ring import record
from fastgan.ops.dense import linear_backward, masked_forth, weight_gradients
from fastgan.ops.loss import SCORE_LOSSES, head_loss, penalty
from fastgan.ops.norm import forward_norm, norm_backward, norm_forward
from fastgan.tape.arithmetic import product

Arrays = list[NDArray[Any]]
Code = Callable[..., Any]

MATRICES = [(1, 1, 1), (3, 5, 7), (33, 1001, 2), (1001, 3, 17), (2, 3, 1025)]
SIZES = [(1,), (5,), (1023,), (4099,), (7, 11), (3, 2, 5, 3)]
DRAW = {"seed": 2**63 + 5, "stream": 3, "step": 2**40 + 1}
ADAM = {"lr": 2e-3, "t": 3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 5e-3, "alpha": 0.99, "eps": 1e-8}
SGD = {"lr": 5e-3, "momentum": 0.5}
NORM = {"eps": 1e-3, "momentum": 0.2, "widening": 1.25}
NORMS = [(2, 1), (7, 33), (129, 10), (64, 128), (1000, 3)]
ACTS: list[dict[str, Any]] = [
    {"slope": 1.0},
    {"slope": 0.0},
    {"slope": 0.2},
    {"act": "tanh", "slope": 0.2},  # which tanh has no use for
    {"act": "sigmoid"},
    {"act": "arctan"},
]
WRITTEN = ("gw", "gb", "ggamma", "gbeta", "stats")


def samples(fusable: Fusable) -> list[tuple[Arrays, dict[str, Any]]]:
    """Operands, all float32, and settings for one entry of the table, over ragged shapes."""
    if fusable in (*CONV_KERNELS, *TAPE_KERNELS):
        return [(list(xs), s) for f, xs, s in (*CONV_CASES, *TAPE_CASES) if f is fusable]
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[Any]:
        return rng.normal(size=shape).astype(np.float32)

    dense = [[normal(n, i), normal(i, o), normal(o)] for n, i, o in MATRICES]
    flat = [[normal(*s) for _ in range(4)] for s in SIZES[:4]]
    for xs in flat:
        xs[3] **= 2
    seen = [(xs[0], s) for f, xs, s in CONV_CASES if f is ops.convolve_weight_grad.forward]
    ends = ({}, {"clip": 0.3}, {"follow": 0.1}, {"clip": 0.3, "follow": 0.5})
    plans: dict[Fusable, list[tuple[Arrays, dict[str, Any]]]] = {
        ops.linear.forward: [(xs, {}) for xs in dense],
        ops.linear_leaky_relu.forward: [(xs, {"slope": s}) for xs in dense for s in (0.0, 0.2, 1.0)]
        + [(dense[1], {})],
        ops.activation_grad.forward: [([normal(*s), normal(*s)], {"slope": 0.2}) for s in SIZES],
        product: [(xs[:2], {}) for xs in dense],
        ops.linear.forward: [(xs, a) for xs in dense for a in ACTS],
        linear_backward: [
            ([normal(n, o), normal(n, i), normal(i, o)], a | more)
            for n, i, o in MATRICES
            for a in ACTS
            for more in ({}, {"gw": (i, o), "gb": (o,)}, {"gw": (i, o), "gb": (o,), "dx": False})
        ],
        weight_gradients: [
            ([normal(n, i), normal(n, o)], {"gw": (i, o), "gb": (o,), "rows": rows})
            for n, i, o in MATRICES
            for rows in {n, 1, n // 2}
        ],
        masked_forth.forward: [
            ([normal(n, i), normal(i, o), normal(n, o)], {"slope": s})
            for n, i, o in MATRICES
            for s in (0.0, 0.2)
        ],
        norm_forward: [
            ([normal(n, f) + 3, normal(f), normal(f), normal(f), normal(f) ** 2], NORM | more)
            for n, f in NORMS
            for more in ({"stats": (2, f)}, {}, {"training": False}, *ACTS)
        ],
        norm_backward: [
            ([normal(n, f), normal(n, f), normal(f), np.stack([normal(f), normal(f) ** 2])], a | PLACES(f))
            for n, f in NORMS
            for a in ACTS
        ],
        forward_norm: [
            ([normal(n, i), normal(i, o), *(normal(o) ** 2 for _ in range(5))], NORM | {"slope": 0.2} | more)
            for n, i, o in MATRICES
            for more in ({"stats": (2, o)}, {"training": False})
        ],
        ops.score_loss.forward: [([3 * normal(n, 1)], g) for n in (1, 6, 129) for g in groups(n)],
        head_loss: [
            ([normal(n, i), normal(i, 1), normal(1)], g)
            for n, i in ((1, 3), (6, 33), (129, 256))
            for g in groups(n)
        ],
        penalty: [
            ([normal(n, f), normal(n, f)], {"weight": 10.0}) for n, f in (*NORMS, (300, 784), (2, 8259))
        ],
        record: [
            ([normal(5, 2), normal(), normal()], {"step": 13, "scale": 0.5} | more)
            for more in ({}, {"more": np.float32(2).reshape(())})
        ],
        ops.unfold.forward: [([x], s) for x, s in seen],
        ops.fold.forward: [([ops.unfold.forward.plain(x, **s)], s | {"shape": x.shape}) for x, s in seen],
        random.fill_normal: [([np.zeros(s, np.float32)], DRAW) for s in SIZES],
        random.fill_uniform: [([np.zeros(s, np.float32)], DRAW | {"low": -2.0, "high": 3.0}) for s in SIZES],
        optim.adam_update: [(xs, ADAM | more) for xs in flat for more in (*ends, {"decay": 0.5})],
        optim.rmsprop_update: [([xs[0], xs[1], xs[3]], RMSPROP | more) for xs in flat for more in ends],
        optim.sgd_update: [(xs[:3], SGD | more) for xs in flat for more in ends],
        batches.assemble: [
            ([np.zeros((kinds * 7, 11), np.float32)], more) for kinds, more in batch_settings()
        ],
    }
    return plans[fusable]


def PLACES(f: int) -> dict[str, Any]:
    """Shapes of the arrays that batch norm's backward pass writes."""
    return {"ggamma": (f,), "gbeta": (f,)}


def groups(n: int) -> list[dict[str, Any]]:
    """Each loss alone, and groups of losses over n rows."""
    alone = [{"kinds": (kind,), "counts": (n,)} for kind in SCORE_LOSSES]
    if n < 3:
        return alone
    a = n // 3
    return [
        *alone,
        {"kinds": ("softplus(-s)", "softplus(s)"), "counts": (a, n - a), "weight": 0.5},
        {"kinds": ("-s", "s", "gradient"), "counts": (a, a, n - 2 * a)},
    ]


def batch_settings() -> list[tuple[int, dict[str, Any]]]:
    """Settings of a batch of 7 samples, with the number of kinds of rows."""
    rng = np.random.default_rng(1)
    bytes_, floats = rng.integers(0, 256, (40, 11), np.uint8), rng.normal(size=(40, 11)).astype(np.float32)
    order = np.stack([rng.permutation(40) for _ in range(3)])
    base = {"batch": 7, "seed": 2**63 + 5, "scale": 2 / 255, "offset": -1.0}
    out: list[tuple[int, dict[str, Any]]] = []
    for update in (0, 3, 11, 2**33 + 7):
        for more in (
            {"sampling": "replacement"},
            {"sampling": "sequential"},
            {"sampling": "epochs", "order": order},
        ):
            out.append((1, base | more | {"rows": bytes_, "update": update}))
            fake = rng.normal(size=(7, 11)).astype(np.float32)
            out.append((2, base | more | {"rows": floats, "update": update, "fake": fake}))
            out.append((3, base | more | {"rows": bytes_, "update": update, "fake": fake, "mixed": True}))
    plain = base | {"scale": 1.0, "offset": 0.0, "rows": floats, "update": 1, "sampling": "sequential"}
    return [*out, (1, plain)]


class DeclinedError(Exception):
    """A kernel leaves the operands to the array code."""


def results(code: Code, operands: Arrays, settings: dict[str, Any], xp: Any = np) -> Arrays:
    """What the code returns, and what it left in its operands and in the arrays of its settings.

    A setting that is a shape stands for an array to be written; an average is one where `follow` is set.
    """
    dtype = operands[0].dtype
    copies = [xp.asarray(x.copy()) for x in operands]
    given = dict(settings)
    if given.get("follow"):
        given["average"] = np.ones(operands[0].shape, dtype)
    for name, value in given.items():
        if name in WRITTEN and isinstance(value, tuple):
            given[name] = np.zeros(value, dtype)
        if isinstance(given[name], np.ndarray):
            wide = given[name].dtype == np.float32 and name != "rows"
            given[name] = xp.asarray(given[name].astype(dtype) if wide else given[name])
    y = code(*copies, **given)
    if y is NotImplemented:
        raise DeclinedError
    returned = [] if y is None else list(y) if isinstance(y, tuple) else [y]
    written = [given[name] for name in (*WRITTEN, "average") if name in given]
    return [np.asarray(to_host(a)) for a in (*returned, *copies, *written)]


ON_CPU = [entry for entry in fused.TABLE if entry[1] == "numpy"]


def on_cpu(fusable: Fusable) -> Code:
    """The CPU kernel of an array code."""
    module, function = next((m, f) for code, _, m, f in ON_CPU if code is fusable)
    kernel: Code = getattr(import_module(f"fastgan.kernels.{module}"), function)
    return kernel
