"""Samples of a generator: what pictures, `fastgan sample` and Trainer.sample draw, without critic and optimizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastgan.device import Array, to_device, to_host
from fastgan.errors import UsageError
from fastgan.gan.conditional import told
from fastgan.gan.latents import draw_latents
from fastgan.gan.recipe import Recipe
from fastgan.gan.source import Form
from fastgan.nn import Module
from fastgan.optim import Ema
from fastgan.random import Stream
from fastgan.tape import Tensor, no_grad


class Sampler:
    """A generator and what makes pictures of its output; samples come from `ema`, its average, if given."""

    def __init__(
        self,
        recipe: Recipe,
        form: Form,
        generator: Module,
        *,
        device: str,
        seed: int,
        steps_done: int,
        ema: Ema | None = None,
    ) -> None:
        self.recipe, self.form, self.generator = recipe, form, generator
        self.device, self.seed, self.steps_done, self.ema = device, seed, steps_done, ema

    def sample(
        self, n: int, seed: int | None = None, *, latent: Array | None = None, label: Any = None
    ) -> Array:
        """n samples on the host: images (n, h, w, c) in [0, 1], or points (n, d). See Trainer.sample."""
        if n < 1:
            raise UsageError(f"sample: got n {n}, wanted at least 1")
        z = self.latent(n, seed) if latent is None else to_device(latent, self.device)
        y = self._labels(len(z), label)
        with self.drawing() as generator, no_grad():
            x = to_host(told(generator, y)(Tensor(z)).data)
        return self.pixels(x)

    @contextmanager
    def drawing(self) -> Iterator[Module]:
        """A block in which the generator is in inference mode and has its average where there is one."""
        self.generator.eval()
        if self.ema:
            self.ema.swap()
        try:
            yield self.generator
        finally:
            if self.ema:
                self.ema.swap()
            self.generator.train()

    def latent(self, n: int, seed: int | None = None) -> Array:
        """The latents (n, z) that a seed stands for; the run's fixed ones without a seed."""
        seed = self.seed if seed is None else seed
        return draw_latents(self.recipe, n, 0, seed=seed, device=self.device, stream=Stream.SAMPLE)

    def _labels(self, n: int, label: Any) -> Array | None:
        """n labels as one-hot rows, each class in turn unless one or some are given; None in a run without classes."""
        k = self.recipe.classes
        if label is not None and not k:
            raise UsageError(
                f"sample: got label {label} for a run without classes; train one with, such as recipe cgan-mnist"
            )
        if not k:
            return None
        labels = np.asarray(np.arange(n) % k if label is None else label)
        if labels.dtype.kind not in "iu" or labels.shape not in ((), (n,)):
            raise UsageError(f"sample: got label {label!r}, wanted a whole number or {n} of them")
        for wrong in labels[(labels < 0) | (labels >= k)].flat:
            raise UsageError(f"sample: got label {wrong}, wanted 0 to {k - 1}")
        return to_device(np.eye(k, dtype=np.float32)[np.broadcast_to(labels, n)], self.device)

    def pixels(self, x: Array) -> Array:
        """A generator's output (n, f) as images in [0, 1], or points as they are."""
        shape = (len(x), *self.form.shape)
        if len(shape) != 4:
            return x.reshape(shape)
        scaled = (x - self.recipe.low) / (self.recipe.high - self.recipe.low)
        return np.clip(scaled, 0, 1).reshape(shape)
