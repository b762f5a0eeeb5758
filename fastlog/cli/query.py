"""`fastlog query`: search."""

from __future__ import annotations

from itertools import islice

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, Command
from fastlog.cli.options import filter_options, place_options, style_options
from fastlog.cli.output import Style, printer
from fastlog.cli.places import logs_directory, unread_files
from fastlog.config import Config
from fastlog.query import Filters
from fastlog.search import search


@click.command(cls=Command)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    help="Print at most so many; 0 for all (default: 100).",
)
@filter_options
@style_options
@place_options
def query(config: Config, filters: Filters, style: Style, limit: int) -> int:
    """Search the stored records, oldest first."""
    unread = unread_files()
    records = search(logs_directory(config), filters, unread=unread)
    count = printer(style)(islice(records, limit) if limit else records)
    if limit and next(records, None) is not None:
        click.echo(
            f"fastlog query: stopped at {limit} records, there are more: --limit N", err=True
        )
    if unread.files:
        return INCOMPLETE
    return OK if count else FAILED
