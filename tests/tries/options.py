"""Values of the options of `train`: for each what is refused, by name, and what works; then others together."""

from tries.making import DIVERGED, WORKS, Try

HUGE = "99999999999999999999"
COUNT = f"0 1.5 {HUGE}"
COUNT_OR_0 = f"-1 x {HUGE}"
AT_LEAST_0 = "-1 nan inf"
SHARE = "-0.1 1 nan"
VALUES = [  # options, values that each refuses by name, and values that all of them may have
    ("--steps", f"{COUNT} -1 x nan 1000000001", "2"),
    ("--batch", f"{COUNT} 1798 1000000000", "2 1797"),
    (
        "--latent --generator-steps --log-every --sample-every --checkpoint-every --label-features",
        COUNT,
        "1 2",
    ),
    ("--critic-steps", f"{COUNT} 1001", "3"),
    ("--warmup-every", COUNT, "1"),
    ("--warmup-critic-steps --warmup-steps", COUNT_OR_0, "2"),
    ("--first", f"{COUNT_OR_0} 3", "16 100000"),
    ("--border", f"{COUNT_OR_0} 8193", "1"),
    ("--picture-size", f"{COUNT_OR_0} 8 99", "0"),
    ("--image-size", f"0 1.5 {HUGE} 9", "8"),
    ("--classes", f"{COUNT_OR_0} 9 11", "0 10"),
    ("--seed", "-1 1.5 18446744073709551616", "18446744073709551615"),
    ("--low", "1 2 nan -inf x", "0"),
    ("--high", "-1 inf", "0.5"),
    (
        "--penalty --clip --lr --generator-lr --optimizer-weight-decay --optimizer-max-norm",
        AT_LEAST_0,
        "0 0.1",
    ),
    ("--optimizer-eps --generator-norm-eps", AT_LEAST_0, "1e-3"),
    ("--ema --optimizer-beta1 --optimizer-beta2 --optimizer-alpha --optimizer-momentum", SHARE, "0 0.5"),
    ("--optimizer-kind", "adamm", "adamw rmsprop sgd"),
    ("--optimizer-schedule", "x linear:2 exponential drop:2@1", "linear:0.1 exponential:0.5 drop:0.1@1,2"),
    ("--generator-init-scale", "nan inf", "0.5"),
    ("--generator-batch-norm", "-1 2 nan", "0.1"),
    ("--generator-init", "xavier", "normal"),
    ("--objective", "hing ''", "hinge wasserstein minimax"),
    ("--noise", "gauss", "uniform"),
    ("--sampling", "never", "sequential replacement"),
    ("--split", "best", "test"),
    ("--device", "gpu cuda:0", "cpu"),
    ("--generator-labels", "add", "multiply"),
    ("--critic-labels", "add", "concat"),
    ("--line", "nope {nope} {step {step!r} {step:xx} {step.real}", "keras-mlp {step}"),
]
# what the message calls an option, where that is not its last word
NAMES = {"--optimizer-weight-decay": "weight", "--optimizer-max-norm": "norm"}


def _name(option: str) -> str:
    return NAMES.get(option, option.rpartition("-")[2])


NETS = [  # what tests/tables/refusals.py has more of; the last line is too large for any memory
    ("", "parameters"),
    ("liner 3", "did you mean 'linear'?"),
    ("linear 0; linear o", "linear 0"),
    (f"linear {HUGE}; linear o", "linear 9999"),
    (f"linear {'9' * 5000}", "9 digits"),
    ("linear 3", "generator"),
    ("linear 64; reshape 8x8x1; conv 1 9; flatten", "conv 1 9"),
    ("linear 64; leaky_relu nan", "leaky_relu nan"),
    ("linear 64 bias=no bias=no", "twice"),
    ("maxout 8 pieces=0", "pieces=0"),
    ("linear 999999999; linear 999999999; linear o", "out of memory"),
]
TOGETHER = [
    *(Try(f"train --generator-layers '{net}' --device cpu", 1 if "memory" in word else 2, word) for net, word in NETS),
    Try("train --generator-layers 'linear o' --critic-layers 'linear o' --steps 1 --batch 4 --device cpu", WORKS),
    Try("fit --critic-layers 'linear 3; batch_norm; linear o'", word="BatchNorm"),  # under a gradient penalty
    Try("fit --critic-layers 'linear 3; batch_norm; linear o' --objective hinge", WORKS),
    Try(f"fit --steps {'9' * 5000}", word="--steps"),
    Try(f"fit --seed {'9' * 5000}", word="--seed"),
    Try("fit --held-out --first 100", WORKS),
    Try("fit --held-out --first 1797", WORKS),  # as recipes with held-out samples do on smaller data
    Try("fit --lr 1e30 --steps 40 --log-every 5", DIVERGED, word="checkpoint"),
    Try("fit --lr 1e300 --steps 3", DIVERGED, word="--lr"),
    Try("fit --penalty 1e300 --steps 3", DIVERGED, word="critic loss"),
    Try("fit --as-published", word="as-published"),
    Try("fit toy-mlp --data digits --as-published", WORKS),
    Try("fit --classes 10 --critic-labels concat --generator-labels multiply", WORKS),
    Try("fit --split-updates --objective hinge --inference-fakes", WORKS),
    Try("fit --points --no-points", WORKS),
    Try("fit --data ring", word="images (try --data digits)"),
    Try("fit ring-gan --no-simultaneous", WORKS),
    Try("fit dcgan64", word="photos/"),
    Try("fit dcgan64 --data digits", WORKS),
    Try("fit shekkizh-wgan --data digits --picture-size 8", word="--picture-size"),
    Try("fit --steps", word="--steps"),
    Try("fit --stpes 3", word="--steps"),
    Try("fit digits digits", word="unexpected"),
    Try("fit digitz", word="did you mean digits?"),
    Try("fit qqqqq", word="`fastgan recipes` lists them"),
    Try("fit --generator-hidden 3", word="--generator-hidden"),
]  # fmt: skip


def _all(options: str, value: str) -> str:
    return " ".join(f"{option} {value}" for option in options.split())


TRIES = [
    *(
        Try(f"fit {option} {value}", word=_name(option))
        for options, wrong, _ in VALUES
        for option in options.split()
        for value in wrong.split()
    ),
    *(Try(f"fit {_all(options, value)}", WORKS) for options, _, right in VALUES for value in right.split()),
    *TOGETHER,
]
