"""A recipe's values from before version 0.1, in today's words: what old runs' checkpoints and config.toml hold.

`optimizer` was spelt otherwise, lines of the log and the mistakes of sources had names, and dense networks were
described by the widths of their layers.
"""

from collections.abc import Mapping
from typing import Any

from fastgan.errors import UsageError
from fastgan.gan.values import fitting

LINES = ("keras", "odog-wgan", "cs231n", "toy-mlp", "hs", "shekkizh", "seo", "igul-toy", "igul-mnist")
MISTAKES = {
    "seo-published": {"published": "seo-numpy", "objective": "non-saturating"},
    "hs-published": {"published": "hs-wgan-gp", "objective": "wasserstein-gp"},
}
WIDTHS: dict[str, Any] = {  # what described a dense network, and the types
    "hidden": tuple[int, ...],
    "activation": str | tuple[str, ...],
    **dict.fromkeys(("slope", "init_scale", "batch_norm", "norm_eps", "norm_correction", "dropout"), float),
    **dict.fromkeys(("output", "init"), str),
    **dict.fromkeys(("norm_first", "hidden_bias"), bool),
    "pieces": int,
}


def respelt(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's values, old or new, in today's words; UsageError for widths of layers that do not fit."""
    out = {"optimizer" if name == "optimiser" else name: value for name, value in values.items()}
    if out.get("line") in LINES:  # the recipe has the format
        del out["line"]
    if isinstance(objective := out.get("objective"), str):
        out |= MISTAKES.get(objective, {})
    if isinstance(rule := out.get("optimizer"), Mapping):
        out["optimizer"] = {name: value for name, value in rule.items() if name != "constant_correction"}
    for side in ("generator", "critic"):
        if isinstance(out.get(side), Mapping) and "hidden" in out[side]:
            out[side] = _layers(out[side], side)
    return out


def _layers(values: Mapping[str, Any], side: str) -> dict[str, Any]:
    """A network's widths as the values of a Net; UsageError unless all are there: no recipe has the rest any more."""
    if missing := [name for name in WIDTHS if name not in values]:
        raise UsageError(
            f"got {side}.hidden without {', '.join(missing)}: write the network as lines, such as "
            'layers = ["linear 256", "relu", "linear o"]'
        )
    old = {name: fitting(kind, values[name], f"{side}: {name}") for name, kind in WIDTHS.items()}
    acts = old["activation"]
    acts = (acts,) * len(old["hidden"]) if isinstance(acts, str) else acts
    if len(acts) != len(old["hidden"]):
        raise UsageError(
            f"got {len(acts)} activations for {len(old['hidden'])} hidden layers, wanted one each"
        )
    lines = [line for width, act in zip(old["hidden"], acts, strict=True) for line in _block(old, width, act)]
    kept = {name: old[name] for name in ("init", "init_scale", "norm_eps", "norm_correction")}
    return {
        "layers": [*lines, "linear o", *_act(old, old["output"])],
        "batch_norm": old["batch_norm"] or 0.1,
        "bias": True,
        **kept,
    }


def _block(old: Mapping[str, Any], width: int, act: str) -> list[str]:
    """The lines of a hidden layer."""
    if act == "maxout":
        return [f"maxout {width}" + f" pieces={old['pieces']}" * (old["pieces"] != 5)]
    norm, drop = (
        ["batch_norm"] * bool(old["batch_norm"]),
        [f"dropout {old['dropout']}"] * bool(old["dropout"]),
    )
    after = [*norm, *_act(old, act)] if old["norm_first"] else [*_act(old, act), *norm]
    return [f"linear {width}" + " bias=no" * (not old["hidden_bias"]), *after, *drop]


def _act(old: Mapping[str, Any], name: str) -> list[str]:
    own = {"linear": [], "leaky_relu": [f"leaky_relu {old['slope']}"], "seo_sigmoid": ["sigmoid"]}
    return own.get(name, [name])
