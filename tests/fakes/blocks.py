"""Numba's simulator with greenlets for threads: those of a block take turns, and change where they wait for others.

Numba's own are Python's threads, and a loop asks each whether it waits, which is a hundred times as slow. Here the
order is drawn anew after each barrier, from a seed, so that a barrier that is missing is found; shared memory holds
NaN at first, and it is an error when a thread ends for which others wait.
"""

import random
from types import SimpleNamespace

import numpy as np
from greenlet import getcurrent, greenlet
from numba import types
from numba.cuda.simulator import kernel, kernelapi
from numba.np.numpy_support import as_dtype


class Thread(greenlet):
    """What the simulator's `cuda` asks the current thread for."""

    def __init__(self, body, place, number, arrays):
        super().__init__(body)
        self.blockIdx, self.threadIdx = kernelapi.Dim3(*place), kernelapi.Dim3(*number)
        self.arrays, self.known = arrays, 0

    def syncthreads(self):
        self.parent.switch()

    def array(self, shape, dtype):
        """The next of the block's shared arrays."""
        self.known += 1
        if self.known > len(self.arrays):
            self.arrays.append(np.full(shape, np.nan, as_dtype(dtype)))
        return self.arrays[self.known - 1]


class Block:
    """In the place of Numba's BlockManager."""

    def __init__(self, body, grid, block, debug):
        self.body, self.block = body, block

    def run(self, place, *args):
        arrays, turns = [], random.Random(0)
        threads = [Thread(self.body, place, number, arrays) for number in np.ndindex(*self.block)]
        while threads:
            turns.shuffle(threads)
            for thread in threads:
                thread.switch(*args)
            args, many = (), len(threads)
            threads = [thread for thread in threads if not thread.dead]
            if threads and len(threads) < many:
                raise RuntimeError(f"{len(threads)} threads wait for {many - len(threads)} that have ended")


_call = types.Number.__call__


def number(kind, *given):
    """float32(x), which Numba's own takes long to see through, and uint32(x), a whole number that drops its carry."""
    try:
        if len(given) != 1:
            return _call(kind, *given)
        if kind.name.startswith("uint"):
            return int(given[0]) & ((1 << kind.bitwidth) - 1)
        return getattr(np, kind.name)(given[0])
    except TypeError:  # a signature of one argument
        return _call(kind, *given)


def install():
    """Let Numba's simulator run blocks in this way."""
    kernel.BlockManager = Block
    kernel.FakeWithinKernelCUDAArray = lambda x: x._ary  # NumPy has the same errors
    kernelapi.FakeCUDAShared.array = lambda self, shape, dtype: getcurrent().array(shape, dtype)
    kernelapi.threading = SimpleNamespace(current_thread=getcurrent)
    types.Number.__call__ = number
