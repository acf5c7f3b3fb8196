"""Objectives: what critic and generator minimize, as pure functions of raw scores, real before fake.

A critic's loss is a sum of a part for real scores and a part for fake ones, so the two can share an update or have one
each. Scores are logits (n, 1); no network ends in a sigmoid. `n` batch, `f` features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches

from fastgan.errors import UsageError
from fastgan.gan.penalty import gradient_penalty
from fastgan.ops import score_loss
from fastgan.tape import Tensor

__all__ = ["OBJECTIVES", "Objective", "Score", "ScoreLoss", "gradient_penalty", "objective"]

Score = Callable[[Tensor], Tensor]
Penalty = Callable[[Score, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ScoreLoss:
    """The mean over scores s of one of ops.SCORE_LOSSES, by its text: a function that kernels know by name."""

    kind: str

    def __call__(self, scores: Tensor) -> Tensor:
        """The loss of scores (n, 1), a Tensor of shape ()."""
        return score_loss(scores, kinds=(self.kind,), counts=(len(scores),))


@dataclass(frozen=True)
class Objective:
    """Losses as functions of scores (n, 1) -> (), and the critic's constraint.

    `boundary` is the score between fake and real, for an accuracy; None where scores are no classification but the
    difference of their means estimates the Wasserstein distance. `logits` says whether sigmoid(score) is the
    probability of being real. `clip` > 0 keeps the critic's weights in [-clip, clip]; `penalty` weighs
    the gradient penalty, or with `penalty_of` another: a function of what gradient_penalty takes.
    """

    real: Score
    fake: Score
    generator: Score
    boundary: float | None = 0.0
    logits: bool = True
    clip: float = 0.0
    penalty: float = 0.0
    penalty_of: Penalty | None = None
    source: str = ""

    @property
    def kinds(self) -> tuple[str, str] | None:
        """The names of the critic's losses of real and fake scores, where both are a ScoreLoss."""
        real, fake = self.real, self.fake
        return (real.kind, fake.kind) if isinstance(real, ScoreLoss) and isinstance(fake, ScoreLoss) else None

    def critic(self, scores: Tensor) -> Tensor:
        """The critic's loss of scores (2n, 1), real ones before fake ones; a Tensor of shape ()."""
        n = len(scores) // 2
        if self.kinds:
            return score_loss(scores, kinds=self.kinds, counts=(n, n))
        return self.real(scores[:n]) + self.fake(scores[n:])


# losses in the order real, fake, generator
NON_SATURATING = Objective(
    ScoreLoss("softplus(-s)"),
    ScoreLoss("softplus(s)"),
    ScoreLoss("softplus(-s)"),
    source="-log D(x) - log(1 - D(G(z))); G: -log D(G(z)). Goodfellow et al. 2014",
)
WASSERSTEIN = Objective(
    ScoreLoss("-s"),
    ScoreLoss("s"),
    ScoreLoss("-s"),
    boundary=None,
    logits=False,
    clip=0.01,
    source="D(G(z)) - D(x) with clipped weights; G: -D(G(z)). Arjovsky et al. 2017",
)
OBJECTIVES = {
    "minimax": replace(
        NON_SATURATING,
        generator=ScoreLoss("-softplus(s)"),
        source="-log D(x) - log(1 - D(G(z))); G: log(1 - D(G(z))). Goodfellow et al. 2014",
    ),
    "non-saturating": NON_SATURATING,
    "least-squares": Objective(
        ScoreLoss("(s - 1)^2 / 2"),
        ScoreLoss("s^2 / 2"),
        ScoreLoss("(s - 1)^2 / 2"),
        boundary=0.5,
        logits=False,
        source="1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2; G: 1/2 (D(G(z)) - 1)^2. Mao et al. 2017",
    ),
    "wasserstein": WASSERSTEIN,
    "wasserstein-gp": replace(
        WASSERSTEIN,
        clip=0.0,
        penalty=10.0,
        source="D(G(z)) - D(x) + 10 (|dD/dx| - 1)^2; G: -D(G(z)). Gulrajani et al. 2017",
    ),
    "hinge": Objective(
        ScoreLoss("max(0, 1 - s)"),
        ScoreLoss("max(0, 1 + s)"),
        ScoreLoss("-s"),
        logits=False,
        source="max(0, 1 - D(x)) + max(0, 1 + D(G(z))); G: -D(G(z)). Lim and Ye 2017",
    ),
}


def objective(name: str) -> Objective:
    """The objective of a name; UsageError with a suggestion for an unknown one."""
    if name not in OBJECTIVES:
        near = get_close_matches(name, OBJECTIVES, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(OBJECTIVES)}"
        raise UsageError(f"got objective {name!r}; {hint}")
    return OBJECTIVES[name]
