"""The README's tables: made of result files alone, honest where fastgan is slower, and in README.md as made."""

import bench_files
import bench_results
import pytest
from bench_files import row

from fastgan.benchmarks import readme, results
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import crossover, scaling

STEP = "steps/keras-mlp/keras-mlp"


def tables(text):
    """Each table as a list of rows, each a list of cells; the first row is the heading."""
    blocks, last = [], ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not last.startswith("|"):
                blocks.append([])
            blocks[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        last = line
    for head, dashes, *rest in blocks:
        assert set(dashes) == {"---"}
        assert all(len(line) == len(head) == len(dashes) for line in rest)
    return [[block[0], *block[2:]] for block in blocks]


def made(*rows, **more):
    """What is folded."""
    text = readme.block({"a.json": bench_files.results(*rows, **more)})
    assert text.count("<details>") == text.count("</details>") == 1
    return text.partition("</summary>")[2].removesuffix("\n\n</details>")


def only_row(*rows):
    """The one row of the one table, by heading."""
    ((head, line),) = tables(made(*rows))
    return dict(zip(head, line, strict=True))


def test_figures_are_milliseconds_with_their_spread():
    cells = only_row(row(STEP, "numpy", (0.02,), spread=0.1), row(STEP, "cpu-kernels", (0.01,), spread=0.05))
    assert cells == {
        "one step on the CPU, ms": "`keras-mlp`",
        "numpy": "20.0 (18.0 - 22.0)",
        "cpu-kernels": "10.0 (9.5 - 10.5)",
    }


@pytest.mark.parametrize(
    ("ours", "cell"),
    [
        ((1.0,) * 9, "0.50 (0.50 - 0.50)"),
        ((2.2,) * 9, "**slower: 1.10 (1.10 - 1.10)**"),
        ((1.7, 2.2, 2.3), "*no difference*: 1.10 (0.95 - 1.13)"),
        ((1.6, 1.8, 2.8), "*no difference*: 0.90 (0.84 - 1.20)"),
        ((2.0,) * 9, "*no difference*: 1.00 (1.00 - 1.00)"),
        ((2.002,) * 9, "*no difference*: 1.00 (1.00 - 1.00)"),
        ((1.0,) * 4, "*probably faster*: 0.50 (0.50 - 0.50)"),
        ((2.02,) * 9, "**slower: 1.01 (1.01 - 1.01)**"),
    ],
)
def test_slower_is_said_and_same_is_a_spread_around_one(ours, cell):
    found = only_row(row(STEP, "cpu-kernels", ours), row(STEP, "torch", (2.0,) * len(ours)))
    assert found["torch<br>cpu-kernels / torch"] == f"2000 (2000 - 2000)<br>{cell}"


def test_ratios_are_of_rounds():
    found = only_row(row(STEP, "cpu-kernels", (1.0, 9.0, 4.0)), row(STEP, "torch", (2.0, 3.0, 8.0)))
    assert found["torch<br>cpu-kernels / torch"].endswith("<br>*no difference*: 0.50 (0.50 - 2.00)")


def test_columns_stand_in_their_order_and_empty_ones_are_left_out():
    text = made(
        row(STEP, "jax", (1.0,)),
        row(STEP, "torch", (1.0,)),
        row(STEP, "cupy", error="its process ended with signal 11", device="cuda"),
        row(STEP, "autograd", error="nothing to measure: no peer is written for this recipe"),
        row(STEP, "torch-compiled", error="making: it does not compile"),
        row(STEP, "cpu-kernels", (1.0,)),
        row(STEP, "numpy", (1.0,)),
    )
    ((head, _),) = tables(text)
    peers = ["torch<br>cpu-kernels / torch", "jax<br>cpu-kernels / jax"]
    assert head[1:] == ["numpy", "cpu-kernels", *peers]
    assert "- `torch-compiled`, keras-mlp: making: it does not compile" in text.splitlines()
    assert "no peer is written" not in text
    assert "signal 11" not in text  # the file has a problem that says so
    assert COLUMNS["jax"].about in text
    assert COLUMNS["autograd"].about not in text


def test_a_cell_without_a_time_says_what_there_is_instead():
    ok = [
        row("steps/toy-mlp/toy-mlp", name, (1.0,))
        for name in ("numpy", "cpu-kernels", "torch", "jax", "autograd")
    ]
    table = tables(
        made(
            *ok,
            row(STEP, "numpy", error=f"{results.ABSENT}array code takes seconds"),
            row(STEP, "cpu-kernels", error="wrong result, not timed: off"),
            row(STEP, "torch", error=results.OUT_OF_TIME),
            row(STEP, "jax", error="its process ended with signal 11"),
        )
    )[0]
    # jax before autograd; a case that no column has a time for is not shown at all
    assert [line[0] for line in table[1:]] == ["`toy-mlp`"]
    mixed = tables(
        made(
            *ok,
            row(STEP, "numpy", (1.0,)),
            row(STEP, "cpu-kernels", error="wrong result, not timed: off"),
            row(STEP, "torch", error=results.OUT_OF_TIME),
            row(STEP, "jax", error="its process ended with signal 11"),
            row(STEP, "autograd", error=f"{results.ABSENT}no peer"),
        )
    )[0]
    assert mixed[2] == ["`keras-mlp`", "1000 (1000 - 1000)", "wrong", "no time left", "failed", ""]


def test_where_fastgan_as_it_runs_has_no_time_the_ratio_names_what_it_is_of():
    table = tables(
        made(
            row("steps/toy-mlp/toy-mlp", "cpu-kernels", (1.0,) * 9),
            row("steps/toy-mlp/toy-mlp", "torch", (1.0,) * 9),
            row(STEP, "numpy", (3.0,) * 9),
            row(STEP, "torch", (2.0,) * 9),
        )
    )[0]
    assert table[2][-1].endswith("<br>**slower: 1.50 (1.50 - 1.50), numpy**")


def test_too_few_rounds_and_other_rounds_have_no_ratio():
    for rounds in (2, 3):
        found = only_row(row(STEP, "cpu-kernels", (1.0,) * rounds), row(STEP, "torch", (1.0, 1.0)))
        assert found["torch<br>cpu-kernels / torch"] == "1000 (1000 - 1000)"


def test_what_is_seen_is_a_sentence_and_a_table_of_a_few_recipes():
    names = [f"steps/r{n}/r{n}" for n in range(7)]
    rows = [row(name, c, (t,) * 9) for name in names for c, t in (("cpu-kernels", 0.01), ("jax", 0.02))]
    rows += [row(names[0], "numpy", (0.008,) * 9), row("steps/alone/alone", "cpu-kernels", (0.01,))]
    text = readme.block({"a.json": bench_files.results(*rows)}).partition("<details>")[0]
    sentence, _, rest = text.partition("\n")
    for part in ("Abacus 9000, 2 cores", "1.25 of array code's", "0.50 of JAX's"):
        assert part in sentence
    ((head, *lines),) = tables(rest)
    assert head == ["one training step", "fastgan, ms", "fastgan / array code", "fastgan / JAX"]
    assert lines[:2] == [["`r0`", "10.0", "**1.25, slower**", "0.50"], ["`r1`", "10.0", "", "0.50"]]
    assert len(lines) == 5


def test_devices_have_a_table_each_with_ratios_to_peers_on_the_same_device():
    gpu = bench_files.HOST | {"gpu": "NVIDIA Abacus", "cores": 16}
    text = made(
        row(STEP, "numpy", (0.02,) * 9),
        row(STEP, "cpu-kernels", (0.01,) * 9),
        row(STEP, "autograd", (0.04,) * 9),
        *[
            row(STEP, name, (ms / 1e3,) * 9, device="cuda")
            for name, ms in (
                ("cupy", 4),
                ("cuda-kernels", 2),
                ("cuda-graph", 1),
                ("torch", 5),
                ("torch-graph", 2),
            )
        ],
        device="NVIDIA Abacus",
        machine=gpu,
        threads={"cores": 16, "BLAS": 16, "environment": {"OMP_NUM_THREADS": "4"}},
    )
    assert "### NVIDIA Abacus, with 16 cores of Abacus 9000" in text.splitlines()
    assert "threads: BLAS 16, OMP_NUM_THREADS=4" in text
    cuda, cpu = tables(text)
    assert cpu[0][1:] == ["numpy", "cpu-kernels", "autograd<br>cpu-kernels / autograd"]
    assert cuda[0][:4] == ["one step on the GPU, ms", "cupy", "cuda-kernels", "cuda-graph"]
    assert cuda[0][4:] == ["torch<br>cuda-graph / torch", "torch-graph<br>cuda-graph / torch-graph"]
    figures = [part.partition(" (")[0] for cell in cuda[1] for part in cell.split("<br>")]
    assert figures == ["`keras-mlp`", "4.00", "2.00", "1.00", "5.00", "0.20", "2.00", "0.50"]


def test_a_case_that_is_not_its_recipe_says_what_it_is():
    assert only_row(row("steps/dcgan64/dcgan64, batch 8", "numpy", (1.0,)))["one step on the CPU, ms"] == (
        "`dcgan64`, batch 8"
    )


def test_what_the_figures_hold_for_is_said():
    line = made(row(STEP, "numpy", (1.0,)), commit="0123456789abcdef+").splitlines()[-1]
    assert line == (
        "Linux; python 3.11.7, numpy 2.4.6, torch 2.13.0; threads: BLAS 2, torch 2; float32 throughout, TF32 off "
        "everywhere; data in memory before the first step; commit 0123456789ab+, 2026-01-02, "
        "`fastgan bench --suite steps`; timing tried out on known work; benchmarks/results/a.json."
    )
    assert "busy" in made(row(STEP, "numpy", (1.0,)), selftest={"passed": False})


POINTS = ([(8, True)], [(8, False)], [(8, True), (16, False)], [(8, False), (16, True)])


def test_remarks_are_lines_but_those_on_cases_that_are_not_shown():
    text = made(
        row(STEP, "numpy", (1.0,)),
        row("kernels/adam/1e6", "numpy", (1.0,)),
        row("startup/keras-mlp/keras-mlp", "numpy", (1.0,)),
        notes=[
            "the machine was\nbusy",
            "the machine was busy",
            "adam 1e6, numpy: odd",
            crossover.NO_GPU,
            *(crossover.sentence("numpy", "cpu-kernels", points) for points in POINTS),
            scaling.growth(
                "batch", [row("scaling/batch/x", "numpy", (n,), shape={"batch": n}) for n in (1, 2)]
            ),
        ],
        problems=["keras-mlp keras-mlp, cpu-kernels: a | b"],
        finished=False,
        size="quick",
    )
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- The run was not finished: this is what it had measured.",
        "- A run of size quick: fewer rounds, and fewer cases.",
        "- Problem: keras-mlp keras-mlp, cpu-kernels: a / b",
        "- the machine was busy",
    ]


def test_what_each_idea_brought_is_a_row_each():
    def rung(name, column, time, device="cpu"):
        return row(f"ideas/toy-mlp/{name}", column, (time,) * 3, device=device, shape={"brings": f"{name}!"})

    text = made(
        rung("plain", "numpy", 0.04),
        rung("tape", "numpy", 0.05),
        rung("fused", "cpu-kernels", 0.01),
        rung("plain", "cupy", 0.02, "cuda"),
        rung("fused", "cuda-kernels", 0.005, "cuda"),
        rung("captured", "cuda-graph", 0.001, "cuda"),
    )
    (table,) = tables(text)
    heads = [
        "where the speed comes from",
        "",
        "on the GPU, ms",
        "of plain",
        "on the CPU, ms",
        "of plain",
    ]
    assert table[0] == heads
    assert [[cell.partition(" (")[0] for cell in line] for line in table[1:]] == [
        ["`toy-mlp`, plain", "plain!", "20.0", "", "40.0", ""],
        ["`toy-mlp`, tape", "tape!", "", "", "50.0", "1.25"],
        ["`toy-mlp`, fused", "fused!", "5.00", "0.25", "10.0", "0.25"],
        ["`toy-mlp`, captured", "captured!", "1.00", "0.05", "", ""],
    ]
    assert table[3][5] == "0.25 (0.25 - 0.25)"


def test_ideas_without_plain_or_of_other_rounds_do_without_a_spread():
    def table(*rows):
        return tables(made(*rows))[0]

    tape = row("ideas/a/tape", "numpy", (1.0, 1.0))
    assert table(tape)[1] == ["`a`, tape", "", "1000 (1000 - 1000)", ""]
    assert table(row("ideas/a/plain", "numpy", (2.0,)), tape)[2][-1] == "0.50"


def test_time_to_quality_is_a_row_per_recipe_over_its_seeds():
    goal = {"score_name": "Frechet distance", "threshold": 12.5, "floor": 3.25}

    def seed(name, number, column, reached):
        return row(f"quality-time/{name}/seed {number}", column, extra=goal | {"reached": reached})

    (table,) = tables(
        made(
            *(seed("digits", n, "cpu-kernels", x) for n, x in ((1, 30.04), (2, 20.0), (3, 50.0))),
            *(seed("digits", n, "torch", x) for n, x in ((1, 40.0), (2, None), (3, 25.0))),
            row("quality-time/digits/seed 4", "torch", error=results.OUT_OF_TIME),
            seed("other", 1, "torch", None),
            seed("other", 1, "cpu-kernels", 7),
            row("quality-time/none/seed 1", "torch", error=results.OUT_OF_TIME),
        )
    )
    heads = [
        "seconds to a quality: median (least - most)",
        "wanted",
        "real against real",
        "cpu-kernels",
        "torch",
    ]
    assert table == [
        [*heads, "cpu-kernels / torch"],
        [
            *("`digits`", "Frechet distance: 12.5", "3.25", "30.0 (20.0 - 50.0), 3 of 3 seeds"),
            "40.0 (25.0 - not reached), 2 of 4 seeds, 1 no time left",
            "*no difference*: 1.38 (0.75 - 2.00), 2 seeds",
        ],
        ["`other`", "Frechet distance: 12.5", "3.25", "7.0, 1 of 1 seeds", "not reached, 0 of 1 seeds", ""],
    ]


def test_memory_is_that_of_the_largest_size_that_both_have():
    def case(axis, value, column, mib):
        extra = {} if mib is None else {"memory": mib * 2**20}
        return row(f"scaling/{axis}/{axis} {value}", column, (1.0,), shape={axis: value}, extra=extra)

    text = made(
        *(case("batch", n, "cpu-kernels", n) for n in (8, 16, 32)),
        *(case("batch", n, "torch", 4 * n if n < 32 else None) for n in (8, 16, 32)),
        case("width", 64, "cpu-kernels", 3000),
        case("width", 64, "torch", 1000),
        case("depth", 2, "cpu-kernels", 5),
    )
    (table,) = tables(text)
    assert table == [
        ["memory that training `toy-mlp` adds, MiB", "fastgan", "PyTorch", "fastgan / PyTorch"],
        ["batch 16", "16, cpu-kernels", "64, torch", "0.25"],
        ["width 64", "3,000, cpu-kernels", "1,000, torch", "3.00"],
    ]


def test_a_full_run_has_a_section_that_is_short():
    """Launches, first calls and kernels are left to the report."""
    for gpu in (True, False):
        text = readme.block({"a.json": bench_results.full(gpu=gpu)})
        assert "launches" not in text
        assert "startup" not in text
        assert len(text.splitlines()) < 120
        assert len(tables(text)) == (6 if gpu else 5)


def test_nothing_measured_is_said():
    assert readme.block({}) == "No machine was measured yet."
    assert readme.block({"a.json": bench_files.results(row("kernels/a/b", "numpy", (1.0,)))}) == readme.block(
        {}
    )


def test_sections_do_not_depend_on_the_order_in_which_files_come():
    a, b = (bench_files.results(row(STEP, "numpy", (time,))) for time in (1.0, 2.0))
    text = readme.block({"b.json": b, "a.json": a})
    assert text == readme.block({"a.json": a, "b.json": b})
    assert text.index("1000 (") < text.index("2000 (")
