"""Which code runs: kernels where they fit, in steps of every kind, and array code where they do not."""

import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kernel_cases import ON_CPU, Arrays, Code
from test_conv_kernels import KERNELS as CONV_KERNELS
from test_tape_kernels import KERNELS as TAPE_KERNELS
from tiny import samples, tiny

import fastgan as fg
from fastgan import ops, optim, random
from fastgan.dispatch import Fusable, use_kernels
from fastgan.gan import batches
from fastgan.gan.objectives import gradient_penalty
from fastgan.nn import LeakyReLU, Linear, Sequential
from fastgan.ops.dense import linear_backward, tangent, weight_gradients
from fastgan.ops.loss import head_loss, penalty
from fastgan.ops.norm import norm_backward, norm_forward
from fastgan.optim import Adam, RMSProp
from fastgan.tape import Tensor, grad
from fastgan.tape.arithmetic import product


class Spies:
    """Counts of calls of kernels and of array code, by the array code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel: dict[Fusable, int] = {}
        self.plain: dict[Fusable, int] = {}
        for fusable, _, module, function in ON_CPU:
            kernel = getattr(import_module(f"fastgan.kernels.{module}"), function)
            monkeypatch.setitem(fusable.kernels, np.ndarray, self._counted(kernel, fusable, self.kernel))
            monkeypatch.setattr(fusable, "plain", self._counted(fusable.plain, fusable, self.plain))

    @staticmethod
    def _counted(code: Code, fusable: Fusable, counts: dict[Fusable, int]) -> Code:
        counts[fusable] = 0

        def counted(*operands: Any, **settings: Any) -> Any:
            counts[fusable] += 1
            return code(*operands, **settings)

        return counted


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> Spies:
    return Spies(monkeypatch)


def train(dtype: Any = np.float32) -> tuple[Arrays, list[float]]:
    """Two WGAN-GP steps with Adam for the critic and RMSProp for the generator: parameters and losses."""
    critic = Sequential(Linear(6, 33), LeakyReLU(0.2), Linear(33, 17), LeakyReLU(0.2), Linear(17, 1), seed=1)
    generator = Sequential(Linear(5, 19), LeakyReLU(0.0), Linear(19, 6), seed=2)
    critic_optimizer, generator_optimizer = Adam(critic, lr=1e-3), RMSProp(generator, lr=1e-3)
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


ON_TAPE = [  # what `train` runs
    product,
    ops.sum_to.forward,  # which it leaves to NumPy: of a few thousand numbers that is as fast
    ops.linear.forward,
    ops.linear_leaky_relu.forward,
    ops.activation_grad.forward,
    random.fill_normal,
    random.fill_uniform,
    optim.adam_update,
    optim.rmsprop_update,
]


def test_a_wgan_gp_step_on_the_tape_runs_its_kernels_and_no_array_code(spies: Spies) -> None:
    train()
    assert {f for f, n in spies.kernel.items() if n} == set(ON_TAPE)
    # NumPy multiplies a broadcast gradient as it is, and adds up a few thousand numbers as fast
    assert {f for f, n in spies.plain.items() if n} <= {ops.sum_to.forward, product}


def test_without_kernels_the_same_step_runs_array_code_alone(spies: Spies) -> None:
    with use_kernels(False):
        train()
    assert sum(spies.kernel.values()) == 0
    assert {f for f, n in spies.plain.items() if n} >= set(ON_TAPE)


CHAINS = {  # recipes, and what only they run
    "wgan-gp-mlp": {tangent, weight_gradients, penalty},
    "keras-mlp": {norm_forward, norm_backward},
    "wgan-mlp": {optim.rmsprop_update},
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_step_by_chains_runs_its_kernels_and_no_array_code(name: str, spies: Spies) -> None:
    trainer = fg.Trainer(tiny(name), samples(tiny(name)), device="cpu")
    spies.kernel.update(dict.fromkeys(spies.kernel, 0))
    spies.plain.update(dict.fromkeys(spies.plain, 0))
    trainer.fit(1)
    ran = {f for f, n in spies.kernel.items() if n}
    assert ran >= CHAINS[name] | {
        ops.linear.forward,
        linear_backward,
        head_loss,
        batches.assemble,
    }
    assert [f.plain.__name__ for f, n in spies.plain.items() if n] == []


def test_all_kernels_are_run_by_some_step() -> None:
    run = {*ON_TAPE, optim.adam_update, ops.linear.forward, linear_backward, head_loss}
    # no recipe has the last three by themselves
    others = {batches.assemble, optim.sgd_update, ops.score_loss.forward, ops.max_pool2d_pick.forward}
    assert {f for f, *_ in ON_CPU} == run.union(others, *CHAINS.values(), CONVOLUTIONAL)


CONVOLUTIONAL = {*CONV_KERNELS, *TAPE_KERNELS} - {ops.max_pool2d_pick.forward}


def test_a_step_with_convolutions_runs_its_kernels(spies: Spies) -> None:
    recipe = fg.recipes["cs231n-dcgan"].replace(batch=8, log_every=2)
    trainer = fg.Trainer(recipe, samples(recipe), device="cpu")
    spies.plain.update(dict.fromkeys(spies.plain, 0))
    trainer.fit(1)
    assert {f for f, n in spies.kernel.items() if n} >= CONVOLUTIONAL
    assert {f for f, n in spies.plain.items() if n} <= {ops.sum_to.forward}  # of few numbers


def test_a_step_with_kernels_equals_one_without() -> None:
    parameters, losses = train()
    with use_kernels(False):
        plain_parameters, plain_losses = train()
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5)
    for a, b in zip(parameters, plain_parameters, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


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
    assert spies.kernel[ops.activation_grad.forward] == 0
    assert spies.plain[ops.activation_grad.forward] == len(misfits)
    ops.activation_grad(x, x.astype(np.float64), slope=0.5)
    assert spies.kernel[ops.activation_grad.forward] == 0
    ops.activation_grad(x, x, slope=0.5)
    assert spies.kernel[ops.activation_grad.forward] == 1


def test_the_switch_nests_ends_with_an_error_and_is_the_threads_own(spies: Spies) -> None:
    counts, x = spies.kernel, np.ones(3, np.float32)
    key = ops.activation_grad.forward

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
