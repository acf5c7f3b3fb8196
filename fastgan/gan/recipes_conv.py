"""The recipes with convolutional networks, for MNIST and for pictures of your own, each as one value.

Where a source is wrong the recipe is right, and published.py has what the source does instead; `note` says what else is
another way. Mistakes that change no number of a run are not repeated: Keras-GAN's WGAN also clips the critic's running
statistics, which nothing reads. What a source leaves to its library (a batch norm's epsilon and correction) is as its
library has it, or ours where that changes no more than the first steps (TensorFlow's RMSProp begins at 1). First values
other than PyTorch's come with biases of 0. tests/recipe_sources.py has the sources' numbers.
"""

from typing import Any

from fastgan.gan.recipe import Recipe
from fastgan.gan.recipes_dense import CS231N, DCGAN_ADAM, GP_ADAM, KERAS, net, rmsprop
from fastgan.nn import Net


def up(channels: int | str, kernel: int, *then: str, stride: int = 2) -> str:
    """An upsampling layer as in TensorFlow, and what is behind it."""
    return ", ".join([f"conv_transpose {channels} {kernel} stride={stride} padding=same", *then])


def down(channels: int, kernel: int, *then: str, stride: int = 2) -> str:
    """A downsampling layer as in TensorFlow, and what is behind it."""
    return ", ".join([f"conv {channels} {kernel} stride={stride} padding=same", *then])


NORM_UP, NORM_DOWN = ("batch_norm", "relu"), ("batch_norm", "leaky_relu 0.2")

CS231N_DCGAN = CS231N.replace(
    name="cs231n-dcgan",
    source="cs231n assignment 3: InfoGAN's networks (ReLU before batch norm), stable BCE, Adam 1e-3, batches in order",
    generator=net(
        "linear 1024, relu, batch_norm, linear 6272, relu, batch_norm, reshape 7x7x128, "
        "conv_transpose 64 4 stride=2 padding=1, relu, batch_norm, conv_transpose c 4 stride=2 padding=1, tanh, "
        "flatten",
        init="glorot_uniform",
    ),
    critic=net(
        "image, conv 32 5 init=torch, leaky_relu 0.01, max_pool 2, conv 64 5 init=torch, leaky_relu 0.01, max_pool 2, "
        "flatten, linear 1024, leaky_relu 0.01, linear 1",
        init="glorot_uniform",
    ),
    steps=1950,
    note="biases begin at 0 where weights are Glorot's, the notebook leaves them PyTorch's",
)


def _odog(kernel: int, *channels: int) -> dict[str, Any]:
    """Keras-GAN's networks. The generator: nearest neighbours, then a convolution.

    The critic: stride 2 but for the last layer, batch norm but in the first, 8 x 8 made of 7 x 7 by zeros. TensorFlow's
    fused op has corrected the variance by n / (n - 1) when Keras 2 does so by n / (n - 1 - epsilon).
    """
    rules: dict[str, Any] = {"batch_norm": 0.2, "norm_eps": 1e-3, "norm_correction": 2.001}
    last = f"{kernel} padding=same"
    generator = (
        f"linear 6272, relu, reshape 7x7x128, upsample 2, conv 128 {last}, batch_norm, relu, "
        f"upsample 2, conv 64 {last}, batch_norm, relu, conv c {last}, tanh, flatten"
    )
    a, b, c, d = channels
    end = "leaky_relu 0.2, dropout 0.25"
    critic = (
        f"image, {down(a, 3, end)}, {down(b, 3, 'pad 0 1 0 1', 'batch_norm', end)}, {down(c, 3, 'batch_norm', end)}, "
        f"{down(d, 3, 'batch_norm', end, stride=1)}, flatten, linear 1"
    )
    return {
        "generator": net(generator, init="glorot_uniform", **rules),
        "critic": net(critic, init="glorot_uniform", **rules),
    }


ODOG_DCGAN = KERAS.replace(
    name="odog-dcgan",
    source="One Day One GAN, day 2 (Keras-GAN dcgan.py): upsampling and 3x3 convolutions, dropout in the critic",
    **_odog(3, 32, 64, 128, 256),
    steps=4000,
    log_every=50,
    sample_every=50,
    note="the source prints a line at every step",
)
ODOG_WGAN = ODOG_DCGAN.replace(
    name="odog-wgan",
    source="One Day One GAN, day 5 (Keras-GAN wgan.py): clipped weights, RMSProp 5e-5, 5 critic updates",
    line="{index} [D loss: {one_minus_critic_loss:f}] [G loss: {one_minus_generator_loss:f}]",
    **_odog(4, 16, 32, 64, 128),
    objective="wasserstein",
    critic_steps=5,
    optimizer=rmsprop(5e-5, eps=1e-7),
)


def _hs_critic(*norm: str) -> Net:
    critic = [down(16, 4), *(down(channels, 4, *norm) for channels in (32, 64))]
    layers = ", leaky_relu 0.2, ".join(["image, " + critic[0], *critic[1:], "flatten, linear 1"])
    return net(layers, init="truncated_normal", init_scale=0.02, norm_eps=1e-3)


HS_DCGAN = Recipe(
    name="hs-dcgan",
    source="handspeaker gan_practice: 32x32 MNIST, a last layer of 32x32 taps, two generator updates a step",
    line="train:[{epoch}/{batch}],d_loss:{critic_loss:f},g_loss:{generator_loss:f}",
    log_first=True,
    generator=net(
        f"linear 2048, reshape 4x4x128, batch_norm, relu, {up(64, 5, *NORM_UP)}, {up(32, 5, *NORM_UP)}, "
        f"{up(16, 5, *NORM_UP)}, {up('c', 32, stride=1)}, tanh, flatten",
        init="truncated_normal",
        init_scale=0.02,
        norm_eps=1e-3,  # of tf.layers
    ),
    critic=_hs_critic("batch_norm"),
    border=2,
    latent=128,
    noise="uniform",
    batch=100,
    steps=60_000,
    sampling="epochs",
    generator_steps=2,
    shared_latents=True,
    optimizer=DCGAN_ADAM,
    sample_every=600,
    note="the source prints a line at every step, and its losses on 100 test images after each epoch; it never moves "
    "its running statistics and draws with those of the batch, here pictures are drawn with running ones",
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
    note=HS_DCGAN.note + "; weights are clipped after a critic update, there before it",
)
HS_WGAN_GP = HS_WGAN.replace(
    name="hs-wgan-gp",
    source="handspeaker gan_practice: lambda 10, Adam 1e-4 (0.5, 0.9), the norm over all pixels, no batch norm",
    critic=_hs_critic(),
    objective="wasserstein-gp",
    warmup_critic_steps=0,
    optimizer=GP_ADAM,
    note=HS_DCGAN.note,
)


def _igul(*norm: str) -> dict[str, Any]:
    """The networks of WGAN-GP's script gan_mnist."""
    generator = ", ".join(
        [
            *("linear 4096", *norm, "relu", "reshape 4x4x256", up(128, 5, *norm, "relu"), "crop 7x7"),
            *(up(64, 5, *norm, "relu"), up("c", 5), "sigmoid", "flatten"),
        ]
    )
    first, *others = down(64, 5), down(128, 5, *norm), down(256, 5, *norm)
    critic = ", leaky_relu 0.2, ".join(["image, " + first, *others, "flatten, linear 1"])
    return {"generator": net(generator, init="igul"), "critic": net(critic, init="igul")}


IGUL_NOTE = (
    "the held-out loss is of 1,000 samples, there of 10,000; the source also prints its first five iterations"
)
IGUL_DCGAN = Recipe(
    name="igul-mnist-dcgan",
    source="WGAN-GP's gan_mnist (igul222): non-saturating losses, Adam 2e-4 (0.5, 0.999), one critic update, "
    "no batch norm",
    line="iter {index}\ttrain disc cost\t{critic_loss:.6g}|\ttime\t{seconds:.4g}|"
    "\tdev disc cost\t{critic_loss_held_out:.6g}",
    **_igul(),
    low=0.0,
    first=50_000,
    held_out=True,
    halved_loss=True,
    latent=128,
    batch=50,
    steps=200_000,
    sampling="epochs",
    optimizer=DCGAN_ADAM,
    sample_every=100,
    note=IGUL_NOTE + "; it halves the critic's gradient with its loss, which Adam evens out",
)
IGUL_WGAN_GP = IGUL_DCGAN.replace(
    name="igul-mnist-wgan-gp",
    source="WGAN-GP's gan_mnist (igul222): lambda 10, Adam 1e-4 (0.5, 0.9), 5 critic updates, no batch norm",
    objective="wasserstein-gp",
    halved_loss=False,
    critic_steps=5,
    optimizer=GP_ADAM,
    note=IGUL_NOTE,
)
IGUL_WGAN = IGUL_WGAN_GP.replace(
    name="igul-mnist-wgan",
    source="WGAN-GP's gan_mnist (igul222): weights clipped to 0.01, RMSProp 5e-5, 5 critic updates, batch norm in both "
    "networks",
    **_igul("batch_norm"),
    objective="wasserstein",
    optimizer=rmsprop(5e-5),
    note=IGUL_NOTE + "; it has no running statistics and draws with those of the batch",
)

CGAN_MNIST = Recipe(
    name="cgan-mnist",
    source="conditional GAN (Mirza and Osindero 2014) of DCGAN's layers, labels by projection (Miyato and Koyama 2018)",
    generator=net(
        "linear 6272 bias=no, batch_norm, relu, reshape 7x7x128, conv_transpose 64 4 stride=2 padding=1 bias=no, "
        "batch_norm, relu, conv_transpose c 4 stride=2 padding=1, tanh, flatten",
        init="normal",
        init_scale=0.02,
    ),
    critic=net(
        "image, conv 64 4 stride=2 padding=1, leaky_relu 0.2, conv 128 4 stride=2 padding=1, leaky_relu 0.2, flatten, "
        "linear 1",
        init="normal",
        init_scale=0.02,
    ),
    classes=10,
    sampling="epochs",
    optimizer=DCGAN_ADAM,
)


def _of_64(kernel: int, end: str, **settings: Any) -> dict[str, Any]:
    """DCGAN's networks: from 4 x 4 with 1024 channels to 64 x 64, twice the size at each layer, and the other way.

    `end` makes a score of 4 x 4 with 512 channels (Radford et al. 2015).
    """
    ups = ", ".join(up(width, kernel, *NORM_UP) for width in (512, 256, 128))
    downs = ", ".join(down(width, kernel, *NORM_DOWN) for width in (128, 256, 512))
    generator = f"linear 16384, reshape 4x4x1024, batch_norm, relu, {ups}, {up('c', kernel)}, tanh, flatten"
    critic = f"image, {down(64, kernel)}, leaky_relu 0.2, {downs}, {end}"
    return {
        "generator": net(generator, init_scale=0.02, **settings),
        "critic": net(critic, init_scale=0.02, **settings),
    }


SHEKKIZH = Recipe(
    name="shekkizh-wgan",
    source="shekkizh WassersteinGAN.tensorflow: any pictures at 64x64, no biases, mean of 2x2 scores, RMSProp 5e-5",
    line="Time: {seconds:g}/itr, |Step: {step}, generator loss: {generator_loss:g}, "
    "discriminator_loss: {critic_loss:g}",
    data="",
    picture_size=64,
    **_of_64(4, down(1, 4, "mean"), init="truncated_normal", norm_correction=0, bias=False),
    objective="wasserstein",
    noise="uniform",
    steps=100_000,
    critic_steps=5,
    warmup_critic_steps=25,
    warmup_steps=24,
    sampling="epochs",
    optimizer=rmsprop(5e-5),
    log_every=200,
    note="batch norm's scales begin at 1, there near it (deviation 0.02); steps 501, 1001 ... warm up, there 500, "
    "1000 ...; pictures are cut to their largest square, there to 108 pixels of CelebA's faces; the source draws "
    "two samples every 100 steps",
)
DCGAN64 = Recipe(
    name="dcgan64",
    source="DCGAN (Radford, Metz, Chintala 2015): any pictures at 64x64, 5x5 convolutions, N(0, 0.02), Adam 2e-4",
    data="",
    picture_size=64,
    **_of_64(5, "flatten, linear 1", init="normal"),
    noise="uniform",
    batch=128,
    steps=25_000,
    sampling="epochs",
    optimizer=DCGAN_ADAM,
)

CONVOLUTIONAL = (
    *(
        CS231N_DCGAN,
        ODOG_DCGAN,
        ODOG_WGAN,
        HS_DCGAN,
        HS_WGAN,
        HS_WGAN_GP,
        IGUL_DCGAN,
        IGUL_WGAN,
        IGUL_WGAN_GP,
    ),
    *(CGAN_MNIST, SHEKKIZH, DCGAN64),
)
