"""Exit codes of commands, and their errors: one line on stderr.

0: success. 1: failed, or nothing found. 2: wrong usage or configuration. 3: the result is
incomplete, because something could not be read. A command's function returns its exit code, or
`None` for 0, and does not catch errors.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Sequence
from typing import Any

import click

from fastlog.errors import ConfigError, FastlogError

OK = 0
FAILED = 1
USAGE = 2
INCOMPLETE = 3
INTERRUPTED = 130


class Command(click.Command):
    """A command that turns errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            return _stop_writing()
        except ConfigError as error:
            return fail(ctx.command_path, str(error), USAGE)
        except (FastlogError, OSError, sqlite3.Error) as error:
            return fail(ctx.command_path, _describe(error), FAILED)
        except KeyboardInterrupt:
            return INTERRUPTED
        return code


def run(command: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        args: the arguments, without the program's name; `None`: those of this process.
    """
    try:
        return command.main(args, prog_name=name, standalone_mode=False) or OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else name
        return fail(path, error.format_message(), error.exit_code)
    except click.Abort:
        return INTERRUPTED


def fail(path: str, message: str, code: int) -> int:
    """Print one line to stderr, and return `code`."""
    from fastlog.terminal import one_line  # errors are rare: import it late

    click.echo(f"{path}: {one_line(' '.join(message.split()))}", err=True)
    return code


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _stop_writing() -> int:
    """Discard further output: the reader has closed the pipe, and a flush at exit must not fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return OK
