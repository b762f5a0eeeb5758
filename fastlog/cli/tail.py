"""`fastlog tail`: the newest records, then live."""

from __future__ import annotations

import sys

import click

from fastlog.cli.command import FAILED, INCOMPLETE, OK, Command
from fastlog.cli.options import filter_options, place_options, style_options
from fastlog.cli.output import Style, printer
from fastlog.cli.places import logs_directory, unread_files
from fastlog.config import Config
from fastlog.query import Filters
from fastlog.search import follow, newest


@click.command(cls=Command)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=20,
    metavar="N",
    help="Print so many of the newest (default: 20).",
)
@click.option("-f", "--follow", "live", is_flag=True, help="Go on with those that arrive.")
@filter_options
@style_options
@place_options
def tail(config: Config, filters: Filters, style: Style, lines: int, live: bool) -> int:
    """Print the newest records, and with -f those that arrive from now on."""
    logs = logs_directory(config)
    write, unread = printer(style), unread_files()
    try:
        records, mark = newest(logs, filters, lines, unread)
        count = write(records)
        sys.stdout.flush()
        if not live and unread.files:
            return INCOMPLETE
        if not live:
            return OK if count or not lines else FAILED
        for batch in follow(logs, filters, mark, unread=unread):
            write(batch)
            sys.stdout.flush()
    except KeyboardInterrupt:  # the usual way out of -f
        pass
    return OK
