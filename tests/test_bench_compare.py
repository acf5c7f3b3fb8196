"""Comparing result files: a change is one that the spreads do not explain, and is shown beside the peers' change."""

import bench_files
import pytest
from bench_files import row

from fastgan.benchmarks import results
from fastgan.benchmarks.compare import compare, main_text, share, text
from fastgan.errors import UsageError

STEP, OTHER = "steps/keras-mlp/keras-mlp", "steps/toy-mlp/toy-mlp"


def one(old, new, **more):
    """The change of one time into another."""
    (change,) = compare(
        bench_files.results(row(STEP, "cpu-kernels", (old,), **more)),
        bench_files.results(row(STEP, "cpu-kernels", (new,), **more)),
    )
    return change


def beside(own, torch, **more):
    """The change where a peer changed too; each is (old, new)."""
    (change,) = compare(
        *(
            bench_files.results(
                row(STEP, "cpu-kernels", (own[i],), **more), row(STEP, "torch", (torch[i],), **more)
            )
            for i in (0, 1)
        )
    )
    return change


def saved(tmp_path, *files):
    paths = [tmp_path / f"{number}.json" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        results.write(content, path)
    return paths


@pytest.mark.parametrize(
    ("old", "new", "spread", "verdict"),
    [
        (1.0, 1.2, 0.05, "slower"),
        (1.0, 1.2, 0.15, "same"),  # 1.02 to 1.38 against 0.85 to 1.15
        (1.2, 1.0, 0.05, "faster"),
        (1.2, 1.0, 0.15, "same"),
        (1.0, 1.04, 0.0, "same"),  # less than the threshold
        (1.0, 1.06, 0.0, "slower"),
        (1.06, 1.0, 0.0, "faster"),
        (1.04, 1.0, 0.0, "same"),
        (1.0, 1.0, 0.0, "same"),
    ],
)
def test_a_change_is_one_that_the_spreads_do_not_explain(old, new, spread, verdict):
    change = one(old, new, spread=spread)
    assert change.verdict == verdict
    assert change.ratio == pytest.approx(new / old)
    assert change.name == f"{STEP}, cpu-kernels"
    assert change.beside is None


def test_the_threshold_is_an_argument():
    files = [bench_files.results(row(STEP, "numpy", (time,))) for time in (1.0, 1.06)]
    assert [change.verdict for change in compare(*files)] == ["slower"]
    assert [change.verdict for change in compare(*files, threshold=0.1)] == ["same"]


def test_peers_have_no_change_of_their_own():
    assert beside((1.0, 1.0), (1.0, 2.0)).column == "cpu-kernels"


def test_a_change_is_shown_beside_the_change_of_the_peers():
    change = beside((1.0, 1.2), (2.0, 2.5))
    assert change.verdict == "slower"
    assert change.peers == {"torch": pytest.approx(1.25)}
    assert change.beside == pytest.approx(0.96)


def test_the_change_beside_a_peer_is_taken_round_by_round():
    old = bench_files.results(row(STEP, "cpu-kernels", (1.0, 2.0, 9.0)), row(STEP, "torch", (1.0, 2.0, 9.0)))
    new = bench_files.results(row(STEP, "cpu-kernels", (1.0, 9.0, 4.0)), row(STEP, "torch", (2.0, 3.0, 8.0)))
    (change,) = compare(old, new)
    assert change.beside == pytest.approx(0.5)  # of medians it would be 4/3


def test_a_peer_on_another_device_says_nothing():
    files = [
        bench_files.results(
            row(STEP, "cpu-kernels", (1.0,)),
            row(STEP, "torch", (1.0,), device=device),
            row(STEP, "jax", error="x"),
        )
        for device in ("cpu", "cuda")
    ]
    (change,) = compare(*files)
    assert change.peers == {}
    assert change.beside is None


@pytest.mark.parametrize("error", [results.OUT_OF_TIME, f"{results.ABSENT}no such kernel here"])
def test_a_case_that_breaks_is_broken_and_one_that_is_nobodys_fault_is_not(error):
    old = bench_files.results(row(STEP, "cpu-kernels", (1.0,)), row(OTHER, "cpu-kernels", (1.0,)))
    new = bench_files.results(
        row(STEP, "cpu-kernels", error="wrong result, not timed: off"),
        row(OTHER, "cpu-kernels", error=error),
    )
    broken, late = compare(old, new)
    assert (broken.key[1], broken.verdict, broken.fails(9.0)) == ("keras-mlp", "broken", True)
    assert (late.key[1], late.verdict, late.fails(0.0)) == ("toy-mlp", "only in old", False)
    assert f"broken: {STEP}, cpu-kernels: wrong result, not timed: off" in text([broken, late], old, new)


def test_cases_of_one_file_only_are_named():
    old = bench_files.results(row(STEP, "numpy", (1.0,)), row(OTHER, "numpy", (1.0,)))
    new = bench_files.results(row(STEP, "numpy", (1.0,)), row("steps/new/new", "numpy", (1.0,)))
    changes = compare(old, new)
    assert [(change.key[1], change.verdict) for change in changes] == [
        ("keras-mlp", "same"),
        ("new", "only in new"),
        ("toy-mlp", "only in old"),
    ]
    lines = text(changes, old, new).splitlines()
    assert f"only in old: {OTHER}, numpy" in lines
    assert "only in new: steps/new/new, numpy" in lines


def test_a_suite_of_one_file_only_is_named_once():
    old = bench_files.results(
        *[row(f"kernels/adam/{n}", "numpy", (1.0,)) for n in range(9)], row(STEP, "numpy", (1.0,))
    )
    new = bench_files.results(row(STEP, "numpy", (1.0,)))
    assert "only in old: all of kernels (9)" in text(compare(old, new), old, new).splitlines()


def test_cases_of_a_suite_that_both_have_are_named_one_by_one():
    old = bench_files.results(*[row(f"kernels/adam/{n}", "numpy", (1.0,)) for n in (4, 5, 6)])
    new = bench_files.results(row("kernels/adam/6", "numpy", (1.0,)))
    expected = "only in old: kernels/adam/4, numpy; kernels/adam/5, numpy"
    assert expected in text(compare(old, new), old, new).splitlines()


def test_a_case_of_another_shape_is_another_case():
    old = bench_files.results(row(STEP, "numpy", (1.0,), shape={"batch": 8}))
    new = bench_files.results(row(STEP, "numpy", (9.0,), shape={"batch": 64}))
    assert [change.verdict for change in compare(old, new)] == ["only in old", "only in new"]


def test_different_machines_are_refused_unless_asked():
    old = bench_files.results(row(STEP, "numpy", (1.0,)))
    new = bench_files.results(
        row(STEP, "numpy", (2.0,)), device="Slide rule", machine=bench_files.HOST | {"cpu": "Slide rule"}
    )
    with pytest.raises(
        UsageError,
        match=r"different machines, Abacus 9000, 2 cores and Slide rule: CPU Abacus 9000 and Slide rule; .*--across",
    ):
        compare(old, new)
    changes = compare(old, new, across_machines=True)
    first = text(changes, old, new).splitlines()[0]
    assert first == "DIFFERENT MACHINES, Abacus 9000, 2 cores and Slide rule: CPU Abacus 9000 and Slide rule"
    assert "DIFFERENT" not in text(compare(old, old), old, old)


def test_different_sizes_are_refused():
    with pytest.raises(UsageError, match="'quick' and the other of 'full'"):
        compare(bench_files.results(size="quick"), bench_files.results(), across_machines=True)


def test_what_else_differs_is_said():
    old = bench_files.results(finished=False)
    new = bench_files.results(
        versions={"python": "3.11.7", "numpy": "2.5.0", "torch": "2.13.0", "scipy": "1"},
        threads={"cores": 2, "BLAS": 1, "torch": 2, "environment": {"OPENBLAS_NUM_THREADS": "1"}},
        arithmetic="TF32",
        machine=bench_files.HOST | {"system": "Linux 7"},
        selftest={"passed": False},
    )
    lines = text([], old, new).splitlines()
    assert "different versions: numpy 2.4.6 -> 2.5.0, scipy not installed -> 1" in lines
    assert any(line.startswith("different threads: BLAS 2 -> 1, environment") for line in lines)
    assert "different machine: system Linux -> Linux 7" in lines
    assert "different arithmetic: float32 throughout, TF32 off everywhere -> TF32" in lines
    assert any("busy" in line for line in lines)
    assert "the run of the old file was not finished" in lines
    assert not [line for line in text([], old, old).splitlines() if "different" in line]


def test_the_table_shows_what_changed_and_counts_the_rest():
    old = bench_files.results(
        row(STEP, "cpu-kernels", (0.010,), spread=0.02),
        row(STEP, "torch", (0.020,), spread=0.02),
        row(OTHER, "numpy", (1.0,)),
    )
    new = bench_files.results(
        row(STEP, "cpu-kernels", (0.012,), spread=0.02),
        row(STEP, "torch", (0.022,), spread=0.02),
        row(OTHER, "numpy", (1.0,)),
    )
    lines = text(compare(old, new), old, new).splitlines()
    (line,) = [line for line in lines if line.startswith(STEP)]
    assert [cell for cell in line.split("  ") if cell] == [
        f"{STEP}, cpu-kernels",
        "10.0 (9.8 - 10.2)",
        "12.0 (11.8 - 12.2)",
        "1.20",
        " slower",
        "torch 1.10; beside them 1.09",
    ]
    assert "1 slower, 0 faster, 1 same" in lines
    assert not [line for line in lines if line.startswith(OTHER)]
    assert "nothing to compare: no case has a time of fastgan in both files" in text([], old, new)
    assert "nothing changed by more than the spreads explain" in text(compare(old, old), old, old)


@pytest.mark.parametrize(
    ("own", "torch", "above", "fails"),
    [
        ((1.0, 1.2), (1.0, 1.0), "10%", True),
        ((1.0, 1.2), (1.0, 1.0), "30%", False),
        ((1.0, 1.2), (1.0, 1.2), "10%", False),  # the machine is slower, not fastgan
        ((1.0, 1.2), (1.0, 0.5), "30%", False),  # the peer became faster; fastgan is not 30 % slower
        ((1.0, 0.8), (1.0, 1.0), "10%", False),
        ((1.0, 1.03), (1.0, 1.0), "2%", True),  # below the usual threshold
    ],
)
def test_failing_means_slower_alone_and_beside_the_peers(tmp_path, own, torch, above, fails):
    files = [
        bench_files.results(row(STEP, "cpu-kernels", (own[i],)), row(STEP, "torch", (torch[i],)))
        for i in (0, 1)
    ]
    printed, failed = main_text(*saved(tmp_path, *files), fail_above=above)
    assert failed is fails
    assert (f"slower by more than {above}, also beside the peers: {STEP}, cpu-kernels" in printed) is fails


def test_nothing_fails_unless_asked(tmp_path):
    files = [bench_files.results(row(STEP, "numpy", (time,))) for time in (1.0, 9.0)]
    printed, failed = main_text(*saved(tmp_path, *files))
    assert not failed
    assert "1 slower, 0 faster, 0 same" in printed
    assert main_text(*saved(tmp_path, *files), fail_above="10%")[1]


def test_a_bad_file_and_different_machines_end_the_command(tmp_path):
    old, new = saved(
        tmp_path, bench_files.results(), bench_files.results(machine=bench_files.HOST | {"cpu": "x"})
    )
    with pytest.raises(UsageError, match="no file"):
        main_text(old, tmp_path / "none.json")
    with pytest.raises(UsageError, match="different machines"):
        main_text(old, new)
    assert main_text(old, new, across_machines=True)[0].startswith("DIFFERENT MACHINES")


@pytest.mark.parametrize(("given", "value"), [("10%", 0.1), ("0.1", 0.1), ("2.5 %", 0.025), ("0", 0.0)])
def test_shares(given, value):
    assert share(given) == pytest.approx(value)


@pytest.mark.parametrize("given", ["", "%", "ten", "-1%", "nan", "mean:10%", "1e9"])
def test_what_is_no_share_is_refused(given):
    with pytest.raises(UsageError, match="give one such as 10%"):
        share(given)
