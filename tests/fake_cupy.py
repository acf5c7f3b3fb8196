"""A stand-in for CuPy on machines without a GPU: NumPy underneath, but as strict about mixing as CuPy is.

Its arrays are no NumPy arrays, and an operation that is handed both kinds raises TypeError, as CuPy's do. So a run
on it shows every place where host and device arrays meet by mistake. What it cannot show: CuPy's own gaps
(test_cupy_names.py checks names) and anything about speed.
"""

import sys
import types

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

SCALARS = (np.float64,)  # a float by inheritance, and taken
METHODS = ("astype", "sum", "mean", "max", "min", "reshape", "transpose", "copy", "any", "all", "item")


def unwrap(x):
    """NumPy's view of an argument; TypeError for a host array, which CuPy would not take."""
    if isinstance(x, ndarray):
        return x.host
    if isinstance(x, np.ndarray) or (
        isinstance(x, int | float) and type(x) not in (bool, int, float, *SCALARS)
    ):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, tuple | list):
        return type(x)(unwrap(v) for v in x)
    return x


def wrap(x):
    """Arrays (of any rank: CuPy's reductions give 0-d arrays, not scalars) as device arrays."""
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(np.asarray(x))
    return type(x)(wrap(v) for v in x) if isinstance(x, tuple | list) else x


class ndarray(NDArrayOperatorsMixin):  # noqa: N801 (CuPy's name)
    """An array that pretends to lie on a GPU."""

    def __init__(self, host):
        self.host = host

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        out = kwargs.pop("out", None)
        values = [unwrap(x) for x in inputs]
        kwargs = {k: unwrap(v) for k, v in kwargs.items()}
        if out is not None:
            kwargs["out"] = tuple(o.host for o in out)
        result = getattr(ufunc, method)(*values, **kwargs)
        return out[0] if out is not None else wrap(result)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __getitem__(self, key):
        return wrap(self.host[unwrap(key)])

    def __setitem__(self, key, value):
        self.host[unwrap(key)] = unwrap(value)

    def __len__(self):
        return len(self.host)

    def __iter__(self):
        return (wrap(x) for x in self.host)

    def __getattr__(self, name):
        if name in METHODS:
            return lambda *a, **k: wrap(
                getattr(self.host, name)(*unwrap(a), **{n: unwrap(v) for n, v in k.items()})
            )
        if name in ("shape", "dtype", "ndim", "size", "flags", "nbytes"):
            return getattr(self.host, name)
        raise AttributeError(name)

    @property
    def T(self):
        return wrap(self.host.T)

    def get(self):
        return self.host.copy()


ndarray.__module__ = "cupy"


def module():
    """The module to put at sys.modules["cupy"]."""

    def lift(function):
        def call(*args, **kwargs):
            out = kwargs.get("out")
            result = function(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items()})
            return out if out is not None else wrap(result)

        return call

    class Fake(types.ModuleType):
        def __getattr__(self, name):
            value = getattr(np, name)
            return lift(value) if callable(value) and not isinstance(value, type) else value

    fake = Fake("cupy")
    fake.ndarray = ndarray
    fake.asarray = lambda x, dtype=None: ndarray(np.array(x.host if isinstance(x, ndarray) else x, dtype))
    stream = types.SimpleNamespace(synchronize=lambda: None)
    fake.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDeviceCount=lambda: 1), get_current_stream=lambda: stream
    )
    return fake


def install(monkeypatch):
    """Let `import cupy` find the stand-in, and a driver, for the length of a test."""
    monkeypatch.setattr("fastgan.backend._driver_found", lambda: True)
    monkeypatch.setitem(sys.modules, "cupy", module())
