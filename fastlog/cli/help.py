"""`fastlog help`: print the help of a command."""

from __future__ import annotations

import click

from fastlog.cli.command import OK, Command, find_command
from fastlog.cli.completion import complete_command


@click.command(cls=Command)
@click.argument("command", nargs=-1, shell_complete=complete_command)
@click.pass_context
def help(ctx: click.Context, command: tuple[str, ...]) -> int:  # noqa: A001 the name of the command
    """Print the help of a command.

    Prints what its -h prints; without COMMAND, what `fastlog -h` prints.
    """
    shown = ctx.find_root()
    for name in command:
        if not isinstance(shown.command, click.Group):
            raise click.UsageError(f"{shown.command_path} has no commands: {name!r}", ctx)
        found = find_command(shown.command, ctx, name)
        shown = found.make_context(name, [], parent=shown, resilient_parsing=True)
    click.echo(shown.get_help())
    return OK
