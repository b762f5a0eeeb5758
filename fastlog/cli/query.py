"""`fastlog query`: search the stored records."""

from __future__ import annotations

from itertools import islice

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, Command
from fastlog.cli.data_directory import logs_directory, unread_files
from fastlog.cli.options import config_options, filter_options, style_options
from fastlog.cli.output import Style, printer
from fastlog.config import Config
from fastlog.query import Filters
from fastlog.search import search


@click.command(cls=Command)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    help="Print at most N records; 0: all (default: 100).",
)
@filter_options
@style_options
@config_options
def query(config: Config, filters: Filters, style: Style, limit: int) -> int:
    """Print the stored records that match, oldest first."""
    unread = unread_files()
    records = search(logs_directory(config), filters, unread=unread)
    count = printer(style)(islice(records, limit) if limit else records)
    if limit and next(records, None) is not None:
        click.echo(f"fastlog query: stopped after {limit} records; --limit N prints more", err=True)
    if unread.files:
        return INCOMPLETE
    return OK if count else FAILED
