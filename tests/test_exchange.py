"""Arrays in and out: dtypes, Python numbers, and memory shared with NumPy, PyTorch and JAX through DLPack."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastgan import ops
from fastgan.errors import DeviceError, FastganError, UsageError
from fastgan.tape import Tensor, grad, tensor


@pytest.mark.parametrize("x", [[1, 2], [1.5, 2.5], [[1, 2], [3, 4]], 3, 2.5, (1, 2)], ids=str)
def test_python_numbers_become_float32(x: Any) -> None:
    t = tensor(x)
    assert t.dtype == np.float32
    assert t.numpy().tolist() == np.asarray(x).tolist()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_arrays_keep_their_dtype_and_memory(dtype: str) -> None:
    x = np.array([0, 1, 1]).astype(dtype)
    assert tensor(x).data is x
    assert tensor(tensor(x)).data is x
    assert tensor(x, device="cpu").data is x
    assert tensor(x).numpy() is x
    assert tensor(x[0]).dtype == dtype  # a NumPy scalar


def test_bools_stay_bools() -> None:
    assert tensor([True, False]).dtype == bool


@pytest.mark.parametrize(
    "x",
    [
        np.array([object()]),
        np.array([[1], [1, 2]], dtype=object),
        [object()],
        {"a": 1},
        None,
        "abc",
        ["a"],
        [[1], [2, 3]],
        np.array(["a"]),
    ],
    ids=[
        "object array",
        "ragged object array",
        "object",
        "dict",
        "None",
        "text",
        "list of text",
        "ragged",
        "text array",
    ],
)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(x: Any) -> None:
    with pytest.raises(FastganError) as caught:
        tensor(x)
    assert "\n" not in str(caught.value)


def test_only_floats_have_gradients() -> None:
    with pytest.raises(UsageError, match="int64 with requires_grad"):
        tensor(np.array([1, 2]), requires_grad=True)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="'gpu', wanted auto, cpu or cuda"):
        tensor([1.0], device="gpu")


def test_an_array_on_either_side_gives_a_tensor() -> None:
    a, t = np.array([[2.0, 4.0]], np.float32), tensor([[1.0, 2.0]], requires_grad=True)
    results = [a * t, t * a, a + t, t + a, a - t, t - a, a / t, t / a]
    wanted = [a * t.data, a * t.data, a + t.data, a + t.data, a - t.data, t.data - a, a / t.data, t.data / a]
    for y, plain in zip(results, wanted, strict=True):
        assert isinstance(y, Tensor)
        assert y.requires_grad
        assert np.array_equal(y.data, plain)


def test_an_array_times_a_tensor_as_matrices() -> None:
    a, t = np.array([[1.0, 2.0]], np.float32), tensor([[3.0], [4.0]], requires_grad=True)
    assert (t @ a).shape == (2, 2)
    y = a @ t
    assert isinstance(y, Tensor)
    assert y.data.tolist() == [[11.0]]
    assert grad(y.sum(), [t])[0].data.tolist() == [[1], [2]]


def test_rows_of_a_tensor_can_be_looped_over() -> None:
    t = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = t
    assert [row.data.tolist() for row in t] == [[1, 2], [3, 4]]
    assert grad((first * second).sum(), [t])[0].data.tolist() == [[3, 4], [1, 2]]


def test_a_tensor_as_an_array() -> None:
    t = tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(t), t.data)
    copied = np.array(t)
    copied[0] = 9
    assert t.data[0] == 1
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert (len(t), t.ndim, t.size, t.device, tensor(2.5).item()) == (2, 1, 2, "cpu", 2.5)


def test_a_tensor_describes_itself() -> None:
    x = tensor([1.0], requires_grad=True)
    assert "requires_grad=True" in repr(x)
    assert "op=exp" in repr(ops.exp(x))


class Foreign:
    """An array of a library that fastgan does not know, with nothing but DLPack."""

    def __init__(self, x: NDArray[Any]) -> None:
        self.x = x

    def __dlpack__(self, **options: Any) -> Any:
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.x.__dlpack_device__()


def test_dlpack_shares_memory_both_ways() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = tensor(Foreign(x))
    x[0, 0] = 7
    assert t.data[0, 0] == 7
    out = np.from_dlpack(tensor(x))
    out[1, 1] = 8
    assert x[1, 1] == 8


def test_dlpack_of_a_loss_and_of_a_gradient() -> None:
    """NumPy's reductions are scalars and broadcast gradients read-only: neither is an array for everyone."""
    x = tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    assert np.from_dlpack(loss) == 5
    assert np.from_dlpack(grad(x.sum(), [x])[0]).tolist() == [1, 1]


def test_what_dlpack_refuses_is_said_in_one_line() -> None:
    class Broken(Foreign):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("has a gradient")

    with pytest.raises(DeviceError, match=r"Broken does not come in through DLPack \(has a gradient\)"):
        tensor(Broken(np.ones(2)))


def test_torch_shares_memory() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    ours = tensor(theirs, requires_grad=True)
    theirs[0, 1] = 9
    assert ours.data[0, 1] == 9
    ours.data[1, 1] = 8
    assert theirs[1, 1] == 8
    back = torch.from_dlpack(ours)
    back[0, 0] = 5
    assert ours.data[0, 0] == 5
    assert torch.from_dlpack(grad((ours * ours).sum(), [ours])[0]).tolist() == (2 * ours.data).tolist()
    for dtype in ("float64", "int64", "uint8", "bool"):
        assert tensor(torch.zeros(2, dtype=getattr(torch, dtype))).dtype == dtype
    with pytest.raises(DeviceError, match="detach"):
        tensor(torch.ones(2, requires_grad=True))


def test_jax_shares_memory() -> None:
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
