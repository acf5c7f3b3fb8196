"""The losses of the newest steps, in a small ring on the device until somebody asks: no step waits for the host."""

import numpy as np

from fastgan.clock import Clock, Count
from fastgan.device import Array, module_of, to_device, to_host
from fastgan.dispatch import Fusable


@Fusable
def record(
    ring: Array,
    generator_loss: Array,
    critic_loss: Array,
    *,
    step: int | Count,
    more: Array | None = None,
    scale: float = 1.0,
    advance: bool = False,
) -> None:
    """Write a step's losses to row `step` of a ring (k, 2): the critic's, (critic_loss + more) * scale, then the other.

    With `advance` the device's count of steps moves on.
    """
    row = ring[int(step) % len(ring)]
    row[0] = (critic_loss if more is None else critic_loss + more) * scale
    row[1] = generator_loss
    if advance and isinstance(step, Count):
        step.clock += 1


class Ring:
    """Room for the losses of `length` steps; `clock` says which steps those are."""

    def __init__(self, length: int, clock: Clock) -> None:
        self.array: Array = module_of(clock.device).zeros((length, 2), np.float32)
        self.clock = clock
        self.begun = 0  # the ring holds nothing of the steps before

    def last(self, most: int) -> Array:
        """The critic's and the generator's losses, (k, 2) on the host, of up to `most` steps: as many as are known."""
        return to_host(self.array)[self._rows(min(most, self.clock.steps - self.begun))]

    def restore(self, losses: Array) -> None:
        """Hold what `last` gave when the clock stood where it stands now, and nothing else."""
        self.begun = self.clock.steps - len(losses)
        ring = to_host(self.array)
        ring[self._rows(len(losses))] = losses
        self.array[...] = to_device(ring, self.clock.device)

    def _rows(self, count: int) -> Array:
        return np.arange(self.clock.steps - count, self.clock.steps) % len(self.array)
