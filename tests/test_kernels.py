"""Kernels against the array code they replace: as accurate, run when they fit, and never when they do not.

A kernel's tolerance is the array code's own error, both measured against the array code in float64.
"""

import inspect
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_conv_kernels import CASES as CONV_CASES
from test_conv_kernels import KERNELS as CONV_KERNELS
from test_tape_kernels import CASES as TAPE_CASES
from test_tape_kernels import KERNELS as TAPE_KERNELS
from test_train import samples as batch_of
from tiny import samples as samples_of
from tiny import tiny

import fastgan as fg
from fastgan import data, fused, ops, optim, random
from fastgan.backend import Fusable, module_of, to_host, use_kernels
from fastgan.losses import FORMULAS, gradient_penalty
from fastgan.nn import LeakyReLU, Linear, Sequential
from fastgan.ops import passes
from fastgan.optim import Adam, RMSProp
from fastgan.tape import Tensor, grad
from fastgan.tape.arithmetic import product

Arrays = list[NDArray[Any]]
Code = Callable[..., Any]

MATRICES = [(1, 1, 1), (3, 5, 7), (33, 1001, 2), (1001, 3, 17), (2, 3, 1025)]
SIZES = [(1,), (5,), (1023,), (4099,), (7, 11), (3, 2, 5, 3)]
DRAW = {"seed": 2**63 + 5, "stream": 3, "step": 2**40 + 1}
ADAM = {"lr": 2e-3, "t": 3, "b1": 0.5, "b2": 0.999, "eps": 1e-8}
RMSPROP = {"lr": 5e-3, "alpha": 0.99, "eps": 1e-8}
SGD = {"lr": 5e-3, "momentum": 0.5}
NORM = {"eps": 1e-3, "momentum": 0.2}
NORMS = [(2, 1), (7, 33), (129, 10), (64, 128), (1000, 3)]
ACTS: list[dict[str, Any]] = [
    {"slope": 1.0},
    {"slope": 0.0},
    {"slope": 0.2},
    {"act": "tanh", "slope": 0.2},  # which tanh has no use for
    {"act": "sigmoid"},
]
WRITTEN = ("gw", "gb", "ggamma", "gbeta", "stats")


def samples(fusable: Fusable) -> list[tuple[Arrays, dict[str, Any]]]:
    """Operands, all float32, and settings for one entry of the table, over ragged shapes."""
    if fusable in (*CONV_KERNELS, *TAPE_KERNELS):
        return [(list(xs), s) for f, xs, s in (*CONV_CASES, *TAPE_CASES) if f is fusable]
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[Any]:
        return rng.normal(size=shape).astype(np.float32)

    dense = [[normal(n, i), normal(i, o), normal(o)] for n, i, o in MATRICES]
    flat = [[normal(*s) for _ in range(4)] for s in SIZES[:4]]
    for xs in flat:
        xs[3] **= 2
    ends = ({}, {"clip": 0.3}, {"follow": 0.1}, {"clip": 0.3, "follow": 0.5})
    plans: dict[Fusable, list[tuple[Arrays, dict[str, Any]]]] = {
        ops.linear.forward: [(xs, {}) for xs in dense],
        ops.linear_leaky_relu.forward: [(xs, {"slope": s}) for xs in dense for s in (0.0, 0.2, 1.0)]
        + [(dense[1], {})],
        ops.leaky_relu_grad.forward: [([normal(*s), normal(*s)], {"slope": 0.2}) for s in SIZES],
        product: [(xs[:2], {}) for xs in dense],
        passes.forward: [(xs, a) for xs in dense for a in ACTS],
        passes.backward: [
            ([normal(n, o), normal(n, i), normal(i, o)], a | more)
            for n, i, o in MATRICES
            for a in ACTS
            for more in ({}, {"gw": (i, o), "gb": (o,)}, {"gw": (i, o), "gb": (o,), "dx": False})
        ],
        passes.weight_gradients: [
            ([normal(n, i), normal(n, o)], {"gw": (i, o), "gb": (o,), "rows": rows})
            for n, i, o in MATRICES
            for rows in {n, 1, n // 2}
        ],
        passes.tangent: [
            ([normal(n, i), normal(i, o), normal(n, o)], {"slope": s})
            for n, i, o in MATRICES
            for s in (0.0, 0.2)
        ],
        passes.norm_forward: [
            ([normal(n, f) + 3, normal(f), normal(f), normal(f), normal(f) ** 2], NORM | more)
            for n, f in NORMS
            for more in ({"stats": (2, f)}, {}, {"training": False}, *ACTS)
        ],
        passes.norm_backward: [
            ([normal(n, f), normal(n, f), normal(f), np.stack([normal(f), normal(f) ** 2])], a | PLACES(f))
            for n, f in NORMS
            for a in ACTS
        ],
        passes.forward_norm: [
            ([normal(n, i), normal(i, o), *(normal(o) ** 2 for _ in range(5))], NORM | {"slope": 0.2} | more)
            for n, i, o in MATRICES
            for more in ({"stats": (2, o)}, {"training": False})
        ],
        passes.score_loss: [([3 * normal(n, 1)], g) for n in (1, 6, 129) for g in groups(n)],
        passes.head_loss: [
            ([normal(n, i), normal(i, 1), normal(1)], g)
            for n, i in ((1, 3), (6, 33), (129, 256))
            for g in groups(n)
        ],
        passes.penalty: [
            ([normal(n, f), normal(n, f)], {"weight": 10.0}) for n, f in (*NORMS, (300, 784), (2, 8259))
        ],
        passes.record: [
            ([normal(5, 2), normal(), normal()], {"step": 13, "scale": 0.5} | more)
            for more in ({}, {"more": np.float32(2).reshape(())})
        ],
        random.fill_normal: [([np.zeros(s, np.float32)], DRAW) for s in SIZES],
        random.fill_uniform: [([np.zeros(s, np.float32)], DRAW | {"low": -2.0, "high": 3.0}) for s in SIZES],
        optim.adam_update: [(xs, ADAM | more) for xs in flat for more in (*ends, {"decay": 0.5})],
        optim.rmsprop_update: [([xs[0], xs[1], xs[3]], RMSPROP | more) for xs in flat for more in ends],
        optim.sgd_update: [(xs[:3], SGD | more) for xs in flat for more in ends],
        data.assemble: [([np.zeros((kinds * 7, 11), np.float32)], more) for kinds, more in batches()],
    }
    return plans[fusable]


def PLACES(f: int) -> dict[str, Any]:
    """Shapes of the arrays that batch norm's backward pass writes."""
    return {"ggamma": (f,), "gbeta": (f,)}


def groups(n: int) -> list[dict[str, Any]]:
    """Each loss alone, and groups of losses over n rows."""
    alone = [{"kinds": (kind,), "counts": (n,)} for kind in passes.SCORE_LOSSES]
    if n < 3:
        return alone
    a = n // 3
    return [
        *alone,
        {"kinds": ("softplus(-s)", "softplus(s)"), "counts": (a, n - a), "weight": 0.5},
        {"kinds": ("-s", "s", "gradient"), "counts": (a, a, n - 2 * a)},
    ]


def batches() -> list[tuple[int, dict[str, Any]]]:
    """Settings of a batch of 7 samples, with the number of kinds of rows."""
    rng = np.random.default_rng(1)
    bytes_, floats = rng.integers(0, 256, (40, 11), np.uint8), rng.normal(size=(40, 11)).astype(np.float32)
    order = np.stack([rng.permutation(40) for _ in range(3)])
    base = {"batch": 7, "seed": 2**63 + 5, "scale": 2 / 255, "offset": -1.0}
    out: list[tuple[int, dict[str, Any]]] = []
    for update in (0, 3, 11, 2**33 + 7):
        for more in (
            {"sampling": "replacement"},
            {"sampling": "sequential"},
            {"sampling": "epochs", "order": order},
        ):
            out.append((1, base | more | {"rows": bytes_, "update": update}))
            fake = rng.normal(size=(7, 11)).astype(np.float32)
            out.append((2, base | more | {"rows": floats, "update": update, "fake": fake}))
            out.append((3, base | more | {"rows": bytes_, "update": update, "fake": fake, "mixed": True}))
    plain = base | {"scale": 1.0, "offset": 0.0, "rows": floats, "update": 1, "sampling": "sequential"}
    return [*out, (1, plain)]


class DeclinedError(Exception):
    """A kernel leaves the operands to the array code."""


def results(code: Code, operands: Arrays, settings: dict[str, Any], xp: Any = np) -> Arrays:
    """What the code returns, and what it left in its operands and in the arrays of its settings.

    A setting that is a shape stands for an array to be written; an average is one where `follow` is set.
    """
    dtype = operands[0].dtype
    copies = [xp.asarray(x.copy()) for x in operands]
    given = dict(settings)
    if given.get("follow"):
        given["average"] = np.ones(operands[0].shape, dtype)
    for name, value in given.items():
        if name in WRITTEN and isinstance(value, tuple):
            given[name] = np.zeros(value, dtype)
        if isinstance(given[name], np.ndarray):
            wide = given[name].dtype == np.float32 and name != "rows"
            given[name] = xp.asarray(given[name].astype(dtype) if wide else given[name])
    y = code(*copies, **given)
    if y is NotImplemented:
        raise DeclinedError
    returned = [] if y is None else list(y) if isinstance(y, tuple) else [y]
    written = [given[name] for name in (*WRITTEN, "average") if name in given]
    return [np.asarray(to_host(a)) for a in (*returned, *copies, *written)]


def entry_name(entry: tuple[Fusable, str, str, str]) -> str:
    return f"{entry[1]}-{entry[3]}"


ENTRIES = [
    pytest.param(entry, id=entry_name(entry), marks=[pytest.mark.gpu] if entry[1] == "cupy" else [])
    for entry in fused.TABLE
]
ON_CPU = [entry for entry in fused.TABLE if entry[1] == "numpy"]


def on_cpu(fusable: Fusable) -> Code:
    """The CPU kernel of an array code."""
    module, function = next((m, f) for code, _, m, f in ON_CPU if code is fusable)
    kernel: Code = getattr(import_module(f"fastgan.kernels.{module}"), function)
    return kernel


@pytest.mark.parametrize("entry", ENTRIES)
def test_as_accurate_as_the_array_code(entry: tuple[Fusable, str, str, str]) -> None:
    fusable, library, module, function = entry
    kernel = getattr(import_module(f"fastgan.kernels.{module}"), function)
    xp = module_of("cpu" if library == "numpy" else "cuda")
    taken = 0
    for operands, settings in samples(fusable):
        exact = results(fusable.plain, [x.astype(np.float64) for x in operands], settings)
        plain = results(fusable.plain, operands, settings)
        try:
            got = results(kernel, operands, settings, xp)
        except DeclinedError:
            continue
        taken += 1
        for k, p, e in zip(got, plain, exact, strict=True):
            assert k.shape == e.shape
            assert k.dtype == np.float32
            assert abs(k - e).max() <= 2 * abs(p - e).max() + 1e-6 * max(1, abs(e).max())
    assert taken >= (1 if library == "numpy" else 0.5) * len(samples(fusable))


def test_a_batch_has_the_array_codes_bits() -> None:
    for operands, settings in samples(data.assemble):
        wanted = results(data.assemble.plain, operands, settings)
        got = results(on_cpu(data.assemble), operands, settings)
        assert np.array_equal(got[0].view(np.uint32), wanted[0].view(np.uint32))


def test_every_host_function_is_in_the_table() -> None:
    """A scalar formula has positional arguments only, a kernel's host function takes its settings by keyword."""
    listed = {(module, function) for _, _, module, function in fused.TABLE}
    for name in {module for module, _ in listed}:
        module = import_module(f"fastgan.kernels.{name}")
        for function, code in inspect.getmembers(module, inspect.isfunction):
            own = code.__module__ == module.__name__ and not function.startswith("_")
            if own and inspect.getfullargspec(code).kwonlyargs:
                assert (name, function) in listed


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
    critic_optimiser, generator_optimiser = Adam(critic, lr=1e-3), RMSProp(generator, lr=1e-3)
    losses = []
    for step in range(2):
        z = Tensor(random.normal((9, 5), seed=0, stream=1, step=step))
        real = Tensor(random.normal((9, 6), seed=0, stream=2, step=step))
        epsilon = Tensor(random.uniform((9, 1), seed=0, stream=3, step=step))
        fake = generator(z)
        penalty = gradient_penalty(critic, real, fake.detach(), epsilon) * 10.0
        critic_loss = critic(fake.detach()).mean() - critic(real).mean() + penalty
        grad(critic_loss, critic.parameters(), out=critic_optimiser.gradients, allow_unused=True)
        critic_optimiser.step()
        generator_loss = -critic(generator(z)).mean()
        grad(generator_loss, generator.parameters(), out=generator_optimiser.gradients)
        generator_optimiser.step()
        losses += [critic_loss.item(), generator_loss.item()]
    return [critic_optimiser.flat.buffer, generator_optimiser.flat.buffer], losses


ON_TAPE = [  # what `train` runs
    product,
    ops.sum_to.forward,  # which it leaves to NumPy: of a few thousand numbers that is as fast
    ops.linear.forward,
    ops.linear_leaky_relu.forward,
    ops.leaky_relu_grad.forward,
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
    "wgan-gp-mlp": {passes.tangent, passes.weight_gradients, passes.penalty},
    "keras-mlp": {passes.norm_forward, passes.norm_backward},
    "wgan-mlp": {optim.rmsprop_update},
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_step_by_chains_runs_its_kernels_and_no_array_code(name: str, spies: Spies) -> None:
    trainer = fg.Trainer(tiny(name), batch_of(tiny(name)), device="cpu")
    spies.kernel.update(dict.fromkeys(spies.kernel, 0))
    spies.plain.update(dict.fromkeys(spies.plain, 0))
    trainer.fit(1)
    ran = {f for f, n in spies.kernel.items() if n}
    assert ran >= CHAINS[name] | {
        passes.forward,
        passes.backward,
        passes.head_loss,
        data.assemble,
    }
    assert [f.plain.__name__ for f, n in spies.plain.items() if n] == []


def test_all_kernels_are_run_by_some_step() -> None:
    run = {*ON_TAPE, optim.adam_update, passes.forward, passes.backward, passes.head_loss}
    # no recipe has the last three by themselves
    others = {data.assemble, optim.sgd_update, passes.score_loss, ops.max_pool2d_pick.forward}
    assert {f for f, *_ in ON_CPU} == run.union(others, *CHAINS.values(), CONVOLUTIONAL)


CONVOLUTIONAL = {*CONV_KERNELS, *TAPE_KERNELS} - {ops.max_pool2d_pick.forward}


def test_a_step_with_convolutions_runs_its_kernels(spies: Spies) -> None:
    recipe = fg.recipes["cs231n-dcgan"].replace(batch=8, log_every=2)
    fg.Trainer(recipe, samples_of(recipe), device="cpu").fit(1)
    assert {f for f, n in spies.kernel.items() if n} >= CONVOLUTIONAL


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
        assert ops.leaky_relu_grad(y, y, slope=0.5).dtype == y.dtype
    assert spies.kernel[ops.leaky_relu_grad.forward] == 0
    assert spies.plain[ops.leaky_relu_grad.forward] == len(misfits)
    ops.leaky_relu_grad(x, x.astype(np.float64), slope=0.5)
    assert spies.kernel[ops.leaky_relu_grad.forward] == 0
    ops.leaky_relu_grad(x, x, slope=0.5)
    assert spies.kernel[ops.leaky_relu_grad.forward] == 1


def test_the_switch_nests_ends_with_an_error_and_is_the_threads_own(spies: Spies) -> None:
    counts, x = spies.kernel, np.ones(3, np.float32)
    key = ops.leaky_relu_grad.forward

    def call() -> None:
        ops.leaky_relu_grad(x, x, slope=0.5)

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


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("kernels", [True, False])
def test_a_gradient_that_is_not_a_number_stays_visible(kernels: bool, clip: float) -> None:
    p, g, m, v = (np.ones(3, np.float32) for _ in range(4))
    g[1] = np.nan
    with use_kernels(kernels):
        optim.adam_update(p, g, m, v, lr=0.1, t=5, b1=0.9, b2=0.999, eps=1e-8, clip=clip)
        assert np.isnan(p).tolist() == [False, True, False]
        optim.rmsprop_update(p, g, v, lr=0.1, alpha=0.9, eps=1e-8, clip=clip)
        assert np.isnan(p).tolist() == [False, True, False]
        x = Tensor(np.array([[np.nan, 1]], np.float32))
        y = ops.linear_leaky_relu(x, Tensor(np.eye(2, dtype=np.float32)), Tensor(np.zeros(2, np.float32)))
        assert np.isnan(y.data).all()


def misfits() -> list[tuple[Fusable, Arrays, dict[str, Any]]]:
    """Operands and settings that a CPU kernel would read or write past the end of, or in another dtype or order."""

    def zeros(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    out: list[tuple[Fusable, Arrays, dict[str, Any]]] = []
    v, a, w, frozen = zeros(4, 3), zeros(4, 2), zeros(2, 3), zeros(3)
    frozen.flags.writeable = False
    fit = {"gw": zeros(2, 3), "gb": zeros(3)}
    for bad in (
        {"gb": zeros(9)},
        {"gb": zeros(3, dtype=np.float64)},
        {"gb": zeros(6)[::2]},
        {"gb": frozen},
        {"gb": None},
        {"gw": zeros(3, 2).T},
        {"gw": zeros(9, 9)},
    ):
        out.append((passes.backward, [v, a, w], fit | bad))
        out.append((passes.weight_gradients, [a, v], fit | bad | {"rows": 4}))
    out.append((passes.weight_gradients, [a, v], fit | {"rows": -1}))
    out.append((passes.weight_gradients, [zeros(5, 2), v], fit | {"rows": 4}))
    out.append((passes.tangent, [v, zeros(3, 2), zeros(3, 2)], {"slope": 0.2}))
    out += [(passes.forward, [a, w, zeros(2)], {}), (passes.forward, [a, w, zeros(3)], {"act": "sine"})]
    out.append((passes.forward, [a, w, zeros(3)], {"slope": 1.5}))
    for k in range(1, 5):
        out.append((passes.norm_forward, [zeros(2) if i == k else v[i % 4] for i in range(5)], NORM))
        out[-1][1][0] = v
    out.append((passes.norm_forward, [v, *v], NORM | {"stats": zeros(3, 2)}))
    places = {"ggamma": zeros(3), "gbeta": zeros(3)}
    out.append((passes.norm_backward, [v, v, v[0], zeros(2, 2)], places))
    out.append((passes.norm_backward, [v, v, zeros(2), zeros(2, 3)], places))
    for name in places:
        out.append((passes.norm_backward, [v, v, v[0], zeros(2, 3)], places | {name: zeros(2)}))
    losses = {"kinds": ("s", "-s"), "counts": (2, 2)}
    for bad in ({"counts": (2, 3)}, {"counts": (5, -1)}, {"counts": (4, 0)}, {"kinds": ("s",)}):
        out.append((passes.score_loss, [zeros(4, 1)], losses | bad))
    out.append((passes.score_loss, [zeros(4, 1)], losses | {"kinds": ("s", "s^3")}))
    out.append((passes.head_loss, [v, zeros(4, 1), zeros(1)], losses))
    out.append((passes.penalty, [v, zeros(4, 2)], {"weight": 1.0}))
    updates: list[tuple[Fusable, int, dict[str, Any]]] = [
        (optim.adam_update, 4, ADAM),
        (optim.rmsprop_update, 3, RMSPROP),
        (optim.sgd_update, 3, SGD),
    ]
    for update, n, settings in updates:
        flat = [np.ones(9, np.float32) for _ in range(n)]
        out += [(update, [zeros(8) if i == k else flat[i] for i in range(n)], settings) for k in range(n)]
        for average in (zeros(8), zeros(9, dtype=np.float64), zeros(18)[::2]):
            out.append((update, flat, settings | {"average": average, "follow": 0.1}))
    return out + [(data.assemble, [zeros(n, 3)], batch | bad) for n, batch, bad in bad_batches()]


def bad_batches() -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Rows of the result, good settings for them, and what is wrong with one of these."""
    rows, fake = np.ones((9, 3), np.float32), np.ones((4, 3), np.float32)
    good = {"rows": rows, "batch": 4, "scale": 2.0, "offset": 0.0, "seed": 1, "update": 1}
    epochs = good | {"sampling": "epochs"}
    order = np.arange(9)[None]
    return [
        (4, good, {"rows": rows.T.copy().T}),
        (4, good, {"rows": rows.astype(np.float64)}),
        (4, good, {"rows": rows[:, :2].copy()}),
        (4, good, {"seed": 2**64}),
        (3, good, {}),
        (4, good, {"fake": fake}),
        (8, good, {"mixed": True}),
        (12, good, {"mixed": True}),
        (8, good, {"fake": fake[:3]}),
        (8, good, {"fake": fake.astype(np.float64)}),
        (12, good, {"batch": 12, "sampling": "sequential"}),
        (4, epochs, {"order": order + 5}),
        (4, epochs, {"order": order - 9}),
        (4, epochs, {"order": order[:, :8]}),
        (4, epochs, {"order": order.astype(np.float32)}),
    ]


def test_what_would_pass_the_end_of_an_array_is_left_to_the_array_code() -> None:
    for fusable, operands, settings in misfits():
        arrays = [*operands, *(x for x in settings.values() if isinstance(x, np.ndarray))]
        before = [x.copy() for x in arrays]
        assert on_cpu(fusable)(*operands, **settings) is NotImplemented
        assert all(np.array_equal(x, y) for x, y in zip(arrays, before, strict=True))


@pytest.mark.parametrize("kernels", [True, False])
def test_an_activation_or_a_loss_of_no_number_is_no_number(kernels: bool) -> None:
    x = np.array([[np.nan, -np.inf, np.inf, -1.0]], np.float32)
    with use_kernels(kernels):
        for act, finite in (({"slope": 0.0}, [0, np.inf, 0]), ({"act": "sigmoid"}, [0, 1, 1 / (1 + np.e)])):
            gamma, beta, mean, variance = np.repeat(np.float32([[1], [0], [0], [1]]), 4, axis=1)
            operands = x, gamma, beta, mean, variance
            y = passes.norm_forward(*operands, eps=0.0, training=False, **act)
            assert np.isnan(y[0, 0])
            np.testing.assert_allclose(y[0, 1:], finite, rtol=1e-6)
        for kind in passes.SCORE_LOSSES[:-1]:
            loss, d = passes.score_loss(x[:, :1].copy(), kinds=(kind,), counts=(1,))
            assert np.isnan(loss)
            assert loss.shape == ()
            assert loss.dtype == d.dtype == np.float32


@pytest.mark.parametrize("code", [optim.adam_update, optim.rmsprop_update, optim.sgd_update])
def test_an_update_moves_only_parameters_and_state(code: Fusable) -> None:
    operands, settings = samples(code)[0]
    for implementation in (code, code.plain):
        copies = [x.copy() for x in operands]
        implementation(*copies, **settings)
        assert np.array_equal(copies[1], operands[1])
        assert not any(np.array_equal(copies[i], operands[i]) for i in range(len(copies)) if i != 1)


@pytest.mark.parametrize("shapes", [((3, 1), (3, 4)), ((3, 4), (3, 1)), ((4,), (3, 4)), ((2, 4), (3, 4))])
def test_unequal_shapes_give_the_array_codes_answer_or_an_error(shapes: tuple[tuple[int, ...], ...]) -> None:
    g, y = (np.random.default_rng(0).normal(size=s).astype(np.float32) for s in shapes)
    try:
        wanted = ops.leaky_relu_grad.forward.plain(g, y, slope=0.5)
    except ValueError:
        wanted = None
    if wanted is None:
        with pytest.raises(ValueError, match="leaky_relu_grad"):
            ops.leaky_relu_grad(g, y, slope=0.5)
    else:
        assert np.array_equal(ops.leaky_relu_grad(g, y, slope=0.5).data, wanted)


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

    folder = Path(dense._leaky_grad.stats.cache_path)
    assert folder.is_relative_to(cache_folder())
    assert not folder.is_relative_to(Path(dense.__file__).parent)


def test_losses_have_one_list() -> None:
    """Kernels import nothing of ours, so theirs is written twice; numbers in it are what a kernel is given."""
    kernels_list = import_module("fastgan.kernels.loss").KINDS
    assert kernels_list == passes.SCORE_LOSSES
    assert set(FORMULAS) | {"gradient"} == set(kernels_list)
