"""The command that makes the README's tables, whether they are the results', and what the guide names."""

import re

import bench_files
import pytest
from bench_files import row
from click.testing import CliRunner

from fastgan.benchmarks import readme, result_types, results
from fastgan.benchmarks.columns import COLUMNS
from fastgan.benchmarks.suites import SUITES
from fastgan.errors import DataError, UsageError

STEP = "steps/keras-mlp/keras-mlp"


@pytest.fixture
def checkout(tmp_path):
    """A README with markers, and a folder with a result file and files of other kinds."""
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "README.md").write_text(f"# µ\n{readme.BEGIN}\nold\n{readme.END}\nrest\n", encoding="utf-8")
    (folder / "old.json").write_text('{"versions": {}, "rows": []}', encoding="utf-8")
    (folder / "table.txt").write_text("none of this", encoding="utf-8")
    results.write(bench_files.results(row(STEP, "numpy", (1.0,))), folder / "abacus.json")
    return tmp_path


def command(checkout, *more):
    return readme.main(
        ["--readme", str(checkout / "README.md"), "--results", str(checkout / "results"), *more]
    )


def test_the_command_writes_between_the_markers_and_check_agrees(checkout, capsys):
    before = (checkout / "README.md").read_text(encoding="utf-8")
    assert command(checkout, "--check") == 1
    said = capsys.readouterr().out
    assert said == "README.md does not say what results/ does; run `python -m fastgan.benchmarks.readme`\n"
    assert (checkout / "README.md").read_text(encoding="utf-8") == before
    assert command(checkout) == 0
    after = (checkout / "README.md").read_text(encoding="utf-8")
    assert after.startswith(f"# µ\n{readme.BEGIN}\nOn Abacus 9000")
    assert after.endswith(f"benchmarks/results/abacus.json.\n\n</details>\n{readme.END}\nrest\n")
    assert command(checkout, "--check") == 0
    assert command(checkout) == 0
    assert (checkout / "README.md").read_text(encoding="utf-8") == after


def test_a_figure_that_somebody_typed_is_found(checkout):
    command(checkout)
    path = checkout / "README.md"
    path.write_text(path.read_text(encoding="utf-8").replace("1000 (", "900 ("), encoding="utf-8")
    assert command(checkout, "--check") == 1


def test_bad_files_are_a_line_each(checkout, capsys):
    (checkout / "results" / "cut.json").write_text('{"format": "fastgan-bench", "ver', encoding="utf-8")
    assert command(checkout) == DataError.exit_code
    assert "cut.json' ends in the middle" in capsys.readouterr().err
    results.write(bench_files.results(version=0), checkout / "results" / "cut.json")
    assert command(checkout, "--check") == UsageError.exit_code
    assert "older fastgan" in capsys.readouterr().err
    (checkout / "README.md").unlink()
    assert command(checkout) == UsageError.exit_code
    assert "No such file" in capsys.readouterr().err
    (checkout / "README.md").write_bytes(b"\xff\xfe")
    assert command(checkout) == UsageError.exit_code
    assert "it is no text; run this in a checkout" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "none",
        readme.BEGIN,
        readme.END + readme.BEGIN,
        readme.BEGIN + readme.BEGIN + readme.END + readme.BEGIN + readme.END,
        readme.BEGIN + readme.END + readme.END,
    ],
)
def test_markers_that_are_not_one_pair_are_refused(text):
    with pytest.raises(DataError, match="put both"):
        readme.replaced(text, "new")


def test_readme_and_results_agree():
    path = readme.CHECKOUT / "README.md"
    text = path.read_text(encoding="utf-8")
    if readme.BEGIN not in text:
        pytest.skip("README.md has no markers yet")
    found = readme.measured(readme.CHECKOUT / "benchmarks" / "results")
    assert readme.replaced(text, readme.block(found)) == text, f"run `{readme.COMMAND}`"


GUIDE = (readme.CHECKOUT / "benchmarks" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^fastgan bench ?(.*?)(?:\s*#.*)?$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_guide_exist(command):
    from fastgan.cli import cli

    words = command.split()
    named = [word for word in words[:1] if not word.startswith("-")]
    shown = CliRunner().invoke(cli, ["bench", *named, "--help"], terminal_width=200)
    assert shown.exit_code == 0, shown.output
    assert all(option in shown.output for option in words if option.startswith("--"))


@pytest.mark.parametrize("name", [*COLUMNS, *SUITES])
def test_the_guide_names_every_column_and_suite(name):
    assert f"`{name}`" in GUIDE


def test_the_guide_names_what_a_row_holds():
    assert not [key for key in (*result_types.ROW, "notes", "problems", "error") if f"`{key}`" not in GUIDE]


def test_files_that_the_guide_names_exist():
    folder = readme.CHECKOUT / "benchmarks"
    named = re.findall(r"`((?:suites/|peers/)?[a-z_]+\.py)`", GUIDE)
    assert named
    missing = [name for name in named if not any((folder / at / name).exists() for at in ("", "suites"))]
    assert not missing
