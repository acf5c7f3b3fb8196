"""Which code runs: kernels where they fit, in steps of every kind, and array code where they do not."""

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_runs import Arrays, kernel, names
from tables.fusables import OF, Draw
from tiny import samples, tiny

import fastgan as fg
from fastgan import ops, random
from fastgan.dispatch import Fusable, use_kernels
from fastgan.gan.objectives import gradient_penalty
from fastgan.kernels.splitting import over
from fastgan.nn import BatchNorm, LeakyReLU, Linear, Sequential
from fastgan.optim import Adam, RMSProp
from fastgan.tape import Tensor, grad

ON_CPU = names("numpy")
UPDATES = ("adam_update", "rmsprop_update")


class Spies:
    """How often each kernel was called, and each array code, by the kernel's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel, self.plain = dict.fromkeys(ON_CPU, 0), dict.fromkeys(ON_CPU, 0)
        for name in ON_CPU:
            fusable = OF[name]
            monkeypatch.setitem(fusable.kernels, np.ndarray, self._counted(kernel(name), name, self.kernel))
            monkeypatch.setattr(fusable, "plain", self._counted(fusable.plain, name, self.plain))

    @staticmethod
    def _counted(code: Any, name: str, counts: dict[str, int]) -> Any:
        def counted(*operands: Any, **settings: Any) -> Any:
            counts[name] += 1
            return code(*operands, **settings)

        return counted

    def ran(self) -> tuple[set[str], set[str]]:
        """Names of the kernels that were called, and of the array code."""
        return {name for name, n in self.kernel.items() if n}, {name for name, n in self.plain.items() if n}


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> Spies:
    return Spies(monkeypatch)


def train() -> tuple[Arrays, list[float]]:
    """Two WGAN-GP steps with Adam for the critic and RMSProp for the generator: parameters and losses."""
    critic = Sequential(Linear(6, 33), LeakyReLU(0.2), Linear(33, 17), LeakyReLU(0.2), Linear(17, 1), seed=1)
    generator = Sequential(Linear(5, 19), LeakyReLU(0.0), Linear(19, 6), seed=2)
    # a large epsilon: where a gradient is 0 but for rounding, an adaptive step is the sign of that rounding
    settings = {"lr": 1e-3, "eps": 1e-3}
    critic_optimizer, generator_optimizer = Adam(critic, **settings), RMSProp(generator, **settings)
    losses = []
    for step in range(2):
        z = Tensor(random.normal((9, 5), seed=0, stream=1, step=step))
        real = Tensor(random.normal((9, 6), seed=0, stream=2, step=step))
        epsilon = Tensor(random.uniform((9, 1), seed=0, stream=3, step=step))
        fake = generator(z)
        penalty = gradient_penalty(critic, real, fake.detach(), epsilon) * 10.0
        critic_loss = critic(fake.detach()).mean() - critic(real).mean() + penalty
        grad(critic_loss, critic.parameters(), out=critic_optimizer.gradients, allow_unused=True)
        critic_optimizer.step()
        generator_loss = -critic(generator(z)).mean()
        grad(generator_loss, generator.parameters(), out=generator_optimizer.gradients)
        generator_optimizer.step()
        losses += [critic_loss.item(), generator_loss.item()]
    return [critic_optimizer.flat.buffer, generator_optimizer.flat.buffer], losses


def steps(name: str, spies: Spies) -> tuple[set[str], set[str]]:
    """What a step of a recipe, or `train`, ran."""
    if name == "tape":
        train()
        return spies.ran()
    recipe = tiny(name) if name in RUN else fg.recipes[name].replace(batch=8, log_every=2)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
    for counts in (spies.kernel, spies.plain):
        counts.update(dict.fromkeys(counts, 0))
    trainer.fit(1)
    return spies.ran()


LAYERS = {"forward", "backward", "score_loss", "assemble"}
RUN = {  # what steps run
    "tape": {"matmul", "forward", "backward", "activation_grad", "fill_normal", "fill_uniform", *UPDATES},
    "wgan-gp-mlp": {
        *LAYERS,
        "fill_uniform",
        "tangent",
        "weight_gradients",
        "head_loss",
        "penalty",
        "adam_update",
    },
    "keras-mlp": {*LAYERS, "fill_normal", "norm_forward", "norm_backward", "adam_update"},
    "wgan-mlp": {*LAYERS, "fill_normal", "rmsprop_update"},
}
LEFT = {
    "tape": {"backward"},
    "cs231n-dcgan": {"sum_to"},
}  # some of which array code does: a broadcast v, few numbers
BETWEEN = {name for name in ON_CPU if name.startswith(("norm", "max_pool", "sum_to"))}
CONVOLUTIONAL = {name for name in ON_CPU if name.startswith("conv")} | BETWEEN - {"max_pool2d_pick"}


@pytest.mark.parametrize("name", [*RUN, "cs231n-dcgan"])
def test_a_step_runs_its_kernels_and_no_array_code(name: str, spies: Spies) -> None:
    kernels, plain = steps(name, spies)
    assert kernels >= RUN.get(name, CONVOLUTIONAL)
    assert plain <= LEFT.get(name, set())


def test_without_kernels_the_same_step_runs_array_code_alone(spies: Spies) -> None:
    with use_kernels(False):
        kernels, plain = steps("tape", spies)
    assert kernels == set()
    assert plain >= RUN["tape"]


def test_all_kernels_are_run_by_some_step() -> None:
    by_none = {"sgd_update", "max_pool2d_pick"}  # no recipe has them by themselves
    assert {*ON_CPU} == by_none.union(*RUN.values(), CONVOLUTIONAL)


def test_a_step_with_kernels_equals_one_without() -> None:
    parameters, losses = train()
    with use_kernels(False):
        plain_parameters, plain_losses = train()
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5, atol=1e-6)
    for a, b in zip(parameters, plain_parameters, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def batch_norm_net() -> Arrays:
    """A small critic with batch norm and pooling: its score, its penalty's gradients, and the running statistics."""
    draw = Draw(4)
    draws = ((5, 5, 1, 16), (16,), (3, 3, 16, 24), (24,), (600, 1))
    w1, b1, w2, b2, w3 = (Tensor(draw(*s, scale=0.2), requires_grad=True) for s in draws)
    norms = BatchNorm(16), BatchNorm(24)
    x = Tensor(draw(16, 28, 28, 1), requires_grad=True)
    parameters = [w1, b1, w2, b2, w3, *(p for norm in norms for p in (norm.gamma, norm.beta))]

    y = norms[0](ops.conv2d(x, w1, b1, slope=0.2))  # (16, 24, 24, 16)
    y = ops.max_pool2d(y, size=(2, 2), stride=(2, 2))
    y = norms[1](ops.conv2d(y, w2, b2, slope=0.2))  # (16, 10, 10, 24)
    y = ops.max_pool2d(y, size=(2, 2), stride=(2, 2)).reshape(16, 600)
    score = (y @ w3).mean()
    (gx,) = grad(score, [x], create_graph=True)
    loss = score + (gx * gx).sum() * 100
    found = grad(loss, parameters)
    return [score.data, gx.data, *(t.data for t in found), *(a for n in norms for a in (n.mean, n.variance))]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_net_with_batch_norm_has_the_array_codes_gradients(threads: int, spies: Spies) -> None:
    with over(threads):
        got = batch_norm_net()
    assert all(spies.kernel[name] > spies.plain[name] for name in BETWEEN)  # some are left to array code
    with use_kernels(False):
        wanted = batch_norm_net()
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1, abs(b).max()))


def test_a_kernel_is_left_out_where_it_does_not_fit(spies: Spies) -> None:
    x = np.ones((4, 6), np.float32)
    misfits: Arrays = [
        x.astype(np.float64),
        x.T,
        x[:, ::2],
        x[:0],
        np.asfortranarray(x),
        x.astype(np.float16),
    ]
    for y in misfits:
        assert ops.activation_grad(y, y, slope=0.5).dtype == y.dtype
    assert spies.kernel["activation_grad"] == 0
    assert spies.plain["activation_grad"] == len(misfits)
    ops.activation_grad(x, x.astype(np.float64), slope=0.5)
    assert spies.kernel["activation_grad"] == 0
    ops.activation_grad(x, x, slope=0.5)
    assert spies.kernel["activation_grad"] == 1


def test_the_switch_nests_ends_with_an_error_and_is_the_threads_own(spies: Spies) -> None:
    counts, x = spies.kernel, np.ones(3, np.float32)
    key = "activation_grad"

    def call() -> None:
        ops.activation_grad(x, x, slope=0.5)

    with use_kernels(False):
        with use_kernels(True):
            call()
        call()
        other = threading.Thread(target=call)
        other.start()
        other.join()
    assert counts[key] == 2
    with pytest.raises(ZeroDivisionError), use_kernels(False):
        raise ZeroDivisionError
    call()
    assert counts[key] == 3


def test_without_a_cache_folder_kernels_still_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling: Any = import_module("fastgan.kernels.compiling")

    def refuse(**options: Any) -> Any:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available for file")
        return real(**options)

    real = compiling.njit
    monkeypatch.setattr(compiling, "njit", refuse)
    assert compiling.compiled(lambda x: x + 1)(1) == 2


def test_without_numba_array_code_runs_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Fusable(lambda x: x * 2)
    broken.register("numpy", "fastgan.kernels.no_such_module", "double")
    x = np.ones(3, np.float32)
    with pytest.warns(RuntimeWarning, match="array code runs instead"):
        assert broken(x).tolist() == [2, 2, 2]
    assert broken(x).tolist() == [2, 2, 2]


def test_compiled_kernels_are_kept_in_the_users_cache() -> None:
    """Beside the sources they would outlive an uninstall, and hide a later editable install."""
    from fastgan.kernels import cache_folder, dense

    folder = Path(dense._column_sums.stats.cache_path)
    assert folder.is_relative_to(cache_folder())
    assert not folder.is_relative_to(Path(dense.__file__).parent)
