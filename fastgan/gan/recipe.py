"""A recipe as a value: networks, objective, optimizers, batches, schedule. One trainer runs them all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from inspect import signature
from typing import Any

from fastgan.errors import UsageError
from fastgan.gan import published
from fastgan.gan.conditional import CRITIC_JOINS, GENERATOR_JOINS
from fastgan.gan.log import check_line
from fastgan.gan.objectives import Objective, objective
from fastgan.gan.old import respelt
from fastgan.gan.values import fitting
from fastgan.nn import Module, Net
from fastgan.optim import OPTIMIZERS, Adam, Optimizer, schedule
from fastgan.ranges import check_ranges


def says(default: Any, text: str) -> Any:
    """A field with its default, and with what it is: `fastgan train --help` shows that."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer and how: `kind` is adam, adamw, rmsprop or sgd; the others are read where they apply."""

    kind: str = says("adam", "the update rule")
    lr: float = says(2e-4, "learning rate")
    beta1: float = says(0.9, "Adam: share of the old mean that stays")
    beta2: float = says(0.999, "Adam: share of the old mean square that stays")
    eps: float = says(1e-8, "epsilon under the root")
    alpha: float = says(0.99, "RMSProp: share of the old mean square that stays")
    momentum: float = says(0.0, "SGD: momentum")
    weight_decay: float = says(0.0, "AdamW: decoupled weight decay")
    max_norm: float = says(0.0, "clip the gradient's norm; 0: no clipping")
    schedule: str = says(
        "constant", "factor on the rate: constant, linear[:END], exponential:RATE or drop:FACTOR@STEP,STEP"
    )

    def build(self, network: Module, *, clip: float = 0.0, adam: type[Adam] = Adam) -> Optimizer:
        """The optimizer for a network whose weights are kept in [-clip, clip] if clip > 0; `adam` may be your own."""
        kind = adam if self.kind in ("adam", "adamw") else optimizer_class(self.kind)
        values = {**vars(self), "betas": (self.beta1, self.beta2), "clip": clip}
        takes = signature(kind).parameters  # a setting is read where the rule has it
        return kind(network, **{name: value for name, value in values.items() if name in takes})


def optimizer_class(kind: str) -> type[Optimizer]:
    """The optimizer of a name, which is its class's in lower case; UsageError for another."""
    if kind not in OPTIMIZERS:
        raise UsageError(f"got optimizer {kind!r}, wanted {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[kind]


NAMED = {  # fields that hold a name, and the names there are
    "noise": ("normal", "uniform"),
    "sampling": ("replacement", "epochs", "sequential"),
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
    generator: Net
    critic: Net
    data: str = "mnist"  # "": the user's own pictures
    split: str = "train"
    points: bool = says(False, "learn points (n, d) rather than images")
    low: float = says(-1.0, "what black becomes")
    high: float = says(1.0, "what white becomes")
    picture_size: int = says(
        0, "what a folder's pictures are cut square and resized to without --image-size; 0: as they are"
    )
    border: int = says(0, "black pixels added on each side of an image")
    first: int = says(0, "use only the first so many samples; 0: all")
    objective: str = says("non-saturating", "the losses")
    penalty: float | None = says(None, "weight of the gradient penalty, instead of the objective's own")
    clip: float | None = says(None, "keep the critic's weights within this, instead of the objective's own")
    latent: int = says(100, "numbers that the generator starts from")
    noise: str = says("normal", "how latents are distributed; uniform: in [-1, 1)")
    batch: int = says(64, "samples per update")
    steps: int = says(
        10_000,
        "steps of the whole run; a step is one generator update (--generator-steps) with its critic updates",
    )
    critic_steps: int = says(1, "critic updates per step")
    warmup_critic_steps: int = says(0, "critic updates in a warm-up step; 0: there are no such steps")
    warmup_steps: int = says(25, "the first so many steps are warm-up steps")
    warmup_every: int = says(500, "and so is every step whose number this divides")
    generator_steps: int = says(1, "generator updates per step, on the same latents")
    shared_latents: bool = says(False, "those of the step's last critic update too")
    sampling: str = says("replacement", "how batches are chosen: at random, in shuffled epochs, or in order")
    split_updates: bool = says(False, "one critic update for real samples and one for fake ones")
    halved_loss: bool = says(
        False, "log half the critic's loss, the mean for real and fake samples; updates stay as they are"
    )
    inference_fakes: bool = says(False, "make the critic's fakes in inference mode")
    simultaneous: bool = says(False, "take both networks' gradients before either is updated")
    optimizer: OptimizerSettings = OptimizerSettings()  # of both networks
    generator_lr: float | None = says(None, "a learning rate of its own for the generator")
    classes: int = says(0, "classes of labelled data that the networks are told of; 0: they are not")
    label_features: int = says(32, "numbers that a label is embedded in")
    generator_labels: str = says(
        "concat", "how the generator is told: beside the latents, or multiplied with them"
    )
    critic_labels: str = says(
        "projection", "how the critic is told: at its last layer, or as one more channel"
    )
    ema: float = says(0.0, "decay of the generator's average that samples are drawn from; 0: none")
    held_out: bool = says(False, "also log the critic's loss on samples after the first so many")
    line: str = says(
        "",
        "what a line of the log is like: a format such as '{step} {critic_loss:.4}', or a recipe whose line to use",
    )
    log_first: bool = says(False, "lines of the log after the steps 1, k + 1, 2k + 1 ...")
    log_every: int = says(100, "steps between lines of the log")
    sample_every: int = says(500, "steps between sample pictures")
    checkpoint_every: int = says(1000, "steps between checkpoints")
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
            raise UsageError(f"recipe {self.name}: got {name!r}; {suggestion(name, known)}")
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


def from_dict(values: Mapping[str, Any], base: Recipe, where: str = "") -> Recipe:
    """A recipe from plain values, those missing taken from `base`; UsageError for a wrong name or type, after `where`.

    A network's or the optimizer's values are in a dict of their own.
    """
    return _merge(base, respelt(values), where or f"recipe {base.name}")


def leaves(kind: type = Recipe, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field[Any]]]:
    """Every value that can be chosen, by its path of field names: all but the data and what a recipe says of itself."""
    for one in fields(kind):
        if isinstance(one.type, type) and is_dataclass(one.type):
            yield from leaves(one.type, (*prefix, one.name))
        elif prefix or "help" in one.metadata:
            yield (*prefix, one.name), one


def _merge(base: Any, values: Mapping[str, Any], where: str, outer: str = "") -> Any:
    known = {f.name: f.type for f in fields(base)}
    changes = {}
    for name, value in values.items():
        here = outer + name
        if name not in known:
            raise UsageError(f"{where}: got {here!r}; {suggestion(name)}")
        old = getattr(base, name)
        if not is_dataclass(old):
            changes[name] = fitting(known[name], value, f"{where}: {here}")
        elif isinstance(value, Mapping):
            changes[name] = _merge(old, value, where, f"{here}.")
        else:
            raise UsageError(
                f"{where}: {here} is {value!r}, wanted a table: [{here}], and its values below it"
            )
    return replace(base, **changes)


def suggestion(name: str, more: Iterable[str] = ()) -> str:
    """The name most like a wrong one, among a recipe's values by their last part (lr is optimizer.lr's) and `more`."""
    last = {path[-1]: ".".join(path) for path, _ in [*leaves()][::-1]} | {x: x for x in more}
    near = get_close_matches(name.lower().replace("-", "_"), last, 1)
    return f"did you mean {last[near[0]]}?" if near else "see the config.toml of a run for what is known"
