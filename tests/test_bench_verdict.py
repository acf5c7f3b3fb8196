"""What a run says in words: how fast, against what, how sure, and what limits it."""

import bench_files
import bench_results
import pytest
from bench_files import row

from fastgan.benchmarks import verdict

TOY, KERAS = "steps/toy-mlp/toy-mlp", "steps/keras-mlp/keras-mlp"


def said(*rows, **more):
    return verdict.sentences(bench_files.results(*rows, **more))


def step(name, times, rounds=9, **more):
    return [row(name, column, (time,) * rounds, **more) for column, time in times.items()]


def test_a_run_of_steps_says_all_four():
    work = {"ceiling": "gemm", "percent": 40.0}
    lines = said(
        *step(TOY, {"numpy": 0.04, "cpu-kernels": 0.02, "torch": 0.04, "jax": 0.02}, **work),
        *step(KERAS, {"numpy": 0.08, "cpu-kernels": 0.02, "torch": 0.01}, **work | {"ceiling": "copy"}),
    )
    fast, beside, sure, limit = lines
    assert "50 with toy-mlp, 50 with keras-mlp" in fast
    for part in (
        "0.38 of array code's",
        "1.25 of PyTorch's",
        "1.00 of JAX's",
    ):
        assert part in beside
    assert "5 comparisons" in sure
    assert "3 faster, 1 no difference, 1 slower" in sure
    assert "matrix products and convolutions in 1 of 2" in limit
    assert "memory traffic in 1 of 2 recipes, at 40 %" in limit


@pytest.mark.parametrize(
    ("rows", "more", "part"),
    [
        ([], {}, "No training step"),
        ([row("kernels/adam/9", "numpy", (1.0,))], {}, "No training step"),
        ([row(TOY, "cpu-kernels", error="no time left")], {}, "No training step"),
        ([row(TOY, "numpy", (1.0,))], {}, "Nothing that does the same"),
        (step(TOY, {"numpy": 2.0, "cpu-kernels": 1.0}, rounds=4), {}, "1 probably faster"),
        (step(TOY, {"numpy": 2.0, "cpu-kernels": 1.0}), {"selftest": {"passed": False}}, "busy"),
        (
            [row(TOY, "numpy", (1.0,), ceiling="gemm", percent=None)],
            {},
            "1 with toy-mlp",
        ),  # nothing limits it
        ([row(TOY, "cuda-graph", (1.0,), device="cuda")], {}, "the host"),  # asking takes all of it
    ],
)
def test_what_is_missing_or_doubtful_is_said(rows, more, part):
    assert part in " ".join(said(*rows, **more))


def test_the_gpu_counts_where_there_is_one():
    on_gpu, on_cpu = (verdict.steps(bench_results.full(gpu=gpu)) for gpu in (True, False))
    assert {s.own["column"] for s in on_gpu} == {"cuda-graph"}
    assert {s.own["column"] for s in on_cpu} == {"cpu-kernels"}
    assert {name for s in on_gpu for name in s.ratios} == {"cupy", *bench_results.PEERS} - {"autograd"}


def test_a_share_of_more_than_all_is_left_out():
    """The rate was measured while others used the machine."""
    assert "173" not in said(row(TOY, "numpy", (1.0,), ceiling="gemm", percent=173.0))[-1]
