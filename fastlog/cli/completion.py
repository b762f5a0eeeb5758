"""What shells complete after options and arguments, beside the names that click completes."""

from __future__ import annotations

import logging

import click
from click.shell_completion import CompletionItem

from fastlog.query.fields import ALIASES, COLUMNS

_FIELDS = (*COLUMNS, *ALIASES, "level", "logger", "note")


def complete_level(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the names of the levels that begin with the text, in order of importance."""
    levels = {number: name for name, number in logging.getLevelNamesMapping().items() if number}
    names = [logging.getLevelName(number) for number in sorted(levels)]
    return _matching(names, incomplete.upper())


def complete_field(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the fields of a record that begin with the text, each with the `=` that follows it."""
    return _matching([*(f"{name}=" for name in _FIELDS if name != "extra"), "extra."], incomplete)


def complete_directory(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete directories."""
    return [CompletionItem(incomplete, type="dir")]


def complete_command(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the commands that begin with the text; of the group whose names precede it."""
    group, words = ctx.find_root().command, ctx.params.get("command") or ()
    for word in words:
        found = group.get_command(ctx, word) if isinstance(group, click.Group) else None
        if found is None:
            return []
        group = found
    names = group.list_commands(ctx) if isinstance(group, click.Group) else []
    return _matching(names, incomplete)


def _matching(values: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(value) for value in values if value.startswith(incomplete)]
