"""How long each size of the suites may take, and how its time is shared out: what to change when a run is too slow.

One idea: there are hard limits (a person waits for two minutes, a GPU is lent for ten), so time goes by shares. A suite
has its share of what is left, a case an equal share of its suite's; what one does not use is there for the next.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pace:
    """Seconds of a turn, turns per column, seconds for all and for making a case, by size.

    `ceilings` are the seconds for each device's, None for what is best; `weights` share out the time, 1 where none is.
    """

    turn: float
    rounds: int
    limit: float
    making: float
    ceilings: float | None = None
    weights: dict[str, int] = field(default_factory=dict)


GPU_LIMIT = 525.0  # seconds of a run where there is a GPU, which is lent by the minute
# seconds to a quality need most on two cores: a minute for each of three seeds and two recipes
FULL = {"kernels": 6, "steps": 11, "crossover": 2, "scaling": 2, "quality-time": 15}
PACES = {
    "full": Pace(0.06, 9, 885.0, 100.0, weights=FULL),
    # the rest of two minutes is for starting, for the report, and for what a busy machine makes of them
    "quick": Pace(0.03, 5, 100.0, 30.0, weights={"steps": 24, "kernels": 5, "scaling": 2, "quality-time": 5}),
    "tiny": Pace(0.0, 2, 600.0, 100.0, ceilings=0.3),
}
