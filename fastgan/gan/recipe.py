"""A recipe as a value: networks, objective, optimizers, batches, schedule. One trainer runs them all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args, get_origin

from fastgan.errors import UsageError
from fastgan.gan import published
from fastgan.gan.conditional import CRITIC_JOINS, GENERATOR_JOINS
from fastgan.gan.log import check_line
from fastgan.gan.objectives import Objective, objective
from fastgan.nn import MLP, Module, Net
from fastgan.optim import SGD, Adam, Optimizer, RMSProp, schedule
from fastgan.ranges import check_ranges


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer and how: `kind` is adam, adamw, rmsprop or sgd; the others are read where they apply.

    `schedule` multiplies the learning rate (see optim.schedule); `max_norm` > 0 clips the gradient's norm.
    """

    kind: str = "adam"
    lr: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    alpha: float = 0.99
    momentum: float = 0.0
    weight_decay: float = 0.0
    max_norm: float = 0.0
    schedule: str = "constant"

    def build(self, network: Module, *, clip: float = 0.0, adam: type[Adam] = Adam) -> Optimizer:
        """The optimizer for a network whose weights are kept in [-clip, clip] if clip > 0; `adam` may be your own."""
        if self.kind in ("adam", "adamw"):
            return adam(
                network,
                lr=self.lr,
                betas=(self.beta1, self.beta2),
                eps=self.eps,
                weight_decay=self.weight_decay,
                clip=clip,
                max_norm=self.max_norm,
            )
        if self.kind == "rmsprop":
            return RMSProp(
                network, lr=self.lr, alpha=self.alpha, eps=self.eps, clip=clip, max_norm=self.max_norm
            )
        if self.kind == "sgd":
            return SGD(network, lr=self.lr, momentum=self.momentum, clip=clip, max_norm=self.max_norm)
        raise UsageError(f"got optimizer {self.kind!r}, wanted {', '.join(KINDS)}")


KINDS = ("adam", "adamw", "rmsprop", "sgd")
NOISE = ("normal", "uniform")
SAMPLING = ("replacement", "epochs", "sequential")
OLD_LINES = ("keras", "odog-wgan", "cs231n", "toy-mlp", "hs", "shekkizh", "seo", "igul-toy", "igul-mnist")
NAMED = {  # fields that hold a name, and the names there are
    "noise": NOISE,
    "sampling": SAMPLING,
    "generator_labels": GENERATOR_JOINS,
    "critic_labels": CRITIC_JOINS,
}


@dataclass(frozen=True)
class Recipe:
    """Everything a training run needs but the data, the seed and the device.

    One step is `critic_steps` critic updates and `generator_steps` generator updates. `clip` and `penalty` replace the
    objective's own values where they are given. `note` says what is not as in the source; `published` names the recipe
    whose source's mistakes are made.
    """

    name: str
    source: str
    generator: MLP | Net
    critic: MLP | Net
    data: str = "mnist"  # "": the user's own pictures
    split: str = "train"
    points: bool = False  # learns points in the plane, not images
    low: float = -1.0  # what black becomes
    high: float = 1.0  # what white becomes
    picture_size: int = 0  # of a folder's pictures where no image_size is asked for; 0: as they are
    border: int = 0  # black pixels added on each side of an image
    first: int = 0  # use only the first so many samples; 0: all
    objective: str = "non-saturating"
    penalty: float | None = None
    clip: float | None = None
    latent: int = 100
    noise: str = "normal"  # or uniform: [-1, 1)
    batch: int = 64
    steps: int = 10_000
    critic_steps: int = 1
    warmup_critic_steps: int = 0  # critic updates in a warm-up step; 0: there are none
    warmup_steps: int = 25  # the first so many steps are warm-up steps
    warmup_every: int = 500  # and so is every step whose number this divides
    generator_steps: int = 1  # generator updates per step, all on the same latents
    shared_latents: bool = False  # which are those of the step's last critic update
    sampling: str = "replacement"  # or epochs (shuffled anew) or sequential
    split_updates: bool = False  # the critic has one update for real samples and one for fake ones
    halved_loss: bool = False  # the critic's loss is logged as the mean of its two parts, not their sum
    inference_fakes: bool = False  # fakes for the critic come from the generator in inference mode
    simultaneous: bool = False  # both networks' gradients are taken before either is updated
    optimizer: OptimizerSettings = OptimizerSettings()  # of both networks
    generator_lr: float | None = None  # a rate of its own for the generator
    classes: int = 0  # of labelled data, for networks that are told the class; 0: they are not
    label_features: int = 32  # numbers that a label is embedded in
    generator_labels: str = "concat"  # beside z, or multiply: z times them
    critic_labels: str = "projection"  # onto the last layer's input, or concat: one more channel
    ema: float = 0.0  # decay of an average of the generator that samples are drawn from; 0: none
    held_out: bool = False  # also log the critic's loss on samples after the `first`
    line: str = ""  # of the log, as the article prints it: a format (see gan/log.py); "": fastgan's own words
    log_first: bool = (
        False  # lines come after the steps 1, k + 1, 2k + 1 ..., as of a loop that counts from 0
    )
    log_every: int = 100
    sample_every: int = 500
    checkpoint_every: int = 1000
    note: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        parts = ("generator", "critic", "optimizer")
        inner = {
            f"{part}.{name}": value for part in parts for name, value in vars(getattr(self, part)).items()
        }
        check_ranges(self.name, {**vars(self), **inner})
        for name, known in NAMED.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{self.name}: got {name} {getattr(self, name)!r}, wanted one of {', '.join(known)}"
                )
        if not self.low < self.high:
            raise UsageError(f"{self.name}: got low {self.low} and high {self.high}, wanted low < high")
        if 0 < self.first < self.batch:
            raise UsageError(
                f"{self.name}: got first {self.first}, wanted at least a batch of {self.batch}: lower batch (--batch)"
            )
        if self.held_out and not self.first:
            raise UsageError(
                f"{self.name}: got held_out with first 0 (all samples), wanted some left: set first"
            )
        if self.line:
            check_line(self.name, self.line)
        if self.published not in ("", *published.PUBLISHED):
            raise UsageError(
                f"{self.name}: got published {self.published!r}, wanted {', '.join(published.PUBLISHED)}, or none"
            )
        objective(self.objective)
        schedule(self.optimizer.schedule, 0, 1)

    def warms_up(self, step: int) -> bool:
        """Whether a step, counted from 0, is a warm-up step."""
        return self.warmup_critic_steps > 0 and (step < self.warmup_steps or step % self.warmup_every == 0)

    def until_log(self, step: int) -> int:
        """How many steps after the first `step` ones the log's next row comes: where its article has a line."""
        return (self.log_first - step) % self.log_every or self.log_every

    def logs_at(self, step: int) -> bool:
        """Whether a row of the log comes after the first `step` steps, at least 1."""
        return self.until_log(step) == self.log_every

    def replace(self, **changes: Any) -> "Recipe":
        """The recipe with other values for some fields."""
        changes, known = respelt(changes), {f.name for f in fields(self)}
        for name in changes.keys() - known:
            raise UsageError(f"recipe {self.name}: got {name!r}; {_nearest(name, known)}")
        return replace(self, **changes)

    def as_published(self) -> "Recipe":
        """The recipe with its source's mistakes (see gan/published.py); UsageError where none are known."""
        changes = published.of(self.name).changes
        if not changes:
            raise UsageError(
                f"recipe {self.name}: nothing to do for as-published, the source is followed as it stands"
            )
        return from_dict({**changes, "published": self.name}, self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as config.toml and checkpoints hold them."""
        out = asdict(self)
        del out["note"]
        if not self.published:
            del out["published"]
        return {name: value for name, value in out.items() if value is not None}


def objective_of(recipe: Recipe) -> Objective:
    """The recipe's objective, with the recipe's own clip and penalty where it has them."""
    name = recipe.objective
    base = published.of(recipe.published).objectives.get(name) or objective(name)
    changes = {
        name: getattr(recipe, name) for name in ("clip", "penalty") if getattr(recipe, name) is not None
    }
    return replace(base, **changes)


def from_dict(values: Mapping[str, Any], base: Recipe) -> Recipe:
    """A recipe from plain values, those missing taken from `base`; UsageError for a wrong name or type."""
    return _merge(base, values, where=f"recipe {base.name}")  # type: ignore[no-any-return]


def respelt(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values where some may be named as they were until version 0.1, in files and in programs."""
    renamed = {"optimizer" if name == "optimiser" else name: value for name, value in values.items()}
    if renamed.get("line") in OLD_LINES:  # the recipe has the format
        del renamed["line"]
    return published.translated(renamed)


def _merge(base: Any, values: Mapping[str, Any], where: str) -> Any:
    known = {f.name: f.type for f in fields(base)}
    changes = {}
    for name, value in respelt(values).items():
        if name not in known:
            raise UsageError(f"{where}: got {name!r}; {_nearest(name, known)}")
        changes[name] = _fit(known[name], getattr(base, name), value, f"{where}, {name}")
    return replace(base, **changes)


def _fit(kind: Any, old: Any, value: Any, where: str) -> Any:
    """The value in the type of a field; `old` is what it replaces."""
    if is_dataclass(old) and isinstance(value, Mapping):
        return _merge(_like(old, value), value, where)
    for one in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if one is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if one in (bool, int, str) and type(value) is one:
            return value
        is_list = get_origin(one) is tuple and isinstance(value, list | tuple)
        if is_list and all(type(x) is get_args(one)[0] for x in value):
            return tuple(value)
    wanted = "a number" if old is None or isinstance(old, float) else f"something like {old!r}"
    raise UsageError(f"{where}: got {value!r}, wanted {wanted}")


def _like(old: Any, value: Mapping[str, Any]) -> Any:
    """What values are merged into: a network of their own kind, which one field tells."""
    if isinstance(old, MLP) and "layers" in value:
        return Net(("flatten",))
    if isinstance(old, Net) and "hidden" in value:
        return MLP((1,))
    return old


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
