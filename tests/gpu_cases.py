"""Operands of real sizes for each entry of fused.TABLE, and what the array code makes of them.

A case is an entry's positional arrays and its settings, among which arrays to write to may be. Everything is drawn in
float32, so that the same case can be run in float64 for its exact answer.
"""

import numpy as np

from fastgan import fused, ops, optim, random
from fastgan.gan import batches
from fastgan.gan.ring import record
from fastgan.ops.dense import linear_backward, tangent, weight_gradients
from fastgan.ops.loss import SCORE_LOSSES, head_loss, penalty
from fastgan.ops.norm import forward_norm, norm_backward, norm_forward
from fastgan.tape.arithmetic import product

# (n, i, o): the layers of the recipes, batches of 32 to 256 (and three of them joined), then ragged ones
LAYERS = ((32, 100, 256), (64, 784, 512), (96, 512, 256), (128, 256, 128), (256, 1024, 784), (768, 784, 512))
RAGGED = ((1, 1, 1), (31, 99, 101), (33, 257, 5), (65, 2, 1023), (130, 333, 66), (257, 7, 250))
SHAPES = LAYERS + RAGGED
ACTS = (("leaky", 0.2), ("leaky", 0.0), ("leaky", 1.0), ("tanh", 1.0), ("sigmoid", 1.0), ("arctan", 1.0))
SIZES = ((1,), (4097,), (100, 256), (1024, 784), (7, 11, 13))
DRAW = {"seed": 2**63 + 5, "stream": 3, "step": 2**40 + 1}
EPS = 1e-5


class Draw:
    """float32 arrays from one generator; `away` keeps them off 0, where activations have their kinks."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, *shape, scale=1.0):
        return (self.rng.normal(size=shape) * scale).astype(np.float32)

    def away(self, *shape):
        x = self(*shape)
        return x + np.copysign(np.float32(0.05), x)

    def layer(self, n, i, o):
        return self.away(n, i), self(i, o, scale=i**-0.5), self(o)


def spread(*rows):
    """Every second activation for each shape in turn, so that all meet all kinds of shape."""
    return [(shape, *ACTS[(k + j) % len(ACTS)]) for k, shape in enumerate(SHAPES) for j in rows]


def layer_cases(draw, **more):
    return [(draw.layer(*s), {"act": act, "slope": slope} | more) for s, act, slope in spread(0, 2)]


def backward_cases(draw):
    for k, ((n, i, o), act, slope) in enumerate(spread(0, 2)):
        v, a, w = draw(n, o), draw.away(n, i), draw(i, o, scale=o**-0.5)
        out = {"gw": np.zeros((i, o), np.float32), "gb": np.zeros(o, np.float32)}
        for settings in (
            {"act": act, "slope": slope} | out,
            out | {"dx": False},
            {"act": act, "slope": slope},
        ):
            if k % 3 == 0 or settings.get("dx", True):
                yield (v, a, w), settings


def gradient_cases(draw):
    for n, i, o in SHAPES:
        out = {"gw": np.zeros((i, o), np.float32), "gb": np.zeros(o, np.float32)}
        for rows in {n, max(1, n // 3)}:
            yield (draw(n, i), draw(n, o)), out | {"rows": rows}


def tangent_cases(draw):
    return [((draw(n, i), draw(i, o, scale=i**-0.5), draw.away(n, o)), {"slope": 0.2}) for n, i, o in SHAPES]


def norm_settings(f, act, slope):
    stats = np.zeros((2, f), np.float32)
    return {"eps": EPS, "momentum": 0.1, "widening": 1.25, "act": act, "slope": slope, "stats": stats}


def four(draw, f):
    return draw(f), draw(f), draw(f), draw(f) ** 2 + np.float32(0.1)


def norm_cases(draw):
    for (n, f, _), act, slope in spread(0, 3):
        if n > 1:
            operands = draw(n, f), *four(draw, f)
            yield operands, norm_settings(f, act, slope)
            yield operands, {"eps": EPS, "training": False, "act": act, "slope": slope}


def norm_backward_cases(draw):
    for (n, f, _), act, slope in spread(0, 3):
        if n > 1:
            x = draw.away(n, f)
            stats = np.stack([x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + EPS)]).astype(np.float32)
            out = {"ggamma": np.zeros(f, np.float32), "gbeta": np.zeros(f, np.float32)}
            yield (draw(n, f), x, draw(f), stats), out | {"act": act, "slope": slope}


def forward_norm_cases(draw):
    """A kernel may decline to train on more rows than it can take statistics of, but not to infer."""
    for (n, i, o), act, slope in spread(0, 3):
        if n > 1:
            operands = *draw.layer(n, i, o), *four(draw, o)
            yield operands, norm_settings(o, act, slope)
            yield operands, {"eps": EPS, "training": False, "act": act, "slope": slope}


def loss_cases(draw):
    for k, (n, _, _) in enumerate(SHAPES):
        names = SCORE_LOSSES
        for j in range(3):
            groups = min(n, j + 1)
            counts = tuple(len(part) for part in np.array_split(np.arange(n), groups))
            chosen = tuple(names[(k + j + part) % len(names)] for part in range(groups))
            yield (draw(n, 1),), {"kinds": chosen, "counts": counts, "weight": 1.0 if j else 0.5}


def head_cases(draw):
    for (scores,), settings in loss_cases(draw):
        for i in (256, 101):
            yield (draw(len(scores), i), draw(i, 1, scale=i**-0.5), draw(1)), settings


def penalty_cases(draw):
    for n, i, _ in SHAPES:
        yield (draw(n, i), np.zeros((n, i), np.float32)), {"weight": 10.0}


def assemble_cases(draw):
    rows = draw.rng.integers(0, 256, (1000, 785)).astype(np.uint8)
    for samples in (rows[:, :784].copy(), rows, draw(999, 2)):
        f, scale = samples.shape[1], {"scale": 2 / 255, "offset": -1.0} if samples.dtype == np.uint8 else {}
        order = np.stack([draw.rng.permutation(len(samples)) for _ in range(2)])
        for batch, update in ((64, 3), (33, 45)):
            own = (
                {"rows": samples, "batch": batch, "seed": 7, "update": update}
                | {"scale": 1.0, "offset": 0.0}
                | scale
            )
            fake = {"fake": draw(batch, f)}
            x = np.zeros((batch, f), np.float32)
            yield (x,), own
            yield (x,), own | {"sampling": "epochs", "order": order}
            yield (x,), own | {"sampling": "sequential"}
            yield (np.tile(x, (2, 1)),), own | fake
            yield (np.tile(x, (3, 1)),), own | fake | {"mixed": True}


def update_cases(draw, state, rules):
    for shape in SIZES:
        operands = [draw(*shape), draw(*shape), *(draw(*shape) for _ in range(state - 1)), draw(*shape) ** 2]
        for more in ({}, {"clip": 0.3}, {"average": draw(*shape), "follow": 0.01}):
            yield tuple(operands[: 2 + state]), rules | more


def adam_cases(draw):
    rules = {"lr": 2e-3, "t": 7, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
    yield from update_cases(draw, 2, rules)
    yield from update_cases(draw, 2, rules | {"decay": 0.01})


def rmsprop_cases(draw):
    for (p, g, *_, v), settings in update_cases(draw, 2, {"lr": 5e-3, "alpha": 0.99, "eps": 1e-8}):
        yield (p, g, v), settings


def matmul_cases(draw):
    for n, i, o in SHAPES:
        yield (draw(n, i), draw(i, o)), {}
        yield (draw(n, i), draw(o, i).T), {}
        yield (draw(i, n).T, draw(i, o)), {}


# images (n, h, w), channels in and out, kernel, stride, pad: layers of the recipes, then ragged ones
IMAGES = (
    ((32, 28, 28), 1, 32, (5, 5), (1, 1), (0, 0, 0, 0)),
    ((32, 12, 12), 32, 64, (5, 5), (1, 1), (0, 0, 0, 0)),
    ((32, 14, 14), 64, 128, (4, 4), (2, 2), (1, 1, 1, 1)),
    ((16, 32, 32), 1, 16, (32, 32), (1, 1), (15, 16, 15, 16)),
    ((50, 28, 28), 1, 64, (5, 5), (2, 2), (1, 2, 1, 2)),
    ((32, 7, 7), 128, 1, (7, 7), (1, 1), (0, 0, 0, 0)),
    ((9, 8, 8), 96, 36, (1, 1), (1, 1), (0, 0, 0, 0)),
    ((3, 7, 10), 3, 5, (3, 2), (1, 3), (2, 0, 1, 1)),
    ((2, 4, 3), 4, 1, (5, 4), (2, 1), (1, 2, 3, 0)),
    ((1, 1, 1), 1, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
)


def images(draw):
    """x, v, w, two biases and settings of each convolution."""
    for (n, h, w), c, o, kernel, stride, pad in IMAGES:
        down, right = h + pad[0] + pad[1] - kernel[0], w + pad[2] + pad[3] - kernel[1]
        v = draw(n, down // stride[0] + 1, right // stride[1] + 1, o)
        weight = draw(*kernel, c, o, scale=(kernel[0] * kernel[1] * c) ** -0.5)
        yield draw(n, h, w, c), v, weight, draw(o), draw(c), {"stride": stride, "pad": pad}


def convolve_cases(draw):
    for x, _, w, b, _, settings in images(draw):
        yield (x, w), settings
        yield (x, w, b), settings | {"slope": 0.2}


def convolve_transposed_cases(draw):
    for x, v, w, _, b, settings in images(draw):
        settings |= {"size": x.shape[1:3]}
        yield (v, w), settings
        yield (v, w, b), settings | {"slope": 0.2}


def weight_grad_cases(draw):
    for x, v, w, _, _, settings in images(draw):
        yield (x, v), settings | {"kernel": w.shape[:2]}


def unfold_cases(draw):
    for x, _, w, _, _, settings in images(draw):
        yield (x,), settings | {"kernel": w.shape[:2]}


def fold_cases(draw):
    for x, v, w, _, _, settings in images(draw):
        rows = v.size // v.shape[3], w.size // w.shape[3]
        yield (draw(*rows),), settings | {"kernel": w.shape[:2], "shape": x.shape}


def rows_cases(draw):
    """Many rows of few columns, few of many, and neither."""
    for shape in ((128, 14, 14, 64), (100_352, 1), (64, 1024), (33, 7, 5, 3), (2, 2), (1031, 37)):
        yield draw(*shape) + np.float32(3)


def batch_norm_cases(draw, gradient=False, scaled=True, shifted=True):
    """Operands g if it is a gradient, x, gamma and beta as far as the op takes them."""
    for x in rows_cases(draw):
        f, stats = x.shape[-1], ops.moments.plain(x.astype(np.float64), eps=EPS).astype(np.float32)
        operands = *[draw(*x.shape)][:gradient], x, *[draw(f), draw(f)][: scaled + shifted]
        yield operands, {"eps": EPS}
        yield operands, {"eps": EPS, "stats": stats}


def pooled_cases(draw):
    """x of few values, so that windows have their largest several times, and settings."""
    for n, h, w, c in ((32, 24, 24, 32), (3, 7, 10, 5)):
        x = draw.rng.integers(-4, 4, (n, h, w, c)).astype(np.float32)
        for size, stride in (((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 3), (3, 4))):
            out = (h - size[0]) // stride[0] + 1, (w - size[1]) // stride[1] + 1
            yield x, draw(n, *out, c), {"size": size, "stride": stride}


def record_cases(draw):
    ring, first, second, third = draw(5, 2), *(np.array(draw.rng.normal(), np.float32) for _ in range(3))
    for step in (0, 7):
        yield (ring, first, second), {"step": step}
        yield (ring, first, second), {"step": step, "more": third, "scale": 0.5}


CASES = {
    ops.linear.forward: lambda draw: [(draw.layer(*s), {}) for s in SHAPES],
    ops.linear_leaky_relu.forward: lambda draw: [(draw.layer(*s), {"slope": 0.2}) for s in SHAPES],
    ops.activation_grad.forward: lambda draw: [((draw(*s), draw.away(*s)), {"slope": 0.2}) for s in SIZES],
    ops.linear.forward: layer_cases,
    linear_backward: backward_cases,
    weight_gradients: gradient_cases,
    tangent: tangent_cases,
    norm_forward: norm_cases,
    norm_backward: norm_backward_cases,
    forward_norm: forward_norm_cases,
    ops.score_loss.forward: loss_cases,
    head_loss: head_cases,
    penalty: penalty_cases,
    random.fill_normal: lambda draw: [((np.zeros(s, np.float32),), DRAW) for s in SIZES],
    random.fill_uniform: lambda draw: [
        ((np.zeros(s, np.float32),), DRAW | {"low": -2.0, "high": 3.0}) for s in SIZES
    ],
    optim.adam_update: adam_cases,
    optim.rmsprop_update: rmsprop_cases,
    optim.sgd_update: lambda draw: update_cases(draw, 1, {"lr": 0.1, "momentum": 0.9}),
    batches.assemble: assemble_cases,
    product: matmul_cases,
    record: record_cases,
    ops.convolve.forward: convolve_cases,
    ops.convolve_transposed.forward: convolve_transposed_cases,
    ops.convolve_weight_grad.forward: weight_grad_cases,
    ops.unfold.forward: unfold_cases,
    ops.fold.forward: fold_cases,
    ops.moments: lambda draw: [((x,), {"eps": EPS}) for x in rows_cases(draw)],
    ops.batch_norm.forward: batch_norm_cases,
    ops.batch_norm_grad.forward: lambda draw: batch_norm_cases(draw, gradient=True, shifted=False),
    ops.batch_norm_gamma_grad.forward: lambda draw: batch_norm_cases(
        draw, gradient=True, scaled=False, shifted=False
    ),
    ops.sum_to.forward: lambda draw: [((x,), {"shape": x.shape[-1:]}) for x in rows_cases(draw)],
    ops.max_pool2d.forward: lambda draw: [((x,), s) for x, _, s in pooled_cases(draw)],
    ops.max_pool2d_grad.forward: lambda draw: [((g, x), s) for x, g, s in pooled_cases(draw)],
    ops.max_pool2d_pick.forward: lambda draw: [((draw(*x.shape), x), s) for x, _, s in pooled_cases(draw)],
}


def cases(fusable):
    """All cases of an entry, always the same ones."""
    return list(CASES[fusable](Draw()))


ON_GPU = [entry for entry in fused.TABLE if entry[1] == "cupy"]


def moved(x, to):
    """Everything that is an array in a case, by `to`."""
    if isinstance(x, np.ndarray):
        return to(x)
    if isinstance(x, dict):
        return {key: moved(value, to) for key, value in x.items()}
    return type(x)(moved(v, to) for v in x) if isinstance(x, tuple | list) else x


def widened(x):
    """float64 of float32, and other arrays as they are; never the same array."""
    return x.astype(np.float64) if x.dtype == np.float32 else x.copy()


def placed(x, library):
    """A copy in the library, as contiguous or transposed as x is."""
    if x.ndim == 2 and not x.flags.c_contiguous:
        return library.asarray(np.ascontiguousarray(x.T)).T
    return library.asarray(x.copy())


def after(code, operands, settings, to, back=np.asarray):
    """Every array that a call returns or may have written, on the host."""
    xs, named = moved(tuple(operands), to), moved(settings, to)
    result = code(*xs, **named)
    if result is NotImplemented:
        return None
    returned = result if isinstance(result, tuple) else (result,)
    arrays = [*returned, *xs, *named.values()]
    return [np.asarray(back(x)) for x in arrays if hasattr(x, "dtype") and hasattr(x, "shape")]


def faults(got, plain, exact):
    """Where results are less accurate than array code; both against the answer in float64."""
    found = []
    for k, (a, p, e) in enumerate(zip(got, plain, exact, strict=True)):
        if a.shape != e.shape or a.dtype != p.dtype:
            found.append(f"array {k}: {a.dtype} {a.shape}, wanted {p.dtype} {e.shape}")
            continue
        scale = float(abs(e).max(initial=0.0)) or 1.0
        limit = 2 * float(abs(p - e).max(initial=0.0)) + 2e-6 * scale
        worst = float(abs(a.astype(np.float64) - e).max(initial=0.0))
        if not worst <= limit:
            found.append(f"array {k}: off by {worst:g}, array code by at most {limit:g}")
    return found


def described(operands, settings):
    """A case in a line, for a failure."""
    return f"{[x.shape for x in operands]} {moved(settings, lambda x: x.shape)}"
