"""How many threads the steps of a run have on the CPU, and when that changes.

The idea: matrix products on several threads wait for the slowest, at full speed, so where another program has a core,
each product waits for that program's turn, and a step takes ten times as long as on one thread (measured). So a run
looks once a second how many cores it could have, which is what idles and what it has itself, and takes no more threads
than that. Threads of kernels sleep while they wait and are better kept (measured), and so is whatever number was asked
for. Bits depend on the number, so a change is rare: load must last, and quiet must last longer each time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from pathlib import Path
from time import perf_counter, process_time

from fastgan.errors import UsageError
from fastgan.threads import blas_threads_now, cores, cpu_threads, limit_blas_threads, threads_wished

LOOK = 1.0  # seconds between two looks
LASTING = 2  # looks in a row that find too few cores, before there are fewer threads
QUIET = 10.0  # seconds for which more cores must be free, before there are more; twice as long the next time
DOWN, UP = 0.4, 0.15  # of a core that may be missing for a thread to stay, and to come back
MOST = 1024


class Machine:
    """What a run can see of the computer: a clock, and the time that its cores have had for it."""

    clock = staticmethod(perf_counter)

    def free(self) -> float | None:
        """Seconds of cores, added up since some start, that this process had or could have had; None: unknown.

        From /proc/stat, so on Linux only, and there only of the cores that the process may use.
        """
        try:
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
            ticks = {words[0]: int(words[4]) + int(words[5]) for words in map(str.split, lines) if words[5:]}
            idle = sum(ticks[f"cpu{core}"] for core in os.sched_getaffinity(0))
        except (OSError, ValueError, KeyError):  # no such file, or one of another form
            return None
        return idle / os.sysconf("SC_CLK_TCK") + process_time() if idle else None


class Threads:
    """The threads of a run's steps: `used` of them now.

    `wanted` is a number to keep, or None for what fits: with `split` as many as there are cores, each for kernels and
    BLAS at once; for `small` networks one, as a second does not pay; else BLAS's own number, or fewer while other
    programs have the cores. UsageError unless `wanted` is 1 to 1024.
    """

    def __init__(
        self, wanted: int | None, *, split: bool, small: bool = False, machine: Machine | None = None
    ) -> None:
        if wanted is not None and not (isinstance(wanted, int) and 1 <= wanted <= MOST):
            raise UsageError(f"got threads {wanted!r}, wanted a whole number from 1 to {MOST}")
        self.wanted, self.split, self.small = wanted, split, small
        self.machine = machine or Machine()
        self.most = self.used = self._own_choice()
        self.patience, self.fixed = QUIET, True
        self.seen: float | None = None
        self.seen_at = self.quiet_since = 0.0
        self.lacking = 0  # looks in a row

    def _own_choice(self) -> int:
        """The number on a machine that is all ours."""
        if self.wanted is not None:
            return self.wanted
        if self.split:
            return cores()
        return 1 if self.small else blas_threads_now()

    @contextmanager
    def running(self) -> Iterator[None]:
        """A block in which steps have these threads; `look` may change the number in it, and what was is put back."""
        most = self._own_choice()
        self.used = most if most != self.most else self.used
        self.most = most
        self.fixed = self.wanted is not None or self.split or most == 1 or bool(threads_wished())
        with cpu_threads(self.used, split=self.split):
            self._start_anew(self.machine.clock())
            yield

    def look(self) -> int:
        """The number before, where it was changed just now, else 0; to be called after each step."""
        if self.fixed or (now := self.machine.clock()) < self.seen_at + LOOK:
            return 0
        before, seconds = self.seen, now - self.seen_at
        self.seen, self.seen_at = self.machine.free(), now
        if self.seen is None or before is None:
            self.fixed = True
            return 0
        return self._judge((self.seen - before) / seconds, now)

    def _judge(self, free: float, now: float) -> int:
        """Change the number if `free` cores, since the last look, are the wrong ones for long enough; see look."""
        fewer, more = (min(self.most, max(1, floor(free + slack))) for slack in (DOWN, UP))
        self.lacking = self.lacking + 1 if fewer < self.used else 0
        if more <= self.used:
            self.quiet_since = now
        if self.lacking >= LASTING:
            return self._change(fewer, now)
        if now - self.quiet_since >= self.patience:
            self.patience *= 2
            return self._change(more, now)
        return 0

    def _change(self, number: int, now: float) -> int:
        before, self.used = self.used, number
        limit_blas_threads(number)
        self._start_anew(now)
        return before

    def _start_anew(self, now: float) -> None:
        self.seen, self.seen_at = None if self.fixed else self.machine.free(), now
        self.lacking, self.quiet_since = 0, now
