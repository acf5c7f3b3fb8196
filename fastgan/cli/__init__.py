"""The command line: `fastgan`, or `python -m fastgan`. Only this package imports click."""

from fastgan.cli.app import cli, main

__all__ = ["cli", "main"]
