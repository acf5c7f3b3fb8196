"""PyTorch with a whole step as one CUDA graph: the eager peer's step, captured once and replayed.

One idea: everything that changes from step to step lives on the GPU, as PyTorch's notes on CUDA graphs ask: Adam
(fused) counts there, and indices and noise come from PyTorch's own generator, whose state a replay moves on. So the
step itself is the eager peer's, line for line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fastgan.benchmarks.peers import setting
from fastgan.benchmarks.peers.settings import ALL, Peer, Setting
from fastgan.benchmarks.peers.torch_eager import Gan, peer

RECIPES: tuple[str, ...] = tuple(ALL)
WARM_UP = 3  # steps before the capture, as PyTorch's notes have: libraries choose and allocate in them

Step = Callable[[], None]


def make(recipe: str | Setting, data: NDArray[np.float32], *, seed: int = 0, device: str = "cuda") -> Peer:
    """`recipe` on `data`, float32 (n, 784) in [low, 1]; the fourth step captures. Raises `UsageError`."""
    gan = Gan(setting(recipe, data, ALL), data, seed, device=device, capturable=device == "cuda")
    return peer(gan, Replayed(gan.step))


class Replayed:
    """A step that is run a few times, then captured, then replayed; each call makes exactly one step."""

    def __init__(self, step: Step) -> None:
        self.step, self.calls = step, 0
        self.replay: Step | None = None

    def __call__(self) -> None:
        self.calls += 1
        if self.replay:
            self.replay()
        elif self.calls <= WARM_UP:
            aside(self.step)
        else:
            self.replay = capture(self.step)  # records, runs nothing
            self.replay()


def aside(step: Step) -> None:
    """One step on a stream of its own, where a capture would put it."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)


def capture(step: Step) -> Step:
    """What replays a step."""
    import torch

    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    replay: Step = graph.replay
    return replay
