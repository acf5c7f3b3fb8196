"""What a critic update sees, put together in one pass: real samples, fakes, and points between the two.

Which samples, and how far between, are functions of the seed and the update's number, so a captured step that knows the
number draws a new batch at each replay, and nothing needs saving for an exact resume.
"""

from fastgan import random
from fastgan.backend import Array, Count, Fusable, device_of
from fastgan.random import Stream


@Fusable
def assemble(
    x: Array,
    *,
    rows: Array,
    batch: int,
    scale: float,
    offset: float,
    seed: int,
    update: int | Count,
    sampling: str = "replacement",
    order: Array | None = None,
    fake: Array | None = None,
    mixed: bool = False,
) -> None:
    """Fill x, (batch, f) or a multiple of it: real rows, then `fake` (batch, f) if given, then with `mixed` both mixed.

    Real rows are `rows` (N, f), uint8 or float32, times `scale` plus `offset`; which ones, see `chosen`. Mixed rows are
    fake + e (real - fake) with e uniform in [0, 1), one per row (Gulrajani et al. 2017).
    """
    update = int(update)
    real = x[:batch]
    numbers = chosen(rows, batch, seed=seed, update=update, sampling=sampling, order=order)
    real[...] = rows[numbers]
    if scale != 1:
        real *= scale
    if offset:
        real += offset
    if fake is None:
        return
    x[batch : 2 * batch] = fake
    if mixed:
        e = random.uniform((batch, 1), seed=seed, stream=Stream.EPSILON, step=update, device=device_of(x))
        x[2 * batch :] = fake + e * (real - fake)


def chosen(
    rows: Array, batch: int, *, seed: int, update: int, sampling: str, order: Array | None
) -> Array | slice:
    """The row numbers of an update's batch: "replacement", or a piece of an epoch (the last, partial one is left out).

    A piece is taken in the order of the rows ("sequential") or of `order` (slots, N) ("epochs"), which holds a
    permutation for an epoch in slot epoch % slots.
    """
    n = len(rows)
    if sampling == "replacement":
        return random.integers(batch, n, seed=seed, stream=Stream.BATCH, step=update, device=device_of(rows))
    epoch, piece = divmod(update, n // batch)
    place = slice(piece * batch, (piece + 1) * batch)
    return order[epoch % len(order)][place] if sampling == "epochs" and order is not None else place
