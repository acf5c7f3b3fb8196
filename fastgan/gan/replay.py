"""How a run's steps are made on a GPU: a few one by one, then as graphs that are captured once and replayed.

A replay is one launch for up to UNROLL steps. Between two of them the host may do what it likes: read losses, sample,
save, set a learning rate, shuffle the next epoch. What cannot be captured runs step by step, and that is said once.
"""

import warnings

from fastgan.capture import Capturer, Recording
from fastgan.errors import CaptureError
from fastgan.gan.batches import UNROLL
from fastgan.gan.recipe import Recipe
from fastgan.gan.step import Scores, Step

WARMUP = 3  # steps that compile kernels, choose schedules and grow the memory pool


class Replay:
    """The steps of one Trainer on a GPU."""

    def __init__(self, step: Step) -> None:
        self.step, self.possible = step, True
        self.capturer = Capturer()
        self.session = self.capturer.on_stream  # a block in which everything of a run happens
        self.recordings: dict[int, tuple[Recording, Scores]] = {}  # by the number of steps
        self.made = 0

    def advance(self, most: int) -> None:
        """Make one step, or several at once where up to `most` are wanted."""
        warms_up = self.step.recipe.warms_up(self.step.clock.steps)
        if not self.possible or self.made < WARMUP or warms_up:
            with self.capturer.memory():
                self.step.step()
            if warms_up:  # a recording holds how far the optimizer's steps are ahead
                self.recordings.clear()
            else:
                self.made += 1
            return
        steady = self.step.recipe.optimizer.schedule == "constant"  # else the host sets a rate between steps
        steps = UNROLL if most >= UNROLL and steady else 1
        if steps not in self.recordings:
            try:
                self.recordings[steps] = self._record(steps)
            except CaptureError as error:
                self.possible = False
                warnings.warn(
                    f"no graph: {error}; steps run one by one, slower", RuntimeWarning, stacklevel=4
                )
                return self.advance(most)
        self._replay(steps)

    def _record(self, steps: int) -> tuple[Recording, Scores]:
        """Capture some steps. Nothing is computed, so the host's counters go back to where they were."""
        step = self.step
        before, optimizers = step.clock.steps, (step.generator_optimizer, step.critic_optimizer)
        counts = [optimizer.steps for optimizer in optimizers]

        def make() -> None:
            for _ in range(steps):
                step.make()
                step.clock.steps += 1

        try:
            recording = self.capturer.record(make)
        finally:
            step.clock.steps = before
            for optimizer, count in zip(optimizers, counts, strict=True):
                optimizer.steps = count
        return recording, dict(step.scores)

    def _replay(self, steps: int) -> None:
        recording, scores = self.recordings[steps]
        step = self.step
        step.prepare(steps)
        recording.replay()
        for optimizer in (step.critic_optimizer, step.generator_optimizer):
            optimizer.flat.mark_changed()
        step.scores = dict(scores)  # an eager step or a recording would write to the recording's own
        step.passed(steps)


def due(recipe: Recipe, done: int, goal: int) -> int:
    """Steps until something is due: a log row, a picture, a checkpoint, a warm-up step, or the end at `goal`."""
    intervals = [recipe.sample_every, recipe.checkpoint_every]
    intervals += [recipe.warmup_every] if recipe.warmup_critic_steps else []
    return min(goal - done, recipe.until_log(done), *(every - done % every for every in intervals))
