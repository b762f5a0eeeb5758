"""Exit codes of commands, their errors (one line on stderr), and the form of their help.

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

from fastlog.cli.examples import EXAMPLES
from fastlog.errors import ConfigError, FastlogError

OK = 0
FAILED = 1
USAGE = 2
INCOMPLETE = 3
INTERRUPTED = 130


class Helpful(click.Command):
    """A command or a group with `-h`, examples in its help, and errors that name it."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        extra = {"help_option_names": ["-h", "--help"], **extra}
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # not every error of click names its command
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        examples = EXAMPLES.get(full_name(ctx), ())
        if not examples:
            return
        with formatter.section("Examples"):
            for example in examples:
                for line in (f"# {example.purpose}", example.line):
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(Helpful, click.Group):
    """A group of commands. A mistyped name is an error that suggests the right one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:  # as for completion
            find_command(self, ctx, args[0])
        return super().resolve_command(ctx, args)


class Command(Helpful):
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
        return fail(path, _describe_usage(error, context), error.exit_code)
    except click.Abort:
        return INTERRUPTED


def full_name(ctx: click.Context) -> str:
    """Return the names of a command and its groups, such as `fastlog query`.

    It does not depend on how the program was started, as `ctx.command_path` does.
    """
    parents = f"{full_name(ctx.parent)} " if ctx.parent is not None else ""
    return f"{parents}{ctx.command.name}"


def find_command(group: click.Group, ctx: click.Context, name: str) -> click.Command:
    """Return a command of a group.

    Raises:
        click.UsageError: There is none of this name; the text suggests another.
    """
    command = group.get_command(ctx, name)
    if command is None:
        if name.startswith("-"):
            raise click.NoSuchOption(name, ctx=ctx)
        from fastlog.config.values import nearest  # late: only an error needs it

        names = group.list_commands(ctx)
        hint = nearest(name, names if ctx.parent else [*names, "fastlog-server"])
        raise click.UsageError(f"there is no command {name!r}{hint}", ctx)
    return command


def fail(path: str, message: str, code: int) -> int:
    """Print one line to stderr, and return `code`."""
    from fastlog.terminal import one_line  # errors are rare: import it late

    click.echo(f"{path}: {one_line(' '.join(message.split()))}", err=True)
    return code


def _describe_usage(error: click.ClickException, ctx: click.Context | None) -> str:
    """Return the text of an error of click; for a mistyped option with a suggestion in our form."""
    if not isinstance(error, click.NoSuchOption) or ctx is None:
        return error.format_message()
    from fastlog.config.values import closest

    names = [
        name
        for option in ctx.command.get_params(ctx)
        if isinstance(option, click.Option) and not option.hidden
        for name in (*option.opts, *option.secondary_opts)
    ]
    near = closest(error.option_name, names)
    hint = f"did you mean {near!r}?" if near else f"{ctx.command_path} -h lists the options"
    return f"there is no option {error.option_name!r}; {hint}"


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if isinstance(error, PermissionError) and error.filename:
            text += "; run the command as the user of these files, such as the server's"
        return text
    return str(error) or type(error).__name__


def _stop_writing() -> int:
    """Discard further output: the reader has closed the pipe, and a flush at exit must not fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return OK
