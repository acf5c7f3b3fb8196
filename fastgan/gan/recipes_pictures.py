"""The recipes for pictures of your own, cut and resized to 64x64: networks of one form, trained in two ways."""

from fastgan.gan.recipe import OptimizerSettings, Recipe
from fastgan.gan.recipes_conv import down, rmsprop, up
from fastgan.nn import Net


def _generator(kernel: int, *, init: str, correction: float, bias: bool = True) -> Net:
    """DCGAN's: from 4 x 4 with 1024 channels to 64 x 64, twice the size at each layer (Radford et al. 2015)."""
    middle = [part for width in (512, 256, 128) for part in (up(width, kernel), "batch_norm", "relu")]
    start = ("linear 16384", "reshape 4x4x1024", "batch_norm", "relu")
    layers = (*start, *middle, up("c", kernel), "tanh", "flatten")
    return Net(layers, init=init, init_scale=0.02, norm_correction=correction, bias=bias)


def _critic(kernel: int, *end: str, init: str, correction: float, bias: bool = True) -> Net:
    """DCGAN's: half the size at each layer; `end` makes a score of 4 x 4 with 512 channels."""
    middle = [
        part for width in (128, 256, 512) for part in (down(width, kernel), "batch_norm", "leaky_relu 0.2")
    ]
    layers = ("image", down(64, kernel), "leaky_relu 0.2", *middle, *end)
    return Net(layers, init=init, init_scale=0.02, norm_correction=correction, bias=bias)


PICTURES = (
    Recipe(
        name="shekkizh-wgan",
        source="shekkizh WassersteinGAN.tensorflow: any pictures at 64x64, no biases, mean of 2x2 scores, RMSProp 5e-5",
        line="Time: {seconds:g}/itr, |Step: {step}, generator loss: {generator_loss:g}, "
        "discriminator_loss: {critic_loss:g}",
        data="",
        picture_size=64,
        generator=_generator(4, init="truncated_normal", correction=0, bias=False),
        critic=_critic(4, down(1, 4), "mean", init="truncated_normal", correction=0, bias=False),
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
    ),
    Recipe(
        name="dcgan64",
        source="DCGAN (Radford, Metz, Chintala 2015): any pictures at 64x64, 5x5 convolutions, N(0, 0.02), Adam 2e-4",
        data="",
        picture_size=64,
        generator=_generator(5, init="normal", correction=1),
        critic=_critic(5, "flatten", "linear 1", init="normal", correction=1),
        noise="uniform",
        batch=128,
        steps=25_000,
        sampling="epochs",
        optimizer=OptimizerSettings(lr=2e-4, beta1=0.5),
    ),
)
