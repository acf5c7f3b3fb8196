"""The commands under one name, and the one place where errors become a line and an exit code.

Exit codes: 0 done; 1 a mistake of fastgan's own, or no memory; 2 wrong usage, data or checkpoint; 3 training diverged;
4 something could not be written; 128 and more stopped by a signal: 129 a closed terminal, 130 Ctrl-C, 143 SIGTERM, and
141 as nobody reads standard output any more.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

import fastgan
from fastgan.cli.bench import bench
from fastgan.cli.doctor import doctor
from fastgan.cli.sample import export, sample
from fastgan.cli.show import recipes, summary
from fastgan.cli.signals import BROKEN_PIPE, say, watched
from fastgan.cli.train import resume, train
from fastgan.errors import FastganError, OutputError

INTERRUPTED = 130
DEBUG = "Show the traceback of an error."
SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # for programmers
EXAMPLES = """\b
fastgan train                                     bundled digits: pictures, losses and a GIF in a minute
fastgan train keras-mlp --data mnist --seed 7     a published recipe
fastgan train wgan-gp-mlp --data photos/ --image-size 32     your own pictures
fastgan resume runs/digits                        go on after Ctrl-C
fastgan sample runs/digits --seed 42 --grid 5x5   a picture of new samples
fastgan bench --quick                             how fast this machine is with it, against what else is installed
"""


class Commands(click.Group):
    """A group whose commands are listed in the order of use rather than of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.commands)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=EXAMPLES,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)
@click.version_option(fastgan.__version__, prog_name="fastgan")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train GANs on an autograd engine written from scratch, and see what they make.

    `fastgan train` alone trains on bundled 8x8 digits and needs no download.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (train, resume, sample, export, recipes, summary, doctor, bench):
    cli.add_command(command)
    command.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help=DEBUG))


@cli.command("help", short_help="Show what a command does.")
@click.argument("command", nargs=-1)
def help_(command: tuple[str, ...]) -> Any:
    """Show what COMMAND does, or all commands."""
    return cli.main([*command, "--help"], prog_name="fastgan", standalone_mode=False)


@cli.command(short_help="Show the version.")
def version() -> None:
    """Show the version."""
    click.echo(f"fastgan, version {fastgan.__version__}")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code. An error is one line on stderr, with the traceback if --debug is given."""
    words = sys.argv[1:] if argv is None else argv
    if sys.stderr is None:  # closed, and its number would be given to the next file
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for good)
    with _warnings_in_a_line():
        try:
            if sys.stdout is None:
                raise OutputError("standard output is closed: send it somewhere, such as >/dev/null")
            with watched(_refuse):
                done = cli.main(list(words), prog_name="fastgan", standalone_mode=False)
                sys.stdout.flush()
            return done if isinstance(done, int) else 0
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except (KeyboardInterrupt, click.Abort):
            say("fastgan: interrupted")
            return INTERRUPTED
        except Exception as error:
            if "--debug" in words:
                say("".join(traceback.format_exception(error)).rstrip())
            text, code = _in_words(error)
            say(f"fastgan: {' '.join(text.split())}")
            return code


def _refuse(error: OSError) -> None:
    """End a command whose output cannot be written: `fastgan recipes | head -1` without a word."""
    if isinstance(error, BrokenPipeError):
        raise SystemExit(BROKEN_PIPE) from error
    reason = error.strerror or error
    raise OutputError(f"cannot write standard output: {reason}; send it to another place") from error


def _in_words(error: Exception) -> tuple[str, int]:
    """What is said of an error, and its exit code."""
    if isinstance(error, FastganError):
        return f"error: {error}", error.exit_code
    if isinstance(error, click.ClickException):
        text = f"error: {error.format_message().rstrip('.')}"
        if isinstance(error, click.UsageError) and error.ctx and "Did you mean" not in text:
            text += f"; see {error.ctx.command_path} --help"
        return text, error.exit_code
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"error: out of memory{detail}; try a smaller --batch, fewer samples or narrower networks", 1
    return f"internal error: {type(error).__name__}: {error}; run again with --debug and report it", 1


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """What users should know, as lines like those of errors, each once; what only programmers should, not at all."""
    said = set()

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).partition("\nTraceback ")[0].split())  # Numba quotes one
        if text not in said and not issubclass(category, SILENT):
            said.add(text)
            say(f"fastgan: warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
