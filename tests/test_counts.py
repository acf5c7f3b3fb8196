"""Numbers that the device knows by itself, and kernels that cannot be built."""

import numpy as np
import pytest
from tiny import samples, tiny

import fastgan as fg
from fastgan import dispatch, optim, random
from fastgan.clock import Count, Rate, capturing
from fastgan.dispatch import Fusable
from fastgan.errors import CaptureError


def test_a_count_follows_the_steps_done():
    count = Count(np.zeros(1, np.int64), 5, 3, 7)
    assert int(count) == 38
    assert list(range(100))[count] == 38  # usable as an index


def test_numbers_of_the_host_are_refused_while_a_step_is_captured():
    count, rate = Count(np.zeros(1, np.int64), 1, 0, 0), Rate("cpu")
    rate.set(0.25)
    assert (float(rate), rate.array[0]) == (0.25, 0.25)
    with capturing():
        with pytest.raises(CaptureError, match="step's number"):
            int(count)
        with pytest.raises(CaptureError, match="learning rate"):
            float(rate)
        with pytest.raises(CaptureError):
            random.normal((4,), seed=0, stream=1, step=count)
        p = [np.ones(4, np.float32) for _ in range(4)]
        with fg.use_kernels(False), pytest.raises(CaptureError):
            optim.adam_update(*p, lr=rate, t=1, b1=0.5, b2=0.9, eps=1e-8)
    assert int(count) == 0


def test_draws_and_updates_by_a_count_are_those_by_its_value():
    count = Count(np.full(1, 6, np.int64), 2, 1, 6)
    with fg.use_kernels(False):
        a = random.normal((9,), seed=3, stream=1, step=count)
        b = random.normal((9,), seed=3, stream=1, step=13)
    assert (a == b).all()


def test_a_kernel_that_cannot_be_built_is_given_up_and_said_once(monkeypatch):
    monkeypatch.setattr(dispatch, "_told", set())
    calls = []

    def kernel(x):
        calls.append(1)
        raise ImportError("no libnvvm here; install numba-cuda[cu13]")

    fusables = [Fusable(lambda x: x * 2) for _ in range(2)]
    for fusable in fusables:
        fusable.kernels[np.ndarray] = kernel
        fusable.register("numpy", "not", "needed")
    x = np.ones(3, np.float32)
    with pytest.warns(RuntimeWarning, match="no libnvvm here") as told:
        results = [fusable(x).tolist() for fusable in (*fusables, *fusables)]
    assert results == [[2, 2, 2]] * 4
    assert len(told) == 1
    assert len(calls) == 2


def test_a_library_without_a_kernel_is_asked_for_one_once():
    fusable = Fusable(lambda x: x + 1)
    fusable.register("cupy", "not", "needed")
    assert fusable(np.zeros(2, np.float32)).tolist() == [1, 1]
    assert fusable.kernels == {np.ndarray: None}


def test_epochs_are_shuffled_ahead_and_kept(monkeypatch):
    """Orders of all updates that a few steps see are there before them, and each is made once."""
    made = []
    real = random.permutation
    monkeypatch.setattr(random, "permutation", lambda *a, **k: made.append(k["step"]) or real(*a, **k))
    recipe = tiny("wgan-mlp").replace(first=3 * tiny("wgan-mlp").batch)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
    trainer.batches.prepare(0, 8)
    assert made == [0, 1, 2]
    seen = [trainer.batches.draw(u) for u in range(9)]
    assert made == [0, 1, 2]
    again = fg.Trainer(recipe, samples(recipe), device="cpu").batches
    for update, batch in enumerate(seen):
        assert (again.draw(update) == batch).all()
