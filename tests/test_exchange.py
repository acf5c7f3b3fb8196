"""Arrays in and out: dtypes, Python numbers, and memory shared with NumPy, PyTorch and JAX through DLPack."""

import numpy as np
import pytest

from fastgan import ops
from fastgan.errors import DeviceError
from fastgan.tape import Tensor, grad, tensor


@pytest.mark.parametrize("x", [[1, 2], [1.5, 2.5], [[1, 2], [3, 4]], 3, 2.5, (1, 2)], ids=str)
def test_python_numbers_become_float32_and_bools_stay(x):
    t = tensor(x)
    assert t.dtype == np.float32
    assert t.numpy().tolist() == np.asarray(x).tolist()
    assert tensor([True, False]).dtype == bool


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_arrays_keep_their_dtype_and_memory(dtype):
    x = np.array([0, 1, 1]).astype(dtype)
    for t in (tensor(x), tensor(tensor(x)), tensor(x, device="cpu")):
        assert t.data is x
    assert tensor(x).numpy() is x
    assert tensor(x[0]).dtype == dtype  # a NumPy scalar


def test_an_array_on_either_side_gives_a_tensor():
    a, t = np.array([[2.0, 4.0]], np.float32), tensor([[1.0, 2.0]], requires_grad=True)
    b = t.data
    results = [a * t, t * a, a + t, t + a, a - t, t - a, a / t, t / a, t @ a.T, a @ t.T]
    wanted = [a * b, a * b, a + b, a + b, a - b, b - a, a / b, b / a, b @ a.T, a @ b.T]
    for y, plain in zip(results, wanted, strict=True):
        assert isinstance(y, Tensor)
        assert y.requires_grad
        assert np.array_equal(y.data, plain)
    assert grad((a @ t.T).sum(), [t])[0].data.tolist() == a.tolist()


def test_a_tensor_is_a_sequence_and_an_array():
    t = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = t
    assert [row.data.tolist() for row in t] == [[1, 2], [3, 4]]
    assert grad((first * second).sum(), [t])[0].data.tolist() == [[3, 4], [1, 2]]
    assert np.shares_memory(np.asarray(t), t.data)
    copied = np.array(t)
    copied[0] = 9
    assert t.data[0, 0] == 1
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert (len(t), t.ndim, t.size, t.device, tensor(2.5).item()) == (2, 2, 4, "cpu", 2.5)
    assert "requires_grad=True" in repr(t)
    assert "op=exp" in repr(ops.exp(t))


class Foreign:
    """An array of a library that fastgan does not know, with nothing but DLPack."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_dlpack_shares_memory_both_ways():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = tensor(Foreign(x))
    x[0, 0] = 7
    assert t.data[0, 0] == 7
    out = np.from_dlpack(tensor(x))
    out[1, 1] = 8
    assert x[1, 1] == 8
    # NumPy's reductions are scalars and broadcast gradients read-only: neither is an array for everyone
    x = tensor([1.0, 2.0], requires_grad=True)
    assert np.from_dlpack((x * x).sum()) == 5
    assert np.from_dlpack(grad(x.sum(), [x])[0]).tolist() == [1, 1]


def test_what_dlpack_refuses_is_said_in_one_line():
    class Broken(Foreign):
        def __dlpack__(self, **options):
            raise BufferError("has a gradient")

    with pytest.raises(DeviceError, match=r"Broken does not come in through DLPack \(has a gradient\)"):
        tensor(Broken(np.ones(2)))


def test_torch_shares_memory():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    ours = tensor(theirs, requires_grad=True)
    theirs[0, 1] = 9
    ours.data[1, 1] = 8
    assert (ours.data[0, 1], theirs[1, 1]) == (9, 8)
    back = torch.from_dlpack(ours)
    back[0, 0] = 5
    assert ours.data[0, 0] == 5
    assert torch.from_dlpack(grad((ours * ours).sum(), [ours])[0]).tolist() == (2 * ours.data).tolist()
    for dtype in ("float64", "int64", "uint8", "bool"):
        assert tensor(torch.zeros(2, dtype=getattr(torch, dtype))).dtype == dtype
    with pytest.raises(DeviceError, match="detach"):
        tensor(torch.ones(2, requires_grad=True))


def test_jax_shares_memory():
    jax = pytest.importorskip("jax")
    theirs = jax.numpy.arange(64, dtype="float32").reshape(8, 8)
    ours = tensor(theirs)
    assert ours.data.ctypes.data == theirs.unsafe_buffer_pointer()
    assert np.array_equal((ours * 2).data, 2 * np.arange(64).reshape(8, 8))
    raw = np.zeros(64 + 16, np.float32)  # JAX shares memory on a 64-byte boundary
    start = -raw.ctypes.data % 64 // 4
    mine = tensor(raw[start : start + 64])
    shared = jax.dlpack.from_dlpack(mine)
    assert shared.unsafe_buffer_pointer() == mine.data.ctypes.data
    mine.data[3] = 4
    assert float(shared[3]) == 4
