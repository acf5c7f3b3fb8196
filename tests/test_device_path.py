"""Training on "cuda" with a strict stand-in for CuPy: the same bits as array code on the CPU, and nothing mixed."""

import numpy as np
import pytest
from fakes.cuda import standing_in
from tiny import samples, tiny

import fastgan as fg
from fastgan.errors import DeviceError

pytestmark = pytest.mark.slow


@pytest.fixture
def cupy():
    """The stand-in; array code runs on it, whose values are to be compared."""
    with standing_in(), fg.use_kernels(False):
        import cupy

        yield cupy


def test_auto_picks_the_device_and_a_checkpoint_moves(cupy, tmp_path):
    recipe = tiny("keras-mlp")
    trainer = fg.Trainer(recipe, samples(recipe), seed=2).fit(3)
    assert trainer.device == "cuda"
    trainer.save(tmp_path / "a.safetensors")
    here = fg.load(tmp_path / "a.safetensors", device="cpu")
    assert isinstance(here.generator.parameters()[0].data, np.ndarray)
    assert np.allclose(here.sample(4, seed=1), trainer.sample(4, seed=1), atol=1e-6)


def test_the_stand_in_catches_mixing(cupy):
    x, y = fg.tensor(np.ones((2, 2), np.float32), device="cuda"), fg.tensor(np.ones((2, 2), np.float32))
    assert (x.device, y.device) == ("cuda", "cpu")
    for mix in (lambda: x + y, lambda: y * x, lambda: x @ y, lambda: fg.ops.concat(x, y), lambda: x == y):
        with pytest.raises(DeviceError, match="different devices"):
            mix()


def test_gradients_stay_on_the_device(cupy):
    x = fg.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True, device="cuda")
    (g,) = fg.grad((fg.ops.softplus(x[:, 1:]) ** 2).sum(), [x], create_graph=True)
    (h,) = fg.grad((g * g).sum(), [x])
    assert g.device == h.device == "cuda"


def test_comparisons_stay_on_the_device(cupy):
    x = fg.tensor(np.array([1, 2, 3], np.float32), device="cuda")
    for same in (x == cupy.asarray([1, 0, 3]), x == [1, 0, 3], cupy.asarray([1, 0, 3]) == x):
        assert isinstance(same, cupy.ndarray)
        assert same.get().tolist() == [True, False, True]
        assert (int(same.sum()), bool(same.all())) == (2, False)
    assert (x > np.float64(2)).get().tolist() == [False, False, True]
    assert bool(x[0] == 1)


def test_float64_parameters_stay_on_the_device(cupy):
    x = fg.tensor(np.ones(3), device="cuda", requires_grad=True)
    optimizer = fg.optim.Adam([x], lr=0.5, max_norm=1.0)
    fg.grad((x * x).sum(), [x], out=optimizer.gradients)
    optimizer.step()
    assert (x.dtype, optimizer.state["m"].dtype) == (np.float64, np.float64)
    assert x.numpy() == pytest.approx(0.5)
