"""Calls that kernels must leave to the array code, before anything is written: what they would read or write past the
end of, or what array code does better, or says an error about. Each is a good row with one thing changed.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tables.fusables import BOTH, DRAWS, NONE, Array, Row, row_of

NUMPY, CUPY = ("numpy",), ("cupy",)  # whose kernel leaves it; the other takes it, or is never given it
Change = dict[Any, Any]  # an operand by its number, a setting by its name
TALL = 65535 * 32 + 1  # rows that no grid reaches


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


def frozen(*shape: int) -> Array:
    """What must not be written."""
    x = zeros(*shape)
    x.flags.writeable = False
    return x


def changed(
    name: str, shape: Any, changes: dict[tuple[str, ...], list[Change]], **like: Any
) -> Iterator[Row]:
    """A good row with each of the changes, by who leaves the result."""
    row = row_of(name, *shape, **like)
    for left, each in changes.items():
        for change in each:
            operands = tuple(change.get(k, x) for k, x in enumerate(row.operands))
            settings = row.settings | {k: v for k, v in change.items() if isinstance(k, str)}
            yield replace(row, operands=operands, settings=settings, left=left)


def each(values: list[Any], *keys: Any) -> list[Change]:
    """Each value for each key."""
    return [{key: value} for key in keys for value in values]


def dense() -> Iterator[Row]:
    """(4, 2) by (2, 3)."""
    shape, tall = (4, 2, 3), {0: zeros(TALL, 2)}
    wrong = {BOTH: [{2: zeros(2)}, {1: zeros(3, 3)}, {"slope": 1.5}], CUPY: [tall], NUMPY: [{"act": "sine"}]}
    yield from changed("forward", shape, wrong)
    gb = [zeros(9), zeros(3, dtype="f8"), zeros(6)[::2], frozen(3), None]
    places = [*each(gb, "gb"), {"gw": zeros(3, 2).T}, {"gw": zeros(9, 9)}]
    yield from changed("backward", shape, {NUMPY: places, BOTH: [{0: zeros(5, 3)}, {2: zeros(3, 2)}]})
    yield from changed("weight_gradients", shape, {NUMPY: [*places, {"rows": -1}], BOTH: [{0: zeros(5, 2)}]})
    yield from changed("tangent", shape, {BOTH: [{1: zeros(3, 2)}, {2: zeros(4, 2)}]})
    yield from changed("tangent", shape, {CUPY: [tall | {2: zeros(TALL, 3)}]})
    settings = [{"stats": None}, {"slope": 1.5}, tall | {"training": False}]
    yield from changed("forward_norm", shape, {CUPY: [{1: zeros(3, 3)}, {2: zeros(2)}, *settings]})
    odd = [
        {0: zeros(8, 4)[::2, ::2]},
        {0: zeros(2, 4).T, 1: zeros(3, 2).T},
        {0: zeros(4, 2, dtype="f8")},
        tall,
    ]
    yield from changed("matmul", shape, {BOTH: [{0: zeros(4, 3)}, {0: zeros(2)}], CUPY: odd})
    yield from changed("matmul", shape, {BOTH: each([zeros(3, 4), zeros(4, 3, dtype="f8")], "out")})
    out = each([zeros(7, 5), zeros(5, 7, dtype="f8"), zeros(7, 5).T], "out")
    yield from changed("activation_grad", (5, 7), {BOTH: [*each([zeros(5, 1), zeros(5)], 0, 1), *out]})
    yield from changed("tangent", shape, {BOTH: each([zeros(3, 4), zeros(4, 3, dtype="f8")], "out")})


def norm() -> Iterator[Row]:
    """Of (5, 3)."""
    short = each([zeros(2)], 1, 2, 3, 4)
    stats = each([zeros(3, 2), zeros(2, 2), zeros(2, 3, dtype="f8")], "stats")
    other = [{"act": "softplus"}, {"slope": 2.0}, {0: zeros(3)}]
    yield from changed("norm_forward", (5, 3), {BOTH: [*short, *stats, *other]}, having=["stats"])
    places = each([zeros(2), zeros(3, dtype="f8")], "ggamma", "gbeta")
    stats = each([zeros(2, 2), zeros(3, 2), zeros(2, 3, dtype="f8")], 3)
    yield from changed("norm_backward", (5, 3), {BOTH: [{0: zeros(4, 3)}, {2: zeros(2)}, *stats, *places]})


def sums() -> Iterator[Row]:
    """NumPy sums few numbers, one column or many as fast; CUDA only leading axes."""
    kept = each([(3, 1, 1), (4, 1), (3, 4, 5), (1, 4, 1), (4,), (1, 3, 4, 5)], "shape")
    places = each([zeros(5, dtype="f8"), zeros(4)], "out")
    yield from changed("sum_to", (3, 4, 5), {CUPY: [*kept, *places]})
    x = zeros(324_000, 2)
    large = [{0: zeros(9, 9, 4000), "shape": (9, 4000)}, {0: x, "shape": (1,)}, {0: x, "shape": ()}]
    yield from changed("sum_to", (3, 4, 5), {NUMPY: [*large, {0: zeros(324_000), "shape": (324_000,)}]})
    yield from changed("sum_to", (3, 4, 5), {NUMPY: [{0: zeros(80, 40, 20), "shape": (1, 20)}]})


def images() -> Iterator[Row]:
    """2 images of 4 x 3 x 2, windows of 3 x 2, 5 channels out."""
    shape = (2, 4, 3, 2, 5, 3, 2), (1, 1), NONE
    x, w, b, slope = zeros(2, 4, 3, 2), zeros(3, 2, 2, 5), zeros(5), [{"slope": 1.5}]
    wrong = [
        {0: x[0]},
        {0: x[..., :1].copy()},
        {0: x[:, :2].copy()},
        {1: w[:, :, :1].copy()},
        {2: b[:4]},
        *slope,
    ]
    left = {BOTH: wrong, NUMPY: [{"stride": (0, 1)}], CUPY: [{1: w[0]}]}
    yield from changed("convolve", shape, left, operands=3)
    wrong = [{2: b}, {0: x}, {"size": (5, 3)}, {1: w[..., :4].copy()}, *slope]
    yield from changed("convolve_transposed", shape, {BOTH: wrong}, operands=3)
    wrong = [{1: zeros(1, 2, 2, 5)}, {"kernel": (2, 2)}, {"kernel": (5, 2)}]
    yield from changed("convolve_weight_grad", shape, {BOTH: [*wrong, {"out": zeros(5)}]})
    yield from changed("unfold", shape, {CUPY: [{"kernel": (5, 1)}, {0: x[0]}]})
    yield from changed("fold", shape, {CUPY: [{0: zeros(3, 2)}, {"shape": (2, 4, 3, 3)}]})
    shape = (4, 6, 6, 8), (2, 2), (2, 2)
    x, g = zeros(4, 6, 6, 8), zeros(4, 3, 3, 8)
    settings = [{"size": (7, 2)}, {"size": (2, 7), "stride": (1, 1)}, {"stride": (0, 2)}]
    narrow = {NUMPY: [{0: x[..., :7].copy()}]}
    yield from changed("max_pool2d", shape, {BOTH: [{0: x[0]}, *settings], **narrow})
    yield from changed("max_pool2d_grad", shape, {BOTH: [{0: g[:3]}, {0: x}, *settings]})
    yield from changed("max_pool2d_pick", shape, {BOTH: [{0: x[:3]}, {0: g}, *settings]})


def losses() -> Iterator[Row]:
    """Of 4 scores."""
    two = [{"kinds": ("s", "-s"), "counts": counts} for counts in ((2, 3), (5, -1), (4, 0), (4,))]
    wrong = [*two, {"kinds": ("s^3",)}, {"kinds": ("s", "s")}, {"counts": (5,)}, {0: zeros(4)}]
    many = [{0: zeros(4097, 1), "counts": (4097,)}, {"kinds": ("s",) * 4, "counts": (1, 1, 1, 1)}]
    yield from changed("score_loss", (4,), {BOTH: wrong, CUPY: many})
    yield from changed(
        "penalty", (4, 3), {BOTH: [{1: zeros(4, 2)}, {0: zeros(3), 1: zeros(3)}, {2: zeros(1)}]}
    )
    ring = {0: zeros(10)}, {1: zeros(2)}, {"more": zeros(dtype="f8")}
    yield from changed("record", (5,), {CUPY: list(ring)})


def state() -> Iterator[Row]:
    """Updates of 9 numbers, noise, batches of 4 of 19 samples."""
    average = [{"average": x, "follow": 0.1} for x in (zeros(8), zeros(9, dtype="f8"), zeros(18)[::2])]
    for name, n in (("adam_update", 4), ("rmsprop_update", 3), ("sgd_update", 3)):
        yield from changed(name, (9,), {BOTH: [*each([zeros(8)], *range(n)), *average]})
    yield from changed("adam_update", (9,), {CUPY: [{"b1": -0.5}]})
    for name in ("fill_normal", "fill_uniform"):
        yield from changed(name, (5,), {CUPY: [DRAWS[0] | {"seed": seed} for seed in (-1, 2**64)]})
    rows, fake = zeros(19, 3), zeros(4, 3)
    data = [rows.T.copy().T, rows.astype("f8"), rows.astype("i8"), rows[:, :2].copy()]
    parts = [
        {0: zeros(3, 3)},
        {"seed": 2**64},
        {"fake": fake},
        {0: zeros(8, 3)},
        {0: zeros(8, 3), "mixed": True},
    ]
    fakes = [{0: zeros(8, 3), "fake": x} for x in (fake[:3], fake.astype("f8"))]
    several = [{0: zeros(20, 3), "batch": 20}]
    order = np.arange(19)[None]
    orders = each([order[:, :8], order.astype("f4"), order.astype("i4")], "order")
    numbers = each([order + 15, order - 19], "order")  # which a GPU does not look at: it stays inside
    epochs: Change = {"sampling": "epochs"}
    left = {BOTH: [*each(data, "rows"), *parts, *fakes, *several, *(epochs | x for x in orders)]}
    yield from changed("assemble", (4, 3), left | {NUMPY: [epochs | x for x in numbers]}, having=["offset"])


MISFITS = [row for family in (dense, norm, sums, images, losses, state) for row in family()]
