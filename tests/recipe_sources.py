"""What the sources of the recipes say, as their articles and repositories have it: one row a recipe.

The numbers are the sources', not fastgan's. Dots stand where the source says nothing, or where the recipe is another
way and its `note` says so. `norm` is batch norm's (epsilon, share by which running statistics move, correction of the
variance), the share None where the source keeps none; `networks` the numbers that are trained of generator and critic;
`log` and `pictures` their intervals, in steps; `samples` how many are used, 0 all.
"""

from typing import Any

COLUMNS = ("batch", "latent", "networks", "slope", "norm", "steps", "log", "pictures", "samples", "flags")

ADAM = {"kind": "adam", "betas": (0.9, 0.999), "eps": 1e-8}
DCGAN_ADAM = ADAM | {"lr": 2e-4, "betas": (0.5, 0.999)}  # Radford et al. 2015
GP_ADAM = ADAM | {"lr": 1e-4, "betas": (0.5, 0.9)}  # Gulrajani et al. 2017
RMSPROP = {
    "kind": "rmsprop",
    "lr": 5e-5,
    "alpha": 0.9,
    "eps": 1e-5,
}  # TensorFlow's: 1e-10 under the root is near that
PLAIN = {"penalty": 0, "clip": 0, "critic_steps": 1, "generator_steps": 1, "warmup": None}
CLIPPED = PLAIN | {"clip": 0.01, "critic_steps": 5}
PENALIZED = PLAIN | {"penalty": 10, "critic_steps": 5}
KERAS = PLAIN | DCGAN_ADAM | {"eps": 1e-7, "sampling": "replacement"}
CS231N = PLAIN | ADAM | {"lr": 1e-3, "betas": (0.5, 0.999), "sampling": "sequential"}

UPDATES = {"split_updates", "halved_loss", "inference_fakes"}
HS_GENERATOR = 129 * 2048 + 25 * (128 * 64 + 64 * 32 + 32 * 16) + 112 + 32 * 32 * 16 + 1 + 2 * (128 + 112)
HS_CRITIC = 16 * (16 + 16 * 32 + 32 * 64) + 112 + 1025
HS_BOTH = HS_GENERATOR, HS_CRITIC + 2 * 96
ODOG_WGAN = (
    101 * 6272 + 16 * (128 * 128 + 128 * 64 + 64) + 193 + 2 * 192,
    9 * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 240 + 2 * 224 + 2049,
)
IGUL_NORMS = 1_554_177 + 2 * (4096 + 128 + 64), 1_030_145 + 2 * (128 + 256)
SHEKKIZH = (
    100 * 16_384 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * 1920,
    16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 2 * 896,
)
DCGAN64 = (
    101 * 16_384 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 899 + 2 * 1920,
    25 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 960 + 2 * 896 + 8193,
)


def latents(z: int) -> tuple[int, str]:
    return z, "normal"


def uniform(z: int) -> tuple[int, str]:
    return z, "uniform"


def hs(rules: dict[str, Any], networks: tuple[int, int], *flags: str) -> tuple[Any, ...]:
    """By the call in its README (batch 100, 100 epochs); tf.layers has epsilon 1e-3."""
    return rules, 100, uniform(128), networks, 0.2, (1e-3, None, 1), 100 * 600, ..., 600, 0, {*flags}


def toy(rules: dict[str, Any]) -> tuple[Any, ...]:
    return rules, 256, latents(2), (527_874, 527_361), None, None, 100_000, 100, 100, ..., set()


def mnist(
    rules: dict[str, Any], *flags: str, networks: Any = (1_554_177, 1_030_145), norm: Any = None
) -> tuple[Any, ...]:
    flags = {"held_out", *flags}
    return rules, 50, latents(128), networks, 0.2, norm, 200_000, 100, 100, 50_000, flags


ROWS: dict[str, tuple[Any, ...]] = {
    # https://github.com/eriklindernoren/Keras-GAN gan.py, with the article's length and intervals. Keras 2's batch norm
    # multiplies the variance by n / (n - 1 - epsilon); that of images is TensorFlow's fused one, corrected before
    "keras-mlp": (
        *(
            KERAS,
            32,
            latents(100),
            (1_489_936, 533_505),
            0.2,
            (1e-3, 0.2, 1.001),
            30_001,
            500,
            500,
            0,
            UPDATES,
        ),
    ),
    "odog-dcgan": (
        *(KERAS, 32, latents(100), (855_809, 392_833), 0.2, (1e-3, 0.2, 2.001), 4000, ..., 50, 0, UPDATES),
    ),
    "odog-wgan": (
        KERAS | CLIPPED | {"kind": "rmsprop", "lr": 5e-5, "alpha": 0.9, "betas": ...},
        *(32, latents(100), ODOG_WGAN, 0.2, (1e-3, 0.2, 2.001), 4000, ..., 50, 0, UPDATES),
    ),
    # PyTorch's MLP toy GAN (yunjey, pytorch-tutorial): 200 epochs of 600
    "toy-mlp": (
        PLAIN | ADAM | {"lr": 2e-4},
        *(100, latents(64), (283_920, 267_009), 0.2, None, 200 * 600, 200, 600, 0, set()),
    ),
    # https://cs231n.github.io assignment 3 of 2020 and 2021, gan_pytorch.py and its notebook
    **dict.fromkeys(
        ("cs231n-vanilla", "cs231n-lsgan"),
        (CS231N, 128, uniform(96), (1_952_528, 267_009), 0.01, None, 10 * 390, 250, 250, 50_000, set()),
    ),
    "cs231n-dcgan": (
        *(CS231N, 128, uniform(96), (6_580_801 + 92 * 1024, 1_102_721), 0.01, (1e-5, 0.1, 1)),
        *(5 * 390, 250, 250, 50_000, set()),
    ),
    # Seo's demo main.py, as it was published
    "seo-numpy": (
        PLAIN | ADAM | {"lr": 9e-5},
        *(1, uniform(100), (1_494_248, 100_609), None, None, 10, 10, 10, 0, set()),
    ),
    # https://github.com/fjxmlzn/PacGAN 2DRing_GAN&PacGAN: 400 epochs of 1,000, batch norm of Blocks
    "ring-gan": (
        PLAIN | ADAM | {"lr": 1e-4, "betas": (0.8, 0.999), "sampling": "epochs"},
        *(100, latents(2), (484_802, 405_201), None, (1e-4, 0.05, 0), 400 * 1000, 1000, 1000),
        *(..., {"simultaneous"}),
    ),
    # https://github.com/igul222/improved_wgan_training gan_toy.py, gan_mnist.py
    **{f"igul-toy-{name}-wgan": toy(CLIPPED | RMSPROP) for name in ("8", "25", "swiss")},
    **{
        f"igul-toy-{name}-wgan-gp": toy(PENALIZED | GP_ADAM | {"penalty": 0.1})
        for name in ("8", "25", "swiss")
    },
    "igul-mnist-dcgan": mnist(PLAIN | DCGAN_ADAM, "halved_loss"),
    "igul-mnist-wgan": mnist(CLIPPED | RMSPROP, networks=IGUL_NORMS, norm=(1e-5, None, 1)),
    "igul-mnist-wgan-gp": mnist(PENALIZED | GP_ADAM),
    # https://github.com/handspeaker/gan_practice
    "hs-dcgan": hs(PLAIN | DCGAN_ADAM | {"generator_steps": 2}, HS_BOTH, "shared_latents"),
    "hs-wgan": hs(CLIPPED | RMSPROP | {"lr": 1e-4, "warmup": (25, 25, 500)}, HS_BOTH),
    "hs-wgan-gp": hs(PENALIZED | GP_ADAM, (HS_GENERATOR, HS_CRITIC)),  # without its batch norm
    # https://github.com/shekkizh/WassersteinGAN.tensorflow, run_main.sh: iterations from 1, so 24 below 25
    "shekkizh-wgan": (
        CLIPPED | RMSPROP | {"warmup": (25, 24, 500)},
        *(64, uniform(100), SHEKKIZH, 0.2, (1e-5, 0.1, 0), 100_000, 200, ..., ..., set()),
    ),
    # Radford, Metz and Chintala 2015; batch norm is Torch's
    "dcgan64": (
        PLAIN | DCGAN_ADAM,
        *(128, uniform(100), DCGAN64, 0.2, (1e-5, 0.1, 1), ..., ..., ..., ..., set()),
    ),
}
SOURCES = {
    name: {key: x for key, x in (rules | dict(zip(COLUMNS, row, strict=True))).items() if x is not ...}
    for name, (rules, *row) in ROWS.items()
}
OWN = ("digits", "wgan-mlp", "wgan-gp-mlp", "ring-wgan-gp", "grid-wgan-gp", "cgan-mnist")  # fastgan's own
