"""The recipes with convolutional networks for MNIST, each as one value: what the third and the fifth article train.

Where a source is wrong the recipe is right, and published.py has what the source does instead; `note` says what else is
another way. Mistakes that change no number of a run are not repeated: Keras-GAN's WGAN also clips the critic's running
statistics, which nothing reads. What a source leaves to its library (a batch norm's epsilon and correction) is as its
library has it, or ours where that changes no more than the first steps (TensorFlow's RMSProp begins at 1). First values
other than PyTorch's come with biases of 0. tests/recipe_sources.py has the sources' numbers.
"""

from typing import Any

from fastgan.gan.recipe import OptimizerSettings, Recipe
from fastgan.gan.recipes_dense import CS231N_LINE, KERAS_LINE
from fastgan.nn import Net

KERAS_ADAM = OptimizerSettings(lr=2e-4, beta1=0.5, eps=1e-7)
GP_ADAM = OptimizerSettings(lr=1e-4, beta1=0.5, beta2=0.9)


def rmsprop(lr: float, eps: float = 1e-5) -> OptimizerSettings:
    """TensorFlow's: the mean square keeps 0.9 of itself, and 1e-10 under the root is near 1e-5 beside it."""
    return OptimizerSettings(kind="rmsprop", lr=lr, alpha=0.9, eps=eps)


def up(channels: int | str, kernel: int, stride: int = 2) -> str:
    """An upsampling layer as in TensorFlow."""
    return f"conv_transpose {channels} {kernel} stride={stride} padding=same"


def down(channels: int, kernel: int, stride: int = 2) -> str:
    """A downsampling layer as in TensorFlow."""
    return f"conv {channels} {kernel} stride={stride} padding=same"


CS231N_DCGAN = Recipe(
    name="cs231n-dcgan",
    source="cs231n assignment 3: InfoGAN's networks (ReLU before batch norm), stable BCE, Adam 1e-3, batches in order",
    line=CS231N_LINE,
    log_first=True,
    generator=Net(
        (
            "linear 1024",
            "relu",
            "batch_norm",
            "linear 6272",
            "relu",
            "batch_norm",
            "reshape 7x7x128",
            "conv_transpose 64 4 stride=2 padding=1",
            "relu",
            "batch_norm",
            "conv_transpose c 4 stride=2 padding=1",
            "tanh",
            "flatten",
        ),
        init="glorot_uniform",
        norm_correction=1.0,
    ),
    critic=Net(
        (
            "image",
            "conv 32 5 init=torch",
            "leaky_relu 0.01",
            "max_pool 2",
            "conv 64 5 init=torch",
            "leaky_relu 0.01",
            "max_pool 2",
            "flatten",
            "linear 1024",
            "leaky_relu 0.01",
            "linear 1",
        ),
        init="glorot_uniform",
    ),
    first=50_000,
    latent=96,
    noise="uniform",
    batch=128,
    steps=1950,
    sampling="sequential",
    optimizer=OptimizerSettings(lr=1e-3, beta1=0.5),
    log_every=250,
    sample_every=250,
    note="biases begin at 0 where weights are Glorot's, the notebook leaves them PyTorch's",
)

# TensorFlow's fused op has corrected the variance by n / (n - 1) when Keras 2 does so by n / (n - 1 - epsilon).
KERAS_NORM: dict[str, Any] = {"batch_norm": 0.2, "norm_eps": 1e-3, "norm_correction": 2.001}


def _odog_generator(kernel: int) -> Net:
    """Keras-GAN's: nearest neighbours, then a convolution."""
    size = f"{kernel} padding=same"
    up = [
        part
        for channels in (128, 64)
        for part in ("upsample 2", f"conv {channels} {size}", "batch_norm", "relu")
    ]
    layers = ("linear 6272", "relu", "reshape 7x7x128", *up, f"conv c {size}", "tanh", "flatten")
    return Net(layers, init="glorot_uniform", **KERAS_NORM)


def _odog_critic(*channels: int) -> Net:
    """Keras-GAN's: stride 2 but for the last layer, batch norm but in the first, 8 x 8 made of 7 x 7 by zeros."""
    layers = ["image"]
    for number, width in enumerate(channels):
        layers.append(down(width, 3, 1 if number == len(channels) - 1 else 2))
        layers += ["pad 0 1 0 1"] if number == 1 else []
        layers += ["batch_norm"] if number else []
        layers += ["leaky_relu 0.2", "dropout 0.25"]
    return Net((*layers, "flatten", "linear 1"), init="glorot_uniform", **KERAS_NORM)


ODOG_DCGAN = Recipe(
    name="odog-dcgan",
    source="One Day One GAN, day 2 (Keras-GAN dcgan.py): upsampling and 3x3 convolutions, dropout in the critic",
    line=KERAS_LINE,
    log_first=True,
    generator=_odog_generator(3),
    critic=_odog_critic(32, 64, 128, 256),
    batch=32,
    steps=4000,
    split_updates=True,
    halved_loss=True,
    inference_fakes=True,
    optimizer=KERAS_ADAM,
    log_every=50,
    sample_every=50,
    note="the source prints a line at every step",
)

TF_NORM: dict[str, Any] = {"norm_eps": 1e-3, "norm_correction": 1.0}  # of tf.layers


def _hs_critic(*, norm: bool) -> Net:
    middle = [
        part
        for channels in (32, 64)
        for part in (down(channels, 4), *(["batch_norm"] if norm else []), "leaky_relu 0.2")
    ]
    layers = ("image", down(16, 4), "leaky_relu 0.2", *middle, "flatten", "linear 1")
    return Net(layers, init="truncated_normal", init_scale=0.02, **TF_NORM)


HS_NOTE = (
    "the source prints a line at every step, and its losses on 100 test images after each epoch; it never moves its "
    "running statistics and draws with those of the batch, here pictures are drawn with running ones"
)
HS_DCGAN = Recipe(
    name="hs-dcgan",
    source="handspeaker gan_practice: 32x32 MNIST, a last layer of 32x32 taps, two generator updates a step",
    line="train:[{epoch}/{batch}],d_loss:{critic_loss:f},g_loss:{generator_loss:f}",
    log_first=True,
    generator=Net(
        (
            "linear 2048",
            "reshape 4x4x128",
            "batch_norm",
            "relu",
            *(part for channels in (64, 32, 16) for part in (up(channels, 5), "batch_norm", "relu")),
            up("c", 32, 1),
            "tanh",
            "flatten",
        ),
        init="truncated_normal",
        init_scale=0.02,
        **TF_NORM,
    ),
    critic=_hs_critic(norm=True),
    border=2,
    latent=128,
    noise="uniform",
    batch=100,
    steps=60_000,
    sampling="epochs",
    generator_steps=2,
    shared_latents=True,
    optimizer=OptimizerSettings(lr=2e-4, beta1=0.5),
    sample_every=600,
    note=HS_NOTE,
)
HS_WGAN = HS_DCGAN.replace(
    name="hs-wgan",
    source="handspeaker gan_practice: clipped weights, RMSProp 1e-4, 25 critic updates in warm-up steps",
    objective="wasserstein",
    generator_steps=1,
    shared_latents=False,
    critic_steps=5,
    warmup_critic_steps=25,
    optimizer=rmsprop(1e-4),
    note=HS_NOTE + "; weights are clipped after a critic update, there before it",
)


IGUL_NOTE = (
    "the held-out loss is of 1,000 samples, there of 10,000; the source also prints its first five iterations"
)


def _igul(name: str, what: str, *, norm: bool = False, **changes: object) -> Recipe:
    """The script gan_mnist in one of its modes."""
    between = ["batch_norm"] if norm else []
    generator = (
        *("linear 4096", *between, "relu", "reshape 4x4x256"),
        *(up(128, 5), *between, "relu", "crop 7x7"),
        *(up(64, 5), *between, "relu"),
        *(up("c", 5), "sigmoid", "flatten"),
    )
    critic = (
        *("image", down(64, 5), "leaky_relu 0.2"),
        *(down(128, 5), *between, "leaky_relu 0.2"),
        *(down(256, 5), *between, "leaky_relu 0.2"),
        *("flatten", "linear 1"),
    )
    base = Recipe(
        name=f"igul-mnist-{name}",
        source=f"WGAN-GP's gan_mnist (igul222): {what}",
        line="iter {index}\ttrain disc cost\t{critic_loss:.6g}|\ttime\t{seconds:.4g}|"
        "\tdev disc cost\t{critic_loss_held_out:.6g}",
        generator=Net(generator, init="igul", norm_correction=1.0),
        critic=Net(critic, init="igul", norm_correction=1.0),
        low=0.0,
        first=50_000,
        held_out=True,
        latent=128,
        batch=50,
        steps=200_000,
        sampling="epochs",
        sample_every=100,
        note=IGUL_NOTE,
    )
    return base.replace(**changes)


IGUL_WGAN_GP = _igul(
    "wgan-gp",
    "lambda 10, Adam 1e-4 (0.5, 0.9), 5 critic updates, no batch norm",
    objective="wasserstein-gp",
    critic_steps=5,
    optimizer=GP_ADAM,
)

CGAN_MNIST = Recipe(
    name="cgan-mnist",
    source="conditional GAN (Mirza and Osindero 2014) of DCGAN's layers, labels by projection (Miyato and Koyama 2018)",
    generator=Net(
        (
            "linear 6272 bias=no",
            "batch_norm",
            "relu",
            "reshape 7x7x128",
            "conv_transpose 64 4 stride=2 padding=1 bias=no",
            "batch_norm",
            "relu",
            "conv_transpose c 4 stride=2 padding=1",
            "tanh",
            "flatten",
        ),
        init="normal",
        init_scale=0.02,
        norm_correction=1.0,
    ),
    critic=Net(
        (
            "image",
            "conv 64 4 stride=2 padding=1",
            "leaky_relu 0.2",
            "conv 128 4 stride=2 padding=1",
            "leaky_relu 0.2",
            "flatten",
            "linear 1",
        ),
        init="normal",
        init_scale=0.02,
    ),
    classes=10,
    batch=64,
    steps=10_000,
    sampling="epochs",
    optimizer=OptimizerSettings(lr=2e-4, beta1=0.5),
)

CONVOLUTIONAL = (
    CS231N_DCGAN,
    ODOG_DCGAN,
    ODOG_DCGAN.replace(
        name="odog-wgan",
        source="One Day One GAN, day 5 (Keras-GAN wgan.py): clipped weights, RMSProp 5e-5, 5 critic updates",
        line="{index} [D loss: {one_minus_critic_loss:f}] [G loss: {one_minus_generator_loss:f}]",
        log_first=True,
        generator=_odog_generator(4),
        critic=_odog_critic(16, 32, 64, 128),
        objective="wasserstein",
        critic_steps=5,
        optimizer=rmsprop(5e-5, eps=1e-7),
    ),
    HS_DCGAN,
    HS_WGAN,
    HS_WGAN.replace(
        name="hs-wgan-gp",
        source="handspeaker gan_practice: lambda 10, Adam 1e-4 (0.5, 0.9), the norm over all pixels, no batch norm",
        critic=_hs_critic(norm=False),
        objective="wasserstein-gp",
        warmup_critic_steps=0,
        optimizer=GP_ADAM,
        note=HS_NOTE,
    ),
    _igul(
        "dcgan",
        "non-saturating losses, Adam 2e-4 (0.5, 0.999), one critic update, no batch norm",
        halved_loss=True,
        note=IGUL_NOTE + "; it halves the critic's gradient with its loss, which Adam evens out",
        optimizer=OptimizerSettings(lr=2e-4, beta1=0.5),
    ),
    _igul(
        "wgan",
        "weights clipped to 0.01, RMSProp 5e-5, 5 critic updates, batch norm in both networks",
        norm=True,
        objective="wasserstein",
        critic_steps=5,
        optimizer=rmsprop(5e-5),
        note=IGUL_NOTE + "; it has no running statistics and draws with those of the batch",
    ),
    IGUL_WGAN_GP,
    CGAN_MNIST,
)
