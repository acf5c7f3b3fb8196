"""Objectives: what critic and generator minimise, as pure functions of raw scores, real before fake.

A critic's loss is a sum of a part for real scores and a part for fake ones, so the two can share an update or have one
each. Scores are logits (n, 1); no network ends in a sigmoid. `n` batch, `f` features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from fastgan.device import array_module
from fastgan.errors import ShapeError, UsageError
from fastgan.nn.layers import BatchNorm
from fastgan.nn.module import Module
from fastgan.ops import relu, softplus, sqrt
from fastgan.tape import Tensor, grad, recording

Score = Callable[[Tensor], Tensor]
Penalty = Callable[[Score, Tensor, Tensor, Tensor], Tensor]


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus(-s)": lambda s: softplus(-s),
    "softplus(s)": softplus,
    "-softplus(s)": lambda s: -softplus(s),
    "(s - 1)^2 / 2": lambda s: (s - 1) ** 2 * 0.5,
    "s^2 / 2": lambda s: s * s * 0.5,
    "-s": lambda s: -s,
    "s": lambda s: s,
    "max(0, 1 - s)": lambda s: relu(1 - s),
    "max(0, 1 + s)": lambda s: relu(1 + s),
}


@dataclass(frozen=True)
class ScoreLoss:
    """The mean over scores s of one of FORMULAS, by its text: a function that kernels know by name."""

    kind: str

    def __call__(self, scores: Tensor) -> Tensor:
        """The loss of scores (n, 1), a Tensor of shape ()."""
        return FORMULAS[self.kind](scores).mean()


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


OBJECTIVES = {
    "minimax": Objective(
        real=ScoreLoss("softplus(-s)"),
        fake=ScoreLoss("softplus(s)"),
        generator=ScoreLoss("-softplus(s)"),
        source="-log D(x) - log(1 - D(G(z))); G: log(1 - D(G(z))). Goodfellow et al. 2014",
    ),
    "non-saturating": Objective(
        real=ScoreLoss("softplus(-s)"),
        fake=ScoreLoss("softplus(s)"),
        generator=ScoreLoss("softplus(-s)"),
        source="-log D(x) - log(1 - D(G(z))); G: -log D(G(z)). Goodfellow et al. 2014",
    ),
    "least-squares": Objective(
        real=ScoreLoss("(s - 1)^2 / 2"),
        fake=ScoreLoss("s^2 / 2"),
        generator=ScoreLoss("(s - 1)^2 / 2"),
        boundary=0.5,
        logits=False,
        source="1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2; G: 1/2 (D(G(z)) - 1)^2. Mao et al. 2017",
    ),
    "wasserstein": Objective(
        real=ScoreLoss("-s"),
        fake=ScoreLoss("s"),
        generator=ScoreLoss("-s"),
        boundary=None,
        logits=False,
        clip=0.01,
        source="D(G(z)) - D(x) with clipped weights; G: -D(G(z)). Arjovsky et al. 2017",
    ),
    "wasserstein-gp": Objective(
        real=ScoreLoss("-s"),
        fake=ScoreLoss("s"),
        generator=ScoreLoss("-s"),
        boundary=None,
        logits=False,
        penalty=10.0,
        source="D(G(z)) - D(x) + 10 (|dD/dx| - 1)^2; G: -D(G(z)). Gulrajani et al. 2017",
    ),
    "hinge": Objective(
        real=ScoreLoss("max(0, 1 - s)"),
        fake=ScoreLoss("max(0, 1 + s)"),
        generator=ScoreLoss("-s"),
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


def refuse_batch_norm(critic: object) -> None:
    """UsageError for a critic with batch norm, where a gradient penalty would be wrong."""
    if isinstance(critic, Module) and any(isinstance(m, BatchNorm) for m in critic.modules()):
        raise UsageError(
            "got a critic with BatchNorm under a gradient penalty, wanted one without: a sample's gradient "
            "would depend on the whole batch, and the penalty is on each sample's own (Gulrajani et al. 2017, 4)"
        )


def gradient_penalty(critic: Score, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """E[(|d critic(x) / dx| - 1)^2] at x = epsilon real + (1 - epsilon) fake; (n, ...), (n, ...), (n, 1) -> ().

    `epsilon` is uniform in [0, 1), one per sample. The norm is over all of a sample's features, with 1e-12 under the
    root, so that the penalty of a constant critic is 1 and its gradient finite. Gulrajani et al. 2017.
    """
    refuse_batch_norm(critic)
    slope = slopes(critic, real, fake, epsilon)
    square = (slope * slope).sum(axis=tuple(range(1, slope.ndim)))  # (n,)
    return ((sqrt(square + 1e-12) - 1) ** 2).mean()


def slopes(critic: Score, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """d critic(x) / dx at x = epsilon real + (1 - epsilon) fake; (n, ...), (n, ...), (n, 1) -> (n, ...). ShapeError."""
    if real.shape != fake.shape or epsilon.size != real.shape[0]:
        raise ShapeError(
            f"gradient_penalty: got real {real.shape}, fake {fake.shape}, epsilon {epsilon.shape}, "
            "wanted (n, f), (n, f), (n, 1)"
        )
    e = epsilon.data.reshape(-1, *[1] * (real.ndim - 1))
    mixed = Tensor(fake.data + e * (real.data - fake.data), requires_grad=True)
    with recording(True):  # the slope needs a tape even where the penalty itself does not
        scores = critic(mixed)
    ones = Tensor(array_module(scores.data).ones_like(scores.data))
    (slope,) = grad([scores], [mixed], [ones], create_graph=True, allow_unused=True)  # (n, ...)
    return slope
