"""The README's Python blocks run, and its commands name what exists."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
SHELL = re.findall(r"```bash\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[number], f"README.md, Python block {number + 1}", "exec"), {"__name__": "readme"})


def test_first_two_blocks_are_one_line_each():
    train, tests = SHELL[:2]
    assert train.count("\n") == 1
    assert tests.count("\n") == 1
    assert train.rstrip().endswith("fastgan train")
    assert "pytest" in tests


def test_ci_calls_those_very_lines():
    script = (README.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script  # it takes the lines from here instead of repeating them


COMMANDS = sorted({m for block in SHELL for m in re.findall(r"^fastgan (.*?)(?:\s*#.*)?$", block, re.M)})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_options_exist(command):
    from fastgan.cli import cli

    words = command.split()
    result = CliRunner().invoke(cli, [words[0], "--help"])
    assert result.exit_code == 0, result.output
    for option in (w for w in words if w.startswith("--")):
        assert option in result.output
