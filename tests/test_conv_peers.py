"""The convolutional peers compute what fastgan does: with its weights copied over, outputs, losses and gradients agree.

fastgan's images are NHWC and its convolutions (kh, kw, i, o); PyTorch's NCHW and (o, i, kh, kw). The transposed ones
are (kh, kw, o, i) and (i, o, kh, kw). Numbers of a flat image come in the other order beside a linear layer.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: its peers are not tested")

from torch import nn  # noqa: E402

import fastgan as fg  # noqa: E402
from fastgan.benchmarks import peers, training  # noqa: E402
from fastgan.benchmarks.peers import jax_jit, torch_compiled, torch_eager, torch_graph  # noqa: E402
from fastgan.gan import networks  # noqa: E402
from fastgan.gan.objectives import gradient_penalty, objective  # noqa: E402
from fastgan.nn import BatchNorm, Conv2d, ConvTranspose2d, Linear  # noqa: E402
from fastgan.tape import Tensor, grad  # noqa: E402

BATCH = 6
# (h, w, c) of the image that a linear layer makes in the generator, and of the one that one sees in the critic.
FLAT = {"cs231n-dcgan": ((7, 7, 128), (4, 4, 64)), "igul-mnist-wgan-gp": ((4, 4, 256), (4, 4, 256))}
REAL = np.random.default_rng(1).uniform(-1, 1, (BATCH, 784)).astype(np.float32)


class Pair:
    """fastgan's networks, and PyTorch's as the peer has them, with the same numbers in both."""

    def __init__(self, recipe):
        self.ours = networks.build(fg.recipes[recipe], (28, 28, 1), seed=2)
        rng = np.random.default_rng(3)
        for network in self.ours:
            for p in network.parameters():  # biases and scales too are to count
                p.data += rng.normal(0, 0.02, p.shape).astype(np.float32)
        row = peers.ALL[recipe]
        self.gan = torch_eager.Gan(row, REAL, seed=0)
        self.z = rng.normal(size=(BATCH, row.generator[0])).astype(np.float32)
        self.mix = rng.uniform(size=(BATCH, 1)).astype(np.float32)
        made, seen = FLAT[recipe]
        copy(self.ours[0], self.gan.generator, made=made)
        copy(self.ours[1], self.gan.critic, seen=seen)
        self.fake = self.ours[0](Tensor(self.z)).data


def copy(ours, theirs, *, made=None, seen=None):
    """fastgan's numbers into PyTorch's modules; `made` and `seen` as in FLAT."""
    layers = [m for m in ours.modules() if isinstance(m, Linear | Conv2d | ConvTranspose2d | BatchNorm)]
    modules = [m for m in theirs if list(m.parameters())]
    for layer, module in zip(layers, modules, strict=True):
        if isinstance(layer, BatchNorm):
            weight, bias = layer.gamma.data, layer.beta.data
        else:
            weight, bias = layer.weight.data, layer.bias.data
        if made and weight.shape[-1] == np.prod(made):
            weight, bias = weight[..., order(made)], bias[order(made)]
        if seen and isinstance(layer, Linear) and len(weight) == np.prod(seen):
            weight, seen = weight[order(seen)], None
        if isinstance(layer, Linear | Conv2d | ConvTranspose2d):
            weight = weight.transpose(*range(weight.ndim)[:-3:-1], *range(weight.ndim)[:-2])
        with torch.no_grad():
            for to, values in ((module.weight, weight), (module.bias, bias)):
                assert to.shape == values.shape
                to.copy_(torch.tensor(values))


def order(shape):
    """Where the numbers of an NCHW image lie in an NHWC one."""
    return np.arange(np.prod(shape)).reshape(shape).transpose(2, 0, 1).ravel()


def close(ours, theirs):
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.fixture(scope="module", params=peers.CONVOLUTIONAL)
def recipe(request):
    return request.param


@pytest.fixture
def pair(recipe):
    return Pair(recipe)


def test_the_row_has_the_numbers_of_the_recipe(recipe):
    ours, row = fg.recipes[recipe], peers.ALL[recipe]
    assert (row.batch, row.noise, row.low, row.generator[0]) == (
        ours.batch,
        ours.noise,
        ours.low,
        ours.latent,
    )
    adam = ours.optimizer
    assert (row.lr, row.betas, row.eps) == (adam.lr, (adam.beta1, adam.beta2), adam.eps)
    penalized = row.critic_update == "penalty"
    assert penalized == (ours.objective == "wasserstein-gp")
    assert ours.critic_steps == (peers.CRITIC_UPDATES if penalized else 1)
    assert row.critic_update != "separate"
    assert not ours.split_updates
    assert not ours.inference_fakes


def test_networks_have_the_same_size_output_and_scores(pair):
    (generator, critic), gan = pair.ours, pair.gan
    for ours, theirs in ((generator, gan.generator), (critic, gan.critic)):
        assert sum(p.size for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    with torch.no_grad():
        close(pair.fake, gan.generator(torch.tensor(pair.z)))
        close(critic(Tensor(REAL)).data, gan.critic(torch.tensor(REAL)))


def test_a_start_puts_every_number_where_it_belongs(pair):
    """As `copy` above does it, which knows the sizes of the images."""
    twin = torch_eager.Gan(pair.gan.row, REAL, seed=1)
    twin.start(*([p.data for p in network.parameters()] for network in pair.ours))
    for ours, theirs in ((pair.gan.generator, twin.generator), (pair.gan.critic, twin.critic)):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q)


def test_from_an_equal_start_the_peer_goes_fastgans_way(recipe):
    """With a small batch, which is quicker and has a wider spread; twice the rate is noticed all the same."""
    own, images = fg.recipes[recipe].replace(batch=8), training.same_image(100)
    trainer = fg.Trainer(own, images, device="cpu")
    start, row = peers.start_like(trainer), replace(peers.ALL[recipe], batch=8)
    made = [
        torch_eager.make(changed, training.floats(images, row.low), seed=5)
        for changed in (row, replace(row, lr=2 * row.lr))
    ]
    for peer in made:
        peer.start(*start)
    facts = peers.trainer_facts(trainer)
    assert peers.disagreement(facts, peers.peer_facts(made[0]), recipe) == ""
    assert peers.disagreement(facts, peers.peer_facts(made[1]), recipe)


def test_a_critic_update_has_the_loss_and_the_gradients_of_ours(pair, recipe, monkeypatch):
    (_, critic), gan, parts = pair.ours, pair.gan, objective(fg.recipes[recipe].objective)
    loss = parts.real(critic(Tensor(REAL))) + parts.fake(critic(Tensor(pair.fake)))
    if parts.penalty:
        mixed = gradient_penalty(critic, Tensor(REAL), Tensor(pair.fake), Tensor(1 - pair.mix))
        loss = loss + mixed * parts.penalty
    gradients = grad(loss, critic.parameters())

    monkeypatch.setattr(gan, "row", replace(gan.row, critic_updates=1))
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.tensor(pair.mix).reshape(shape))
    gan.ones, gan.zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    monkeypatch.setattr(gan, "_batch", lambda: torch.tensor(REAL))
    monkeypatch.setattr(gan, "_fakes", lambda: torch.tensor(pair.fake))
    close(loss.data, gan.train_critic())
    same_gradients(pair.ours[1], gradients, gan.critic, seen=FLAT[recipe][1])


def test_the_penalty_reaches_the_first_layer_as_in_ours(pair):
    critic, theirs = pair.ours[1], pair.gan.critic
    penalty = gradient_penalty(critic, Tensor(REAL), Tensor(pair.fake), Tensor(1 - pair.mix))
    first = next(m for m in critic.modules() if isinstance(m, Conv2d))
    (gradient,) = grad(penalty, [first.weight])
    arrays = (torch.tensor(x) for x in (REAL, pair.fake, pair.mix))
    wanted = torch_eager.gradient_penalty(theirs, *arrays)
    close(penalty.data, wanted.detach())
    wanted.backward()
    layer = next(m for m in theirs if isinstance(m, nn.Conv2d))
    close(gradient.data.transpose(3, 2, 0, 1), layer.weight.grad)


def test_a_generator_update_has_the_loss_and_the_gradients_of_ours(pair, recipe, monkeypatch):
    (generator, critic), gan = pair.ours, pair.gan
    loss = objective(fg.recipes[recipe].objective).generator(critic(generator(Tensor(pair.z))))
    gradients = grad(loss, generator.parameters())
    gan.ones = torch.ones(BATCH, 1)
    monkeypatch.setattr(gan, "_noise", lambda: torch.tensor(pair.z))
    close(loss.data, gan._train_generator())
    same_gradients(generator, gradients, gan.generator, made=FLAT[recipe][0])


def same_gradients(network, gradients, theirs, **flat):
    """Compare them in PyTorch's form, by copying ours over a twin of its network as if they were parameters."""
    twin = deepcopy(theirs)
    for p, g in zip(network.parameters(), gradients, strict=True):
        p.data[...] = g.data
    copy(network, twin, **flat)
    for p, wanted in zip(twin.parameters(), theirs.parameters(), strict=True):
        close(p.detach().numpy(), wanted.grad)


def test_only_pytorchs_eager_step_has_convolutions(recipe):
    modules = ("torch_eager", "torch_graph", "torch_compiled", "jax_jit", "autograd_numpy")
    assert [m for m in modules if peers.runs(m, recipe)] == ["torch_eager", "torch_graph"]
    for module in (jax_jit, torch_compiled):
        with pytest.raises(fg.errors.UsageError, match="does not run"):
            module.make(recipe, REAL)
    assert torch_graph.RECIPES == torch_eager.RECIPES


def test_critic_weights_get_no_gradient_in_the_generators_update(recipe):
    peer = torch_eager.Gan(peers.ALL[recipe], REAL, seed=0)
    peer.train_critic = lambda: torch.tensor(0.0)
    peer.step()
    assert all(p.grad is None for p in peer.critic.parameters())
    assert all(p.grad is not None for p in peer.generator.parameters())


def test_images_reach_the_peers_in_the_range_of_the_recipe(recipe):
    grey = np.array([0, 255] * 392, np.uint8).reshape(1, 28, 28, 1)
    data = training.floats(grey, peers.ALL[recipe].low)
    assert (data.dtype, data.shape) == (np.float32, (1, 784))
    np.testing.assert_allclose(data[0, :2], (fg.recipes[recipe].low, fg.recipes[recipe].high), atol=1e-6)
