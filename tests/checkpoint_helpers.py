"""Contents for checkpoints, forged ones, system calls that fail, and how to look at what is left."""

import builtins
import json
import os

import numpy as np
import safetensors.numpy

from fastgan.gan import checkpoint

META = {"step": 500, "recipe": "wgan-gp", "losses": [0.25, None], "seed": 2**63, "name": "é \n"}


def arrays():
    rng = np.random.default_rng(1)
    return {
        "generator.w": rng.standard_normal((3, 4)).astype(np.float32),
        "moments": rng.standard_normal(5),
        "done": np.array([True, False]),
        "step": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float16),
    }


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert got[name].tobytes() == array.tobytes()


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) > 20
    return text


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


def failing(code, after=0):
    """A stand-in for a system call that fails from its call number `after` on."""

    def install(monkeypatch, name):
        module = builtins if name == "open" else os
        real, seen = getattr(module, name), []

        def wrapper(*args, **settings):
            seen.append(args)
            if len(seen) > after:
                raise OSError(code, os.strerror(code))
            return real(args[0], args[1][:1]) if name == "write" else real(*args, **settings)

        monkeypatch.setattr(module, name, wrapper)

    return install


def forge(path, description, tensors=None, digest=None):
    """A safetensors file with any description, whose sum fits unless one is given."""
    tensors = tensors or {"x": np.ones(2, np.float32)}
    text = description if isinstance(description, str) else json.dumps(description)
    digest = digest or checkpoint._digest(tensors, text)
    path.write_bytes(safetensors.numpy.save(tensors, {"fastgan": text, "sha256": digest}))
