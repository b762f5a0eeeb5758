"""`fastlog query`: search the stored records."""

from __future__ import annotations

from itertools import islice

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, Command
from fastlog.cli.data_directory import logs_directory, unread_files
from fastlog.cli.filters import filter_options
from fastlog.cli.options import config_options, style_options
from fastlog.cli.output import Style, printer
from fastlog.cli.unstored import report_unstored
from fastlog.config import Config
from fastlog.query import Node
from fastlog.search import search


@click.command(cls=Command)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    metavar="N",
    help="Print the newest N records that match; 0: all (default: 100).",
)
@config_options
@filter_options
@style_options
def query(config: Config, query: Node, style: Style, limit: int) -> int:
    """Print the stored records that match, oldest first."""
    logs, unread = logs_directory(config), unread_files()
    report_unstored(config)
    if not limit:
        count = printer(style)(search(logs, query, unread=unread))
    else:
        newest = list(islice(search(logs, query, newest_first=True, unread=unread), limit + 1))
        count = printer(style)(reversed(newest[:limit]))
        if len(newest) > limit:
            text = f"fastlog query: printed the newest {limit} records; --limit N prints more"
            click.echo(text, err=True)
    if unread.files:
        return INCOMPLETE
    return OK if count else FAILED
