"""On a GPU: every kernel against the array code, every recipe against the CPU, captured steps against eager ones.

The tests marked `gpu` are skipped elsewhere; the others show that what those compare is right.
"""

import gc
from importlib import import_module

import gpu_cases
import numpy as np
import pytest
from gpu_cases import ON_GPU, after, cases, described, faults, placed, widened
from tiny import arrays, samples, tiny

import fastgan as fg
from fastgan import ops
from fastgan.benchmarks.training import is_dense
from fastgan.cli import doctor
from fastgan.device import to_host
from fastgan.dispatch import use_kernels
from fastgan.errors import CaptureError
from fastgan.ops.dense import linear_backward

pytestmark = pytest.mark.slow

gpu = pytest.mark.gpu
BIT_EQUAL = ("wgan-gp-mlp", "keras-mlp")
NAMES = [entry[3] for entry in ON_GPU]
CONV = [name for name, recipe in fg.recipes.items() if not is_dense(recipe.generator)]


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)


def truth(fusable, operands, settings):
    """Array code's results in float32 and in float64, on the CPU."""
    with np.errstate(all="ignore"), use_kernels(False):
        return (
            after(fusable.plain, operands, settings, np.copy),
            after(fusable.plain, operands, settings, widened),
        )


@pytest.mark.parametrize("entry", ON_GPU, ids=NAMES)
def test_the_cases_are_cases(entry):
    """Array code takes them all, and gives what is finite."""
    found = cases(entry[0])
    assert found
    for operands, settings in found:
        plain, exact = truth(entry[0], operands, settings)
        assert faults(plain, plain, exact) == []
        assert all(np.isfinite(x).all() for x in plain)


def test_a_mistake_is_found():
    """In what is returned and in what is written, by little."""
    fusable = linear_backward
    operands, settings = cases(fusable)[0]
    plain, exact = truth(fusable, operands, settings)
    for k in (0, -1):
        wrong = [x.copy() for x in plain]
        wrong[k].flat[-1] += 1e-4 * abs(exact[k]).max()
        assert len(faults(wrong, plain, exact)) == 1
        wrong[k].flat[-1] = np.nan
        assert len(faults(wrong, plain, exact)) == 1
    assert len(faults([x.astype(np.float64) for x in plain], plain, exact)) == len(plain)


@gpu
@pytest.mark.parametrize("entry", ON_GPU, ids=NAMES)
def test_a_kernel_is_as_accurate_as_the_array_code(entry, cupy):
    fusable, _, module, function = entry
    kernel = getattr(import_module(f"fastgan.kernels.{module}"), function)
    found, declined = {}, 0
    for operands, settings in cases(fusable):
        got = after(kernel, operands, settings, lambda x: placed(x, cupy), cupy.asnumpy)
        if got is None:
            declined += 1
        elif wrong := faults(got, *truth(fusable, operands, settings)):
            found[described(operands, settings)] = wrong
    assert found == {}
    assert declined < len(cases(fusable)) / 2


@gpu
@pytest.mark.parametrize("entry", ON_GPU, ids=NAMES)
def test_a_kernel_gives_the_same_bits_again(entry, cupy):
    fusable, _, module, function = entry
    kernel = getattr(import_module(f"fastgan.kernels.{module}"), function)
    for operands, settings in cases(fusable)[:6]:
        first, second = (
            after(kernel, operands, settings, lambda x: placed(x, cupy), cupy.asnumpy) for _ in range(2)
        )
        assert (first is None) == (second is None)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first or [], second or [], strict=True))


@gpu
def test_the_doctor_finds_kernels_right(cupy):
    assert doctor.gpu()[0] == "ok"


@gpu
def test_operands_that_no_kernel_takes_as_they_are(cupy):
    """Misaligned, not contiguous, of another dtype, empty: the answer is right, by a kernel or by array code."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(64, 260)).astype(np.float32)
    x, w, b = (
        base[:, :100],
        rng.normal(size=(100, 36)).astype(np.float32),
        rng.normal(size=36).astype(np.float32),
    )
    wanted = np.maximum(x @ w + b, 0.2 * (x @ w + b))
    flat = cupy.zeros(x.size + 1, np.float32)
    misaligned = flat[1:].reshape(x.shape)
    misaligned[...] = cupy.asarray(np.ascontiguousarray(x))
    assert misaligned.data.ptr % 16
    strided = cupy.asarray(base)[:, :100]
    for there in (misaligned, strided, cupy.asfortranarray(strided), strided.astype(np.float64)):
        got = ops.linear_leaky_relu(
            there, cupy.asarray(w, there.dtype), cupy.asarray(b, there.dtype), slope=0.2
        )
        np.testing.assert_allclose(to_host(got.data), wanted, rtol=1e-4, atol=1e-4)
    empty = ops.linear_leaky_relu(strided[:0], cupy.asarray(w), cupy.asarray(b), slope=0.2)
    assert empty.shape == (0, 36)


@gpu
def test_an_array_of_more_than_2_to_the_31_elements(cupy):
    """Its kernel declines or counts in 64 bits; the far end is what shows."""
    free, _ = cupy.cuda.runtime.memGetInfo()
    size = 2**31 + 8
    if free < 4.5 * 4 * size:
        pytest.skip("needs 39 GB of free GPU memory")
    g, y = cupy.ones(size, np.float32), cupy.full(size, -1, np.float32)
    y[-3:] = 1
    out = ops.activation_grad(g, y, slope=0.25).data
    assert cupy.asnumpy(out[-5:]).tolist() == [0.25, 0.25, 1, 1, 1]
    assert float(out[0]) == float(out[2**31 - 1]) == float(out[2**31]) == 0.25
    del g, y, out
    cupy.get_default_memory_pool().free_all_blocks()


def made(name, device, **settings):
    recipe = tiny(name).replace(log_every=20)
    return fg.Trainer(recipe, samples(recipe), device=device, seed=2, **settings)


def run(name, device, steps, **settings):
    return made(name, device, **settings).fit(steps)


def beside(name, steps, draw):
    """A run on the CPU from parameters that are 1e-6 off."""
    trainer, rng = made(name, "cpu"), np.random.default_rng(draw)
    for x in [*trainer.generator.parameters(), *trainer.critic.parameters()]:
        x.data *= rng.normal(1, 1e-6, x.shape).astype(np.float32)
    return trainer.fit(steps)


def on_host(trainer):
    return {name: to_host(x) for name, x in arrays(trainer).items()}


def apart(a, b):
    """|a - b| / |b| of many arrays together."""
    difference = np.concatenate([(x - y).ravel() for x, y in zip(a, b, strict=True)])
    return float(np.linalg.norm(difference) / np.linalg.norm(np.concatenate([y.ravel() for y in b])))


def weights(trainer, side):
    """Of dense and convolutional layers; a bias that no gradient reaches is made of rounding alone."""
    return [x for name, x in sorted(on_host(trainer).items()) if name.startswith(f"{side}.") and x.ndim >= 2]


@gpu
@pytest.mark.parametrize("name", fg.recipes)
def test_a_run_follows_the_one_on_the_cpu(name, cupy):
    """From one seed, with rounding alone between the two. The limit is far below what the run has moved.

    How far rounding takes a run is seen on the CPU, from starts that are 1e-6 off: most end 1e-6 away. Where a batch
    norm divides by little, Adam makes whole steps of gradients that are rounding alone, and the distance grows from
    step to step: so convolutional recipes make few, and have their own distance as the limit.
    """
    steps = 12 if name in CONV else 100  # both with a graph of several
    start, here, there = made(name, "cpu"), run(name, "cpu", steps), run(name, "cuda", steps)
    others = [beside(name, steps, draw) for draw in range(4)]
    for results, limit in (
        (lambda trainer: weights(trainer, "generator"), 1e-4),
        (lambda trainer: weights(trainer, "critic"), 1e-3),
        (lambda trainer: [trainer.sample(64, seed=1)], 1e-4),
    ):
        wanted = results(here)
        moved = apart(results(start), wanted)
        limit = max(min(limit, moved / 10), 4 * max(apart(results(other), wanted) for other in others))
        assert limit < moved, "any run would do"
        assert apart(results(there), wanted) <= limit


@gpu
@pytest.mark.parametrize("name", fg.recipes)
def test_captured_steps_equal_eager_ones(name, cupy, recwarn):
    """To the last bit: the same kernels on the same numbers."""
    steps = 24 if name in CONV else 50
    captured, eager = run(name, "cuda", steps), run(name, "cuda", steps, capture=False)
    a, b = on_host(captured), on_host(eager)
    assert all(a[key].tobytes() == b[key].tobytes() for key in b)
    assert captured.steps_done == eager.steps_done == steps
    assert captured.metrics()["critic_loss"] == eager.metrics()["critic_loss"]
    assert [str(w.message) for w in recwarn if "no graph" in str(w.message)] == []


@gpu
@pytest.mark.parametrize("name", BIT_EQUAL)
def test_a_thousand_steps_twice_to_the_same_bits(name, cupy):
    first, second = (on_host(run(name, "cuda", 1000)) for _ in range(2))
    assert all(first[key].tobytes() == second[key].tobytes() for key in first)


@gpu
@pytest.mark.parametrize("name", BIT_EQUAL)
def test_memory_stays_as_it_is(name, cupy):
    pool = cupy.get_default_memory_pool()
    trainer = run(name, "cuda", 50)

    def used():
        gc.collect()
        cupy.cuda.runtime.deviceSynchronize()
        return pool.used_bytes(), cupy.cuda.runtime.memGetInfo()[0]

    before = used()
    trainer.fit(450)
    after_all = used()
    assert after_all[0] == before[0]
    assert after_all[1] >= before[1]


def nodes_of_a_step(name):
    """Launches in the captured graph of one step of a recipe, at its own size."""
    recipe = fg.recipes[name].replace(log_every=10)
    rows = np.random.default_rng(0).integers(0, 256, (256, 28, 28, 1), np.uint8)
    trainer = fg.Trainer(recipe, rows, device="cuda", seed=0).fit(8)
    steps, (recording, _) = min(trainer.replay.recordings.items(), key=lambda item: item[0])
    return recording.nodes() / steps


@gpu
@pytest.mark.parametrize(
    ("name", "limit"),
    # the design's: PyTorch's eager step has about 145 launches, this one two critic updates; beside WGAN-GP's critic
    # updates stand noise, three layers of fakes, 13 of the generator's update, and the record of the losses
    # the convolutional ones are counted without a GPU as well (test_conv_steps.py)
    [
        ("keras-mlp", 40),
        ("wgan-gp-mlp", 14 * fg.recipes["wgan-gp-mlp"].critic_steps + 18),
        ("cs231n-dcgan", 265),
        ("igul-mnist-wgan-gp", 720),
    ],
)
def test_launches_of_a_step(name, limit, cupy):
    assert nodes_of_a_step(name) <= limit


@gpu
def test_a_small_function_of_a_user(cupy):
    """Weights that a graph updates in place, an output that is overwritten, and eager work in between."""
    x = fg.tensor(np.ones((4, 3), np.float32), device="cuda")
    w = fg.tensor(np.full((3, 2), 0.5, np.float32), requires_grad=True, device="cuda")

    def step():
        loss = (ops.tanh(x @ w) ** 2).sum()
        (g,) = fg.grad(loss, [w])
        w.data -= 0.1 * g.data
        return loss

    other = w.data.copy()
    captured = fg.capture(step, warmup=2)
    assert captured.recording.nodes() > 0
    losses = []
    for _ in range(5):
        captured()
        noise = cupy.full((64, 64), np.nan, np.float32)  # must not lie where the graph computes
        losses.append(float(captured.outputs.data))
        del noise
    w.data[...] = other
    eager = [float(step().data) for _ in range(7)]
    assert losses == eager[2:]


@gpu
def test_what_cannot_be_captured_is_said_and_leaves_the_gpu_usable(cupy):
    x = fg.tensor(np.ones((4, 4), np.float32), device="cuda")
    with pytest.raises(CaptureError, match="cannot be captured"):
        fg.capture(lambda: float((x * 2).sum().data))
    with pytest.raises(CaptureError, match="nothing in it runs on the GPU"):
        fg.capture(lambda: 1)
    captured = fg.capture(lambda: x * 3)
    captured()
    assert float(captured.outputs.data[0, 0]) == 3


@gpu
def test_cublas_as_array_code(cupy):
    """Where nvmath-python is installed: all four layouts, eagerly and captured."""
    blas = import_module("fastgan.kernels.cuda.blas")
    if reason := blas.available():
        pytest.skip(reason)
    rng = np.random.default_rng(0)
    for m, k, n in ((32, 100, 256), (33, 7, 5)):
        for ta, tb in ((False, False), (True, False), (False, True), (True, True)):
            a = rng.normal(size=(k, m) if ta else (m, k)).astype(np.float32)
            b = rng.normal(size=(n, k) if tb else (k, n)).astype(np.float32)
            wanted = (a.T if ta else a) @ (b.T if tb else b)
            operands, out = (cupy.asarray(a), cupy.asarray(b)), cupy.empty((m, n), np.float32)
            blas.gemm(*operands, out, ta, tb)
            np.testing.assert_allclose(cupy.asnumpy(out), wanted, rtol=1e-4, atol=1e-4)
            captured = fg.capture(lambda o=operands, y=out, t=(ta, tb): blas.gemm(*o, y, *t))
            out[...] = np.nan
            captured()
            np.testing.assert_allclose(cupy.asnumpy(out), wanted, rtol=1e-4, atol=1e-4)


@gpu
def test_schedules_are_measured(cupy, tmp_path, monkeypatch):
    """Each candidate of each form runs, and computes what the built-in choice does."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    measuring = import_module("fastgan.kernels.cuda.measuring")
    monkeypatch.setattr(measuring.dense, "MEASURED", {})
    monkeypatch.setattr(measuring, "LAUNCHES", 3)  # which is fastest does not matter here
    forms = ("forward", "tangent", "backward", "weight_gradients", "forward_norm", "NN", "NT", "TN")
    wanted = [(form, 32, 100, 256) for form in forms]
    table = measuring.measure(wanted)
    assert list(table) == wanted
    assert all(name in measuring.candidates(form) for (form, *_), name in table.items())
    for case in wanted:
        for name in measuring.candidates(case[0]):
            assert 0 < measuring._time(cupy, case, name) < np.inf
    operands, settings = gpu_cases.cases(ops.linear.forward)[0]
    truths = truth(ops.linear.forward, operands, settings)
    for name in measuring.candidates("forward"):
        measuring.dense.MEASURED["forward", *operands[0].shape, operands[1].shape[1]] = name
        got = after(measuring.dense.forward, operands, settings, lambda x: placed(x, cupy), cupy.asnumpy)
        assert faults(got, *truths) == []
