"""The recipes with dense networks, each as one value: what the source articles train, and kin of it.

Where a source is wrong the recipe is right, and published.py has what the source does instead; `note` says what else is
another way. In all recipes the log has means of the interval and pictures show 100 fixed latents (2,500 in the plane),
where most sources have the last batch's loss and a few new samples. tests/recipe_sources.py has the sources' numbers.
"""

from collections.abc import Iterable
from typing import Any

from fastgan.gan.recipe import OptimizerSettings, Recipe
from fastgan.nn import Net

DCGAN_ADAM = OptimizerSettings(lr=2e-4, beta1=0.5)
GP_ADAM = OptimizerSettings(lr=1e-4, beta1=0.5, beta2=0.9)


def rmsprop(lr: float, eps: float = 1e-5) -> OptimizerSettings:
    """TensorFlow's: the mean square keeps 0.9 of itself, and 1e-10 under the root is near 1e-5 beside it."""
    return OptimizerSettings(kind="rmsprop", lr=lr, alpha=0.9, eps=eps)


def net(layers: str, **settings: Any) -> Net:
    """A network of layers that commas separate."""
    return Net(tuple(layers.split(", ")), **settings)


def dense(
    widths: Iterable[int], *then: str, layer: str = "linear {}", end: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """A layer for each width with lines `then` behind it, and the layer out with lines `end`."""
    hidden = [line for width in widths for line in (layer.format(width), *then)]
    return (*hidden, "linear o", *end)


TOY_GENERATOR = Net(dense((256, 256), "relu", end=("tanh",)))
TOY_CRITIC = Net(dense((256, 256), "leaky_relu 0.2"))
RING_NETWORK = Net(dense((512, 512, 512), "relu"), init="he_uniform")

DIGITS = Recipe(
    name="digits",
    source="fastgan's own: WGAN-GP on the bundled 8x8 digits, sampled from an average of the generator",
    data="digits",
    generator=Net(dense((128, 128), "relu", end=("tanh",)), init="he_normal"),
    critic=Net(dense((128, 128), "leaky_relu 0.2"), init="he_normal"),
    objective="wasserstein-gp",
    latent=32,
    steps=8000,
    critic_steps=2,
    sampling="epochs",
    optimizer=OptimizerSettings(lr=1e-3, beta1=0.5, beta2=0.9, schedule="linear:0.1"),
    ema=0.995,
    sample_every=200,
)
KERAS = Recipe(
    name="keras-mlp",
    source="One Day One GAN, day 1 (Keras-GAN gan.py): BCE, LeakyReLU 0.2 then batch norm, two critic updates",
    line="{index} [D loss: {critic_loss:f}|, acc.: {accuracy:.2%}|] [G loss: {generator_loss:f}]",
    log_first=True,
    generator=Net(
        dense((256, 512, 1024), "leaky_relu 0.2", "batch_norm", end=("tanh",)),
        batch_norm=0.2,
        norm_eps=1e-3,
        norm_correction=1.001,  # Keras 2's 1 + epsilon
        init="glorot_uniform",
    ),
    critic=Net(dense((512, 256), "leaky_relu 0.2"), init="glorot_uniform"),
    batch=32,
    steps=30_001,
    split_updates=True,
    halved_loss=True,
    inference_fakes=True,
    optimizer=OptimizerSettings(lr=2e-4, beta1=0.5, eps=1e-7),
    log_every=500,
)
TOY = Recipe(
    name="toy-mlp",
    source="PyTorch MLP toy GAN: 64-256-256-784, BCE, Adam 2e-4, batch 100",
    line="Epoch [{epoch}/{epochs}], Step [{done}/{batches}], d_loss: {critic_loss:.4f}, "
    "g_loss: {generator_loss:.4f}|, D(x): {d_real:.2f}, D(G(z)): {d_fake:.2f}",
    generator=TOY_GENERATOR,
    critic=TOY_CRITIC,
    latent=64,
    batch=100,
    steps=120_000,
    sampling="epochs",
    log_every=200,
    sample_every=600,
)
CS231N = Recipe(
    name="cs231n-vanilla",
    source="cs231n assignment 3: 96-1024-1024-784, stable BCE (summed, not halved), batches in order",
    line="Iter: {index}, D: {critic_loss:.4}, G:{generator_loss:.4}",
    log_first=True,
    generator=Net(dense((1024, 1024), "relu", end=("tanh",))),
    critic=Net(dense((256, 256), "leaky_relu 0.01")),
    first=50_000,
    latent=96,
    noise="uniform",
    batch=128,
    steps=3900,
    sampling="sequential",
    optimizer=OptimizerSettings(lr=1e-3, beta1=0.5),
    log_every=250,
    sample_every=250,
)
SEO = Recipe(
    name="seo-numpy",
    source="Seo's NumPy-only GAN: mixed activations, the rate high first, then times 0.01; collapses, as his did",
    line="Current Iter:  {index}  Current D cost: {critic_loss:.8f}  Current G cost:  {generator_loss:.8f}",
    log_first=True,
    generator=net(
        "linear 128, arctan, linear 256, relu, linear 346, arctan, linear 480, relu, linear 560, tanh, "
        "linear 686, relu, linear o, sigmoid",
        init="he_normal",
    ),
    critic=net("linear 128, relu, linear o", init="he_normal"),
    low=0.0,
    noise="uniform",
    batch=32,
    optimizer=OptimizerSettings(lr=9e-5, schedule="drop:0.01@9000"),
    note="batch, steps, the step at which the rate drops and the intervals of log and pictures are ours: the "
    "article's demo makes 10 steps of one image, and prints and draws each tenth",
)
WGAN = Recipe(
    name="wgan-mlp",
    source="WGAN with clipped weights on toy-mlp's networks: RMSProp 5e-5, 5 critic updates",
    generator=TOY_GENERATOR,
    critic=TOY_CRITIC,
    objective="wasserstein",
    latent=64,
    steps=20_000,
    critic_steps=5,
    sampling="epochs",
    optimizer=OptimizerSettings(kind="rmsprop", lr=5e-5),
    note="RMSProp keeps 0.99 of the mean square, PyTorch's default, as the WGAN paper's own code does; the other "
    "WGANs here keep 0.9, TensorFlow's",
)
WGAN_GP = WGAN.replace(
    name="wgan-gp-mlp",
    source="WGAN-GP on cs231n-vanilla's networks: Adam 1e-4 (0.5, 0.9), lambda 10, 5 critic updates",
    generator=CS231N.generator,
    critic=CS231N.critic,
    objective="wasserstein-gp",
    latent=96,
    noise="uniform",
    optimizer=GP_ADAM,
    note="",
)
RING_GAN = Recipe(
    name="ring-gan",
    source="PacGAN's GAN on 8 Gaussians in a ring (Lin et al. 2018): batch norm generator, maxout critic",
    data="ring",
    points=True,
    generator=Net(
        dense((400, 400, 400, 400), "batch_norm", "relu", layer="linear {} bias=no"),
        batch_norm=0.05,
        norm_eps=1e-4,
        norm_correction=0.0,
        init="normal",
        init_scale=0.02,
    ),
    critic=Net(dense((200, 200, 200), layer="maxout {}"), init="normal", init_scale=0.02),
    latent=2,
    batch=100,
    steps=400_000,
    sampling="epochs",
    simultaneous=True,
    optimizer=OptimizerSettings(lr=1e-4, beta1=0.8),
    log_every=1000,
    sample_every=1000,
    checkpoint_every=10_000,
    note="running variances move, where the source (Blocks) moves running standard deviations, epsilon included",
)
RING = Recipe(
    name="ring-wgan-gp",
    source="WGAN-GP's toy networks (igul222 gan_toy: ReLU 3 x 512, lambda 0.1) on PacGAN's ring",
    line="iter {index}\tdisc cost\t{critic_loss:.6g}",
    data="ring",
    points=True,
    generator=RING_NETWORK,
    critic=RING_NETWORK,
    objective="wasserstein-gp",
    penalty=0.1,
    latent=2,
    batch=256,
    steps=100_000,
    critic_steps=5,
    sampling="epochs",
    optimizer=GP_ADAM,
    sample_every=1000,
)


def _toys(name: str, data: str) -> tuple[Recipe, Recipe]:
    """WGAN-GP's toy experiment on one of its three point sets, with clipped weights and with the penalty."""
    penalized = RING.replace(
        name=f"igul-toy-{name}-wgan-gp",
        source=f"WGAN-GP's gan_toy (igul222) on {data}: lambda 0.1, Adam 1e-4 (0.5, 0.9)",
        data=data,
        sample_every=100,
        note="samples are 100,000 points drawn once, the source's are new in each batch but for 25gaussians; "
        "a picture's window is that of the data, there [-3, 3]",
    )
    clipped = penalized.replace(
        name=f"igul-toy-{name}-wgan",
        source=f"WGAN-GP's gan_toy (igul222) on {data}: weights clipped to 0.01, RMSProp 5e-5",
        objective="wasserstein",
        penalty=None,
        optimizer=rmsprop(5e-5),
    )
    return clipped, penalized


DENSE = (
    *(DIGITS, KERAS, TOY, CS231N),
    CS231N.replace(
        name="cs231n-lsgan",
        source="cs231n assignment 3: the same networks with least-squares losses",
        objective="least-squares",
    ),
    *(SEO, WGAN, WGAN_GP, RING_GAN, RING),
    RING.replace(
        name="grid-wgan-gp",
        source="WGAN-GP's toy networks (igul222 gan_toy: ReLU 3 x 512, lambda 0.1) on PacGAN's grid of 25 Gaussians",
        data="grid",
    ),
    *(*_toys("8", "8gaussians"), *_toys("25", "25gaussians"), *_toys("swiss", "swiss-roll")),
)
