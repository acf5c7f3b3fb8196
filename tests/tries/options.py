"""Values of the options of `train`: for each what is refused, by name, and what works; then some together."""

from tries.making import DIVERGED, WORKS, Try

HUGE = "99999999999999999999"
COUNT = f"0 -1 1.5 x {HUGE} nan"
COUNT_OR_0 = f"-1 1.5 x {HUGE}"
AT_LEAST_0 = "-1 nan inf -inf x"
SHARE = "-0.1 1 2 nan x"
# option: refused values, values that work
VALUES = {
    "--steps": (f"{COUNT} 1000000001", "2"),
    "--batch": (f"{COUNT} 1798 1000000000", "2 1797"),
    "--latent": (COUNT, "1"),
    "--critic-steps": (f"{COUNT} 1001", "3"),
    "--generator-steps": (COUNT, "2"),
    "--warmup-critic-steps": (COUNT_OR_0, "2"),
    "--warmup-steps": (COUNT_OR_0, "0"),
    "--warmup-every": (COUNT, "1"),
    "--log-every": (COUNT, "1 1000"),
    "--sample-every": (COUNT, "1"),
    "--checkpoint-every": (COUNT, "1"),
    "--label-features": (COUNT, "1"),
    "--first": (f"{COUNT_OR_0} 3", "16 100000"),
    "--border": (f"{COUNT_OR_0} 8193", "1"),
    "--picture-size": (f"{COUNT_OR_0} 8 99", "0"),
    "--image-size": (f"0 -1 1.5 x {HUGE} 9", "8"),
    "--classes": (f"{COUNT_OR_0} 9 11", "0"),
    "--seed": ("-1 1.5 x 18446744073709551616", "0 18446744073709551615"),
    "--low": ("1 2 nan -inf x", "0"),
    "--high": ("-1 nan inf x", "0.5"),
    "--penalty": (AT_LEAST_0, "0 10"),
    "--clip": (AT_LEAST_0, "0 0.1"),
    "--generator-lr": (AT_LEAST_0, "0"),
    "--lr": (AT_LEAST_0, "0 0.1"),
    "--ema": (SHARE, "0.9"),
    "--optimizer-eps": (AT_LEAST_0, "1e-3"),
    "--optimizer-weight-decay": (AT_LEAST_0, "0.1"),
    "--optimizer-max-norm": (AT_LEAST_0, "0.5"),
    "--optimizer-beta1": (SHARE, "0"),
    "--optimizer-beta2": (SHARE, "0"),
    "--optimizer-alpha": (SHARE, "0.5"),
    "--optimizer-momentum": (SHARE, "0.5"),
    "--optimizer-kind": ("adamm 3", "adamw rmsprop sgd"),
    "--optimizer-schedule": (
        "x linear:x linear:-1 linear:2 linear:nan exponential exponential:2000 exponential:-1 exponential:nan "
        "drop drop:0.1 drop:2@1 drop:0.1@x drop:0.1@-1 constant:1",
        "constant linear:0.1 exponential:0.5 drop:0.1@1,2",
    ),
    "--generator-init-scale": ("nan inf x", "0.5"),
    "--generator-batch-norm": ("-1 2 nan x", "0.1"),
    "--generator-norm-eps": (AT_LEAST_0, "1e-3"),
    "--generator-init": ("xavier 3", "normal"),
    "--objective": ("hing ''", "hinge wasserstein minimax"),
    "--noise": ("gauss", "uniform"),
    "--sampling": ("never", "sequential replacement"),
    "--split": ("best valid", "test"),
    "--device": ("gpu cuda:0", "cpu"),
    "--generator-labels": ("add", "multiply"),
    "--critic-labels": ("add", "concat"),
    "--line": ("nope {nope} {step {step!r} {step:xx} {step.real}", "keras-mlp {step}"),
}
NAMES = {  # what the message calls an option, where that is not its last word
    "--optimizer-kind": "optimizer-kind",
    "--optimizer-weight-decay": "weight",
    "--optimizer-max-norm": "norm",
    "--seed": "seed",
}


def _name(option: str) -> str:
    return NAMES.get(option, option.replace("_", "-").rpartition("-")[2])


TOGETHER = [
    Try("fit --critic-layers 'linear 3; batch_norm; linear o'", word="BatchNorm"),  # under a gradient penalty
    Try("fit --critic-layers 'linear 3; batch_norm; linear o' --objective hinge", WORKS),
    Try("fit --held-out", word="first"),
    Try(f"fit --steps {'9' * 5000}", word="--steps"),
    Try(f"fit --seed {'9' * 5000}", word="--seed"),
    Try("fit --held-out --first 100", WORKS),
    Try("fit --held-out --first 1797", WORKS),  # as recipes with held-out samples do on smaller data
    Try("fit --simultaneous --generator-steps 2", word="simultaneous"),
    Try("fit --simultaneous --critic-steps 1 --objective minimax", WORKS),
    Try("fit --low 2 --high 1", word="low"),
    Try("fit --lr 1e30 --steps 40 --log-every 5", DIVERGED, word="checkpoint"),
    Try("fit --lr 1e300 --steps 3", DIVERGED, word="--lr"),
    Try("fit --penalty 1e300 --steps 3", DIVERGED, word="critic loss"),
    Try("fit --as-published", word="as-published"),
    Try("fit --classes 10", WORKS),
    Try("fit --classes 10 --critic-labels concat --generator-labels multiply", WORKS),
    Try("fit --split-updates --objective hinge --inference-fakes", WORKS),
    Try("fit --no-points --points", word="points"),
    Try("fit --points --no-points", WORKS),
    Try("train --generator-layers 'linear 999999999; linear 999999999; linear o' --device cpu", 1, "out of memory"),
    Try("fit --data ring", word="images (try --data digits)"),
    Try("fit ring-gan --data digits", word="points (try --data ring)"),
    Try("fit ring-gan --no-simultaneous", WORKS),
    Try("fit dcgan64", word="photos/"),
    Try("fit dcgan64 --data digits", WORKS),
    Try("fit shekkizh-wgan --data digits --picture-size 8", word="--picture-size"),
    Try("fit --steps", word="--steps"),
    Try("fit --nope", word="--nope"),
    Try("fit --stpes 3", word="--steps"),
    Try("fit digits digits", word="unexpected"),
    Try("fit digitz", word="did you mean digits?"),
    Try("fit qqqqq", word="`fastgan recipes` lists them"),
    Try("fit ''", word="got recipe ''"),
    Try("fit --hidden 3", word="--hidden"),
    Try("fit --generator-hidden 3", word="--generator-hidden"),
    Try("train --generator-layers '' --device cpu", word="parameters"),
    Try("train --generator-layers 'liner 3' --device cpu", word="did you mean 'linear'?"),
    Try("train --generator-layers 'linear 0; linear o' --device cpu", word="linear 0"),
    Try("train --generator-layers 'linear -3' --device cpu", word="linear -3"),
    Try(f"train --generator-layers 'linear {HUGE}; linear o' --device cpu", word="linear 9999"),
    Try("train --generator-layers 'linear 3' --device cpu", word="generator"),
    Try("train --generator-layers 'conv 3' --device cpu", word="conv 3"),
    Try("train --generator-layers 'conv 3 3' --device cpu", word="image"),
    Try("train --generator-layers 'linear 64; reshape 7x7' --device cpu", word="reshape 7x7"),
    Try("train --generator-layers 'linear 64; reshape 8x8x1; conv 1 9; flatten' --device cpu", word="conv 1 9"),
    Try("train --generator-layers 'linear 64; reshape 8x8x1; conv 1 3 stride=0' --device cpu", word="stride=0"),
    Try("train --generator-layers 'linear 64; reshape 8x8x1; max_pool 0' --device cpu", word="max_pool 0"),
    Try("train --generator-layers 'linear 64; reshape 8x8x1; crop 99x99' --device cpu", word="crop 99x99"),
    Try("train --generator-layers 'linear 64; reshape 8x8x1; upsample 0' --device cpu", word="upsample 0"),
    Try(f"train --generator-layers 'linear 64; reshape 8x8x1; upsample {HUGE}' --device cpu", word="upsample"),
    Try(f"train --generator-layers 'linear 64; reshape 8x8x1; pad {HUGE}' --device cpu", word="pad"),
    Try(f"train --generator-layers 'linear {'9' * 5000}' --device cpu", word="9 digits"),
    Try("train --generator-layers 'linear 64; leaky_relu nan' --device cpu", word="leaky_relu nan"),
    Try("train --generator-layers 'linear 64; leaky_relu x' --device cpu", word="leaky_relu x"),
    Try("train --generator-layers 'linear 64; dropout 1' --device cpu", word="dropout 1"),
    Try("train --generator-layers 'linear 64; dropout nan' --device cpu", word="dropout nan"),
    Try("train --generator-layers 'linear 64 scale=nan' --device cpu", word="scale"),
    Try("train --generator-layers 'linear 64 init=foo' --device cpu", word="foo"),
    Try("train --generator-layers 'linear 64 bias=maybe' --device cpu", word="bias=maybe"),
    Try("train --generator-layers 'linear 64 bias=no bias=no' --device cpu", word="twice"),
    Try("train --generator-layers 'tanh spectral' --device cpu", word="spectral"),
    Try("train --generator-layers 'maxout 8 pieces=0' --device cpu", word="pieces=0"),
    Try("train --generator-layers 'batch_norm momentum=nan' --device cpu", word="momentum"),
    Try("train --critic-layers 'linear 2' --device cpu", word="critic"),
    Try("train --generator-layers 'linear o' --critic-layers 'linear o' --steps 1 --batch 4 --device cpu", WORKS),
]  # fmt: skip

TRIES = [
    *(
        Try(f"fit {option} {value}", word=_name(option))
        for option, (wrong, _) in VALUES.items()
        for value in wrong.split()
    ),
    *(
        Try(f"fit {option} {value}", WORKS)
        for option, (_, right) in VALUES.items()
        for value in right.split()
    ),
    *TOGETHER,
]
