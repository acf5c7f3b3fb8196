"""Work on samples, shared by a few Python threads: loops and products that release the GIL run side by side.

Off unless `over` switches it on: OpenBLAS's own threads and these would spin against each other, so whoever switches it
on gives BLAS one thread (see fastgan.threads.cpu_threads). Then each thread copies, multiplies and finishes its own
samples while they are in its own cache, which for convolutions is faster than a product on two threads between copies
on one. Bits depend on the number of threads, never on timing: each piece is fixed, and has its own result.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from itertools import pairwise

import numpy as np

_pool: ContextVar[tuple[int, ThreadPoolExecutor] | None] = ContextVar(
    "pool", default=None
)  # None: one thread
_own = threading.local()  # each thread's buffers


@contextmanager
def over(threads: int) -> Iterator[None]:
    """A block in which `split` uses that many threads, this one included; each thread has blocks of its own."""
    pool = (threads, ThreadPoolExecutor(threads - 1, "fastgan")) if threads > 1 else None
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
        if pool is not None:
            pool[1].shutdown()


def split(work: Callable[[int, int], None], n: int, *, least: int = 1) -> None:
    """Call work(first, last) for consecutive pieces of range(n) on as many threads, none of fewer than `least`.

    Returns when all pieces are done; an error in one of them is raised here.
    """
    bounds, pool = edges(n, least=least), _pool.get()
    if len(bounds) == 2 or pool is None:
        work(0, n)
        return
    others = [  # NumPy's error state is a context variable
        pool[1].submit(copy_context().run, work, first, last) for first, last in pairwise(bounds[1:])
    ]
    try:
        work(bounds[0], bounds[1])
    finally:
        wait(others)
    for other in others:
        other.result()


def edges(n: int, *, least: int = 1) -> list[int]:
    """Where the pieces that `split` makes of range(n) begin, and n: for work that keeps a sum for each."""
    pool = _pool.get()
    if pool is None:
        return [0, n]
    pieces = max(1, min(pool[0], n // max(least, 1)))
    return [n * k // pieces for k in range(pieces + 1)]


def scratch(name, size):
    """`size` float32 of this thread's buffer of a name, which grows to the largest that was asked for and stays."""
    buffers = vars(_own)
    if name not in buffers or buffers[name].size < size:
        buffers[name] = np.empty(size, np.float32)
    return buffers[name][:size]


if hasattr(os, "register_at_fork"):  # a child process has no threads but its own
    os.register_at_fork(after_in_child=lambda: _pool.set(None))
