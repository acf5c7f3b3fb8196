"""Small result files of `fastgan bench`, made up: every number in them can be checked by hand."""

HOST = {
    "cpu": "Abacus 9000",
    "cores": 2,
    "memory_bytes": 8_000_000_000,
    "gpu": None,
    "driver": "",
    "system": "Linux",
}


def seconds(*blocks, spread=0.0):
    """Times whose rounds have these medians; percentiles are `spread` of the median to either side."""
    middle = sorted(blocks)[len(blocks) // 2]
    return {
        "median": middle,
        "low": middle * (1 - spread),
        "high": middle * (1 + spread),
        "fastest": middle * (1 - spread),
        "chunks": 3 * len(blocks),
        "asking": middle,
        "device": None,
        "blocks": list(blocks),
    }


def row(name, column, blocks=(), *, device="cpu", spread=0.0, **more):
    """`name` is suite/group/case; without blocks there is no time."""
    suite, group, case = name.split("/")
    return {
        "suite": suite,
        "group": group,
        "case": case,
        "column": column,
        "device": device,
        "shape": {"batch": 64},
        "bytes": 0,
        "flops": 0,
        "seconds": seconds(*blocks, spread=spread) if blocks else None,
        "first": 0.5,
        "making": 0.1,
        "launches": None,
        "ceiling": None,
        "percent": None,
        "extra": {},
    } | more


def results(*rows, **more):
    """A result file of a CPU; `more` replaces what its head says."""
    return {
        "format": "fastgan-bench",
        "version": 1,
        "device": "Abacus 9000, 2 cores",
        "machine": dict(HOST),
        "versions": {"python": "3.11.7", "numpy": "2.4.6", "torch": "2.13.0", "jax": "not installed"},
        "threads": {"cores": 2, "BLAS": 2, "torch": 2, "environment": {}},
        "arithmetic": "float32 throughout, TF32 off everywhere",
        "data": "in memory before the first step",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "when": "2026-01-02T03:04:05Z",
        "command": "fastgan bench --suite steps",
        "size": "full",
        "suites": ["steps"],
        "columns": {"cpu-kernels": "fastgan", "torch": "PyTorch eager"},
        "absent": {"jax": "jax is not installed"},
        "ceilings": {"cpu": {"copy": 1e10, "gemm": 1e11}},
        "selftest": {"passed": True, "lines": []},
        "rows": list(rows),
        "notes": [],
        "problems": [],
        "finished": True,
        "seconds": 12.0,
    } | more
