"""The report of a result file: all sections of a full run, none of an empty one, nothing that loads or runs."""

import copy
import html
import re
import subprocess
import sys

import bench_results as made
import numpy as np
import pytest
from bench_page import Page, some

from fastgan.benchmarks import plots, report, verdict
from fastgan.benchmarks import results as files
from fastgan.errors import OutputError

pytestmark = pytest.mark.slow

SUITES = {
    "steps": "steps",
    "ideas": "ideas",
    "kernels": "kernels",
    "crossover": "crossover",
    "scaling": "scaling",
    "launches": "launches",
    "startup": "startup",
    "quality": "quality-time",
}


@pytest.fixture(scope="module")
def full():
    return made.full()


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but not written."""
    monkeypatch.setattr(plots, "svg", lambda figure, name, title: "<svg></svg>")


@pytest.fixture(scope="module")
def page(full):
    return report.made(full)


@pytest.fixture(scope="module")
def seen(page):
    return Page(page)


def test_all_sections_of_a_full_run(seen, full):
    assert seen.sections == list(report.SECTIONS)
    assert "Not measured" not in seen.text
    assert sum(tag == "svg" for tag, _ in seen.tags) > 2 * len(seen.sections)
    assert f"All {len(full['rows'])} rows" in seen.text


def test_no_section_without_rows():
    seen = some()
    assert seen.sections == []
    assert "svg" not in {tag for tag, _ in seen.tags}
    assert "No rows: nothing was measured." in seen.text
    assert "training steps; where the speed comes from" in seen.text


@pytest.mark.parametrize("suite", SUITES)
def test_one_suite_alone_has_its_section(full, suite, undrawn):
    rows = [row for row in full["rows"] if row["suite"] == SUITES[suite] and row["device"] == "cpu"]
    rows = rows or [row for row in full["rows"] if row["suite"] == SUITES[suite]]
    seen = Page(report.made(full | {"rows": rows}))
    assert seen.sections == [suite]
    assert "Not measured in this run: " in seen.text


def test_host_time_needs_the_clock_of_a_device():
    row = made.row("steps", "toy-mlp", "toy-mlp", "cuda-graph", 1e-3)
    assert some(row).sections == ["steps", "host"]
    row["seconds"]["device"] = None
    seen = some(row)
    assert seen.sections == ["steps"]
    assert "it needs a GPU's clock" in seen.text


def test_interrupted(full, undrawn):
    rows = full["rows"][:7]
    seen = Page(report.made(full | {"rows": rows, "finished": False}))
    assert "interrupted: 7 rows kept" in seen.text
    assert "interrupted" not in Page(report.made(full | {"rows": rows})).text


@pytest.mark.parametrize("cut", range(0, 451, 75))
def test_a_run_cut_anywhere(full, cut, undrawn):
    """Without ceilings, self-test or later rows: what is there is shown."""
    seen = Page(report.made(full | {"rows": full["rows"][cut : cut + 5], "ceilings": {}, "selftest": {}}))
    assert "The ceilings of this machine were not measured." in seen.text


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_lack_anything(full, seed, undrawn):
    """Any rows of a run, some without a time, memory, bytes, shape or what a suite adds."""
    chance = np.random.default_rng(seed)
    rows = []
    for index in chance.permutation(len(full["rows"]))[:40]:
        row = copy.deepcopy(full["rows"][index])
        for key, empty in (("seconds", None), ("extra", {}), ("bytes", 0), ("flops", 0), ("percent", None)):
            if chance.random() < 0.15:
                row[key] = empty
        row["extra"] = {key: None if chance.random() < 0.2 else x for key, x in row["extra"].items()}
        row["error"] = "" if row["seconds"] else "no time left"
        rows.append(row)
    assert "All 40 rows" in Page(report.made(full | {"rows": rows})).text


def test_nothing_is_loaded_or_run(page, seen):
    assert "http" not in page.replace("http-equiv", "")
    assert not {"script", "link", "img", "image", "iframe", "object", "foreignObject"} & {
        tag for tag, _ in seen.tags
    }
    assert all(found.get("href", "#").startswith("#") for _, found in seen.tags)
    assert not any(key.startswith("on") for _, found in seen.tags for key in found)
    policy = next(found for tag, found in seen.tags if found.get("http-equiv"))["content"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "<!DOCTYPE svg" not in page
    assert "<metadata" not in page
    assert page.count("<style") == 1
    assert "DejaVu" not in page


def test_ids_are_unique_and_all_that_is_referred_to_is_there(page, seen):
    assert len(set(seen.ids)) == len(seen.ids)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', page))
    assert used
    assert used <= set(seen.ids)


def test_the_same_file_gives_the_same_page_and_is_left_as_it_was(full):
    few = full | {"rows": full["rows"][::19]}
    before = copy.deepcopy(few)
    page = report.made(few)
    assert few == before
    assert report.made(before) == page


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", "</svg>&amp;\"'><b>", "$x^2$ \\frac", "a\x00b\x1b\ud800"]
)
def test_names_cannot_become_markup(nasty):
    """In tables, titles, labels, legends and errors."""
    rows = [
        made.row("steps", nasty, nasty, "cpu-kernels", 1e-3),
        made.row("steps", nasty, nasty, nasty, 2e-3, gpu=False),
        made.row("steps", nasty, "failing", "torch", gpu=False, error=f"wrong {nasty}"),
        made.row("kernels", nasty, nasty, "cpu-kernels", 1e-3, bytes=10, flops=10, extra={nasty: nasty}),
        made.row("ideas", nasty, nasty, "cpu-kernels", 1e-3, shape={"brings": nasty}),
        made.row("ideas", nasty, nasty + "b", "cpu-kernels", 1e-3),
        made.row("scaling", "batch", nasty, nasty, 1e-3, shape={"batch": 4}),
        made.row("launches", nasty, nasty, "cupy", launches=4, extra={"bytes": 5, "floor_bytes": 4}),
        made.row("startup", nasty, nasty, nasty, extra={"import": 1.0}),
        made.row("crossover", nasty, nasty, "cpu-kernels", 1e-3, shape={"batch": 4, "width": 5}),
        made.row("crossover", nasty, nasty, nasty, 1e-3, shape={"batch": 4, "width": 5}, gpu=False),
        made.row(
            "quality-time", nasty, nasty, nasty, extra={"curve": [[1, 2]], "reached": 1, "score_name": nasty}
        ),
    ]
    named = {
        "device": nasty,
        "notes": [nasty],
        "problems": [nasty],
        "command": nasty,
        "absent": {nasty: nasty},
    }
    told = {
        "selftest": {"passed": False, "lines": [nasty]},
        "versions": {nasty: nasty},
        "columns": {nasty: nasty},
    }
    seen = some(*rows, **named, **told)
    assert set(SUITES) - {"host"} == set(seen.sections)
    assert "script" not in {tag for tag, _ in seen.tags}
    shown = " ".join("".join(c if c.isprintable() else " " for c in nasty).split())
    assert seen.text.count(shown) > 20


def test_errors_are_shown():
    rows = [
        made.row("steps", "toy-mlp", "toy-mlp", "cpu-kernels", 1e-3),
        made.row(
            "steps", "toy-mlp", "toy-mlp", "torch", gpu=False, error="wrong result, not timed: off by 0.3"
        ),
        made.row("steps", "ring-gan", "ring-gan", "cpu-kernels", error="making: it crashed"),
        made.row(
            "steps", "ring-gan", "ring-gan", "torch", gpu=False, error=f"{files.ABSENT}no peer is written"
        ),
        made.row("steps", "ring-gan", "ring-gan", "jax", gpu=False, error=files.OUT_OF_TIME),
    ]
    text = some(*rows).text
    assert "torch, toy-mlp: wrong result, not timed: off by 0.3" in text
    assert "cpu-kernels, ring-gan: making: it crashed" in text
    assert "torch, ring-gan" not in text
    assert "jax, ring-gan: no time left" in text
    assert text.count("no peer is written") == 1  # in the table of all rows


def test_head():
    told = {
        "selftest": {"passed": False, "lines": ["equal work differed"]},
        "problems": ["adam is wrong"],
        "notes": ["busy"],
    }
    text = some(**told).text
    wanted = [
        *(
            "equal work differed",
            "adam is wrong",
            "busy",
            "0123456789ab+",
        ),
        *("2026-01-02T03:04:05Z", "fastgan bench --out results", "Abacus H9000, driver 570.1", "numpy 2.4.6"),
        *("OPENBLAS_NUM_THREADS=1", "BLAS: 2", "full, 512 s", "8.0 GiB", "TF32 off", "128 MiB by 1 thread"),
        *("21.0 (21.0 - 21.0) GB/s", "4100 (4000 - 4200) GB/s", "2.20 (2.20 - 2.20) us"),
    ]
    assert [line for line in wanted if line not in text] == []


def test_what_it_comes_to_is_first_and_what_it_holds_for_is_folded_at_the_end(page, full):
    first, _, rest = page.partition("<nav>")
    assert all(line in html.unescape(first) for line in verdict.sentences(full))
    assert first.count("<svg") == 1
    last = rest.rpartition("</section>")[2]
    for fact in ("numpy 2.4.6", "load 0.1 on 2 cores", "found within 0.4 %", "21.0 (21.0 - 21.0) GB/s"):
        assert fact not in first
        assert fact in last.partition("<details>")[2].partition("</details>")[0]


def test_without_a_gpu():
    results = made.full(gpu=False)
    seen = Page(report.made(results | {"rows": results["rows"][::7]}))
    assert seen.sections == [key for key in report.SECTIONS if key != "host"]
    assert "cuda-graph: no GPU: no driver" in seen.text
    assert "on the GPU, ms" not in seen.text


def test_importing_it_imports_no_matplotlib():
    code = "import sys, fastgan.benchmarks.report; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_numbers_of_a_run_that_is_not_yet_a_file():
    row = made.row("steps", "toy-mlp", "toy-mlp", "cpu-kernels", 1e-3, extra={"loss": float("nan")})
    row["shape"] = {"batch": np.int64(12), "sizes": np.arange(2)}
    text = some(row).text
    assert "batch 12" in text
    assert "loss None" in text


def test_written_whole_or_not_at_all(tmp_path, full, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")
    with monkeypatch.context() as broken:
        broken.setitem(report.SECTIONS, "steps", ("Steps", lambda results: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            report.write(full | {"rows": full["rows"][:3]}, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputError):
        report.write(made.results(), tmp_path)
