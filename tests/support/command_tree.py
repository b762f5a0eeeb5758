"""Every command of both programs, as the tests walk through them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fastlog.cli import fastlog
from fastlog.cli.serve import server


def contexts() -> dict[str, click.Context]:
    """Return the contexts of all commands and groups, by full name."""
    return {name: ctx for program in (fastlog, server) for name, ctx in _walk(program, None)}


def visible_options(ctx: click.Context) -> set[str]:
    """Return the names of the options that the help shows."""
    return {
        name
        for parameter in ctx.command.get_params(ctx)
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def _walk(
    command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, click.Context]]:
    assert command.name is not None
    ctx = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
    yield ctx.command_path, ctx
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from _walk(inner, ctx)
