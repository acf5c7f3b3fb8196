"""What `--as-published` does: the mistakes of the articles that recipes come from, each as a stranger would write it.

A mistake is a changed value of the recipe, or where no value says it an objective, an optimizer or an output layer of
its own. `PUBLISHED` holds both by the name of the recipe, which a run carries in `Recipe.published`, so that a
checkpoint finds its parts again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastgan import ops
from fastgan.device import Array
from fastgan.gan.objectives import OBJECTIVES, Objective, ScoreLoss
from fastgan.gan.penalty import between, slope_of
from fastgan.nn import Linear, Sequential, Sigmoid
from fastgan.optim import Adam
from fastgan.tape import Tensor, Thunk, op

HS_ROWS = 32  # of handspeaker's images


@dataclass(frozen=True)
class Published:
    """What a source does otherwise: `changes` of the recipe's values, and parts in the place of its own.

    `objectives` stand for those of the same names, `adam` for Adam; `generator` makes another of a network as built.
    """

    note: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    adam: type[Adam] = Adam
    generator: Callable[[Sequential], Sequential] = lambda network: network


def column_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """gradient_penalty with a norm for each column of an image instead of one for all of it."""
    slope = slope_of(critic, between(real, fake, epsilon)).reshape(len(real), HS_ROWS, -1)
    square = (slope * slope).sum(axis=(1,))
    return ((ops.sqrt(square + 1e-12) - 1) ** 2).mean()


class ConstantAdam(Adam):
    """Adam that divides by (1 - beta) at every step, as at the first, instead of (1 - beta^t).

    At the default betas late steps are 0.32 of what they should be.
    """

    def update(self) -> None:
        """One step."""
        steps, count = self.steps, self.count
        self.steps, self.count = 1, None
        super().update()
        self.steps, self.count = steps, count


@op
def seo_sigmoid_layer(x: Array, w: Array, b: Array) -> Array:
    """sigmoid(x @ w + b); (n, i), (i, o), (o,) -> (n, o)."""
    return ops.linear.forward.plain(x, w, b, act="sigmoid")


@seo_sigmoid_layer.vjp
def _(g: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Thunk, ...]:
    gz = g * y * (1 - y)
    return lambda: gz @ w.T, lambda: x.T @ (g * g), lambda: gz  # x.T @ gz would be right for w


class SeoOutput(Linear):
    """The output layer of Seo's generator, made of a right one: the weight's gradient has g * g for g * sigmoid'."""

    def __init__(self, right: Linear) -> None:
        vars(self).update(vars(right))

    def __call__(self, x: Tensor) -> Tensor:
        """sigmoid(x @ weight + bias)."""
        return seo_sigmoid_layer(x, self.weight, self.bias)


def seo_generator(network: Sequential) -> Sequential:
    """A generator whose last layer is Seo's, where it ends in a linear layer and a sigmoid."""
    layers = [layer for _, layer in network.parts()]
    match layers[-2:]:
        case [Linear() as last, Sigmoid()]:
            return Sequential(*layers[:-2], SeoOutput(last))
    return network


PUBLISHED = {
    "toy-mlp": Published(
        note="pixels normalized to [-0.42, 2.82], which tanh cannot reach",
        changes={"low": (0 - 0.1307) / 0.3081, "high": (1 - 0.1307) / 0.3081},
    ),
    "seo-numpy": Published(
        note="trains on test images one at a time, rewards the critic for calling fakes real, corrects Adam's bias by "
        "1 - beta, squares a gradient in the generator's last layer; first weights times 0.002; the rate drops at "
        "steps 1 and 41, and step 10 is the last",
        changes={
            "split": "test",
            "batch": 1,
            "generator": {"init_scale": 0.002},
            "critic": {"init_scale": 0.002},
            "optimizer": {"schedule": "drop:0.01@1,41"},
            **dict.fromkeys(("steps", "log_every", "sample_every"), 10),
        },
        objectives={"non-saturating": replace(OBJECTIVES["non-saturating"], fake=ScoreLoss("-softplus(s)"))},
        adam=ConstantAdam,
        generator=seo_generator,
    ),
    "hs-wgan-gp": Published(
        note="a norm for each column of an image instead of one for all of it; batch norm in the critic",
        changes={
            "critic": {
                "layers": (
                    *("image", "conv 16 4 stride=2 padding=same", "leaky_relu 0.2"),
                    *("conv 32 4 stride=2 padding=same", "batch_norm", "leaky_relu 0.2"),
                    *("conv 64 4 stride=2 padding=same", "batch_norm", "leaky_relu 0.2"),
                    *("flatten", "linear 1"),
                )
            }
        },
        objectives={"wasserstein-gp": replace(OBJECTIVES["wasserstein-gp"], penalty_of=column_penalty)},
    ),
}


def of(name: str) -> Published:
    """What the source of a recipe does otherwise; nothing where nothing is known."""
    return PUBLISHED.get(name, Published())
