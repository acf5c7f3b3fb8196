"""A result file of `fastgan bench` made up for the report: every suite, every column, as many rows as a run has.

Its times are formulas, so that the same call gives the same file; nothing in it was measured.
"""

import math
from itertools import product

import bench_files

import fastgan as fg

ROUNDS = 7
HOST = ("numpy", "cpu-kernels")
GPU = ("cupy", "cuda-kernels", "cuda-graph")
PEERS = ("torch", "torch-compiled", "torch-graph", "jax", "autograd")
# how long a column takes, and on a CPU when there is no GPU
PACE = {
    "numpy": 9.0,
    "cpu-kernels": 5.0,
    "cupy": 1.9,
    "cuda-kernels": 0.55,
    "cuda-graph": 0.21,
    "torch": 1.1,
    "torch-compiled": 0.7,
    "torch-graph": 0.24,
    "jax": 0.35,
    "autograd": 14.0,
}
SLOWER = "cs231n-lsgan"  # the recipe in which torch-graph is faster
ABOUT = dict.fromkeys(PACE, "what the column is")
KERNELS = {
    "linear_leaky_relu_forward": [(n, 784, 256) for n in (32, 128, 1024)],
    "adam": [(10**k,) for k in (4, 8)],
    "noise": [(12_288,)],
    "batch_sampling": [(128, 784)],
    "conv_backward_weight": [(256, 12, 12, 32)],
}
RUNGS = (("plain", 9.0), ("tape", 7.1), ("fused", 2.2), ("flat Adam", 1.6))


def row(suite, group, case, column, median=None, *, gpu=True, jitter=0.05, **more):
    """A row; with `median` seconds it has times, of the device too where fastgan runs on one."""
    on_gpu = column in GPU or (column in PEERS and gpu and column != "autograd")
    seconds = None
    if median is not None:
        blocks = [median * (1 + jitter * math.sin(k + len(case) + len(column))) for k in range(ROUNDS)]
        seconds = {
            "median": median,
            "low": median * (1 - jitter),
            "high": median * (1 + 2 * jitter),
            "fastest": median * (1 - 2 * jitter),
            "chunks": 3 * ROUNDS,
            "asking": median * (0.07 if column.endswith("graph") else 0.8 if on_gpu else 1.0),
            "device": median * 0.93 if column in GPU else None,
            "blocks": blocks,
        }
    device = "cuda" if on_gpu else "cpu"
    named = {"suite": suite, "group": group, "case": case}  # any characters, a slash too
    return bench_files.row("a/b/c", column, device=device, seconds=seconds) | named | more


def steps(columns, gpu):
    """Every recipe; peers have six of them, and one failed."""
    for number, name in enumerate(fg.recipes):
        for column in columns:
            if column in PEERS and number >= 6:
                continue
            if column == "jax" and number == 3:
                yield row(
                    "steps", name, name, column, gpu=gpu, error="wrong result, not timed: losses are off"
                )
                continue
            pace = PACE[column] * (0.6 if column == "torch-graph" and name == SLOWER else 1.0)
            yield row("steps", name, name, column, 1e-3 * pace * (1 + number % 7), gpu=gpu)


def ideas(columns):
    """The ladder on each device."""
    for network, (rung, pace) in product(("toy-mlp", "seo-numpy"), RUNGS):
        for column in ("numpy", "cupy") if pace > 3 else ("cpu-kernels", "cuda-kernels"):
            if column in columns:
                unit = 1e-4 if column in GPU else 1e-3
                yield row("ideas", network, rung, column, pace * unit, shape={"brings": f"what {rung} is"})
    for network in ("toy-mlp", "seo-numpy"):
        for rung, column, median in (
            ("captured", "cuda-graph", 5e-5),
            ("as trained", "cpu-kernels", 1.65e-3),
        ):
            if column in columns:
                yield row("ideas", network, rung, column, median)


def kernels(columns, gpu):
    """Kernels and two layers."""
    for group, sizes in KERNELS.items():
        for size in sizes:
            bytes = 28 * size[0] if len(size) == 1 else 4 * math.prod(size[:2]) + 4 * math.prod(size[1:])
            flops = 13 * size[0] if len(size) == 1 else 2 * math.prod(size) * (40 if len(size) == 4 else 1)
            flops = flops if group != "batch_sampling" else 0
            yield from kernel("kernels", group, "x".join(map(str, size)), columns, gpu, bytes, flops)
    for group in ("linear_forward_backward", "critic_penalty"):
        yield from kernel("layers", group, "128x784x256", columns, gpu, 3_000_000, 150_000_000)


def kernel(suite, group, case, columns, gpu, bytes, flops):
    for column in columns:
        if column in ("torch-compiled", "torch-graph"):
            continue
        rate, speed = (3e12, 4e13) if column not in HOST and gpu else (2e10, 1.2e11)
        median = (max(bytes / rate, flops / speed) + 2e-6) * (1 + PACE[column] / 5)
        share = {"ceiling": None, "percent": None}
        if column not in PEERS:
            bound = "copy" if bytes / rate >= flops / speed else "gemm"
            share = {"ceiling": bound, "percent": 100 * max(bytes / rate, flops / speed) / median}
        yield row(suite, group, case, column, median, gpu=gpu, bytes=bytes, flops=flops, **share)


def crossover(columns, gpu):
    pairs = (
        (("cpu-kernels", "cuda-graph"), ("numpy", "cupy")) if gpu else (("numpy", "cpu-kernels", "torch"),)
    )
    for names, batch, width in product(pairs, (8, 32, 128, 512), (32, 128, 512, 2048)):
        for column in names:
            fixed, slope = (
                (9e-5, 2e-9) if column in GPU else (2e-5 * PACE[column] / 5, 2e-8 * PACE[column] / 5)
            )
            if gpu or batch * width <= 2**18:
                shape = {"batch": batch, "width": width}
                median = fixed + slope * batch * width
                yield row(
                    "crossover",
                    "toy-mlp",
                    f"batch {batch}, width {width}",
                    column,
                    median,
                    gpu=gpu,
                    shape=shape,
                )


def scaling(columns, gpu):
    sizes = {
        "batch": (16, 64, 256, 1024),
        "width": (64, 256, 1024, 2048),
        "depth": (1, 2, 4, 8),
        "data": (10**3, 10**5),
    }
    names = ("cuda-graph", "cupy", "torch", "cpu-kernels") if gpu else ("cpu-kernels", "torch")
    for group, values in sizes.items():
        for value, column in product(values, names):
            power = {"data": 0.02, "depth": 0.9}.get(group, 0.7)
            extra = (
                {"memory": 2**20 * (8 + value**power)} if column in (names[0], "torch") and value > 16 else {}
            )
            median = 1e-4 * PACE[column] * value**power
            yield row(
                "scaling",
                group,
                f"{group} {value}",
                column,
                median,
                gpu=gpu,
                shape={group: value},
                extra=extra,
            )


def launches():
    for number, name in enumerate(fg.recipes):
        for column, calls in (("cupy", 420), ("cuda-kernels", 31)):
            floor = 2**20 * (1 + number)
            extra = {"bytes": floor * (3.2 if column == "cupy" else 1.15), "floor_bytes": floor}
            yield row("launches", name, "a step", column, launches=calls + 7 * number, extra=extra)


def startup(columns):
    for column, (case, cache) in product(columns, (("cold", "empty"), ("warm", "filled"))):
        if case == "cold" or column in HOST[1:] + GPU:
            slow = 9.0 if case == "cold" and column not in ("numpy", "torch") else 0.4
            times = {"import": 0.6, "making": 0.2, "first_step": slow, "second_step": 0.3, "ten_more": 0.1}
            yield row("startup", "keras-mlp", case, column, first=slow, extra=times | {"cache": cache})


def quality(columns, gpu):
    """A row per seed, of which one never got there."""
    told = {"score_name": "Frechet distance", "threshold": 14.0, "floor": 5.5}
    for name, (column, pace), seed in product(
        ("digits", "keras-mlp"), (("cuda-graph" if gpu else "cpu-kernels", 1.0), ("torch", 2.1)), (1, 2, 3)
    ):
        curve = [[0.5 * pace * k, 90 * math.exp(-0.25 * k) + 8 + seed] for k in range(1, 15)]
        reached = None if (name, column, seed) == ("keras-mlp", "torch", 3) else 4.2 * pace + seed
        extra = {"curve": curve, "seed": seed, "reached": reached, "coverage": 10 - seed}
        yield row("quality-time", name, f"seed {seed}", column, gpu=gpu, extra=told | extra)


def full(*, gpu=True, **more):
    """A finished run of all suites; without a GPU as on two cores, and without peers' graphs."""
    columns = [c for c in PACE if gpu or c not in (*GPU, "torch-graph")]
    found = [
        *kernels(columns, gpu),
        *launches(),
        *ideas(columns),
        *steps(columns, gpu),
        *startup([c for c in columns if c != "cuda-kernels"]),
        *crossover(columns, gpu),
        *scaling(columns, gpu),
        *quality(columns, gpu),
    ]
    return results(*found, gpu=gpu, columns=columns) | more


def results(*rows, gpu=True, columns=tuple(PACE)):
    """A result file with these rows."""
    device = "Abacus H9000" if gpu else "Abacus 9000, 2 cores"
    ceilings = {
        "cpu": {"copy": 2.1e10, "gemm": 1.3e11, "call": 1.1e-6, "how": {"copy": "128 MiB by 1 thread"}}
    }
    if gpu:
        ceilings["cuda"] = {
            "copy": 4.1e12,
            "gemm": 5.1e13,
            "launch": 2.2e-6,
            "spread": {"copy": [4e12, 4.2e12]},
        }
    return {
        "format": "fastgan-bench",
        "version": 1,
        "device": device,
        "machine": {
            "cpu": "Abacus 9000",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "gpu": device if gpu else None,
            "driver": "570.1" if gpu else "none",
            "system": "Linux 6.1 x86_64",
        },
        "versions": {"python": "3.11.7", "fastgan": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
        "threads": {"cores": 2, "BLAS": 2, "torch": 2, "environment": {"OPENBLAS_NUM_THREADS": "1"}},
        "arithmetic": "float32 throughout, TF32 off everywhere",
        "data": "in the device's memory before the first step",
        "commit": "0123456789abcdef0123456789abcdef01234567+",
        "when": "2026-01-02T03:04:05Z",
        "command": "fastgan bench --out results",
        "size": "full",
        "suites": ["kernels", "steps", "crossover", "scaling", "quality-time"],
        "columns": {name: ABOUT[name] for name in columns},
        "absent": {name: "no GPU: no driver" for name in PACE if name not in columns},
        "ceilings": ceilings,
        "selftest": {
            "passed": True,
            "lines": ["work of known length was found within 0.4 %"],
        },
        "rows": list(rows),
        "notes": ["load 0.1 on 2 cores"],
        "problems": [],
        "finished": True,
        "seconds": 512.3,
    }
