"""The optimizers' kernels against the rules as their papers write them, in float64, in the simulator."""

from types import SimpleNamespace

import numpy as np
import pytest
from simulator.sim_helpers import draw, flat_views, off_by_four

from fastgan import optim
from fastgan.clock import Count, Rate
from fastgan.kernels.cuda import update
from fastgan.kernels.cuda.launching import Kernel

SIZES = [(1,), (31,), (32,), (5, 7), (2052,)]
ADAM = {"lr": 2e-3, "t": 3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 5e-3, "alpha": 0.99, "eps": 1e-8}
SGD = {"lr": 5e-3, "momentum": 0.5}
RULES = {"adam": (update.adam_update, ADAM), "rmsprop": (update.rmsprop_update, RMSPROP)}
RULES["sgd"] = update.sgd_update, SGD
ENDS = [{}, {"clip": 0.3}, {"follow": 0.1}, {"clip": 0.3, "follow": 0.1}]


def adam(p, g, m, v, *, lr, t, b1, b2, eps, decay=0.0):
    p = p * (1 - lr * decay)
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def rmsprop(p, g, v, *, lr, alpha, eps):
    v = alpha * v + (1 - alpha) * g**2
    return p - lr * g / (np.sqrt(v) + eps), v


def sgd(p, g, m, *, lr, momentum):
    m = momentum * m + g
    return p - lr * m, m


PAPERS = {"adam": adam, "rmsprop": rmsprop, "sgd": sgd}


def operands(name, *shape):
    """p, g and the state, which ends with what is a mean of squares."""
    p, g, m = draw(1, *shape), draw(2, *shape), draw(3, *shape)
    return {"adam": [p, g, m, draw(4, *shape) ** 2], "rmsprop": [p, g, m**2], "sgd": [p, g, m]}[name]


def expected(name, arrays, average, *, clip=0.0, follow=0.0, **settings):
    """Every array afterwards, float64, the gradient and the average among them."""
    wide = [x.astype(np.float64) for x in arrays]
    p, *state = PAPERS[name](*wide, **settings)
    p = np.clip(p, -clip, clip) if clip else p
    return [p, wide[1], *state, average + follow * (p - average)]


def check(name, arrays, *, rate=None, **more):
    """The kernel's results, written in place; `rate` replaces the learning rate as the kernel is given it."""
    call, settings = RULES[name]
    average = draw(7, *arrays[0].shape)
    wanted = expected(name, arrays, average.astype(np.float64), **settings | more)
    given = settings | more | ({"average": average} if "follow" in more else {})
    assert call(*arrays, **given | ({} if rate is None else {"lr": rate})) is None
    for got, exact in zip([*arrays, average], wanted, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("more", ENDS, ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", RULES)
def test_a_step(name, shape, more):
    check(name, operands(name, *shape), **more)


@pytest.mark.parametrize("name", RULES)
def test_a_step_without_wide_accesses(name):
    check(name, [off_by_four(x) for x in operands(name, 32)], clip=0.5)
    first, *rest = operands(name, 32)
    check(name, [first, *map(off_by_four, rest)], follow=0.5)


@pytest.mark.parametrize("name", RULES)
def test_threads_take_more_than_one_turn(name, monkeypatch):
    monkeypatch.setattr(update, "BLOCKS", 1)
    check(name, operands(name, 2 * 4 * 256 + 24), follow=0.5)
    check(name, operands(name, 4 * 256 + 3), clip=0.5)


@pytest.mark.parametrize("b2", [0.999, 0.9999, 0.0])
@pytest.mark.parametrize("b1", [0.9, 0.0])
@pytest.mark.parametrize("t", [1, 2, 1000, 100_000, 2**40])
def test_the_bias_correction(t, b1, b2):
    """To a few units of float32: 1 - 0.9999 in float32 alone would be wrong in the fourth digit."""
    arrays = operands("adam", 1)
    p, (wanted, *_) = arrays[0].copy(), expected("adam", arrays, 0.0, **ADAM | {"t": t, "b1": b1, "b2": b2})
    update.adam_update(*arrays, **ADAM | {"t": t, "b1": b1, "b2": b2, "lr": 2e-3})
    np.testing.assert_allclose(arrays[0] - p, wanted - p, rtol=1e-6, atol=1.2e-7)


@pytest.mark.parametrize("b1", [0.5, 0.9999])
@pytest.mark.parametrize("t", [1, 2, 10, 1000, 20_000])
def test_a_step_from_zero_shows_the_corrections_digits(t, b1):
    p, g, m, v = (np.full(1, x, np.float32) for x in (0, 0.3, 0.1, 0.02))
    more = {"t": t, "b1": b1, "b2": 0.9999}
    wanted, *_ = adam(0.0, *(float(x[0]) for x in (g, m, v)), **ADAM | more)
    update.adam_update(p, g, m, v, **ADAM | more)
    np.testing.assert_allclose(p, wanted, rtol=1e-6)


def test_one_minus_a_beta_is_rounded_once():
    """From an empty state, which is then that share of the gradient: 1 - float32(0.9999) is off by 1e-4 of itself."""
    for name, given in (("adam", {"b1": 0.999, "b2": 0.9999}), ("rmsprop", {"alpha": 0.9999})):
        arrays = operands(name, 5)
        for x in arrays[2:]:
            x[...] = 0
        call, settings = RULES[name]
        _, *wanted = PAPERS[name](*(x.astype(np.float64) for x in arrays), **settings | given)
        call(*arrays, **settings | given)
        for got, exact in zip(arrays[2:], wanted, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_wide_accesses_are_for_arrays_that_all_start_on_16_bytes(name, monkeypatch):
    """The simulator reads from anywhere, a GPU does not: so the kernel's name is asked for."""
    names = []
    monkeypatch.setattr(Kernel, "simulate", lambda kernel, grid, values: names.append(kernel.name))
    call, settings = RULES[name]

    def launched(arrays, average):
        call(*arrays, average=average, follow=0.5, **settings)
        return names.pop()

    room = np.zeros(64, np.float32)  # NumPy's own start is a multiple of 16
    assert room.ctypes.data % 16 == 0
    aligned, average = [room[:32] for _ in operands(name, 32)], room[32:]
    assert launched(aligned, average) == launched(aligned, None) == name
    assert launched(aligned, off_by_four(average)) == f"{name}_scalar"
    for k, x in enumerate(aligned):
        assert launched([*aligned[:k], off_by_four(x), *aligned[k + 1 :]], average) == f"{name}_scalar"
    assert launched([x[:31] for x in aligned], average[:31]) == f"{name}_scalar"


def test_weight_decay():
    check("adam", operands("adam", 33), decay=0.5, lr=0.1, clip=0.8)


def test_the_step_follows_a_clock():
    clock = np.zeros(1, np.int64)
    for done in (0, 1, 7):
        clock[0] = done
        arrays, same = operands("adam", 8), operands("adam", 8)
        count = Count(clock, 5, 3, host=-1)  # what the host believes is not asked for
        update.adam_update(*arrays, **ADAM | {"t": count})
        update.adam_update(*same, **ADAM | {"t": 5 * done + 3})
        for a, b in zip(arrays, same, strict=True):
            np.testing.assert_array_equal(a, b)
    assert clock[0] == 7


@pytest.mark.parametrize("name", RULES)
def test_the_rate_is_read_from_its_array(name):
    rate = Rate("cpu")
    rate.set(0.25)
    check(name, operands(name, 33), lr=0.25, rate=SimpleNamespace(array=rate.array))
    more = {"decay": 0.5} if name == "adam" else {}
    check(name, operands(name, 32), lr=0.25, rate=rate, **more)


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("name", RULES)
def test_a_gradient_that_is_not_a_number_stays_visible(name, clip):
    call, settings = RULES[name]
    arrays, average = operands(name, 32), np.zeros(32, np.float32)
    arrays[1][3] = np.nan
    call(*arrays, clip=clip, average=average, follow=0.5, **settings)
    for x in (arrays[0], average, *arrays[2:]):
        assert np.flatnonzero(np.isnan(x)).tolist() == [3]


@pytest.mark.parametrize("name", RULES)
def test_flat_buffers_with_gaps(name):
    """Views into one buffer, as parameters lie: the neighbours stay as they are."""
    views, flat = flat_views((5,), (32,), (3,), value=7)
    arrays = operands(name, 32)
    views[1][...] = arrays[0]
    RULES[name][0](views[1], *arrays[1:], **RULES[name][1])
    assert (flat[:32] == 7).all()
    assert (flat[64:] == 7).all()
    assert (views[1] != 7).all()


@pytest.mark.parametrize("name", RULES)
def test_the_array_codes_settings_are_taken(name):
    """All of them: a kernel that ignores one would differ."""
    plain = getattr(optim, f"{name}_update").plain
    more = {"clip": 0.6, "follow": 0.25} | ({"decay": 0.1} if name == "adam" else {})
    one, two = operands(name, 35), operands(name, 35)
    averages = np.ones(35, np.float32), np.ones(35, np.float32)
    RULES[name][0](*one, average=averages[0], **RULES[name][1] | more)
    plain(*two, average=averages[1], **RULES[name][1] | more)
    for a, b in zip([*one, averages[0]], [*two, averages[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("name", RULES)
def test_what_does_not_fit_is_left_to_array_code(name):
    call, settings = RULES[name]
    first, *rest = operands(name, 8)
    assert call(first[:4].copy(), *rest, **settings) is NotImplemented
    for average in (np.zeros(8), np.zeros(4, np.float32), np.zeros(16, np.float32)[::2]):
        assert call(first, *rest, average=average, follow=0.5, **settings) is NotImplemented
    if name == "adam":
        assert call(first, *rest, **settings | {"b1": -0.5}) is NotImplemented
