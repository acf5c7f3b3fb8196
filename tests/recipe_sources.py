"""What the sources of the recipes say, as their articles and repositories have it: one row a recipe.

The numbers are the sources', not fastgan's. A column that a row lacks is one where the source says nothing, or where
the recipe is another way and its `note` says so. `norm` is batch norm's (epsilon, share by which running statistics
move, correction of the variance), the share None where the source keeps none; `networks` the numbers that are trained
of generator and critic; `intervals` those of log and pictures, in steps.
"""

from typing import Any

ADAM = {"kind": "adam", "betas": (0.9, 0.999), "eps": 1e-8}
DCGAN_ADAM = ADAM | {"lr": 2e-4, "betas": (0.5, 0.999)}  # Radford et al. 2015
KERAS_ADAM = DCGAN_ADAM | {"eps": 1e-7}
GP_ADAM = ADAM | {"lr": 1e-4, "betas": (0.5, 0.9)}  # Gulrajani et al. 2017
RMSPROP = {
    "kind": "rmsprop",
    "alpha": 0.9,
    "eps": 1e-5,
}  # TensorFlow's: 1e-10 under the root, near 1e-5 beside it
PLAIN = {"penalty": 0, "clip": 0, "critic_steps": 1, "generator_steps": 1, "warmup": None}
CLIPPED = PLAIN | {"clip": 0.01, "critic_steps": 5}
PENALISED = PLAIN | {"penalty": 10, "critic_steps": 5}
KERAS = PLAIN | {
    "flags": {"split_updates", "halved_loss", "inference_fakes"},
    "batch": 32,
    "latent": (100, "normal"),
    "slope": 0.2,
    "samples": 0,
    "sampling": "replacement",
}

# https://github.com/eriklindernoren/Keras-GAN gan.py, with the article's length and intervals. Keras 2's batch norm
# multiplies the variance by n / (n - 1 - epsilon); that of images is TensorFlow's fused one, corrected before
KERAS_GAN = {
    "keras-mlp": KERAS
    | KERAS_ADAM
    | {
        "networks": (1_489_936, 533_505),
        "norm": (1e-3, 0.2, 1.001),
        "steps": 30_001,
        "intervals": (500, 500),
    },
    "odog-dcgan": KERAS
    | KERAS_ADAM
    | {"networks": (855_809, 392_833), "norm": (1e-3, 0.2, 2.001), "steps": 4000, "pictures": 50},
    "odog-wgan": KERAS
    | CLIPPED
    | {
        **{"kind": "rmsprop", "lr": 5e-5, "alpha": 0.9, "eps": 1e-7},
        "networks": (
            101 * 6272 + 16 * (128 * 128 + 128 * 64 + 64) + 193 + 2 * 192,
            9 * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 240 + 2 * 224 + 2049,
        ),
        "norm": (1e-3, 0.2, 2.001),
        "steps": 4000,
        "pictures": 50,
    },
}

# https://cs231n.github.io assignment 3 of 2020 and 2021, gan_pytorch.py and its notebook
CS231N = (
    PLAIN
    | ADAM
    | {
        "lr": 1e-3,
        "betas": (0.5, 0.999),
        "batch": 128,
        "latent": (96, "uniform"),
        "networks": (1_952_528, 267_009),
        "slope": 0.01,
        "norm": None,
        "steps": 10 * 390,
        "intervals": (250, 250),
        "samples": 50_000,
        "sampling": "sequential",
        "flags": set(),
    }
)

# https://github.com/handspeaker/gan_practice, by its README's call (batch 100, 100 epochs); tf.layers has epsilon 1e-3
HS_GENERATOR = 129 * 2048 + 25 * (128 * 64 + 64 * 32 + 32 * 16) + 112 + 32 * 32 * 16 + 1 + 2 * (128 + 112)
HS_CRITIC = 16 * (16 + 16 * 32 + 32 * 64) + 112 + 1025
HS = {
    "batch": 100,
    "latent": (128, "uniform"),
    "networks": (HS_GENERATOR, HS_CRITIC + 2 * 96),
    "slope": 0.2,
    "norm": (1e-3, None, 1),
    "steps": 100 * 600,
    "pictures": 600,
    "samples": 0,
    "flags": set(),
}

# https://github.com/igul222/improved_wgan_training gan_toy.py, gan_mnist.py
TOY = {
    "batch": 256,
    "latent": (2, "normal"),
    "networks": (527_874, 527_361),
    "slope": None,
    "norm": None,
    "steps": 100_000,
    "intervals": (100, 100),
    "flags": set(),
}
MNIST = {
    "batch": 50,
    "latent": (128, "normal"),
    "networks": (1_554_177, 1_030_145),
    "slope": 0.2,
    "norm": None,
    "steps": 200_000,
    "intervals": (100, 100),
    "samples": 50_000,
    "flags": {"held_out"},
}

SOURCES: dict[str, dict[str, Any]] = {
    **KERAS_GAN,
    # PyTorch's MLP toy GAN (yunjey, pytorch-tutorial): 200 epochs of 600
    "toy-mlp": PLAIN
    | ADAM
    | {
        "lr": 2e-4,
        "batch": 100,
        "latent": (64, "normal"),
        "networks": (283_920, 267_009),
        "slope": 0.2,
        "norm": None,
        "steps": 200 * 600,
        "intervals": (200, 600),
        "samples": 0,
        "flags": set(),
    },
    "cs231n-vanilla": CS231N,
    "cs231n-lsgan": CS231N,
    "cs231n-dcgan": CS231N
    | {"networks": (6_580_801 + 92 * 1024, 1_102_721), "norm": (1e-5, 0.1, 1), "steps": 5 * 390},
    # Seo's demo main.py, as it was published
    "seo-numpy": PLAIN
    | ADAM
    | {
        "lr": 9e-5,
        "batch": 1,
        "latent": (100, "uniform"),
        "networks": (1_494_248, 100_609),
        "slope": None,
        "norm": None,
        "steps": 10,
        "intervals": (10, 10),
        "samples": 0,
        "flags": set(),
    },
    # https://github.com/fjxmlzn/PacGAN 2DRing_GAN&PacGAN: 400 epochs of 1,000, batch norm of Blocks
    "ring-gan": PLAIN
    | ADAM
    | {
        "lr": 1e-4,
        "betas": (0.8, 0.999),
        "batch": 100,
        "latent": (2, "normal"),
        "networks": (484_802, 405_201),
        "slope": None,
        "norm": (1e-4, 0.05, 0),
        "steps": 400 * 1000,
        "intervals": (1000, 1000),
        "sampling": "epochs",
        "flags": {"simultaneous"},
    },
    **dict.fromkeys(
        ("igul-toy-8-wgan", "igul-toy-25-wgan", "igul-toy-swiss-wgan"), CLIPPED | RMSPROP | TOY | {"lr": 5e-5}
    ),
    **dict.fromkeys(
        ("igul-toy-8-wgan-gp", "igul-toy-25-wgan-gp", "igul-toy-swiss-wgan-gp"),
        PENALISED | GP_ADAM | TOY | {"penalty": 0.1},
    ),
    "igul-mnist-dcgan": PLAIN | DCGAN_ADAM | MNIST | {"flags": {"held_out", "halved_loss"}},
    "igul-mnist-wgan": CLIPPED
    | RMSPROP
    | MNIST
    | {
        "lr": 5e-5,
        "networks": (1_554_177 + 2 * (4096 + 128 + 64), 1_030_145 + 2 * (128 + 256)),
        "norm": (1e-5, None, 1),
    },
    "igul-mnist-wgan-gp": PENALISED | GP_ADAM | MNIST,
    "hs-dcgan": PLAIN | DCGAN_ADAM | HS | {"generator_steps": 2, "flags": {"shared_latents"}},
    "hs-wgan": CLIPPED | HS | RMSPROP | {"lr": 1e-4, "warmup": (25, 25, 500)},
    "hs-wgan-gp": PENALISED
    | HS
    | GP_ADAM
    | {"networks": (HS_GENERATOR, HS_CRITIC)},  # without its batch norm
    # https://github.com/shekkizh/WassersteinGAN.tensorflow, run_main.sh: iterations from 1, so 24 below 25
    "shekkizh-wgan": CLIPPED
    | RMSPROP
    | {
        "lr": 5e-5,
        "warmup": (25, 24, 500),
        "batch": 64,
        "latent": (100, "uniform"),
        "networks": (
            100 * 16_384 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * 1920,
            16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 2 * 896,
        ),
        "slope": 0.2,
        "norm": (1e-5, 0.1, 0),
        "steps": 100_000,
        "log": 200,
        "flags": set(),
    },
    # Radford, Metz and Chintala 2015; batch norm is Torch's
    "dcgan64": PLAIN
    | DCGAN_ADAM
    | {
        "batch": 128,
        "latent": (100, "uniform"),
        "networks": (
            101 * 16_384 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 899 + 2 * 1920,
            25 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 960 + 2 * 896 + 8193,
        ),
        "slope": 0.2,
        "norm": (1e-5, 0.1, 1),
        "flags": set(),
    },
}
OWN = ("digits", "wgan-mlp", "wgan-gp-mlp", "ring-wgan-gp", "grid-wgan-gp", "cgan-mnist")  # fastgan's own
