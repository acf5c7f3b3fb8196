"""The kernels of losses against their array code, in the simulator."""

import numpy as np
import pytest
from simulator.sim_helpers import assert_as_good, draw, off_by_four, precise
from simulator.sim_launches import launched  # noqa: F401 (a fixture)

from fastgan import ops
from fastgan.dispatch import use_kernels
from fastgan.kernels import formulas
from fastgan.kernels.cuda import loss
from fastgan.ops.loss import head_loss, penalty

KINDS = formulas.KINDS
GROUPS = [
    (("softplus(-s)", "softplus(s)"), (4, 3), 0.5),
    (("-s", "s", "gradient"), (3, 3, 5), 1.0),
    (("max(0, 1 - s)", "-softplus(s)", "(s - 1)^2 / 2"), (1, 9, 2), 2.0),
]


@pytest.fixture(autouse=True)
def array_code_only():
    """What is compared with is array code throughout, also where one pass calls another."""
    with use_kernels(False):
        yield


@pytest.fixture
def few(monkeypatch):
    """Blocks of 64 threads, so that few rows are several turns of a block (and fewer threads are simulated)."""
    for kernels, make in ((loss.HEAD_LOSS, loss._head_loss), (loss.PENALTY, loss._penalty)):
        for vector in (True, False):
            monkeypatch.setitem(kernels, vector, make(vector, 64))


def check(name, *arrays, **settings):
    """Everything that a kernel returns, against the pass of the same name."""
    plain = {"score_loss": ops.score_loss.forward, "head_loss": head_loss}[name].plain
    got = getattr(loss, name)(*arrays, **settings)
    trio = got, plain(*arrays, **settings), precise(plain, *arrays, **settings)
    for a, p, e in zip(*trio, strict=True):
        assert_as_good(a, p, e)


@pytest.mark.parametrize("n", [1, 6, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_each_loss(kind, n):
    check("score_loss", 3 * draw(1, n, 1), kinds=(kind,), counts=(n,))


@pytest.mark.parametrize(("kinds", "counts", "weight"), GROUPS)
def test_groups(kinds, counts, weight):
    check("score_loss", 3 * draw(1, sum(counts), 1), kinds=kinds, counts=counts, weight=weight)


@pytest.mark.parametrize("kind", KINDS)
def test_large_scores_do_not_overflow(kind):
    scores = np.array([[-300.0], [-90], [-1], [0], [1], [90], [300]], np.float32)
    settings = {"kinds": (kind,), "counts": (7,)}
    total, d = loss.score_loss(scores, **settings)
    wanted, slopes = precise(ops.score_loss.forward.plain, scores, **settings)
    np.testing.assert_allclose(total, wanted, rtol=1e-6)
    np.testing.assert_allclose(d, slopes, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_score_that_is_not_a_number_is_seen_in_the_loss(kind):
    total, _ = loss.score_loss(np.array([[np.nan], [0]], np.float32), kinds=(kind,), counts=(2,))
    assert np.isnan(total)


@pytest.mark.parametrize("i", [1, 7, 36, 132])
@pytest.mark.parametrize("n", [1, 17, 33])
def test_head(n, i, few):
    check("head_loss", draw(1, n, i), draw(2, i, 1), draw(3, 1), kinds=("softplus(s)",), counts=(n,))


@pytest.mark.parametrize("i", [4, 7])
def test_head_by_a_whole_block(i):
    check("head_loss", draw(1, 65, i), draw(2, i, 1), draw(3, 1), kinds=("softplus(s)",), counts=(65,))


@pytest.mark.parametrize(("kinds", "counts", "weight"), GROUPS)
def test_head_of_groups(kinds, counts, weight, few):
    n = sum(counts)
    x, w, b = draw(1, n, 8), draw(2, 8, 1), draw(3, 1)
    check("head_loss", x, w, b, kinds=kinds, counts=counts, weight=weight)


def test_head_without_wide_accesses(few, launched):  # noqa: F811
    settings = {"kinds": ("s",), "counts": (5,)}
    check("head_loss", off_by_four(draw(1, 5, 8)), draw(2, 8, 1), draw(3, 1), **settings)
    check("head_loss", draw(1, 5, 8), off_by_four(draw(2, 8, 1)), draw(3, 1), **settings)
    assert {name for name, _ in launched} == {"head_loss_scalar"}


def penalties(code, g, weight, dtype=np.float32):
    g = g.astype(dtype)
    q, before = np.full_like(g, np.nan), g.copy()
    total = code(g, q, weight=weight)
    np.testing.assert_array_equal(g, before)
    return total, q


def check_penalty(*shape):
    g = draw(1, *shape)
    trio = (
        penalties(loss.penalty, g, 10.0),
        penalties(penalty.plain, g, 10.0),
        penalties(penalty.plain, g, 10.0, np.float64),
    )
    for a, p, e in zip(*trio, strict=True):
        assert_as_good(a, p, e)
    assert trio[0][0].shape == ()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (9, 8), (5, 132), (2, 1030)])
def test_penalty(shape, alone, few, monkeypatch):
    if not alone:
        monkeypatch.setattr(loss, "ALONE", 0)
    check_penalty(*shape)


@pytest.mark.parametrize("f", [8, 3])
def test_penalty_by_a_whole_block(f):
    check_penalty(17, f)


def test_penalty_of_zero_rows_is_finite(few):
    g = np.zeros((5, 6), np.float32)
    g[3] = draw(1, 6)
    total, q = penalties(loss.penalty, g, 1.0)
    exact, slopes = penalties(penalty.plain, g, 1.0, np.float64)
    np.testing.assert_allclose(total, exact, rtol=1e-6)
    np.testing.assert_allclose(q, slopes, rtol=1e-5)
    assert not q[:3].any()


@pytest.mark.parametrize("off", [0, 1])
def test_penalty_without_wide_accesses(off, few, launched):  # noqa: F811
    arrays = [draw(1, 3, 8), np.zeros((3, 8), np.float32)]
    arrays[off] = off_by_four(arrays[off])
    total = loss.penalty(*arrays, weight=2.0)
    exact, slopes = penalties(penalty.plain, arrays[0], 2.0, np.float64)
    np.testing.assert_allclose(total, exact, rtol=1e-6)
    np.testing.assert_allclose(arrays[1], slopes, rtol=1e-5)
    assert [name for name, _ in launched] == ["penalty_scalar"]


def test_one_block_or_two_launches(few, launched, monkeypatch):  # noqa: F811
    g = draw(1, 5, 8)
    for most in (40, 39):
        monkeypatch.setattr(loss, "ALONE", most)
        loss.penalty(g, g.copy(), weight=1.0)
    assert [name for name, _ in launched] == ["penalty", "penalty", "add_up"]
    head = {"kinds": ("s",), "counts": (5,)}
    assert loss.head_loss(g, draw(2, 8, 1), draw(3, 1), **head) is NotImplemented


def test_blocks_take_more_than_one_turn(few, monkeypatch):
    """As many rows as one block of a narrow grid would see in turns."""
    monkeypatch.setattr(loss, "ALONE", 0)
    monkeypatch.setattr(loss, "blocks", lambda count, per_block: 2)
    g = draw(1, 13, 5)
    (total, q), (exact, slopes) = (
        penalties(loss.penalty, g, 2.0),
        penalties(penalty.plain, g, 2.0, np.float64),
    )
    np.testing.assert_allclose(total, exact, rtol=1e-6)
    np.testing.assert_allclose(q, slopes, rtol=1e-5, atol=1e-7)


def test_what_does_not_fit_is_left_to_array_code():
    s, many = draw(1, 5, 1), np.zeros((4097, 1), np.float32)

    def declines(scores=s, kinds=("s",), counts=(5,)):
        return loss.score_loss(scores, kinds=kinds, counts=counts) is NotImplemented

    assert not declines()
    assert declines(kinds=("cubic",))
    assert declines(counts=(4,))
    assert declines(kinds=("s", "-s"), counts=(5, 0))
    assert declines(kinds=("s",) * 4, counts=(1, 1, 1, 2))
    assert declines(kinds=("s", "s"))
    assert declines(draw(1, 5))
    assert declines(many, counts=(4097,))
    x, w, b = draw(1, 5, 3), draw(2, 3, 1), draw(3, 1)
    one = {"kinds": ("s",), "counts": (5,)}
    assert loss.head_loss(x, w[:2], b, **one) is NotImplemented
    assert loss.head_loss(x, draw(2, 3, 2), draw(3, 2), **one) is NotImplemented
    assert loss.head_loss(x, w, b, kinds=("s",), counts=(4,)) is NotImplemented
    assert loss.penalty(x, x[:2], weight=1.0) is NotImplemented
    assert loss.penalty(x[0], x[0], weight=1.0) is NotImplemented
